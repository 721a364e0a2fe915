"""Upbit, and the session that it shares with Bithumb."""

import functools
import json
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from actors.errors import BACKOFF, QUARANTINE, Advice
from actors.exchange import DATA, By, Exchange, Form, Frame, Kind, Rate, Session, Subscription
from actors.exchanges import BITHUMB, UPBIT
from actors.exchanges._upbit_family import UpbitFamilySession
from tests.captures import server_frames

BOTH = pytest.mark.parametrize("exchange", [UPBIT, BITHUMB], ids=["upbit", "bithumb"])

BOOK = (
    b'{"type":"orderbook","code":"KRW-BTC","timestamp":1790134742106,"total_ask_size":2.51469375,'
    b'"total_bid_size":1.63815297,"orderbook_units":[{"ask_price":1.16539E8,"bid_price":1.16538E8,'
    b'"ask_size":0.02054761,"bid_size":0.08120946},{"ask_price":1.16542E8,"bid_price":1.16537E8,'
    b'"ask_size":0.00077720,"bid_size":0.01129382}],"stream_type":"SNAPSHOT","level":0}'
)
TRADE = (
    b'{"type":"trade","code":"KRW-BTC","timestamp":1790134743120,"trade_date":"2026-09-23","trade_time":"03:39:03",'
    b'"trade_timestamp":1790134743085,"trade_price":1.16539E8,"trade_volume":0.00129,"ask_bid":"BID",'
    b'"prev_closing_price":1.15304E8,"change":"RISE","change_price":1235000.0,"sequential_id":17901347430850000,'
    b'"best_ask_price":1.16539E8,"best_ask_size":0.0192,"best_bid_price":1.16538E8,"best_bid_size":0.0661,'
    b'"stream_type":"REALTIME"}'
)
SIMPLE = (
    b'{"ty":"orderbook","cd":"KRW-BTC","tms":1790134773006,"tas":0.48514983,"tbs":2.2403413,'
    b'"obu":[{"ap":116606000,"bp":116534000,"as":0.06288509,"bs":7.9276E-4}],"st":"SNAPSHOT","lv":0}'
)


def opened(exchange: Exchange, *subscriptions: Subscription) -> Session:
    """A session that wants ``subscriptions``, by default trades and books of two codes."""
    wanted = subscriptions or (Subscription("trade", ("BTC/KRW",)), Subscription("book", ("BTC/KRW", "ETH/KRW")))
    return exchange.session(exchange.native(wanted))


def frame(kind: str = "orderbook", code: str = "KRW-BTC", stream: str = "REALTIME", **fields: object) -> bytes:
    """A data frame in the DEFAULT format."""
    shape = {"type": kind, "code": code, **fields, "stream_type": stream}
    return json.dumps(shape, separators=(",", ":")).encode()


def kinds(session: Session, frames: Iterable[bytes]) -> list[Kind]:
    """What each frame is."""
    return [session.classify(each).kind for each in frames]


@BOTH
def test_one_array_subscribes_to_everything(exchange: Exchange) -> None:
    """The whole subscription is one text frame, since a second one would replace it."""
    ticketed = attrs.evolve(exchange, make_session=functools.partial(UpbitFamilySession, ticket=lambda: "t1"))
    (array,) = opened(ticketed).opened()
    assert array == (
        '[{"ticket":"t1"},{"type":"trade","codes":["KRW-BTC"]},'
        '{"type":"orderbook","codes":["KRW-BTC","KRW-ETH"]},{"format":"DEFAULT"}]'
    )


def test_every_array_has_a_ticket_of_its_own() -> None:
    """Tickets are unique over sessions and over probes of one session."""
    session = opened(UPBIT)
    sent = [*session.subscribe(), *session.probe(), *session.probe(), *opened(UPBIT).subscribe()]
    assert len({json.loads(each)[0]["ticket"] for each in sent}) == 4


@BOTH
def test_the_first_data_of_a_channel_confirms_it(exchange: Exchange) -> None:
    """Without acks each channel is confirmed by its first data; afterwards the shared value is handed out."""
    session = opened(exchange)
    assert session.pending() == {"trade", "orderbook"}
    assert session.classify(BOOK) == Frame(Kind.DATA, confirms=("orderbook",))
    assert session.classify(BOOK) is DATA
    assert session.classify(TRADE) == Frame(Kind.DATA, confirms=("trade",))
    assert session.classify(TRADE) is DATA
    assert session.pending() == frozenset()


def test_candles_confirm_their_own_unit() -> None:
    """A candle's channel carries its unit, and bad units are refused before anything is sent."""
    session = opened(UPBIT, Subscription("candle.1s", ("BTC/KRW",)), Subscription("candle.240m", ("BTC/KRW",)))
    assert session.pending() == {"candle.1s", "candle.240m"}
    assert session.classify(frame("candle.1s", timestamp=1)).confirms == ("candle.1s",)
    for bad in ("candle.2m", "candle.1h", "candle."):
        with pytest.raises(ValueError, match="unknown channel"):
            UPBIT.channel(bad)
    with pytest.raises(ValueError, match="unknown channel"):
        BITHUMB.channel("candle.1s")


@BOTH
def test_names_of_both_formats_are_read(exchange: Exchange) -> None:
    """Channel and code are found under DEFAULT and SIMPLE names, in bytes and text, in any order of keys."""
    assert exchange.describe(BOOK) == ("orderbook", "KRW-BTC")
    assert exchange.describe(TRADE.decode()) == ("trade", "KRW-BTC")
    assert exchange.describe(SIMPLE) == ("orderbook", "KRW-BTC")
    assert exchange.describe(b'{ "cd": "KRW-ETH", "ty": "ticker" }') == ("ticker", "KRW-ETH")
    assert exchange.describe(b'{"status":"UP"}') == ("", "")
    session = opened(exchange)
    session.classify(BOOK)
    session.classify(TRADE)
    assert session.classify(SIMPLE) is DATA
    assert session.classify('{ "cd": "KRW-ETH", "ty": "ticker" }') is DATA


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("WRONG_FORMAT", QUARANTINE),
        ("NO_TICKET", QUARANTINE),
        ("NO_TYPE", QUARANTINE),
        ("NO_CODES", QUARANTINE),
        ("INVALID_PARAM", QUARANTINE),
        ("INVALID_AUTH", QUARANTINE),
        ("INTERNAL", BACKOFF),
    ],
)
@BOTH
def test_errors_carry_advice(exchange: Exchange, name: str, advice: Advice) -> None:
    """What we sent wrong will be wrong again soon; anything else may pass."""
    error = json.dumps({"error": {"name": name, "message": "잘못된 요청입니다."}}, ensure_ascii=False).encode()
    expected = Frame(Kind.ERROR, f"{name}: 잘못된 요청입니다.", advice=advice)
    assert opened(exchange).classify(error) == expected


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"status":"UP"}', Kind.HEARTBEAT),
        ('{"status":"UP"}', Kind.HEARTBEAT),
        (
            b'{"method":"LIST_SUBSCRIPTIONS","result":[{"type":"ticker","codes":["KRW-BTC"]}],"ticket":"x"}',
            Kind.CONTROL,
        ),
        (b'{"error":"down"}', Kind.ERROR),
        (b'{"status":"DOWN"}', Kind.UNKNOWN),
        (b'{"type":"trade"}', Kind.UNKNOWN),
        (b'{"type":"trade","code":""}', Kind.UNKNOWN),
        (b'{"type":1,"code":2}', Kind.UNKNOWN),
        (b"not JSON", Kind.UNKNOWN),
        (b"", Kind.UNKNOWN),
    ],
)
@BOTH
def test_everything_that_is_not_data(exchange: Exchange, raw: str | bytes, kind: Kind) -> None:
    """Answers, errors and unknown shapes are told apart from data."""
    assert opened(exchange).classify(raw).kind is kind


def test_unknown_frames_are_quoted_safely() -> None:
    """What is said of an unknown frame is short and free of control characters."""
    seen = opened(UPBIT).classify(b'\x1b[31m{"surprise":' + b"x" * 1000)
    assert seen.detail.startswith(' [31m{"surprise":')
    assert len(seen.detail) <= 80


def test_every_captured_frame_is_data() -> None:
    """A real session in the SIMPLE format is data throughout, with channel and code."""
    session = opened(UPBIT, Subscription("trade", ("KRW-LAMB",)), Subscription("orderbook", ("KRW-LAMB",)))
    frames = server_frames("upbit")
    assert frames
    assert {session.classify(each).kind for each in frames} == {Kind.DATA}
    named = {UPBIT.describe(each) for each in frames}
    assert {channel for channel, _ in named} == {"trade", "orderbook"}
    assert all(code.startswith(("KRW-", "BTC-")) for _, code in named)


def test_a_captured_session_probed_repeats_nothing() -> None:
    """After a real session the snapshot of each code's last frame is an answer, though trades came out of order."""
    codes = sorted({UPBIT.describe(each)[1] for each in server_frames("upbit")})
    session = opened(UPBIT, Subscription("trade", codes), Subscription("orderbook", codes))
    last: dict[tuple[str, str], Any] = {}
    for each in server_frames("upbit"):
        session.classify(each)
        last[UPBIT.describe(each)] = json.loads(each)
    session.probe()
    for shape in last.values():
        again = json.dumps({**shape, "st": "SNAPSHOT"}).encode()
        assert session.classify(again).probe
        newer = json.dumps({**shape, "tms": shape["tms"] + 1, "sid": 1, "st": "SNAPSHOT"}).encode()
        assert session.classify(newer) is DATA


@BOTH
def test_a_probe_is_the_subscription_again(exchange: Exchange) -> None:
    """The probe sends the whole array, as a shorter one would end the other subscriptions; nothing wanted, no probe."""
    session = opened(exchange)
    (first,), (probe,) = session.subscribe(), session.probe()
    assert json.loads(first)[1:] == json.loads(probe)[1:]
    assert list(exchange.session().probe()) == []


@BOTH
def test_an_old_snapshot_answers_a_probe_and_is_not_delivered(exchange: Exchange) -> None:
    """After a probe a snapshot as old as the last frame is an answer; before it, it was data."""
    session = opened(exchange)
    old, same = frame(timestamp=5), frame(timestamp=5, stream="SNAPSHOT")
    assert kinds(session, [old, same]) == [Kind.DATA, Kind.DATA]
    session.probe()
    answer = session.classify(same)
    assert (answer.kind, answer.probe) == (Kind.CONTROL, True)
    assert session.classify(frame(timestamp=4, stream="SNAPSHOT")).probe


@BOTH
def test_a_newer_snapshot_is_data(exchange: Exchange) -> None:
    """A snapshot with news is delivered, once."""
    session = opened(exchange)
    session.classify(frame(timestamp=5))
    session.probe()
    newer = frame(timestamp=6, stream="SNAPSHOT")
    assert session.classify(newer) is DATA
    assert session.classify(newer).probe


@BOTH
def test_live_frames_after_a_probe_are_data(exchange: Exchange) -> None:
    """A probe touches snapshots only: live frames are delivered whatever their time says."""
    session = opened(exchange)
    session.classify(frame(timestamp=5))
    session.probe()
    assert session.classify(frame(timestamp=5)) is DATA
    assert session.classify(frame(timestamp=5, note="SNAPSHOT")) is DATA


@BOTH
def test_times_are_compared_within_one_channel_and_code(exchange: Exchange) -> None:
    """Units differ between channels and clocks between codes, so only the same channel and code is compared."""
    session = opened(exchange)
    session.classify(frame("orderbook", timestamp=1790133505546514))
    session.classify(frame("trade", timestamp=1790133514039, sequential_id=7))
    session.probe()
    assert session.classify(frame("trade", timestamp=1790133514040, sequential_id=8, stream="SNAPSHOT")) is DATA
    assert session.classify(frame("orderbook", "KRW-ETH", timestamp=1, stream="SNAPSHOT")) is DATA


@BOTH
def test_the_same_trade_is_a_repeat_whatever_its_time(exchange: Exchange) -> None:
    """A trade is known by its number: a snapshot stamped anew is not delivered again."""
    session = opened(exchange)
    session.classify(frame("trade", timestamp=5, sequential_id=1079953210371761700))
    session.probe()
    assert session.classify(frame("trade", timestamp=9, sequential_id=1079953210371761700, stream="SNAPSHOT")).probe
    assert session.classify(frame("trade", timestamp=9, sequential_id=1079953210371761701, stream="SNAPSHOT")) is DATA


@BOTH
def test_snapshots_in_simple_names_or_any_order_are_compared(exchange: Exchange) -> None:
    """The comparison knows both formats, whatever the order of the keys."""
    session = opened(exchange)
    session.classify(SIMPLE)
    session.probe()
    assert session.classify(SIMPLE).probe
    turned = json.dumps(dict(reversed(json.loads(SIMPLE).items()))).encode()
    assert session.classify(turned).probe


@BOTH
def test_snapshots_without_a_time_count_as_old(exchange: Exchange) -> None:
    """A snapshot that does not tell its time proves the data path and is not delivered twice."""
    session = opened(exchange)
    session.classify(frame())
    session.probe()
    assert session.classify(frame(stream="SNAPSHOT")).probe
    assert session.classify(frame(stream="SNAPSHOT", timestamp="late")).probe


def test_memory_is_bounded_by_the_subscription() -> None:
    """A server that invents codes cannot make a session remember more than was asked for."""
    session = opened(UPBIT, Subscription("trade", ("BTC/KRW",)))
    session.classify(frame("trade", timestamp=1))
    for number in range(1000):
        assert session.classify(frame("trade", f"KRW-X{number}", timestamp=1)) is DATA
    session.probe()
    assert session.classify(frame("trade", timestamp=1, stream="SNAPSHOT")).probe
    assert session.classify(frame("trade", "KRW-X1", timestamp=1, stream="SNAPSHOT")) is DATA


def test_figures_of_the_documentation() -> None:
    """Upbit's and Bithumb's clocks, limits and heartbeats are the published or measured ones."""
    for exchange in (UPBIT, BITHUMB):
        clocks = (exchange.ping_interval, exchange.ping_timeout, exchange.link_timeout, exchange.message_timeout)
        assert clocks == (20, 10, 35, 60)
        control, message = exchange.heartbeats
        assert (control.by, control.form, control.answered) == (By.CLIENT, Form.CONTROL, True)
        assert (message.by, message.form, message.answered) == (By.CLIENT, Form.MESSAGE, False)
        assert message.text(3) == "PING"
    assert (UPBIT.name_ko, BITHUMB.name_ko) == ("[업비트]", "[빗썸]")
    assert (UPBIT.limits.connects, BITHUMB.limits.connects) == (Rate(5, 1), Rate(10, 1))
    assert UPBIT.limits.messages == (Rate(5, 1), Rate(100, 60))
    assert BITHUMB.limits.messages == ()


@BOTH
def test_a_change_is_the_whole_list_again(exchange: Exchange) -> None:
    """The array that replaces names all; snapshots that repeat are no data, and what is new is."""
    session = opened(exchange, Subscription("book", "BTC/KRW"))
    assert kinds(session, [frame(timestamp=5)]) == [Kind.DATA]
    wanted = exchange.native([Subscription("book", ("BTC/KRW", "ETH/KRW"))])
    sent = session.change(wanted)
    assert sent is not None
    assert session.pending() == frozenset(), "the channel is confirmed already"
    assert [json.loads(each)[1:] for each in sent] == [
        [{"type": "orderbook", "codes": ["KRW-BTC", "KRW-ETH"]}, {"format": "DEFAULT"}]
    ]
    assert session.subscriptions == wanted
    again = [frame(timestamp=5, stream="SNAPSHOT"), frame(timestamp=5, stream="SNAPSHOT", code="KRW-ETH")]
    assert kinds(session, again) == [Kind.CONTROL, Kind.DATA]


@BOTH
def test_a_code_that_left_comes_back_as_news(exchange: Exchange) -> None:
    """What is remembered of a code ends with its subscription, whatever depth the request named."""
    session = opened(exchange, Subscription("orderbook", ("KRW-BTC.15", "KRW-ETH.15")))
    kinds(session, [frame(timestamp=5), frame(timestamp=5, code="KRW-ETH")])
    session.change((Subscription("orderbook", ("KRW-BTC.15",)),))
    session.change((Subscription("orderbook", ("KRW-BTC.15", "KRW-ETH.15")),))
    again = [frame(timestamp=5, stream="SNAPSHOT"), frame(timestamp=5, stream="SNAPSHOT", code="KRW-ETH")]
    assert kinds(session, again) == [Kind.CONTROL, Kind.DATA]


@BOTH
def test_an_empty_list_cannot_be_sent(exchange: Exchange) -> None:
    """There is no array without a type: only the end of the session ends the last subscription."""
    session = opened(exchange)
    before = session.subscriptions
    assert session.change(()) is None
    assert session.subscriptions == before


@BOTH
def test_a_new_channel_is_confirmed_like_the_first(exchange: Exchange) -> None:
    """It is pending from the change to its first data; a channel that leaves is waited for no longer."""
    session = opened(exchange, Subscription("book", "BTC/KRW"))
    session.change(exchange.native([Subscription("trade", "BTC/KRW")]))
    assert session.pending() == {"trade"}
    assert session.classify(TRADE).confirms == ("trade",)
    assert session.pending() == frozenset()
