"""A supervisor: one brain, one task per incarnation.

All that changes state is synchronous and happens in the brain, by the :class:`~supervisors.policy.Policy`; all that
waits is either the brain's single wait or inside a child. Children and callers only *post* to the brain's inbox.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import trio

from actors.actor import NO_CONTEXT, Context
from actors.events import EventHook, SupervisorDown
from supervisors.actions import Action, Answer, Cancel, Drain, Emit, Start, Started, Stopping
from supervisors.child import FINISHED, WAITING, Child, ChildKind, ChildSpec, ChildState, Failed, Outcome, failed
from supervisors.policy import Policy

MAX_PENDING_COMMANDS = 10_000
"""Callers that may wait for the brain at once; its inbox is bounded by its writers and this."""


@attrs.frozen
class ChildInfo:
    """A child as ``which_children`` shows it. Times are trio's clock."""

    id: str
    kind: ChildKind
    state: ChildState
    incarnation: int
    next_attempt: float | None
    last_error: Exception | None


@attrs.frozen
class Counts:
    """How many children there are: specs, those running, and by kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


class LeakedCancel(Exception):
    """A child let a ``trio.Cancelled`` out that was not its supervisor's: a bug in the child."""


class Supervisor:
    """An actor that keeps its children running.

    Args:
        name: For events and messages.
        children: Static children, started in order and stopped in reverse order.
        dynamic: Children have no order: they start and stop all at once, and are forgotten when they have ended.
        emit: The event hook.
        random: Draws the jitter of delays.
        stop_within: Seconds after which the children that are still there are cancelled together.

    ``run`` returns once it was asked to stop and every child's task has really ended. It raises what made it fail:
    :class:`~supervisors.actions.TooManyCrashes`, :class:`~supervisors.actions.StartFailed` or a child's
    :class:`~actors.errors.Escalate`.
    """

    def __init__(
        self,
        name: str,
        children: Iterable[ChildSpec] = (),
        *,
        dynamic: bool = False,
        emit: EventHook = lambda event: None,
        random: random.Random | None = None,
        stop_within: float = math.inf,
    ) -> None:
        self.name = name
        self._specs = tuple(children)
        self._dynamic = dynamic
        self._emit = emit
        self._random = random or _RANDOM
        self._stop_within = stop_within
        self._policy = self._new_policy()
        self._inbox: deque[Callable[[float], None]] = deque()
        self._bell = trio.Event()
        self._pending: set[_Command] = set()
        self._scopes: dict[Child, _Incarnation] = {}
        self._ended = True

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Keep the children running until asked to stop, cancelled, or failed."""
        self._policy = self._new_policy()
        self._ended = False
        try:
            await self._supervise(task_status)
        finally:
            self._ended = True
            self._inbox.clear()
            for command in tuple(self._pending):
                command.answer(error=Stopping(f"{self.name} has ended"))
            why = self._policy.failure
            self._emit(SupervisorDown(at=trio.current_time(), supervisor=self.name, error=repr(why) if why else ""))
        if self._policy.failure is not None:
            raise self._policy.failure

    def stop(self) -> None:
        """Ask for an orderly stop; ``run`` returns when it is done. Asked for before, ``run`` ends at once."""
        self._post(lambda now: self._policy.stop())

    # -- commands

    async def start_child(self, spec: ChildSpec) -> Any:
        """Add a child and start it; returns what it said in ``started()``, or None if it ended before (ignored).

        Raises:
            AlreadyStarted, AlreadyPresent: the id is taken by a running child, or one that is not running.
            StartFailed: it failed before it had started; nothing of it is kept.
            Stopping: the supervisor is stopping or has ended.
        """
        return await self._command(lambda token, now: self._policy.start_child(spec, token))

    def start_soon(self, spec: ChildSpec) -> None:
        """As :meth:`start_child`, from synchronous code: nobody waits for the answer, events tell what became of it."""
        self._post(lambda now: self._policy.start_child(spec, _Command()))

    async def terminate_child(self, id: str) -> None:  # noqa: A002 - the field's own name
        """Stop a child and keep its spec; returns once it is down.

        Raises:
            NotFound: no such child.
            Unstopped: it did not end within its shutdown time.
        """
        await self._command(lambda token, now: self._policy.terminate_child(id, token, now))

    async def restart_child(self, id: str) -> Any:  # noqa: A002
        """Start a child that is not running: stopped, waiting for its next attempt, or given up.

        Raises:
            NotFound, Running, Restarting, Unstopped, StartFailed: as their names say.
        """
        return await self._command(lambda token, now: self._policy.restart_child(id, token))

    async def delete_child(self, id: str) -> None:  # noqa: A002
        """Forget a child that is not running; raises NotFound or Running."""
        await self._command(lambda token, now: self._policy.delete_child(id, token))

    def which_children(self) -> list[ChildInfo]:
        """Every child, in order, as it stands."""
        return [
            ChildInfo(
                id=child.spec.id,
                kind=child.spec.kind,
                state=child.state,
                incarnation=child.incarnation,
                next_attempt=child.due if child.state in WAITING else None,
                last_error=child.error,
            )
            for child in self._policy.children.values()
        ]

    def count_children(self) -> Counts:
        """The numbers of children."""
        children = self._policy.children.values()
        supervisors = sum(child.spec.kind is ChildKind.SUPERVISOR for child in children)
        return Counts(len(children), len(self._scopes), supervisors, len(children) - supervisors)

    # -- the brain

    def _new_policy(self) -> Policy:
        return Policy(self.name, self._specs, dynamic=self._dynamic, random=self._random)

    async def _supervise(self, task_status: Context) -> None:
        async with trio.open_nursery() as nursery:
            try:
                await self._brain(nursery, task_status)
            finally:  # asked, failed, cancelled, or our bug
                self._policy.stop()
                try:
                    # no deadline of its own: the children's shutdown times and stop_within bound the brain
                    with trio.CancelScope(shield=True):
                        await self._brain(nursery, task_status, closing=True)
                finally:
                    self._abandon()  # what is left now can only be waited for

    async def _brain(self, nursery: trio.Nursery, task_status: Context, *, closing: bool = False) -> None:
        """Until the policy stops; with ``closing``, until every child is down or has been reported as unstopped."""
        policy = self._policy
        hurry_at = trio.current_time() + self._stop_within if closing else math.inf
        while True:
            now = trio.current_time()
            while self._inbox:
                self._inbox.popleft()(now)
            broken: Exception | None = None
            for action in policy.step(now):
                try:
                    self._carry_out(action, nursery, task_status)
                except Exception as error:  # the hook's: the rest of the step must happen all the same
                    broken = broken or error
            if broken is not None:
                raise broken
            if policy.finished or (policy.stopping and not closing):
                return
            if now >= hurry_at:
                hurry_at = math.inf
                policy.hurry()
            elif self._inbox:
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_at(min(policy.wake, hurry_at)):
                    await self._bell.wait()
                self._bell = trio.Event()

    def _carry_out(self, action: Action, nursery: trio.Nursery, task_status: Context) -> None:
        match action:
            case Start(child):
                life = self._scopes[child] = _Incarnation(self, child)
                nursery.start_soon(self._live, life, name=f"{self.name}/{child.spec.id}#{child.incarnation}")
            case Drain(child):
                if (life := self._scopes.get(child)) is not None:  # else it has ended in this very turn
                    life.context.stopping.set()
            case Cancel(child, why):
                if (life := self._scopes.get(child)) is not None:
                    life.context.stopping.set()
                    life.scope.cancel(why)
            case Emit(event):
                self._emit(event)
            case Answer(token, value, error):
                token.answer(value, error)
            case Started():
                task_status.started(self)

    async def _live(self, life: "_Incarnation") -> None:
        """Run one incarnation: the one place where groups are unwrapped and a stray ``Cancelled`` is judged."""
        outcome: Outcome = FINISHED
        try:
            with life.scope:
                try:
                    await life.child.spec.run(task_status=life.context)
                except* Exception as group:
                    outcome = failed(group)
        except* trio.Cancelled:  # noqa: ASYNC103 - not ours: the scope above has taken every Cancelled that is
            if life.abandoned:
                raise
            outcome = Failed(LeakedCancel(f"{self.name}/{life.child.spec.id} let a Cancelled out"))
        finally:
            self._post_exit(life, outcome)

    def _post_exit(self, life: "_Incarnation", outcome: Outcome) -> None:
        def exited(now: float) -> None:
            if self._scopes.get(life.child) is life:
                del self._scopes[life.child]
            self._policy.exited(life.child, life.incarnation, outcome, now)

        self._post(exited)

    def _abandon(self) -> None:
        """Whatever has ended the brain, no child stays uncancellable."""
        for life in self._scopes.values():
            life.abandoned = True
            life.scope.shield = False
            life.scope.cancel(f"{self.name} has ended")

    def _post(self, change: Callable[[float], None]) -> None:
        self._inbox.append(change)
        self._bell.set()

    async def _command(self, post: Callable[["_Command", float], None]) -> Any:
        await trio.lowlevel.checkpoint()
        if self._ended:
            raise Stopping(f"{self.name} is not running")
        if len(self._pending) >= MAX_PENDING_COMMANDS:
            raise Stopping(f"{len(self._pending)} commands wait for {self.name}")
        command = _Command()
        self._pending.add(command)
        self._post(lambda now: post(command, now))
        try:
            return await command.wait()
        finally:
            self._pending.discard(command)

    def post_ready(self, child: Child, incarnation: int, value: Any) -> None:
        """An incarnation's context says that it has started."""
        self._post(lambda now: self._policy.ready(child, incarnation, value, now))

    def post_healthy(self, child: Child, incarnation: int) -> None:
        """An incarnation's context says that it is healthy."""
        self._post(lambda now: self._policy.healthy(child, incarnation, now))


class _Incarnation:
    """One run of a child: its shielded scope, which only the supervisor cancels, and its context."""

    def __init__(self, supervisor: Supervisor, child: Child) -> None:
        self.child = child
        self.incarnation = child.incarnation
        self.scope = trio.CancelScope(shield=True)
        self.context = _Context(supervisor, child)
        self.abandoned = False


class _Context(Context):
    """Knows the child, not the incarnation's record: a cycle here would keep every ended session until a collection."""

    def __init__(self, supervisor: Supervisor, child: Child) -> None:
        super().__init__()
        self.incarnation = child.incarnation
        self._supervisor = supervisor
        self._child = child
        self._started = self._healthy = False

    def started(self, value: Any = None) -> None:
        if self._started:
            raise RuntimeError("started() was called twice")
        self._started = True
        self._supervisor.post_ready(self._child, self.incarnation, value)

    def healthy(self) -> None:
        if not self._healthy:
            self._healthy = True
            self._supervisor.post_healthy(self._child, self.incarnation)


class _Command:
    """A caller that waits for the brain's answer."""

    def __init__(self) -> None:
        self._done = trio.Event()
        self._value: Any = None
        self._error: Exception | None = None

    def answer(self, value: Any = None, error: Exception | None = None) -> None:
        if not self._done.is_set():
            self._value, self._error = value, error
            self._done.set()

    async def wait(self) -> Any:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


_RANDOM = random.Random()  # noqa: S311 - jitter needs no secrecy
