"""The log: one line for each change of state, readable on a terminal and JSON elsewhere."""

import logging
import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from actors.errors import WITHIN, Reason, Way, clean
from actors.events import (
    ChannelTrouble,
    ChildExited,
    ChildUnstopped,
    CodeRejected,
    Connected,
    Ending,
    Event,
    Failed,
    FeedEvent,
    GapReported,
    IntensityExceeded,
    LegLive,
    LegLost,
    LinkState,
    Live,
    NoOverlap,
    NothingLost,
    Noticed,
    NotKept,
    Overflowed,
    Paused,
    Quiet,
    Reconnecting,
    Renewed,
    Resubscribed,
    StateChanged,
    SubscriberFailed,
    Unconfirmed,
)
from actors.stats import ConnectorStats
from supervisors.standalone.lines import iso

LINES_EACH = 10
"""Attempts of one interruption that are told one by one."""
THEN_EVERY = 600.0
"""Seconds between two lines about further attempts."""


class Journal:
    """Writes log lines, of its own and about events: :meth:`hook` is an :data:`~actors.events.EventHook`.

    The guide's ``log_error``, ``log_warning``, ``log_info`` and ``log_debug`` are the levels of :attr:`log`.

    Args:
        write: Takes one line, newline included; must not block.
        terminal: Write for people; else JSON.
        level: The least level that is written, as ``logging`` has it.
        stats: The feeds' counts by name, for the incarnation that a line is about.
        wall: Nanoseconds UTC.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        terminal: bool,
        level: int = logging.INFO,
        stats: Mapping[str, ConnectorStats] | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.stats: Mapping[str, ConnectorStats] = stats or {}
        self._wall = wall
        self._spells: dict[str, _Spell] = {}
        render: Any = (
            structlog.dev.ConsoleRenderer(sort_keys=False, pad_event_to=14, timestamp_key="time")
            if terminal
            else structlog.processors.JSONRenderer(orjson.dumps)
        )
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            _Writer(write),
            processors=[structlog.processors.add_log_level, self._in_order, render],
            wrapper_class=structlog.make_filtering_bound_logger(level),
        )

    def hook(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        if isinstance(event, FeedEvent):
            self._feed_event(event)
            return
        match event:
            case ChannelTrouble():
                again = {} if event.delay is None else {"again_in_seconds": round(event.delay, 1)}
                self.log.warning("channel trouble", channel=event.channel, detail=event.error, **again)
            case ChildExited(ending=Ending.CRASHED):
                self.log.error("crashed", child=event.child, supervisor=event.supervisor, detail=event.error)
            case IntensityExceeded():
                self.log.error("too many crashes", child=event.child, supervisor=event.supervisor)
            case ChildUnstopped():
                self.log.error("does not stop", child=event.child, supervisor=event.supervisor)
            case Paused():
                self.log.warning("paused", seconds=round(event.seconds, 1))
            case NotKept():
                self.log.error("not kept", detail=event.error)
            case SubscriberFailed():
                self.log.error("subscriber failed", subscriber=event.subscriber, detail=event.error)
            case _:
                pass

    def alert(self, text: str) -> None:
        """Write an alert, one line whatever its length: the notifier's console."""
        self.log.info("alert", text=" | ".join(text.split("\n")).strip(" |"))

    @contextmanager
    def bridged(self) -> Generator[None]:
        """What libraries warn of by ``logging`` becomes a line here, for as long as the body runs."""
        handler = _Bridge(self.log)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)

    def _feed_event(self, event: FeedEvent) -> None:
        spell = self._spells.setdefault(event.origin.feed, _Spell())
        if isinstance(event, GapReported) and event.reason not in WITHIN:
            self._tell("info", "recovered", event, gap_seconds=round(event.seconds, 3), attempts=spell.attempts)
            del self._spells[event.origin.feed]
            return
        if isinstance(event, NothingLost):
            self._tell("info", "recovered, nothing lost", event, attempts=spell.attempts)
            del self._spells[event.origin.feed]
            return
        if isinstance(event, Reconnecting):
            spell.attempts += 1
        if isinstance(event, _CHANGES) and spell.attempts > LINES_EACH:
            if isinstance(event, Failed) and event.at >= spell.told_at + THEN_EVERY:
                spell.told_at = event.at
                why = {"reason": event.reason.value, "detail": event.detail}
                self._tell("warning", "still down", event, attempts=spell.attempts, **why)
            return
        spell.told_at = event.at
        self._tell_change(event)

    def _tell_change(self, event: FeedEvent) -> None:
        match event:
            case StateChanged(state=LinkState.CONNECTING):
                self._tell("info", "connecting", event)
            case StateChanged(state=LinkState.STOPPED):
                self._tell("info", "stopped", event)
            case StateChanged(state=LinkState.GAVE_UP):
                self._tell("error", "given up", event)
            case Connected():
                self._tell("info", "connected", event, session=event.session)
            case Live():
                self._tell("info", "live", event, session=event.session)
            case Failed():
                level = "info" if event.reason is Reason.REQUESTED else "warning"
                self._tell(level, "down", event, reason=event.reason.value, detail=event.detail)
            case Reconnecting():
                level = "error" if event.way is Way.QUARANTINE else "info"
                name = "quarantined" if event.way is Way.QUARANTINE else "reconnecting"
                self._tell(level, name, event, in_seconds=round(event.delay, 3), attempt=event.attempt)
            case _:
                self._tell_trouble(event)

    def _tell_trouble(self, event: FeedEvent) -> None:
        match event:
            case GapReported():
                self._tell("warning", "gap", event, reason=event.reason.value, gap_seconds=round(event.seconds, 3))
            case LegLost():
                about = {"reason": event.reason.value, "detail": event.detail, "left": event.left}
                self._tell("warning", "leg lost", event, session=event.session, **about)
            case LegLive():
                self._tell("info", "leg live", event, session=event.session)
            case Renewed():
                self._tell("info", "renewed", event, session=event.session, why=event.why)
            case NoOverlap():
                self._tell("warning", "no room for an overlap", event, why=event.why)
            case Overflowed():
                self._tell("warning", "slow consumer", event, policy=event.policy, waiting=event.depth)
            case Quiet():
                about = {"channel": event.channel, "code": event.code}
                self._tell("warning", "quiet", event, **about, silent_seconds=round(event.seconds, 1))
            case CodeRejected():
                about = {"channel": event.channel, "code": event.code}
                self._tell("error", "code rejected", event, **about, detail=event.detail)
            case Resubscribed():
                self._tell("info", "resubscribed", event, channel=event.channel, code=event.code)
            case Unconfirmed():
                self._tell("warning", "unconfirmed", event, channels=", ".join(event.channels))
            case Noticed():
                self._tell("info", "notice", event, detail=event.detail)
            case _:
                pass

    def _tell(self, level: str, name: str, event: FeedEvent, **fields: object) -> None:
        origin = event.origin
        known = self.stats.get(origin.feed)
        about = {"feed": origin.feed, "exchange": origin.exchange, "incarnation": known.incarnation if known else None}
        self.log.log(logging.getLevelNamesMapping()[level.upper()], name, **about, **fields)

    def _in_order(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        """When, how grave and what before everything else; no control character of anybody's."""
        first = {"time": iso(self._wall()), "level": line.pop("level"), "event": line.pop("event")}
        return {key: clean(value) if isinstance(value, str) else value for key, value in {**first, **line}.items()}


_CHANGES = (StateChanged, Connected, Live, Failed, Reconnecting)
"""What every attempt brings, and what is told less often after the tenth."""


@attrs.define
class _Spell:
    """One interruption as the log has told it."""

    attempts: int = 0
    told_at: float = -math.inf


class _Writer:
    """What structlog hands its finished lines to."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def msg(self, line: str | bytes) -> None:
        self._write((line if isinstance(line, bytes) else line.encode()) + b"\n")

    debug = info = warning = error = critical = exception = log = msg


class _Bridge(logging.Handler):
    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, clean(record.getMessage()), logger=record.name)
