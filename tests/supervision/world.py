"""A world for a policy without trio: tasks that are records, a clock that is a number, and what must always hold."""

import random
from collections.abc import Iterable
from typing import Any

import attrs

from actors.events import ChildExited, ChildQuarantined, ChildReady, ChildStarted, Event, RestartScheduled, Straggler
from supervisors import ChildSpec, ChildState, Restart, Strategy
from supervisors.actions import Action, Answer, Cancel, Drain, Emit, Observe, Start, Started
from supervisors.child import FINISHED, Child, Outcome
from supervisors.flags import Flags
from supervisors.policy import Policy


@attrs.define(eq=False)
class Task:
    """An incarnation's task."""

    child: Child
    number: int
    ready: bool = False
    cancelled: bool = False
    unstopped: bool = False


@attrs.define(eq=False)
class Token:
    """A caller that waits."""

    what: str
    answers: list[Answer] = attrs.field(factory=list[Answer])


class World:
    """Carries a policy's actions out, and checks each against what was promised."""

    def __init__(self, specs: Iterable[ChildSpec], flags: Flags) -> None:
        self.now = 0.0
        self.policy = Policy("top", specs, flags, random.Random(1))
        self.flags = flags
        self.tasks: dict[Child, Task] = {}
        self.overdue: list[Task] = []
        self.tokens: list[Token] = []
        self.log: list[Event] = []
        self.not_before: dict[str, float] = {}
        self.to_end_first: dict[str, set[Task]] = {}
        self.announced = 0
        self.at_once = 0
        """How many more things happen before the policy is asked what to do."""
        self.broken = False
        """Whether a promise was broken: what comes after means nothing."""
        self.pump()

    # -- what may happen

    def token(self, what: str) -> Token:
        """A new caller."""
        self.tokens.append(Token(what))
        return self.tokens[-1]

    def end(self, task: Task, outcome: Outcome) -> None:
        """A task ends."""
        del self.tasks[task.child]
        self.policy.exited(task.child, task.number, outcome, self.now)
        self.pump()

    def ready(self, task: Task) -> None:
        """A task says that it has started."""
        if not task.ready:
            task.ready = True
            self.policy.ready(task.child, task.number, None, self.now)
        self.pump()

    def report_overdue(self) -> None:
        """What was found out about stragglers reaches the policy, be it true no more."""
        tasks, self.overdue = self.overdue, []
        for task in tasks:
            self.policy.late(task.child, task.number, Straggler.PARKED, self.now)
        self.pump()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline on the way."""
        self.at_once = 0
        self.pump()
        end = self.now + seconds
        while self.policy.wake <= end:
            assert self.policy.wake > self.now, "a deadline that has passed is still there"
            self.now = self.policy.wake
            self.pump()
        self.now = end
        self.pump()

    def pump(self) -> None:
        """Do what the policy wants until it wants nothing; not yet, while things happen at once."""
        if self.at_once:
            self.at_once -= 1
            return
        self.broken = True
        for _ in range(100):
            actions = self.policy.step(self.now)
            for action in actions:
                self._carry_out(action)
            self._check()
            if not actions and self.policy.wake > self.now:
                self.broken = False
                return
        raise AssertionError("the policy never comes to rest")

    # -- what must hold

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start(child):
                self._start(child)
            case Drain():
                pass
            case Cancel(child) if child in self.tasks:
                assert not self.tasks[child].cancelled, "cancelled twice"
                self.tasks[child].cancelled = True
            case Observe(children):
                self.overdue += [self.tasks[child] for child in children if child in self.tasks]
            case Emit(event):
                self._hear(event)
            case Answer(token):
                token.answers.append(action)
                assert len(token.answers) == 1, f"{token.what} was answered twice"
            case Started():
                self.announced += 1
                assert self.announced == 1
                assert self.flags.unordered or all(task.ready for task in self.tasks.values() if not task.cancelled)
            case _:
                pass  # it ended in the turn in which it was told to

    def _start(self, child: Child) -> None:
        assert child not in self.tasks, "two tasks of one child"
        assert not self.policy.stopping, "started while everything stops"
        asked = any(not token.answers and token.what in _starts(child) for token in self.tokens)
        if not asked:
            assert self.now >= self.not_before.pop(child.spec.id, 0.0), "started sooner than told"
            first = self.to_end_first.pop(child.spec.id, set[Task]())
            assert not first & set(self.tasks.values()), "started before its group had ended"
        if self.flags.grouped or (not self.announced and not self.flags.unordered):
            assert not [task for task in self.tasks.values() if task.child.state is ChildState.STARTING], "not in turn"
        self.tasks[child] = Task(child, child.incarnation)

    def _hear(self, event: Event) -> None:
        self.log.append(event)
        match event:
            case RestartScheduled():
                self.not_before[event.child] = event.at + event.delay
                if self.flags.grouped and not isinstance(event, ChildQuarantined):
                    self.to_end_first[event.child] = self._group(event.child) & set(self.tasks.values())
            case _:
                pass

    def _group(self, name: str) -> set[Task]:
        failed = self.policy.children.get(name)
        if failed is None:
            return set()  # deleted meanwhile
        everyone = self.flags.strategy is Strategy.ONE_FOR_ALL
        return {
            task
            for child, task in self.tasks.items()
            if child.next_attempt is not None and (everyone or child.position >= failed.position)
        }

    def _check(self) -> None:
        policy = self.policy
        assert policy.running == len(self.tasks)
        for child, task in self.tasks.items():
            assert child.incarnation == task.number
            assert child.state in (ChildState.STARTING, ChildState.UP, ChildState.STOPPING, ChildState.UNSTOPPED)
            assert task.cancelled == child.cancelled
        for child in policy.children.values():
            waits = child.state in (ChildState.RESTARTING, ChildState.QUARANTINED)
            assert child.wanted or child.next_attempt is None
            assert waits <= (child.next_attempt is not None or policy.stopping)
            assert (child.state in (ChildState.IDLE, ChildState.GAVE_UP)) <= (
                child.next_attempt is None or child.queued
            )

    # -- how it must end

    def come_to_rest(self) -> None:
        """From now on everybody behaves: starts, and ends when cancelled. Nobody may wait for ever."""
        self.at_once = 0
        self.pump()
        for _ in range(1000):
            self.report_overdue()
            for task in list(self.tasks.values()):
                if task.cancelled:
                    self.end(task, FINISHED)
                    break
                if not task.ready:
                    self.ready(task)
                    break
            else:
                if all(token.answers for token in self.tokens) and not self._due():
                    break
                self.pass_time(min(self.policy.wake - self.now, 1000.0))
        assert [token.what for token in self.tokens if not token.answers] == []
        if self.policy.stopping:
            assert self.policy.finished
            return
        for child in self.policy.children.values():
            down = child.state is not ChildState.UP
            may_be_down = not child.wanted or child.spec.restart is not Restart.PERMANENT or child.incarnation > 0
            assert not down or may_be_down, f"{child.spec.id} was never started"
            assert child.state in (ChildState.UP, ChildState.IDLE, ChildState.GAVE_UP), child.state

    def _due(self) -> bool:
        return any(
            child.state in (ChildState.RESTARTING, ChildState.QUARANTINED, ChildState.STOPPING)
            for child in self.policy.children.values()
        )

    def story(self) -> list[str]:
        """The log in words, for a failing example."""
        kinds: tuple[Any, ...] = (ChildStarted, ChildReady, ChildExited, RestartScheduled)
        return [str(event) for event in self.log if isinstance(event, kinds)]


def _starts(child: Child) -> tuple[str, str]:
    return (f"start {child.spec.id}", f"restart {child.spec.id}")
