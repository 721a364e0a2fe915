"""A subscription that replaces the one before it on the same socket: nothing lost, proven lost, or honestly unknown."""

import random

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import BinanceVenue, BithumbVenue, SimulatedExchange, UpbitVenue, What
from actors.chaos.faults import Conduct
from actors.errors import Reason
from actors.events import GapReported, Renewed
from actors.exchange import Exchange, Kind, Subscription
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.items import Down, Gap
from actors.replacing import Replacing
from tests.oracle import compare, uncovered
from tests.scenes import Seen, scene, wall, watch

CODES = ("KRW-BTC", "KRW-ETH", "KRW-XRP")
VENUES = pytest.mark.parametrize(
    ("exchange", "venue"), [(UPBIT, UpbitVenue()), (BITHUMB, BithumbVenue())], ids=["upbit", "bithumb"]
)


def test_what_is_not_proven_may_be_missing() -> None:
    """By its first answer only, and by the code as it was subscribed to; what was not answered is not proven."""
    replacing = Replacing({"a": "A.15", "b": "B", "c": "C", "d": "D"})
    assert replacing.owes("a")
    assert not replacing.owes("e")
    replacing.answered("a", proven=False)
    replacing.answered("a", proven=True)
    replacing.answered("b", proven=True)
    replacing.answered("b", proven=False)
    replacing.answered("e", proven=False)
    assert not replacing.owes("a")
    assert not replacing.complete
    assert replacing.codes == ("A.15", "C", "D")
    replacing.answered("c", proven=True)
    replacing.answered("d", proven=True)
    assert replacing.complete
    assert replacing.codes == ("A.15",)
    assert Replacing({}).complete


def trade(code: str, number: int, kind: str = "REALTIME") -> bytes:
    """A trade as Upbit sends it."""
    return b'{"type":"trade","code":"%s","timestamp":%d,"trade_price":1.0,"sequential_id":%d,"stream_type":"%s"}' % (
        code.encode(),
        number,
        number,
        kind.encode(),
    )


def test_a_session_knows_what_its_change_may_have_lost() -> None:
    """What it never delivered, and what is gone from the list, cannot be missing."""
    session = UPBIT.session((Subscription("trade", ("KRW-BTC", "KRW-ETH", "KRW-XRP")),))
    session.subscribe()
    assert session.change((Subscription("trade", ("KRW-BTC", "KRW-ETH")),)) is not None
    assert session.replacing is None, "nothing has been delivered"
    for code in CODES[:2]:
        session.classify(trade(code, 5))
    session.change((Subscription("trade", CODES),))
    assert session.replacing is not None
    assert session.replacing.codes == CODES[:2]
    session.classify(trade(CODES[0], 6))
    session.classify(trade(CODES[0], 6, "SNAPSHOT"))
    assert session.replacing.codes == CODES[1:2]
    session.classify(trade(CODES[1], 7, "SNAPSHOT"))
    assert session.replacing.complete
    assert session.replacing.codes == CODES[1:2]


def test_late_frames_of_an_old_list_are_not_mistaken() -> None:
    """They come after the change, and are of codes that nobody asks about any more."""
    session = UPBIT.session((Subscription("trade", (CODES[0],)),))
    session.classify(trade(CODES[0], 1))
    session.change((Subscription("trade", (CODES[1],)),))
    for code in CODES[:2]:
        assert session.classify(trade(code, 2)).kind is Kind.DATA
    session.change((Subscription("trade", CODES[1:]),))
    assert session.replacing is not None
    assert session.replacing.codes == (CODES[1],)


def simulated(venue: UpbitVenue) -> SimulatedExchange:
    """Three trades and books a second of each code."""
    return SimulatedExchange(venue, rate=3.0, port=None, wall=wall, random=random.Random(7), keep=1_000_000)


async def changed(exchange: Exchange, venue: UpbitVenue, legs: int) -> tuple[SimulatedExchange, Seen]:
    """A minute in which two codes are added, ten seconds apart, and one is taken away."""
    sim = simulated(venue)
    async with scene({exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(exchange, trade=CODES[0], book=CODES[0], legs=legs)
        await watch(
            feeds,
            feed,
            seen,
            60,
            (10, lambda: feeds.add(feed.name, trade=CODES[1])),
            (20, lambda: feeds.add(feed.name, trade=CODES[2], book=CODES[2])),
            (30, lambda: feeds.remove(feed.name, trade=CODES[1])),
        )
        assert feed.stats.sessions == legs, "on the open sockets"
    return sim, seen


@VENUES
@pytest.mark.parametrize("legs", [1, 2])
async def test_nothing_lost_is_no_gap(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: UpbitVenue, legs: int
) -> None:
    """The snapshots prove it."""
    sim, seen = await changed(exchange, venue, legs)
    lost, repeated = compare(exchange, sim, seen, 59)
    assert seen.gaps == seen.of(Down) == repeated == []
    # what nobody was subscribed to
    assert {entry.code for entry in sim.ledger if entry.wall in lost} <= {CODES[1]}


@VENUES
async def test_what_is_lost_lies_in_a_gap_of_its_code(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: UpbitVenue
) -> None:
    """An exchange that says nothing for half a second: no interruption, but one gap for each change."""
    sim, seen = await changed(exchange, attrs.evolve(venue, deaf=0.5), 1)
    began = min(entry.wall for entry in sim.ledger if entry.what is What.OPENED)
    lost, repeated = compare(exchange, sim, seen, 59)
    kept = [at for at in lost if any(e.wall == at and e.code != CODES[1] for e in sim.ledger)]
    assert kept
    assert uncovered(kept, seen) == []
    assert repeated == []
    assert seen.of(Down) == []
    assert {gap.reason for gap in seen.gaps} == {Reason.RESUBSCRIBED}
    assert [(gap.until - began) // 10**10 for gap in seen.gaps] == [1, 2, 3]
    assert all(not gap.certain and gap.codes and 0.5 < gap.seconds < 2 for gap in seen.gaps)
    assert all(set(gap.codes) <= set(CODES) for gap in seen.gaps)
    assert len(seen.of(GapReported)) == 3
    index = seen.items.index(seen.gaps[0])
    after = seen.items[index + 1]
    assert not isinstance(after, Down | Gap)
    assert after.received == seen.gaps[0].until


@VENUES
async def test_two_legs_change_one_after_the_other(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: UpbitVenue
) -> None:
    """What one is not told while it changes the other brings: nothing is lost, and there is no gap."""
    # a book that repeats itself during both changes cannot be told from its twin
    sim, seen = await changed(exchange, attrs.evolve(venue, deaf=0.5, repeated_books=0.0), 2)
    lost, repeated = compare(exchange, sim, seen, 59)
    assert seen.gaps == seen.of(Down) == seen.of(Renewed) == repeated == []
    assert {entry.code for entry in sim.ledger if entry.wall in lost} <= {CODES[1]}


async def test_one_leg_of_two_left_alone_has_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    """The other leg is not there: nobody has what is lost."""
    sim = simulated(UpbitVenue(deaf=0.5))
    async with scene({UPBIT.host: sim}) as (feeds, network, seen):
        feed = feeds.open(UPBIT, trade=CODES[0], legs=2)

        def lose_one() -> None:
            network.refuse(UPBIT.host)
            sim.connections[1].cut()

        await watch(feeds, feed, seen, 40, (19, lose_one), (20, lambda: feeds.add(feed.name, trade=CODES[1])))
    assert [gap.reason for gap in seen.gaps] == [Reason.RESUBSCRIBED]
    assert seen.of(Down) == []


@pytest.mark.parametrize("then", ["silence", "end"])
async def test_a_change_without_an_answer(autojump_clock: trio.testing.MockClock, then: str) -> None:
    """After ``subscribe_timeout``, or at the end of the session, whatever was not proven may be missing."""
    sim = simulated(UpbitVenue())
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feed = feeds.open(UPBIT, trade=CODES[:2])

        def change() -> None:
            sim.connections[0].conduct = Conduct(data=False, answers=False)
            feeds.add(feed.name, trade=CODES[2])

        script = [(20.0, change)]
        if then == "end":
            script.append((22.0, lambda: sim.connections[0].cut()))  # noqa: PLW0108 - there is no connection yet
        await watch(feeds, feed, seen, 20 + UPBIT.subscribe_timeout + 5, *script)
    first = seen.gaps[0]
    assert (first.reason, first.codes) == (Reason.RESUBSCRIBED, CODES[:2])
    waited = 2 if then == "end" else UPBIT.subscribe_timeout
    assert waited <= first.seconds < waited + 1.5
    assert [gap.reason for gap in seen.gaps[1:]] == ([Reason.EOF] if then == "end" else [])
    if then == "end":
        assert seen.items.index(first) < seen.items.index(seen.of(Down)[0])


async def test_where_requests_add_up_nothing_is_replaced(autojump_clock: trio.testing.MockClock) -> None:
    """Binance subscribes to more beside what there is."""
    venue = BinanceVenue()
    sim = SimulatedExchange(venue, rate=3.0, port=None, wall=wall, random=random.Random(7))
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        feed = feeds.open(BINANCE, trade=venue.codes[0])
        await watch(feeds, feed, seen, 30, (10, lambda: feeds.add(feed.name, trade=venue.codes[1])))
    assert seen.gaps == []
