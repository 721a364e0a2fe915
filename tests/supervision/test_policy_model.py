"""The policy without trio: any commands, ends and times in any order, in a world that checks every action."""

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actors.backoff import ReconnectStrategy
from actors.errors import NOW, QUARANTINE, ConnectorError, Escalate, GiveUp, Reason, after
from supervisors import AutoShutdown, ChildSpec, Intensity, Restart, Strategy, TooMany
from supervisors.child import FINISHED, Failed, Outcome
from supervisors.flags import Flags
from tests.supervision.world import World


async def nothing(*, task_status: object) -> None:
    """What a child runs in a world without tasks."""


RESTARTS = st.sampled_from(Restart)


def child(
    restart: Restart, too_many: TooMany, crashes: int, drain: float, shutdown: float, significant: bool
) -> ChildSpec:
    """A spec, whose name a failing example shows."""
    return ChildSpec(
        id="child",
        run=nothing,
        restart=restart,
        too_many=too_many,
        intensity=Intensity(crashes, 60),
        drain=drain,
        shutdown=shutdown,
        significant=significant and restart is not Restart.PERMANENT,
        strategy=ReconnectStrategy(initial_delay=1, max_delay=8, max_attempts=4, reset_after=10),
    )


SPECS = st.builds(
    child,
    RESTARTS,
    st.sampled_from(TooMany),
    st.integers(0, 4),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([0.0, 3.0, 5.0]),
    st.booleans(),
)
OUTCOMES: dict[str, Outcome] = {
    "finished": FINISHED,
    "lost": Failed(ConnectorError(Reason.EOF)),
    "now": Failed(ConnectorError(Reason.CLOSE_1001, "", NOW)),
    "told to wait": Failed(ConnectorError(Reason.HTTP_429, "", after(30))),
    "banned": Failed(ConnectorError(Reason.HTTP_BANNED, "", QUARANTINE)),
    "crashed": Failed(RuntimeError("crash")),
    "gave up": Failed(GiveUp("enough")),
    "escalated": Failed(Escalate("too much")),
}
ENDS = st.sampled_from([*OUTCOMES, *list(OUTCOMES)[:-1]])
PICKS = st.integers(0, 7)


@st.composite
def flags(draw: st.DrawFn) -> Flags:
    """Every combination that is none of the bad ones."""
    strategy = draw(st.sampled_from(Strategy))
    dynamic = strategy is Strategy.ONE_FOR_ONE and draw(st.booleans())
    unordered = dynamic or strategy is Strategy.SIMPLE_ONE_FOR_ONE
    return Flags(
        strategy=strategy,
        dynamic=dynamic,
        intensity=Intensity(draw(st.integers(0, 12)), 60),
        every_restart_counts=draw(st.booleans()),
        auto_shutdown=AutoShutdown.NEVER if unordered else draw(st.sampled_from(AutoShutdown)),
        max_children=draw(st.one_of(st.none(), st.integers(5, 7))) if unordered else None,
    )


class Story(RuleBasedStateMachine):
    """One supervisor's life."""

    world: World
    made = 0

    @initialize(chosen=flags(), specs=st.lists(SPECS, min_size=1, max_size=5), late=st.booleans())
    def begin(self, chosen: Flags, specs: list[ChildSpec], late: bool) -> None:
        """A supervisor with its static children, or its template and instances; all up, or not yet."""
        static = specs[:1] if chosen.simple else specs
        self.world = World([self.named(spec, chosen) for spec in static], chosen)
        if chosen.simple:
            for _ in specs:
                self.start_instance()
        if not late:
            self.all_get_ready()

    @rule(number=st.integers(1, 3))
    def several_things_happen_at_once(self, number: int) -> None:
        """The brain finds more than one message in its inbox."""
        self.world.at_once = number

    @rule()
    def all_get_ready(self) -> None:
        """Whoever is starting has started, and those behind."""
        self.world.at_once = 0
        while starting := [task for task in self.world.tasks.values() if not task.ready and not task.cancelled]:
            self.world.ready(starting[0])

    def named(self, spec: ChildSpec, chosen: Flags) -> ChildSpec:
        """The spec under an id of its own, as these flags allow it."""
        self.made += 1
        significant = spec.significant and chosen.auto_shutdown is not AutoShutdown.NEVER
        return attrs.evolve(spec, id=f"c{self.made - 1}", significant=significant)

    @rule(spec=SPECS)
    def start_child(self, spec: ChildSpec) -> None:
        """Somebody adds a child."""
        named = self.named(spec, self.world.flags)
        self.world.policy.start_child(named, self.world.token(f"start {named.id}"))
        self.world.pump()

    @precondition(lambda self: self.world.flags.simple)
    @rule()
    def start_instance(self) -> None:
        """Somebody adds an instance."""
        token = self.world.token("start")
        token.what = f"start {self.world.policy.start_instance((), token)}"
        self.world.pump()

    def id_of(self, pick: int) -> str:
        """A child's id, or one that there is not."""
        ids = list(self.world.policy.children)
        return ids[pick % len(ids)] if ids and pick < 7 else "nobody"

    @rule(pick=PICKS)
    def terminate_child(self, pick: int) -> None:
        """Somebody stops a child."""
        self.world.policy.terminate_child(self.id_of(pick), self.world.token("terminate"), self.world.now)
        self.world.pump()

    @rule(pick=PICKS)
    def restart_child(self, pick: int) -> None:
        """Somebody starts a child again."""
        id = self.id_of(pick)  # noqa: A001 - the field's own name
        self.world.policy.restart_child(id, self.world.token(f"restart {id}"), self.world.now)
        self.world.pump()

    @rule(pick=PICKS)
    def delete_child(self, pick: int) -> None:
        """Somebody deletes a child."""
        self.world.policy.delete_child(self.id_of(pick), self.world.token("delete"))
        self.world.pump()

    @precondition(lambda self: self.world.tasks)
    @rule(pick=PICKS)
    def ready(self, pick: int) -> None:
        """A task says that it has started."""
        tasks = list(self.world.tasks.values())
        self.world.ready(tasks[pick % len(tasks)])

    @precondition(lambda self: self.world.tasks)
    @rule(pick=PICKS)
    def healthy(self, pick: int) -> None:
        """A task says that it is healthy."""
        task = list(self.world.tasks.values())[pick % len(self.world.tasks)]
        self.world.policy.healthy(task.child, task.number, self.world.now)
        self.world.pump()

    @precondition(lambda self: any(task.ready and not task.cancelled for task in self.world.tasks.values()))
    @rule(pick=PICKS, outcome=st.sampled_from(["lost", "lost", "crashed", "finished", "told to wait"]))
    def fail(self, pick: int, outcome: str) -> None:
        """A task that is up ends by itself."""
        tasks = [task for task in self.world.tasks.values() if task.ready and not task.cancelled]
        self.world.end(tasks[pick % len(tasks)], OUTCOMES[outcome])

    @precondition(lambda self: self.world.tasks)
    @rule(pick=PICKS, outcome=ENDS)
    def end(self, pick: int, outcome: str) -> None:
        """A task ends, cancelled or not."""
        tasks = list(self.world.tasks.values())
        self.world.end(tasks[pick % len(tasks)], OUTCOMES[outcome])

    @precondition(lambda self: self.world.overdue)
    @rule()
    def report_overdue(self) -> None:
        """It has become known what stragglers do."""
        self.world.report_overdue()

    @precondition(lambda self: self.world.policy.children)
    @rule(pick=PICKS, outcome=ENDS)
    def an_old_message_arrives(self, pick: int, outcome: str) -> None:
        """What an incarnation of before posted changes nothing."""
        child = list(self.world.policy.children.values())[pick % len(self.world.policy.children)]
        before = child.state
        self.world.policy.ready(child, child.incarnation - 1, None, self.world.now)
        self.world.policy.exited(child, child.incarnation - 1, OUTCOMES[outcome], self.world.now)
        assert child.state is before

    @rule(seconds=st.sampled_from([0.5, 1.0, 1.0, 2.0, 4.0, 8.0, 11.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        """Deadlines fall due one by one."""
        self.world.pass_time(seconds)

    @precondition(lambda self: not self.world.policy.stopping)
    @rule(hurry=st.booleans(), sure=st.integers(0, 9))
    def stop(self, hurry: bool, sure: int) -> None:
        """The supervisor is asked to stop, which is rare, and may be told to hurry."""
        if sure == 0:
            self.world.policy.stop()
            self.world.pump()
            if hurry:
                self.world.policy.hurry()
                self.world.pump()

    def teardown(self) -> None:
        """Everybody behaves from now on: all is answered, all that shall run runs; then everything stops."""
        if not hasattr(self, "world") or self.world.broken:
            return
        self.world.come_to_rest()
        self.world.policy.stop()
        self.world.pump()
        self.world.come_to_rest()
        assert self.world.policy.finished
        assert not self.world.tasks


def examples(number: int) -> settings:
    """So many stories of forty steps."""
    return settings(
        max_examples=number,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


class TestStories(Story.TestCase):
    """A hundred, at every run."""

    settings = examples(100)


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestManyStories(Story.TestCase):
    """A thousand."""

    settings = examples(1000)
