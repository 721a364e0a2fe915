"""Binance spot (바이낸스), public market data over the combined stream.

Streams are named ``<code>@<channel>`` with the code in lower case; every data frame keeps its wrapper
``{"stream":"…","data":{…}}``, which is what tells a partial book's code. Subscriptions are acknowledged by number.
Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, 2026-07-21.
"""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from actors.errors import BACKOFF, QUARANTINE, after, clean
from actors.exchange import (
    DATA,
    By,
    Channel,
    Exchange,
    Form,
    Frame,
    Heartbeat,
    Kind,
    Limits,
    Rate,
    Session,
    Subscription,
    json_object,
)
from actors.exchanges._reading import fields, text
from actors.exchanges._sources import GUIDE, OWN
from actors.marks import Mark

STREAMS_A_FRAME = 256
"""A full connection (1,024 streams) subscribes in four messages: one less than a second allows, pongs included."""

OUR_MISTAKE = frozenset({"0", "1", "2", "3"})
"""Error codes that say that what we sent is wrong: unknown property, wrong type, invalid request, invalid JSON."""

_WRAPPED = '{"stream":"'
_SHUTDOWN = '{"stream":"!serverShutdown"'
_STREAM = re.compile(r'\{"stream":"([^"\\]*)"')
_DEPTH = re.compile(r'"U":(\d+),"u":(\d+)(?:,"pu":(\d+))?')
_LEVELS = re.compile(r'"lastUpdateId":(\d+)')
# the number that orders what a channel sends; elsewhere the event time
_ORDERS = {
    "trade": re.compile(r'"t":(\d+)'),
    "aggTrade": re.compile(r'"a":(\d+)'),
    "bookTicker": re.compile(r'"u":(\d+)'),
}
_EVENT_TIME = re.compile(r'"E":(\d+)')
_COUNTED = frozenset({"trade", "aggTrade"})
_NOTICE = Frame(Kind.NOTICE, "serverShutdown: the server is about to go down", renew=True)


class BinanceSession(Session):
    """One connection to Binance's combined stream."""

    def __init__(self, exchange: Exchange, subscriptions: tuple[Subscription, ...]) -> None:
        super().__init__(exchange, subscriptions)
        self._numbers = itertools.count(1)
        # by number, until it is answered
        self._requests: dict[str, list[str]] = {}
        # what was asked for and not rejected
        self._streams = _streams(subscriptions)
        self._first = self._request("SUBSCRIBE", self._streams)

    def subscribe(self) -> Sequence[str | bytes]:
        """As few SUBSCRIBE requests as possible, numbered from 1."""
        return self._first

    def change(self, subscriptions: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """What is no longer wanted is unsubscribed from, what is new is subscribed to; numbered on.

        What was rejected is new when it is asked for again.
        """
        old, new = self._streams, _streams(subscriptions)
        self.subscriptions, self._streams = subscriptions, new
        return [
            *self._request("UNSUBSCRIBE", [stream for stream in old if stream not in new]),
            *self._request("SUBSCRIBE", [stream for stream in new if stream not in old]),
        ]

    def pending(self) -> frozenset[str]:
        """The numbers of the requests that subscribe and have no answer; the ack of each confirms it."""
        return frozenset(self._requests)

    def _request(self, method: str, streams: Iterable[str]) -> list[str]:
        frames: list[str] = []
        wanted = list(streams)
        for start in range(0, len(wanted), STREAMS_A_FRAME):
            number = next(self._numbers)
            params = wanted[start : start + STREAMS_A_FRAME]
            if method == "SUBSCRIBE":
                self._requests[str(number)] = params
            frames.append(json.dumps({"method": method, "params": params, "id": number}, separators=(",", ":")))
        return frames

    def classify(self, data: str | bytes) -> Frame:
        """Data of any stream, an ack, a rejection or error, or the notice of a shutdown."""
        raw = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if raw.startswith(_WRAPPED) and not raw.startswith(_SHUTDOWN):
            return DATA
        return self._unusual(raw)

    def _unusual(self, raw: str) -> Frame:
        frame = json_object(raw)
        if frame.get("e") == "serverShutdown" or frame.get("stream") == "!serverShutdown":
            return _NOTICE
        if "error" in frame or ("code" in frame and "msg" in frame):
            return self._error(frame)
        if "result" in frame and "id" in frame:
            number = text(frame["id"])
            return Frame(Kind.ACK, confirms=(number,) if self._requests.pop(number, None) else ())
        # unwrapped frames, should somebody's ws_url ask for them: a partial book names no symbol
        if "stream" in frame or "s" in frame or "lastUpdateId" in frame:
            return DATA
        return Frame(Kind.UNKNOWN, clean(raw, 80))

    def _error(self, frame: dict[str, Any]) -> Frame:
        error = fields(frame.get("error", frame))
        code, message = text(error.get("code")), text(error.get("msg"))
        streams = self._requests.pop(text(frame.get("id")), [])
        for stream in streams:
            self._streams.pop(stream, None)
        # a message that names some of the streams is about these
        named = [stream for stream in streams if stream in message]
        return Frame(
            Kind.REJECTED if streams else Kind.ERROR,
            clean(f"{code}: {message}"),
            advice=QUARANTINE if code in OUR_MISTAKE else BACKOFF,
            rejects=tuple(_subscription(stream) for stream in named or streams),
        )


def _streams(subscriptions: tuple[Subscription, ...]) -> dict[str, None]:
    return dict.fromkeys(f"{code}@{wanted.channel}" for wanted in subscriptions for code in wanted.codes)


def _subscription(stream: str) -> Subscription:
    code, _, channel = stream.partition("@")
    return Subscription(channel, (code,))


def describe(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a data frame from its stream's name, the code in upper case as in the payload."""
    raw = data if isinstance(data, str) else data.decode("utf-8", "replace")
    head = _STREAM.match(raw)
    frame: dict[str, Any] = {"stream": head[1]} if head else json_object(raw)
    stream, symbol = frame.get("stream"), frame.get("s")
    if not isinstance(stream, str):
        return "", symbol if isinstance(symbol, str) else ""
    code, at, channel = stream.partition("@")
    # streams over all symbols ("!miniTicker@arr") have no code
    return (channel, code.upper()) if at and not code.startswith("!") else (stream, "")


def mark(data: str | bytes) -> Mark | None:
    """The exchange's own numbers: of diff depth ``U``, ``u`` (and ``pu``), of trades ``t``, of aggregates ``a``.

    Diff depth is promised to be without holes (``U`` = ``u`` + 1, web-socket-streams.md, 2026-07-21; futures name
    their predecessor in ``pu``). Trades are numbered one by one for each symbol, which nothing promises: UNSURE. The
    numbers of all else only tell which is newer.
    """
    raw = data if isinstance(data, str) else data.decode("utf-8", "replace")
    head = _STREAM.match(raw)
    if head is None:
        return None
    code, _, channel = head[1].partition("@")
    key = (channel, code.upper()) if channel and not code.startswith("!") else (head[1], "")
    if channel.startswith("depth"):
        depth = _DEPTH.search(raw, head.end())
        if depth:
            last, previous = int(depth[2]), int(depth[3]) if depth[3] else None
            return Mark(key, last, last, first=int(depth[1]), last=last, previous=previous)
        found = _LEVELS.search(raw, head.end())
    else:
        found = _ORDERS.get(channel, _EVENT_TIME).search(raw, head.end())
    if found is None:
        return None
    number = int(found[1])
    if channel in _COUNTED:
        return Mark(key, number, number, first=number, last=number, promised=False, counted=True)
    return Mark(key, number, number)


BINANCE = Exchange(
    code="binance",
    name_ko="[바이낸스]",
    name_en="[Binance]",
    ws_url="wss://stream.binance.com:9443/stream",
    ping_interval=20,
    ping_timeout=10,
    link_timeout=45,
    message_timeout=300,
    max_lifetime=86_400,
    gives_notice=True,
    channels=(
        Channel(name="trade", portable="trade"),
        Channel(name="depth@100ms", portable="book"),
        Channel(name="ticker", portable="ticker"),
        Channel(name="aggTrade"),
        Channel(name="depth"),
        Channel(name="depth<levels>", pattern=r"depth(5|10|20)(@100ms)?"),
        Channel(name="bookTicker"),
        Channel(name="miniTicker"),
        Channel(name="ticker_<window>", pattern=r"ticker_(1h|4h|1d)"),
        Channel(name="kline_<interval>", pattern=r"kline_(1s|(1|3|5|15|30)m|(1|2|4|6|8|12)h|[13]d|1w|1M)"),
        Channel(name="avgPrice"),
    ),
    code_format="{base}{quote}",
    code_case="lower",
    heartbeats=(
        Heartbeat(by=By.SERVER, form=Form.CONTROL, interval=20, limit=60),
        Heartbeat(by=By.CLIENT, form=Form.CONTROL),
    ),
    # 1008 means too many messages: the next connection has a fresh budget, so it need not be quarantined, but an
    # address that is cut repeatedly is banned, so it must not come back at once either
    close_codes={1008: after(60)},
    limits=Limits(connects=Rate(300, 300), messages=(Rate(5, 1),), subscriptions=1024),
    make_session=BinanceSession,
    describe=describe,
    mark=mark,
    sources={
        **OWN,
        "ws_url": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21)",
        "heartbeats": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21): the server pings every 20 s and "
        "cuts after 60 s without a pong; our own ping proves the link to us",
        "ping_interval": "own choice: as often as the server's ping; pings count among the 5 messages a second",
        "ping_timeout": GUIDE,
        "link_timeout": "own choice: two of the server's pings (doc, 20 s) must have been lost",
        "message_timeout": "own choice: quiet symbols are silent for minutes, and there is no snapshot to ask for",
        "max_lifetime": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21): 24 h",
        "close_codes": "1008 for too many messages: nautilus_trader's Binance adapter (connector, 2026-07-02), not in "
        "the documentation: UNSURE",
        "limits.connects": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21): 300 in 5 min for an address",
        "limits.messages": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21): 5 a second on a connection, "
        "PING, PONG and JSON counted; beyond it a disconnect, repeated ones a ban",
        "limits.subscriptions": "binance-spot-api-docs web-socket-streams.md (doc, 2026-07-21): 1024 streams",
        "limits.argument_bytes": "none published: UNSURE",
        "limits.sockets": "none published: UNSURE",
    },
)
