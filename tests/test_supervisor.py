"""The supervisor under the virtual clock: start, restart, stop, commands, and what may never happen."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.actor import Context, Reply
from actors.backoff import ReconnectStrategy
from actors.errors import NOW, QUARANTINE, ConnectorError, Escalate, GiveUp, Reason, after, leaves
from actors.events import (
    ChildExited,
    ChildGaveUp,
    ChildReady,
    ChildStarted,
    ChildUnstopped,
    Ending,
    Event,
    IntensityExceeded,
    RestartScheduled,
    SupervisorDown,
)
from supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildKind,
    ChildSpec,
    ChildState,
    Intensity,
    NotFound,
    Restart,
    Running,
    StartFailed,
    Stopping,
    Supervisor,
    TooMany,
    TooManyCrashes,
    Unstopped,
)
from tests.supervision.stage import (
    EXACT,
    Puppet,
    Stage,
    fail,
    fail_to_start,
    finish,
    ignore,
    live,
    lost,
    never_start,
    settle,
    spec,
    stubborn,
)


async def test_a_failing_child_is_restarted_by_its_strategy(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Delays grow as the strategy says, and each attempt is told before it is made."""
    puppet = Puppet(fail(lost()))
    stage = Stage(nursery, spec(puppet))
    await trio.sleep(20)
    assert puppet.runs == [0, 1, 3, 7, 15]
    assert [(event.at, event.delay, event.attempt) for event in stage.of(RestartScheduled)] == [
        (0, 1, 1),
        (1, 2, 2),
        (3, 4, 3),
        (7, 8, 4),
        (15, 8, 5),
    ]
    assert {event.reason for event in stage.of(RestartScheduled)} == {Reason.EOF}
    nursery.cancel_scope.cancel()


async def test_delays_start_over_only_after_health(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A session that was healthy for less than ``reset_after`` does not reset the delay; a longer one does."""
    puppet = Puppet(fail(lost(), at=59, healthy=True), fail(lost(), at=61, healthy=True), fail(lost(), at=500), live)
    stage = Stage(nursery, spec(puppet))
    await trio.sleep(1000)
    assert [event.delay for event in stage.of(RestartScheduled)] == [1, 1, 2]
    nursery.cancel_scope.cancel()


async def test_now_is_granted_after_health_and_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """ "Now" means at once after a healthy session, and the strategy's delay otherwise."""
    goodbye = ConnectorError(Reason.CLOSE_1001, "", NOW)
    puppet = Puppet(fail(goodbye, at=100, healthy=True), fail(goodbye), fail(goodbye, at=70, healthy=True), live)
    stage = Stage(nursery, spec(puppet))
    await trio.sleep(300)
    assert puppet.runs == [0, 100, 101, 171]
    assert [event.delay for event in stage.of(RestartScheduled)] == [0, 1, 0]
    nursery.cancel_scope.cancel()


async def test_a_retry_never_comes_sooner_than_told(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """``after`` is a lower bound on the strategy's delay; quarantine is 300 s."""
    puppet = Puppet(
        fail(ConnectorError(Reason.HTTP_429, "", after(30))),
        fail(ConnectorError(Reason.HTTP_FORBIDDEN, "", QUARANTINE)),
        fail(ConnectorError(Reason.HTTP_429, "", after(0.5))),
        live,
    )
    stage = Stage(nursery, spec(puppet))
    await trio.sleep(31)
    assert stage.state("puppet") is ChildState.QUARANTINED
    assert stage.supervisor.which_children()[0].next_attempt == 330
    await trio.sleep(400)
    assert puppet.runs == [0, 30, 330, 334]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("restart", "act", "runs", "left"),
    [
        (Restart.PERMANENT, finish, 2, [ChildState.UP]),
        (Restart.TRANSIENT, finish, 1, [ChildState.IDLE]),
        (Restart.TEMPORARY, finish, 1, []),
        (Restart.PERMANENT, fail(lost()), 2, [ChildState.UP]),
        (Restart.TRANSIENT, fail(lost()), 2, [ChildState.UP]),
        (Restart.TEMPORARY, fail(lost()), 1, []),
        (Restart.PERMANENT, fail(RuntimeError("bug")), 2, [ChildState.UP]),
        (Restart.TRANSIENT, fail(RuntimeError("bug")), 2, [ChildState.UP]),
        (Restart.TEMPORARY, fail(RuntimeError("bug")), 1, []),
    ],
)
async def test_restart_types(
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    restart: Restart,
    act: Callable[[Context], Awaitable[None]],
    runs: int,
    left: list[ChildState],
) -> None:
    """Permanent children always come back, transient ones after failures, temporary ones never."""
    puppet = Puppet(act, live)
    stage = Stage(nursery, spec(puppet, restart=restart))
    await trio.sleep(10)
    assert len(puppet.runs) == runs
    assert [child.state for child in stage.supervisor.which_children()] == left
    nursery.cancel_scope.cancel()


async def test_failures_from_outside_never_count_as_crashes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A thousand network failures do not trip an intensity that bears no crash at all."""
    puppet = Puppet(fail(lost()))
    stage = Stage(nursery, spec(puppet, intensity=Intensity(0, 300)))
    await trio.sleep(8000)
    assert len(puppet.runs) > 900
    assert not stage.of(IntensityExceeded)
    nursery.cancel_scope.cancel()


async def test_crashes_beyond_the_intensity_end_the_supervisor(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The sixth crash within 300 s stops the siblings and comes out as TooManyCrashes with its cause."""
    bug = RuntimeError("bug")
    puppet, sibling = Puppet(fail(bug)), Puppet(live, name="sibling")
    stage = Stage(nursery, spec(sibling), spec(puppet))
    await stage.ended.wait()
    assert isinstance(stage.error, TooManyCrashes)
    assert stage.error.__cause__ is bug
    assert len(puppet.runs) == 6
    assert sibling.ends == [trio.current_time()]
    assert [event.crashes for event in stage.of(IntensityExceeded)] == [6]
    assert stage.of(SupervisorDown)[0].error == repr(stage.error)


async def test_crashes_spaced_wider_than_the_window_never_trip_it(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Three crashes in 300 s are borne for ever where five are allowed."""
    puppet = Puppet(fail(RuntimeError("bug"), at=99))
    stage = Stage(nursery, spec(puppet))
    await trio.sleep(10_000)
    assert len(puppet.runs) > 90
    assert not stage.ended.is_set()
    nursery.cancel_scope.cancel()


async def test_intensity_may_quarantine_or_give_up_instead(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """With ``quarantine`` the child is tried every 300 s, with ``give_up`` no more; its sibling notices neither."""
    slow = Puppet(fail(RuntimeError("bug")), name="slow")
    gone = Puppet(fail(RuntimeError("bug")), name="gone")
    sibling = Puppet(live, name="sibling")
    limits: dict[str, Any] = {"intensity": Intensity(0, 1)}
    stage = Stage(
        nursery,
        spec(slow, too_many=TooMany.QUARANTINE, **limits),
        spec(gone, too_many=TooMany.GIVE_UP, **limits),
        spec(sibling),
    )
    await trio.sleep(650)
    assert slow.runs == [0, 300, 600]
    assert gone.runs == [0]
    assert stage.state("gone") is ChildState.GAVE_UP
    assert sibling.runs == [0]
    assert not sibling.ends
    nursery.cancel_scope.cancel()


async def test_giving_up_is_final_until_restarted(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """After ``max_attempts``, or GiveUp, there is one event and a clear state; restart_child revives the child."""
    few = attrs.evolve(EXACT, max_attempts=2)
    puppet, quitter = Puppet(fail(lost())), Puppet(fail(GiveUp("enough")), name="quitter")
    stage = Stage(nursery, spec(puppet, strategy=few), spec(quitter))
    await trio.sleep(100)
    assert puppet.runs == [0, 1, 3]
    assert [event.child for event in stage.of(ChildGaveUp)] == ["quitter", "puppet"]
    assert stage.state("puppet") is ChildState.GAVE_UP
    puppet.acts = (live,)
    assert await stage.supervisor.restart_child("puppet") == "here"
    assert stage.state("puppet") is ChildState.UP
    nursery.cancel_scope.cancel()


async def test_escalate_fails_the_supervisor(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """A child that raises Escalate takes its supervisor down with exactly that error."""
    error = Escalate("too bad for me")
    stage = Stage(nursery, spec(Puppet(live, name="sibling")), spec(Puppet(fail(error, at=5))))
    await stage.ended.wait()
    assert trio.current_time() == 5
    assert stage.error is error
    assert [event.ending for event in stage.of(ChildExited)] == [Ending.ESCALATED, Ending.STOPPED]


async def test_static_children_start_in_order_and_stop_in_reverse(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Each waits until the one before has started; each stops after the one behind it has ended."""

    def slow(context_delay: float) -> Callable[[Context], Awaitable[None]]:
        async def act(context: Context) -> None:
            await trio.sleep(context_delay)
            context.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(context_delay)

        return act

    puppets = [Puppet(slow(n), name=f"p{n}") for n in (1, 2, 3)]
    stage = Stage(nursery, *map(spec, puppets))
    await trio.sleep(7)
    assert [puppet.runs for puppet in puppets] == [[0], [1], [3]]
    assert stage.context.at == [6]
    stage.supervisor.stop()
    await stage.ended.wait()
    assert [puppet.ends for puppet in puppets] == [[13], [12], [10]]
    assert stage.error is None


async def test_dynamic_children_start_and_stop_all_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A hundred children that take two seconds to stop take two seconds together."""
    puppets = [Puppet(stubborn(2), name=f"p{n}") for n in range(100)]
    stage = Stage(nursery, *map(spec, puppets), dynamic=True)
    await settle()
    assert stage.supervisor.count_children().active == 100
    stage.supervisor.stop()
    await stage.ended.wait()
    assert trio.current_time() == 2


async def test_an_outer_cancel_keeps_the_order_and_stays_a_cancel(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled from outside, the supervisor stops its children in reverse order, then lets the cancel go on."""
    puppets = [Puppet(stubborn(1), name=name) for name in ("first", "second")]
    supervisor = Supervisor("top", map(spec, puppets))
    with trio.move_on_after(10) as scope:
        await supervisor.run()
    assert scope.cancelled_caught
    assert [puppet.ends for puppet in puppets] == [[12], [11]]


async def test_an_unstopped_child_is_named_and_waited_for(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The verdict is bounded, the join is not: the next child's turn comes, ``run`` returns when the task ended."""
    first, rude = Puppet(live, name="first"), Puppet(stubborn(100), name="rude")
    stage = Stage(nursery, spec(first), spec(rude, shutdown=3.0))
    await settle()
    with pytest.raises(Unstopped, match="'rude' did not end within 3 s"):
        await stage.supervisor.terminate_child("rude")
    assert trio.current_time() == 3
    assert stage.state("rude") is ChildState.UNSTOPPED
    with pytest.raises(Unstopped):
        await stage.supervisor.restart_child("rude")
    with pytest.raises(Unstopped):
        await stage.supervisor.terminate_child("rude")
    with pytest.raises(Running):
        await stage.supervisor.delete_child("rude")
    stage.supervisor.stop()
    await stage.ended.wait()
    assert first.ends == [3]
    assert trio.current_time() == 100
    assert [event.child for event in stage.of(ChildUnstopped)] == ["rude"]


async def test_brutal_means_no_grace(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """A shutdown of 0 reports the child as unstopped at once if it does not end with the cancel."""
    stage = Stage(nursery, spec(Puppet(stubborn(5)), shutdown=0.0))
    await settle()
    with pytest.raises(Unstopped):
        await stage.supervisor.terminate_child("puppet")
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_a_child_with_drain_is_asked_before_it_is_cancelled(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """``stopping`` is set at once; the cancel follows after ``drain`` seconds, or never if the child has ended."""

    async def polite(context: Context) -> None:
        context.started()
        await context.stopping.wait()
        await trio.sleep(2)

    async def deaf(context: Context) -> None:
        context.started()
        await trio.sleep_forever()

    first, second = Puppet(deaf, name="deaf"), Puppet(polite, name="polite")
    stage = Stage(nursery, spec(first, drain=5.0), spec(second, drain=5.0))
    await settle()
    stage.supervisor.stop()
    await stage.ended.wait()
    assert second.ends == [2]
    assert first.ends == [7]


async def test_stop_within_cuts_the_order_short(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """When the time for an orderly stop is spent, the rest is cancelled together."""
    puppets = [Puppet(stubborn(4), name=f"p{n}") for n in range(5)]
    stage = Stage(nursery, *map(spec, puppets), stop_within=6)
    await settle()
    stage.supervisor.stop()
    await stage.ended.wait()
    assert [puppet.ends[0] for puppet in puppets] == [10, 10, 10, 8, 4]


async def test_a_child_that_returns_before_it_started_is_ignored(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """OTP's ignore: the spec is kept, nothing runs, and the next child's turn comes."""
    stage = Stage(nursery, spec(Puppet(ignore, name="ignored")), spec(Puppet(live)))
    await settle()
    assert stage.state("ignored") is ChildState.IDLE
    assert stage.state("puppet") is ChildState.UP
    assert stage.context.at == [0]
    nursery.cancel_scope.cancel()


async def test_a_failing_start_undoes_what_was_started(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The supervisor ends with StartFailed, the children before are stopped, it never says started."""
    first = Puppet(live, name="first")
    stage = Stage(nursery, spec(first), spec(Puppet(fail_to_start)), spec(Puppet(live, name="last")))
    await stage.ended.wait()
    assert isinstance(stage.error, StartFailed)
    assert isinstance(stage.error.__cause__, RuntimeError)
    assert len(first.ends) == 1
    assert not stage.context.at
    assert [event.child for event in stage.of(ChildStarted)] == ["first", "puppet"]


async def test_a_start_that_takes_too_long_fails(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """``start_timeout`` bounds the first start of the tree, a start by command, and an automatic restart."""
    stage = Stage(nursery, spec(Puppet(never_start)))
    await stage.ended.wait()
    assert trio.current_time() == 10
    assert isinstance(stage.error, StartFailed)

    late = Puppet(fail(lost()), never_start, live, name="late")
    stage = Stage(nursery, spec(late))
    await settle()
    with pytest.raises(StartFailed, match="'puppet' was stopped while it started"):
        await stage.supervisor.start_child(spec(Puppet(never_start)))
    assert [child.id for child in stage.supervisor.which_children()] == ["late"]
    await trio.sleep(30)
    assert late.runs == [10, 11, 23]  # started at 10, failed; restarted after 1 s; too late at 21; after 2 s more
    nursery.cancel_scope.cancel()


async def test_commands_over_a_childs_life(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """start, terminate, restart and delete, with OTP's refusals at every step."""
    puppet = Puppet(live)
    stage = Stage(nursery)
    await settle()
    top = stage.supervisor
    with pytest.raises(NotFound):
        await top.terminate_child("puppet")
    assert await top.start_child(spec(puppet)) == "here"
    with pytest.raises(AlreadyStarted):
        await top.start_child(spec(puppet))
    with pytest.raises(Running):
        await top.restart_child("puppet")
    with pytest.raises(Running):
        await top.delete_child("puppet")
    await top.terminate_child("puppet")
    await top.terminate_child("puppet")
    with pytest.raises(AlreadyPresent):
        await top.start_child(spec(puppet))
    assert await top.restart_child("puppet") == "here"
    await top.terminate_child("puppet")
    await top.delete_child("puppet")
    with pytest.raises(NotFound):
        await top.restart_child("puppet")
    with pytest.raises(StartFailed):
        await top.start_child(spec(Puppet(fail_to_start)))
    assert top.which_children() == []
    stage.supervisor.stop()
    await stage.ended.wait()
    with pytest.raises(Stopping):
        await top.start_child(spec(puppet))


async def test_a_waiting_child_obeys_at_once(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """During a back-off, restart starts it now, terminate and delete end the wait, stop needs no time."""
    slow = ReconnectStrategy(initial_delay=1000, max_delay=1000, jitter=0)
    puppets = [Puppet(fail(lost()), live, name=name) for name in ("a", "b", "c", "d")]
    stage = Stage(nursery, *(spec(puppet, strategy=slow) for puppet in puppets))
    await trio.sleep(1)
    top = stage.supervisor
    assert {child.state for child in top.which_children()} == {ChildState.RESTARTING}
    assert {child.next_attempt for child in top.which_children()} == {1000}
    assert await top.restart_child("a") == "here"
    await top.terminate_child("b")
    await top.delete_child("c")
    assert [(child.id, child.state) for child in top.which_children()] == [
        ("a", ChildState.UP),
        ("b", ChildState.IDLE),
        ("d", ChildState.RESTARTING),
    ]
    top.stop()
    await stage.ended.wait()
    assert trio.current_time() == 1
    assert [len(puppet.runs) for puppet in puppets] == [2, 1, 1, 1]


async def test_waiting_commands_are_answered_when_the_supervisor_ends(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Nobody waits for ever for a brain that is gone."""
    stage = Stage(nursery)
    await settle()
    answers: list[str] = []

    async def ask() -> None:
        try:
            await stage.supervisor.start_child(spec(Puppet(never_start)))
        except (StartFailed, Stopping) as error:
            answers.append(type(error).__name__)

    nursery.start_soon(ask)
    await settle()
    stage.scope.cancel()
    await stage.ended.wait()
    await settle()
    assert answers == ["StartFailed"]


async def test_a_nested_supervisor_is_a_child_like_any(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Its crash intensity ends it, its parent restarts or quarantines it, and counts tell supervisors from workers."""
    worker, other = Puppet(fail(RuntimeError("bug"))), Puppet(live, name="other")
    log: list[Event] = []
    inner = Supervisor("inner", [spec(worker, intensity=Intensity(1, 60))], emit=log.append)
    stage = Stage(
        nursery,
        ChildSpec(
            id="inner",
            run=inner.run,
            kind=ChildKind.SUPERVISOR,
            intensity=Intensity(0, 1),
            too_many=TooMany.QUARANTINE,
        ),
        spec(other),
    )
    await trio.sleep(2)
    counts = stage.supervisor.count_children()
    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 1, 1, 1)
    assert stage.state("inner") is ChildState.QUARANTINED
    await trio.sleep(400)
    assert worker.runs == [0, 1, 301, 302]
    assert other.runs == [0]
    nursery.cancel_scope.cancel()


async def test_several_failures_at_once_are_judged_by_the_gravest(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """A crash outranks a failure from outside; the other one stays attached as a note."""

    async def two(context: Context) -> None:
        context.started()
        async with trio.open_nursery() as inner:
            inner.start_soon(fail(lost()), context)
            inner.start_soon(fail(RuntimeError("bug")), context)

    stage = Stage(nursery, spec(Puppet(two, live)))
    await trio.sleep(5)
    exited = stage.of(ChildExited)[0]
    assert exited.ending is Ending.CRASHED
    nursery.cancel_scope.cancel()


async def test_a_leaked_cancel_is_a_crash(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """A Cancelled that a child lets out is neither swallowed as an end nor taken for the supervisor's own cancel."""
    caught: list[trio.Cancelled] = []

    async def leak(context: Context) -> None:
        context.started()
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                caught.append(cancelled)
                raise
        raise caught[0]

    stage = Stage(nursery, spec(Puppet(leak, live)))
    await trio.sleep(5)
    assert stage.of(ChildExited)[0].ending is Ending.CRASHED
    assert "LeakedCancel" in stage.of(ChildExited)[0].error
    assert stage.state("puppet") is ChildState.UP
    nursery.cancel_scope.cancel()


def test_keyboard_interrupt_reaches_the_top() -> None:
    """What is not an Exception is nobody's failure: it goes through the tree, which is stopped on the way."""
    sibling = Puppet(live, name="sibling")

    async def interrupt(context: Context) -> None:
        context.started()
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    async def main() -> None:
        await Supervisor("top", [spec(sibling), spec(Puppet(interrupt))]).run()

    with pytest.raises(BaseException) as caught:
        trio.run(main)
    assert [type(leaf) for leaf in leaves(caught.value)] == [KeyboardInterrupt]
    assert len(sibling.ends) == 1


async def test_a_failing_brain_leaves_no_child_uncancellable(autojump_clock: trio.testing.MockClock) -> None:
    """If our own code breaks (here: the event hook), the children are unshielded, cancelled and waited for."""
    puppet = Puppet(live)

    def broken(event: Event) -> None:
        if isinstance(event, ChildReady | ChildExited):
            raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as caught:
        await Supervisor("top", [spec(puppet)], emit=broken).run()
    assert {type(leaf) for leaf in leaves(caught.value)} == {ZeroDivisionError}
    assert len(puppet.ends) == 1


async def test_a_hook_that_raises_loses_no_start(autojump_clock: trio.testing.MockClock) -> None:
    """What a step had still to do is done: a nested supervisor that counts as running does run, and can be stopped."""
    inner = Supervisor("inner", [spec(Puppet(live))])

    def broken(event: Event) -> None:
        if isinstance(event, ChildStarted) and event.child == "inner":
            raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(10):
        await Supervisor(
            "top", [ChildSpec(id="inner", run=inner.run, kind=ChildKind.SUPERVISOR)], dynamic=True, emit=broken
        ).run()
    assert {type(leaf) for leaf in leaves(caught.value)} == {ZeroDivisionError}


async def test_a_child_that_ends_in_the_turn_of_its_terminate(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """The cancel then finds no task any more, and that is all: the supervisor lives on."""

    async def leave(context: Context) -> None:
        context.started()
        await settle()
        # the command reaches the brain's inbox right before the end of this incarnation does
        supervisor = stage.supervisor
        post, policy = supervisor._post, supervisor._policy  # pyright: ignore[reportPrivateUsage] - as above
        post(lambda now: policy.terminate_child("puppet", Reply(), now))

    for drain in (0.0, 5.0):
        stage = Stage(nursery, spec(Puppet(leave), restart=Restart.TRANSIENT, drain=drain))
        await settle()
        await trio.sleep(1)
        assert stage.error is None
        assert not stage.ended.is_set()
        assert stage.state("puppet") is ChildState.IDLE
    nursery.cancel_scope.cancel()
