"""What holds for every profile that ships."""

import json
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange import DATA, PORTABLE_CHANNELS, By, Exchange, Frame, Kind, Limits, Subscription
from actors.exchanges import BINANCE, BITHUMB, EXCHANGES, GENERIC, UPBIT, find, generic
from actors.exchanges.generic import NO_URL
from tests.captures import server_frames

EVERY = pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
WITH_CHANNELS = pytest.mark.parametrize("exchange", [UPBIT, BITHUMB, BINANCE], ids=lambda each: each.code)

KEYS = ("type", "ty", "code", "cd", "stream", "data", "e", "s", "error", "name", "id", "result", "msg", "timestamp")
WORDS = ("trade", "KRW-BTC", "SNAPSHOT", "UP", "serverShutdown", "!serverShutdown", "btcusdt@trade", "1")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
frames = st.one_of(
    st.binary(),
    st.text(),
    st.dictionaries(st.sampled_from((*KEYS, "stream_type", "st", "status", "method", "tms")), values).map(json.dumps),
    st.text(max_size=6).map(lambda name: '{"type":"' + name + '","code":"KRW-BTC","stream_type":"SNAPSHOT"'),
    st.integers(1, 100_000).map(lambda depth: "[" * depth),
    st.integers(1, 600).map(lambda depth: '{"error":' + "[" * depth + "]" * depth + ',"id":1}'),
)
symbols = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=8)
pairs = st.lists(st.tuples(symbols, symbols), min_size=1, max_size=40, unique=True)


@EVERY
@settings(deadline=None)
@given(data=st.lists(frames, max_size=6))
def test_no_frame_can_make_a_session_raise(exchange: Exchange, data: list[str | bytes]) -> None:
    """Whatever arrives is classified and described, before a probe and after it."""
    wanted = [Subscription("trade", "BTC/KRW")] if exchange.channels else []
    session = exchange.session(exchange.native(wanted))
    for frame in data:
        for each in (frame, frame.encode("utf-8", "replace") if isinstance(frame, str) else frame):
            assert isinstance(session.classify(each), Frame)
            channel, code = exchange.describe(each)
            assert isinstance(channel, str)
            assert isinstance(code, str)
        session.probe()


@WITH_CHANNELS
@settings(deadline=None)
@given(pairs=pairs)
def test_each_code_is_subscribed_exactly_once(exchange: Exchange, pairs: list[tuple[str, str]]) -> None:
    """However often a code is asked for, and in whichever spelling, each channel names it once."""
    portable = [f"{base}/{quote}" for base, quote in pairs]
    native = {exchange.spell(code) for code in portable}
    asked = [
        Subscription("trade", (*portable, *native)),
        Subscription("book", portable),
        Subscription("trade", portable),
    ]
    subscriptions = exchange.native(asked)
    assert [each.channel for each in subscriptions] == [exchange.channel(word).name for word in ("trade", "book")]
    sent = exchange.session(subscriptions).subscribe()
    for each in subscriptions:
        named = [code for frame in sent for code in _codes(json.loads(frame), each.channel)]
        assert sorted(named) == sorted(native)


def _codes(frame: Any, channel: str) -> list[str]:
    """The codes that one subscribe frame names for a channel: an array at Upbit, a list of streams at Binance."""
    if isinstance(frame, list):
        parts = cast("list[dict[str, Any]]", frame)
        return [code for part in parts if part.get("type") == channel for code in part["codes"]]
    streams: list[str] = frame["params"]
    return [code for code, _, name in (stream.partition("@") for stream in streams) if name == channel]


@WITH_CHANNELS
@settings(deadline=None)
@given(base=symbols, quote=symbols)
def test_spelling_is_stable(exchange: Exchange, base: str, quote: str) -> None:
    """A portable code is spelled once: its native form, in any case, spells as itself."""
    native = exchange.spell(f"{base}/{quote}")
    assert exchange.spell(native) == exchange.spell(native.lower()) == exchange.spell(native.upper()) == native


@pytest.mark.parametrize(
    ("exchange", "code", "native"),
    [
        (UPBIT, "BTC/KRW", "KRW-BTC"),
        (UPBIT, "krw-btc.15", "KRW-BTC.15"),
        (BITHUMB, "eth/krw", "KRW-ETH"),
        (BINANCE, "BTC/USDT", "btcusdt"),
        (BINANCE, "BTCUSDT", "btcusdt"),
    ],
)
def test_spellings_of_the_documentation(exchange: Exchange, code: str, native: str) -> None:
    """Codes are spelled as each exchange's documentation spells them."""
    assert exchange.spell(code) == native


@WITH_CHANNELS
def test_portable_channels_exist(exchange: Exchange) -> None:
    """``trade``, ``book`` and ``ticker`` mean something on every exchange that has channels."""
    assert [exchange.channel(word).portable for word in PORTABLE_CHANNELS] == list(PORTABLE_CHANNELS)


@EVERY
def test_every_clock_and_limit_has_a_source(exchange: Exchange) -> None:
    """Whoever asks why a figure is what it is gets an answer for each of them."""
    fields = {field.name for field in attrs.fields(Exchange)}
    clocks = {name for name in fields if name.endswith(("_interval", "_timeout", "_after", "_lifetime"))}
    limits = {f"limits.{field.name}" for field in attrs.fields(Limits)}
    wanted = clocks | limits | {"ws_url", "heartbeats", "reconnect"}
    assert wanted - exchange.sources.keys() == set()
    assert {name.partition(".")[0] for name in exchange.sources} - fields == set()


@EVERY
def test_a_client_rule_keeps_every_session_alive(exchange: Exchange) -> None:
    """Every profile has a ping of our own, so that a dead link is noticed at a quiet market."""
    assert any(rule.by is By.CLIENT and rule.answered for rule in exchange.heartbeats)


def test_find_names_the_nearest() -> None:
    """An unknown exchange is refused with the nearest name, or with all of them."""
    assert find("upbit") is UPBIT
    with pytest.raises(ValueError, match=r"unknown exchange 'Upbitt': did you mean 'upbit'\?"):
        find("Upbitt")
    with pytest.raises(ValueError, match="did you mean 'bithumb'"):
        find("BITHUMB")
    with pytest.raises(ValueError, match="there are upbit, bithumb, binance, generic"):
        find("x")


def test_the_table_cannot_be_changed() -> None:
    """The table of profiles is no registry: nobody can add to it."""
    with pytest.raises(TypeError):
        EXCHANGES["mine"] = GENERIC  # pyright: ignore[reportIndexIssue] - that it has no __setitem__ is the point


def test_unknown_channels_name_the_nearest() -> None:
    """An unknown channel is refused with the nearest of that exchange."""
    with pytest.raises(ValueError, match="unknown channel 'oderbook' of upbit: did you mean 'orderbook'"):
        UPBIT.channel("oderbook")
    with pytest.raises(ValueError, match="unknown channel 'trade' of generic: it has none"):
        GENERIC.channel("trade")


def test_generic_sends_what_it_was_given() -> None:
    """The generic exchange sends the user's frames and takes everything as data."""
    exchange = generic("wss://example.invalid/ws", '{"op":"a"}', '{"op":"b"}')
    session = exchange.session()
    assert (exchange.code, exchange.ws_url) == ("generic", "wss://example.invalid/ws")
    assert list(session.opened()) == ['{"op":"a"}', '{"op":"b"}']
    assert session.pending() == frozenset()
    assert list(session.probe()) == []
    assert session.classify(b"\x00") is DATA
    assert exchange.describe(b"\x00") == ("", "")


def test_generic_without_a_url_leads_nowhere() -> None:
    """Without a URL the generic exchange names a host that can never exist; a bad one is refused by field name."""
    assert GENERIC.ws_url == NO_URL
    assert GENERIC.host == "no-url-given.invalid"
    with pytest.raises(ValueError, match="ws_url"):
        generic("https://example.invalid/")


@pytest.mark.parametrize("name", ["coinbase", "deribit", "htx", "kraken_v1", "okx"])
def test_generic_takes_every_captured_frame(name: str) -> None:
    """Every frame of an exchange without a profile of its own is data of the generic one."""
    session = GENERIC.session()
    assert {session.classify(frame).kind for frame in server_frames(name)} == {Kind.DATA}
