"""Five toy exchanges, one for each way of being kept alive, to prove that the shape of a profile fits them all.

They differ only in that way. All else is one small protocol of JSON text frames:

- client: ``{"op":"subscribe","channel":"trade","codes":["BTC-KRW"]}``, one for each channel;
- server: ``{"op":"subscribed","channel":"trade"}`` or ``{"op":"refused","channel":"trade","why":"…"}``;
- server: data, ``{"channel":"trade","code":"BTC-KRW", …}``.
"""

import functools
import json
import re
from collections.abc import Sequence
from urllib.parse import urlencode

import attrs

from actors.errors import ApplicationError, Reason
from actors.exchange import (
    DATA,
    By,
    Channel,
    Exchange,
    Form,
    Frame,
    Heartbeat,
    Http,
    Kind,
    Session,
    json_object,
)


def compact(**fields: object) -> str:
    """One JSON text frame."""
    return json.dumps(fields, separators=(",", ":"))


class ToySession(Session):
    """The small protocol, without any heartbeat."""

    def subscribe(self) -> Sequence[str | bytes]:
        return [compact(op="subscribe", channel=each.channel, codes=each.codes) for each in self.subscriptions]

    def pending(self) -> frozenset[str]:
        return frozenset(each.channel for each in self.subscriptions)

    def classify(self, data: str | bytes) -> Frame:
        frame = json_object(data)
        match frame.get("op"):
            case "subscribed":
                return Frame(Kind.ACK, confirms=(str(frame.get("channel")),))
            case "refused":
                return Frame(Kind.REJECTED, f"{frame.get('channel')}: {frame.get('why')}")
            case "pong":
                return Frame(Kind.HEARTBEAT)
            case _:
                return DATA if "channel" in frame else Frame(Kind.UNKNOWN)


class ServerMessageSession(ToySession):
    """The server's message carries a token that the answer must bring back, quotes included (as GOPAX does it)."""

    PING = re.compile(r'"toy::ping::(\d+)"')

    def classify(self, data: str | bytes) -> Frame:
        ping = self.PING.fullmatch(data) if isinstance(data, str) else None
        return Frame(Kind.HEARTBEAT, answer=f'"toy::pong::{ping[1]}"') if ping else super().classify(data)


def describe(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a toy's data frame."""
    frame = json_object(data)
    return str(frame.get("channel", "")), str(frame.get("code", ""))


CLIENT_CONTROL = Exchange(
    code="toy-client-control",
    name_ko="[장난감 1]",
    name_en="[Toy 1]",
    ws_url="wss://toy.invalid/1",
    channels=(Channel(name="trade", portable="trade"), Channel(name="book", portable="book")),
    code_format="{base}-{quote}",
    code_case="upper",
    heartbeats=(Heartbeat(by=By.CLIENT, form=Form.CONTROL),),
    make_session=ToySession,
    describe=describe,
)
"""Life 1: we send control pings."""

CLIENT_MESSAGE = attrs.evolve(
    CLIENT_CONTROL,
    code="toy-client-message",
    name_ko="[장난감 2]",
    name_en="[Toy 2]",
    ws_url="wss://toy.invalid/2",
    heartbeats=(
        Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload=lambda number: compact(op="ping", n=number), limit=60),
    ),
)
"""Life 2: we send numbered messages, each answered by ``{"op":"pong","n":…}``."""

SERVER_CONTROL = attrs.evolve(
    CLIENT_CONTROL,
    code="toy-server-control",
    name_ko="[장난감 3]",
    name_en="[Toy 3]",
    ws_url="wss://toy.invalid/3",
    heartbeats=(Heartbeat(by=By.SERVER, form=Form.CONTROL, interval=30, limit=10),),
    link_timeout=75,
)
"""Life 3: the server sends control pings, which are answered below us; we send nothing."""

SERVER_MESSAGE = attrs.evolve(
    CLIENT_CONTROL,
    code="toy-server-message",
    name_ko="[장난감 4]",
    name_en="[Toy 4]",
    ws_url="wss://toy.invalid/4",
    heartbeats=(Heartbeat(by=By.SERVER, form=Form.MESSAGE, interval=30, limit=30),),
    link_timeout=75,
    make_session=ServerMessageSession,
)
"""Life 4: the server sends ``"toy::ping::<ms>"`` and hangs up unless it gets ``"toy::pong::<ms>"`` back."""


async def bullet(http: Http, *, url: str) -> str:
    """The URL to dial, out of ``{"endpoint":"wss://…","token":"…"}`` (as KuCoin does it)."""
    answer = await http.post_json(url)
    try:
        return f"{answer['endpoint']}?{urlencode({'token': answer['token']})}"
    except (KeyError, TypeError):
        # the answer may hold the token: say what was missing, not what was there
        raise ApplicationError(Reason.ENDPOINT, f"{url} gave no endpoint and token") from None


def token_toy(url: str) -> Exchange:
    """Life 5: a token is fetched by a POST to ``url`` before each connect; then as life 1."""
    return attrs.evolve(
        CLIENT_CONTROL,
        code="toy-token",
        name_ko="[장난감 5]",
        name_en="[Toy 5]",
        ws_url="wss://toy.invalid/5",
        endpoint=functools.partial(bullet, url=url),
    )


TOYS = (CLIENT_CONTROL, CLIENT_MESSAGE, SERVER_CONTROL, SERVER_MESSAGE, token_toy("https://toy.invalid/bullet"))
"""All five lives."""
