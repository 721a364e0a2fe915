"""Binance spot."""

import json

import pytest

from actors.errors import BACKOFF, QUARANTINE, Way
from actors.exchange import DATA, By, Form, Frame, Kind, Rate, Subscription
from actors.exchanges import BINANCE
from actors.exchanges.binance import BinanceSession
from tests.captures import server_frames

TRADE = (
    '{"e":"trade","E":1790134742136,"s":"BTCUSDT","t":5239871234,"p":"84143.01000000","q":"0.00120000",'
    '"T":1790134742135,"m":true,"M":true}'
)
DEPTH = (
    '{"e":"depthUpdate","E":1790134742236,"s":"BTCUSDT","U":81234567001,"u":81234567009,'
    '"b":[["84143.00000000","1.25310000"],["84140.10000000","0.00000000"]],"a":[["84143.01000000","0.70011000"]]}'
)
BOOK_TICKER = (
    '{"u":400900217,"s":"BTCUSDT","b":"84143.00000000","B":"1.25310000","a":"84143.01000000","A":"0.70011000"}'
)
PARTIAL = '{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}'
WANTED = (Subscription("trade", "btcusdt"), Subscription("depth@100ms", "btcusdt"))


def wrapped(stream: str, data: str) -> str:
    """A frame of the combined stream."""
    return f'{{"stream":"{stream}","data":{data}}}'


def opened(*subscriptions: Subscription) -> BinanceSession:
    """A session that wants ``subscriptions``, by default trades and books of one symbol."""
    wanted = subscriptions or (Subscription("trade", "BTC/USDT"), Subscription("book", "BTC/USDT"))
    session = BINANCE.session(BINANCE.native(wanted))
    assert isinstance(session, BinanceSession)
    return session


def test_one_request_for_a_few_streams() -> None:
    """A few streams are one numbered request, codes in lower case."""
    assert list(opened().opened()) == ['{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":1}']


def test_a_full_connection_is_four_requests() -> None:
    """1,024 streams, the most a connection takes, fit into the messages of its first second."""
    session = opened(Subscription("trade", [f"S{n}" for n in range(1024)]))
    requests = [json.loads(frame) for frame in session.subscribe()]
    assert [(each["id"], len(each["params"])) for each in requests] == [(1, 256), (2, 256), (3, 256), (4, 256)]
    assert session.pending() == {"1", "2", "3", "4"}
    assert len({stream for each in requests for stream in each["params"]}) == 1024


def test_nothing_wanted_nothing_sent() -> None:
    """Without a subscription, as with a URL that names the streams, nothing is sent and nothing is pending."""
    session = BINANCE.session()
    assert list(session.opened()) == []
    assert session.pending() == frozenset()


def test_acks_confirm_by_number() -> None:
    """An ack confirms its own request; the user's own numbers confirm nothing."""
    session = opened()
    assert session.classify('{"result":null,"id":1}') == Frame(Kind.ACK, confirms=("1",))
    assert session.classify(b'{"id":1,"result":null}') == Frame(Kind.ACK), "once"
    assert session.classify('{"result":["btcusdt@trade"],"id":7}') == Frame(Kind.ACK)
    assert session.classify('{"result":null,"id":null}') == Frame(Kind.ACK)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            '{"code":2,"msg":"Invalid request: too many parameters","id":1}',
            Frame(Kind.REJECTED, "2: Invalid request: too many parameters", advice=QUARANTINE, rejects=WANTED),
        ),
        (
            '{"error":{"code":2,"msg":"Invalid request"},"id":1}',
            Frame(Kind.REJECTED, "2: Invalid request", advice=QUARANTINE, rejects=WANTED),
        ),
        (
            '{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}',
            Frame(Kind.ERROR, "3: Invalid JSON: expected value at line 1 column 1", advice=QUARANTINE),
        ),
        (
            '{"error":{"code":-1003,"msg":"Too many requests"},"id":9}',
            Frame(Kind.ERROR, "-1003: Too many requests", advice=BACKOFF),
        ),
        ('{"error":"odd"}', Frame(Kind.ERROR, ": ", advice=BACKOFF)),
    ],
)
def test_errors(raw: str, expected: Frame) -> None:
    """An error about our request rejects it, any other stands alone; both with and without the wrapper."""
    assert opened().classify(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        '{"e":"serverShutdown","E":1770123456789}',
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
        '{ "stream": "!serverShutdown", "data": {} }',
    ],
)
def test_a_shutdown_is_noticed(raw: str | bytes) -> None:
    """The notice of a shutdown is told apart from data, raw and combined."""
    assert opened().classify(raw).kind is Kind.NOTICE


@pytest.mark.parametrize("payload", [TRADE, DEPTH, BOOK_TICKER, PARTIAL])
def test_documented_samples_are_data(payload: str) -> None:
    """Every sample is data, combined or raw, whether its stream was asked for or not."""
    session = opened()
    for raw in (payload, wrapped("ethusdt@aggTrade", payload), '{ "stream": "x@y", "data": ' + payload + "}"):
        assert session.classify(raw) is DATA
        assert session.classify(raw.encode()) is DATA


@pytest.mark.parametrize(
    ("raw", "described"),
    [
        (wrapped("btcusdt@depth@100ms", DEPTH), ("depth@100ms", "BTCUSDT")),
        (wrapped("btcusdt@depth20", PARTIAL), ("depth20", "BTCUSDT")),
        ('{"data":{},"stream":"btcusdt@trade"}', ("trade", "BTCUSDT")),
        (wrapped("!miniTicker@arr", "[]"), ("!miniTicker@arr", "")),
        (TRADE, ("", "BTCUSDT")),
        (PARTIAL, ("", "")),
        ("nonsense", ("", "")),
    ],
)
def test_described_by_the_stream_s_name(raw: str, described: tuple[str, str]) -> None:
    """Channel and code come from the wrapper; raw frames have at most a symbol."""
    assert BINANCE.describe(raw) == BINANCE.describe(raw.encode()) == described


@pytest.mark.parametrize("raw", ["{}", "[]", "", '{"id":1}', b"\xff\xfe"])
def test_unknown_shapes(raw: str | bytes) -> None:
    """What fits nothing is unknown, never data."""
    assert opened().classify(raw).kind is Kind.UNKNOWN


def test_every_captured_frame_is_data() -> None:
    """A real combined session is data throughout, with channel and code."""
    session = opened()
    frames = server_frames("binance")
    assert frames
    assert all(session.classify(each) is DATA for each in frames)
    named = {BINANCE.describe(each) for each in frames}
    assert {channel for channel, _ in named} == {"depth@100ms", "bookTicker", "kline_1m", "aggTrade"}
    assert {code for _, code in named} == {"NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"}


@pytest.mark.parametrize(
    "word", ["depth5", "depth20@100ms", "kline_1s", "kline_12h", "kline_1M", "ticker_4h", "avgPrice"]
)
def test_channels_by_pattern(word: str) -> None:
    """Channels with a parameter are named natively."""
    assert opened(Subscription(word, "BTC/USDT")).subscribe() == [
        f'{{"method":"SUBSCRIBE","params":["btcusdt@{word}"],"id":1}}'
    ]


@pytest.mark.parametrize("word", ["depth7", "kline_2m", "kline_", "depth@1000ms", "ticker_2h"])
def test_parameters_that_do_not_exist(word: str) -> None:
    """A parameter the exchange does not have is refused before anything is sent."""
    with pytest.raises(ValueError, match=f"unknown channel '{word}' of binance"):
        BINANCE.channel(word)


def test_there_is_no_probe() -> None:
    """No snapshot can be asked for."""
    assert list(opened().probe()) == []


def test_figures_of_the_documentation() -> None:
    """Clocks, limits, heartbeats and close codes are the published ones."""
    clocks = (BINANCE.ping_interval, BINANCE.ping_timeout, BINANCE.link_timeout, BINANCE.message_timeout)
    assert clocks == (20, 10, 45, 300)
    assert BINANCE.max_lifetime == 24 * 3600
    assert BINANCE.limits.connects == Rate(300, 300)
    assert BINANCE.limits.messages == (Rate(5, 1),)
    assert BINANCE.limits.subscriptions == 1024
    server, client = BINANCE.heartbeats
    assert (server.by, server.form, server.interval, server.limit) == (By.SERVER, Form.CONTROL, 20, 60)
    assert (client.by, client.form) == (By.CLIENT, Form.CONTROL)
    assert (BINANCE.close_codes[1008].way, BINANCE.close_codes[1008].seconds) == (Way.AFTER, 60)


def test_a_change_names_only_what_changes() -> None:
    """What is gone is unsubscribed from, what is new subscribed to, under the next numbers."""
    session = opened()
    session.opened()
    wanted = BINANCE.native((Subscription("trade", ("BTC/USDT", "ETH/USDT")),))
    assert session.change(wanted) == [
        '{"method":"UNSUBSCRIBE","params":["btcusdt@depth@100ms"],"id":2}',
        '{"method":"SUBSCRIBE","params":["ethusdt@trade"],"id":3}',
    ]
    assert session.subscriptions == wanted
    assert session.pending() == {"1", "3"}
    assert session.change(wanted) == []
    assert session.classify('{"result":null,"id":2}') == Frame(Kind.ACK)
    assert session.classify('{"result":null,"id":3}') == Frame(Kind.ACK, confirms=("3",))
    assert session.change(()) == ['{"method":"UNSUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":4}']
    assert session.classify('{"code":2,"msg":"Invalid request","id":4}').kind is Kind.ERROR, "no code was rejected"


def test_a_rejection_is_about_the_streams_that_it_names() -> None:
    """Where the message names some, these; else all of the request."""
    frame = opened().classify('{"code":2,"msg":"Invalid request: btcusdt@trade","id":1}')
    assert frame.rejects == (Subscription("trade", "btcusdt"),)


def test_what_was_rejected_is_new_when_it_is_asked_for_again() -> None:
    """Nothing of a rejected request is subscribed to, so nothing of it is unsubscribed from."""
    session = opened()
    session.classify('{"code":2,"msg":"Invalid request","id":1}')
    assert session.pending() == frozenset()
    trades = BINANCE.native((Subscription("trade", "BTC/USDT"),))
    assert session.change(trades) == ['{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":2}']
