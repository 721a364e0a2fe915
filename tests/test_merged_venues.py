"""Hooks and merge together: legs of the simulated exchanges, cut and renewed in turn, against the server's ledger."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from actors.chaos import (
    SIMULATED,
    BinanceVenue,
    BithumbVenue,
    MemoryNetwork,
    Role,
    SimulatedExchange,
    SimulatedVenue,
    UpbitVenue,
    What,
)
from actors.chaos.board import Venue
from actors.exchange import Exchange, Kind, Subscription
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.marks import Key, Mark
from actors.merge import Merge
from actors.sequence import Continuity
from tests.sim_client import routed

LIFE = 40.0
LEGS = 8
VENUES = pytest.mark.parametrize(
    ("exchange", "venue"),
    [(UPBIT, UpbitVenue()), (BITHUMB, BithumbVenue()), (BINANCE, BinanceVenue()), (SIMULATED, SimulatedVenue())],
    ids=["upbit", "bithumb", "binance", "simulated"],
)


class Consumer:
    """Takes what the legs bring, each at a lag of its own, and keeps what is delivered."""

    def __init__(self, exchange: Exchange, wanted: tuple[Subscription, ...], chance: random.Random) -> None:
        self.merge = Merge()
        self.delivered: list[Mark] = []
        self._exchange = exchange
        self._wanted = wanted
        self._random = chance

    async def leg(self, network: MemoryNetwork, path: str, begin: float) -> None:
        """One session, from ``begin`` until the end of its life; what has come and was not read is lost."""
        await trio.sleep_until(begin)
        talk = self._exchange.session(self._wanted)
        async with routed(network, "sim", path) as client:
            leg = self.merge.join(trio.current_time())
            await client.send(*talk.opened())
            while trio.current_time() < begin + LIFE:
                await trio.sleep(self._random.uniform(0, 0.8))
                frames = [frame for frame in await client.listen(0.01) if talk.classify(frame).kind is Kind.DATA]
                marks = [self._exchange.mark(frame) for frame in frames]
                self._deliver(self.merge.take(leg, frames, marks, trio.current_time()))
        self._deliver(self.merge.leave(leg, trio.current_time()))

    def _deliver(self, frames: Sequence[str | bytes]) -> None:
        for frame in frames:
            mark = self._exchange.mark(frame)
            assert mark is not None
            self.delivered.append(mark)


@VENUES
async def test_legs_cut_in_turn_lose_nothing_and_repeat_nothing(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue
) -> None:
    """Every message said while a leg was there is delivered as often as it was said, snapshots only where they tell."""
    chance = random.Random(7)
    sim = SimulatedExchange(
        venue, port=None, rate=4, random=chance, wall=lambda: 1_790_000_000_000_000_000 + int(trio.current_time() * 1e9)
    )
    wanted = exchange.native(Subscription(channel, venue.codes) for channel in ("trade", "book", "ticker"))
    consumer = Consumer(exchange, wanted, chance)
    network = MemoryNetwork({"sim": sim})
    async with sim.serving(), trio.open_nursery() as nursery:
        for number in range(LEGS):
            nursery.start_soon(consumer.leg, network, venue.path, number * LIFE / 2)

    # what was said in the last moments may not have been read any more
    end = (LEGS + 1) * LIFE / 2 - 2
    said: dict[tuple[str, str, int], tuple[float, Mark]] = {}
    for entry in sim.ledger:
        if entry.role is Role.DATA and entry.number and entry.what in (What.SENT, What.LOST):
            mark = exchange.mark(entry.data)
            assert mark is not None
            said.setdefault((entry.channel, entry.code, entry.number), (entry.at, mark))
    assert sim.ledger.forgotten == 0
    assert len(said) > 3_000
    truth = Counter((mark.key, mark.identity) for _, mark in said.values())
    due = Counter((mark.key, mark.identity) for at, mark in said.values() if at < end)
    delivered = Counter((mark.key, mark.identity) for mark in consumer.delivered)
    assert due - delivered == Counter(), "lost"
    assert [message for message in truth if delivered[message] > truth[message]] == [], "repeated"
    assert consumer.merge.late == 0
    assert Continuity().take(consumer.delivered) == []
    orders: dict[Key, int] = {}
    for mark in consumer.delivered:
        if mark.order is not None:
            assert orders.get(mark.key, 0) <= mark.order
            orders[mark.key] = mark.order
    if exchange is BITHUMB:
        assert max(truth.values()) > 1, "some books were said twice"
