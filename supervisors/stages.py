"""Who starts and who stops next: children in their order, one at a time or all at once (pure).

Only the children that something happened to are touched, so that ten thousand cost what ten do, each.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs

from actors.events import ChildRestarted, ChildStarted, Escalated
from supervisors.actions import Cancel, Drain, Start, Started
from supervisors.agenda import Agenda
from supervisors.child import LEAVING, RUNNING, Child, ChildSpec, ChildState, Restart
from supervisors.flags import Flags, Strategy
from supervisors.refusals import StartFailed, Stopping

BATCH = 50
"""How many children one step starts or stops at most: ten thousand must not hold up the event loop, and what is made
for a start is used while it is at hand."""


class Stages:
    """The children of one supervisor, what is to be started and what is to be stopped.

    Args:
        name: The supervisor's name, for events.
        specs: The static children; for simple_one_for_one the template.
        flags: The supervisor's settings; raises what ``Flags.check`` does.
    """

    def __init__(self, name: str, specs: Iterable[ChildSpec], flags: Flags) -> None:
        specs = tuple(specs)
        flags.check(name, specs)
        self.name = name
        self.flags = flags
        self.template = specs[0] if flags.simple else None
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.failure: Exception | None = None
        """Why the supervisor must end by itself."""
        self._agenda = Agenda(name)
        self._positions = itertools.count()
        self._tickets = itertools.count()
        self._to_start: list[tuple[int, int, Child]] = []
        self._to_stop: list[Child] = []
        self._together = flags.unordered
        self._census = Counter[ChildState]()
        self._leaving = set[Child]()
        self._announced = False
        self._more = False
        for spec in () if flags.simple else specs:
            self._enqueue(self._add(spec))

    @property
    def wake(self) -> float:
        """When to ask again: the next deadline, infinity if there is none; at once if a batch was not all."""
        return -math.inf if self._more else self._agenda.wake

    @property
    def running(self) -> int:
        """How many children have a task."""
        return sum(self._census[state] for state in RUNNING)

    @property
    def finished(self) -> bool:
        """Whether the supervisor is stopping and no child's task is left."""
        return self.stopping and not self.running

    def stop(self) -> None:
        """Stop every child; nothing is started any more."""
        if not self.stopping:
            self.stopping = True
            self._to_start.clear()
            self._to_stop = list(self.children.values())

    def hurry(self) -> None:
        """The time for an orderly stop is spent: the next step stops whatever is left, all together."""
        self._together = True
        for child in self._leaving:
            if child.state is ChildState.STOPPING and not child.cancelled:
                self._agenda.set_due(child, -math.inf)

    # -- the children

    def _add(self, spec: ChildSpec) -> Child:
        child = self.children[spec.id] = Child.of(spec, next(self._positions))
        self._census[child.state] += 1
        return child

    def _forget(self, child: Child) -> None:
        if not self.stopping and self.children.get(child.spec.id) is child:
            del self.children[child.spec.id]
            self._census[child.state] -= 1

    def _move(self, child: Child, state: ChildState) -> None:
        self._census[child.state] -= 1
        self._census[state] += 1
        child.move(state)
        if state in LEAVING:
            self._leaving.add(child)
        else:
            self._leaving.discard(child)

    def _rest(self, child: Child) -> None:
        """The child is down and nothing follows."""
        if child.state is not ChildState.IDLE:
            self._move(child, ChildState.IDLE)
        child.queued = False
        child.next_attempt = None
        self._agenda.set_due(child, math.inf)
        self._agenda.answer(child, "terminate")
        self._agenda.answer(child, "start", error=StartFailed(f"child {child.spec.id!r} was stopped while it started"))
        if self.flags.unordered or child.spec.restart is Restart.TEMPORARY:
            self._forget(child)

    def _fail(self, error: Exception, now: float) -> None:
        if self.failure is None and not self.stopping:
            self.failure = error
            self._agenda.announce(Escalated(at=now, supervisor=self.name, error=repr(error)))
        self.stop()

    # -- starting

    def _enqueue(self, child: Child) -> None:
        if not child.queued:
            child.queued = True
            heapq.heappush(self._to_start, (child.position, next(self._tickets), child))

    def _start_some(self, now: float) -> None:
        in_turn = not self._together and (self.flags.grouped or not self._announced)
        batch = 0
        while self._to_start and not self._to_stop:
            if batch == BATCH:
                self._more = True
                return
            batch += 1
            child = self._to_start[0][2]
            if child.queued and child.state not in RUNNING:
                if in_turn and (self._census[ChildState.STARTING] or self._is_kept_back(child)):
                    return
                self._start(child, now)
            heapq.heappop(self._to_start)
        starting = self._census[ChildState.STARTING] + self._census[ChildState.STOPPING]
        if not self._announced and (self._together or not starting):
            self._announced = True
            self._agenda.do(Started())

    def _is_kept_back(self, child: Child) -> bool:
        """Whether another has to end first: one of its group, or in the first start of all whoever is being stopped.

        Only a restart with its group waits for a straggler, which may never end; who asks for a start does not.
        """
        patient = child.state is ChildState.RESTARTING and not self._agenda.is_waited_for(child, "start")
        return any(
            self._comes_first(other, child) and (patient or other.state is ChildState.STOPPING)
            for other in self._leaving
        )

    def _comes_first(self, leaving: Child, child: Child) -> bool:
        return (
            not self._announced
            or self.flags.strategy is Strategy.ONE_FOR_ALL
            or leaving.position > child.position
            or leaving.next_attempt is not None
        )

    def _start(self, child: Child, now: float) -> None:
        self._move(child, ChildState.STARTING)
        child.incarnation += 1
        child.queued = child.cancelled = child.timed_out = child.was_healthy = child.crashed_out = False
        child.healthy_since = child.next_attempt = None
        self._agenda.set_due(child, now + child.spec.start_timeout)
        self._agenda.tell(ChildStarted if child.incarnation == 1 else ChildRestarted, child, now)
        self._agenda.do(Start(child, child.spec.run))
        if child.spec.restart is Restart.TEMPORARY:
            # it never starts again: what its run holds, its arguments above all, is not ours to keep alive
            child.spec = attrs.evolve(child.spec, run=_started_before)

    # -- stopping

    def _stop_some(self, now: float) -> None:
        """In reverse order, and one after the other unless the children are dynamic."""
        for _ in range(min(BATCH, len(self._to_stop))):
            child = self._to_stop[-1]
            if child.state in (ChildState.STARTING, ChildState.UP):
                self._begin_stop(child, now, f"{self.name} stops" if self.stopping else "its group is restarted")
            if child.state is ChildState.STOPPING and not self._together:
                return
            self._to_stop.pop()
            if self.stopping and child.state not in RUNNING:
                child.next_attempt = None
                self._agenda.set_due(child, math.inf)
                self._agenda.answer(child, "start", error=Stopping(f"{self.name} is stopping"))
        self._more = bool(self._to_stop)

    def _begin_stop(self, child: Child, now: float, why: str) -> None:
        if child.state is ChildState.STOPPING:
            return
        self._move(child, ChildState.STOPPING)
        if child.spec.drain > 0:
            self._agenda.do(Drain(child))
            self._agenda.set_due(child, now + child.spec.drain)
        else:
            self._cancel(child, now, why)

    def _cancel(self, child: Child, now: float, why: str) -> None:
        child.cancelled = True
        self._agenda.do(Cancel(child, why))
        self._agenda.set_due(child, now + child.spec.shutdown)


async def _started_before(*, task_status: Any) -> None:
    """Stands in the spec of a temporary child for what it ran."""
    raise AssertionError
