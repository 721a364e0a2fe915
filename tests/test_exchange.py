"""Exchange: every bad value is refused by its field's name, every code is spelled as the exchange wants it."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backoff import ReconnectStrategy
from actors.exchange import DATA, Channel, Exchange, Heartbeat, Kind, Rate, Session, Subscription, json_object

TEST = Exchange(
    code="test",
    name_ko="[테스트]",
    name_en="[Test]",
    ws_url="wss://test.example/ws",
    channels=(
        Channel(name="trades", portable="trade", snapshot=True),
        Channel(name="depth<levels>", pattern=r"depth\d+"),
    ),
    code_format="{quote}-{base}",
    code_case="upper",
)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("code", "Upbit", "code must be lower-case letters"),
        ("code", 7, "code must be lower-case letters"),
        ("name_ko", "업비트", r"name_ko stands in brackets, like \[업비트\]"),
        ("name_en", None, "name_en"),
        ("ws_url", 1, "ws_url must be a string"),
        ("ws_url", "https://x", "ws_url must look like wss://host/path"),
        ("ws_url", "wss://", "ws_url must look like wss://host/path"),
        ("ws_url", "wss://x:99999/", "ws_url is not a URL"),
        ("ws_url", "wss://x:0/", "ws_url must look like"),
        ("ws_url", "wss://[x/", "ws_url is not a URL"),
        ("ws_url", "wss://user:secret@x/", "ws_url must have no user"),
        ("ws_url", "wss://x/a b", "ws_url must have no user, fragment or blank"),
        ("ping_interval", -1, "ping_interval must be at least 0"),
        ("ping_timeout", 0, "ping_timeout must be more than 0"),
        ("link_timeout", "x", "link_timeout must be a number"),
        ("message_timeout", float("nan"), "message_timeout must be at least 0"),
        ("health_check_interval", float("inf"), "at most 86400"),
        ("max_message_size", 10, "max_message_size must be at least 1024"),
        ("max_message_size", 2048.5, "max_message_size must be a whole number"),
        ("code_case", "title", "code_case"),
    ],
)
def test_bad_fields_are_named(field: str, value: Any, message: str) -> None:
    """A wrong value names its field, the bound, and never a password."""
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        attrs.evolve(TEST, **{field: value})
    assert "secret" not in str(caught.value)


def test_one_silence_has_one_reason() -> None:
    """link_timeout must exceed the two ping fields together – unless we send no pings, or it is off."""
    with pytest.raises(ValueError, match=r"link_timeout must exceed ping_interval \+ ping_timeout \(20 \+ 10\): 30"):
        attrs.evolve(TEST, link_timeout=30)
    assert attrs.evolve(TEST, link_timeout=0).link_timeout == 0
    assert attrs.evolve(TEST, link_timeout=30, heartbeats=()).link_timeout == 30
    assert attrs.evolve(TEST, link_timeout=30, ping_interval=0).link_timeout == 30


def test_channels_by_native_and_portable_names() -> None:
    """Patterns count, and an unknown word names the nearest or what there is."""
    assert TEST.channel("trade") is TEST.channel("trades")
    assert TEST.channel("depth20").name == "depth<levels>"
    with pytest.raises(ValueError, match="unknown channel 'tradez' of test: did you mean 'trade"):
        TEST.channel("tradez")
    with pytest.raises(ValueError, match="it has trade, trades, depth<levels>"):
        TEST.channel("xyzzy")
    with pytest.raises(ValueError, match="it has none"):
        attrs.evolve(TEST, channels=()).channel("trade")


def test_subscriptions_become_native() -> None:
    """Portable words and codes are spelled natively, one channel's codes merged, repeats dropped."""
    wanted = [
        Subscription("trade", ("BTC/KRW", "krw-eth")),
        Subscription("trades", "KRW-BTC"),
        Subscription("depth20", ["KRW-BTC"]),
    ]
    assert TEST.native(wanted) == (
        Subscription("trades", ("KRW-BTC", "KRW-ETH")),
        Subscription("depth20", ("KRW-BTC",)),
    )
    with pytest.raises(ValueError, match="channel 'trade' of test has no code to subscribe to"):
        TEST.native([Subscription("trade", ())])


@pytest.mark.parametrize("code", ["", "A B", 'A"B', "A\\B", "A\nB"])
def test_what_is_no_code_is_refused(code: str) -> None:
    """Nothing that could break out of a subscription frame gets into one."""
    with pytest.raises(ValueError, match="not a code of test"):
        TEST.spell(code)


@pytest.mark.parametrize("code", ["/KRW", "BTC/", "A/B/C"])
def test_portable_codes_have_two_halves(code: str) -> None:
    """BASE/QUOTE, nothing else."""
    with pytest.raises(ValueError, match="a portable code is BASE/QUOTE"):
        TEST.spell(code)


def test_cases_are_folded() -> None:
    """Upper, lower, or as it is."""
    assert TEST.spell("krw-btc") == "KRW-BTC"
    assert attrs.evolve(TEST, code_case="lower").spell("BTC/KRW") == "krw-btc"
    assert attrs.evolve(TEST, code_case="keep").spell("Btc") == "Btc"


def test_the_plain_session_takes_everything_as_data() -> None:
    """Without a session of its own an exchange sends the user's frames and delivers all that comes."""
    session = attrs.evolve(TEST, on_open=("hello",)).session()
    assert isinstance(session, Session)
    assert session.opened() == ("hello",)
    assert session.classify("x") is DATA
    assert session.pending() == frozenset()
    assert session.probe() == ()
    assert TEST.describe("x") == ("", "")
    assert TEST.host == "test.example"
    assert DATA.kind is Kind.DATA


def test_heartbeat_payloads() -> None:
    """A text, or a function of the running number."""
    from actors.exchange import By, Form

    assert Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload="PING").text(3) == "PING"
    assert Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload=str).text(3) == "3"


def test_rates_are_checked() -> None:
    """At least one in some time."""
    with pytest.raises(ValueError, match="count must be at least 1"):
        Rate(0, 1)


@given(st.one_of(st.text(), st.binary()))
def test_json_object_never_raises(data: str | bytes) -> None:
    """Anything that is no JSON object is an empty one."""
    assert isinstance(json_object(data), dict)


def test_json_object_survives_depth() -> None:
    """A hundred thousand brackets are no object, and no crash."""
    assert json_object("[" * 100_000) == {}
    assert json_object('{"a": 1}') == {"a": 1}


def test_strategies_are_not_shared() -> None:
    """Two evolved profiles may carry different strategies; the value in a spec is copied before use."""
    strategy = ReconnectStrategy(initial_delay=3)
    assert attrs.evolve(TEST, reconnect=strategy).reconnect.fresh().next_delay() is not None
    assert strategy.attempts == 0


def test_an_exchange_changes_nothing_in_place_unless_it_says_how() -> None:
    """And has one route, and nothing to tell its messages apart by."""
    session = TEST.session()
    assert session.change((Subscription("trades", "KRW-BTC"),)) is None
    assert session.subscriptions == ()
    assert TEST.route(Subscription("trades", "KRW-BTC")) == ""
    assert TEST.mark("anything") is None
