"""Binance spot (바이낸스), public market data over the combined stream.

Streams are named ``<code>@<channel>`` with the code in lower case; every data frame keeps its wrapper
``{"stream":"…","data":{…}}``, which is what tells a partial book's code. Subscriptions are acknowledged by number.
Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, 2026-07-21.
"""

import json
import re
from collections.abc import Sequence
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

STREAMS_A_FRAME = 256
"""A full connection (1,024 streams) subscribes in four messages: one less than a second allows, pongs included."""

OUR_MISTAKE = frozenset({"0", "1", "2", "3"})
"""Error codes that say that what we sent is wrong: unknown property, wrong type, invalid request, invalid JSON."""

_WRAPPED = '{"stream":"'
_SHUTDOWN = '{"stream":"!serverShutdown"'
_STREAM = re.compile(r'\{"stream":"([^"\\]*)"')
_NOTICE = Frame(Kind.NOTICE, "serverShutdown: the server is about to go down")


class BinanceSession(Session):
    """One connection to Binance's combined stream."""

    def __init__(self, exchange: Exchange, subscriptions: tuple[Subscription, ...]) -> None:
        super().__init__(exchange, subscriptions)
        streams = [f"{code}@{wanted.channel}" for wanted in subscriptions for code in wanted.codes]
        starts = range(0, len(streams), STREAMS_A_FRAME)
        self._requests = {str(n): streams[start : start + STREAMS_A_FRAME] for n, start in enumerate(starts, 1)}

    def subscribe(self) -> Sequence[str | bytes]:
        """As few SUBSCRIBE requests as possible, numbered from 1."""
        return [
            json.dumps({"method": "SUBSCRIBE", "params": streams, "id": int(number)}, separators=(",", ":"))
            for number, streams in self._requests.items()
        ]

    def pending(self) -> frozenset[str]:
        """The numbers of the requests; the ack of each confirms it."""
        return frozenset(self._requests)

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
            return Frame(Kind.ACK, confirms=(number,) if number in self._requests else ())
        # unwrapped frames, should somebody's ws_url ask for them: a partial book names no symbol
        if "stream" in frame or "s" in frame or "lastUpdateId" in frame:
            return DATA
        return Frame(Kind.UNKNOWN, clean(raw, 80))

    def _error(self, frame: dict[str, Any]) -> Frame:
        error = fields(frame.get("error", frame))
        code = text(error.get("code"))
        kind = Kind.REJECTED if text(frame.get("id")) in self._requests else Kind.ERROR
        detail = clean(f"{code}: {text(error.get('msg'))}")
        return Frame(kind, detail, advice=QUARANTINE if code in OUR_MISTAKE else BACKOFF)


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
        "limits.sockets": "none published: UNSURE",
    },
)
