"""A bundle of legs without connectors: what is late, what is lost behind them, who is heard no more."""

import math
from typing import Any

import attrs
import trio
import trio.testing

from actors.chaos import SIMULATED
from actors.errors import Reason
from actors.events import LinkState, Origin
from actors.exchange import Exchange, Kind
from actors.feed import Feed
from actors.items import Gap, Message
from actors.legs import Bundle, Leg
from actors.stats import ConnectorStats
from tests.scenes import EPOCH, wall


def side_by_side(exchange: Exchange = SIMULATED, *, control: bool = False) -> tuple[Feed, list[Leg]]:
    """A feed with two legs that have settled, without connectors."""
    origin = Origin("one", exchange.code, exchange.name_ko, exchange.name_en, exchange.host)
    stats = ConnectorStats(origin)
    feed = Feed("one", exchange, (), stats=stats, emit=lambda event: None, control=control)
    bundle = Bundle(feed, 1, (), lambda event: None, moved=trio.lowlevel.ParkingLot())
    feed.parts.append(bundle)
    legs = [bundle.add(0), bundle.add(1)]
    bundle.begin_merging(0)
    for leg in legs:
        leg.dialling(wall(), 0)
        for state in (LinkState.CONNECTING, LinkState.CONNECTED, LinkState.LIVE):
            leg.set_state(state)
            if state is LinkState.CONNECTING:
                leg.new_session()
    return feed, legs


def said(*numbers: int) -> list[str | bytes]:
    """Frames of one code with these numbers."""
    return [f'{{"channel":"trade","code":"A","n":{number}}}' for number in numbers]


async def taken(feed: Feed) -> list[Any]:
    """Numbers of messages, and gaps, that wait for the consumer."""
    found: list[Any] = []
    with trio.move_on_after(0):
        while True:
            item = await anext(feed)
            found.append(item.json()["n"] if isinstance(item, Message) else item)
    return found


async def test_a_message_that_comes_after_its_successors_is_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    """One leg has a hole, and the other brings what was in it too late: not delivered, and the loss is certain."""
    feed, [one, other] = side_by_side()
    one.push(said(1, 2), wall=wall(), now=0, session=1)
    other.push(said(1, 2), wall=wall(), now=0, session=2)
    await trio.sleep(10)
    one.push(said(3, 5), wall=wall(), now=10, session=1)
    other.push(said(3, 4, 5, 6), wall=wall(), now=10, session=2)
    *before, gap, last = await taken(feed)
    assert (before, last) == ([1, 2, 3, 5], 6)
    assert isinstance(gap, Gap)
    assert (gap.reason, gap.certain, gap.lost) == (Reason.SEQ_GAP, True, 1)
    assert gap.since <= EPOCH + 10 * 10**9 <= gap.until


async def test_losses_are_looked_for_behind_the_legs(autojump_clock: trio.testing.MockClock) -> None:
    """What one leg lacks and the other brings is no loss; what both lack is."""
    feed, [one, other] = side_by_side(attrs.evolve(SIMULATED, check_sequence=True))
    one.push(said(1, 2), wall=wall(), now=0, session=1)
    other.push(said(1, 2), wall=wall(), now=0, session=2)
    await trio.sleep(10)
    other.push(said(3, 4), wall=wall(), now=10, session=2)
    one.push(said(3, 5), wall=wall(), now=10, session=1)
    one.push(said(8), wall=wall(), now=10, session=1)
    other.push(said(5, 8), wall=wall(), now=10, session=2)
    *before, gap, last = await taken(feed)
    assert (before, last) == ([1, 2, 3, 4, 5], 8)
    assert isinstance(gap, Gap)
    assert (gap.expected, gap.got, gap.lost) == (6, 8, 2)


async def test_what_a_retired_leg_still_brings_is_known(autojump_clock: trio.testing.MockClock) -> None:
    """A leg that is told to end is heard no more, and its control frames neither."""
    feed, [one, other] = side_by_side(control=True)
    one.push(said(1), wall=wall(), now=0, session=1)
    other.push(said(1), wall=wall(), now=0, session=2)
    await trio.sleep(10)
    assert other.follows(10)
    other.bundle.discard(one, wall(), 10)
    one.push(said(2), wall=wall(), now=10, session=1)
    one.push_control("bye", Kind.NOTICE, wall=wall(), now=10, session=1)
    other.push_control('{"n":"control"}', Kind.NOTICE, wall=wall(), now=10, session=2)
    other.push(said(2), wall=wall(), now=10, session=2)
    assert await taken(feed) == [1, "control", 2]


async def test_what_a_witness_brings_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """A flood of news decides at once, instead of being kept for the seconds that are left."""
    _, [one, witness] = side_by_side()
    bundle = one.bundle
    witness.witness = True
    one.doubt()
    witness.push(said(1), wall=wall(), now=3, session=2)
    assert bundle.news_at == 3
    assert not one.vouched(3)
    witness.push(said(*range(2, 5000)), wall=wall(), now=3, session=2)
    assert bundle.news_at == -math.inf
    one.interrupted(Reason.MESSAGE_TIMEOUT)
    one.over(wall(), 3)
    assert bundle.news_at is None
    assert bundle.interruption is None, "it is over with what was held back"
