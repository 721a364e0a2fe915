"""The payloads of Binance spot's streams (pure).

Source: github.com/binance/binance-spot-api-docs, web-socket-streams.md, 2026-07-21.
"""

import re
from typing import Any

from actors.chaos.market import Quote

IDS_A_DEPTH_UPDATE = 3


def payload(channel: str, quote: Quote, number: int, *, micro: bool) -> dict[str, Any]:
    """One payload; times are in milliseconds, or in microseconds."""
    partial = re.match(r"depth\d", channel)
    make = _partial_depth if partial else _MAKERS[re.split("[@_]", channel)[0]]
    return make(channel, quote, number, 1_000 if micro else 1_000_000)


def _decimal(value: float) -> str:
    return f"{value:.8f}"


def _event(name: str, quote: Quote, unit: int) -> dict[str, Any]:
    return {"e": name, "E": quote.at // unit, "s": quote.code}


def _trade(_channel: str, quote: Quote, number: int, unit: int) -> dict[str, Any]:
    fields = {"t": number, "p": _decimal(quote.price), "q": _decimal(quote.size), "T": quote.at // unit}
    return {**_event("trade", quote, unit), **fields, "m": not quote.bought, "M": True}


def _agg_trade(_channel: str, quote: Quote, number: int, unit: int) -> dict[str, Any]:
    fields = {"a": number, "p": _decimal(quote.price), "q": _decimal(quote.size), "f": number, "l": number}
    return {**_event("aggTrade", quote, unit), **fields, "T": quote.at // unit, "m": not quote.bought, "M": True}


def _depth(_channel: str, quote: Quote, number: int, unit: int) -> dict[str, Any]:
    first = (number - 1) * IDS_A_DEPTH_UPDATE + 1
    levels = quote.levels(IDS_A_DEPTH_UPDATE)
    sides = {"b": [[_decimal(bid), _decimal(size)] for _, bid, _, size in levels]}
    sides["a"] = [[_decimal(ask), _decimal(size)] for ask, _, size, _ in levels]
    return {**_event("depthUpdate", quote, unit), "U": first, "u": first + IDS_A_DEPTH_UPDATE - 1, **sides}


def _partial_depth(channel: str, quote: Quote, number: int, _unit: int) -> dict[str, Any]:
    levels = quote.levels(int(re.findall(r"\d+", channel)[0]))
    return {
        "lastUpdateId": number * IDS_A_DEPTH_UPDATE,
        "bids": [[_decimal(bid), _decimal(size)] for _, bid, _, size in levels],
        "asks": [[_decimal(ask), _decimal(size)] for ask, _, size, _ in levels],
    }


def _book_ticker(_channel: str, quote: Quote, number: int, _unit: int) -> dict[str, Any]:
    ask, bid, ask_size, bid_size = map(_decimal, quote.levels(1)[0])
    return {"u": number, "s": quote.code, "b": bid, "B": bid_size, "a": ask, "A": ask_size}


def _mini_ticker(_channel: str, quote: Quote, _number: int, unit: int) -> dict[str, Any]:
    return {**_event("24hrMiniTicker", quote, unit), "c": _decimal(quote.price), **_day(quote)}


def _ticker(channel: str, quote: Quote, number: int, unit: int) -> dict[str, Any]:
    window = channel.partition("_")[2]
    change = {"p": _decimal(quote.price - quote.opening), "P": f"{(quote.price / quote.opening - 1) * 100:.3f}"}
    head = _event(f"{window}Ticker" if window else "24hrTicker", quote, unit)
    return {**head, **change, "c": _decimal(quote.price), "Q": _decimal(quote.size), **_day(quote), "n": number}


def _kline(channel: str, quote: Quote, number: int, unit: int) -> dict[str, Any]:
    price = _decimal(quote.price)
    bar = {"t": quote.at // unit, "s": quote.code, "i": channel.partition("_")[2], "o": price, "c": price, "h": price}
    return {
        **_event("kline", quote, unit),
        "k": {**bar, "l": price, "v": _decimal(quote.size), "n": number, "x": False},
    }


def _average(_channel: str, quote: Quote, _number: int, unit: int) -> dict[str, Any]:
    return {**_event("avgPrice", quote, unit), "i": "5m", "w": _decimal(quote.price), "T": quote.at // unit}


def _day(quote: Quote) -> dict[str, str]:
    named = {"o": quote.opening, "h": quote.high, "l": quote.low, "v": quote.volume, "q": quote.turnover}
    return {key: _decimal(value) for key, value in named.items()}


_MAKERS = {
    "trade": _trade,
    "aggTrade": _agg_trade,
    "depth": _depth,
    "bookTicker": _book_ticker,
    "miniTicker": _mini_ticker,
    "ticker": _ticker,
    "kline": _kline,
    "avgPrice": _average,
}
