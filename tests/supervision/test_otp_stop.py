"""OTP's supervisor_SUITE: how children are stopped, and what they may do about it."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio

from actors.actor import Context
from actors.events import ChildExited, ChildStarted, ChildUnstopped, Ending, RestartScheduled
from supervisors import Intensity, Restart, Unstopped
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Puppet, after, fail, finish, live, lost, settle, spec, stubborn


async def test_sup_stop_infinity(autojump_clock: Clock, otp: Setting) -> None:
    """With an infinite shutdown a child has all the time it needs; it is no error."""
    slow = Puppet(stubborn(1e6))
    top = otp(spec(slow, shutdown=math.inf))
    await settle()
    await top.stop()
    assert slow.ends == [1e6]
    assert not top.told(ChildUnstopped)
    assert top.error is None


async def test_sup_stop_timeout(autojump_clock: Clock, otp: Setting) -> None:
    """A child that goes on past its second is reported as unstopped, the polite one as stopped; both are waited for."""
    polite, busy = Puppet(live, name="polite"), Puppet(stubborn(60), name="busy")
    top = otp(spec(polite), spec(busy, shutdown=1.0))
    await settle()
    await top.stop()
    assert top.told(ChildUnstopped, ChildExited) == [
        "ChildUnstopped busy",
        "ChildExited polite",
        "ChildExited busy",
    ]
    assert [event.at for event in top.of(ChildUnstopped)] == [1]
    assert [event.at for event in top.of(ChildExited)] == [1, 60]


async def test_sup_stop_timeout_dynamic(autojump_clock: Clock, otp: Setting) -> None:
    """The same for instances of a template, all at once."""
    top = otp(spec(Puppet(stubborn(60)), shutdown=1.0), strategy="simple_one_for_one")
    await settle()
    for _ in range(5):
        await top.supervisor.start_instance()
    await top.stop()
    assert [event.at for event in top.of(ChildUnstopped)] == [1] * 5
    assert trio.current_time() == 60


async def test_sup_stop_brutal_kill(autojump_clock: Clock, otp: Setting) -> None:
    """A brutal shutdown gives no time at all: a child that takes some is unstopped at once; its sibling is stopped."""
    polite, brutal = Puppet(live, name="polite"), Puppet(stubborn(5), name="brutal")
    top = otp(spec(polite), spec(brutal, shutdown=0.0))
    await settle()
    await top.stop()
    assert [(event.child, event.at) for event in top.of(ChildUnstopped)] == [("brutal", 0)]
    assert polite.ends == [0]


async def test_sup_stop_brutal_kill_dynamic(autojump_clock: Clock, otp: Setting) -> None:
    """Ten brutal instances that end with their cancel are stopped at once, none is unstopped."""
    top = otp(spec(Puppet(live), shutdown=0.0), strategy="simple_one_for_one")
    await settle()
    for _ in range(10):
        await top.supervisor.start_instance()
    await top.stop()
    assert [event.ending for event in top.of(ChildExited)] == [Ending.STOPPED] * 10
    assert not top.told(ChildUnstopped)


ENDS: dict[str, tuple[Callable[[Context], Awaitable[None]], Ending]] = {
    "normal": (finish, Ending.FINISHED),
    "lost": (fail(lost()), Ending.FAILED),
    "crash": (fail(RuntimeError("crash")), Ending.CRASHED),
    "cancelled": (live, Ending.STOPPED),
}


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("reason", ENDS)
async def test_sup_stop_race(autojump_clock: Clock, otp: Setting, restart: Restart, reason: str) -> None:
    """Children that end by themselves while others are being stopped: no restart, each its own reason, a clean stop."""
    act, ending = ENDS[reason]
    asked = trio.Event()

    async def racer(context: Context) -> None:
        context.started()
        await asked.wait()
        await act(Context())

    racers = [Puppet(racer, name=f"racer-{n}") for n in range(3)]
    last = Puppet(stubborn(3), name="last")  # while it takes its time, the others' turn has not come
    top = otp(*(spec(each, restart=restart) for each in racers), spec(last))
    await settle()
    top.supervisor.stop()
    await after(1)
    asked.set()
    await top.ended.wait()
    assert top.error is None
    assert [len(each.runs) for each in racers] == [1, 1, 1]
    endings = {event.child: event.ending for event in top.of(ChildExited)}
    assert endings == {**dict.fromkeys(("racer-0", "racer-1", "racer-2"), ending), "last": Ending.STOPPED}
    assert not top.told(RestartScheduled)
    assert trio.current_time() == 3


async def test_sup_stop_non_shutdown_exit_dynamic(autojump_clock: Clock, otp: Setting) -> None:
    """Instances that raise while they are stopped do not disturb the stop; their errors are kept in the events."""

    async def sulk(context: Context) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("unhappy")

    top = otp(spec(Puppet(sulk)), strategy="simple_one_for_one")
    await settle()
    for _ in range(3):
        await top.supervisor.start_instance()
    await top.stop()
    assert top.error is None
    assert {(event.ending, event.error) for event in top.of(ChildExited)} == {(Ending.STOPPED, "RuntimeError: unhappy")}


async def test_child_unlink(autojump_clock: Clock, otp: Setting) -> None:
    """A child that swallows its cancel cannot hang terminate_child: the caller hears that it is unstopped."""
    top = otp(spec(Puppet(stubborn(1e6)), shutdown=2.0))
    await settle()
    with pytest.raises(Unstopped, match="'puppet' did not end within 2 s; its task still exists, parked"):
        await top.supervisor.terminate_child("puppet")
    assert trio.current_time() == 2


async def test_order_of_children(autojump_clock: Clock, otp: Setting) -> None:
    """Children start in the order given and stop in reverse; so they do when rest_for_one restarts some of them."""
    a, b, c, d = (Puppet(stubborn(1), name=name) for name in "abcd")
    b.acts = (fail(lost(), at=5), stubborn(1))
    top = otp(*map(spec, (a, b, c, d)), strategy="rest_for_one")
    await after(20)
    assert top.told(ChildStarted, ChildExited) == [
        *(f"ChildStarted {name}" for name in "abcd"),
        "ChildExited b",
        "ChildExited d",
        "ChildExited c",
        *(f"ChildRestarted {name}" for name in "bcd"),
    ]
    assert (d.ends, c.ends) == ([6], [7])
    await top.stop()
    assert [event.child for event in top.of(ChildExited)][3:] == ["d", "c", "b", "a"]
    assert [puppet.ends[-1] for puppet in (d, c, b, a)] == [21, 22, 23, 24]


async def test_multiple_restarts(autojump_clock: Clock, stage: Setting) -> None:
    """Restarts that are spaced wider than the period never trip the intensity, narrower ones do."""
    slow = Puppet(fail(RuntimeError("crash"), at=10))
    top = stage(spec(slow), every_restart_counts=True, intensity=Intensity(1, 9))
    await after(1000)
    assert len(slow.runs) > 50
    assert top.error is None
    fast = Puppet(fail(RuntimeError("crash"), at=1))
    top = stage(spec(fast), every_restart_counts=True, intensity=Intensity(1, 9))
    await top.ended.wait()
    assert len(fast.runs) == 2
