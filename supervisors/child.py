"""What a supervisor knows of a child: its spec, its state with the transition table, its outcome (pure)."""

import enum
import math
from collections.abc import Awaitable, Callable

import attrs

from actors.backoff import ReconnectStrategy
from actors.errors import BACKOFF, Advice, ConnectorError, Escalate, GiveUp, leaves
from actors.events import Straggler
from supervisors.intensity import DEFAULT, Intensity, Window
from supervisors.refusals import BadCombination

QUARANTINE_DELAY = 300.0
"""Seconds between two attempts in quarantine."""


class Restart(enum.StrEnum):
    """Which ends of a child are followed by a restart: every, only failures, none."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class ChildKind(enum.StrEnum):
    """What a child is, for ``count_children`` and the default of ``shutdown``."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class TooMany(enum.StrEnum):
    """What follows more crashes than the intensity allows."""

    ESCALATE = "escalate"
    QUARANTINE = "quarantine"
    GIVE_UP = "give_up"


Runnable = Callable[..., Awaitable[None]]
"""The async callable behind a child: an actor's ``run``, called with ``task_status`` (see :class:`actors.actor.Actor`);
that of a template is given the arguments of the instance first."""


def _default_shutdown(spec: "ChildSpec") -> float:
    return math.inf if spec.kind is ChildKind.SUPERVISOR else 5.0


@attrs.frozen(kw_only=True)
class ChildSpec:
    """How to run a child and what to do when it ends."""

    id: str = attrs.field(validator=attrs.validators.min_len(1))
    """Unique in its supervisor."""
    run: Runnable = attrs.field(validator=attrs.validators.is_callable())
    restart: Restart = attrs.field(default=Restart.PERMANENT, converter=Restart)
    kind: ChildKind = attrs.field(default=ChildKind.WORKER, converter=ChildKind)
    strategy: ReconnectStrategy = attrs.field(factory=ReconnectStrategy)
    """When to try again; the supervisor works on a copy of its own."""
    intensity: Intensity = DEFAULT
    """How many crashes are borne. Failures from outside (``ConnectorError``) never count."""
    too_many: TooMany = attrs.field(default=TooMany.ESCALATE, converter=TooMany)
    """What follows more crashes than that. A dynamic child that is to escalate goes into quarantine, and its supervisor
    fails once all its children are there for their crashes."""
    drain: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds that the child may go on after ``stopping`` is set and before it is cancelled."""
    shutdown: float = attrs.field(
        default=attrs.Factory(_default_shutdown, takes_self=True), validator=attrs.validators.ge(0)
    )
    """Seconds that the child may take to end once it is cancelled; then it is reported as unstopped. The cancel
    itself is never held back."""
    start_timeout: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    """Seconds until the child must have said ``started()``."""
    quarantine_delay: float = attrs.field(default=QUARANTINE_DELAY, validator=attrs.validators.gt(0))
    """Seconds between two attempts in quarantine."""
    significant: bool = False
    """Whether its own end counts for ``auto_shutdown``. A permanent child has no such end."""

    def __attrs_post_init__(self) -> None:
        if self.significant and self.restart is Restart.PERMANENT:
            raise BadCombination(f"child {self.id!r} is significant, but permanent: it never ends for good")


class ChildState(enum.Enum):
    """Where a child stands."""

    IDLE = "idle"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    UNSTOPPED = "unstopped"
    RESTARTING = "restarting"
    QUARANTINED = "quarantined"
    GAVE_UP = "gave_up"

    __hash__ = object.__hash__  # an enum's own is Python code, and states are looked up at every turn


_S = ChildState
TRANSITIONS: dict[ChildState, frozenset[ChildState]] = {
    _S.IDLE: frozenset({_S.STARTING, _S.RESTARTING}),
    _S.STARTING: frozenset({_S.UP, _S.IDLE, _S.STOPPING, _S.RESTARTING, _S.QUARANTINED, _S.GAVE_UP}),
    _S.UP: frozenset({_S.IDLE, _S.STOPPING, _S.RESTARTING, _S.QUARANTINED, _S.GAVE_UP}),
    _S.STOPPING: frozenset({_S.IDLE, _S.UNSTOPPED, _S.RESTARTING, _S.QUARANTINED, _S.GAVE_UP}),
    _S.UNSTOPPED: frozenset({_S.IDLE, _S.RESTARTING, _S.QUARANTINED, _S.GAVE_UP}),
    _S.RESTARTING: frozenset({_S.STARTING, _S.IDLE}),
    _S.QUARANTINED: frozenset({_S.STARTING, _S.IDLE}),
    _S.GAVE_UP: frozenset({_S.STARTING, _S.IDLE}),
}
"""The lifecycle of a child: every move there is."""

LEAVING = frozenset({_S.STOPPING, _S.UNSTOPPED})
"""The states in which a task has been told to end and has not."""
RUNNING = frozenset({_S.STARTING, _S.UP}) | LEAVING
"""The states in which a task of the child exists."""
WAITING = frozenset({_S.RESTARTING, _S.QUARANTINED})
"""The states in which the next attempt has a time."""


@attrs.define(eq=False)
class Child:
    """A child as its supervisor's policy sees it."""

    spec: ChildSpec
    position: int
    """Its place in the order of starting."""
    strategy: ReconnectStrategy
    window: Window
    state: ChildState = ChildState.IDLE
    wanted: bool = True
    """Whether it should run; being terminated clears it."""
    incarnation: int = 0
    due: float = math.inf
    """When the state's next deadline falls: attempt, start timeout, drain, shutdown, or health."""
    queued: bool = False
    """Whether it is to be started as soon as its turn comes."""
    next_attempt: float | None = None
    """When it is to run again: while it waits, and while its group is being stopped."""
    cancelled: bool = False
    """Whether the present incarnation has been cancelled."""
    healthy_since: float | None = None
    was_healthy: bool = False
    """Whether the present incarnation has been healthy for ``reset_after``."""
    last_now: float = -math.inf
    """When "now" was last granted to it."""
    error: Exception | None = None
    """What ended the last incarnation."""
    timed_out: bool = False
    """Whether it is being stopped because it did not start in time."""
    crashed_out: bool = False
    """Whether it would escalate for its crashes, and is in quarantine because it is dynamic."""
    straggler: Straggler = Straggler.PARKED
    """What it does while it is unstopped."""

    @classmethod
    def of(cls, spec: ChildSpec, position: int = 0) -> "Child":
        """A child that has not run yet."""
        return cls(spec, position, strategy=spec.strategy.fresh(), window=Window(spec.intensity))

    def move(self, state: ChildState) -> None:
        """Go to ``state``; AssertionError, and no change, where the table has no such move."""
        if state not in TRANSITIONS[self.state]:
            msg = f"child {self.spec.id!r}: no way from {self.state.value} to {state.value}"
            raise AssertionError(msg)
        self.state = state


@attrs.frozen
class ChildInfo:
    """A child as ``which_children`` shows it. Times are trio's clock."""

    id: str
    kind: ChildKind
    state: ChildState
    incarnation: int
    next_attempt: float | None
    """When it is to run again; while it is stopping, once it is down. None if nothing is to come."""
    last_error: Exception | None


@attrs.frozen
class Counts:
    """How many children there are, as OTP counts: specs, those with a task, and all by kind, running or not.

    Instances of one template have one spec.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@attrs.frozen
class Finished:
    """The incarnation returned."""


@attrs.frozen
class Failed:
    """The incarnation raised ``error``."""

    error: Exception

    @property
    def crash(self) -> bool:
        """Whether it is a bug of ours rather than a failure from outside."""
        return not isinstance(self.error, ConnectorError)

    @property
    def advice(self) -> Advice:
        """The error's way back."""
        return self.error.advice if isinstance(self.error, ConnectorError) else BACKOFF


Outcome = Finished | Failed
"""How an incarnation ended: the closed type. ``GiveUp`` and ``Escalate`` are failures by those exceptions."""

FINISHED = Finished()


def failed(group: BaseExceptionGroup[Exception]) -> Failed:
    """The gravest leaf of a group: a crash above Escalate, GiveUp and failures from outside; the rest as notes."""
    found = [leaf for leaf in leaves(group) if isinstance(leaf, Exception)]
    gravest = min(found, key=_gravity)
    for other in found:
        if other is not gravest:
            gravest.add_note(f"and at the same time: {other!r}")
    return Failed(gravest)


def _gravity(error: Exception) -> int:
    if isinstance(error, ConnectorError):
        return 3
    return 2 if isinstance(error, GiveUp) else 1 if isinstance(error, Escalate) else 0
