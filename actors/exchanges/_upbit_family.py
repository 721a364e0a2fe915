"""What Upbit and Bithumb have in common: arrays that replace, snapshots instead of acks, two kinds of ping.

Both take one JSON array as the whole subscription of a socket: a later array *replaces* the earlier one. Neither
acknowledges it; each code is answered by a frame marked ``SNAPSHOT``, and unknown codes by nothing. So the first data
of a channel confirms it, and the same array sent again is a probe: fresh snapshots prove that the data path lives.
Sources: docs.upbit.com/kr/reference/websocket-guide, apidocs.bithumb.com (웹소켓), both read 2026-11-23.
"""

import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from actors.errors import BACKOFF, QUARANTINE, clean
from actors.exchange import (
    DATA,
    By,
    Channel,
    Exchange,
    Form,
    Frame,
    Heartbeat,
    Kind,
    Session,
    Subscription,
    json_object,
)
from actors.exchanges._reading import fields, text
from actors.marks import Mark
from actors.replacing import Replacing

CHANNELS = (
    Channel(name="trade", portable="trade", snapshot=True),
    Channel(name="orderbook", portable="book", snapshot=True),
    Channel(name="ticker", portable="ticker", snapshot=True),
)

HEARTBEATS = (
    Heartbeat(by=By.CLIENT, form=Form.CONTROL, limit=60),
    # whether a control ping keeps the idle timer from running out is not known for Upbit, so the text goes out too;
    # its answer {"status":"UP"} comes on the server's own ten-second schedule, hence is no answer to wait for
    Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload="PING", answered=False, limit=60),
)

OUR_MISTAKE = frozenset({"INVALID_AUTH", "WRONG_FORMAT", "NO_TICKET", "NO_TYPE", "NO_CODES", "INVALID_PARAM"})
"""Error names that say that what we sent is wrong: sending it again sooner does not help."""

# the first two keys of every data frame, in both key formats; whatever differs is read as JSON
_HEAD = re.compile(rb'\{"(?:type|ty)":"([^"\\]+)","(?:code|cd)":"([^"\\]+)"')
_SNAPSHOT = b"SNAPSHOT"
_SEQUENTIAL_ID = re.compile(rb'"(?:sequential_id|sid)":(\d+)')
_TIMESTAMP = re.compile(rb'"(?:timestamp|tms)":(\d+)')

_HEARTBEAT = Frame(Kind.HEARTBEAT)
_PROBE_ANSWER = Frame(Kind.CONTROL, "snapshot that repeats the last delivered frame", probe=True)

Key = tuple[bytes, bytes]
"""Channel and code, as in the frame."""


class UpbitFamilySession(Session):
    """One connection to Upbit or Bithumb.

    Args:
        exchange: The profile.
        subscriptions: Native channels and codes.
        ticket: Makes the unique name that each subscription array must carry.
    """

    def __init__(
        self,
        exchange: Exchange,
        subscriptions: tuple[Subscription, ...],
        ticket: Callable[[], object] = uuid.uuid4,
    ) -> None:
        super().__init__(exchange, subscriptions)
        self._ticket = ticket
        self._unconfirmed = self._promised(subscriptions)
        self._probing = False
        # the last delivered frame of each channel and code, unread until a probe's answer is compared with it
        self._last: dict[Key, bytes] = {}
        self._wanted = _keys(subscriptions)

    def subscribe(self) -> Sequence[str | bytes]:
        """One text frame with everything wanted, under a fresh ticket; none if nothing is wanted."""
        if not self.subscriptions:
            return ()
        wanted = [{"type": each.channel, "codes": each.codes} for each in self.subscriptions]
        array = [{"ticket": str(self._ticket())}, *wanted, {"format": "DEFAULT"}]
        return (json.dumps(array, separators=(",", ":")),)

    def change(self, subscriptions: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """The whole list in one frame, which replaces the list before; None for no list at all: there is no such frame.

        It is answered by a snapshot of every code, of the old ones as of a probe. Whether the exchange says everything
        while it replaces the list is not known.
        """
        if not subscriptions:
            return None
        new = self._promised(subscriptions)
        self._unconfirmed = self._unconfirmed & new | new - self._promised(self.subscriptions)
        self.subscriptions = subscriptions
        wanted = self._wanted = _keys(subscriptions)
        self._last = {key: last for key, last in self._last.items() if key in wanted}
        self.replacing = Replacing({key: wanted[key] for key in self._last}) if self._last else None
        return self.probe()

    def again(self, rest: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """The whole list, as for a probe."""
        del rest
        return self.probe()

    def pending(self) -> frozenset[str]:
        """The channels that promise a snapshot and have said nothing yet; the first data of each confirms it."""
        return frozenset(channel.decode() for channel in self._unconfirmed)

    def probe(self) -> Sequence[str | bytes]:
        """The subscription again: from now on a snapshot is an answer, and delivered only if it brings news."""
        self._probing = True
        return self.subscribe()

    def _promised(self, subscriptions: tuple[Subscription, ...]) -> set[bytes]:
        channels = {wanted.channel for wanted in subscriptions}
        return {name.encode() for name in channels if self.exchange.channel(name).snapshot}

    def classify(self, data: str | bytes) -> Frame:
        """Data, an error, the answer to ``PING`` or to a probe; unknown shapes are reported, never delivered."""
        raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
        head = _HEAD.match(raw)
        return self._data((head[1], head[2]), raw) if head else self._unusual(raw)

    def _data(self, key: Key, raw: bytes) -> Frame:
        if self._probing and _SNAPSHOT in raw:
            if self.replacing is not None and self.replacing.owes(key):
                self.replacing.answered(key, proven=self._equals_last(key, raw))
            if self._repeats(key, raw):
                return _PROBE_ANSWER
        if key in self._wanted:  # frames of an earlier list may come late
            self._last[key] = raw
        if key[0] not in self._unconfirmed:
            return DATA
        self._unconfirmed.discard(key[0])
        return Frame(Kind.DATA, confirms=(key[0].decode(),))

    def _equals_last(self, key: Key, raw: bytes) -> bool:
        """Whether a snapshot restates the frame of its key that was delivered last."""
        new, old = mark(raw), mark(self._last[key])
        return new is not None and old is not None and new.snapshot and new.identity == old.identity

    def _repeats(self, key: Key, raw: bytes) -> bool:
        """Whether a frame is a snapshot without news.

        Snapshots carry the time of the last change (Upbit's were up to 143 s old: arbitrage-observatory upbit profile,
        wire, 2026-09-23; Bithumb's: UNSURE). In a recorded Upbit session the frames of one channel and code came in the
        order of ``timestamp``, whose unit differs between channels. Trades did not come in the order of their
        ``sequential_id``, but it is unique and so tells whether two are the same.
        """
        last = self._last.get(key)
        new = json_object(raw)
        if last is None or _field(new, "stream_type", "st") != "SNAPSHOT":
            return False
        old = json_object(last)
        trade = _number(new, "sequential_id", "sid")
        if trade and trade == _number(old, "sequential_id", "sid"):
            return True
        return _number(new, "timestamp", "tms") <= _number(old, "timestamp", "tms")

    def _unusual(self, raw: bytes) -> Frame:
        frame = json_object(raw)
        if "error" in frame:
            return _error(frame["error"])
        if frame.get("status") == "UP":
            return _HEARTBEAT
        if "method" in frame:
            return Frame(Kind.CONTROL, clean(text(frame["method"])))
        channel, code = _names(frame)
        if channel and code:
            return self._data((channel.encode("utf-8", "replace"), code.encode("utf-8", "replace")), raw)
        return Frame(Kind.UNKNOWN, clean(raw[:200].decode("utf-8", "replace"), 80))


def _keys(subscriptions: tuple[Subscription, ...]) -> dict[Key, str]:
    """Each code by its key: frames have it without the depth that a request may name (``KRW-BTC.15``)."""
    return {
        (each.channel.encode(), code.partition(".")[0].encode()): code for each in subscriptions for code in each.codes
    }


def describe(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a data frame, from the names of DEFAULT (type, code) or SIMPLE (ty, cd); else empty."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    head = _HEAD.match(raw)
    if head is None:
        return _names(json_object(raw))
    channel, code = head.groups()
    return channel.decode("utf-8", "replace"), code.decode("utf-8", "replace")


def mark(data: str | bytes) -> Mark | None:
    """A trade's ``sequential_id``, unique and in no order; of all else the bytes, in the order of ``timestamp``.

    None of the numbers is without holes. A snapshot has the identity of the frame that it restates, if all else in it
    is the same.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    head = _HEAD.match(raw)
    if head is None:
        return None
    channel = head[1].decode("utf-8", "replace")
    key = channel, head[2].decode("utf-8", "replace")
    snapshot = _SNAPSHOT in raw
    if channel == "trade":
        number = _SEQUENTIAL_ID.search(raw)
        return Mark(key, int(number[1]), None, snapshot) if number else None
    time = _TIMESTAMP.search(raw)
    identity = hash(raw.replace(_SNAPSHOT, b"REALTIME") if snapshot else raw)
    return Mark(key, identity, int(time[1]) if time else None, snapshot)


def _names(frame: dict[str, Any]) -> tuple[str, str]:
    channel, code = _field(frame, "type", "ty"), _field(frame, "code", "cd")
    return (channel, code) if isinstance(channel, str) and isinstance(code, str) else ("", "")


def _field(frame: dict[str, Any], default: str, simple: str) -> Any:
    return frame.get(default, frame.get(simple))


def _number(frame: dict[str, Any], default: str, simple: str) -> float:
    value = _field(frame, default, simple)
    return value if isinstance(value, int | float) else 0


def _error(error: Any) -> Frame:
    name, message = text(fields(error).get("name")), text(fields(error).get("message"))
    advice = QUARANTINE if name in OUR_MISTAKE else BACKOFF
    return Frame(Kind.ERROR, clean(f"{name}: {message}"), advice=advice)
