"""I9 to I12, I16, I18 and I22: supervisors, crashes, recovery, stops and states."""

from collections import defaultdict, deque
from typing import Any

from actors.chaos.history import Phase, Standing
from actors.chaos.invariants.base import QUARANTINE, TURN, Invariant
from actors.events import (
    ChildExited,
    ChildStarted,
    ChildUnstopped,
    Ending,
    Failed,
    IntensityExceeded,
    LinkState,
    RestartScheduled,
    StateChanged,
    SubscriberFailed,
    SupervisorDown,
    Unconfirmed,
)

CRASHES, WITHIN = 5, 300.0
"""What a connector may crash: its intensity, by the design."""


class CancelStaysCancel(Invariant):
    """I9: a cancel is neither a failure nor an error in words."""

    name = "I9"
    hears = (ChildExited, Failed, SupervisorDown)

    def take(self, record: ChildExited | Failed | SupervisorDown) -> str | None:
        """Look for trio's word."""
        words = record.detail if isinstance(record, Failed) else record.error
        return f"a cancel was told as an error: {words}" if "Cancelled" in words else None


class EndsOnlyWhenAsked(Invariant):
    """I10: a supervisor ends by a stop, by its child's intensity, or by a bug; no subscriber is dropped."""

    name = "I10"
    hears = (SupervisorDown, IntensityExceeded, SubscriberFailed, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._stopping = False
        self._exceeded: set[str] = set()

    def take(self, record: Any) -> str | None:
        """A supervisor that ends needs a reason that stands in the history."""
        match record:
            case Phase():
                self._stopping = record.name in ("stop", "end")
            case IntensityExceeded():
                self._exceeded.add(record.supervisor)
            case SubscriberFailed():
                return f"a subscriber was dropped: {record.error}"
            case SupervisorDown() if not self._stopping and record.supervisor not in self._exceeded:
                return f"the supervisor {record.supervisor} has ended, and nobody asked: {record.error or 'no error'}"
            case SupervisorDown():
                self._exceeded.discard(record.supervisor)
            case _:
                pass
        return None


class Intense(Invariant):
    """I11: more than 5 crashes in 300 s are too many at once, and no fewer are."""

    name = "I11"
    hears = (ChildExited, IntensityExceeded, ChildStarted)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._crashes: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)

    def take(self, record: Any) -> str | None:
        """A window of our own."""
        if record.supervisor not in self.scene.exchanges:
            return None
        crashes = self._crashes[record.supervisor, record.child]
        match record:
            case ChildExited(ending=Ending.CRASHED):
                crashes.append(record.at)
                while crashes[0] < record.at - WITHIN - TURN:
                    crashes.popleft()
            case IntensityExceeded():
                number = len(crashes) + (not crashes or crashes[-1] != record.at)
                crashes.clear()
                if number <= CRASHES:
                    return f"{record.supervisor} has escalated after {number} crashes"
            case ChildStarted() if len(crashes) > CRASHES:
                return f"{record.supervisor} starts its child again after {len(crashes)} crashes in {WITHIN:g} s"
            case _:
                pass
        return None


class OrderedStop(Invariant):
    """I12: the notifier starts before the feeds and ends after them, and nobody had to be left behind."""

    name = "I12"
    hears = (ChildStarted, ChildExited, ChildUnstopped, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._up: list[str] = []
        self._stopping = False

    def take(self, record: Any) -> str | None:
        """The children of the root, in order."""
        match record:
            case Phase():
                self._stopping = record.name == "stop"
            case ChildUnstopped():
                return f"{record.supervisor}'s child {record.child} was left behind"
            case ChildStarted(supervisor="root"):
                self._up.append(record.child)
                if self._up[0] != "notifier":
                    return f"{self._up[0]} was started before the notifier"
            case ChildExited(supervisor="root") if self._stopping:
                if self._up[-1] != record.child:
                    return f"{record.child} was stopped before {self._up[-1]}"
                self._up.pop()
            case _:
                pass
        return None


class Recovers(Invariant):
    """I16: after the heal every feed is live within 110 s of the attempt that was due, or follows on one under way.

    A session whose data flows although its exchange never confirmed it is told as unconfirmed instead, and kept.
    """

    name = "I16"
    hears = (Phase, StateChanged, RestartScheduled, Standing, Unconfirmed)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._live: set[str] = set()
        self._due: dict[str, float] = {}
        self._limits: dict[str, float] = {}

    def take(self, record: Any) -> str | None:
        """A limit a feed, from the heal on."""
        match record:
            case StateChanged(state=LinkState.LIVE) | Unconfirmed():
                self._live.add(record.origin.feed)
                self._limits.pop(record.origin.feed, None)
            case StateChanged():
                self._live.discard(record.origin.feed)
            case RestartScheduled():
                name = record.child if record.supervisor == "feeds" else record.supervisor
                self._due[name] = record.at + record.delay
            case Phase(name="heal"):
                for feed, exchange in self.scene.exchanges.items():
                    if feed not in self._live:
                        noticed = record.at + exchange.link_timeout + exchange.message_timeout
                        due = min(self._due.get(feed, 0.0), record.at + QUARANTINE)
                        if due < record.at:  # it is being dialled, and may still be refused by what was before
                            due = record.at + QUARANTINE
                        self._limits[feed] = max(noticed, due) + 110.0
            case Phase(name="stop"):
                self._limits.clear()
            case _:
                pass
        late = [feed for feed, limit in self._limits.items() if record.at > limit]
        return f"{late[0]} is still not live at {record.at:.0f}" if late else None


class StopsInTime(Invariant):
    """I18: from the request to stop to the end of everything 10 s pass at most."""

    name = "I18"
    hears = (Phase, Standing)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._asked = 0.0

    def take(self, record: Phase | Standing) -> str | None:
        """From the phase "stop" to the phase "end"."""
        if isinstance(record, Phase) and record.name == "stop":
            self._asked = record.at
        elif isinstance(record, Phase) and record.name == "end" and record.at - self._asked > 10.0:
            return f"stopping took {record.at - self._asked:.1f} s"
        return None


_S = LinkState
WAYS = {
    _S.IDLE: {_S.CONNECTING, _S.DOWN},
    _S.CONNECTING: {_S.CONNECTED, _S.DOWN},
    _S.CONNECTED: {_S.LIVE, _S.DOWN},
    _S.LIVE: {_S.DOWN},
    _S.DOWN: {_S.CONNECTING, _S.BACKOFF, _S.QUARANTINED, _S.GAVE_UP},
    _S.BACKOFF: {_S.CONNECTING, _S.QUARANTINED, _S.GAVE_UP, _S.DOWN},
    _S.QUARANTINED: {_S.CONNECTING, _S.GAVE_UP, _S.DOWN},
    _S.GAVE_UP: {_S.CONNECTING},
    _S.STOPPED: {_S.CONNECTING},
}
"""The design's table, written a second time on purpose: the product's own cannot judge the product."""


class ListedStates(Invariant):
    """I22: a feed goes from state to state by the listed ways only, and is in one at a time.

    That of several sockets is the state of whichever is best off, and may go from any to any.
    """

    name = "I22"
    hears = (StateChanged, Standing)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._state: dict[str, LinkState] = {}

    def take(self, record: StateChanged | Standing) -> str | None:
        """Each move by the table, and what is shown is what was told."""
        if isinstance(record, Standing):
            told = self._state.get(record.feed, _S.IDLE)
            return None if record.state == told else f"{record.feed} is {record.state}, and told {told}"
        feed = record.origin.feed
        before = self._state.get(feed, _S.IDLE)
        self._state[feed] = record.state
        if record.previous is not before:
            return f"{feed} moved from {record.previous}, but was {before}"
        if record.state not in {_S.STOPPED, *WAYS[before]} and feed not in self.scene.overlapping:
            return f"{feed}: no way leads from {before} to {record.state}"
        return None
