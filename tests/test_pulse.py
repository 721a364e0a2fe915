"""Pauses of the whole process: told once, held against nobody, and every link asked at once whether it has survived."""

import math
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.chaos import SIMULATED, BinanceVenue, SimulatedExchange, SimulatedVenue, UpbitVenue, What
from actors.chaos.ledger import Shape
from actors.errors import ConnectorError, Reason
from actors.events import Event, Failed, LegLost, Paused, Probed, Quiet
from actors.exchange import By, Exchange, Form, Heartbeat
from actors.exchanges import BINANCE, UPBIT
from actors.merge import SETTLE
from actors.pinging import Pinging
from actors.pulse import LATE, TICK, Pulse, asleep
from tests.scenes import scene, wall


@settings(max_examples=50)
@given(phase=st.floats(0.01, 5), seconds=st.floats(0, 20))
def test_every_pause_of_two_seconds_is_seen_and_none_below_one(phase: float, seconds: float) -> None:
    """Wherever it falls between two looks; what it is told to have lasted is within a look of the truth."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    events: list[Event] = []

    async def main() -> None:
        pulse = Pulse(events.append, lambda: 0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pulse.run)
            await trio.sleep(phase)
            clock.jump(seconds)
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        assert pulse.pauses == len(events)
        assert pulse.lost == sum(event.seconds for event in events if isinstance(event, Paused))

    trio.run(main, clock=clock)
    if seconds < LATE:
        assert events == []
    elif seconds >= TICK + LATE or events:
        [event] = events
        assert isinstance(event, Paused)
        assert event.at == pytest.approx(phase + seconds)
        assert seconds - TICK - 1e-9 <= event.seconds <= seconds + 1e-9


async def test_a_suspended_machine_is_a_pause_that_moves_no_clock(autojump_clock: trio.testing.MockClock) -> None:
    """trio's clock stood still: there is nothing to shift, but the links are to be asked."""
    events: list[Event] = []
    slept = 100.0
    pulse = Pulse(events.append, lambda: slept)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await trio.sleep(5)
        slept = 3700.0
        await pulse.woke.park()
        nursery.cancel_scope.cancel()
    assert [event.seconds for event in events if isinstance(event, Paused)] == [3600]
    assert (pulse.pauses, pulse.lost) == (1, 0)
    assert asleep() > -1


async def test_a_pulse_that_does_not_run_sees_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Before its start and after its end a look finds no pause."""
    events: list[Event] = []
    pulse = Pulse(events.append, lambda: 0.0)
    for _ in range(2):
        autojump_clock.jump(10)
        pulse.look()
        with trio.move_on_after(2):
            await pulse.run()
    autojump_clock.jump(10)
    pulse.look()
    assert events == []


async def send(data: str | bytes) -> None:
    """Control pings are no messages."""
    raise AssertionError(data)


@pytest.mark.parametrize("over", [0.01, 0.5, 1.0, 1.9, 5.0])
async def test_no_ping_is_overdue_because_we_slept(autojump_clock: trio.testing.MockClock, over: float) -> None:
    """However little after the deadline the pause ends: the answer has its time again, and is overdue after that."""
    verdicts: list[tuple[float, Reason]] = []
    pongs = [trio.Event(), trio.Event()]
    asked: list[float] = []

    async def ping() -> None:
        asked.append(trio.current_time())
        await pongs[len(asked) - 1].wait()

    def fail(error: ConnectorError) -> ConnectorError:
        verdicts.append((trio.current_time(), error.reason))
        return error

    events: list[Event] = []
    pulse = Pulse(events.append, lambda: 0.0)
    pinging = Pinging(BINANCE, pulse, send, ping, trio.current_time, fail)

    async def keep() -> None:
        with suppress(ExceptionGroup):
            await pinging.keep(Heartbeat(by=By.CLIENT, form=Form.CONTROL))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        nursery.start_soon(keep)
        await trio.sleep(4.5)
        autojump_clock.jump(5.5 + over)
        woke = trio.current_time()
        await trio.sleep(1)
        assert verdicts == []
        pongs[0].set()
        await trio.sleep_forever()
    # the one that was answered had been sent before the pause: another asks whether the link has survived
    assert asked == [0, woke + 1]
    assert verdicts == [(woke + 11, Reason.PING_TIMEOUT)]


async def test_an_answer_is_read_before_it_is_overdue(autojump_clock: trio.testing.MockClock) -> None:
    """What comes in the turn of the loop in which it falls due is in time: it may have been blocked a little."""

    async def ping() -> None:
        await trio.sleep(10)

    def fail(error: ConnectorError) -> ConnectorError:
        raise error

    pinging = Pinging(BINANCE, Pulse(print, lambda: 0.0), send, ping, trio.current_time, fail)
    with trio.move_on_after(190) as scope:
        await pinging.keep(Heartbeat(by=By.CLIENT, form=Form.CONTROL))
    assert scope.cancelled_caught


def pings(sim: SimulatedExchange, since: float) -> list[float]:
    """When control pings came, on trio's clock."""
    found = [entry for entry in sim.ledger if entry.what is What.RECEIVED and entry.shape is Shape.PING]
    return [entry.at for entry in found if entry.at >= since]


@pytest.mark.parametrize(
    ("exchange", "venue", "code"),
    [(UPBIT, UpbitVenue(), "KRW-BTC"), (BINANCE, BinanceVenue(), "BTCUSDT"), (SIMULATED, SimulatedVenue(), "BTC-USD")],
    ids=["upbit", "binance", "simulated"],
)
async def test_every_link_is_asked_at_once(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: UpbitVenue, code: str
) -> None:
    """After a pause there is a ping at once, and a probe, if need be by a second socket; a dead link is found by it."""
    sim = SimulatedExchange(venue, rate=1, port=None, wall=wall)
    async with scene({exchange.host: sim}) as (feeds, _, seen):
        for name in ("one", "two"):
            feeds.open(exchange, trade=code, name=name)
        await trio.sleep(25)
        seconds = exchange.link_timeout + 5
        autojump_clock.jump(seconds)
        began = trio.current_time()
        await trio.sleep(1)
        assert pings(sim, began) == [began] * 2
        assert [event.at for event in seen.of(Probed)] == [began] * 2
        await trio.sleep(60)
        [pause] = seen.of(Paused)
        assert pause.at == began
        assert seconds - TICK <= pause.seconds <= seconds
        assert seen.of(Failed) == []
        sim.silence(pongs=False)
        autojump_clock.jump(60)
        died = trio.current_time()
        await trio.sleep(exchange.ping_timeout + 0.5)
        failed = [(event.at, event.reason) for event in seen.of(Failed)]
        if exchange is BINANCE:  # the second sockets live, and show it before the pings do
            lost = seen.of(LegLost)
            assert [event.reason for event in lost] == [Reason.MESSAGE_TIMEOUT] * 2
            assert all(died + SETTLE <= event.at <= died + exchange.ping_timeout for event in lost)
            assert failed == []
        else:
            assert failed == [(died + exchange.ping_timeout, Reason.PING_TIMEOUT)] * 2


async def test_a_quiet_code_s_clock_stands_still_while_we_do(autojump_clock: trio.testing.MockClock) -> None:
    """A pause moves it by its own length, a changed list not at all: both would hide a code that is silent."""
    watched = attrs.evolve(SIMULATED, quiet_after=45.0)
    sim = SimulatedExchange(SimulatedVenue(), quiet=("Q-USD",), rate=2, port=None, wall=wall)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feeds.open(watched, trade=("BTC-USD", "Q-USD"), name="some")
        await trio.sleep(10)
        autojump_clock.jump(100)
        await trio.sleep(10)
        feeds.add("some", trade="ETH-USD")
        await trio.sleep(30)
    [pause], [quiet] = seen.of(Paused), seen.of(Quiet)
    assert quiet.code == "Q-USD"
    assert math.isclose(quiet.at, 45 + pause.seconds, abs_tol=0.1)
