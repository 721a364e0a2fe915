"""The rules of Binance spot: streams by URL or by request, acks by number, pings that must be answered.

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, 2026-07-21; the close code for too many
messages is that of nautilus_trader's adapter. What they leave open is a switch.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
import trio

from actors.chaos.board import Board, Follower
from actors.chaos.ledger import Role, Shape
from actors.chaos.link import Link
from actors.chaos.market import Quote, Topic
from actors.chaos.venues.binance_frames import payload
from actors.exchange import Rate

CHANNELS = re.compile(
    r"trade|aggTrade|depth(5|10|20)?(@100ms)?|bookTicker|miniTicker|ticker|ticker_(1h|4h|1d)|avgPrice"
    r"|kline_(1s|(1|3|5|15|30)m|(1|2|4|6|8|12)h|[13]d|1w|1M)"
)
MAX_STREAMS = 1024
CONNECTS = Rate(300, 300)
MESSAGES = Rate(5, 1)


@attrs.frozen
class Wrapping:
    """How a connection wants its frames: with the combined wrapper, with times in microseconds."""

    combined: bool = True
    micro: bool = False


@attrs.frozen(kw_only=True)
class BinanceVenue:
    """Binance's public spot streams."""

    codes: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT")
    path: str = "/stream"
    connects: Rate | None = CONNECTS
    headers: tuple[tuple[bytes, bytes], ...] = ()
    messages: Rate = MESSAGES
    """What a client may send: pings, pongs and requests together; beyond it the connection ends."""
    ping_every: float = 20.0
    pong_within: float = 60.0
    max_life: float = 86_400.0

    messages_close: int | None = 1008
    """Close code of a client that sends more. Unsure; None: TCP just ends."""
    trade_step: int = 1
    """By how much the number of a trade is above the one before. Unsure: that it is one is seen, and not promised."""
    pong_close: int | None = None
    """Close code of a client that owes a pong. Unsure; None: TCP just ends."""
    life_close: int | None = None
    """Close code at the end of a connection's life. Unsure; None: TCP just ends."""
    acks_unknown: bool = True
    """Whether a subscription to an unknown symbol is acknowledged, and then silent. Unsure; else it is refused."""

    def judge(self, path: str) -> int:
        """Only ``/ws…`` and ``/stream…`` exist."""
        return 101 if re.match(r"/(ws|stream)(/|\?|$)", path) else 404

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return BinanceConversation(link, board, self)

    def render(self, topic: Topic, quote: Quote, number: int, *, style: Hashable = None, snapshot: bool = False) -> str:
        """A text frame. Trades and depth updates carry the running number: ``U`` and ``u`` have no gaps."""
        del snapshot
        if topic.channel in ("trade", "aggTrade"):
            number *= self.trade_step
        how = style if isinstance(style, Wrapping) else Wrapping()
        data = payload(topic.channel, quote, number, micro=how.micro)
        return _json({"stream": f"{topic.code.lower()}@{topic.channel}", "data": data} if how.combined else data)

    def repeats(self, topic: Topic) -> float:
        """No frame repeats another."""
        del topic
        return 0.0


class BinanceConversation(Follower):
    """One connection to Binance."""

    def __init__(self, link: Link, board: Board, venue: BinanceVenue) -> None:
        super().__init__(link, board)
        self._venue = venue
        url = urlsplit(link.path)
        query = parse_qs(url.query)
        self._wrapping = Wrapping(url.path.startswith("/stream"), query.get("timeUnit") == ["MICROSECOND"])
        by_path = unquote(url.path).split("/")[2:]
        self._by_url = [name for name in (*by_path, *query.get("streams", [""])[0].split("/")) if name]
        self._heard: deque[float] = deque()
        self._owed: dict[bytes, None] = {}
        self._unknown: dict[str, None] = {}

    def style(self, topic: Topic) -> Hashable:
        """The same for all topics."""
        return self._wrapping

    def opened(self) -> None:
        """Streams named in the URL begin without an ack."""
        self.link.later(self._venue.ping_every, self._ping)
        self.link.later(self._venue.max_life, self._die)
        for name in self._by_url:
            self._follow(name)

    def control(self, shape: Shape, payload: bytes) -> None:
        """Pings and pongs count as messages; a pong settles the pings up to its own."""
        self._count()
        if shape is Shape.PONG and payload in self._owed:
            # one pong answers all the pings before it; a pong that nobody asked for answers none
            while self._owed and next(iter(self._owed)) != payload:
                del self._owed[next(iter(self._owed))]
            del self._owed[payload]

    def received(self, data: str | bytes) -> None:
        """A request is answered under its own number."""
        self._count()
        try:
            request = json.loads(data)
        except (ValueError, RecursionError) as error:
            self._say({"code": 3, "msg": f"Invalid JSON: {error}"})
            return
        fields = cast("dict[str, Any]", request) if isinstance(request, dict) else {}
        number, params = fields.get("id"), fields.get("params")
        answer = _METHODS.get(str(fields.get("method")))
        if answer is None or not (params is None or isinstance(params, list)) or not _valid_id(number):
            self._say({"code": 2, "msg": "Invalid request", "id": number if _valid_id(number) else None})
            return
        self._say({**answer(self, cast("list[Any]", params or [])), "id": number})

    def retiring(self) -> None:
        """``serverShutdown``, with or without the wrapper; how long before is not said."""
        data = {"e": "serverShutdown", "E": self.board.wall() // 1_000_000}
        self._say({"stream": "!serverShutdown", "data": data} if self._wrapping.combined else data)

    def subscribe(self, params: list[Any]) -> dict[str, Any]:
        """SUBSCRIBE: follow every stream named, or none."""
        names = [str(name) for name in params]
        unknown = [name for name in names if self._topic(name) is None]
        if not names or len(self.topics) + len(names) > MAX_STREAMS or (unknown and not self._venue.acks_unknown):
            return {"code": 2, "msg": f"Invalid request: {', '.join(unknown) or 'no stream, or too many'}"}
        for name in names:
            self._follow(name)
        return {"result": None}

    def unsubscribe(self, params: list[Any]) -> dict[str, Any]:
        """UNSUBSCRIBE: streams not followed are passed over."""
        for name in map(str, params):
            self._unknown.pop(name, None)
            topic = self._topic(name)
            if topic is not None:
                self.board.unfollow(self, topic)
        return {"result": None}

    def list_subscriptions(self, _params: list[Any]) -> dict[str, Any]:
        """LIST_SUBSCRIPTIONS: by name."""
        followed = [f"{topic.code.lower()}@{topic.channel}" for topic in self.topics]
        return {"result": [*followed, *self._unknown]}

    def set_property(self, params: list[Any]) -> dict[str, Any]:
        """SET_PROPERTY: ``combined`` is the only one."""
        match params:
            case ["combined", bool(combined)]:
                self._wrapping = attrs.evolve(self._wrapping, combined=combined)
                return {"result": None}
            case _:
                return {"code": 0, "msg": "Unknown property"}

    def get_property(self, params: list[Any]) -> dict[str, Any]:
        """GET_PROPERTY: ``combined`` is the only one."""
        return {"result": self._wrapping.combined} if params == ["combined"] else {"code": 0, "msg": "Unknown property"}

    def _topic(self, name: str) -> Topic | None:
        code, _, channel = name.partition("@")
        known = code == code.lower() and code.upper() in self.board.market and CHANNELS.fullmatch(channel)
        return Topic(channel, code.upper()) if known else None

    def _follow(self, name: str) -> None:
        topic = self._topic(name)
        if topic is None:
            self._unknown[name] = None
        else:
            self.board.follow(self, topic)

    def _say(self, message: dict[str, Any]) -> None:
        self.link.send(_json(message), Role.ANSWER)

    def _count(self) -> None:
        now, most = trio.current_time(), self._venue.messages
        self._heard.append(now)
        while self._heard[0] <= now - most.seconds:
            self._heard.popleft()
        if len(self._heard) > most.count:
            self.link.end(self._venue.messages_close, "Too many requests")

    def _ping(self) -> None:
        payload = str(self.board.wall() // 1_000_000).encode()
        if self.link.ping(payload):
            self._owed[payload] = None
            self.link.later(self._venue.pong_within, lambda: self._check_pong(payload))
        self.link.later(self._venue.ping_every, self._ping)

    def _check_pong(self, payload: bytes) -> None:
        if payload in self._owed:
            self.link.end(self._venue.pong_close, "no pong")

    def _die(self) -> None:
        self.link.end(self._venue.life_close, "24 hours are over")


def acknowledge(text: str) -> str | None:
    """The ack that Binance sends for a request, None where the frame is none."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    fields = cast("dict[str, Any]", request)
    return (
        _json({"result": None, "id": fields.get("id")})
        if fields.get("method") in ("SUBSCRIBE", "UNSUBSCRIBE")
        else None
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _valid_id(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[0-9A-Za-z]{1,36}", value) is not None
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


_METHODS: dict[str, Callable[[BinanceConversation, list[Any]], dict[str, Any]]] = {
    "SUBSCRIBE": BinanceConversation.subscribe,
    "UNSUBSCRIBE": BinanceConversation.unsubscribe,
    "LIST_SUBSCRIPTIONS": BinanceConversation.list_subscriptions,
    "SET_PROPERTY": BinanceConversation.set_property,
    "GET_PROPERTY": BinanceConversation.get_property,
}
