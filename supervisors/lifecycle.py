"""What happens to the children of a supervisor and what follows, as far as nobody asks for anything (pure).

Nothing here waits or does I/O; times are trio's clock in seconds. Whatever restarts, a child of its own or with its
group, is a ``next_attempt`` and a place in the order of stopping: there is no restart in progress to interrupt.
"""

import math
from collections.abc import Iterable
from typing import Any

from actors.backoff import Chance
from actors.errors import ConnectorError, Escalate, GiveUp, Way
from actors.events import (
    ChildExited,
    ChildGaveUp,
    ChildHealthy,
    ChildQuarantined,
    ChildReady,
    ChildUnstopped,
    Ending,
    IntensityExceeded,
    RestartScheduled,
    Straggler,
)
from supervisors.actions import Action, Observe
from supervisors.agenda import reason_of, words
from supervisors.child import LEAVING, RUNNING, Child, ChildSpec, ChildState, Failed, Outcome, Restart, TooMany
from supervisors.flags import AutoShutdown, Flags, Strategy
from supervisors.refusals import StartFailed, Unstopped
from supervisors.restart import Abandon, Fail, Judge, Rest, Retry, all_crashed_out
from supervisors.stages import Stages

_DOWN = frozenset({ChildState.IDLE, ChildState.GAVE_UP})


class Lifecycle(Stages):
    """The children of one supervisor, started, restarted and stopped.

    Args:
        name: The supervisor's name, for events.
        specs: The static children; for simple_one_for_one the template.
        flags: The supervisor's settings.
        random: Draws the jitter of every delay.
    """

    def __init__(self, name: str, specs: Iterable[ChildSpec], flags: Flags, random: Chance) -> None:
        super().__init__(name, specs, flags)
        self._judge = Judge(name, flags, random)
        self._overdue: list[Child] = []

    def step(self, now: float) -> list[Action]:
        """Everything that is to be done now, in order."""
        while (child := self._agenda.elapsed(now)) is not None:
            self._elapsed(child, now)
        if self._overdue:
            self._agenda.do(Observe(tuple(self._overdue)))
            self._overdue.clear()
        self._more = False
        self._stop_some(now)
        if not self.stopping:
            self._start_some(now)
        return self._agenda.take()

    # -- what happened

    def ready(self, child: Child, incarnation: int, value: Any, now: float) -> None:
        """The incarnation said ``started(value)``."""
        if child.incarnation != incarnation or child.state is not ChildState.STARTING:
            return
        self._move(child, ChildState.UP)
        self._agenda.set_due(child, math.inf)
        self._agenda.tell(ChildReady, child, now)
        self._agenda.answer(child, "start", value=value)

    def healthy(self, child: Child, incarnation: int, now: float) -> None:
        """The incarnation said ``healthy()``."""
        if child.incarnation != incarnation or child.healthy_since is not None:
            return
        child.healthy_since = now
        self._agenda.tell(ChildHealthy, child, now)
        if child.state is ChildState.UP:
            self._agenda.set_due(child, now + child.strategy.reset_after)

    def late(self, child: Child, incarnation: int, straggler: Straggler, now: float) -> None:
        """The incarnation has not ended in its time to stop, and this is what it does."""
        if child.incarnation != incarnation or child.state is not ChildState.STOPPING:
            return
        self._move(child, ChildState.UNSTOPPED)
        child.straggler = straggler
        self._agenda.tell(ChildUnstopped, child, now, straggler=straggler)
        self._agenda.answer(child, "terminate", error=unstopped(child))
        self._agenda.answer(child, "start", error=unstopped(child))
        if child.timed_out and not self._announced:
            self._fail(unstopped(child), now)

    def exited(self, child: Child, incarnation: int, outcome: Outcome, now: float) -> None:
        """The incarnation's task has ended."""
        if child.incarnation != incarnation or child.state not in RUNNING:
            return
        child.error = outcome.error if isinstance(outcome, Failed) else None
        if child.healthy_since is not None and now - child.healthy_since >= child.strategy.reset_after:
            self._proven(child)
        if child.state in LEAVING:
            self._stopped(child, now)
        elif self.stopping or child.next_attempt is not None:
            # its turn to be stopped had not come yet
            self._exit_event(child, _ending(outcome), now)
            self._down(child, now)
        elif child.state is ChildState.STARTING:
            self._not_started(child, outcome, now)
        else:
            self._ended(child, outcome, now)

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
                self._overdue.append(child)
            case _:  # RESTARTING or QUARANTINED: the attempt is due
                self._enqueue(child)

    def _proven(self, child: Child) -> None:
        child.was_healthy = True
        child.strategy.reset()

    # -- an end before the start

    def _not_started(self, child: Child, outcome: Outcome, now: float) -> None:
        """The incarnation ended before it was ready: ignored if it returned, else a start that failed."""
        asked = self._agenda.is_waited_for(child, "start")
        if not isinstance(outcome, Failed):
            self._exit_event(child, Ending.FINISHED, now)
            self._agenda.answer(child, "start")
            self._rest(child)
        elif isinstance(outcome.error, ConnectorError) or (self._announced and not asked):
            self._agenda.answer(child, "start")  # its own trouble with the world is no fault of the start
            self._ended(child, outcome, now)
        else:
            self._exit_event(child, _ending(outcome), now)
            error = self._start_failed(child, outcome.error)
            child.wanted = False
            self._agenda.answer(child, "start", error=error)
            self._rest(child)
            if not asked:
                self._fail(error, now)
            elif child.incarnation == 1:
                self._forget(child)

    def _start_failed(self, child: Child, cause: Exception) -> StartFailed:
        error = StartFailed(f"child {child.spec.id!r} of {self.name} did not start: {cause!r}")
        error.__cause__ = cause
        return error

    # -- an end that nobody asked for

    def _ended(self, child: Child, outcome: Outcome, now: float) -> None:
        self._exit_event(child, _ending(outcome), now)
        self._follow(child, outcome, now)

    def _follow(self, child: Child, outcome: Outcome, now: float) -> None:
        decision, crossed = self._judge.after_end(child, outcome, now)
        if crossed is not None:
            self._agenda.tell(IntensityExceeded, child, now, crashes=len(crossed), seconds=crossed.limit.seconds)
        match decision:
            case Retry(delay, Way.QUARANTINE):
                child.crashed_out = crossed is not None and child.spec.too_many is TooMany.ESCALATE
                self._wait(child, now + delay, Way.QUARANTINE, now)
                self._judge_quarantines(child, now)
            case Retry(delay, way):
                self._wait(child, self._take_group_along(child, now + delay, now), way, now)
            case Abandon():
                self._move(child, ChildState.GAVE_UP)
                self._agenda.set_due(child, math.inf)
                self._agenda.tell(ChildGaveUp, child, now, error=words(child.error))
            case Fail(error):
                self._rest(child)
                self._fail(error, now)
            case Rest():
                self._rest(child)
                self._judge_significance(child)

    def _take_group_along(self, failed: Child, due: float, now: float) -> float:
        """Have the group of a failed child stopped, to run again together; returns when: the latest of the group."""
        if not self.flags.grouped:
            return due
        group = self._group(failed)
        waiting = (other for other in group if other.state is not ChildState.QUARANTINED)
        due = max((due, *(other.next_attempt or due for other in waiting)))
        for other in group:
            if other is not failed:
                self._take_along(other, due, now)
        self._to_stop = [other for other in group if other.state in (ChildState.STARTING, ChildState.UP)]
        return due

    def _group(self, failed: Child) -> list[Child]:
        everyone = self.flags.strategy is Strategy.ONE_FOR_ALL
        return [child for child in self.children.values() if everyone or child.position >= failed.position]

    def _take_along(self, child: Child, due: float, now: float) -> None:
        if child.state in RUNNING:
            if child.spec.restart is Restart.TEMPORARY or (
                child.state is ChildState.STARTING and self._agenda.is_waited_for(child, "start")
            ):
                child.wanted = False
            if child.wanted:
                child.next_attempt = due
        elif child.state is ChildState.RESTARTING:
            child.queued = False
            child.next_attempt = due
            self._agenda.set_due(child, due)
        elif child.state is ChildState.IDLE and child.wanted and not child.queued:
            self._wait(child, due, Way.BACKOFF, now)  # it had finished, or was ignored; the group starts over

    def _wait(self, child: Child, due: float, way: Way, now: float) -> None:
        """The child is down until ``due``."""
        quarantine = way is Way.QUARANTINE
        self._move(child, ChildState.QUARANTINED if quarantine else ChildState.RESTARTING)
        child.next_attempt = due
        self._agenda.set_due(child, due)
        self._agenda.tell(
            ChildQuarantined if quarantine else RestartScheduled,
            child,
            now,
            delay=max(0.0, due - now),
            attempt=max(1, child.strategy.attempts),
            way=way,
            reason=reason_of(child.error),
            error=words(child.error),
        )

    def _judge_quarantines(self, child: Child, now: float) -> None:
        """Dynamic children that escalate do so only when all of them are in quarantine for their crashes."""
        if (
            self.flags.unordered
            and self._census[ChildState.QUARANTINED] == len(self.children)
            and all(other.crashed_out for other in self.children.values())
        ):
            self._fail(all_crashed_out(self.name, len(self.children), child.error), now)

    def _judge_significance(self, child: Child) -> None:
        """The child has ended by itself and for good: that may be the end of the supervisor's work."""
        if not child.spec.significant:
            return
        last = not any(
            other.spec.significant and (other.queued or other.state not in _DOWN) for other in self.children.values()
        )
        if last or self.flags.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            self.stop()

    # -- an end that somebody asked for

    def _stopped(self, child: Child, now: float) -> None:
        self._exit_event(child, Ending.STOPPED, now)
        if not (child.timed_out and child.wanted) or self.stopping or child.next_attempt is not None:
            self._down(child, now)
            return
        child.error = TimeoutError(f"not started after {child.spec.start_timeout:g} s")
        if self._announced:
            self._follow(child, Failed(child.error), now)
        else:
            self._rest(child)
            self._fail(self._start_failed(child, child.error), now)

    def _down(self, child: Child, now: float) -> None:
        """The child is down because it was to be: until its group runs again, or for good."""
        if child.wanted and child.next_attempt is not None and not self.stopping:
            self._wait(child, child.next_attempt, Way.BACKOFF, now)
            return
        asked = self._agenda.is_waited_for(child, "start")
        self._rest(child)
        if asked and child.incarnation == 1:
            self._forget(child)

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
    time = f"{child.spec.shutdown:g} s"
    return Unstopped(f"child {child.spec.id!r} did not end within {time}; its task still exists, {child.straggler}")
