"""The frames of Upbit and Bithumb: names long and short, numbers as a Java server spells them (pure).

Sources: docs.upbit.com/kr/reference (websocket-trade, websocket-orderbook, websocket-ticker, websocket-candle) and
apidocs.bithumb.com, with the shapes seen on the wire in 2026-09 by github.com/nemanull/arbitrage-observatory.
"""

import datetime as dt
import decimal
import json
from collections.abc import Callable
from typing import Any, cast

import attrs

from actors.chaos.market import Quote

SHORT = {
    "acc_trade_price": "atp",
    "acc_trade_volume": "atv",
    "ask_bid": "ab",
    "ask_price": "ap",
    "ask_size": "as",
    "best_ask_price": "bap",
    "best_ask_size": "bas",
    "best_bid_price": "bbp",
    "best_bid_size": "bbs",
    "bid_price": "bp",
    "bid_size": "bs",
    "candle_acc_trade_price": "catp",
    "candle_acc_trade_volume": "catv",
    "candle_date_time_kst": "cdttmk",
    "candle_date_time_utc": "cdttmu",
    "change": "c",
    "change_price": "cp",
    "change_rate": "cr",
    "code": "cd",
    "high_price": "hp",
    "level": "lv",
    "low_price": "lp",
    "market_state": "ms",
    "opening_price": "op",
    "orderbook_units": "obu",
    "prev_closing_price": "pcp",
    "sequential_id": "sid",
    "signed_change_price": "scp",
    "signed_change_rate": "scr",
    "stream_type": "st",
    "timestamp": "tms",
    "total_ask_size": "tas",
    "total_bid_size": "tbs",
    "trade_date": "td",
    "trade_price": "tp",
    "trade_time": "ttm",
    "trade_timestamp": "ttms",
    "trade_volume": "tv",
    "type": "ty",
}
"""Names of the formats SIMPLE and SIMPLE_LIST."""

KST = dt.timezone(dt.timedelta(hours=9), "KST")


@attrs.frozen(kw_only=True)
class Dialect:
    """Where the two exchanges spell the same thing differently."""

    zone: dt.timezone = dt.UTC
    """Of ``trade_date`` and ``trade_time``."""
    compact_dates: bool = True
    """Whether a ticker's date is ``20260923``, its time ``033903``."""
    micro_books: bool = False
    """Whether a book's timestamp is in microseconds; all others are in milliseconds."""
    java_numbers: bool = True
    """Whether large numbers of the long formats look like ``1.16539E8``."""
    sequence_base: int = 17_000_000_000_000_000
    """Added to the running number of a trade; Bithumb's do not fit into a double."""


@attrs.frozen
class Style:
    """How one connection wants a code of it: ``format`` is one of the four, ``depth`` that of a book."""

    format: str = "DEFAULT"
    depth: int = 30


def frame(channel: str, quote: Quote, dialect: Dialect, style: Style, *, snapshot: bool) -> bytes:
    """One data frame as UTF-8 JSON."""
    make = _MAKERS.get(channel, _candle)
    head = {"type": channel, "code": quote.code}
    kind = {"stream_type": "SNAPSHOT" if snapshot else "REALTIME"}
    body = {**head, **make(quote, dialect, style), **kind}
    if channel == "orderbook":
        body["level"] = 0
    simple = style.format.startswith("SIMPLE")
    spell = java_number if dialect.java_numbers and not simple else plain_number
    text = encode(_short(body) if simple else body, spell)
    return (f"[{text}]" if style.format.endswith("LIST") else text).encode()


def encode(value: Any, spell: Callable[[float], str]) -> str:
    """JSON without blanks, floats spelled by ``spell``."""
    match value:
        case dict():
            items = cast("dict[str, Any]", value).items()
            return "{" + ",".join(f'"{key}":{encode(item, spell)}' for key, item in items) + "}"
        case list():
            return "[" + ",".join(encode(item, spell) for item in cast("list[Any]", value)) + "]"
        case float():
            return spell(value)
        case _:
            return _encode(value)


_encode = json.JSONEncoder(ensure_ascii=False).encode
"""``json.dumps`` would make an encoder for each value."""


def java_number(value: float) -> str:
    """A double as Java's ``Double.toString`` has it: ``1.16539E8``, ``1235000.0``, ``7.9276E-4``."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    exact = decimal.Decimal(repr(value)).normalize()
    sign, digits, _ = exact.as_tuple()
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{exact.adjusted()}"


def plain_number(value: float) -> str:
    """The same, whole numbers without a fraction: ``116606000``."""
    return str(int(value)) if value == int(value) else java_number(value)


def _trade(quote: Quote, dialect: Dialect, _style: Style) -> dict[str, Any]:
    when = _moment(quote, dialect.zone)
    (ask, bid, ask_size, bid_size) = quote.levels(1)[0]
    return {
        "timestamp": quote.at // 1_000_000,
        "trade_date": f"{when:%Y-%m-%d}",
        "trade_time": f"{when:%H:%M:%S}",
        "trade_timestamp": quote.at // 1_000_000,
        "trade_price": quote.price,
        "trade_volume": quote.size,
        "ask_bid": "BID" if quote.bought else "ASK",
        **_change(quote),
        "sequential_id": dialect.sequence_base + quote.sequence,
        "best_ask_price": ask,
        "best_ask_size": ask_size,
        "best_bid_price": bid,
        "best_bid_size": bid_size,
    }


def _orderbook(quote: Quote, dialect: Dialect, style: Style) -> dict[str, Any]:
    levels = quote.levels(style.depth)
    return {
        "timestamp": quote.at // (1_000 if dialect.micro_books else 1_000_000),
        "total_ask_size": round(sum(level[2] for level in levels), 8),
        "total_bid_size": round(sum(level[3] for level in levels), 8),
        "orderbook_units": [
            {"ask_price": ask, "bid_price": bid, "ask_size": ask_size, "bid_size": bid_size}
            for ask, bid, ask_size, bid_size in levels
        ],
    }


def _ticker(quote: Quote, dialect: Dialect, _style: Style) -> dict[str, Any]:
    when = _moment(quote, dialect.zone)
    return {
        "opening_price": quote.opening,
        "high_price": quote.high,
        "low_price": quote.low,
        "trade_price": quote.price,
        **_change(quote),
        "signed_change_price": round(quote.price - quote.opening, 8),
        "change_rate": round(abs(quote.price / quote.opening - 1), 10),
        "signed_change_rate": round(quote.price / quote.opening - 1, 10),
        "trade_volume": quote.size,
        "acc_trade_volume": quote.volume,
        "acc_trade_price": quote.turnover,
        "trade_date": f"{when:%Y%m%d}" if dialect.compact_dates else f"{when:%Y-%m-%d}",
        "trade_time": f"{when:%H%M%S}" if dialect.compact_dates else f"{when:%H:%M:%S}",
        "trade_timestamp": quote.at // 1_000_000,
        "ask_bid": "BID" if quote.bought else "ASK",
        "market_state": "ACTIVE",
        "timestamp": quote.at // 1_000_000,
    }


def _candle(quote: Quote, _dialect: Dialect, _style: Style) -> dict[str, Any]:
    return {
        "candle_date_time_utc": f"{_moment(quote, dt.UTC):%Y-%m-%dT%H:%M:%S}",
        "candle_date_time_kst": f"{_moment(quote, KST):%Y-%m-%dT%H:%M:%S}",
        "opening_price": quote.price,
        "high_price": quote.price,
        "low_price": quote.price,
        "trade_price": quote.price,
        "candle_acc_trade_volume": quote.size,
        "candle_acc_trade_price": round(quote.size * quote.price, 8),
        "timestamp": quote.at // 1_000_000,
    }


_MAKERS = {"trade": _trade, "orderbook": _orderbook, "ticker": _ticker}


def _change(quote: Quote) -> dict[str, Any]:
    difference = round(quote.price - quote.opening, 8)
    return {
        "prev_closing_price": quote.opening,
        "change": "RISE" if difference > 0 else "FALL" if difference < 0 else "EVEN",
        "change_price": abs(difference),
    }


def _moment(quote: Quote, zone: dt.timezone) -> dt.datetime:
    return dt.datetime.fromtimestamp(quote.at // 1_000_000_000, zone)


def _short(value: Any) -> Any:
    match value:
        case dict():
            return {SHORT[key]: _short(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_short(item) for item in cast("list[Any]", value)]
        case _:
            return value
