"""The life of a supervisor's children, as far as nobody asks for anything: start, end, restart, stop (pure).

Nothing here waits or does I/O; times are trio's clock in seconds. Only the children that something happened to are
touched, so that ten thousand cost what ten do, each.
"""

import math
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from actors.errors import ConnectorError, Escalate, GiveUp, Way
from actors.events import (
    ChildExited,
    ChildGaveUp,
    ChildHealthy,
    ChildReady,
    ChildStarted,
    ChildUnstopped,
    Ending,
    IntensityExceeded,
    RestartScheduled,
)
from supervisors.actions import (
    Action,
    Cancel,
    Drain,
    Start,
    Started,
    StartFailed,
    Stopping,
    Unstopped,
)
from supervisors.agenda import Agenda, reason_of, words
from supervisors.child import RUNNING, Child, ChildSpec, ChildState, Failed, Outcome, Restart
from supervisors.restart import Abandon, Fail, Rest, Retry, after_end, exceeded


class Lifecycle:
    """The children of one supervisor, restarted one for one.

    Args:
        name: The supervisor's name, for events.
        specs: The static children: started in order, one after the other, stopped in reverse.
        dynamic: Children have no order: they start and stop all at once, and one that has ended for good is forgotten.
        random: Draws the jitter of every delay.
    """

    def __init__(
        self, name: str, specs: Iterable[ChildSpec] = (), *, dynamic: bool = False, random: random.Random
    ) -> None:
        self.name = name
        self.dynamic = dynamic
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.failure: Exception | None = None
        """Why the supervisor must end by itself."""
        self._random = random
        self._agenda = Agenda(name)
        self._to_stop: list[Child] = []
        self._running = 0
        self._unstopped = 0
        self._announced = False
        for spec in specs:
            if spec.id in self.children:
                msg = f"two children of {name!r} have the id {spec.id!r}"
                raise ValueError(msg)
            self.children[spec.id] = Child.of(spec)
        self._queue = deque(self.children.values())

    # -- what the brain asks

    def step(self, now: float) -> list[Action]:
        """Everything that is to be done now, in order."""
        while (child := self._agenda.elapsed(now)) is not None:
            self._elapsed(child, now)
        if self.stopping:
            self._stop_some(now)
        else:
            self._start_some(now)
        return self._agenda.take()

    @property
    def wake(self) -> float:
        """When the next deadline falls; infinity if there is none."""
        return self._agenda.wake

    @property
    def finished(self) -> bool:
        """Whether the supervisor is stopping and every child is down or has been reported as unstopped."""
        return self.stopping and self._running == self._unstopped

    # -- what happened

    def stop(self) -> None:
        """Stop every child; nothing is started any more."""
        if not self.stopping:
            self.stopping = True
            self._queue.clear()
            self._to_stop = list(self.children.values())

    def ready(self, child: Child, incarnation: int, value: Any, now: float) -> None:
        """The incarnation said ``started(value)``."""
        if child.incarnation != incarnation or child.state is not ChildState.STARTING:
            return
        child.move(ChildState.UP)
        self._agenda.set_due(child, math.inf)
        self._agenda.tell(ChildReady, child, now)
        self._agenda.answer(child, "start", value=value)
        if self._queue and self._queue[0] is child:
            self._queue.popleft()

    def healthy(self, child: Child, incarnation: int, now: float) -> None:
        """The incarnation said ``healthy()``."""
        if child.incarnation != incarnation or child.healthy_since is not None:
            return
        child.healthy_since = now
        self._agenda.tell(ChildHealthy, child, now)
        if child.state is ChildState.UP:
            self._agenda.set_due(child, now + child.strategy.reset_after)

    def exited(self, child: Child, incarnation: int, outcome: Outcome, now: float) -> None:
        """The incarnation's task has ended."""
        if child.incarnation != incarnation or child.state not in RUNNING:
            return
        self._running -= 1
        self._dequeue(child)
        child.error = outcome.error if isinstance(outcome, Failed) else None
        if child.healthy_since is not None and now - child.healthy_since >= child.strategy.reset_after:
            self._proven(child)
        if child.state in (ChildState.STOPPING, ChildState.UNSTOPPED):
            self._stopped(child, now)
        elif child.state is ChildState.STARTING:
            self._not_started(child, outcome, now)
        else:
            self._ended(child, outcome, now)

    # -- starting

    def _start_some(self, now: float) -> None:
        in_turn = not self.dynamic and not self._announced
        while self._queue:
            child = self._queue[0]
            if child.state in RUNNING:
                if in_turn:
                    return
            elif child.wanted and self.children.get(child.spec.id) is child:
                self._start(child, now)
                if in_turn:
                    return
            self._queue.popleft()
        if not self._announced:
            self._announced = True
            self._agenda.do(Started())

    def _start(self, child: Child, now: float) -> None:
        child.move(ChildState.STARTING)
        child.incarnation += 1
        child.cancelled = child.timed_out = child.was_healthy = False
        child.healthy_since = None
        self._running += 1
        self._agenda.set_due(child, now + child.spec.start_timeout)
        self._agenda.tell(ChildStarted, child, now)
        self._agenda.do(Start(child))

    def _not_started(self, child: Child, outcome: Outcome, now: float) -> None:
        """The incarnation ended before it was ready: ignored if it returned, else a start that failed."""
        if isinstance(outcome, Failed) and isinstance(outcome.error, ConnectorError):
            self._ended(child, outcome, now)  # its own trouble with the world, no fault of the start
            return
        if not isinstance(outcome, Failed):
            self._exit_event(child, Ending.FINISHED, now)
            child.wanted = False
            self._rest(child)
            self._agenda.answer(child, "start")
        elif self._agenda.is_waited_for(child, "start") or not self._announced:
            self._exit_event(child, Ending.CRASHED, now)
            error = StartFailed(f"child {child.spec.id!r} of {self.name} did not start: {outcome.error!r}")
            error.__cause__ = outcome.error
            child.wanted = False
            if self._agenda.is_waited_for(child, "start"):
                self._agenda.answer(child, "start", error=error)
                child.move(ChildState.IDLE)
                if child.incarnation == 1:
                    self._forget(child)
            else:
                child.move(ChildState.IDLE)
                self._fail(error)
        else:
            self._ended(child, outcome, now)

    def _dequeue(self, child: Child) -> None:
        if self._queue and self._queue[0] is child:
            self._queue.popleft()

    # -- an end that nobody asked for

    def _ended(self, child: Child, outcome: Outcome, now: float) -> None:
        self._exit_event(child, _ending(outcome), now)
        self._follow(child, outcome, now)

    def _follow(self, child: Child, outcome: Outcome, now: float) -> None:
        crashes = len(child.window)
        decision = after_end(child, outcome, now, self._random)
        if len(child.window) != crashes and exceeded(child):
            limit = child.spec.intensity
            self._agenda.tell(IntensityExceeded, child, now, crashes=len(child.window), seconds=limit.seconds)
        match decision:
            case Retry(delay, way):
                self._schedule(child, delay, way, now)
            case Abandon():
                child.move(ChildState.GAVE_UP)
                self._agenda.set_due(child, math.inf)
                self._agenda.tell(ChildGaveUp, child, now, error=words(child.error))
            case Fail(error):
                self._rest(child)
                self._fail(error)
            case Rest():
                self._rest(child)

    def _schedule(self, child: Child, delay: float, way: Way, now: float) -> None:
        child.move(ChildState.QUARANTINED if way is Way.QUARANTINE else ChildState.RESTARTING)
        self._agenda.set_due(child, now + delay)
        self._agenda.tell(
            RestartScheduled,
            child,
            now,
            delay=delay,
            attempt=max(1, child.strategy.attempts),
            way=way,
            reason=reason_of(child.error),
            error=words(child.error),
        )

    def _proven(self, child: Child) -> None:
        child.was_healthy = True
        child.strategy.reset()

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.stop()

    # -- stopping

    def _stop_some(self, now: float) -> None:
        """In reverse order, and one after the other unless the children are dynamic."""
        while self._to_stop:
            child = self._to_stop[-1]
            child.wanted = False
            if child.state in (ChildState.STARTING, ChildState.UP):
                self._begin_stop(child, now, f"{self.name} stops")
            if child.state is ChildState.STOPPING and not self.dynamic:
                return
            self._to_stop.pop()
            if child.state not in RUNNING:
                self._agenda.set_due(child, math.inf)
                self._agenda.answer(child, "start", error=Stopping(f"{self.name} is stopping"))

    def hurry(self) -> None:
        """The time for an orderly stop is spent: the next step stops whatever is left, all together."""
        self.dynamic = True
        for child in self.children.values():
            if child.state is ChildState.STOPPING and not child.cancelled:
                self._agenda.set_due(child, -math.inf)

    def _begin_stop(self, child: Child, now: float, why: str) -> None:
        if child.state is ChildState.STOPPING:
            return
        child.move(ChildState.STOPPING)
        if child.spec.drain > 0:
            self._agenda.do(Drain(child))
            self._agenda.set_due(child, now + child.spec.drain)
        else:
            self._cancel(child, now, why)

    def _cancel(self, child: Child, now: float, why: str) -> None:
        child.cancelled = True
        self._agenda.do(Cancel(child, why))
        self._agenda.set_due(child, now + child.spec.shutdown)

    def _elapsed(self, child: Child, now: float) -> None:
        match child.state:
            case ChildState.UP:
                self._proven(child)
            case ChildState.STARTING:
                child.timed_out = True
                child.wanted = not self._agenda.is_waited_for(child, "start")
                self._begin_stop(child, now, f"it had not started after {child.spec.start_timeout:g} s")
            case ChildState.STOPPING if not child.cancelled:
                self._cancel(child, now, "its drain time is over")
            case ChildState.STOPPING:
                child.move(ChildState.UNSTOPPED)
                self._unstopped += 1
                self._agenda.tell(ChildUnstopped, child, now)
                self._agenda.answer(child, "terminate", error=unstopped(child))
                self._agenda.answer(child, "start", error=unstopped(child))
                self._dequeue(child)
                if child.timed_out and not self._announced:
                    self._fail(unstopped(child))
            case _:  # RESTARTING or QUARANTINED: the attempt is due
                self._queue.append(child)

    def _stopped(self, child: Child, now: float) -> None:
        self._exit_event(child, Ending.STOPPED, now)
        if child.state is ChildState.UNSTOPPED:
            self._unstopped -= 1
        if child.timed_out and child.wanted and not self.stopping:
            late = TimeoutError(f"not started after {child.spec.start_timeout:g} s")
            child.error = late
            if self._announced:
                self._ended_late(child, late, now)
                return
            self._fail(StartFailed(f"child {child.spec.id!r} of {self.name} did not start: {late}"))
        self._rest(child)
        if child.timed_out and child.incarnation == 1:
            self._forget(child)
        self._agenda.answer(child, "start", error=StartFailed(f"child {child.spec.id!r} was stopped while it started"))

    def _ended_late(self, child: Child, late: Exception, now: float) -> None:
        if child.state is ChildState.UNSTOPPED:
            self._rest(child)
        else:
            self._follow(child, Failed(late), now)

    def _rest(self, child: Child) -> None:
        """The child is down and nothing follows."""
        if child.state is not ChildState.IDLE:
            child.move(ChildState.IDLE)
        self._agenda.set_due(child, math.inf)
        self._agenda.answer(child, "terminate")
        if self.dynamic or child.spec.restart is Restart.TEMPORARY:
            self._forget(child)

    # -- small things

    def _forget(self, child: Child) -> None:
        if not self.stopping:
            self.children.pop(child.spec.id, None)

    def _exit_event(self, child: Child, ending: Ending, now: float) -> None:
        self._agenda.tell(
            ChildExited, child, now, ending=ending, reason=reason_of(child.error), error=words(child.error)
        )


def _ending(outcome: Outcome) -> Ending:
    if not isinstance(outcome, Failed):
        return Ending.FINISHED
    if isinstance(outcome.error, Escalate):
        return Ending.ESCALATED
    if isinstance(outcome.error, GiveUp):
        return Ending.GAVE_UP
    return Ending.CRASHED if outcome.crash else Ending.FAILED


def unstopped(child: Child) -> Unstopped:
    """The refusal that names a child which did not end in time."""
    return Unstopped(f"child {child.spec.id!r} did not end within {child.spec.shutdown:g} s; its task still exists")
