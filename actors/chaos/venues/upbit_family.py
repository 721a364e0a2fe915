"""The rules of Upbit and Bithumb: arrays that replace, snapshots for acks, an error and then a Close, a short patience.

Sources: docs.upbit.com/kr/reference (websocket-guide, connection, websocket-error, rate-limits 2026-10-07),
apidocs.bithumb.com (기본-정보, 연결-관리, 요청-포맷, 웹소켓-에러), and the wire as probed in 2026-09 by
github.com/nemanull/arbitrage-observatory. What they leave open is a switch.
"""

import json
import re
from collections import deque
from collections.abc import Hashable
from typing import Any, cast

import attrs
import trio

from actors.chaos.board import Board, Follower
from actors.chaos.ledger import Role
from actors.chaos.link import Link
from actors.chaos.market import Quote, Topic
from actors.chaos.venues.upbit_frames import KST, Dialect, Style, frame
from actors.exchange import Rate

ERROR_CLOSE_AFTER = 0.15
"""Seconds from an error to the Close 1000 (wire: 150-180 ms)."""
UP_EVERY = 10.0
FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")
DEPTHS = (1, 5, 15, 30)
UPBIT_CONNECTS = Rate(5, 1)
BITHUMB_CONNECTS = Rate(10, 1)
UPBIT_MESSAGES = (Rate(5, 1), Rate(100, 60))
UPBIT_DIALECT = Dialect()
BITHUMB_DIALECT = Dialect(
    zone=KST, compact_dates=True, micro_books=True, java_numbers=False, sequence_base=1_079_953_210_371_761_664
)


@attrs.frozen(kw_only=True)
class UpbitVenue:
    """Upbit's public WebSocket."""

    codes: tuple[str, ...] = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
    path: str = "/websocket/v1"
    connects: Rate | None = UPBIT_CONNECTS
    headers: tuple[tuple[bytes, bytes], ...] = (
        (b"remaining-req", b"group=websocket; min=300; sec=3"),
        (b"limit-by-ip", b"Yes"),
    )
    channels: str = r"trade|orderbook|ticker|candle\.(1s|(1|3|5|10|15|30|60|240)m)"
    """Regular expression of the types."""
    only_snapshot: str = "is_only_snapshot"
    only_realtime: str = "is_only_realtime"
    """The options as the wire has them; any other spelling is ignored."""
    depth: int = 30
    """Levels of a book, and the most there can be."""
    strict_format: bool = True
    """Whether an unknown format is an error; else it means DEFAULT."""
    dialect: Dialect = UPBIT_DIALECT
    repeated_books: float = 0.0
    """Share of book frames that repeat the one before."""
    first_up: tuple[float, float] = (5.8, 7.5)
    """Seconds from the first text ``PING`` to the first ``{"status":"UP"}``, at least and at most."""
    messages: tuple[Rate, ...] = UPBIT_MESSAGES
    """Text frames that a client may send; beyond one of them the connection ends."""

    counts_messages: bool = True
    """Whether that limit exists. Unsure for Bithumb, which publishes none: then it is Upbit's."""
    messages_close: int | None = None
    """Close code beyond it. Unsure; None: TCP just ends."""
    idle_timeout: float = 60.0
    """Seconds without traffic after which it is dropped. Unsure: the wire says 60, the documentation 120."""
    idle_close: int | None = None
    """Close code on that occasion. Unsure; the wire had none: TCP just ended."""
    ping_keeps_idle_timer: bool = True
    """Whether a protocol ping and its pong count as something. Unsure for Upbit."""
    up_when_subscribed: bool = True
    """Whether a text ``PING`` is answered once something is subscribed to. Unsure for Upbit."""
    deaf: float = 0.0
    """Seconds for which nothing is said while an array replaces another. Not seen on the wire, and nowhere excluded."""

    def judge(self, path: str) -> int:
        """Every path is let in."""
        del path
        return 101

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return UpbitConversation(link, board, self)

    def render(
        self, topic: Topic, quote: Quote, number: int, *, style: Hashable = None, snapshot: bool = False
    ) -> bytes:
        """A binary frame of JSON; none of its fields is the running number."""
        del number
        how = style if isinstance(style, Style) else Style(depth=self.depth)
        return frame(topic.channel, quote, self.dialect, how, snapshot=snapshot)

    def repeats(self, topic: Topic) -> float:
        """Only books repeat themselves."""
        return self.repeated_books if topic.channel == "orderbook" else 0.0


@attrs.frozen(kw_only=True)
class BithumbVenue(UpbitVenue):
    """Bithumb's public WebSocket: Upbit's protocol with other spellings."""

    codes: tuple[str, ...] = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "BTC-ETH")
    connects: Rate | None = BITHUMB_CONNECTS
    headers: tuple[tuple[bytes, bytes], ...] = ()
    channels: str = "trade|orderbook|ticker"
    only_snapshot: str = "isOnlySnapshot"
    only_realtime: str = "isOnlyRealtime"
    depth: int = 15
    strict_format: bool = False
    dialect: Dialect = BITHUMB_DIALECT
    repeated_books: float = 0.45
    first_up: tuple[float, float] = (2.5, 3.5)


class UpbitConversation(Follower):
    """One connection to Upbit or Bithumb."""

    def __init__(self, link: Link, board: Board, venue: UpbitVenue) -> None:
        super().__init__(link, board)
        self._venue = venue
        self._format = "DEFAULT"
        self._depths: dict[str, int] = {}
        self._ups = False
        self._failed = False
        self._heard = deque[float](maxlen=max(most.count for most in venue.messages) + 1)

    def style(self, topic: Topic) -> Hashable:
        """The format is the whole connection's, the depth a code's."""
        return Style(self._format, self._depths.get(topic.code, self._venue.depth))

    def opened(self) -> None:
        """The idle timer starts."""
        self._watch_idleness()

    def received(self, data: str | bytes) -> None:
        """``PING``, or an array that replaces what was subscribed to."""
        if self._failed:
            return
        if self._venue.counts_messages:
            self._count()
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if text == "PING":
            self._begin_ups()
            return
        try:
            request = _objects(text)
            self._set_format(request)
            if any(each.get("method") == "LIST_SUBSCRIPTIONS" for each in request):
                self._list(request)
            else:
                wanted = _wanted(request, self._venue.channels)
                if self.topics and self._venue.deaf:
                    self.board.leave(self)
                    self.link.later(self._venue.deaf, lambda: self._replace(wanted))
                else:
                    self._replace(wanted)
        except _BadRequestError as error:
            self._fail(error.name)

    def _count(self) -> None:
        now = trio.current_time()
        self._heard.append(now)
        for most in self._venue.messages:
            if sum(at > now - most.seconds for at in self._heard) > most.count:
                self.link.end(self._venue.messages_close, "too many messages")

    def _replace(self, wanted: list[dict[str, Any]]) -> None:
        self.board.leave(self)
        self._depths.clear()
        for each in wanted:
            for spelled in each["codes"]:
                code = self._code(each["type"], str(spelled))
                # unknown and lower-case codes are passed over without a word
                if code not in self.board.market:
                    continue
                topic = Topic(each["type"], code)
                if each.get(self._venue.only_realtime) is not True:
                    self.board.snapshot(self, topic)
                if each.get(self._venue.only_snapshot) is not True:
                    self.board.follow(self, topic)

    def _code(self, channel: str, spelled: str) -> str:
        code, dot, depth = spelled.partition(".")
        if channel != "orderbook" or not dot:
            return spelled
        known = depth.isdigit() and int(depth) in DEPTHS
        self._depths[code] = min(int(depth), self._venue.depth) if known else self._venue.depth
        return code

    def _set_format(self, request: list[dict[str, Any]]) -> None:
        asked = next((each["format"] for each in request if "format" in each), "DEFAULT")
        if asked in FORMATS:
            self._format = asked
        elif self._venue.strict_format:
            raise _BadRequestError("WRONG_FORMAT")
        else:
            self._format = "DEFAULT"

    def _list(self, request: list[dict[str, Any]]) -> None:
        codes: dict[str, list[str]] = {}
        for topic in self.topics:
            codes.setdefault(topic.channel, []).append(topic.code)
        result = [{"type": channel, "codes": each} for channel, each in codes.items()]
        ticket = next(each["ticket"] for each in request if "ticket" in each)
        self._say({"method": "LIST_SUBSCRIPTIONS", "result": result, "ticket": ticket})

    def _fail(self, name: str) -> None:
        self._failed = True
        self._say({"error": {"name": name, "message": f"the request was refused: {name}"}})
        self.link.later(ERROR_CLOSE_AFTER, lambda: self.link.end(1000))

    def _say(self, message: dict[str, Any], role: Role = Role.ANSWER) -> None:
        self.link.send(json.dumps(message, separators=(",", ":")).encode(), role)

    def _begin_ups(self) -> None:
        if self._ups or (self.topics and not self._venue.up_when_subscribed):
            return
        self._ups = True
        low, high = self._venue.first_up
        self.link.later(self.board.random.uniform(low, high), self._up)

    def _up(self) -> None:
        self._say({"status": "UP"}, Role.HEARTBEAT)
        self.link.later(UP_EVERY, self._up)

    def _watch_idleness(self) -> None:
        last = self.link.last_message
        if self._venue.ping_keeps_idle_timer:
            last = max(last, self.link.last_control)
        left = last + self._venue.idle_timeout - trio.current_time()
        # a millisecond too early is on time: sums of floats need not come out even
        if left < 1e-3:
            self.link.end(self._venue.idle_close, "idle")
            left = self._venue.idle_timeout
        self.link.later(left, self._watch_idleness)


class _BadRequestError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _objects(text: str) -> list[dict[str, Any]]:
    """The request's objects, one of them with a ticket."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, list) or not all(isinstance(each, dict) for each in cast("list[Any]", request)):
        raise _BadRequestError("WRONG_FORMAT")
    objects = cast("list[dict[str, Any]]", request)
    if not any(each.get("ticket") for each in objects):
        raise _BadRequestError("NO_TICKET")
    return objects


def _wanted(request: list[dict[str, Any]], channels: str) -> list[dict[str, Any]]:
    """The request's type objects, each with its codes."""
    wanted = [each for each in request if "type" in each]
    if not wanted:
        raise _BadRequestError("NO_TYPE")
    for each in wanted:
        if not re.fullmatch(channels, str(each["type"])):
            raise _BadRequestError("INVALID_PARAM")
        codes = each.get("codes")
        if not isinstance(codes, list) or not codes:
            raise _BadRequestError("NO_CODES")
    return wanted
