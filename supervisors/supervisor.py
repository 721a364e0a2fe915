"""A supervisor: one brain, one task per incarnation.

All that changes state is synchronous and happens in the brain, by the :class:`~supervisors.policy.Policy`; all that
waits is either the brain's single wait or inside a child. Children and callers only *post* to the brain's inbox.
"""

import math
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import trio

from actors.actor import NO_CONTEXT, Context, Reply
from actors.backoff import Chance
from actors.events import ChildExited, Ending, Event, EventHook, SubscriberFailed, SupervisorDown
from supervisors.actions import Action, Answer, Cancel, Drain, Emit, Observe, Start, Started
from supervisors.child import FINISHED, RUNNING, Child, ChildInfo, ChildSpec, Counts, Failed, Outcome, failed
from supervisors.flags import AutoShutdown, Flags, Strategy
from supervisors.incarnation import Incarnation
from supervisors.intensity import Intensity
from supervisors.policy import Policy
from supervisors.refusals import NotRunning, Overloaded, Stopping
from supervisors.straggler import observe

MAX_PENDING_COMMANDS = 10_000
"""Callers that may wait for the brain at once; its inbox is bounded by its writers and this."""
OWN_INTENSITY = Intensity(10, 60.0)
"""The default of a supervisor's own window: wide enough for one child's backoff, too narrow for several that crash."""


@attrs.frozen
class Instance:
    """A child that was made of a template: its id, and what it said in ``started()``, None if it ended before."""

    id: str
    value: Any


class LeakedCancel(Exception):
    """A child let a ``trio.Cancelled`` out that was not its supervisor's: a bug in the child."""


class Supervisor:
    """An actor that keeps its children running.

    Args:
        name: For events and messages.
        children: Static children, started in order, each once the one before has started, and stopped in reverse
            order; for ``simple_one_for_one`` one spec, the template.
        strategy: Who is restarted with a child that failed. ``simple_one_for_one``: all children are dynamic, made of
            the template by :meth:`start_instance`.
        dynamic: Children have no order: they start and stop all at once, and are forgotten when they have ended.
        intensity: The supervisor's own window: more crashes of static children than this, and it fails.
        every_restart_counts: OTP's exact rule. The one window counts every restart of every child, whatever ended it;
            the children's own intensities do not apply.
        auto_shutdown: Whether the end of significant children is the end of the supervisor.
        max_children: The most dynamic children, those included that wait for a restart; None for no limit.
        emit: The event hook.
        random: Draws the jitter of delays.
        stop_within: Seconds after which the children that are still there are cancelled together.

    Raises:
        ValueError: two children have one id; :class:`~supervisors.refusals.BadCombination` for settings that
            contradict each other.

    ``run`` returns once it was asked to stop, or a significant child's end asked for it, and every child's task has
    really ended. It raises what made it fail: :class:`~supervisors.refusals.TooManyCrashes`,
    :class:`~supervisors.refusals.StartFailed` or a child's :class:`~actors.errors.Escalate`.
    """

    def __init__(
        self,
        name: str,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy | str = Strategy.ONE_FOR_ONE,
        dynamic: bool = False,
        intensity: Intensity = OWN_INTENSITY,
        every_restart_counts: bool = False,
        auto_shutdown: AutoShutdown | str = AutoShutdown.NEVER,
        max_children: int | None = None,
        emit: EventHook = lambda event: None,
        random: Chance | None = None,
        stop_within: float = math.inf,
    ) -> None:
        self.name = name
        self._specs = tuple(children)
        self._flags = Flags(
            strategy=strategy,
            dynamic=dynamic,
            intensity=intensity,
            every_restart_counts=every_restart_counts,
            auto_shutdown=auto_shutdown,
            max_children=max_children,
        )
        self._emit = emit
        self._random = random or _RANDOM
        self._stop_within = stop_within
        self._policy = self._new_policy()
        self._inbox: deque[Callable[[float], object]] = deque()
        self._todo: deque[Action] = deque()
        """What is decided and not done; a hook that raises loses nothing of it."""
        self._bell = trio.Event()
        self._pending: set[Reply[Any]] = set()
        self._watches: dict[tuple[str, int], list[Callable[[ChildExited], object]]] = {}
        self._lives: dict[Child, Incarnation] = {}
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
            self._todo.clear()
            for command in tuple(self._pending):
                command.fail(Stopping(f"{self.name} has ended"))
            self._end_watches()
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
            Unstopped: it took too long to start, and then to end.
            BadCombination, TooManyChildren, Unsupported: it is no child for this supervisor.
            Stopping: the supervisor is stopping or has ended.
        """
        return await self._command(lambda token, now: self._policy.start_child(spec, token))

    async def start_instance(self, *args: Any) -> Instance:
        """Start a child of the template, whose ``run`` is called with ``args``; refused as :meth:`start_child` is.

        The arguments are kept while the child may be restarted; for a temporary one only its own run keeps them.
        """
        ids: list[str] = []
        value = await self._command(lambda token, now: ids.append(self._policy.start_instance(args, token)))
        return Instance(ids[0], value)

    def start_soon(self, spec: ChildSpec) -> None:
        """As :meth:`start_child`, from synchronous code: nobody waits for the answer, events tell what became of it."""
        self._post(lambda now: self._policy.start_child(spec, Reply()))

    def terminate_soon(self, id: str) -> None:  # noqa: A002 - the field's own name
        """As :meth:`terminate_child`, from synchronous code: nobody waits for the answer."""
        self._post(lambda now: self._policy.terminate_child(id, Reply(), now))

    async def terminate_child(self, id: str) -> None:  # noqa: A002 - the field's own name
        """Stop a child and keep its spec, unless it is temporary or dynamic; returns once it is down.

        Raises:
            NotFound: no such child.
            Unstopped: it did not end within its shutdown time; the message says whether it is parked or spinning.
        """
        await self._command(lambda token, now: self._policy.terminate_child(id, token, now))

    async def restart_child(self, id: str) -> Any:  # noqa: A002
        """Start a child that is not running: stopped, waiting for its next attempt, or given up.

        Raises:
            NotFound, Running, Restarting, Unstopped, Unsupported, StartFailed, Stopping: as their names say.
        """
        return await self._command(lambda token, now: self._policy.restart_child(id, token, now))

    async def delete_child(self, id: str) -> None:  # noqa: A002
        """Forget a child that is not running; raises NotFound, Running, Restarting or Unsupported."""
        await self._command(lambda token, now: self._policy.delete_child(id, token))

    def get_childspec(self, id: str) -> ChildSpec:  # noqa: A002
        """The spec of a child, the template for an instance of it; raises NotFound."""
        return self._policy.get_childspec(id)

    def which_children(self) -> list[ChildInfo]:
        """Every child, in order, as it stands."""
        return self._policy.which_children()

    def count_children(self) -> Counts:
        """The numbers of children."""
        return self._policy.count_children()

    def watch(self, id: str, tell: Callable[[ChildExited], object]) -> Callable[[], None]:  # noqa: A002
        """Have ``tell`` called once, when the present incarnation of a child ends; returns what ends the watch.

        ``tell`` is synchronous, a mailbox's ``tell`` for one; if it raises, that is one event. If the supervisor
        itself breaks, it is called all the same.

        Raises:
            NotFound: no such child.
            NotRunning: it has no incarnation now.
        """
        child = self._policy.find(id)
        if child.state not in RUNNING:
            raise NotRunning(f"child {id!r} of {self.name} is {child.state.value}")
        key = (id, child.incarnation)
        watchers = self._watches.setdefault(key, [])
        watchers.append(tell)

        def unwatch() -> None:
            if tell in self._watches.get(key, ()):
                watchers.remove(tell)

        return unwatch

    # -- the brain

    def _new_policy(self) -> Policy:
        return Policy(self.name, self._specs, self._flags, self._random)

    async def _supervise(self, task_status: Context) -> None:
        async with trio.open_nursery() as nursery:
            try:
                await self._brain(nursery, task_status)
            finally:  # asked, failed, cancelled, or our bug
                self._policy.stop()
                try:
                    # no deadline of its own: the children's shutdown times and stop_within bound the verdict on each,
                    # and for a straggler's end the nursery waits as well
                    with trio.CancelScope(shield=True):
                        await self._brain(nursery, task_status, closing=True)
                finally:
                    for life in self._lives.values():
                        life.abandon(f"{self.name} has ended")

    async def _brain(self, nursery: trio.Nursery, task_status: Context, *, closing: bool = False) -> None:
        """Until the policy stops; with ``closing``, until no child's task is left."""
        policy = self._policy
        hurry_at = trio.current_time() + self._stop_within if closing else math.inf
        while True:
            now = trio.current_time()
            while self._inbox:
                self._inbox.popleft()(now)
            self._todo.extend(policy.step(now))
            while self._todo:
                self._carry_out(self._todo.popleft(), nursery, task_status)
            if policy.finished or (policy.stopping and not closing):
                return
            if now >= hurry_at:
                hurry_at = math.inf
                policy.hurry()
            elif self._inbox or policy.wake <= now:
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_at(min(policy.wake, hurry_at)):
                    await self._bell.wait()
                self._bell = trio.Event()

    def _carry_out(self, action: Action, nursery: trio.Nursery, task_status: Context) -> None:
        match action:
            case Start(child, run):
                life = self._lives[child] = Incarnation(self, child, run)
                nursery.start_soon(self._live, life, name=f"{self.name}/{child.spec.id}#{child.incarnation}")
            # one that is told to end may have ended in the same turn
            case Drain(child) if child in self._lives:
                self._lives[child].context.stopping.set()
            case Cancel(child, why) if child in self._lives:
                self._lives[child].context.stopping.set()
                self._lives[child].scope.cancel(why)
            case Observe(children):
                lives = [self._lives[child] for child in children if child in self._lives]
                nursery.start_soon(self._observe, lives, name=f"{self.name} observes stragglers")
            case Emit(event):
                self._tell(event)
            case Answer(token, value, error):
                token.answer(value) if error is None else token.fail(error)
            case Started():
                task_status.started(self)
                task_status.healthy()
            case _:
                pass

    async def _live(self, life: Incarnation) -> None:
        """Run one incarnation: the one place where groups are unwrapped and a stray ``Cancelled`` is judged."""
        life.task = trio.lowlevel.current_task()
        outcome: Outcome = FINISHED
        try:
            with life.scope:
                try:
                    await life.begin()
                except* Exception as group:
                    outcome = failed(group)
        except* trio.Cancelled:  # noqa: ASYNC103 - not ours: the scope above has taken every Cancelled that is
            if life.abandoned:
                raise
            outcome = Failed(LeakedCancel(f"{self.name}/{life.child.spec.id} let a Cancelled out"))
        finally:
            life.task = None
            # what is no Exception goes through: nothing is to be started beside it
            self._post_exit(life, outcome, interrupted=sys.exception() is not None)

    def _post_exit(self, life: Incarnation, outcome: Outcome, *, interrupted: bool) -> None:
        def exited(now: float) -> None:
            if self._lives.get(life.child) is life:
                del self._lives[life.child]
            if interrupted:
                self._policy.stop()
            self._policy.exited(life.child, life.number, outcome, now)

        self._post(exited)

    async def _observe(self, lives: list[Incarnation]) -> None:
        found = await observe([life.task for life in lives])

        def late(now: float) -> None:
            for life, straggler in zip(lives, found, strict=True):
                self._policy.late(life.child, life.number, straggler, now)

        self._post(late)

    def _tell(self, event: Event) -> None:
        if isinstance(event, ChildExited):
            self._tell_watchers(event)
        self._emit(event)

    def _tell_watchers(self, event: ChildExited) -> None:
        failures: list[Exception] = []
        for tell in self._watches.pop((event.child, event.incarnation), ()):
            try:
                tell(event)
            except Exception as error:
                failures.append(error)
        for error in failures:
            who = f"a watch on {event.supervisor}/{event.child}"
            self._emit(SubscriberFailed(at=event.at, subscriber=who, error=repr(error)))

    def _end_watches(self) -> None:
        """After an orderly end there are none: this is for those of a brain that broke."""
        for child, incarnation in tuple(self._watches):
            self._tell_watchers(
                ChildExited(
                    at=trio.current_time(),
                    supervisor=self.name,
                    child=child,
                    incarnation=incarnation,
                    ending=Ending.STOPPED,
                    reason=None,
                    error=f"{self.name} has ended",
                )
            )

    def _post(self, change: Callable[[float], object]) -> None:
        self._inbox.append(change)
        self._bell.set()

    async def _command(self, post: Callable[[Reply[Any], float], object]) -> Any:
        await trio.lowlevel.checkpoint()
        if self._ended:
            raise Stopping(f"{self.name} is not running")
        if len(self._pending) >= MAX_PENDING_COMMANDS:
            raise Overloaded(f"{len(self._pending)} commands wait for {self.name}")
        command: Reply[Any] = Reply()
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


_RANDOM = random.Random()  # noqa: S311 - jitter needs no secrecy
