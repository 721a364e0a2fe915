"""One list, many sockets: shards, subscriptions that change while they are open, and losses by sequence."""

import json
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import SIMULATED, BinanceVenue, Role, SimulatedExchange, SimulatedVenue, Unknown, UpbitVenue, What
from actors.chaos.venues.simulated import SimulatedSession
from actors.errors import Reason
from actors.events import CodeRejected, Connected, GapReported, LinkState, Live, NothingLost
from actors.exchange import Exchange, Frame, Limits, Rate
from actors.exchanges import BINANCE, UPBIT
from actors.items import Down
from tests.scenes import scene, wall, watch

CODES = [f"C{n}-USD" for n in range(2000)]


def simulated(codes: Sequence[str], *, rate: float = 1.0, unknown: Unknown = Unknown.PASSED_OVER) -> SimulatedExchange:
    return SimulatedExchange(
        SimulatedVenue(unknown=unknown), codes=codes, rate=rate, port=None, wall=wall, random=random.Random(7)
    )


def narrow(most: int, **fields: Any) -> Exchange:
    """The simulated exchange with so many codes a socket."""
    limits = Limits(gate=Rate(5, 5.0), subscriptions=most)
    return attrs.evolve(SIMULATED, limits=limits, **fields)


def subscribed(sim: SimulatedExchange) -> dict[int, set[str]]:
    """The codes that each open connection has asked for, by its number."""
    found: dict[int, set[str]] = {}
    for entry in sim.ledger:
        match entry.what:
            case What.RECEIVED if entry.data and '"codes"' in str(entry.data):
                request = json.loads(entry.data)
                codes = found.setdefault(entry.connection, set())
                (codes.update if request["op"] == "subscribe" else codes.difference_update)(request["codes"])
            case What.CLOSED:
                found.pop(entry.connection, None)
            case _:
                pass
    return found


@pytest.mark.slow
async def test_two_thousand_codes_at_thirty_a_socket(autojump_clock: trio.testing.MockClock) -> None:
    """67 sockets, live as soon as the gate lets them; the loss of one names its thirty codes and touches no other."""
    sim = simulated(CODES, rate=0.01)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(narrow(30), name="all", trade=CODES)
        await feed.live(70)
        assert trio.current_time() <= 67
        assert len(feed.parts) == 67
        assert sorted(map(len, subscribed(sim).values())) == [20, *[30] * 66]
        assert set().union(*subscribed(sim).values()) == set(CODES)
        assert len(seen.of(Connected)) == 67
        assert len(seen.of(Live)) == 1
        victim = min(subscribed(sim))
        codes = subscribed(sim)[victim]
        await watch(feeds, feed, seen, 400, (10, lambda: sim.cut(victim)))
        assert feed.stats.state is LinkState.LIVE
        assert feed.stats.sessions == 68
    [down], [gap] = seen.of(Down), [gap for gap in seen.gaps if gap.codes]
    assert set(down.codes) == set(gap.codes) == codes
    assert gap.reason is Reason.EOF
    assert len(seen.of(Live)) == 2


async def test_codes_come_and_go(autojump_clock: trio.testing.MockClock) -> None:
    """What is added fills the emptiest socket, then a new one; what stays is not moved; an empty socket is closed."""
    sim = simulated(CODES)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(narrow(3), name="some", trade=CODES[:4])
        await feed.live(20)
        assert sorted(map(sorted, subscribed(sim).values())) == [CODES[:3], [CODES[3]]]
        first, second = sorted(subscribed(sim), key=lambda number: -len(subscribed(sim)[number]))
        for code in CODES[4:7]:
            feeds.add("some", trade=code)
        await trio.sleep(20)
        third = max(subscribed(sim))
        assert subscribed(sim) == {first: set(CODES[:3]), second: set(CODES[3:6]), third: {CODES[6]}}
        changes = [entry for entry in sim.ledger if entry.connection == second and entry.what is What.RECEIVED]
        assert sum('"subscribe"' in str(entry.data) for entry in changes) == 2  # two additions, gathered into one
        feeds.remove("some", trade=[CODES[0], CODES[6]])
        await trio.sleep(5)
        assert subscribed(sim) == {first: set(CODES[1:3]), second: set(CODES[3:6])}
        with pytest.raises(ValueError, match="nothing would be left of the feed some"):
            feeds.remove("some", trade=CODES)
        with pytest.raises(KeyError):
            feeds.add("none", trade=CODES[0])
        sim.cut()
        await trio.sleep(30)
        assert sorted(map(sorted, subscribed(sim).values())) == [CODES[1:3], CODES[3:6]]
        assert feed.stats.state is LinkState.LIVE
    assert seen.gaps == []


async def test_one_socket_changes_in_place(autojump_clock: trio.testing.MockClock) -> None:
    """Upbit takes the whole list again: the session lives on, and codes that stayed miss nothing."""
    sim = SimulatedExchange(
        UpbitVenue(), codes=["KRW-BTC", "KRW-ETH", "KRW-XRP"], rate=5.0, port=None, wall=wall, random=random.Random(7)
    )
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feed = feeds.open(UPBIT, name="up", trade="KRW-BTC")
        act = (
            (10, lambda: feeds.add("up", trade="KRW-ETH")),
            (20, lambda: feeds.remove("up", trade="KRW-BTC")),
            (20.01, lambda: feeds.add("up", trade="KRW-XRP")),
        )
        await watch(feeds, feed, seen, 30, *act)
        assert feed.stats.sessions == 1
    codes = [message.code for message in seen.messages]
    assert set(codes[-20:]) == {"KRW-ETH", "KRW-XRP"}
    assert {"KRW-BTC", "KRW-ETH"} <= set(codes)
    assert seen.gaps == []
    sent = [entry.data for entry in sim.ledger if entry.role is Role.DATA and entry.what is What.SENT]
    delivered = {message.data for message in seen.messages}
    assert [data for data in sent if data not in delivered and "SNAPSHOT" not in str(data)][:1] in ([], sent[-1:])


async def test_a_code_that_is_rejected_is_named_and_the_others_live_on(autojump_clock: trio.testing.MockClock) -> None:
    """It is told once, is not asked for again after a cut, and leaves its place to another."""
    sim = simulated(CODES[:5], unknown=Unknown.NAMED)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(narrow(3), name="some", trade=[CODES[0], "NO-USD", CODES[1]])
        await feed.live(20)
        sim.cut()
        await trio.sleep(20)
        feeds.add("some", trade=CODES[2])
        await trio.sleep(20)
        assert list(subscribed(sim).values()) == [set(CODES[:3])]
        assert feed.stats.state is LinkState.LIVE
    [event] = seen.of(CodeRejected)
    assert (event.channel, event.code, event.detail) == ("trade", "NO-USD", "no such code")


async def test_a_hole_in_a_live_session_is_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    """With the check on, messages that a live session lost are a certain gap, with their number and their numbers."""
    sim = simulated(["A-USD", "B-USD"], rate=2.0)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(SIMULATED, check_sequence=True), trade=["A-USD", "B-USD"])
        await watch(feeds, feed, seen, 60, (20, lambda: sim.skip(3)), (40, sim.cut))
        assert feed.stats.sessions == 2
    found = [gap for gap in seen.gaps if gap.reason is Reason.SEQ_GAP]
    assert sum(gap.lost or 0 for gap in found) == 3
    for gap in found:
        assert gap.certain
        assert len(gap.codes) == 1
        assert gap.expected is not None
        assert gap.got == gap.expected + (gap.lost or 0)
    assert [gap.reason for gap in seen.gaps if gap not in found] == [Reason.EOF]
    assert {event.reason for event in seen.of(GapReported)} == {Reason.SEQ_GAP, Reason.EOF}
    lost = [entry for entry in sim.ledger if entry.what is What.LOST]
    for entry in lost[:3]:
        assert any(gap.since <= entry.wall <= gap.until for gap in found)


async def test_without_the_check_nothing_is_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    """A feed as it ships does not open its messages."""
    sim = simulated(["A-USD"], rate=2.0)

    def never(data: str | bytes) -> None:
        raise AssertionError(data)

    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(SIMULATED, mark=never), trade="A-USD")
        await watch(feeds, feed, seen, 30, (10, lambda: sim.skip(3)))
    assert seen.gaps == []
    assert len(seen.messages) > 20


class OneBadCode(SimulatedSession):
    """A session whose parser has a bug that one code alone shows."""

    def classify(self, data: str | bytes) -> Frame:
        if f'"{CODES[0]}"' in str(data) and '"trade"' in str(data):
            raise RuntimeError("a bug of ours")
        return super().classify(data)


async def test_a_bug_that_one_socket_shows_quarantines_its_feed_alone(autojump_clock: trio.testing.MockClock) -> None:
    """Its feed is tried again every 300 s, its sockets all the same; another feed of many sockets notices nothing."""
    sim = simulated(CODES[:4])
    async with scene({SIMULATED.host: sim}) as (feeds, _, _):
        feed = feeds.open(narrow(2, make_session=OneBadCode), name="some", trade=CODES[:4])
        other = feeds.open(narrow(1), name="other", trade=CODES[2:4])
        await trio.sleep(1200)
        assert feed.stats.sessions > 10
        assert (other.stats.state, other.stats.sessions) == (LinkState.LIVE, 2)


async def test_a_limited_profile_without_subscriptions_has_one_socket(autojump_clock: trio.testing.MockClock) -> None:
    """What is sent on opening decides there; it connects, and can be subscribed to later."""
    sim = simulated(CODES[:3])
    async with scene({SIMULATED.host: sim}) as (feeds, _, _seen):
        feed = feeds.open(narrow(3), name="bare")
        await trio.sleep(5)
        assert feed.stats.sessions == 1
        feeds.add("bare", trade=CODES[0])
        await trio.sleep(5)
        assert list(subscribed(sim).values()) == [{CODES[0]}]


async def test_a_lost_socket_whose_codes_are_removed_ends_with_its_gap(autojump_clock: trio.testing.MockClock) -> None:
    """No consumer is left with a Down that nothing follows."""
    sim = simulated(CODES[:2])
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(narrow(1), name="two", trade=CODES[:2])
        await feed.live(20)

        def lose() -> None:
            sim.refuse()
            sim.cut(next(number for number, codes in subscribed(sim).items() if CODES[1] in codes))

        await watch(feeds, feed, seen, 30, (10, lose), (15, lambda: feeds.remove("two", trade=CODES[1])))
    assert [down.codes for down in seen.of(Down)] == [gap.codes for gap in seen.gaps] == [(CODES[1],)]


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize(("quiet", "lost"), [(True, False), (False, True)])
async def test_an_interruption_in_which_nothing_can_have_been_lost_is_no_gap(
    autojump_clock: trio.testing.MockClock, *, quiet: bool, lost: bool, legs: int
) -> None:
    """Snapshots that repeat the last of every code end an interruption without a gap; news make it one."""
    codes = ["KRW-BTC", "KRW-ETH"]
    sim = SimulatedExchange(UpbitVenue(), rate=0.2, port=None, wall=wall, random=random.Random(7))
    async with scene({UPBIT.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(UPBIT, check_sequence=True, message_timeout=0), trade=codes, legs=legs)
        await watch(feeds, feed, seen, 60)
        if quiet:
            for code in codes:
                sim.board.hush(code)
        await watch(feeds, feed, seen, 60, (10, lambda: sim.refuse(20)), (10.1, sim.cut))
        assert feed.stats.state is LinkState.LIVE
    assert len(seen.of(Down)) == 1
    assert len(seen.gaps) == len(seen.of(GapReported)) == lost
    assert len(seen.of(NothingLost)) == quiet
    assert len(seen.messages) > 20


async def test_what_was_not_subscribed_to_in_between_is_no_loss(autojump_clock: trio.testing.MockClock) -> None:
    """A code that is taken away and comes back has missed numbers, and nothing that anybody wanted."""
    venue = BinanceVenue()
    sim = SimulatedExchange(venue, rate=2.0, port=None, wall=wall, random=random.Random(7))
    async with scene({BINANCE.host: sim}) as (feeds, _, seen):
        for life, legs in ((0, 1), (86_400, 1), (86_400, 2)):
            checked = attrs.evolve(BINANCE, check_sequence=True, max_lifetime=life)
            feed = feeds.open(checked, trade=venue.codes[:2], legs=legs, name=f"legs-{legs}-{life}")
            away, back = feeds.remove, feeds.add
            script = [
                (at, partial(change, feed.name, trade=venue.codes[1])) for at, change in ((10.0, away), (20.0, back))
            ]
            await watch(feeds, feed, seen, 30, *script)
    assert len(seen.messages) > 100
    assert seen.gaps == []
