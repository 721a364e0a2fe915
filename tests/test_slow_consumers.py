"""A consumer that takes a second per message at 1,000 messages a second, through a connector and all its clocks."""

import random
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import BinanceVenue, Ledger, Role, SimulatedExchange, What
from actors.chaos.faults import Conduct
from actors.chaos.ledger import Entry, Shape
from actors.consumer import Consumer
from actors.errors import Reason
from actors.events import Failed, LinkState
from actors.exchanges import BINANCE
from actors.feed import Feed
from actors.items import Batch, FeedFailed, Gap, Message, Overflow
from tests.scenes import Seen, scene, wall

CODES = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT")
STALLED = 6.0
"""Seconds for which the consumer takes one a second: longer than any clock of the link."""
QUICK = attrs.evolve(BINANCE, ping_interval=2.0, ping_timeout=1.5, link_timeout=4.0, message_timeout=4.0)
BOUND = 500
READ = 65_536 // 130
"""Messages that one read may bring, were each as short as the shortest."""


@asynccontextmanager
async def busy_market(rate: float = 1000.0) -> AsyncGenerator[tuple[Feed, Seen, SimulatedExchange]]:
    """A feed that is live, of four codes that bring so many messages a second together."""
    venue = BinanceVenue(codes=CODES, ping_every=2.0, pong_within=300.0)
    sim = SimulatedExchange(venue, rate=rate / len(CODES), port=None, wall=wall, random=random.Random(3))
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        feed = feeds.open(QUICK, trade=CODES)
        yield feed, seen, sim


@attrs.define(eq=False)
class Slow:
    """Takes a second per message for a while, then everything; notes what waited for it at the most."""

    consumer: Consumer
    seen: Seen = attrs.field(factory=Seen)
    messages: int = 0
    bytes: int = 0
    failed: bool = False

    async def run(self, *, until: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            try:
                async for item in self.consumer:
                    self.seen.items.append(item)
                    if isinstance(item, Message):
                        with trio.move_on_at(until):
                            await trio.sleep(1)
            except FeedFailed:
                self.failed = True
                nursery.cancel_scope.cancel()

    async def _look(self) -> None:
        while True:
            backlog = self.consumer.backlog
            self.messages, self.bytes = max(self.messages, backlog.messages), max(self.bytes, backlog.bytes)
            await trio.sleep(0.05)

    @property
    def lost(self) -> int:
        return sum(gap.lost or 0 for gap in self.seen.gaps)


async def stall(slow: list[Slow], sim: SimulatedExchange) -> None:
    """The slow ones are slow for STALLED seconds; then the market falls silent, and they take all there is."""
    async with trio.open_nursery() as nursery:
        end = trio.current_time() + STALLED
        for each in slow:
            nursery.start_soon(lambda each=each: each.run(until=end))
        await trio.sleep(STALLED - 1)
        sim.silence()
        await trio.sleep(1.9)  # half of message_timeout later a second socket would be asked
        nursery.cancel_scope.cancel()


def sent(ledger: Ledger) -> list[Entry]:
    return [entry for entry in ledger if entry.what is What.SENT and entry.role is Role.DATA]


def check_told(seen: Seen, ledger: Ledger) -> None:
    """Everything that was sent is delivered, in order and once, or lies in a gap."""
    assert ledger.forgotten == 0
    delivered = deque(message.data for message in seen.messages)
    for entry in sent(ledger):
        if delivered and delivered[0] == entry.data:
            delivered.popleft()
        else:
            assert any(gap.since <= entry.wall <= gap.until for gap in seen.gaps), f"lost and not told: {entry}"
    assert not delivered, "something was delivered that was not sent, out of order, or twice"


def pong_delays(ledger: Ledger) -> list[float]:
    """Seconds from each ping of the server to its pong, while it was served."""
    asked, delays = dict[str | bytes, float](), list[float]()
    for entry in ledger:
        if entry.shape is Shape.PING and entry.what is What.SENT:
            asked[entry.data] = entry.at
        elif entry.shape is Shape.PONG and entry.what is What.RECEIVED and entry.data in asked:
            delays.append(entry.at - asked.pop(entry.data))
    return delays + [trio.current_time() - at for at in asked.values()]


def by_code(frame: str | bytes) -> str:
    return BINANCE.describe(frame)[1]


@pytest.mark.parametrize("policy", ["drop_oldest", "conflate"])
async def test_what_is_lost_is_told_and_pongs_are_on_time(autojump_clock: trio.testing.MockClock, policy: str) -> None:
    """Memory is bounded, each loss lies in a gap that counts it, nothing is said against the link."""
    async with busy_market() as (feed, seen, sim):
        with feed.consumer(Overflow(policy, messages=BOUND)) as consumer:
            slow = Slow(consumer)
            await stall([slow], sim)
            assert feed.stats.state is LinkState.LIVE
            assert slow.messages <= BOUND
            assert len(slow.seen.messages) + slow.lost == len(sent(sim.ledger)) == feed.stats.messages > 4500
            assert slow.lost == feed.stats.overflowed > 3500
            assert {gap.reason for gap in slow.seen.gaps} == {Reason.OVERFLOW}
            assert all(gap.certain for gap in slow.seen.gaps)
            check_told(slow.seen, sim.ledger)
        assert not seen.of(Failed)
        delays = pong_delays(sim.ledger)
        assert len(delays) >= 2
        assert max(delays) < 0.1


async def test_block_loses_nothing_and_blames_no_link(autojump_clock: trio.testing.MockClock) -> None:
    """Reading waits for the consumer, for longer than any clock of the link runs; nothing follows from that."""
    async with busy_market() as (feed, seen, sim):
        with feed.consumer(Overflow("block", messages=BOUND)) as consumer:
            slow = Slow(consumer)
            await stall([slow], sim)
            assert feed.stats.state is LinkState.LIVE
            assert slow.messages <= BOUND + READ
            assert len(slow.seen.messages) == len(sent(sim.ledger))
            check_told(slow.seen, sim.ledger)
            assert not slow.seen.gaps
        assert not seen.of(Failed)
        assert not feed.stats.overflowed


async def test_each_policy_beside_a_consumer_that_keeps_up(autojump_clock: trio.testing.MockClock) -> None:
    """Three slow ones, each by its own policy, and one that misses nothing: none feels another."""
    quick = Seen()

    async def keep_up(feed: Feed, *, task_status: trio.TaskStatus[None]) -> None:
        with feed.consumer(Overflow("fail", messages=READ)) as mine:
            task_status.started()
            async for item in mine.batches():
                quick.items.append(item)

    async with busy_market() as (feed, seen, sim), trio.open_nursery() as nursery:
        await nursery.start(keep_up, feed)
        with (
            feed.consumer(Overflow("drop_oldest", messages=BOUND)) as old,
            feed.consumer(Overflow("drop_oldest", bytes=50_000)) as small,
            feed.consumer(Overflow("conflate", messages=BOUND, key=by_code)) as newest,
            feed.consumer(Overflow("fail", messages=BOUND)) as strict,
        ):
            slow = [Slow(old), Slow(small), Slow(newest), Slow(strict)]
            await stall(slow, sim)
            *slow, failing = slow
            for each in slow:
                assert len(each.seen.messages) + each.lost == len(sent(sim.ledger))
                check_told(each.seen, sim.ledger)
            assert slow[0].messages <= BOUND
            assert slow[1].bytes <= 50_000
            assert slow[2].messages <= BOUND
            assert feed.stats.overflowed == sum(each.lost for each in slow)
            assert failing.failed
            assert BOUND < len(failing.seen.messages) <= BOUND + READ + STALLED
            assert [each.data for each in failing.seen.messages] == [
                entry.data for entry in sent(sim.ledger)[: len(failing.seen.messages)]
            ]
        nursery.cancel_scope.cancel()
    assert sum(len(batch.frames) for batch in quick.of(Batch)) == len(sent(sim.ledger)) > 4500
    assert not quick.of(Gap)
    assert not seen.of(Failed)
    assert max(pong_delays(sim.ledger)) < 0.1


async def test_a_consumer_that_blocks_makes_all_wait_and_none_lose(autojump_clock: trio.testing.MockClock) -> None:
    """Reading waits for the slowest that blocks; the others get what is read, and lose nothing by it."""
    async with busy_market() as (feed, seen, sim):
        with feed.consumer(Overflow("block", messages=BOUND)) as patient, feed.consumer() as other:
            slow = [Slow(patient), Slow(other)]
            await stall(slow, sim)
            for each in slow:
                assert len(each.seen.messages) == len(sent(sim.ledger))
                check_told(each.seen, sim.ledger)
        assert not seen.of(Failed)


async def test_block_blames_no_link_for_an_answer_while_it_reads_now_and_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where reading waits now and then, a ping's time is not up because it happens to go on just then."""
    venue = BinanceVenue(codes=CODES[:1])
    sim = SimulatedExchange(venue, rate=1, port=None, wall=wall, random=random.Random(3))
    async with scene({BINANCE.host: sim}) as (feeds, _, seen), trio.open_nursery() as nursery:
        feed = feeds.open(QUICK, trade=CODES[0])
        await feed.live()
        for link in sim.connections:
            link.conduct = Conduct(heartbeats=False)  # what waits behind data is not answered in time either

        async def take() -> None:
            with feed.consumer(Overflow("block", messages=1)) as patient:
                async for _ in patient.batches():
                    await trio.sleep(0.9)

        nursery.start_soon(take)
        await trio.sleep(30)
        assert not seen.of(Failed)
        nursery.cancel_scope.cancel()
