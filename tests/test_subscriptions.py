"""Lists cut into sockets, paced, and cleared of what an exchange rejects."""

import math

import attrs
from hypothesis import given
from hypothesis import strategies as st

from actors.exchange import Exchange, Limits, Rate, Subscription
from actors.exchanges import BINANCE
from actors.subscriptions import Pacer, Shards, grouped, topics


def limited(subscriptions: int = 0, argument_bytes: int = 0) -> Exchange:
    """An exchange with these limits of one socket."""
    return attrs.evolve(BINANCE, limits=Limits(subscriptions=subscriptions, argument_bytes=argument_bytes))


def trades(*codes: str) -> tuple[Subscription, ...]:
    """Trades of these codes."""
    return (Subscription("trade", codes),)


def carried(shards: Shards) -> dict[int, list[str]]:
    """The codes of each shard, by number."""
    return {number: [code for _, code in shard.topics] for number, shard in shards.shards.items()}


# -- shards


def test_places_and_subscriptions() -> None:
    """A list is as many places as it has codes, and the same again when they are grouped."""
    wanted = (Subscription("trade", ("A", "B")), Subscription("book", "A"), Subscription("trade", ("B", "C")))
    assert topics(wanted) == [("trade", "A"), ("trade", "B"), ("book", "A"), ("trade", "C")]
    assert grouped(topics(wanted)) == (Subscription("trade", ("A", "B", "C")), Subscription("book", "A"))


def test_no_limit_is_one_socket() -> None:
    """Where nothing is published, a list is never cut."""
    shards = Shards(limited(), trades(*(f"S{n}" for n in range(5000))))
    assert len(shards.shards) == 1
    assert shards.shards[1].subscriptions == trades(*(f"S{n}" for n in range(5000)))


def test_two_thousand_codes_at_thirty_a_socket() -> None:
    """They fill 66 sockets and a rest of 20."""
    shards = Shards(limited(30), trades(*(f"S{n}" for n in range(2000))))
    assert [len(shard.topics) for shard in shards.shards.values()] == [30] * 66 + [20]


def test_what_is_added_goes_to_the_emptiest() -> None:
    """A new socket is opened only when all are full; what is there already is passed over."""
    shards = Shards(limited(3), trades("A", "B", "C", "D", "E", "F"))
    assert shards.remove(trades("B", "D", "E", "X")) == {1: trades("B"), 2: trades("D", "E")}
    assert shards.add(trades("A", "G")) == {2: trades("G")}
    assert shards.add(trades("H", "I", "J")) == {1: trades("H"), 2: trades("I"), 3: trades("J")}
    assert carried(shards) == {1: ["A", "C", "H"], 2: ["F", "G", "I"], 3: ["J"]}


def test_a_socket_without_codes_is_gone_for_good() -> None:
    """Its number is never given again."""
    shards = Shards(limited(2), trades("A", "B", "C"))
    assert shards.remove(trades("A", "B")) == {1: trades("A", "B")}
    assert shards.add(trades("D", "E")) == {2: trades("D"), 3: trades("E")}
    assert carried(shards) == {2: ["C", "D"], 3: ["E"]}
    assert Shards(limited(2)).shards == {}


def test_bytes_of_the_arguments_are_bounded() -> None:
    """As Bybit counts them: ``publicTrade.BTCUSDT`` is 19; what is larger than a socket has one of its own."""
    wanted = Subscription("publicTrade", ("BTCUSDT", "ETHUSDT", "XRPUSDT", "한글", "X" * 50))
    shards = Shards(limited(argument_bytes=38), [wanted])
    assert {number: shard.size for number, shard in shards.shards.items()} == {1: 38, 2: 37, 3: 62}
    assert shards.remove([Subscription("publicTrade", "ETHUSDT")]) == {1: (Subscription("publicTrade", "ETHUSDT"),)}
    assert shards.add([Subscription("publicTrade", "SOLUSDT")]) == {1: (Subscription("publicTrade", "SOLUSDT"),)}


def test_routes_are_never_mixed() -> None:
    """As Binance USD-M needs it: books and trades on sockets of different URLs."""

    def route(wanted: Subscription) -> str:
        return "wss://x.example/public" if wanted.channel == "depth" else "wss://x.example/market"

    exchange = attrs.evolve(limited(2), route=route)
    shards = Shards(exchange, [Subscription("depth", ("A", "B", "C")), Subscription("trade", "A")])
    assert [(shard.url[15:], len(shard.topics)) for shard in shards.shards.values()] == [
        ("/public", 2),
        ("/public", 1),
        ("/market", 1),
    ]
    assert shards.add(trades("B")) == {3: trades("B")}


@given(
    most=st.integers(0, 4),
    changes=st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("ABCDEFGHIJKLMNO"), max_size=8)), max_size=20),
)
def test_any_changes(most: int, changes: list[tuple[bool, list[str]]]) -> None:
    """Each wanted code has one place within the limit; what stays has never moved; each change is told."""
    shards = Shards(limited(most))
    wanted: set[str] = set()
    for add, codes in changes:
        before = {code: number for number, each in carried(shards).items() for code in each}
        told = (shards.add if add else shards.remove)(trades(*codes))
        wanted = wanted | set(codes) if add else wanted - set(codes)
        after = {code: number for number, each in carried(shards).items() for code in each}
        assert after.keys() == wanted
        assert all(after[code] == before[code] for code in before.keys() & after.keys())
        changed = {code: (after if add else before)[code] for code in before.keys() ^ after.keys()}
        assert changed == {code: number for number, each in told.items() for _, code in topics(each)}
        assert all(0 < len(each) <= (most or math.inf) for each in carried(shards).values())
        opened = set(after.values()) - set(before.values())
        if opened and most:
            assert all(len(each) == most for number, each in carried(shards).items() if number != max(opened))


# -- pacing


def test_half_of_what_is_published() -> None:
    """Upbit's 5 a second and 100 a minute: 2 a second and 50 a minute."""
    pacer = Pacer((Rate(5, 1), Rate(100, 60)))
    times: list[float] = []
    now = 100.0
    for _ in range(51):
        now = pacer.due(now)
        pacer.sent(now)
        times.append(now)
    assert times[:5] == [100, 100, 101, 101, 102]
    assert times[49] == 124
    assert times[50] == 160


def test_nothing_published_is_never_waited_for() -> None:
    """And a rate of one is one, not none."""
    pacer = Pacer(())
    pacer.sent(5)
    assert pacer.due(5) == 5
    single = Pacer((Rate(1, 10),))
    single.sent(5)
    assert single.due(6) == 15


@given(
    rates=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=3),
    pauses=st.lists(st.integers(0, 12), max_size=60),
)
def test_no_rolling_window_is_ever_exceeded(rates: list[tuple[int, int]], pauses: list[int]) -> None:
    """Whenever it is asked, no window of any length holds more than half of its rate; and it is never too late."""
    pacer = Pacer(Rate(count, seconds) for count, seconds in rates)
    times: list[float] = []
    now = 0.0
    for pause in pauses:
        asked = now + pause
        now = pacer.due(asked)
        tight = False
        for count, seconds in rates:
            most = max(1, count // 2)
            assert sum(time > now - seconds for time in times) < most
            tight = tight or sum(time > now - seconds - 1e-9 for time in times) >= most
        assert now == asked or tight
        pacer.sent(now)
        times.append(now)


# -- what an exchange rejects
