"""Marks: what tells messages apart is cut out of the bytes, for each exchange that has a profile."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.chaos import SIMULATED
from actors.chaos.market import Market, Topic
from actors.chaos.venues import BinanceVenue, BithumbVenue, SimulatedVenue, UpbitVenue
from actors.exchange import Exchange, Kind, Subscription
from actors.exchanges import BINANCE, BITHUMB, UPBIT, generic
from actors.marks import Mark
from actors.sequence import Continuity
from tests.captures import server_frames
from tests.test_binance import BOOK_TICKER, DEPTH, PARTIAL, TRADE, wrapped

AGGREGATE = '{"e":"aggTrade","E":1790134742136,"s":"BTCUSDT","a":28912,"p":"1","q":"2","f":64,"l":66,"T":17,"m":false}'
KLINE = '{"e":"kline","E":1790134742136,"s":"BTCUSDT","k":{"t":1790134740000,"T":1790134799999,"f":5,"L":9}}'
FUTURES = '{"e":"depthUpdate","E":17,"T":16,"s":"BTCUSDT","U":9001,"u":9044,"pu":8990,"b":[],"a":[]}'


@pytest.mark.parametrize(
    ("stream", "data", "mark"),
    [
        (
            "btcusdt@trade",
            TRADE,
            Mark(
                ("trade", "BTCUSDT"),
                5239871234,
                5239871234,
                first=5239871234,
                last=5239871234,
                promised=False,
                counted=True,
            ),
        ),
        (
            "btcusdt@aggTrade",
            AGGREGATE,
            Mark(("aggTrade", "BTCUSDT"), 28912, 28912, first=28912, last=28912, promised=False, counted=True),
        ),
        (
            "btcusdt@depth@100ms",
            DEPTH,
            Mark(("depth@100ms", "BTCUSDT"), 81234567009, 81234567009, first=81234567001, last=81234567009),
        ),
        ("btcusdt@depth", FUTURES, Mark(("depth", "BTCUSDT"), 9044, 9044, first=9001, last=9044, previous=8990)),
        ("btcusdt@depth5@100ms", PARTIAL, Mark(("depth5@100ms", "BTCUSDT"), 160, 160)),
        ("btcusdt@bookTicker", BOOK_TICKER, Mark(("bookTicker", "BTCUSDT"), 400900217, 400900217)),
        ("btcusdt@kline_1m", KLINE, Mark(("kline_1m", "BTCUSDT"), 1790134742136, 1790134742136)),
        ("!miniTicker@arr", '[{"e":"24hrMiniTicker","E":17}]', Mark(("!miniTicker@arr", ""), 17, 17)),
        ("btcusdt@trade", "{}", None),
        ("btcusdt@depth", "{}", None),
    ],
)
def test_binance(stream: str, data: str, mark: Mark | None) -> None:
    """Each channel's own number, in text or bytes; the key is that of ``describe``."""
    frame = wrapped(stream, data)
    assert BINANCE.mark(frame) == BINANCE.mark(frame.encode()) == mark
    assert mark is None or mark.key == BINANCE.describe(frame)


@pytest.mark.parametrize("frame", ["", "{}", '{"result":null,"id":1}', "\x00", b"\xff\xfe"])
def test_what_is_no_data_has_no_mark(frame: str | bytes) -> None:
    """Neither has anything of an exchange without a hook."""
    for exchange in (BINANCE, BITHUMB, UPBIT, SIMULATED):
        assert exchange.mark(frame) is None
    assert generic("wss://x.example/").mark(frame) is None


@given(st.one_of(st.text(), st.binary()))
def test_no_frame_makes_a_hook_fail(frame: str | bytes) -> None:
    """Whatever arrives, a hook answers."""
    text = frame if isinstance(frame, str) else frame.decode("latin-1")
    for exchange in (BINANCE, BITHUMB, UPBIT, SIMULATED):
        exchange.mark(frame)
        exchange.mark('{"type":"trade","code":"A","sequential_id":' + text)
        exchange.mark('{"stream":"a@trade","data":{"t":' + text)


def test_upbit_trades_have_an_identity_and_no_order() -> None:
    """``sequential_id`` is unique and comes in any order; a snapshot has that of the trade it restates."""
    trade = b'{"type":"trade","code":"KRW-BTC","timestamp":17,"sequential_id":179013474,"stream_type":"%s"}'
    short = b'{"ty":"trade","cd":"KRW-BTC","tms":17,"sid":179013474,"st":"REALTIME"}'
    mark = Mark(("trade", "KRW-BTC"), 179013474)
    assert UPBIT.mark(trade % b"REALTIME") == BITHUMB.mark(short) == UPBIT.mark(short.decode()) == mark
    assert UPBIT.mark(trade % b"SNAPSHOT") == mark._replace(snapshot=True)
    assert UPBIT.mark(b'{"type":"trade","code":"KRW-BTC","stream_type":"REALTIME"}') is None


@pytest.mark.parametrize("kind", ["orderbook", "ticker", "candle.1m"])
def test_all_else_of_upbit_is_told_apart_by_its_bytes_and_ordered_by_its_time(kind: str) -> None:
    """Equal frames are the same message, also as a snapshot; another frame at the same time is another."""
    book = '{"type":"%s","code":"KRW-BTC","timestamp":%d,"total_ask_size":%d,"stream_type":"%s"}'
    told = UPBIT.mark(book % (kind, 17, 1, "REALTIME"))
    assert told is not None
    assert told == Mark((kind, "KRW-BTC"), told.identity, 17)
    assert UPBIT.mark(book % (kind, 17, 1, "SNAPSHOT")) == told._replace(snapshot=True)
    other = UPBIT.mark(book % (kind, 17, 2, "REALTIME"))
    assert other is not None
    assert other.identity != told.identity
    timeless = UPBIT.mark(f'{{"type":"{kind}","code":"KRW-BTC","stream_type":"REALTIME"}}')
    assert timeless is not None
    assert timeless.order is None


def check(exchange: Exchange, frames: list[str | bytes]) -> None:
    """Marks are there, identities unique but for rightful repeats, orders never fall, no number is missing."""
    session = exchange.session()
    kinds = Counter(session.classify(frame).kind for frame in frames)
    assert not kinds.keys() & {Kind.UNKNOWN, Kind.ERROR}
    data = [frame for frame in frames if exchange.session().classify(frame).kind is Kind.DATA]
    marks = [exchange.mark(frame) for frame in data]
    meant: dict[tuple[object, int], str | bytes] = {}
    orders: dict[object, int] = {}
    for frame, mark in zip(data, marks, strict=True):
        assert mark is not None
        assert mark.key == exchange.describe(frame)
        assert meant.setdefault((mark.key, mark.identity), frame) == frame
        if mark.order is not None:
            assert orders.setdefault(mark.key, mark.order) <= mark.order
            orders[mark.key] = mark.order
    assert Continuity().take(marks) == []


@pytest.mark.parametrize("exchange", [BINANCE, UPBIT], ids=["binance", "upbit"])
def test_a_captured_session(exchange: Exchange) -> None:
    """A real session: no frame unknown, none confused with another, none missing."""
    check(exchange, server_frames(exchange.code))


@pytest.mark.parametrize(
    ("exchange", "venue"),
    [(BINANCE, BinanceVenue()), (UPBIT, UpbitVenue()), (BITHUMB, BithumbVenue()), (SIMULATED, SimulatedVenue())],
    ids=["binance", "upbit", "bithumb", "simulated"],
)
def test_a_simulated_exchange(exchange: Exchange, venue: BinanceVenue | UpbitVenue | SimulatedVenue) -> None:
    """The frames of the simulation carry what the hooks look for."""
    now = iter(range(1_790_134_742_000_000_000, 2_000_000_000_000_000_000, 1_000_000))
    market = Market(venue.codes, random.Random(1), lambda: next(now))
    channels = [
        exchange.native([Subscription(word, venue.codes[0])])[0].channel for word in ("trade", "book", "ticker")
    ]
    frames: list[str | bytes] = []
    for number in range(1, 20):
        for channel in channels:
            topic = Topic(channel, venue.codes[0])
            frames.append(venue.render(topic, market.move(topic), number))
    check(exchange, frames)


@pytest.mark.parametrize(
    ("exchange", "venue"),
    [(UPBIT, UpbitVenue()), (BITHUMB, BithumbVenue()), (SIMULATED, SimulatedVenue())],
    ids=["upbit", "bithumb", "simulated"],
)
@pytest.mark.parametrize("word", ["trade", "book", "ticker"])
def test_a_snapshot_has_the_identity_of_what_it_restates(
    exchange: Exchange, venue: UpbitVenue | SimulatedVenue, word: str
) -> None:
    """So it proves that nothing was lost since."""
    market = Market(venue.codes, random.Random(1), lambda: 1_790_134_742_000_000_000)
    topic = Topic(exchange.channel(word).name, venue.codes[0])
    quote = market.move(topic)
    told = exchange.mark(venue.render(topic, quote, 7))
    assert told is not None
    assert exchange.mark(venue.render(topic, quote, 7, snapshot=True)) == told._replace(snapshot=True)
