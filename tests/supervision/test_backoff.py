"""What OTP does not test: coming back later and later. By the specs of Pekko, of DynamicSupervisor and of suture."""

import random

import attrs
import pytest
import trio

from actors.actor import ActorEnded, Context, Mailbox, MailboxFull, Overflow, Reply
from actors.backoff import ReconnectStrategy
from actors.errors import GiveUp
from actors.events import ChildGaveUp, IntensityExceeded, RestartScheduled
from actors.registry import Name, Registry
from supervisors import ChildState, Intensity, TooMany, TooManyChildren, TooManyCrashes
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import EXACT, Act, Doll, Puppet, after, fail, finish, live, lost, never_start, settle, spec

CRASH = RuntimeError("crash")
Question = Reply[str]


def ask(reply: Reply[str]) -> Question:
    """The message of a question is the reply to fill in."""
    return reply


class Server:
    """An actor behind a name: it answers with the number of its incarnation, and crashes when it is told to."""

    ADDRESS = Name[Question]("server", capacity=4)

    def __init__(self, names: Registry, address: Name[Question] = ADDRESS) -> None:
        self.names = names
        self.address = address
        self.crash = trio.Event()

    async def run(self, *, task_status: Context) -> None:
        self.crash = trio.Event()
        with self.names.serve(self.address, holder="server") as mailbox:
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer, mailbox, task_status.incarnation)
                await self.crash.wait()
                raise CRASH

    async def _answer(self, mailbox: Mailbox[Question], incarnation: int) -> None:
        while True:
            (await mailbox.receive()).answer(f"from incarnation {incarnation}")


# -- Pekko: BackoffSupervisorSpec -------------------------------------------------------------------------------------


async def test_backoff_start_again_on_stop(autojump_clock: Clock, stage: Setting) -> None:
    """A permanent child that ends without an error is started again after the backoff, not at once."""
    puppet = Puppet(finish, live)
    stage(spec(puppet))
    await after(5)
    assert puppet.runs == [0, 1]


async def test_backoff_forward_to_child(autojump_clock: Clock, stage: Setting) -> None:
    """What is sent to a name reaches the child behind it, before and after a restart, at one and the same address."""
    with Registry() as names:
        server = Server(names)
        stage(spec(Puppet(lambda context: server.run(task_status=context))))
        address = names.mailbox(Server.ADDRESS)
        assert await address.ask(ask, timeout=1) == "from incarnation 1"
        server.crash.set()
        await after(1)
        assert await address.ask(ask, timeout=1) == "from incarnation 2"


async def test_backoff_custom_stopping_strategy(autojump_clock: Clock, stage: Setting) -> None:
    """A child decides by GiveUp which errors are not worth a restart."""
    puppet = Puppet(fail(CRASH), fail(GiveUp("no use")), live)
    top = stage(spec(puppet))
    await after(60)
    assert len(puppet.runs) == 2
    assert top.state("puppet") is ChildState.GAVE_UP


async def test_backoff_default_stopping_strategy(autojump_clock: Clock, stage: Setting) -> None:
    """Left to itself every error is followed by a restart, as long as the intensity bears it."""
    puppet = Puppet(fail(CRASH), fail(lost()), fail(ValueError("x")), live)
    top = stage(spec(puppet))
    await after(60)
    assert len(puppet.runs) == 4
    assert top.state("puppet") is ChildState.UP


async def test_backoff_manual_reset(autojump_clock: Clock, stage: Setting) -> None:
    """A child that says healthy() and stays so for reset_after starts the delays over; one that only runs does not."""
    well = Puppet(fail(lost()), fail(lost()), fail(lost(), at=61, healthy=True), live, name="well")
    only_up = Puppet(fail(lost()), fail(lost()), fail(lost(), at=61), live, name="only-up")
    top = stage(spec(well), spec(only_up))
    await after(100)
    delays = {
        name: [event.delay for event in top.of(RestartScheduled) if event.child == name] for name in ("well", "only-up")
    }
    assert delays == {"well": [1, 2, 1], "only-up": [1, 2, 4]}


async def test_backoff_reply_while_stopped(autojump_clock: Clock, stage: Setting) -> None:
    """While the child waits for its restart a full mailbox answers by itself: who asks hears that it is full."""
    with Registry() as names:
        server = Server(names, Name[Question]("narrow", capacity=1))
        stage(spec(Puppet(lambda context: server.run(task_status=context))))
        await settle()
        server.crash.set()
        await settle()
        address = names.mailbox(server.address)
        assert address.tell(Reply())
        with pytest.raises(MailboxFull):
            await address.ask(ask, timeout=10)
        assert trio.current_time() == 0


async def test_backoff_with_handler_while_stopped(autojump_clock: Clock, stage: Setting) -> None:
    """While it waits somebody else may serve its name, and hands the mailbox back before the child is up again."""
    with Registry() as names:
        server = Server(names)
        stage(spec(Puppet(lambda context: server.run(task_status=context))))
        await settle()
        server.crash.set()
        await settle()
        address = names.mailbox(server.address)
        async with trio.open_nursery() as nursery:
            with names.serve(server.address, holder="stand-in") as mailbox:

                async def stand_in() -> None:
                    (await mailbox.receive()).answer("back soon")

                nursery.start_soon(stand_in)
                assert await address.ask(ask, timeout=1) == "back soon"
        await after(1)
        assert await address.ask(ask, timeout=1) == "from incarnation 2"


async def test_backoff_neither_reply_nor_handler_while_stopped(autojump_clock: Clock, stage: Setting) -> None:
    """Otherwise a question waits in the mailbox, until its deadline or until the next incarnation takes it."""
    with Registry() as names:
        server = Server(names)
        stage(spec(Puppet(lambda context: server.run(task_status=context))))
        await settle()
        server.crash.set()
        await settle()
        address = names.mailbox(server.address)
        with pytest.raises(trio.TooSlowError):
            await address.ask(ask, timeout=0.5)
        assert await address.ask(ask, timeout=5) == "from incarnation 2"
    with pytest.raises(ActorEnded):
        await address.ask(ask, timeout=5)


def test_backoff_delay_calculation() -> None:
    """Delays grow by the multiplier from the first to the longest, and jitter draws from the upper part of each."""
    exact = ReconnectStrategy(initial_delay=3, max_delay=40, multiplier=2, jitter=0)
    assert [exact.next_delay() for _ in range(6)] == [3, 6, 12, 24, 40, 40]
    half = ReconnectStrategy(initial_delay=3, max_delay=40, multiplier=2, jitter=0.5)
    drawn = [half.next_delay(random.Random(seed)) for seed in range(5)]
    assert all(full / 2 <= delay <= full for delay, full in zip(drawn, [3, 6, 12, 24, 40], strict=True) if delay)
    for _ in range(5000):
        assert exact.next_delay() == 40


async def gives_up(stage: Setting, act: Act) -> None:
    few = attrs.evolve(EXACT, max_attempts=2)
    puppet = Puppet(act)
    top = stage(spec(puppet, strategy=few))
    await after(100)
    assert puppet.runs == [0, 1, 3]
    assert top.state("puppet") is ChildState.GAVE_UP
    assert top.told(ChildGaveUp) == ["ChildGaveUp puppet"]
    puppet.acts = (live,)
    await top.supervisor.restart_child("puppet")
    assert top.state("puppet") is ChildState.UP


async def test_backoff_max_nr_of_retries_on_stop(autojump_clock: Clock, stage: Setting) -> None:
    """After max_attempts restarts of a child that ends there is one event and a clear state, until it is revived."""
    await gives_up(stage, finish)


async def test_backoff_max_nr_of_retries_on_failure(autojump_clock: Clock, stage: Setting) -> None:
    """The same for a child that fails."""
    await gives_up(stage, fail(lost()))


async def last_order(stage: Setting, *, obeys: bool) -> Puppet:
    """A child that is asked to end by its stopping event, and does or does not."""

    async def work(context: Context) -> None:
        context.started()
        await context.stopping.wait()
        if not obeys:
            await trio.sleep_forever()

    puppet = Puppet(work)
    top = stage(spec(puppet, drain=10.0))
    await settle()
    await top.supervisor.terminate_child("puppet")
    await after(60)
    return puppet


async def test_backoff_final_stop_message_received(autojump_clock: Clock, stage: Setting) -> None:
    """A child that is told to come to an end ends by itself, and is not started again."""
    puppet = await last_order(stage, obeys=True)
    assert (len(puppet.runs), puppet.ends) == (1, [0])


async def test_backoff_final_stop_message_not_received(autojump_clock: Clock, stage: Setting) -> None:
    """One that does not heed it is cancelled when its drain time is over, and not started again either."""
    puppet = await last_order(stage, obeys=False)
    assert (len(puppet.runs), puppet.ends) == (1, [10])


# -- Pekko: BackoffOnRestartSupervisorSpec ----------------------------------------------------------------------------


async def test_backoff_terminate_with_child(autojump_clock: Clock, stage: Setting) -> None:
    """A child's end can be its supervisor's: by significance for a normal one, by Escalate for a failure."""
    doll = Doll()
    top = stage(spec(doll, restart="transient", significant=True), auto_shutdown="any_significant")
    await settle()
    await doll.end()
    assert top.ended.is_set()


async def test_backoff_exponential_restart(autojump_clock: Clock, stage: Setting) -> None:
    """A child that fails again and again is restarted at growing intervals; each is told before it is waited for."""
    puppet = Puppet(fail(lost()))
    top = stage(spec(puppet))
    await after(16)
    assert puppet.runs == [0, 1, 3, 7, 15]
    assert [event.delay for event in top.of(RestartScheduled)] == [1, 2, 4, 8, 8]


async def test_backoff_stop_by_strategy(autojump_clock: Clock, stage: Setting) -> None:
    """With too_many=give_up a child that crashes too often is left down; its sibling goes on."""
    puppet, doll = Puppet(fail(CRASH)), Doll()
    top = stage(spec(puppet, intensity=Intensity(1, 60), too_many=TooMany.GIVE_UP), spec(doll))
    await after(60)
    assert len(puppet.runs) == 2
    assert top.state("puppet") is ChildState.GAVE_UP
    assert doll.is_up


async def test_backoff_accept_commands_while_child_terminates(autojump_clock: Clock, stage: Setting) -> None:
    """While one child takes its time to end, others are started, restarted and terminated."""
    slow = Puppet(fail_slowly, name="slow")
    top = stage(spec(slow))
    await settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(top.supervisor.terminate_child, "slow")
        await after(1)
        assert top.state("slow") is ChildState.STOPPING
        assert await top.supervisor.start_child(spec(Doll())) == "doll"
        await top.supervisor.terminate_child("doll")
        assert await top.supervisor.restart_child("doll") == "doll"
        assert trio.current_time() == 1
    assert trio.current_time() == 4


async def fail_slowly(context: Context) -> None:
    """Take four seconds to end."""
    context.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(4)


async def test_backoff_respect_max_nr_of_retries(autojump_clock: Clock, stage: Setting) -> None:
    """More crashes than the intensity bears end the supervisor, however long they are apart within the window."""
    puppet = Puppet(fail(CRASH))
    top = stage(spec(puppet, intensity=Intensity(3, 60)))
    await top.ended.wait()
    assert isinstance(top.error, TooManyCrashes)
    assert len(puppet.runs) == 4


async def test_backoff_respect_within_time_range(autojump_clock: Clock, stage: Setting) -> None:
    """The window slides: the crash that makes too many of them within any 20 seconds is the one that counts."""
    borne = Puppet(fail(CRASH), fail(CRASH, at=18), fail(CRASH, at=1), live, name="borne")
    top = stage(spec(borne, intensity=Intensity(2, 20)))
    await after(40)
    assert (borne.ends, top.error) == ([0, 19, 22], None)
    too_many = Puppet(fail(CRASH, at=18), fail(CRASH, at=1), fail(CRASH, at=1), name="too-many")
    top = stage(spec(too_many, intensity=Intensity(2, 20)))
    await top.ended.wait()
    assert [(event.at - too_many.runs[0], event.crashes) for event in top.of(IntensityExceeded)] == [(23, 3)]


async def test_backoff_keep_restarting_outside_time_range(autojump_clock: Clock, stage: Setting) -> None:
    """Failures that fall outside the window are forgotten: it goes on for ever."""
    puppet = Puppet(fail(CRASH, at=10))
    top = stage(spec(puppet, intensity=Intensity(1, 9)))
    await after(2000)
    assert len(puppet.runs) > 100
    assert top.error is None


# -- DynamicSupervisor ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simple", [True, False])
async def test_dynamic_max_children(autojump_clock: Clock, stage: Setting, simple: bool) -> None:
    """One more than max_children is refused with a type of its own, and accepted once another is gone."""
    options = {"strategy": "simple_one_for_one"} if simple else {"dynamic": True}
    top = stage(*([spec(Doll())] if simple else []), max_children=2, **options)
    await settle()

    async def start(name: str) -> None:
        if simple:
            await top.supervisor.start_instance()
        else:
            await top.supervisor.start_child(spec(Doll(name)))

    await start("a")
    await start("b")
    with pytest.raises(TooManyChildren, match="top has 2 children, which is max_children"):
        await start("c")
    await top.supervisor.terminate_child(top.ids[0])
    await start("c")
    assert top.counts[1] == 2


async def test_dynamic_max_children_also_when_restarting(autojump_clock: Clock, stage: Setting) -> None:
    """A child that waits for its next attempt keeps its place."""
    top = stage(spec(Puppet(fail(lost()))), strategy="simple_one_for_one", max_children=1)
    await settle()
    made = await top.supervisor.start_instance()
    await after(0.5)
    assert top.state(made.id) is ChildState.RESTARTING
    assert top.counts == (1, 0, 0, 1)
    with pytest.raises(TooManyChildren):
        await top.supervisor.start_instance()


async def test_dynamic_terminate_restarting_child(autojump_clock: Clock, stage: Setting) -> None:
    """A child is terminated in the middle of its wait, at once, and does not come back."""
    puppet = Puppet(fail(lost()))
    top = stage(spec(puppet), dynamic=True)
    await after(0.5)
    await top.supervisor.terminate_child("puppet")
    await after(100)
    assert len(puppet.runs) == 1
    assert top.ids == []


async def test_a_start_that_is_never_made_ends_in_time(autojump_clock: Clock, stage: Setting) -> None:
    """A restart that hangs in its start is cut off at start_timeout and counted as a crash like any other."""
    puppet = Puppet(fail(lost()), never_start)
    top = stage(spec(puppet, start_timeout=2.0, intensity=Intensity(1, 100)))
    await top.ended.wait()
    assert isinstance(top.error, TooManyCrashes)
    assert "not started after 2 s" in str(top.error)


async def test_overflow_is_the_names_own(autojump_clock: Clock) -> None:
    """A name says how much waits for it and what gives way; mentioned with another bound it is refused."""
    names = Registry()
    box = names.mailbox(Name[int]("a", 2, Overflow.DROP_OLDEST))
    assert [box.tell(n) for n in range(3)] == [True] * 3
    assert len(box) == 2
    with pytest.raises(ValueError, match="the name 'a' is in use as"):
        names.mailbox(Name[int]("a", 3))
    assert names.holder(Name[int]("b", 1)) is None
    names.close()
    assert not box.tell(1)
    assert not names.mailbox(Name[int]("late", 1)).tell(1)
