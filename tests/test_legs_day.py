"""A day with renewals and fifty faults, and the same on real TLS with lives of five seconds."""

import random
import ssl
from collections.abc import Callable
from functools import partial

import attrs
import pytest
import trio
import trio.testing
import trustme

from actors.chaos import BinanceVenue, BithumbVenue, SimulatedExchange, UpbitVenue, What
from actors.chaos.board import Venue
from actors.chaos.faults import Conduct
from actors.chaos.link import Link
from actors.exchange import Exchange, Limits, Rate
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.items import Down
from actors.transport import SystemNetwork
from supervisors import open_feeds
from tests.oracle import compare, in_order, uncovered
from tests.scenes import Seen, scene, wall

DAY = 86_400.0
FAULTS = 50
HEALED = 200.0
"""Seconds after a fault by which its connection has been replaced: found within 70, and dialled again."""
VENUES: list[tuple[Exchange, Venue]] = [
    (UPBIT, UpbitVenue()),
    (BITHUMB, BithumbVenue()),
    (BINANCE, BinanceVenue()),
]
EACH = pytest.mark.parametrize(("exchange", "venue"), VENUES, ids=[exchange.code for exchange, _ in VENUES])

DEEDS: tuple[Callable[[Link], None], ...] = (
    Link.cut,
    Link.reset,
    partial(Link.close, code=1001),
    partial(Link.close, code=1012, reason="service restart"),
    lambda link: setattr(link, "conduct", Conduct(data=False, answers=False)),
    lambda link: setattr(link, "conduct", Conduct(data=False, answers=False, heartbeats=False, closes=False)),
)


async def strike(sim: SimulatedExchange, chance: random.Random, times: list[float]) -> None:
    """Do something to one connection at each of these times: first each in turn, then whichever."""
    for number, at in enumerate(times):
        await trio.sleep_until(at)
        links = sim.connections
        if links:
            link = links[number % len(links)] if number < 4 else chance.choice(links)
            chance.choice(DEEDS)(link)


def moments(chance: random.Random) -> list[float]:
    """When to strike: over the whole day, far enough apart for a leg to be back before the next."""
    step = (DAY - 2 * HEALED) / FAULTS
    return [step * (number + chance.uniform(0.2, 0.8)) for number in range(FAULTS)]


async def day(exchange: Exchange, venue: Venue, legs: int) -> tuple[SimulatedExchange, Seen, list[float]]:
    """The exchange, and what a consumer of a feed with so many legs saw in a day."""
    chance = random.Random(11)
    sim = SimulatedExchange(venue, rate=0.05, port=None, wall=wall, random=random.Random(7), keep=2_000_000)
    times = moments(chance)
    async with scene({exchange.host: sim}) as (feeds, _, seen):
        codes = venue.codes[:2]
        feed = feeds.open(exchange, trade=codes, book=codes, legs=legs, renew_at="06:00/30m Asia/Seoul")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.consume, feed)
            nursery.start_soon(strike, sim, chance, times)
            await trio.sleep(DAY + 1800)
            nursery.cancel_scope.cancel()
        assert feed.stats.renewals >= 1
    return sim, seen, times


@EACH
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_legs_through_a_day(autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue) -> None:
    """Nothing is lost, nothing is repeated, nothing is interrupted: the other leg has it."""
    sim, seen, _ = await day(exchange, venue, legs=2)
    lost, repeated = compare(exchange, sim, seen, DAY + 1799)
    assert len(seen.messages) > 10_000
    assert (lost, repeated) == ([], [])
    assert in_order(exchange, seen.messages)
    assert seen.of(Down) == seen.gaps == []


@EACH
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_leg_through_a_day(autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue) -> None:
    """Every loss lies inside a gap, and no gap is without a fault."""
    sim, seen, times = await day(exchange, venue, legs=1)
    lost, repeated = compare(exchange, sim, seen, DAY + 1799)
    assert len(seen.messages) > 10_000
    assert lost
    assert uncovered(lost, seen) == []
    assert repeated == []
    assert len(seen.gaps) == len(seen.of(Down)) == len(times)
    for gap, at in zip(seen.gaps, times, strict=True):
        assert gap.started <= at <= gap.started + gap.seconds


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("legs", [1, 2])
async def test_lives_of_five_seconds_over_tls(legs: int) -> None:
    """Two minutes in which the server cuts every connection after five seconds: nobody ever notices."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL
    seen = Seen()
    venue = BinanceVenue(max_life=5.0, connects=None)
    sim = SimulatedExchange(venue, rate=20, tls=server, random=random.Random(7), keep=2_000_000)
    async with sim.serving() as sim, open_feeds(network=SystemNetwork(ca_pem=authority.cert_pem.bytes())) as feeds:
        short = attrs.evolve(BINANCE, ws_url=sim.url, max_lifetime=5.0, limits=Limits(gate=Rate(10, 1.0)))
        feed = feeds.open(short, trade=venue.codes, book=venue.codes, legs=legs)
        with trio.move_on_after(120):
            await seen.consume(feed)
        end, renewals = trio.current_time(), feed.stats.renewals
        judge(sim, seen, end, renewals, legs)


def judge(sim: SimulatedExchange, seen: Seen, end: float, renewals: int, legs: int) -> None:
    """Nothing lost, repeated or interrupted, and every life renewed before its end."""
    lost, repeated = compare(BINANCE, sim, seen, end - 1)
    assert renewals >= legs * 120 / 4
    assert len(seen.messages) > 10_000
    assert repeated == []
    assert in_order(BINANCE, seen.messages)
    assert [gap.reason for gap in seen.gaps] == []
    assert lost == []
    opened = sum(entry.what is What.OPENED for entry in sim.ledger)
    underway = opened - renewals - legs
    assert 0 <= underway <= legs
