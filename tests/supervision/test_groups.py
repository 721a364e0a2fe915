"""Where a group restart meets what the BEAM has not: waits, stragglers, commands in between; and windows."""

import pytest
import trio

from actors.actor import Context
from actors.errors import QUARANTINE, ConnectorError, Reason
from actors.errors import after as not_before
from actors.events import ChildExited, ChildStarted
from supervisors import (
    ChildState,
    Intensity,
    StartFailed,
    TooMany,
)
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import (
    EXACT,
    Doll,
    Puppet,
    after,
    fail,
    live,
    lost,
    never_start,
    settle,
    spec,
    stubborn,
)

CRASH = RuntimeError("crash")


async def test_a_group_waits_for_the_latest_of_its_attempts(autojump_clock: Clock, stage: Setting) -> None:
    """A second failure in a waiting group moves the common attempt to the later of the two, never to the sooner."""
    patient = Puppet(fail(ConnectorError(Reason.HTTP_429, "", not_before(30)), at=1.5), live, name="patient")
    hasty = Puppet(fail(lost(), at=1), live, name="hasty")
    top = stage(spec(patient), spec(hasty), strategy="rest_for_one")
    await after(1)
    assert top.supervisor.which_children()[1].next_attempt == 2
    await after(5)
    assert [child.next_attempt for child in top.supervisor.which_children()] == [31.5, 31.5]
    await after(30)
    assert (patient.runs, hasty.runs) == ([0, 31.5], [0, 31.5])


async def test_a_group_never_comes_back_sooner_than_one_of_it_was_told(autojump_clock: Clock, stage: Setting) -> None:
    """An earlier child's sooner attempt does not shorten the wait of a later one that was told to wait."""
    first = Puppet(fail(lost(), at=2), live, name="first")
    patient = Puppet(fail(ConnectorError(Reason.HTTP_429, "", not_before(30)), at=1), live, name="patient")
    top = stage(spec(first), spec(patient), strategy="rest_for_one")
    await after(5)
    assert [child.next_attempt for child in top.supervisor.which_children()] == [31, 31]
    await after(30)
    assert (first.runs, patient.runs) == ([0, 31], [0, 31])


async def test_an_end_while_the_group_is_being_stopped_costs_nothing(autojump_clock: Clock, stage: Setting) -> None:
    """One that crashes before its turn to be stopped has come is stopped as far as its group is concerned."""
    first, failing, slow = Doll("first"), Doll("failing"), Puppet(stubborn(2), name="slow")
    top = stage(
        *map(spec, (first, failing, slow)),
        strategy="one_for_all",
        every_restart_counts=True,
        intensity=Intensity(1, 60),
    )
    await settle()
    await failing.end(lost())
    await first.end(CRASH)
    await after(3)
    assert top.error is None
    assert [len(each.runs) for each in (first, failing, slow)] == [2, 2, 2]
    assert [event.ending.value for event in top.of(ChildExited)] == ["failed", "crashed", "stopped"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_child_may_end_in_the_turn_in_which_it_is_told_to(
    autojump_clock: Clock, stage: Setting, turns: int
) -> None:
    """Whichever comes first, terminating a child that ends by itself is answered, and the supervisor goes on."""
    for _ in range(5):
        doll = Doll()
        top = stage(spec(doll, restart="transient"))
        await settle()
        async with trio.open_nursery() as nursery:

            async def end(doll: Doll = doll) -> None:
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await doll.end()

            nursery.start_soon(end)
            await top.supervisor.terminate_child("doll")
        assert top.state("doll") is ChildState.IDLE
        assert not top.ended.is_set()


async def test_quarantine_concerns_its_child_alone(autojump_clock: Clock, stage: Setting) -> None:
    """Under every strategy: a child in quarantine takes no sibling along, and no sibling's restart takes it along."""
    banned = Puppet(fail(ConnectorError(Reason.HTTP_BANNED, "", QUARANTINE), at=1), live, name="banned")
    doll = Doll()
    top = stage(spec(banned), spec(doll), strategy="one_for_all")
    await after(5)
    assert doll.runs == [0]
    await doll.end(lost())
    await after(10)
    assert doll.runs == [0, 6]
    assert top.state("banned") is ChildState.QUARANTINED
    await after(300)
    assert banned.runs == [0, 301]
    assert len(doll.runs) == 2


async def test_a_group_restart_waits_for_a_straggler(autojump_clock: Clock, stage: Setting) -> None:
    """Nothing of a group starts before the last of it has ended, be it long after its time; that end is one event."""
    a, rude, c = Doll("a"), Puppet(stubborn(50), live, name="rude"), Doll("c")
    top = stage(spec(a), spec(rude, shutdown=3.0), spec(c), strategy="one_for_all")
    await settle()
    await a.end(lost())
    await after(20)
    assert top.state("rude") is ChildState.UNSTOPPED
    assert [top.state(name) for name in "ac"] == [ChildState.RESTARTING] * 2
    await after(40)
    assert [each.runs[-1] for each in (a, rude, c)] == [50, 50, 50]
    assert top.told(ChildStarted)[-3:] == ["ChildRestarted a", "ChildRestarted rude", "ChildRestarted c"]
    assert [event.at for event in top.of(ChildExited) if event.child == "rude"] == [50]


async def test_who_asks_does_not_wait_for_a_straggler(autojump_clock: Clock, stage: Setting) -> None:
    """A child that somebody wants started is started beside a straggler of its group."""
    a, rude = Doll("a"), Puppet(stubborn(1000), name="rude")
    top = stage(spec(a), spec(rude, shutdown=3.0), strategy="one_for_all")
    await settle()
    await a.end(lost())
    await after(20)
    assert await top.supervisor.restart_child("a") == "a"
    assert await top.supervisor.start_child(spec(Doll("new"))) == "new"


async def test_commands_meet_a_group_restart(autojump_clock: Clock, stage: Setting) -> None:
    """A terminate while a group stops or waits keeps its child down, a delete removes it; the rest go on."""
    a, b, c, d = (Puppet(live, name=name) for name in "abcd")
    a.acts, d.acts = (fail(lost(), at=1), live), (stubborn(2), live)
    top = stage(*map(spec, (a, b, c, d)), strategy="one_for_all")
    await after(2)
    assert top.state("d") is ChildState.STOPPING
    assert top.state("c") is ChildState.UP
    await top.supervisor.terminate_child("c")
    await top.supervisor.terminate_child("d")
    assert trio.current_time() == 3
    await top.supervisor.delete_child("d")
    await after(20)
    assert top.ids == ["a", "b", "c"]
    assert top.state("c") is ChildState.IDLE
    assert [len(each.runs) for each in (a, b, c, d)] == [2, 2, 1, 1]


async def test_a_stop_meets_a_group_restart(autojump_clock: Clock, stage: Setting) -> None:
    """A stop while a group stops, and another while it waits: nothing is started any more."""
    for moment in (1, 4):
        a, b = Puppet(fail(lost(), at=1), live, name="a"), Puppet(stubborn(2), name="b")
        begin = trio.current_time()
        top = stage(spec(a, strategy=EXACT), spec(b), strategy="one_for_all")
        await trio.sleep(moment)
        await top.stop()
        assert trio.current_time() - begin <= 6
        assert len(a.runs) <= 2
        assert top.error is None
        assert len(a.runs) == len(a.ends)
        assert len(b.runs) == len(b.ends)


async def test_finished_members_start_over_with_their_group(autojump_clock: Clock, stage: Setting) -> None:
    """As in OTP a group starts over whole: one that had finished runs again, one that was terminated does not."""

    async def prepare(context: Context) -> None:
        context.started()
        await trio.lowlevel.checkpoint()

    loader, gone, doll = Puppet(prepare, name="loader"), Doll("gone"), Doll()
    top = stage(spec(loader, restart="transient"), spec(gone), spec(doll), strategy="one_for_all")
    await settle()
    await top.supervisor.terminate_child("gone")
    await doll.end(lost())
    await after(1)
    assert (len(loader.runs), len(gone.runs), len(doll.runs)) == (2, 1, 2)
    assert top.state("gone") is ChildState.IDLE


async def test_a_start_in_progress_is_refused_by_a_group_restart(autojump_clock: Clock, stage: Setting) -> None:
    """Who waits for a start hears at once that a sibling's failure has undone it, and nothing of the child is kept."""
    doll = Doll()
    top = stage(spec(doll), strategy="one_for_all")
    await settle()
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(StartFailed, match="'late' was stopped while it started"):
                await top.supervisor.start_child(spec(Puppet(never_start, name="late")))

        nursery.start_soon(start)
        await settle()
        await doll.end(lost())
    assert trio.current_time() == 0
    await after(1)
    assert top.ids == ["doll"]
    assert doll.is_up


async def test_the_supervisors_own_window_counts_crashes(autojump_clock: Clock, stage: Setting) -> None:
    """Without OTP's rule the supervisor's window counts crashes of static children, and no failure from outside."""
    dolls = [Doll(name) for name in "ab"]
    top = stage(*(spec(doll) for doll in dolls), intensity=Intensity(3, 60))
    await settle()
    for _ in range(4):
        await dolls[0].end(lost())
        await after(8)
    for doll in (*dolls, *dolls):
        assert not top.ended.is_set()
        await doll.end(CRASH)
        await after(8)
    assert "4 crashes in 60 s, the last of child 'b'" in str(top.error)


async def test_dynamic_children_escalate_when_all_have_crashed_out(autojump_clock: Clock, stage: Setting) -> None:
    """One dynamic child after the other goes into quarantine for its crashes; with the last the supervisor fails."""
    dolls = [Doll(name) for name in "abc"]
    advised = Puppet(fail(ConnectorError(Reason.HTTP_FORBIDDEN, "", QUARANTINE)), live, name="advised")
    top = stage(*(spec(each, intensity=Intensity(0, 1)) for each in (*dolls, advised)), dynamic=True)
    await settle()
    for doll in dolls:
        await doll.end(CRASH)
    await after(1)
    assert top.error is None
    assert {child.state for child in top.supervisor.which_children()} == {ChildState.QUARANTINED}
    await top.supervisor.terminate_child("advised")
    await after(300)
    for doll in dolls:
        assert top.error is None
        await doll.end(CRASH)
    await top.ended.wait()
    assert "top: its children (3) are all in quarantine for crashes" in str(top.error)


async def test_dynamic_children_that_are_quarantined_never_escalate(autojump_clock: Clock, stage: Setting) -> None:
    """Where a spec says quarantine, it is only that, also if it concerns all the children there are."""
    doll = Doll("a")
    top = stage(spec(doll, intensity=Intensity(0, 1), too_many=TooMany.QUARANTINE), dynamic=True)
    await settle()
    for _ in range(3):
        await doll.end(CRASH)
        await after(301)
    assert doll.is_up
    assert not top.ended.is_set()
