"""Everything that happens, as frozen records through one hook.

Log, metrics and notifier are subscribers of an :class:`EventHub`; nothing bypasses it. ``at`` is trio's monotonic
time in seconds; subscribers run synchronously, so a wall-clock reading of their own names the same moment.
"""

import enum
from collections.abc import Callable

import attrs

from actors.errors import Reason, Way


class LinkState(enum.StrEnum):
    """Where a feed stands; exactly one holds at any time."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LIVE = "live"
    DOWN = "down"
    """The verdict has fallen; what follows is not decided yet."""
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    GAVE_UP = "gave_up"
    STOPPED = "stopped"


@attrs.frozen(kw_only=True)
class Event:
    """Something happened at ``at`` (trio's clock, seconds)."""

    at: float


@attrs.frozen
class Origin:
    """Which feed an event is about, and how to name its exchange to a person."""

    feed: str
    exchange: str
    name_ko: str
    name_en: str
    host: str


# -- a supervisor's child -------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ChildEvent(Event):
    """About one child of one supervisor; ``supervisor`` is the supervisor's name."""

    supervisor: str
    child: str
    incarnation: int


@attrs.frozen(kw_only=True)
class ChildStarted(ChildEvent):
    """The task of an incarnation was started."""


@attrs.frozen(kw_only=True)
class ChildRestarted(ChildStarted):
    """The task of an incarnation after the first was started."""


@attrs.frozen(kw_only=True)
class ChildReady(ChildEvent):
    """The incarnation said ``started()``: it accepts messages."""


@attrs.frozen(kw_only=True)
class ChildHealthy(ChildEvent):
    """The incarnation said ``healthy()``: it does what it is for."""


class Ending(enum.StrEnum):
    """How an incarnation ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"
    GAVE_UP = "gave_up"
    ESCALATED = "escalated"


@attrs.frozen(kw_only=True)
class ChildExited(ChildEvent):
    """The incarnation's task has ended."""

    ending: Ending
    reason: Reason | None
    error: str
    """The error in words, empty where there was none."""


@attrs.frozen(kw_only=True)
class RestartScheduled(ChildEvent):
    """The next attempt will be made ``delay`` seconds from ``at``."""

    delay: float
    attempt: int
    """Attempts since the strategy was last reset, this one included."""
    way: Way
    reason: Reason | None
    error: str


@attrs.frozen(kw_only=True)
class ChildQuarantined(RestartScheduled):
    """The next attempt is a slow one: retrying sooner would not help."""


@attrs.frozen(kw_only=True)
class ChildGaveUp(ChildEvent):
    """No further attempt will be made."""

    error: str


@attrs.frozen(kw_only=True)
class IntensityExceeded(ChildEvent):
    """More crashes than an intensity allows, the child's or its supervisor's; the child's was the last."""

    crashes: int
    seconds: float


class Straggler(enum.StrEnum):
    """What a child does that has been cancelled and does not end.

    ``PARKED``: its tasks wait for something, in a shielded scope. ``SPINNING``: one of them runs in every turn of the
    event loop, as a loop does that swallows its cancellation. (One that never gives up the loop is seen by nobody.)
    """

    PARKED = "parked"
    SPINNING = "spinning"


@attrs.frozen(kw_only=True)
class ChildUnstopped(ChildEvent):
    """The child did not end within its shutdown time; its task still exists."""

    straggler: Straggler = Straggler.PARKED


@attrs.frozen(kw_only=True)
class Escalated(Event):
    """A supervisor bears no more and stops, to fail with ``error``."""

    supervisor: str
    error: str


@attrs.frozen(kw_only=True)
class SupervisorDown(Event):
    """A supervisor has ended; ``error`` is empty where it was asked to."""

    supervisor: str
    error: str


# -- a feed ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class FeedEvent(Event):
    """About one feed."""

    origin: Origin


@attrs.frozen(kw_only=True)
class StateChanged(FeedEvent):
    """The feed moved from one :class:`LinkState` to another."""

    state: LinkState
    previous: LinkState


@attrs.frozen(kw_only=True)
class Connected(FeedEvent):
    """A session reached the 101; the guide's "connect". ``session`` counts them from 1."""

    session: int
    seconds: float
    """From the first dial or the last message before the interruption to now."""


@attrs.frozen(kw_only=True)
class Live(FeedEvent):
    """Every subscription of the session is confirmed."""

    session: int


@attrs.frozen(kw_only=True)
class Failed(FeedEvent):
    """A session failed, or a dial did: the verdict, before anything is closed; the guide's "error"."""

    session: int
    """0 if no session has reached the 101 yet."""
    reason: Reason
    detail: str
    connected: bool
    """Whether this session had reached the 101."""


@attrs.frozen(kw_only=True)
class LegLive(FeedEvent):
    """A socket is live beside others that carry the same."""

    session: int


@attrs.frozen(kw_only=True)
class LegLost(FeedEvent):
    """A socket failed, while others that carry the same go on: nothing was interrupted."""

    session: int
    """0 if it never reached the 101."""
    reason: Reason
    detail: str
    left: int
    """How many go on."""


@attrs.frozen(kw_only=True)
class Renewed(FeedEvent):
    """A fresh session has taken over from one that was to be replaced, without an interruption."""

    session: int
    """The new one."""
    why: str


@attrs.frozen(kw_only=True)
class NoOverlap(FeedEvent):
    """A session is replaced with an interruption: the exchange allows no second socket beside it. Told once a feed."""

    why: str


@attrs.frozen(kw_only=True)
class Disconnected(FeedEvent):
    """A session that had reached the 101 has ended and its socket is closed; the guide's "disconnect"."""

    session: int
    reason: Reason
    seconds: float
    """How long the session had been open."""


@attrs.frozen(kw_only=True)
class Reconnecting(FeedEvent):
    """The next attempt is decided; the guide's "reconnect"."""

    delay: float
    attempt: int
    way: Way
    reason: Reason | None


@attrs.frozen(kw_only=True)
class GapReported(FeedEvent):
    """A gap was put into the feed; ``since`` and ``until`` are nanoseconds UTC, ``seconds`` monotonic."""

    reason: Reason
    since: int
    until: int
    seconds: float


@attrs.frozen(kw_only=True)
class NothingLost(FeedEvent):
    """An interruption is over without a gap: the exchange's snapshots repeat what was delivered last of every code."""

    reason: Reason
    """Of the interruption."""


@attrs.frozen(kw_only=True)
class Overflowed(FeedEvent):
    """The consumer is too slow: its buffer overflowed. Told once until it has caught up."""

    policy: str
    depth: int


@attrs.frozen(kw_only=True)
class Probed(FeedEvent):
    """The data path was silent and a probe was sent (``answered`` False) or has been answered (True)."""

    session: int
    answered: bool


@attrs.frozen(kw_only=True)
class CodeRejected(FeedEvent):
    """The exchange will not have this code; it is subscribed to no longer, and all others live on."""

    session: int
    channel: str
    code: str
    detail: str


@attrs.frozen(kw_only=True)
class Unconfirmed(FeedEvent):
    """Data flows, but these subscriptions were not confirmed in time; the link is kept."""

    session: int
    channels: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Quiet(FeedEvent):
    """No data of one code for longer than ``quiet_after``; a warning, the link is kept."""

    session: int
    channel: str
    code: str
    seconds: float


@attrs.frozen(kw_only=True)
class Resubscribed(FeedEvent):
    """A busy code was silent beyond its own rhythm and has been subscribed to once more, on the same session."""

    session: int
    channel: str
    code: str


@attrs.frozen(kw_only=True)
class Noticed(FeedEvent):
    """The exchange said something that is neither data nor an error (maintenance, shutdown, unknown frames)."""

    session: int
    detail: str


# -- the rest -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Paused(Event):
    """This process has not run for about ``seconds``: suspended, stopped, or its event loop blocked. It runs again."""

    seconds: float


@attrs.frozen(kw_only=True)
class Notified(Event):
    """A notification left, failed or was dropped; ``outcome`` is ``sent``, ``failed`` or ``dropped``."""

    channel: str
    outcome: str
    count: int = 1


@attrs.frozen(kw_only=True)
class ChannelTrouble(Event):
    """A notification channel does not take its messages. Told once until one gets through."""

    channel: str
    error: str
    """What is wrong, and where there is one the remedy; never a secret."""
    delay: float | None
    """Seconds until the same message is tried again; None if it was given up."""


@attrs.frozen(kw_only=True)
class NotKept(Event):
    """Something that should outlive the process cannot be kept on disk, or what was kept cannot be read."""

    error: str
    """What, why, and what follows from it."""


@attrs.frozen(kw_only=True)
class SubscriberFailed(Event):
    """A subscriber of events raised and was dropped."""

    subscriber: str
    error: str


EventHook = Callable[[Event], None]
"""Takes one event; synchronous, quick, and must not raise."""


class EventHub:
    """The one hook: hands each event to every subscriber, in the order in which they subscribed.

    A subscriber that raises is dropped and reported once, to the others, as :class:`SubscriberFailed`.
    """

    def __init__(self) -> None:
        self._subscribers: dict[str, EventHook] = {}

    def subscribe(self, name: str, hook: EventHook) -> None:
        """Add a subscriber under a name of its own; ValueError if the name is taken."""
        if name in self._subscribers:
            msg = f"there is a subscriber named {name!r} already"
            raise ValueError(msg)
        self._subscribers[name] = hook

    def unsubscribe(self, name: str) -> None:
        """Remove a subscriber; nothing happens if it is gone already."""
        self._subscribers.pop(name, None)

    def emit(self, event: Event) -> None:
        """Hand ``event`` to every subscriber."""
        for name, hook in tuple(self._subscribers.items()):
            try:
                hook(event)
            except Exception as error:
                self.unsubscribe(name)
                self.emit(SubscriberFailed(at=event.at, subscriber=name, error=repr(error)))
