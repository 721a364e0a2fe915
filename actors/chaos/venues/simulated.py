"""An exchange of our own for tests with many connectors: plain JSON, and nothing in its way.

``{"op":"subscribe","id":1,"channel":"trade","codes":["BTC-USD"]}`` is answered by ``{"op":"subscribed",…}`` with the
codes that exist, and by a snapshot of each; ``{"op":"unsubscribe",…}`` by ``{"op":"unsubscribed",…}``;
``{"op":"probe","id":2}`` by ``{"op":"probed","id":2}``; anything else by ``{"op":"error",…}``. What becomes of codes
that do not exist is a switch, :class:`Unknown`. Every frame of data carries ``n``, the running number of its channel
and code; a snapshot, that of the frame it restates.
"""

import enum
import itertools
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import attrs

from actors.chaos.board import Board, Follower
from actors.chaos.ledger import Role
from actors.chaos.link import Link
from actors.chaos.market import Quote, Topic
from actors.errors import QUARANTINE, clean
from actors.exchange import DATA, Channel, Exchange, Frame, Kind, Limits, Rate, Session, Subscription, json_object
from actors.marks import Mark
from actors.subscriptions import grouped, topics

CHANNELS = ("trade", "book", "ticker")
_HEAD = re.compile(r'\{"channel":"([^"\\]+)","code":"([^"\\]+)","n":(\d+)')
_SNAPSHOT = ',"snapshot":true}'


class Unknown(enum.StrEnum):
    """What a subscription to a code that does not exist leads to; exchanges do all of this."""

    PASSED_OVER = "passed over"
    """Nothing: the ack names the others."""
    NAMED = "named"
    """An error that names it, beside the ack of the others."""
    REFUSED = "refused"
    """An error that does not name it; nothing of the request is subscribed to."""
    FATAL = "fatal"
    """The connection ends without a word."""


@attrs.frozen(kw_only=True)
class SimulatedVenue:
    """The rules: none but those of the module."""

    codes: tuple[str, ...] = ("BTC-USD", "ETH-USD", "XRP-USD")
    path: str = "/"
    connects: Rate | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    unknown: Unknown = Unknown.PASSED_OVER

    def judge(self, path: str) -> int:
        """Every path is let in."""
        del path
        return 101

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return SimulatedConversation(link, board, self.unknown)

    def render(self, topic: Topic, quote: Quote, number: int, *, style: Hashable = None, snapshot: bool = False) -> str:
        """A text frame."""
        del style
        frame: dict[str, Any] = {"channel": topic.channel, "code": topic.code, "n": number, "at": quote.at // 1_000_000}
        if topic.channel == "book":
            levels = quote.levels(5)
            frame["asks"] = [[ask, size] for ask, _, size, _ in levels]
            frame["bids"] = [[bid, size] for _, bid, _, size in levels]
        else:
            frame |= {"price": quote.price, "size": quote.size}
        return _json({**frame, "snapshot": True} if snapshot else frame)

    def repeats(self, topic: Topic) -> float:
        """No frame repeats another."""
        del topic
        return 0.0


class SimulatedConversation(Follower):
    """One connection."""

    def __init__(self, link: Link, board: Board, unknown: Unknown) -> None:
        super().__init__(link, board)
        self._unknown = unknown

    def received(self, data: str | bytes) -> None:
        """A subscription, its end, a probe, or an error."""
        match json_object(data):
            case {"op": "subscribe", "channel": str(channel), "codes": [*codes], **rest} if channel in CHANNELS:
                self._subscribe(rest.get("id"), channel, [str(code) for code in codes])
            case {"op": "unsubscribe", "channel": str(channel), "codes": [*codes], **rest}:
                for code in codes:
                    self.board.unfollow(self, Topic(channel, str(code)))
                self._say(op="unsubscribed", id=rest.get("id"), channel=channel, codes=codes)
            case {"op": "probe", **rest}:
                self._say(op="probed", id=rest.get("id"))
            case request:
                self._say(op="error", id=request.get("id"), message="no such request")

    def _subscribe(self, number: object, channel: str, codes: list[str]) -> None:
        known = [code for code in codes if code in self.board.market]
        if len(known) < len(codes):
            match self._unknown:
                case Unknown.PASSED_OVER:
                    pass
                case Unknown.NAMED:
                    bad = [code for code in codes if code not in known]
                    self._say(op="error", id=number, channel=channel, codes=bad, message="no such code")
                case Unknown.REFUSED:
                    self._say(op="error", id=number, channel=channel, message="bad request")
                    return
                case Unknown.FATAL:
                    self.link.end(None, "a code that does not exist")
                    return
        self._say(op="subscribed", id=number, channel=channel, codes=known)
        for code in known:
            topic = Topic(channel, code)
            self.board.snapshot(self, topic)
            self.board.follow(self, topic)

    def _say(self, **message: Any) -> None:
        self.link.send(_json(message), Role.ANSWER)


class SimulatedSession(Session):
    """The client's side of one connection."""

    def __init__(self, exchange: Exchange, subscriptions: tuple[Subscription, ...]) -> None:
        super().__init__(exchange, subscriptions)
        self._numbers = itertools.count(1)
        # by number, until it is answered
        self._asked: dict[int, Subscription] = {}
        # what was asked for and not rejected
        self._topics = dict.fromkeys(topics(subscriptions))
        self._first = self._request("subscribe", subscriptions)

    def subscribe(self) -> Sequence[str | bytes]:
        """One frame a channel, numbered from 1."""
        return self._first

    def change(self, subscriptions: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """The end of what is no longer wanted, and what is new; numbered on."""
        old, new = self._topics, dict.fromkeys(topics(subscriptions))
        self.subscriptions, self._topics = subscriptions, new
        return [
            *self._request("unsubscribe", grouped(topic for topic in old if topic not in new)),
            *self._request("subscribe", grouped(topic for topic in new if topic not in old)),
        ]

    def pending(self) -> frozenset[str]:
        """The numbers of the requests that have no answer; the ack of each confirms it."""
        return frozenset(map(str, self._asked))

    def _request(self, op: str, wanted: Iterable[Subscription]) -> list[str]:
        frames: list[str] = []
        for each in wanted:
            number = next(self._numbers)
            self._asked[number] = each
            frames.append(_json({"op": op, "id": number, "channel": each.channel, "codes": each.codes}))
        return frames

    def probe(self) -> Sequence[str | bytes]:
        """A question that is answered with the number 0."""
        return (_json({"op": "probe", "id": 0}),)

    def classify(self, data: str | bytes) -> Frame:
        """Data starts with its channel; all else has an ``op``."""
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if text.startswith('{"channel":"'):
            return DATA
        match json_object(text):
            case {"op": "subscribed" | "unsubscribed", "id": number}:
                return Frame(Kind.ACK, confirms=(str(number),) if self._asked.pop(number, None) else ())
            case {"op": "probed"}:
                return Frame(Kind.CONTROL, probe=True)
            case {"op": "error", "message": message, "channel": str(channel), "codes": [*codes]}:
                return self._rejected(message, Subscription(channel, [str(code) for code in codes]))
            case {"op": "error", "message": message, "id": int(number)} if number in self._asked:
                return self._rejected(message, self._asked.pop(number))
            case {"op": "error", "message": message}:
                return Frame(Kind.ERROR, clean(str(message)), advice=QUARANTINE)
            case _:
                return Frame(Kind.UNKNOWN, clean(text, 80))

    def _rejected(self, message: object, what: Subscription) -> Frame:
        for topic in topics((what,)):
            self._topics.pop(topic, None)
        return Frame(Kind.REJECTED, clean(str(message)), advice=QUARANTINE, rejects=(what,))


def describe(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a data frame."""
    match json_object(data):
        case {"channel": str(channel), "code": str(code)}:
            return channel, code
        case _:
            return "", ""


def mark(data: str | bytes) -> Mark | None:
    """The running number, promised to be without holes."""
    head = _HEAD.match(data if isinstance(data, str) else data.decode("utf-8", "replace"))
    if head is None:
        return None
    number = int(head[3])
    snapshot = head.string.endswith(_SNAPSHOT)
    return Mark((head[1], head[2]), number, number, snapshot, first=number, last=number, counted=True)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


SIMULATED = Exchange(
    code="simulated",
    name_ko="[모의]",
    name_en="[Simulated]",
    # the port is the simulated exchange's own: attrs.evolve(SIMULATED, ws_url=sim.url)
    ws_url="ws://127.0.0.1:1/",
    channels=tuple(Channel(name=name, portable=name, snapshot=True) for name in CHANNELS),
    code_format="{base}-{quote}",
    code_case="upper",
    limits=Limits(gate=Rate(10_000, 1)),
    make_session=SimulatedSession,
    describe=describe,
    mark=mark,
)
