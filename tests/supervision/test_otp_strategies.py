"""OTP's supervisor_SUITE: who is restarted with whom, and when the supervisor gives in."""

import pytest
import trio

from actors.actor import Context
from actors.events import Escalated, IntensityExceeded, RestartScheduled
from supervisors import (
    AlreadyPresent,
    ChildKind,
    ChildSpec,
    ChildState,
    Intensity,
    NotFound,
    Restarting,
    StartFailed,
    Strategy,
    Supervisor,
    TooManyCrashes,
)
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import (
    EXACT,
    Doll,
    Puppet,
    Stage,
    after,
    fail,
    fail_to_start,
    ignore,
    live,
    lost,
    never_start,
    settle,
    spec,
    stubborn,
)

CRASH = RuntimeError("crash")


async def crash_until_it_ends(top: Stage, doll: Doll) -> None:
    """Crash a child again and again; its supervisor bears two."""
    await settle()
    for _ in range(3):
        assert not top.ended.is_set()
        await doll.end(CRASH)
        await after(8)
    assert isinstance(top.error, TooManyCrashes)
    assert "3 restarts in 3600 s" in str(top.error)
    assert top.error.__cause__ is CRASH
    assert [type(event) for event in top.of(IntensityExceeded) + top.of(Escalated)] == [IntensityExceeded, Escalated]


async def test_one_for_one(autojump_clock: Clock, otp: Setting) -> None:
    """Only the child that died is restarted; beyond the intensity the supervisor ends, its siblings with it."""
    a, b = Doll("a"), Doll("b")
    otp(spec(a), spec(b))
    await settle()
    await a.end(CRASH)
    await after(1)
    assert (len(a.runs), len(b.runs)) == (2, 1)
    assert a.is_up
    a, b = Doll("a"), Doll("b")
    await crash_until_it_ends(otp(spec(a), spec(b)), a)
    assert not b.is_up


async def escalates(otp: Setting, strategy: str) -> None:
    """A child that cannot be started again takes its supervisor and its sibling down."""
    victim = Puppet(fail(CRASH, at=1), fail_to_start, name="victim")
    sibling = Doll("sibling")
    order = (victim, sibling) if strategy == "rest_for_one" else (sibling, victim)
    top = otp(*map(spec, order), strategy=strategy)
    await top.ended.wait()
    assert isinstance(top.error, TooManyCrashes)
    assert len(victim.runs) == 3
    assert not sibling.is_up


async def test_one_for_one_escalation(autojump_clock: Clock, otp: Setting) -> None:
    """A child that cannot be started again ends its supervisor, and so its sibling."""
    await escalates(otp, "one_for_one")


async def test_one_for_all_escalation(autojump_clock: Clock, otp: Setting) -> None:
    """The same where all are restarted together."""
    await escalates(otp, "one_for_all")


async def test_rest_for_one_escalation(autojump_clock: Clock, otp: Setting) -> None:
    """The same where those behind it are."""
    await escalates(otp, "rest_for_one")


async def test_simple_one_for_one_escalation(autojump_clock: Clock, otp: Setting) -> None:
    """The same for an instance that cannot be started again."""
    puppet = Puppet(live, fail(CRASH, at=1), fail_to_start)
    top = otp(spec(puppet), strategy="simple_one_for_one")
    await settle()
    for _ in range(2):
        await top.supervisor.start_instance()
    await top.ended.wait()
    assert isinstance(top.error, TooManyCrashes)
    assert len(puppet.runs) == len(puppet.ends) == 4


async def test_one_for_all(autojump_clock: Clock, otp: Setting) -> None:
    """All are replaced, none of the old ones lives on; they wait together and are told so; then the intensity."""
    a, b = Doll("a"), Doll("b")
    top = otp(spec(a), spec(b), strategy="one_for_all")
    await settle()
    await a.end(CRASH)
    assert not a.is_up
    assert not b.is_up
    waiting = top.supervisor.which_children()
    assert [(child.state, child.next_attempt) for child in waiting] == [(ChildState.RESTARTING, 1)] * 2
    assert [(event.child, event.delay) for event in top.of(RestartScheduled)] == [("a", 1), ("b", 1)]
    await after(1)
    assert [doll.runs for doll in (a, b)] == [[0, 1], [0, 1]]
    a, b = Doll("a"), Doll("b")
    await crash_until_it_ends(otp(spec(a), spec(b), strategy="one_for_all"), b)
    assert not a.is_up


async def test_one_for_all_other_child_fails_restart(autojump_clock: Clock, otp: Setting) -> None:
    """If a later child fails to start in a group restart, the others are stopped and all is tried again."""
    first, last = Doll("first"), Doll("last")
    weak = Puppet(live, fail_to_start, live, name="weak")
    top = otp(spec(first), spec(weak), spec(last), strategy="one_for_all")
    await settle()
    await first.end(CRASH)
    await after(3)
    assert first.runs == [0, 1, 2]
    assert weak.runs == [0, 1, 2]
    assert last.runs == [0, 2]
    assert top.counts == (3, 3, 0, 3)


async def test_rest_for_one(autojump_clock: Clock, otp: Setting) -> None:
    """The siblings behind are replaced, those before untouched; then the intensity."""
    a, b, c = (Doll(name) for name in "abc")
    top = otp(*map(spec, (a, b, c)), strategy="rest_for_one")
    await settle()
    await b.end(CRASH)
    assert [doll.is_up for doll in (a, b, c)] == [True, False, False]
    await after(1)
    assert [len(doll.runs) for doll in (a, b, c)] == [1, 2, 2]
    assert top.counts == (3, 3, 0, 3)
    a, b, c = (Doll(name) for name in "abc")
    await crash_until_it_ends(otp(*map(spec, (a, b, c)), strategy="rest_for_one"), b)


async def test_rest_for_one_other_child_fails_restart(autojump_clock: Clock, otp: Setting) -> None:
    """A later child that fails to start is tried again alone: the earlier one, already started, is left in peace."""
    first, second = Doll("first"), Doll("second")
    weak = Puppet(live, fail_to_start, live, name="weak")
    top = otp(spec(first), spec(second), spec(weak), strategy="rest_for_one")
    await settle()
    await second.end(CRASH)
    await after(3)
    assert first.runs == [0]
    assert second.runs == [0, 1]
    assert weak.runs == [0, 1, 2]
    assert top.counts == (3, 3, 0, 3)


async def test_simple_one_for_one(autojump_clock: Clock, otp: Setting) -> None:
    """The instance that died is restarted with its arguments, the other is untouched; then the intensity."""
    given: list[str] = []

    async def run(word: str, *, task_status: Context) -> None:
        given.append(word)
        task_status.started()
        if word == "bad":
            await trio.sleep(5)
            raise CRASH
        await trio.sleep_forever()

    top = otp(
        ChildSpec(id="word", run=run, strategy=EXACT),
        strategy="simple_one_for_one",
    )
    await settle()
    await top.supervisor.start_instance("good")
    await top.supervisor.start_instance("bad")
    await after(7)
    assert given == ["good", "bad", "bad"]
    await top.ended.wait()
    assert isinstance(top.error, TooManyCrashes)
    assert given == ["good", *["bad"] * 3]


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5])
async def test_simple_one_for_one_shutdown(autojump_clock: Clock, otp: Setting, budget: int) -> None:
    """Instances stop side by side within their shutdown time, be it one or five times what one of them needs."""
    top = otp(spec(Puppet(stubborn(1)), shutdown=float(budget)), strategy="simple_one_for_one")
    await settle()
    for _ in range(budget):
        await top.supervisor.start_instance()
    await top.stop()
    assert trio.current_time() == 1


async def test_simple_one_for_one_extra(autojump_clock: Clock, otp: Setting) -> None:
    """An instance that said something when it started is restarted like any other."""
    doll = Doll(says=lambda context: context.incarnation)
    top = otp(spec(doll), strategy="simple_one_for_one")
    await settle()
    assert (await top.supervisor.start_instance()).value == 1
    await doll.end(CRASH)
    await after(1)
    assert doll.is_up
    assert top.ids == ["doll-1"]


async def test_simple_one_for_one_restart_ignore(autojump_clock: Clock, otp: Setting) -> None:
    """An instance that is ignored when it is restarted is dropped from the list."""
    top = otp(spec(Puppet(fail(CRASH), ignore)), strategy="simple_one_for_one")
    await settle()
    await top.supervisor.start_instance()
    await after(1)
    assert top.ids == []
    assert top.counts == (1, 0, 0, 0)


async def test_temporary_bystander(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary sibling killed by a group restart is not restarted, and costs nothing of the intensity."""
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        crasher, bystander = Doll("crasher"), Doll("bystander")
        top = otp(spec(crasher), spec(bystander, restart="temporary"), strategy=strategy)
        await settle()
        for _ in range(2):
            await crasher.end(CRASH)
            await after(8)
        assert top.ids == ["crasher"]
        assert len(bystander.runs) == len(bystander.ends) == 1
        assert top.error is None


async def test_faulty_application_shutdown(autojump_clock: Clock, otp: Setting) -> None:
    """A failed start deep in a tree comes out at the top with every supervisor on the way and the first cause."""
    inner = Supervisor("inner", [spec(Puppet(fail_to_start))])
    outer = Supervisor("outer", [ChildSpec(id="inner", run=inner.run, kind=ChildKind.SUPERVISOR)])
    top = otp(ChildSpec(id="outer", run=outer.run, kind=ChildKind.SUPERVISOR))
    await top.ended.wait()
    causes: list[BaseException | None] = [top.error]
    while causes[-1] is not None:
        causes.append(causes[-1].__cause__)
    assert [type(cause) for cause in causes[:-1]] == [StartFailed] * 3 + [RuntimeError]
    assert "child 'outer' of top" in str(top.error)


# -- a child that fails its start for ever: OTP's hanging restart loop is a backoff here ------------------------------


async def loops(top: Stage, name: str) -> None:
    """What every hanging_restart_loop shows: refusals, the state, and that the loop ends when it is told to."""
    sup = top.supervisor
    assert top.state(name) is ChildState.RESTARTING
    with pytest.raises(AlreadyPresent):
        await sup.start_child(spec(Puppet(live, name=name)))
    with pytest.raises(StartFailed):
        await sup.restart_child(name)  # at once: it does not wait for the next attempt
    assert top.state(name) is ChildState.IDLE


async def test_hanging_restart_loop(autojump_clock: Clock, stage: Setting) -> None:
    """While it waits a child can be restarted, deleted or terminated at once; while it starts both are refused."""
    bad = Puppet(fail(CRASH), fail_to_start)
    top = stage(spec(bad, intensity=Intensity(100, 60)), intensity=Intensity(100, 60))
    await after(5)
    assert len(bad.runs) == 3
    await loops(top, "puppet")
    runs = len(bad.runs)
    await after(50)
    assert len(bad.runs) == runs
    await top.supervisor.delete_child("puppet")
    again = Puppet(fail(CRASH), never_start)
    await top.supervisor.start_child(spec(again))
    await after(2)
    assert top.state("puppet") is ChildState.STARTING
    for command in (top.supervisor.restart_child, top.supervisor.delete_child):
        with pytest.raises(Restarting, match="'puppet' is being started"):
            await command("puppet")
    await top.supervisor.terminate_child("puppet")
    assert top.state("puppet") is ChildState.IDLE


async def test_hanging_restart_loop_stop(autojump_clock: Clock, stage: Setting) -> None:
    """Terminating a child ends the loop; so does stopping the supervisor, at once, in the middle of the wait."""
    bad = Puppet(fail(lost()), fail_to_start, name="bad")
    other = Puppet(fail(lost()), name="other")
    top = stage(spec(bad, intensity=Intensity(100, 60)), spec(other))
    await after(1.5)
    await top.supervisor.terminate_child("bad")
    assert top.state("bad") is ChildState.IDLE
    await top.stop()
    assert trio.current_time() == 1.5
    assert top.error is None


async def test_hanging_restart_loop_rest_for_one(autojump_clock: Clock, stage: Setting) -> None:
    """The same under rest_for_one: the sibling behind is down while it loops, the one before untouched."""
    first, last = Doll("first"), Doll("last")
    bad = Puppet(fail(lost(), at=1), fail_to_start, name="bad")
    top = stage(spec(first), spec(bad, intensity=Intensity(100, 60)), spec(last), strategy="rest_for_one")
    await after(5)
    assert first.is_up
    assert len(last.runs) == len(last.ends) == 1
    assert top.state("last") is ChildState.RESTARTING
    assert top.counts == (3, 1, 0, 3)
    await loops(top, "bad")
    await top.supervisor.terminate_child("bad")
    await after(20)
    assert last.is_up
    assert len(bad.runs) == 4
    await top.stop()
    assert top.error is None


async def test_hanging_restart_loop_simple(autojump_clock: Clock, stage: Setting) -> None:
    """The same for an instance: it is terminated by the id it had from the beginning, and is gone."""
    top = stage(spec(Puppet(fail(lost()), fail_to_start), intensity=Intensity(100, 60)), strategy="simple_one_for_one")
    await settle()
    made = await top.supervisor.start_instance()
    await after(5)
    assert top.state(made.id) is ChildState.RESTARTING
    assert top.counts == (1, 0, 0, 1)
    await top.supervisor.terminate_child(made.id)
    with pytest.raises(NotFound):
        await top.supervisor.terminate_child(made.id)
    await top.stop()
    assert trio.current_time() == 5
