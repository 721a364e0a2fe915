"""The gate: rolling windows, first come first served, shut when the host says so."""

from collections.abc import Callable, Coroutine

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange import Limits, Rate
from actors.transport import Gate

SLOW = Limits(gate=Rate(2, 10.0))


def virtually(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run under a virtual clock of its own: one whole run for each example."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_rolling_window(autojump_clock: trio.testing.MockClock) -> None:
    """Two at once, then two for every ten seconds, counted from each that passed."""
    gate, began, passed = Gate(), trio.current_time(), list[float]()
    for pause in (0, 0, 0, 4, 0, 30, 0):
        await trio.sleep(pause)
        await gate.enter("host", SLOW)
        passed.append(trio.current_time() - began)
    assert passed == [0, 0, 10, 14, 20, 50, 50]


async def test_hosts_are_apart(autojump_clock: trio.testing.MockClock) -> None:
    """One host's crowd does not hold up another's."""
    gate, began = Gate(), trio.current_time()
    for host in "aabbcc":
        await gate.enter(host, SLOW)
    assert trio.current_time() == began


async def test_half_of_what_is_published(autojump_clock: trio.testing.MockClock) -> None:
    """Of published connects half is used, and at least one."""
    for published, expected in ((Rate(5, 60), 2), (Rate(1, 60), 1)):
        gate, began = Gate(), trio.current_time()
        limits = Limits(connects=published, gate=Rate(100, 1.0))
        for _ in range(expected):
            await gate.enter("host", limits)
        assert trio.current_time() == began
        await gate.enter("host", limits)
        assert trio.current_time() == began + 60


async def test_first_come_first_served(autojump_clock: trio.testing.MockClock) -> None:
    """Turns are given in order, a cancelled wait costs nobody a turn, and the waiting can be counted."""
    gate, order = Gate(), list[tuple[float, int]]()
    limits = Limits(gate=Rate(1, 10.0))
    began = trio.current_time()

    async def enter(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await gate.enter("host", limits)
            order.append((trio.current_time() - began, number))

    scopes = [trio.CancelScope() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(enter, number, scope)
            await trio.testing.wait_all_tasks_blocked()
        assert gate.waiting("host") == 4
        assert gate.opens_at("host") == began + 10
        await trio.sleep(5)
        scopes[1].cancel()  # whose turn is next
        scopes[3].cancel()  # who stands in the middle
        await trio.testing.wait_all_tasks_blocked()
        assert gate.waiting("host") == 2
    assert order == [(0, 0), (10, 2), (20, 4)]
    assert gate.waiting("host") == 0


async def test_shut(autojump_clock: trio.testing.MockClock) -> None:
    """A shut host lets nobody through, also those who wait already; the longer of two orders holds."""
    gate, began = Gate(), trio.current_time()
    assert gate.opens_at("host") < began
    gate.close("host", 30)
    gate.close("host", 5)
    assert gate.opens_at("host") == began + 30
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.enter, "host", SLOW)
        await trio.sleep(20)
        gate.close("host", 100)
    assert trio.current_time() == began + 120


RATES = st.builds(Rate, st.integers(1, 5), st.sampled_from([0.5, 1.0, 7.0, 60.0]))


@settings(deadline=None, max_examples=150)
@given(
    st.builds(Limits, gate=RATES, connects=st.none() | RATES),
    st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.1, 1.0, 30.0]), st.booleans()), max_size=25),
    st.lists(st.tuples(st.sampled_from([0.0, 3.0, 20.0]), st.sampled_from([0.5, 10.0])), max_size=3),
)
def test_no_window_is_ever_broken(
    limits: Limits, arrivals: list[tuple[float, bool]], orders: list[tuple[float, float]]
) -> None:
    """Property: no window holds more than its count, nobody passes a shut door, and whoever stays gets through."""
    passed: list[float] = []
    shut: list[tuple[float, float]] = []
    patient = sum(not impatient for _, impatient in arrivals)

    async def main() -> None:
        gate = Gate()

        async def enter(*, impatient: bool) -> None:
            with trio.move_on_after(2.5 if impatient else float("inf")):
                await gate.enter("host", limits)
                passed.append(trio.current_time())

        async def order(at: float, seconds: float) -> None:
            await trio.sleep(at)
            gate.close("host", seconds)
            shut.append((trio.current_time(), trio.current_time() + seconds))

        async with trio.open_nursery() as nursery:
            for at, seconds in orders:
                nursery.start_soon(order, at, seconds)
            for pause, impatient in arrivals:
                await trio.sleep(pause)
                nursery.start_soon(lambda impatient=impatient: enter(impatient=impatient))
        assert gate.waiting("host") == 0

    virtually(main)
    rates = [limits.gate]
    if limits.connects is not None:
        rates.append(Rate(max(1, limits.connects.count // 2), limits.connects.seconds))
    for rate in rates:
        # floats: the gate waits until `earlier + seconds`, so that sum is what must not be undercut
        assert all(b >= a + rate.seconds for a, b in zip(passed, passed[rate.count :], strict=False))
    assert not any(since < at < until for at in passed for since, until in shut)
    assert len(passed) >= patient


async def test_wider_and_narrower_limits(autojump_clock: trio.testing.MockClock) -> None:
    """Connectors with different limits for one host share one memory of who passed."""
    gate, began = Gate(), trio.current_time()
    wide, narrow = Limits(gate=Rate(6, 60.0)), Limits(gate=Rate(2, 1.0))
    await gate.enter("host", wide)
    for _ in range(5):
        await gate.enter("host", narrow)
    assert trio.current_time() == began + 2
    await gate.enter("host", wide)
    assert trio.current_time() == began + 60
