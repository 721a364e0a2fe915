"""The same commands through nurseries: random trees, acts, commands, schedules and faults, under the virtual clock."""

import random
from collections import defaultdict

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from trio._core import _run  # pyright: ignore[reportPrivateUsage] - trio offers no other way to draw a schedule

from actors.actor import NO_CONTEXT, Context
from actors.errors import Escalate, GiveUp
from actors.events import ChildEvent, ChildExited, ChildStarted, Event, SupervisorDown
from supervisors import (
    AutoShutdown,
    ChildKind,
    ChildSpec,
    Intensity,
    Restart,
    Strategy,
    Supervisor,
    SupervisorError,
    TooMany,
)
from tests.supervision.stage import (
    EXACT,
    Act,
    Puppet,
    fail,
    fail_to_start,
    finish,
    ignore,
    live,
    lost,
    never_start,
    stubborn,
)


async def spin(context: Context) -> None:
    """Swallow a few cancels and go on at once."""
    context.started()
    for _ in range(30):
        try:
            await trio.sleep(1)
        except trio.Cancelled:  # noqa: ASYNC103 - the fault that is played
            continue  # noqa: ASYNC104 - the same


async def deep(context: Context) -> None:
    """Be several tasks, which take several turns to end."""
    context.started()
    context.healthy()
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        outer.start_soon(trio.sleep_forever)
        inner.start_soon(stubborn(0.5), Context())


ACTS: dict[str, Act] = {
    "live": live,
    "lost": fail(lost(), at=1),
    "bug": fail(RuntimeError("bug"), at=2),
    "finish": finish,
    "ignore": ignore,
    "fail to start": fail_to_start,
    "stubborn": stubborn(3),
    "very stubborn": stubborn(30),
    "never start": never_start,
    "give up": fail(GiveUp("x"), at=1),
    "escalate": fail(Escalate("x"), at=4),
    "spin": spin,
    "deep": deep,
}


@attrs.frozen
class Leaf:
    """A worker: what each of its incarnations does, and how it is kept."""

    acts: tuple[str, ...]
    restart: Restart
    drain: float
    shutdown: float
    yields: int


@attrs.frozen
class Branch:
    """A supervisor with its children."""

    children: "tuple[Leaf | Branch, ...]"
    strategy: Strategy
    dynamic: bool
    exact: bool
    auto_shutdown: AutoShutdown
    stop_within: float


@attrs.frozen
class Command:
    """What somebody asks of one of the supervisors, after so many turns or seconds."""

    what: str
    where: int
    whom: int
    turns: int
    seconds: float


LEAVES = st.builds(
    Leaf,
    st.lists(st.sampled_from(sorted(ACTS)), min_size=1, max_size=3).map(tuple),
    st.sampled_from(Restart),
    st.sampled_from([0.0, 0.0, 1.0]),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.integers(0, 3),
)


def branches(children: "st.SearchStrategy[Leaf | Branch]") -> "st.SearchStrategy[Leaf | Branch]":
    """Supervisors over such children, without the bad combinations."""

    def make(children: "list[Leaf | Branch]", strategy: Strategy, *rest: object) -> Branch:
        dynamic, exact, auto, within = rest
        dynamic = bool(dynamic) and strategy is Strategy.ONE_FOR_ONE
        mode = AutoShutdown.NEVER if dynamic else AutoShutdown(auto)  # pyright: ignore[reportArgumentType] - drawn so
        return Branch(tuple(children), strategy, dynamic, bool(exact), mode, float(within))  # pyright: ignore[reportArgumentType]

    return st.builds(
        make,
        st.lists(children, max_size=4),
        st.sampled_from([each for each in Strategy if each is not Strategy.SIMPLE_ONE_FOR_ONE]),
        st.booleans(),
        st.booleans(),
        st.sampled_from(AutoShutdown),
        st.sampled_from([2.0, 10.0, float("inf")]),
    )


TREES = branches(st.recursive(LEAVES, branches, max_leaves=6))
COMMANDS = st.lists(
    st.builds(
        Command,
        st.sampled_from(["start", "terminate", "restart", "delete", "wait", "stop"]),
        st.integers(0, 3),
        st.integers(0, 5),
        st.integers(0, 4),
        st.sampled_from([0.0, 0.0, 1.0, 2.5]),
    ),
    max_size=10,
)


class Grove:
    """A tree that was drawn, made real."""

    def __init__(self, tree: Branch, broken_at: int | None) -> None:
        self.puppets: list[Puppet] = []
        self.supervisors: list[Supervisor] = []
        self.log: list[Event] = []
        self.calls = 0
        self.broken_at = broken_at
        self.root = self.grow(tree, "root")

    def hook(self, event: Event) -> None:
        self.calls += 1
        if self.calls == self.broken_at:
            raise ZeroDivisionError
        self.log.append(event)

    def grow(self, branch: Branch, name: str) -> Supervisor:
        supervisor = Supervisor(
            name,
            [self.spec(child, f"{name}.{n}", branch) for n, child in enumerate(branch.children)],
            strategy=branch.strategy,
            dynamic=branch.dynamic,
            every_restart_counts=branch.exact,
            intensity=Intensity(4, 60),
            auto_shutdown=branch.auto_shutdown,
            stop_within=branch.stop_within,
            emit=self.hook,
            random=random.Random(1),
        )
        self.supervisors.append(supervisor)
        return supervisor

    def spec(self, node: Leaf | Branch, name: str, parent: Branch) -> ChildSpec:
        if isinstance(node, Branch):
            inner = self.grow(node, name)
            return ChildSpec(
                id=name, run=inner.run, kind=ChildKind.SUPERVISOR, strategy=EXACT, too_many=TooMany.GIVE_UP
            )
        puppet = Puppet(*(ACTS[act] for act in node.acts), name=name)
        self.puppets.append(puppet)

        async def run(*, task_status: Context = NO_CONTEXT) -> None:
            for _ in range(node.yields):
                await trio.lowlevel.checkpoint()
            await puppet.run(task_status=task_status)

        return ChildSpec(
            id=name,
            run=run,
            restart=node.restart,
            strategy=EXACT,
            intensity=Intensity(3, 60),
            drain=node.drain,
            shutdown=node.shutdown,
            significant=parent.auto_shutdown is not AutoShutdown.NEVER and node.restart is not Restart.PERMANENT,
        )

    async def obey(self, command: Command) -> None:
        """Carry a command out; a refusal must be one of the typed ones."""
        for _ in range(command.turns):
            await trio.lowlevel.checkpoint()
        await trio.sleep(command.seconds)
        supervisor = self.supervisors[command.where % len(self.supervisors)]
        ids = [child.id for child in supervisor.which_children()]
        name = ids[command.whom % len(ids)] if ids and command.whom < 5 else f"{supervisor.name}.new"
        try:
            match command.what:
                case "start":
                    act = sorted(ACTS)[command.whom + command.turns]
                    leaf = Leaf((act,), Restart.TRANSIENT, 0.0, 1.0, 0)
                    parent = Branch((), Strategy.ONE_FOR_ONE, False, False, AutoShutdown.NEVER, 10.0)
                    await supervisor.start_child(self.spec(leaf, name, parent))
                case "terminate":
                    await supervisor.terminate_child(name)
                case "restart":
                    await supervisor.restart_child(name)
                case "delete":
                    await supervisor.delete_child(name)
                case "stop":
                    supervisor.stop()
                case _:
                    await trio.sleep(5)
        except SupervisorError:
            pass

    def check(self) -> None:
        """What the log and the puppets must say when all is over."""
        assert all(len(puppet.runs) == len(puppet.ends) for puppet in self.puppets), "a task has outlived its tree"
        if self.broken_at is not None and self.calls >= self.broken_at:
            return
        lives = defaultdict[tuple[str, str], list[ChildEvent]](list)
        for event in self.log:
            if isinstance(event, ChildStarted | ChildExited):
                lives[event.supervisor, event.child].append(event)
        for events in lives.values():
            assert len(events) % 2 == 0, "started and not ended, or ended and not started"
            for started, exited in zip(events[::2], events[1::2], strict=True):
                assert isinstance(started, ChildStarted)
                assert isinstance(exited, ChildExited)
                assert started.incarnation == exited.incarnation
        assert [event.supervisor for event in self.log if isinstance(event, SupervisorDown)][-1:] == ["root"]


async def play(tree: Branch, commands: list[Command], broken_at: int | None, cancel: bool) -> None:
    """Run the tree, ask it this and that at once, and end it one way or the other."""
    grove = Grove(tree, broken_at)
    done = trio.Event()

    async def run() -> None:
        try:
            await grove.root.run()
        except* Exception:
            pass
        finally:
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.move_on_after(500) as limit:
            async with trio.open_nursery() as callers:
                for command in commands:
                    callers.start_soon(grove.obey, command)
                    await trio.sleep(command.seconds)
        assert not limit.cancelled_caught, "a command was never answered"
        if cancel:
            nursery.cancel_scope.cancel()
        else:
            grove.root.stop()
        with trio.move_on_after(500, shield=True) as limit:
            await done.wait()
        assert not limit.cancelled_caught, "run() has not ended"
    grove.check()


def examples(number: int) -> settings:
    """So many trees; a failing one is shrunk, not explained, which would take long."""
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    )


GIVEN = given(
    tree=TREES,
    commands=COMMANDS,
    broken_at=st.one_of(st.none(), st.none(), st.integers(1, 40)),
    cancel=st.booleans(),
    seed=st.integers(0, 2**32),
)


def run(
    monkeypatch: pytest.MonkeyPatch,
    tree: Branch,
    commands: list[Command],
    broken_at: int | None,
    cancel: bool,
    seed: int,
) -> None:
    """Play it in the order of tasks that the seed draws: trio draws one for every turn."""
    monkeypatch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr(_run, "_r", random.Random(seed))
    trio.run(play, tree, commands, broken_at, cancel, clock=trio.testing.MockClock(autojump_threshold=0))


@examples(100)
@GIVEN
def test_run_ends_once_every_child_has_ended(
    monkeypatch: pytest.MonkeyPatch,
    tree: Branch,
    commands: list[Command],
    broken_at: int | None,
    cancel: bool,
    seed: int,
) -> None:
    """For any tree, commands, schedule and exception at any call of the hook: no task outlives ``run``, none hangs."""
    run(monkeypatch, tree, commands, broken_at, cancel, seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@examples(1000)
@GIVEN
def test_run_ends_once_every_child_has_ended_a_thousand_times(
    monkeypatch: pytest.MonkeyPatch,
    tree: Branch,
    commands: list[Command],
    broken_at: int | None,
    cancel: bool,
    seed: int,
) -> None:
    """The same, a thousand trees."""
    run(monkeypatch, tree, commands, broken_at, cancel, seed)
