"""What a feed yields, as JSON: one object a line, the keys always in the same order (pure)."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from actors.exchange import Kind
from actors.items import Batch, Down, Gap

Item = Batch | Down | Gap


class Lines:
    """Writes the items of one feed, and counts what it has written.

    Args:
        feed: The feed's name.
        exchange: Its exchange's code.
        raw: Write every frame as a message, what it is for notwithstanding.
        control: Write frames that are no data (acks, heartbeats, notices), by their kind.
        status: Write interruptions when they begin, too.
    """

    def __init__(
        self, feed: str, exchange: str, *, raw: bool = False, control: bool = False, status: bool = False
    ) -> None:
        self.messages = 0
        self.bytes = 0
        """Of the payloads, text as UTF-8."""
        self.gaps = 0
        self._head = {"feed": feed, "exchange": exchange}
        self._raw = raw
        self._control = control
        self._status = status

    def lines(self, item: Item, most: int | None = None) -> bytes:
        """The item's lines, empty where it has none; of a batch only as many that there are ``most`` messages."""
        match item:
            case Gap():
                return self.gap(item.reason, item.since, item.until, item.seconds)
            case Down():
                next_attempt = None if item.next_attempt is None else iso(item.next_attempt)
                down = {"reason": item.reason, "since": iso(item.since), "next_attempt": next_attempt}
                return self._line("down", down) if self._status else b""
            case Batch() if item.kind is Kind.DATA or self._raw:
                frames = item.frames if most is None else item.frames[: most - self.messages]
                return b"".join([self._message(frame, item.session, iso(item.received)) for frame in frames])
            case Batch():
                return b"".join([self._other(frame, item) for frame in item.frames]) if self._control else b""

    def gap(self, reason: str, since: int, until: int | None, seconds: float) -> bytes:
        """The line of a gap; ``until`` is None if it is still open."""
        self.gaps += 1
        ends = {"from": iso(since), "to": None if until is None else iso(until), "seconds": round(seconds, 6)}
        return self._line("gap", {"reason": reason, **ends})

    def _message(self, frame: str | bytes, session: int, received: str) -> bytes:
        self.messages += 1
        self.bytes += len(frame if isinstance(frame, bytes) else frame.encode())
        return self._line("message", {"session": session, "n": self.messages, "received": received, **_payload(frame)})

    def _other(self, frame: str | bytes, batch: Batch) -> bytes:
        fields = {"kind": batch.kind.value, "session": batch.session, "received": iso(batch.received)}
        return self._line("control", {**fields, **_payload(frame)})

    def _line(self, kind: str, fields: dict[str, Any]) -> bytes:
        return line({"type": kind, **self._head, **fields})


def line(fields: dict[str, Any], *, default: Callable[[Any], Any] | None = None) -> bytes:
    """One object as a line of JSON."""
    return orjson.dumps(fields, default, orjson.OPT_APPEND_NEWLINE)


def iso(nanoseconds: int) -> str:
    """A moment as ``2026-11-23T01:02:03.123456Z``."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _payload(frame: str | bytes) -> dict[str, Any]:
    if isinstance(frame, str):
        return {"data": frame}
    try:
        return {"binary": True, "data": frame.decode()}
    except UnicodeDecodeError:
        return {"data_b64": base64.b64encode(frame).decode("ascii")}
