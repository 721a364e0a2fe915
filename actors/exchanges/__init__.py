"""The exchanges this package knows; each is a frozen :class:`~actors.exchange.Exchange` in a module of its own."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from actors.exchange import Exchange
from actors.exchanges.binance import BINANCE
from actors.exchanges.bithumb import BITHUMB
from actors.exchanges.generic import GENERIC, generic
from actors.exchanges.upbit import UPBIT

__all__ = ["BINANCE", "BITHUMB", "EXCHANGES", "GENERIC", "UPBIT", "find", "generic"]

EXCHANGES: Mapping[str, Exchange] = MappingProxyType({each.code: each for each in (UPBIT, BITHUMB, BINANCE, GENERIC)})
"""Every profile by its code."""


def find(code: str) -> Exchange:
    """The profile of that code; ValueError names the nearest one, or all."""
    if code in EXCHANGES:
        return EXCHANGES[code]
    near = difflib.get_close_matches(code.lower(), EXCHANGES, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EXCHANGES)}"
    msg = f"unknown exchange {code!r}: {hint}"
    raise ValueError(msg)
