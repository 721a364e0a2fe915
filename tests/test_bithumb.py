"""Bithumb: what differs from Upbit, and its documented samples. The shared session is tested beside Upbit."""

import json

from actors.exchange import DATA, Kind, Subscription
from actors.exchanges import BITHUMB

BOOK = (
    b'{"type":"orderbook","code":"KRW-ETH","total_ask_size":369.9832,"total_bid_size":287.0216,'
    b'"orderbook_units":[{"ask_price":3715000,"bid_price":3714000,"ask_size":8.4592,"bid_size":3.012},'
    b'{"ask_price":3716000,"bid_price":3713000,"ask_size":3.3766,"bid_size":15.399}],"level":1,'
    b'"timestamp":1790133505546514,"stream_type":"SNAPSHOT"}'
)
TRADE = (
    b'{"type":"trade","code":"KRW-BTC","trade_price":116208000,"trade_volume":0.0009,"ask_bid":"BID",'
    b'"trade_date":"2026-09-23","trade_time":"12:18:33","trade_timestamp":1790133513739,'
    b'"sequential_id":1079953210371761700,"timestamp":1790133514039,"stream_type":"REALTIME"}'
)
WANTED = BITHUMB.native([Subscription("book", "ETH/KRW"), Subscription("trade", "BTC/KRW")])


def test_documented_samples_are_data() -> None:
    """The captured book and trade are data, confirm their channels, and are described."""
    session = BITHUMB.session(WANTED)
    pending = session.pending()
    confirmed = [session.classify(each) for each in (BOOK, TRADE)]
    assert [each.kind for each in confirmed] == [Kind.DATA, Kind.DATA]
    assert {key for each in confirmed for key in each.confirms} == pending
    assert session.pending() == frozenset()
    assert BITHUMB.describe(BOOK) == ("orderbook", "KRW-ETH")
    assert BITHUMB.describe(TRADE) == ("trade", "KRW-BTC")


def test_duplicates_of_live_frames_are_delivered() -> None:
    """Bithumb sends many frames twice; payloads stay the exchange's own, so both are data, probed or not."""
    session = BITHUMB.session(WANTED)
    session.classify(TRADE)
    assert session.classify(TRADE) is DATA
    session.probe()
    assert session.classify(TRADE) is DATA


def test_a_live_frame_before_its_snapshot() -> None:
    """A live frame may overtake the snapshot that answers a probe; the snapshot brings no news then."""
    session = BITHUMB.session(WANTED)
    session.classify(BOOK)
    session.probe()
    live = BOOK.replace(b"1790133505546514", b"1790133505600000").replace(b"SNAPSHOT", b"REALTIME")
    assert session.classify(live).kind is Kind.DATA
    assert session.classify(BOOK).probe


def test_no_option_is_sent() -> None:
    """Nothing is sent that Bithumb and Upbit spell differently."""
    (frame,) = BITHUMB.session(WANTED).subscribe()
    assert {key for part in json.loads(frame) for key in part} == {"ticket", "type", "codes", "format"}
