"""What a busy code's own rhythm says of its silence, and what is done about it: a warning, then one subscription."""

import itertools
import json
import math
import random
from collections import defaultdict

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.chaos import SIMULATED, BinanceVenue, SimulatedExchange, SimulatedVenue, UpbitVenue, What
from actors.chaos.board import Venue
from actors.chaos.capture import read_capture
from actors.chaos.ledger import Shape
from actors.events import Failed, Quiet, Resubscribed
from actors.exchange import Exchange, Session, Subscription
from actors.exchanges import BINANCE, UPBIT
from actors.rhythm import ENOUGH, FACTOR, LEAST, SPAN, STEADY, Rhythm
from tests.captures import CAPTURES
from tests.scenes import scene, wall


def learned(interval: float) -> Rhythm:
    """A rhythm of this interval, known for some spans."""
    rhythm = Rhythm(0)
    for n in range(1, round(max(3 * SPAN / interval, 3 * ENOUGH))):
        rhythm.heard(interval, n * interval)
    return rhythm


def test_a_silence_is_measured_by_the_longest_interval() -> None:
    """Never below ten seconds, and never while too little is known."""
    assert learned(0.1).limit == LEAST
    assert learned(30.0).limit == FACTOR * 30
    rhythm = Rhythm(0)
    for n in range(1, ENOUGH):
        rhythm.heard(60, n * 60)
        assert rhythm.limit == float("inf")
    rhythm.heard(60, ENOUGH * 60)
    assert rhythm.limit == FACTOR * 60
    busy = Rhythm(0)
    for n in range(1, 5999):
        busy.heard(0.1, n / 10)
    assert busy.limit == float("inf"), "many messages are no long time"


def test_what_is_long_ago_is_forgotten() -> None:
    """The longest interval counts for one span at least, and for two at most."""
    rhythm = learned(1.0)
    now = rhythm.began + 1
    rhythm.heard(50, now)
    assert rhythm.limit == FACTOR * 50
    for n in range(1, 3 * round(SPAN)):
        rhythm.heard(1, now + n)
        if n < SPAN:
            assert rhythm.limit == FACTOR * 50
    assert rhythm.limit == LEAST


def test_in_one_silence_it_is_tried_ever_more_rarely() -> None:
    """Each try doubles the limit; a snapshot does not take that back, a code that is back does."""
    rhythm = learned(1.0)
    for n in range(5):
        assert rhythm.limit == LEAST * 2**n
        rhythm.tried()
        rhythm.heard(1, 10_000)
    for _ in range(STEADY):
        rhythm.heard(1, 10_000)
    assert rhythm.limit == LEAST


@given(st.integers(0, 2**32), st.floats(0.05, 20))
def test_random_arrivals_are_no_silence(seed: int, mean: float) -> None:
    """Poisson arrivals, for ten spans: no interval is beyond the rhythm of those before."""
    draw, rhythm, now = random.Random(seed), Rhythm(0), 0.0
    for _ in range(min(20_000, round(max(10 * SPAN / mean, 5 * ENOUGH)))):
        interval = draw.expovariate(1 / mean)
        assert interval <= rhythm.limit
        now += interval
        rhythm.heard(interval, now)


def cadences(name: str, exchange: Exchange) -> dict[tuple[str, str], list[float]]:
    """The intervals between the arrivals of each channel and code of a captured session, where there are eight."""
    file = CAPTURES / f"{name}.ndjson"
    if not file.exists():
        pytest.skip(f"no captured session {name!r} beside the checkout")
    arrivals: dict[tuple[str, str], list[float]] = defaultdict(list)
    for frame in read_capture(file).frames:
        arrivals[exchange.describe(frame.data)].append(frame.after)
    intervals = {key: [b - a for a, b in itertools.pairwise(times) if b > a] for key, times in arrivals.items()}
    return {key: each for key, each in intervals.items() if len(each) >= 7}


@pytest.mark.parametrize(("name", "exchange"), [("upbit", UPBIT), ("binance", BINANCE)])
def test_a_quiet_night_of_real_cadences(name: str, exchange: Exchange) -> None:
    """Intervals of recorded codes, drawn for ten hours in which they become twenty times as long, and short again.

    Nothing is beyond its rhythm: no code is subscribed to for nothing.
    """
    draw, hours = random.Random(5), 10
    for intervals in cadences(name, exchange).values():
        rhythm, now, drawn = Rhythm(0), 0.0, 0
        while now < hours * 3600:
            stretch = 20 ** math.sin(math.pi * now / (hours * 3600))
            interval = draw.choice(intervals) * stretch
            assert interval <= rhythm.limit
            now += interval
            drawn += 1
            rhythm.heard(interval, now)
        assert rhythm.limit < math.inf or drawn < 2 * ENOUGH


def test_once_more_on_the_same_session() -> None:
    """The default asks for the rest, then for the whole; a session that cannot change cannot be asked."""
    talk = BINANCE.session((Subscription("trade", ("btcusdt", "ethusdt")),))
    frames = talk.again((Subscription("trade", ("btcusdt",)),))
    assert frames is not None
    assert [json.loads(frame)["method"] for frame in frames] == ["UNSUBSCRIBE", "SUBSCRIBE"]
    assert [json.loads(frame)["params"] for frame in frames] == [["ethusdt@trade"]] * 2
    assert talk.subscriptions == (Subscription("trade", ("btcusdt", "ethusdt")),)
    upbit = UPBIT.session((Subscription("trade", ("KRW-BTC", "KRW-ETH")),))
    sent = upbit.again((Subscription("trade", ("KRW-BTC",)),))
    assert sent is not None
    [frame] = sent
    assert json.loads(frame)[1] == {"type": "trade", "codes": ["KRW-BTC", "KRW-ETH"]}
    assert Session(BINANCE, ()).again(()) is None


@pytest.mark.parametrize(
    ("exchange", "venue", "codes", "messages"),
    [
        (SIMULATED, SimulatedVenue(), ("BTC-USD", "ETH-USD"), 2),
        (BINANCE, BinanceVenue(), ("BTCUSDT", "ETHUSDT"), 2),
        (UPBIT, UpbitVenue(), ("KRW-BTC", "KRW-ETH"), 1),
    ],
    ids=["simulated", "binance", "upbit"],
)
async def test_a_code_that_is_lost_on_a_live_session_comes_back(
    autojump_clock: trio.testing.MockClock, exchange: Exchange, venue: Venue, codes: tuple[str, str], messages: int
) -> None:
    """The server forgets one code of two after 25 minutes: a warning, one subscription, and it is there again."""
    watched = attrs.evolve(exchange, quiet_after=3600.0)
    sim = SimulatedExchange(venue, rate=1, port=None, wall=wall, random=random.Random(3))

    async with scene({exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(watched, trade=codes)
        await trio.sleep(1500)
        before = said(sim)
        sim.lose(codes[1])
        lost = trio.current_time()
        await trio.sleep(120)
        assert feed.stats.sessions == 1
        assert heard(sim, codes[1], 30) > 10
    assert seen.of(Failed) == []
    [quiet], [again] = seen.of(Quiet), seen.of(Resubscribed)
    assert quiet.code.upper() == again.code.upper() == codes[1]
    assert LEAST - 2 <= quiet.at - lost <= LEAST
    assert quiet.at <= again.at <= quiet.at + 1
    assert said(sim) - before == messages


def said(sim: SimulatedExchange) -> int:
    """Requests that came, pings apart."""
    received = [str(entry.data) for entry in sim.ledger if entry.what is What.RECEIVED and entry.shape is Shape.TEXT]
    return sum("trade" in data for data in received)


def heard(sim: SimulatedExchange, code: str, seconds: float) -> int:
    """Messages of a code that were sent in the last so many seconds."""
    since = trio.current_time() - seconds
    return sum(entry.code == code and entry.what is What.SENT and entry.at >= since for entry in sim.ledger)


@pytest.mark.parametrize("exchange", [SIMULATED, BINANCE], ids=["simulated", "binance"])
async def test_a_code_that_stays_silent_is_asked_ever_more_rarely(
    autojump_clock: trio.testing.MockClock, exchange: Exchange
) -> None:
    """In an hour of silence a few subscriptions, no restart, and the feed is live throughout."""
    venue = SimulatedVenue() if exchange is SIMULATED else BinanceVenue()
    codes = ("BTC-USD", "ETH-USD") if exchange is SIMULATED else ("BTCUSDT", "ETHUSDT")
    watched = attrs.evolve(exchange, quiet_after=7200.0)
    sim = SimulatedExchange(venue, rate=1, port=None, wall=wall, random=random.Random(3))
    async with scene({exchange.host: sim}) as (feeds, _, seen):
        feed = feeds.open(watched, trade=codes)
        await trio.sleep(1500)
        sim.hush(codes[1])
        await trio.sleep(3600)
        assert feed.stats.sessions == 1
    assert seen.of(Failed) == []
    times = [event.at for event in seen.of(Resubscribed)]
    assert 3 <= len(times) <= 10
    assert all(later >= earlier for earlier, later in itertools.pairwise([b - a for a, b in itertools.pairwise(times)]))


async def test_nothing_is_learned_where_no_code_is_watched(autojump_clock: trio.testing.MockClock) -> None:
    """A feed as it ships does not open its messages."""

    def never(data: str | bytes) -> tuple[str, str]:
        raise AssertionError(data)

    sim = SimulatedExchange(SimulatedVenue(), rate=5, port=None, wall=wall)
    async with scene({SIMULATED.host: sim}) as (feeds, _, seen):
        feed = feeds.open(attrs.evolve(SIMULATED, describe=never), trade="BTC-USD")
        await trio.sleep(60)
        assert feed.stats.messages > 200
    assert seen.of(Resubscribed) == []
