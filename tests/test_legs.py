"""Several sockets for one feed: renewal before the end of a life, and legs that carry on for one another."""

import random
from datetime import datetime
from itertools import accumulate
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import SIMULATED, BinanceVenue, MemoryNetwork, SimulatedExchange, SimulatedVenue, Unknown, What
from actors.chaos.board import Venue
from actors.chaos.faults import Conduct
from actors.chaos.link import Link
from actors.chaos.venues.simulated import SimulatedSession
from actors.errors import Reason
from actors.events import (
    CodeRejected,
    Connected,
    Failed,
    GapReported,
    LegLive,
    LegLost,
    LinkState,
    Live,
    NoOverlap,
    Renewed,
    StateChanged,
)
from actors.exchange import Frame, Kind, Limits, Rate, Subscription, json_object
from actors.exchanges import BINANCE
from actors.items import Down
from actors.legs import Bundle
from actors.subscriptions import topics
from actors.transport.network import Address
from tests.oracle import compare, in_order, uncovered
from tests.scenes import EPOCH, scene, wall, watch

LIFE = 600.0
SHORT = attrs.evolve(SIMULATED, max_lifetime=LIFE)


def simulated(venue: Venue | None = None, *, rate: float = 1.0, seed: int = 7) -> SimulatedExchange:
    return SimulatedExchange(
        venue or SimulatedVenue(), rate=rate, port=None, wall=wall, random=random.Random(seed), keep=2_000_000
    )


async def test_a_session_is_renewed_before_its_life_ends(autojump_clock: trio.testing.MockClock) -> None:
    """Four lives of ten minutes: nothing is lost, repeated or interrupted, and two sockets never last long."""
    sim = simulated()
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SHORT, trade=["BTC-USD", "ETH-USD"])
        await watch(feeds, feed, seen, 4 * LIFE)
        assert feed.stats.state is LinkState.LIVE
        assert 4 <= feed.stats.sessions <= 6
        assert feed.stats.reconnect_count == 0
        end = trio.current_time()
    lost, repeated = compare(SHORT, sim, seen, end - 1)
    assert (lost, repeated) == ([], [])
    assert in_order(SHORT, seen.messages)
    assert seen.of(Down) == seen.gaps == []
    assert len(seen.of(Renewed)) == feed.stats.sessions - 1
    assert len(seen.of(Connected)) == len(seen.of(Live)) == 1
    assert seen.of(Failed) == []
    lives = {entry.connection: entry.at for entry in sim.ledger if entry.what is What.OPENED}
    ends = {entry.connection: entry.at for entry in sim.ledger if entry.what is What.CLOSED}
    assert all(ends[number] - lives[number] <= LIFE for number in ends)
    overlaps = [ends[number] - lives[number + 1] for number in ends if number + 1 in lives]
    assert all(0 < overlap < 30 for overlap in overlaps)


async def test_the_loss_of_one_leg_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Each leg of two is cut in turn: no gap, no Down, one event that tells it and one when it is back."""
    sim = simulated()
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SIMULATED, trade=["BTC-USD", "ETH-USD"], legs=2)
        cuts = [(60.0 * n, lambda: sim.cut(sim.connections[0].number)) for n in range(1, 10)]
        await watch(feeds, feed, seen, 600, *cuts)
        end = trio.current_time()
    lost, repeated = compare(SIMULATED, sim, seen, end - 1)
    assert (lost, repeated) == ([], [])
    assert in_order(SIMULATED, seen.messages)
    assert seen.of(Down) == seen.gaps == seen.of(Failed) == []
    assert len(seen.of(LegLost)) == 9
    assert all(event.left == 1 and event.reason is Reason.EOF for event in seen.of(LegLost))
    assert len(seen.of(LegLive)) == 10
    assert len(seen.of(Live)) == 1


async def test_all_legs_lost_is_an_interruption(autojump_clock: trio.testing.MockClock) -> None:
    """Both legs cut at once: one Down, one Gap with all that was lost in it, and Live again."""
    sim = simulated(rate=5)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SIMULATED, trade=["BTC-USD"], legs=2)
        await watch(feeds, feed, seen, 60, (30, sim.cut))
        assert feed.stats.state is LinkState.LIVE
        end = trio.current_time()
    lost, repeated = compare(SIMULATED, sim, seen, end - 1)
    assert lost
    assert uncovered(lost, seen) == []
    assert repeated == []
    assert len(seen.of(Down)) == len(seen.gaps) == len(seen.of(GapReported)) == 1
    assert len(seen.of(Live)) == 2
    assert [event.state for event in seen.of(StateChanged)].count(LinkState.DOWN) == 1


async def test_a_leg_that_has_not_settled_cannot_carry_on_alone(autojump_clock: trio.testing.MockClock) -> None:
    """The old socket is cut a second after the new one came: what was on its way to it only lies in a gap."""
    sim = simulated(rate=5)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(SIMULATED, max_lifetime=86_400), trade=["BTC-USD"])
        await watch(feeds, feed, seen, 20)
        [bundle] = feed.parts
        assert isinstance(bundle, Bundle)
        bundle.legs[0].replace("a test")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.consume, feed)
            with trio.fail_after(30):
                while len(sim.connections) < 2:
                    await bundle.moved.park()
            await trio.sleep(1)
            sim.cut(sim.connections[0].number)
            await trio.sleep(30)
            nursery.cancel_scope.cancel()
        end = trio.current_time()
    lost, repeated = compare(SIMULATED, sim, seen, end - 1)
    assert uncovered(lost, seen) == []
    assert repeated == []
    assert len(seen.of(Down)) == len(seen.gaps) == 1
    assert feed.stats.sessions == 2


async def test_a_servers_notice_brings_a_fresh_session(autojump_clock: trio.testing.MockClock) -> None:
    """Binance's serverShutdown: the next leg delivers before the old one is closed, and nothing is lost."""
    sim = simulated(BinanceVenue())
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        feed = feeds.open(BINANCE, trade=["BTC/USDT", "ETH/USDT"], book="BTC/USDT")
        notice = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'
        await watch(feeds, feed, seen, 60, (20, lambda: sim.say(notice)), (40, sim.cut))
        end = trio.current_time()
        assert feed.stats.sessions == 3
        assert feed.stats.renewals == 1
    lost, repeated = compare(BINANCE, sim, seen, end - 1)
    assert uncovered(lost, seen) == []
    assert repeated == []
    [renewed] = seen.of(Renewed)
    assert renewed.why.startswith("serverShutdown")
    [gap] = seen.gaps
    assert gap.since > EPOCH + 38 * 10**9


class Told(SimulatedSession):
    """A session that knows how OKX and Bitstamp say that they are about to close."""

    def classify(self, data: str | bytes) -> Frame:
        """Their notice asks for a fresh session."""
        match json_object(data):
            case {"event": "notice", "code": "64008", "msg": str(why)}:
                return Frame(Kind.NOTICE, why, renew=True)
            case {"event": "bts:request_reconnect"}:
                return Frame(Kind.NOTICE, "bts:request_reconnect", renew=True)
            case _:
                return super().classify(data)


@pytest.mark.parametrize(
    ("notice", "ahead"),
    [
        ('{"event":"notice","code":"64008","msg":"The connection will soon be closed.","connId":"a4d3ae55"}', 60),
        ('{"event":"bts:request_reconnect","channel":"","data":""}', 10),
    ],
    ids=["okx", "bitstamp"],
)
async def test_a_notice_of_any_profile(autojump_clock: trio.testing.MockClock, notice: str, ahead: float) -> None:
    """OKX gives a minute, Bitstamp "a few seconds" (5 s is what a fresh socket is watched for): heeded in time."""
    sim = simulated(rate=5)
    told = attrs.evolve(SIMULATED, make_session=Told, gives_notice=True)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(told, trade=["BTC-USD", "ETH-USD"])
        await watch(feeds, feed, seen, 120, (20, lambda: sim.say(notice)), (20 + ahead, lambda: sim.cut(1)))
        end = trio.current_time()
        assert feed.stats.sessions == 2
    assert compare(told, sim, seen, end - 1) == ([], [])
    assert [renewed.why for renewed in seen.of(Renewed)] == [Told(told, ()).classify(notice).detail]
    assert seen.of(Down) == seen.gaps == []


async def test_no_room_for_an_overlap(autojump_clock: trio.testing.MockClock) -> None:
    """Where one socket is all there may be, the old one is closed first: a gap each time, and one warning."""
    sim = simulated()
    alone = attrs.evolve(SHORT, limits=Limits(gate=Rate(5, 5), sockets=1))
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(alone, trade=["BTC-USD"])
        await watch(feeds, feed, seen, 3 * LIFE)
        end = trio.current_time()
        assert feed.stats.sessions >= 4
    lost, repeated = compare(alone, sim, seen, end - 1)
    assert uncovered(lost, seen) == []
    assert repeated == []
    assert len(seen.of(NoOverlap)) == 1
    assert len(seen.gaps) == feed.stats.sessions - 1
    assert {gap.reason for gap in seen.gaps} == {Reason.REQUESTED}
    assert most_at_once(sim) == 1


def most_at_once(sim: SimulatedExchange) -> int:
    """The most connections that were open at one time."""
    steps = {What.OPENED: 1, What.CLOSED: -1}
    return max(accumulate(steps[entry.what] for entry in sim.ledger if entry.what in steps))


@pytest.mark.slow
async def test_at_a_time_of_day(autojump_clock: trio.testing.MockClock) -> None:
    """Two legs of an exchange without a limit of life, each renewed once a day, one at a time, in the half hour."""
    sim = simulated(rate=0.01)
    calm = attrs.evolve(SIMULATED, ping_interval=600, link_timeout=1200, message_timeout=1200)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(calm, trade=["BTC-USD"], legs=2, renew_at="06:00/30m Asia/Seoul")
        await watch(feeds, feed, seen, 2 * 86_400)
        end = trio.current_time()
    lost, repeated = compare(SIMULATED, sim, seen, end - 1)
    assert (lost, repeated) == ([], [])
    assert seen.of(Down) == seen.gaps == []
    assert feed.stats.renewals == 4
    assert most_at_once(sim) == 3
    for event in seen.of(Renewed):
        when = datetime.fromtimestamp(EPOCH / 1e9 + event.at, ZoneInfo("Asia/Seoul"))
        assert (when.hour, when.minute // 32) == (6, 0)


async def test_each_leg_from_an_address_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """The networks are taken in turn, also by the successor of a leg."""
    sim = simulated()
    short = attrs.evolve(SHORT, max_lifetime=100.0)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        ways = [Counting({SIMULATED.host: sim}), Counting({SIMULATED.host: sim})]
        feed = feeds.open(short, trade=["BTC-USD"], legs=2, network=ways)
        await watch(feeds, feed, seen, 1000)
        assert feed.stats.renewals >= 20
    assert min(way.dialled for way in ways) >= 10
    assert sum(way.dialled for way in ways) == feed.stats.sessions


class Counting(MemoryNetwork):
    """Counts what is dialled."""

    dialled = 0

    async def connect(self, address: Address) -> trio.abc.Stream:
        """One more."""
        self.dialled += 1
        return await super().connect(address)


class Rigid(SimulatedSession):
    """A session whose subscriptions cannot be changed."""

    def change(self, subscriptions: tuple[Subscription, ...]) -> None:
        """Not on this connection."""


async def test_a_change_that_takes_a_fresh_session_overlaps(autojump_clock: trio.testing.MockClock) -> None:
    """Where the open session cannot be changed, a fresh one takes over first; the old codes miss nothing."""
    sim = simulated(rate=5)
    rigid = attrs.evolve(SIMULATED, make_session=Rigid, max_lifetime=86_400)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(rigid, trade=["BTC-USD"])
        await watch(feeds, feed, seen, 60, (20, lambda: feeds.add(feed.name, trade=["ETH-USD"])))
        assert feed.stats.renewals == 1
        assert feed.stats.sessions == 2
    assert {message.code for message in seen.messages} == {"BTC-USD", "ETH-USD"}
    numbers = [mark.order for m in seen.messages if (mark := rigid.mark(m.data)) and mark.key[1] == "BTC-USD"]
    assert numbers == [*range(numbers[0] or 0, (numbers[-1] or 0) + 1)]
    assert seen.of(Down) == seen.gaps == []


async def test_a_mute_successor_replaces_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A fresh session that is confirmed and brings no data is never trusted: the old one goes on until it is cut."""
    sim = simulated()
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SHORT, trade=["BTC-USD"])
        sim.open_silent(pongs=True)
        sim.resume()
        await watch(feeds, feed, seen, LIFE * 1.2, (LIFE / 3, lambda: sim.open_silent(pongs=True)))
        assert seen.of(Renewed) == []
        assert len(seen.of(LegLost)) >= 1
        end = trio.current_time()
    lost, repeated = compare(SHORT, sim, seen, end - 1)
    assert lost == []
    assert repeated == []


async def test_a_dead_link_is_found_by_what_another_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """Binance has no probe: after half of message_timeout a second socket is opened; what only it brings decides."""
    sim = simulated(BinanceVenue())
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        feed = feeds.open(BINANCE, trade=["BTC/USDT"])
        await watch(feeds, feed, seen, 240, (20, lambda: mute(sim.connections[0])))
        assert feed.stats.sessions == 2
        assert feed.stats.state is LinkState.LIVE
        end = trio.current_time()
    lost, repeated = compare(BINANCE, sim, seen, end - 1)
    assert len(lost) > 100
    assert uncovered(lost, seen) == []
    assert repeated == []
    [down], [gap], [told] = seen.of(Down), seen.gaps, seen.of(LegLost)
    assert down.reason is gap.reason is told.reason is Reason.MESSAGE_TIMEOUT
    assert "another connection" in told.detail
    assert 150 <= gap.seconds <= 160
    assert told.at < 20 + BINANCE.message_timeout
    assert most_at_once(sim) == 2


async def test_a_successor_that_is_not_confirmed_tries_again(autojump_clock: trio.testing.MockClock) -> None:
    """Its data flow, but its ack was lost: it would never take over, and nothing is lost if it begins anew."""
    sim = simulated()
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen), trio.open_nursery() as nursery:
        feed = feeds.open(SHORT, trade=["BTC-USD"])
        nursery.start_soon(seen.consume, feed)
        await trio.sleep(LIFE * 0.8)
        sim.open_silent(pongs=True)
        while len(sim.connections) < 2:  # noqa: ASYNC110 - the clock is virtual
            await trio.sleep(0.5)
        sim.resume()
        await trio.sleep(60)
        assert len(sim.connections) == 1
        assert feed.stats.renewals == 1
        nursery.cancel_scope.cancel()
    [told] = seen.of(LegLost)
    assert (told.reason, told.left) == (Reason.SUB_TIMEOUT, 1)
    assert "data flows" in told.detail
    assert seen.of(Down) == seen.gaps == []


def mute(link: Link) -> None:
    """No more data on this connection; pings and acks go on."""
    link.conduct = Conduct(data=False)


async def test_a_quiet_market_is_no_dead_link(autojump_clock: trio.testing.MockClock) -> None:
    """A message in half an hour: a second socket stays beside the first until one comes, and there is no verdict."""
    sim = simulated(BinanceVenue(), rate=1 / 1800)
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        feed = feeds.open(BINANCE, trade=["BTC/USDT"])
        await watch(feeds, feed, seen, 4 * 3600)
        silences = len(seen.messages) + 1
        assert silences <= feed.stats.sessions <= silences + 1
        assert most_at_once(sim) == 2
        end = trio.current_time()
    lost, repeated = compare(BINANCE, sim, seen, end - 1)
    assert silences > 6
    assert (lost, repeated) == ([], [])
    assert seen.of(Down) == seen.gaps == seen.of(Failed) == seen.of(LegLost) == []


async def test_a_leg_lost_while_its_successor_is_refused_is_dialled_again_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A successor in quarantine carries nothing: the old leg's own attempt counts, not the slow retry."""
    sim = simulated()
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SHORT, trade=["BTC-USD"])
        await watch(feeds, feed, seen, LIFE / 3)
        [bundle] = feed.parts
        assert isinstance(bundle, Bundle)
        sim.reject(403)
        bundle.legs[0].replace("a test")
        await watch(feeds, feed, seen, 30)
        assert [leg.stats.state for leg in bundle.legs] == [LinkState.LIVE, LinkState.QUARANTINED]
        sim.resume()
        sim.cut()
        await watch(feeds, feed, seen, 5)
        assert [leg.stats.state for leg in bundle.legs] == [LinkState.LIVE]
        assert feed.stats.state is LinkState.LIVE
    assert len(seen.of(Down)) == len(seen.gaps) == 1


@pytest.mark.parametrize("unknown", [Unknown.REFUSED, Unknown.FATAL])
async def test_a_bad_code_on_two_legs_is_found_once(autojump_clock: trio.testing.MockClock, unknown: Unknown) -> None:
    """Both legs are refused; what the one finds, the other leaves out too, and both carry the rest."""
    codes = [f"C{n}-USD" for n in range(10)]
    sim = SimulatedExchange(
        SimulatedVenue(unknown=unknown), codes=codes, rate=1, port=None, wall=wall, random=random.Random(7)
    )
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(SIMULATED, trade=[*codes, "BAD-USD"], legs=2)
        await watch(feeds, feed, seen, 600)
        assert feed.stats.state is LinkState.LIVE
        [bundle] = feed.parts
        assert isinstance(bundle, Bundle)
        assert [leg.stats.state for leg in bundle.legs] == [LinkState.LIVE] * 2
        assert {topic[1] for leg in bundle.legs for topic in topics(leg.asked())} == set(codes)
    assert [event.code for event in seen.of(CodeRejected)] == ["BAD-USD"]
    assert {message.code for message in seen.messages} == set(codes)
