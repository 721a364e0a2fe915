"""Codes that do not exist, through real connectors: they are found, told of once, and the others live on."""

import random
from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import SIMULATED, BinanceVenue, SimulatedExchange, SimulatedVenue, Unknown, UpbitVenue, What
from actors.chaos.board import Board, Follower, Venue
from actors.chaos.link import Link
from actors.chaos.venues.binance import BinanceConversation
from actors.chaos.venues.simulated import SimulatedSession
from actors.chaos.venues.upbit_family import UpbitConversation
from actors.errors import Reason, Way, after
from actors.events import CodeRejected, Connected, Failed, LinkState, Reconnecting
from actors.exchange import Exchange, Frame, Kind, Limits, Rate, Subscription
from actors.exchanges import BINANCE, UPBIT
from actors.subscriptions import topics
from tests.scenes import Seen, scene, wall

COUNT = 50


class StrictBinance(BinanceConversation):
    """Refuses a request with an unknown stream without naming it."""

    def received(self, data: str | bytes) -> None:
        """As the venue, but for what is unknown."""
        if "SUBSCRIBE" in str(data) and "bad" in str(data):
            self.link.send('{"code":2,"msg":"Invalid request","id":' + str(data).rpartition(":")[2])
        else:
            super().received(data)


class FatalBinance(BinanceConversation):
    """Hangs up on an unknown stream."""

    def received(self, data: str | bytes) -> None:
        """As the venue, but for what is unknown."""
        if "SUBSCRIBE" in str(data) and "bad" in str(data):
            self.link.end(None, "an unknown stream")
        else:
            super().received(data)


class FatalUpbit(UpbitConversation):
    """Says that a parameter is wrong and hangs up, whatever else the array asks for."""

    def received(self, data: str | bytes) -> None:
        """As the venue, but for what is unknown."""
        if "BAD" in str(data):
            self.link.end(1008, "bad code")
        else:
            super().received(data)


class StrictBinanceVenue(BinanceVenue):
    """Its rules."""

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return StrictBinance(link, board, self)


class FatalBinanceVenue(BinanceVenue):
    """Its rules."""

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return FatalBinance(link, board, self)


class FatalUpbitVenue(UpbitVenue):
    """Its rules."""

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return FatalUpbit(link, board, self)


@attrs.frozen
class Case:
    """An exchange, and how it rejects."""

    exchange: Exchange
    venue: Venue
    spelled: str
    bad: str
    kills: bool


CASES = {
    "named": Case(SIMULATED, SimulatedVenue(unknown=Unknown.NAMED), "S{}-USD", "BAD{}-USD", kills=False),
    "refused": Case(SIMULATED, SimulatedVenue(unknown=Unknown.REFUSED), "S{}-USD", "BAD{}-USD", kills=False),
    "fatal": Case(SIMULATED, SimulatedVenue(unknown=Unknown.FATAL), "S{}-USD", "BAD{}-USD", kills=True),
    "binance names": Case(BINANCE, BinanceVenue(acks_unknown=False), "S{}USDT", "BAD{}USDT", kills=False),
    "binance does not name": Case(BINANCE, StrictBinanceVenue(), "S{}USDT", "BAD{}USDT", kills=False),
    "binance hangs up": Case(BINANCE, FatalBinanceVenue(), "S{}USDT", "BAD{}USDT", kills=True),
    "upbit hangs up": Case(UPBIT, FatalUpbitVenue(), "KRW-S{}", "KRW-BAD{}", kills=True),
}


def lists(case: Case, *places: int, count: int = COUNT) -> tuple[list[str], list[str], list[str]]:
    """A whole list, with bad codes at these places; its good and its bad ones."""
    good = [case.spelled.format(n) for n in range(count - len(places))]
    bad = [case.bad.format(n) for n in range(len(places))]
    whole = list(good)
    for place, code in zip(places, bad, strict=True):
        whole.insert(place, code)
    return whole, good, bad


def exchange(case: Case, good: list[str], rate: float = 0.1) -> SimulatedExchange:
    """The simulated exchange that lists the good ones."""
    return SimulatedExchange(case.venue, codes=good, rate=rate, port=None, wall=wall, random=random.Random(7))


def rejected(seen: Seen) -> list[str]:
    """The codes that were told of, in upper case."""
    return sorted(event.code.upper() for event in seen.of(CodeRejected))


def heard(sim: SimulatedExchange, seconds: float) -> set[str]:
    """The codes whose data were sent in the last so many seconds."""
    since = trio.current_time() - seconds
    return {entry.code for entry in sim.ledger if entry.what is What.SENT and entry.code and entry.at >= since}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("places", [(17,), (0, 24, 47)])
async def test_bad_codes_of_fifty(autojump_clock: trio.testing.MockClock, name: str, places: tuple[int, ...]) -> None:
    """Each is told of once and the others bring data, on the first session where it lives through a rejection.

    Where it does not, only the hang-ups that raised the suspicion are failures; the search is our own wish.
    """
    case = CASES[name]
    whole, good, bad = lists(case, *places)
    sim = exchange(case, good)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(case.exchange, name="some", trade=whole)
        await trio.sleep(1500)
        assert rejected(seen) == bad
        assert feed.stats.state is LinkState.LIVE
        assert heard(sim, 60) == set(good)
        sessions = feed.stats.sessions
        assert sessions == 1 or (case.kills and sessions <= 3 + 7 * len(bad))
        # what was left out is not asked for again
        sim.cut()
        await trio.sleep(120)
        assert feed.stats.sessions == sessions + 1
        assert rejected(seen) == bad
        assert heard(sim, 60) == set(good)
    failures = [event.reason for event in seen.of(Failed)]
    assert len([reason for reason in failures if reason is not Reason.REQUESTED]) == (3 if case.kills else 1)
    connects = [event.at for event in seen.of(Connected)]
    for first, last in zip(connects, connects[5:], strict=False):
        assert last - first >= 5, "the gate lets no more than one a second through"


@pytest.mark.parametrize("name", ["named", "refused", "binance names", "binance does not name"])
async def test_the_others_live_while_it_is_looked_for(autojump_clock: trio.testing.MockClock, name: str) -> None:
    """On a live session ten seconds are enough, and no message says anything else than what is true."""
    case = CASES[name]
    whole, good, bad = lists(case, 17)
    sim = exchange(case, good, rate=5)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(case.exchange, name="some", trade=whole)
        await feed.live(10)
        await trio.sleep(10)
        assert rejected(seen) == bad
        assert heard(sim, 3) == set(good)
    assert seen.of(Failed) == []


@pytest.mark.parametrize("name", ["refused", "binance does not name", "fatal", "upbit hangs up"])
async def test_where_every_code_is_bad(autojump_clock: trio.testing.MockClock, name: str) -> None:
    """No code is blamed: the feed says that nothing is accepted, is tried again every 300 s, and recovers."""
    case = CASES[name]
    whole, _, _ = lists(case, *range(6), count=6)
    sim = exchange(case, [])
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(case.exchange, name="some", trade=whole)
        await trio.sleep(1500)
        said = [event for event in seen.of(Failed) if event.reason is Reason.SUB_REJECTED]
        assert said
        assert "none of its 6 codes is accepted" in said[0].detail
        slow = [event for event in seen.of(Reconnecting) if event.way is Way.QUARANTINE]
        assert slow[0].delay >= 300
        assert rejected(seen) == []
        assert len(topics(feed.subscriptions)) == 6


async def test_an_exchange_that_hangs_up_on_everybody_costs_no_code(autojump_clock: trio.testing.MockClock) -> None:
    """It greets and hangs up for three minutes: the list is suspected, and cleared in seconds once it is well."""
    case = CASES["refused"]
    whole, good, _ = lists(case)
    sim = exchange(case, good, rate=1)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(case.exchange, name="some", trade=whole)
        sim.close_at_once()
        await trio.sleep(180)
        assert feed.stats.sessions > 5
        sim.resume()
        await feed.live(70)
        await trio.sleep(10)
        assert heard(sim, 10) == set(good)
    assert rejected(seen) == []


async def test_a_bad_code_that_is_added_later(autojump_clock: trio.testing.MockClock) -> None:
    """It kills the live socket of the others: it is found, and taken again when it is asked for and exists."""
    case = CASES["fatal"]
    whole, good, bad = lists(case, 5, count=20)
    sim = exchange(case, [*good, "NEW-USD"])
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(case.exchange, name="some", trade=good)
        await feed.live(10)
        feeds.add("some", trade=["NEW-USD", *bad])
        await trio.sleep(600)
        assert rejected(seen) == bad
        assert heard(sim, 30) == {*good, "NEW-USD"}
        before = feed.stats.sessions
        feeds.add("some", trade=whole[:3])
        await trio.sleep(30)
        assert feed.stats.sessions == before


async def test_each_socket_has_a_sieve_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """A bad code stops no other socket of its feed, and leaves its place to another code."""
    case = CASES["fatal"]
    whole, good, bad = lists(case, 7, count=30)
    sim = exchange(case, good, rate=1)
    narrow = attrs.evolve(case.exchange, limits=Limits(gate=Rate(5, 5.0), subscriptions=10))
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(narrow, name="some", trade=whole)
        await trio.sleep(20)
        assert {code for code in good if code not in whole[:10]} <= heard(sim, 10)
        await trio.sleep(600)
        assert rejected(seen) == bad
        assert heard(sim, 30) == set(good)
        assert feed.stats.state is LinkState.LIVE
        assert len(feed.parts) == 3


class OnlyFresh(SimulatedSession):
    """A session whose list only another session can change."""

    def change(self, subscriptions: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """There is no way."""
        del subscriptions
        return None


@pytest.mark.parametrize("name", ["refused", "fatal"])
async def test_where_each_trial_takes_a_session(autojump_clock: trio.testing.MockClock, name: str) -> None:
    """It takes longer, but it is found, and nobody is cut off for the last trial's sake."""
    case = CASES[name]
    whole, good, bad = lists(case, 3, count=10)
    sim = exchange(case, good, rate=0.5)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(case.exchange, make_session=OnlyFresh), name="some", trade=whole)
        await trio.sleep(1500)
        assert rejected(seen) == bad
        assert heard(sim, 60) == set(good)
        assert feed.stats.sessions <= 16


async def test_what_the_server_asks_for_is_kept_while_a_code_is_looked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Binance's 1008 is to be answered by a minute of rest: no trial begins sooner."""
    case = CASES["binance hangs up"]
    whole, good, bad = lists(case, 1, count=4)

    class Strict(FatalBinance):
        def received(self, data: str | bytes) -> None:
            if "bad" in str(data):
                self.link.end(1008, "policy")
            else:
                super().received(data)

    class Venue(BinanceVenue):
        def follower(self, link: Link, board: Board) -> Follower:
            return Strict(link, board, self)

    sim = exchange(attrs.evolve(case, venue=Venue()), good)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feeds.open(case.exchange, name="some", trade=whole)
        await trio.sleep(1200)
        assert rejected(seen) == bad
        assert heard(sim, 60) == set(good)
    assert all(event.delay >= 60 for event in seen.of(Reconnecting))


class RefusesAndHangsUp(StrictBinance):
    """Says that the request is invalid, and closes."""

    def received(self, data: str | bytes) -> None:
        """As the venue, but for what is unknown."""
        super().received(data)
        if "SUBSCRIBE" in str(data) and "bad" in str(data):
            self.link.close(1000, "invalid request")


class RefusesAndHangsUpVenue(BinanceVenue):
    """Its rules."""

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return RefusesAndHangsUp(link, board, self)


async def test_a_word_and_then_a_close(autojump_clock: trio.testing.MockClock) -> None:
    """The word says what the close is for: no hang-up is counted as an outage, from the first on."""
    case = attrs.evolve(CASES["binance hangs up"], venue=RefusesAndHangsUpVenue())
    whole, good, bad = lists(case, 3, count=10)
    sim = exchange(case, good)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feeds.open(case.exchange, name="some", trade=whole)
        await trio.sleep(900)
        assert rejected(seen) == bad
        assert heard(sim, 60) == set(good)
    assert {event.reason for event in seen.of(Failed)} == {Reason.REQUESTED}


class TakesItLater(SimulatedSession):
    """Knows that a refusal is for the moment only."""

    def classify(self, data: str | bytes) -> Frame:
        """As the session, with other advice."""
        frame = super().classify(data)
        return attrs.evolve(frame, advice=after(30)) if frame.kind is Kind.REJECTED else frame


async def test_a_list_that_is_refused_for_the_moment_is_not_searched(autojump_clock: trio.testing.MockClock) -> None:
    """The exchange says when to come back: then the whole list is asked for again."""
    case = CASES["refused"]
    whole, good, bad = lists(case, 3, count=10)
    sim = exchange(case, good)
    async with scene({case.exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(case.exchange, make_session=TakesItLater), name="some", trade=whole)
        await trio.sleep(100)
        assert {event.reason for event in seen.of(Failed)} == {Reason.SUB_REJECTED}
        assert all(event.delay >= 30 for event in seen.of(Reconnecting))
        assert {code for _, code in topics(feed.subscriptions)} == {*good, *bad}
    assert rejected(seen) == []
