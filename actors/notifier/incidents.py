"""Style ``incidents``: few messages, each of which is worth reading (pure).

Events go in by :meth:`Incidents.take`; :meth:`Incidents.step` says what is to be told by now, and
:attr:`Incidents.wake` when to ask again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs

from actors.errors import Reason, Way
from actors.events import (
    CodeRejected,
    Event,
    Failed,
    FeedEvent,
    GapReported,
    LegLive,
    LegLost,
    LinkState,
    Live,
    NoOverlap,
    Overflowed,
    Quiet,
    Reconnecting,
    StateChanged,
    Unconfirmed,
)
from actors.notifier.folding import Folding
from actors.notifier.folds import REPEATS, WAITS, Fold, Watched, gravest
from actors.notifier.handover import NOTHING, Before
from actors.notifier.hours import QuietHours, Window
from actors.notifier.notification import OUR_OWN_WISH, PAGES, Severity
from actors.notifier.reports import Beat, Concerns, Kind, Maintenance, Report, Started, Stopped

START_WAIT = 60.0
"""Seconds that the feeds have to go live before the summary of the start is sent without them."""
START_LEAST = 1.0
"""Seconds in which every feed has told of itself."""
CRASHES = 3
"""So many processes in a row that ended before their start was told: the next one does not wait for its feeds."""
CONCERNS_SHOWN = 10

TAKEN: frozenset[type[Event]] = frozenset(
    {
        CodeRejected,
        Failed,
        GapReported,
        LegLive,
        LegLost,
        Live,
        NoOverlap,
        Overflowed,
        Quiet,
        Reconnecting,
        StateChanged,
        Unconfirmed,
    }
)
"""The events that :meth:`Incidents.take` looks at."""

_NS = 1_000_000_000


@attrs.frozen(kw_only=True)
class Rules:
    """What an operator has decided."""

    reasons: Mapping[Reason, Severity] = attrs.field(factory=dict[Reason, Severity])
    """How much a cause matters, where it is not as :data:`~actors.notifier.notification.PAGES` has it."""
    feeds: Mapping[str, Severity] = attrs.field(factory=dict[str, Severity])
    """How much the feeds of these names matter, whatever the cause."""
    quiet_hours: QuietHours | None = None
    windows: tuple[Window, ...] = ()
    heartbeat: float = 0.0
    """Seconds between two messages that all is well; 0 for none."""


@attrs.define(eq=False)
class _Concern:
    """What is collected of one kind at one host."""

    due: float
    severity: Severity
    events: list[FeedEvent] = attrs.field(factory=list[FeedEvent])
    count: int = 0
    told: int = 0


def _young(fold: Fold) -> bool:
    return fold.kind is Kind.OUTAGE and not fold.repeats


class Incidents:
    """Turns events into reports.

    Args:
        rules: What an operator has decided.
        now: When it began, trio's time.
        before: What is known of the process before this one. The incidents that it has told of go on, and the first
            message about them tells of the start. Where that is long in coming the start is told by itself: after
            :data:`START_WAIT`, or after a clean stop in the middle of an incident that was never repeated with what
            would have been its first repetition.
    """

    def __init__(self, rules: Rules, now: float, before: Before = NOTHING) -> None:
        self.rules = rules
        self._folding = Folding(before.left)
        self._began = now
        self._before = before
        self.owed = True
        """Whether the start is still to be told."""
        self._telling = bool(before.left) or before.hush > 0
        """Whether incidents are told by themselves, and not with the start."""
        self._goes_on = any(_young(each.fold) for each in before.left.values())
        quick = before.unclean is not None or not self._goes_on
        self._patience = max(before.hush, START_WAIT) if quick else REPEATS[0]
        self._concerns: dict[tuple[str, type[Event]], _Concern] = {}
        self._open = list(before.windows)
        ahead = (each for each in rules.windows if each not in before.windows)
        self._ahead = sorted(ahead, key=lambda window: window.begins)
        self._beat = now + rules.heartbeat if rules.heartbeat else math.inf
        self._alarm = now
        """When a window begins or ends, on trio's clock, as it was when last looked at."""

    @property
    def wake(self) -> float:
        """When :meth:`step` has something to do, at the latest, while no event comes."""
        concerns = min((each.due for each in self._concerns.values()), default=math.inf)
        folding = self._folding.wake if self._telling else self._folding.page_wake
        return min(self._start_due, concerns, folding, self._beat, self._alarm)

    @property
    def going_on(self) -> Sequence[Fold]:
        """The incidents that have been told of and are not over."""
        return self._folding.told

    @property
    def joined(self) -> int:
        """How many feeds they have taken in without a word."""
        return self._folding.joined

    @property
    def muted(self) -> tuple[Window, ...]:
        """The windows that are open."""
        return tuple(self._open)

    def mute(self, window: Window) -> None:
        """Open a window of its own; it takes the place of an open one with the same subject."""
        self._open = [each for each in self._open if each.subject != window.subject]
        self._ahead = [*self._ahead, window]
        self._alarm = -math.inf

    def knows(self, subject: str) -> bool:
        """Whether there is a feed of this name, or of an exchange of this code."""
        return any(subject in (feed.origin.feed, feed.origin.exchange) for feed in self._folding.feeds.values())

    # -- events

    def take(self, event: Event) -> None:
        """Take note of an event; others than :data:`TAKEN` are ignored."""
        if not isinstance(event, FeedEvent) or type(event) not in TAKEN:
            return
        feed = self._feed(event)
        match event:
            case StateChanged(state=LinkState.STOPPED):
                feed.stopped, feed.live = True, False
                self._folding.close(feed, event.at)
            case StateChanged():
                feed.stopped = False
                if event.state is LinkState.GAVE_UP:
                    feed.gave_up = True
                    self._lost(feed, feed.reason, Severity.PAGE, event.at)
            case Failed() if event.reason not in OUR_OWN_WISH:
                feed.live = False
                self._lost(feed, event.reason, Severity.WARNING, event.at)
            case Reconnecting(way=Way.QUARANTINE) if feed.down is not None:
                self._lost(feed, event.reason or Reason.CRASH, Severity.PAGE, event.at)
            case Live():
                self._folding.found(feed, event.at)
            case GapReported() if event.reason is not Reason.OVERFLOW:
                self._folding.missing(feed, event.seconds)
            case LegLive():
                self._relieve(feed)
            case CodeRejected() | LegLost() | NoOverlap() | Overflowed() | Quiet() | Unconfirmed():
                self._concern(feed, event)
            case _:
                pass

    def stop(self, now: float, *, kept: bool) -> Stopped:
        """The last report of all; ``kept`` says whether the next process will know of the incidents."""
        feeds = self._folding.feeds.values()
        down = sum(feed.down is not None for feed in feeds)
        return Stopped(
            severity=Severity.INFO,
            total=len(feeds),
            down=down,
            seconds=now - self._began,
            started=self._summary() if self.owed and self._before.unclean is not None else None,
            goes_on=kept and down > 0 and self._goes_on,
        )

    def _feed(self, event: FeedEvent) -> Watched:
        feed = self._folding.feeds.get(event.origin.feed)
        if feed is None:
            feed = Watched(event.origin, muted=any(window.covers(event.origin) for window in self._open))
            self._folding.add(feed, event.at)
        return feed

    def _lost(self, feed: Watched, reason: Reason, least: Severity, at: float) -> None:
        usual = gravest((least, Severity.PAGE if reason in PAGES else Severity.WARNING))
        severity = self.rules.feeds.get(feed.origin.feed) or self.rules.reasons.get(reason) or usual
        self._folding.lost(feed, reason, severity, at)

    def _concern(self, feed: Watched, event: FeedEvent) -> None:
        if feed.muted or feed.down is not None or feed.flapping:
            return
        severity = self.rules.feeds.get(feed.origin.feed, Severity.WARNING)
        key = (feed.origin.host, type(event))
        concern = self._concerns.get(key)
        if concern is None:
            concern = self._concerns[key] = _Concern(event.at + WAITS[severity], severity)
        concern.count += 1
        concern.severity = gravest((severity, concern.severity))
        if len(concern.events) < CONCERNS_SHOWN:
            concern.events.append(event)

    def _relieve(self, feed: Watched) -> None:
        """A feed has all its sockets again: that one was lost need not be told any more."""
        concern = self._concerns.get((feed.origin.host, LegLost))
        if concern is not None:
            kept = [event for event in concern.events if event.origin.feed != feed.origin.feed]
            concern.count -= len(concern.events) - len(kept)
            concern.events = kept

    # -- what is due

    def step(self, now: float, wall: int) -> list[Report]:
        """What is to be told by ``now``, trio's seconds; ``wall`` is the same moment in nanoseconds UTC."""
        quiet = self.rules.quiet_hours
        hold = quiet.remaining(wall) if quiet else 0.0
        reports: list[Report] = list(self._turn_windows(now, wall))
        self._folding.calm(now)
        if not self._telling:
            reports += self._start(now)
        if self._telling:
            reports += self._told(now, hold)
        reports += self._due_concerns(now, hold)
        if now >= self._beat:
            self._beat = now + self.rules.heartbeat
            feeds = self._running()
            live = sum(feed.live for feed in feeds)
            reports.append(Beat(severity=Severity.INFO, total=len(feeds), live=live))
        if reports:
            # as of the last message: by the time of the stop the feeds have ended, and have left their incidents
            self._goes_on = any(map(_young, self._folding.told))
        return reports

    def _running(self) -> list[Watched]:
        return [feed for feed in self._folding.feeds.values() if not feed.stopped]

    def _all_live(self) -> bool:
        feeds = self._running()
        return bool(feeds) and all(feed.live for feed in feeds)

    @property
    def _start_due(self) -> float:
        before = self._before
        if not self.owed:
            return math.inf
        if before.crashes >= CRASHES and not before.hush:
            return self._began + START_LEAST
        if self._telling:
            return self._began + (self._patience if self._folding.told or before.hush else START_WAIT)
        return self._began + (START_LEAST if self._all_live() else START_WAIT)

    def _start(self, now: float) -> Iterator[Started]:
        """The summary of the start, when it is due; whatever is wrong by then has been told with it."""
        if now < min(self._start_due, self._folding.page_wake):
            return
        self.owed, self._telling = False, True
        if self._running() or self._before.unclean is not None:
            yield self._summary()
            self._folding.adopt(now)

    def _told(self, now: float, hold: float) -> Iterator[Report]:
        """What is due of the incidents; the first message tells of the start, too, where that is owed."""
        if now >= self._began + START_WAIT:
            self._folding.forget()
        for incident in self._folding.due(now, hold):
            if self.owed:
                self.owed = False
                start = self._summary()
                least = Severity.WARNING if start.unclean else Severity.INFO
                yield attrs.evolve(incident, started=start, severity=gravest((incident.severity, least)))
            else:
                yield incident
        if now >= self._start_due:
            yield from self._start(now)

    def _summary(self) -> Started:
        feeds = self._running()
        waiting = [feed for feed in feeds if not feed.live]
        told = (feed.severity if feed.down is not None else Severity.WARNING for feed in waiting if not feed.muted)
        severity = gravest((*told, Severity.WARNING if self._before.unclean else Severity.INFO))
        return Started(
            severity=severity,
            at=self._began,
            total=len(feeds),
            waiting=tuple(feed.trouble for feed in waiting),
            unclean=self._before.unclean,
            crashes=self._before.crashes,
        )

    def _due_concerns(self, now: float, hold: float) -> Iterator[Concerns]:
        for key, concern in list(self._concerns.items()):
            if concern.due > now:
                continue
            if not concern.count:
                del self._concerns[key]
            elif hold and concern.severity is not Severity.PAGE:
                concern.due = now + hold
            else:
                events = tuple(concern.events)
                more = concern.count - len(events)
                yield Concerns(severity=concern.severity, events=events, more=more)
                concern.due = now + REPEATS[min(concern.told, len(REPEATS) - 1)]
                concern.told += 1
                concern.events, concern.count = [], 0

    def _turn_windows(self, now: float, wall: int) -> Iterator[Maintenance]:
        for window in [each for each in self._open if each.ends <= wall]:
            self._open.remove(window)
            yield self._report(window, now, wall, begins=False)
        for window in [each for each in self._ahead if each.begins <= wall]:
            self._ahead.remove(window)
            if window.ends > wall:  # else it was over before we began
                self._open.append(window)
                yield self._report(window, now, wall, begins=True)
        for feed in self._folding.feeds.values():
            muted = any(window.covers(feed.origin) for window in self._open)
            if muted and not feed.muted:
                self._folding.mute(feed)
            elif feed.muted and not muted:
                self._folding.unmute(feed, now)
        edges = [window.begins for window in self._ahead] + [window.ends for window in self._open]
        # looked at again every minute at least, since the wall clock may be set
        self._alarm = now + min((min(edges) - wall) / _NS, 60.0) if edges else math.inf

    def _report(self, window: Window, now: float, wall: int, *, begins: bool) -> Maintenance:
        covered = [feed for feed in self._running() if window.covers(feed.origin)]
        down = () if begins else tuple(feed.trouble for feed in covered if feed.down is not None)
        until = now + (window.ends - wall) / _NS
        return Maintenance(severity=Severity.INFO, subject=window.subject, begins=begins, until=until, troubles=down)
