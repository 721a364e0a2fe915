"""The gate: rolling windows, first come first served, shut when the host says so."""

from collections.abc import Callable, Coroutine

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange import Limits, Rate
from actors.transport import Gate, GateState, Turn

SLOW = Limits(gate=Rate(2, 10.0))


async def enter(gate: Gate, host: str, limits: Limits) -> Turn:
    """Line up and wait."""
    turn = gate.line_up(host, limits)
    await turn.come()
    return turn


def waiting(gate: Gate) -> int:
    """How many wait at ``host``."""
    return gate.states()["host", ""].waiting


def virtually(main: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run under a virtual clock of its own: one whole run for each example."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_rolling_window(autojump_clock: trio.testing.MockClock) -> None:
    """Two at once, then two for every ten seconds, counted from each that passed."""
    gate, began, passed = Gate(), trio.current_time(), list[float]()
    for pause in (0, 0, 0, 4, 0, 30, 0):
        await trio.sleep(pause)
        await enter(gate, "host", SLOW)
        passed.append(trio.current_time() - began)
    assert passed == [0, 0, 10, 14, 20, 50, 50]


async def test_hosts_are_apart(autojump_clock: trio.testing.MockClock) -> None:
    """One host's crowd does not hold up another's."""
    gate, began = Gate(), trio.current_time()
    for host in "aabbcc":
        await enter(gate, host, SLOW)
    assert trio.current_time() == began


async def test_half_of_what_is_published(autojump_clock: trio.testing.MockClock) -> None:
    """Of published connects half is used, and at least one."""
    for published, expected in ((Rate(5, 60), 2), (Rate(1, 60), 1)):
        gate, began = Gate(), trio.current_time()
        limits = Limits(connects=published, gate=Rate(100, 1.0))
        for _ in range(expected):
            await enter(gate, "host", limits)
        assert trio.current_time() == began
        await enter(gate, "host", limits)
        assert trio.current_time() == began + 60


async def test_first_come_first_served(autojump_clock: trio.testing.MockClock) -> None:
    """Turns are given in order, a cancelled wait costs nobody a turn, and the waiting can be counted."""
    gate, order = Gate(), list[tuple[float, int]]()
    limits = Limits(gate=Rate(1, 10.0))
    began = trio.current_time()

    async def stand(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await enter(gate, "host", limits)
            order.append((trio.current_time() - began, number))

    scopes = [trio.CancelScope() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(stand, number, scope)
            await trio.testing.wait_all_tasks_blocked()
        assert waiting(gate) == 4
        await trio.sleep(5)
        scopes[1].cancel()  # whose turn is next
        scopes[3].cancel()  # who stands in the middle
        await trio.testing.wait_all_tasks_blocked()
        assert waiting(gate) == 2
    assert order == [(0, 0), (10, 2), (20, 4)]
    assert waiting(gate) == 0


async def test_shut(autojump_clock: trio.testing.MockClock) -> None:
    """A shut host lets nobody through, also those who wait already; the longer of two orders holds."""
    gate, began = Gate(), trio.current_time()
    gate.close("host", 30)
    gate.close("host", 5)
    assert gate.states()["host", ""].closed == 30
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter, gate, "host", SLOW)
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

        async def stand(*, impatient: bool) -> None:
            with trio.move_on_after(2.5 if impatient else float("inf")):
                await enter(gate, "host", limits)
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
                nursery.start_soon(lambda impatient=impatient: stand(impatient=impatient))
        assert not arrivals or waiting(gate) == 0

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
    await enter(gate, "host", wide)
    for _ in range(5):
        await enter(gate, "host", narrow)
    assert trio.current_time() == began + 2
    await enter(gate, "host", wide)
    assert trio.current_time() == began + 60


async def test_the_place_in_the_line(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Everybody can see how many are before him."""
    gate = Gate()
    turns = [gate.line_up("host", Limits(gate=Rate(1, 10.0))) for _ in range(4)]
    for turn in turns:
        nursery.start_soon(turn.come)
    await trio.testing.wait_all_tasks_blocked()
    assert [turn.position for turn in turns] == [0, 1, 2, 3]
    await trio.sleep(11)
    turns[2].leave()  # it has not even waited
    assert [turn.position for turn in turns] == [0, 0, 0, 1]
    nursery.cancel_scope.cancel()


async def test_only_so_many_sockets_at_one_time(autojump_clock: trio.testing.MockClock) -> None:
    """Of those that may be open at once none is dialled before another is closed; a second leave gives nothing away."""
    gate, began, passed = Gate(budget=0.5), trio.current_time(), list[float]()
    limits = Limits(gate=Rate(100, 1.0), sockets=5)

    async def session(seconds: float) -> None:
        turn = await enter(gate, "host", limits)
        passed.append(trio.current_time() - began)
        await trio.sleep(seconds)
        turn.leave()
        turn.leave()

    async with trio.open_nursery() as nursery:
        for seconds in (30, 50, 10, 5, 5):
            nursery.start_soon(session, seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert gate.states()["host", ""] == GateState(waiting=3, inside=2, passes=2, closed=0)
    assert passed == [0, 0, 30, 40, 45]
    assert gate.states()["host", ""] == GateState(waiting=0, inside=0, passes=5, closed=0)


async def test_a_process_has_its_share(autojump_clock: trio.testing.MockClock) -> None:
    """The budget is a part of what is published; our own bound on one host stays as it is."""
    gate, began = Gate(budget=0.25), trio.current_time()
    limits = Limits(connects=Rate(16, 60), gate=Rate(100, 1.0))
    for _ in range(3):
        await enter(gate, "host", limits)
    assert trio.current_time() == began + 60


async def test_source_addresses_are_apart(autojump_clock: trio.testing.MockClock) -> None:
    """What a host says to one of our addresses it has not said to another."""
    gate, began = Gate(), trio.current_time()
    gate.close("host", 100, "192.0.2.1")
    await gate.line_up("host", SLOW, "192.0.2.2").come()
    assert trio.current_time() == began
    await gate.line_up("host", SLOW, "192.0.2.1").come()
    assert trio.current_time() == began + 100


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from([0.0, 0.0, 1.0]), st.sampled_from([0.0, 2.0, 9.0]), st.booleans()), max_size=20),
)
def test_sockets_are_never_too_many_and_nobody_is_forgotten(
    sockets: int, arrivals: list[tuple[float, float, bool]]
) -> None:
    """Property: in the order of arrival, never more at once than allowed, and whoever stays gets through."""
    order: list[int] = []
    inside = most = 0

    async def main() -> None:
        gate = Gate()
        limits = Limits(gate=Rate(1000, 1.0), sockets=sockets)

        async def session(number: int, seconds: float, *, impatient: bool) -> None:
            nonlocal inside, most
            turn = gate.line_up("host", limits)
            with trio.move_on_after(1.5 if impatient else float("inf")) as scope:
                await turn.come()
            if not scope.cancelled_caught:
                order.append(number)
                inside += 1
                most = max(most, inside)
                await trio.sleep(seconds)
                inside -= 1
            turn.leave()

        async with trio.open_nursery() as nursery:
            for number, (pause, seconds, impatient) in enumerate(arrivals):
                await trio.sleep(pause)
                nursery.start_soon(lambda n=number, s=seconds, i=impatient: session(n, s, impatient=i))
                await trio.testing.wait_all_tasks_blocked()
        assert not arrivals or gate.states()["host", ""].inside == 0

    virtually(main)
    assert most <= sockets
    assert order == sorted(order)
    assert {number for number, (_, _, impatient) in enumerate(arrivals) if not impatient} <= set(order)
