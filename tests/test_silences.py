"""Every kind of silence, in one table: found within its limit and a second, or rightly left alone."""

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import SIMULATED, BinanceVenue, Server, SimulatedExchange, SimulatedVenue, UpbitVenue, determinism
from actors.chaos.capture import Recorded, read_capture
from actors.chaos.conversation import Conversation
from actors.chaos.ledger import Role
from actors.chaos.link import Link
from actors.errors import Reason
from actors.events import Failed, LegLost, LinkState, Probed, Quiet, Resubscribed
from actors.exchange import By, Exchange, Form, Heartbeat
from actors.exchanges import BINANCE, UPBIT
from actors.items import Overflow
from tests.captures import CAPTURES
from tests.scenes import scene, wall, watch

CONTROL_ONLY = (Heartbeat(by=By.CLIENT, form=Form.CONTROL),)
Act = Callable[[SimulatedExchange], Any]


@attrs.frozen
class Silence:
    """What the server does ``at`` so many seconds, and the ``limit`` from then on by which it is found."""

    name: str
    exchange: Exchange
    act: Act
    at: float
    limit: float
    reason: Reason


def server_of(exchange: Exchange) -> SimulatedExchange:
    """An Upbit or a Binance that says little."""
    venue = UpbitVenue() if exchange.code == "upbit" else BinanceVenue()
    return SimulatedExchange(venue, rate=0.4, port=None, wall=wall, random=random.Random(2))


def mute(sim: SimulatedExchange) -> None:
    """Nothing is said, not even a pong."""
    sim.silence(pongs=False)


def pongs_only(sim: SimulatedExchange) -> None:
    """Neither data nor answers; pings are answered, and sent."""
    sim.silence(pongs=True)


def open_pongs(sim: SimulatedExchange) -> None:
    """Whoever connects from now on gets pongs and nothing else."""
    sim.open_silent(pongs=True)


FOUND = [
    # what the server does, from when on, the limit in seconds, and the reason; Binance's is half of message_timeout,
    # after which a second socket is opened, and the ten seconds that this takes to decide
    Silence("mute from the start", UPBIT, SimulatedExchange.open_silent, 0, 10, Reason.PING_TIMEOUT),
    Silence("mute from the start", BINANCE, SimulatedExchange.open_silent, 0, 10, Reason.PING_TIMEOUT),
    Silence("pongs from the start", UPBIT, open_pongs, 0, 10, Reason.SUB_TIMEOUT),
    Silence("pongs from the start", BINANCE, open_pongs, 0, 10, Reason.SUB_TIMEOUT),
    Silence("mute after one message", UPBIT, mute, 4, 30, Reason.PING_TIMEOUT),
    Silence("mute after one message", BINANCE, mute, 4, 30, Reason.PING_TIMEOUT),
    Silence("pong-only", attrs.evolve(UPBIT, heartbeats=CONTROL_ONLY), pongs_only, 100, 60, Reason.MESSAGE_TIMEOUT),
    Silence("heartbeat-only", UPBIT, pongs_only, 100, 60, Reason.MESSAGE_TIMEOUT),
    Silence("heartbeat-only", BINANCE, pongs_only, 100, 160, Reason.MESSAGE_TIMEOUT),
]


@pytest.mark.parametrize("row", FOUND, ids=[f"{row.name} ({row.exchange.code})" for row in FOUND])
async def test_a_silence_that_is_found(autojump_clock: trio.testing.MockClock, row: Silence) -> None:
    """One failure, by its limit and a second, for its reason; and before it none."""
    sim = server_of(row.exchange)
    async with scene({row.exchange.host: sim}) as (feeds, _, seen):
        if not row.at:
            row.act(sim)
        feed = feeds.open(row.exchange, trade=sim.codes[0])
        await watch(feeds, feed, seen, row.at + row.limit + 1, (row.at, lambda: row.act(sim)))
        # a second socket has shown that the first is dead, so that the feed as a whole did not fail
        failures = [(event.reason, event.at) for event in (*seen.of(Failed), *seen.of(LegLost))]
    [(reason, at)] = failures[:1]
    assert reason is row.reason
    assert row.at <= at <= row.at + row.limit + 1
    assert len(failures) == 1 or row.limit == 10  # a second one may follow within the time of the first rows


@pytest.mark.parametrize("exchange", [UPBIT, BINANCE], ids=lambda exchange: exchange.code)
def test_a_tie_is_the_pings_in_every_order_of_the_scheduler(exchange: Exchange) -> None:
    """Ping and subscription of a mute session fall due at one instant; which task runs first changes nothing."""

    async def mute_from_the_start() -> list[tuple[Reason, float]]:
        sim = server_of(exchange)
        async with scene({exchange.host: sim}) as (feeds, _, seen):
            sim.open_silent()
            await watch(feeds, feeds.open(exchange, trade=sim.codes[0]), seen, 11)
        return [(event.reason, round(event.at, 6)) for event in seen.of(Failed)]

    found = [determinism.run(seed, mute_from_the_start) for seed in range(8)]
    assert found == [[(Reason.PING_TIMEOUT, 10.0)]] * len(found)


async def test_one_code_of_fifty(autojump_clock: trio.testing.MockClock) -> None:
    """It is named by its limit and a second, once; the link is kept, and no other is named."""
    codes = [f"C{n}-USD" for n in range(49)]
    watched = attrs.evolve(SIMULATED, quiet_after=45.0)
    sim = SimulatedExchange(SimulatedVenue(), codes=codes, quiet=("Q-USD",), rate=0.5, port=None, wall=wall)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(watched, trade=[*codes[:20], "Q-USD", *codes[20:]])
        await watch(feeds, feed, seen, 600)
    [quiet] = seen.of(Quiet)
    assert quiet.code == "Q-USD"
    assert 45 <= quiet.at <= 46
    assert seen.of(Failed) == []


class Speaker(Conversation):
    """Says recorded frames at times of its own, and answers a subscription by what it said last of each code."""

    def __init__(self, link: Link, frames: list[bytes], pauses: Callable[[], float]) -> None:
        super().__init__(link)
        self._frames = itertools.cycle(frames)
        self._pauses = pauses
        self._last: dict[tuple[str, str], bytes] = {}

    def opened(self) -> None:
        """It begins at once."""
        self._say()

    def received(self, data: str | bytes) -> None:
        """PING is answered by UP, an array by snapshots."""
        if data == "PING":
            self.link.send('{"status":"UP"}', Role.HEARTBEAT)
            return
        for frame in self._last.values():
            self.link.send(frame.replace(b"REALTIME", b"SNAPSHOT"), Role.DATA, reply=True)

    def _say(self) -> None:
        frame = next(self._frames)
        self._last[UPBIT.describe(frame)] = frame
        self.link.send(frame, Role.DATA)
        self.link.later(self._pauses(), self._say)


class Recital(Server):
    """A server with a speaker for each connection."""

    def __init__(self, frames: list[bytes], pauses: Callable[[], float]) -> None:
        super().__init__(port=None, wall=wall)
        self.frames = frames
        self.pauses = pauses

    def converse(self, link: Link) -> Conversation:
        """A fresh one."""
        return Speaker(link, self.frames, self.pauses)


TICKER = b'{"type":"ticker","code":"KRW-BTC","trade_price":1.0,"timestamp":1700000000000,"stream_type":"REALTIME"}'


async def test_frozen_timestamps(autojump_clock: trio.testing.MockClock) -> None:
    """The same frame with the same time for an hour, every 20 s: data flows, so the link lives; it is all delivered."""
    server = Recital([TICKER], lambda: 20.0)
    async with scene({UPBIT.host: server}) as (feeds, _, seen):
        feed = feeds.open(UPBIT, ticker="KRW-BTC")
        await watch(feeds, feed, seen, 3599)
        assert feed.stats.state is LinkState.LIVE
    assert seen.of(Failed) == []
    assert len(seen.messages) >= 180


def recorded(name: str) -> tuple[list[bytes], list[float]]:
    """The data frames of a captured Upbit session, and the pauses between them."""
    file = CAPTURES / f"{name}.ndjson"
    if not file.exists():
        pytest.skip(f"no captured session {name!r} beside the checkout")
    frames: list[Recorded] = [frame for frame in read_capture(file).frames if UPBIT.describe(frame.data)[1]]
    pauses = [b.after - a.after for a, b in itertools.pairwise(frames)]
    return [frame.data if isinstance(frame.data, bytes) else frame.data.encode() for frame in frames], pauses


async def test_a_quiet_night_of_real_cadences(autojump_clock: trio.testing.MockClock) -> None:
    """Eight hours of recorded frames whose pauses become 2,000 times as long, far beyond every limit: no restart.

    The probe tells the quiet market from a dead link; the codes are watched, too, and no session is ended for them.
    """
    frames, pauses = recorded("upbit")
    draw, night = random.Random(4), 8 * 3600.0
    longest = 0.0

    def pause() -> float:
        nonlocal longest
        seconds = draw.choice(pauses) * 10 * 200 ** math.sin(math.pi * min(trio.current_time() / night, 1.0))
        longest = max(longest, seconds)
        return seconds

    server = Recital(frames, pause)
    codes = sorted({UPBIT.describe(frame)[1] for frame in frames})
    watched = attrs.evolve(UPBIT, quiet_after=3600.0)
    async with scene({UPBIT.host: server}) as (feeds, _, seen):
        feed = feeds.open(watched, trade=codes, book=codes)
        await watch(feeds, feed, seen, night)
        assert feed.stats.state is LinkState.LIVE
        assert feed.stats.sessions == 1
    assert longest > 5 * UPBIT.message_timeout
    assert seen.of(Failed) == []
    assert len([event for event in seen.of(Probed) if event.answered]) > 50
    assert len(seen.of(Resubscribed)) <= 2


async def test_our_own_waiting_is_no_silence_of_a_code(autojump_clock: trio.testing.MockClock) -> None:
    """Under ``block`` ten minutes without a consumer are held against no code, however busy."""
    watched = attrs.evolve(SIMULATED, quiet_after=45.0)
    sim = SimulatedExchange(SimulatedVenue(), rate=2, port=None, wall=wall)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(watched, trade=("BTC-USD", "ETH-USD"), overflow=Overflow("block", messages=4000))
        await trio.sleep(1600)
        assert feed.stats.depth == 4000
        await watch(feeds, feed, seen, 120)
        assert feed.stats.sessions == 1
    assert seen.of(Quiet) == seen.of(Resubscribed) == seen.of(Failed) == []
