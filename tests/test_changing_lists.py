"""Lists that change while connections fail, by chance: whatever is lost of a code that is wanted lies in a gap."""

import itertools
import random
from collections import Counter, defaultdict

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import BinanceVenue, BithumbVenue, Role, SimulatedExchange, UpbitVenue, What
from actors.chaos.board import Venue
from actors.exchange import Exchange
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.feed import Feed
from actors.marks import plain
from supervisors import Feeds
from tests.scenes import EPOCH, Seen, scene, wall

SECONDS = 150.0
SETTLED = 6.0
"""Seconds after which a socket may carry on alone."""
VENUES: dict[str, tuple[Exchange, Venue]] = {
    "upbit": (UPBIT, UpbitVenue()),
    "upbit, deaf": (UPBIT, UpbitVenue(deaf=0.4)),
    # a book that repeats itself cannot be told from its twin
    "bithumb, deaf": (BITHUMB, BithumbVenue(deaf=0.4, repeated_books=0.0)),
    "binance": (BINANCE, BinanceVenue()),
}


@attrs.define
class Wish:
    """What a feed is asked for, and when each code was wanted."""

    feeds: Feeds
    feed: Feed
    codes: tuple[str, ...]
    wanted: dict[str, float] = attrs.field(factory=dict[str, float])
    spans: list[tuple[str, float, float]] = attrs.field(factory=list[tuple[str, float, float]])

    def toggle(self, code: str) -> None:
        """Add a code, or take it away; the last one stays."""
        now = trio.current_time()
        if code not in self.wanted:
            self.feeds.add(self.feed.name, trade=code, book=code)
            self.wanted[code] = now
        elif len(self.wanted) > 1:
            self.spans.append((code, self.wanted.pop(code), now))
            self.feeds.remove(self.feed.name, trade=code, book=code)

    def end(self) -> None:
        """Nothing is wanted any more."""
        self.spans += [(code, since, trio.current_time() - 1.0) for code, since in self.wanted.items()]


async def live_through(exchange: Exchange, venue: Venue, legs: int, seed: int) -> tuple[SimulatedExchange, Seen, Wish]:
    """Some minutes of changes, every few seconds, and of connections that are cut."""
    chance = random.Random(seed)
    sim = SimulatedExchange(venue, rate=2.0, port=None, wall=wall, random=random.Random(seed), keep=1_000_000)
    async with scene({exchange.host: sim}, seed=seed) as (feeds, _, seen), trio.open_nursery() as nursery:
        codes = venue.codes[:3]
        feed = feeds.open(exchange, trade=codes[0], book=codes[0], legs=legs)
        wish = Wish(feeds, feed, codes, {codes[0]: trio.current_time()})
        nursery.start_soon(seen.consume, feed)
        until = trio.current_time() + SECONDS
        while trio.current_time() < until:
            await trio.sleep(chance.uniform(0.05, 8))
            if chance.random() < 0.75 or not sim.connections:
                wish.toggle(chance.choice(codes))
            else:
                link = chance.choice(sim.connections)
                chance.choice([link.cut, link.reset])()
        await trio.sleep(1)  # for the last cut to be seen
        await feed.live(300)
        await trio.sleep(20)
        wish.end()
        nursery.cancel_scope.cancel()
    return sim, seen, wish


def missing(exchange: Exchange, sim: SimulatedExchange, seen: Seen, wish: Wish) -> list[tuple[str, str, float]]:
    """What was said of a code while its messages came, was not delivered, and lies in no gap of that code."""
    assert sim.ledger.forgotten == 0
    delivered = Counter[object]()
    came = defaultdict[tuple[str, str], list[float]](list)
    for message in seen.messages:
        mark = exchange.mark(message.data)
        assert mark is not None
        delivered[mark.key, mark.identity] += 1
        came[mark.key[0], plain(mark.key[1])].append((message.received - EPOCH) / 1e9)
    found: list[tuple[str, str, float]] = []
    said: set[tuple[str, str, int]] = set()
    for entry in sim.ledger:
        topic = entry.channel, entry.code, entry.number
        if entry.role is not Role.DATA or not entry.number or entry.what not in (What.SENT, What.LOST) or topic in said:
            continue
        said.add(topic)
        mark = exchange.mark(entry.data)
        assert mark is not None
        key = mark.key[0], plain(mark.key[1])
        wanted = any(
            plain(code) == key[1]
            and (first := next((at for at in came[key] if at >= since), until)) <= entry.at < until
            and first < until
            for code, since, until in wish.spans
        )
        told = any(
            gap.since <= entry.wall <= gap.until and (not gap.codes or key[1] in map(plain, gap.codes))
            for gap in seen.gaps
        )
        if wanted and not told and not delivered[mark.key, mark.identity]:
            found.append((*key, entry.at))
    return found


@pytest.mark.parametrize(("which", "legs", "seed"), [*itertools.product(VENUES, (1, 2), range(2))])
async def test_what_is_lost_lies_in_a_gap(
    autojump_clock: trio.testing.MockClock, which: str, legs: int, seed: int
) -> None:
    """Also while the list changes, on one socket and on two; and at the end all that is wanted comes."""
    exchange, venue = VENUES[which]
    sim, seen, wish = await live_through(exchange, venue, legs, seed)
    assert len(seen.messages) > 100
    assert missing(exchange, sim, seen, wish) == []
    last = {plain(message.code) for message in seen.messages[-60:]}
    assert last == {plain(code) for code in wish.wanted}
