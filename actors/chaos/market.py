"""A market that is made up: prices that walk at random, per code, and what of them each topic has said last (pure)."""

import math
import random
from collections.abc import Callable

import attrs

LEVELS = 30
"""Depth of a book, on either side."""
WORTH = {"BTC": 84_000.0, "ETH": 2_700.0, "SOL": 130.0, "XRP": 2.1}
"""About what a coin costs in dollars, so that nobody is misled by absurd prices."""
WON = 1_380.0
"""About what a dollar costs."""


@attrs.frozen
class Topic:
    """A channel, by the exchange's own word, and a code: what is subscribed to, and what is numbered."""

    channel: str
    code: str


@attrs.frozen(kw_only=True)
class Quote:
    """The state of a code at one moment. Prices are whole multiples of ``tick``."""

    code: str
    at: int
    """Nanoseconds UTC; a later quote of the code is at least a millisecond later."""
    sequence: int
    """Rises by one with each quote of the code, from 1."""
    price: float
    """Of the last trade; also the best bid, the best ask being one tick above it."""
    tick: float
    size: float
    bought: bool
    """Whether the last trade lifted the ask."""
    opening: float
    high: float
    low: float
    volume: float
    turnover: float
    sizes: tuple[tuple[float, float], ...]
    """Ask and bid size of each level of the book, best first."""

    def levels(self, depth: int) -> list[tuple[float, float, float, float]]:
        """``(ask price, bid price, ask size, bid size)`` of the best ``depth`` levels."""
        return [(self.at_ticks(n + 1), self.at_ticks(-n), ask, bid) for n, (ask, bid) in enumerate(self.sizes[:depth])]

    def at_ticks(self, ticks: int) -> float:
        """The price so many ticks above the last one."""
        return _round(self.price + ticks * self.tick)


class Market:
    """Random walks, one a code.

    Args:
        codes: The codes there are.
        random: Where chance comes from.
        wall: Nanoseconds UTC.
    """

    def __init__(self, codes: tuple[str, ...], random: random.Random, wall: Callable[[], int]) -> None:
        self._random = random
        self._wall = wall
        self._now = {code: self._start(code) for code in codes}
        self._said: dict[Topic, Quote] = {}

    def __contains__(self, code: str) -> bool:
        return code in self._now

    def latest(self, topic: Topic) -> Quote:
        """What the topic said last: the contents of a snapshot."""
        return self._said.setdefault(topic, self._now[topic.code])

    def move(self, topic: Topic) -> Quote:
        """A step of the code's walk, told by the topic."""
        old, draw = self._now[topic.code], self._random
        # near the bottom it can only rise: a price stays a price
        ticks = draw.choice((-1, 0, 1)) if old.price > LEVELS * 2 * old.tick else 1
        price = old.at_ticks(ticks)
        size = self._size()
        sizes = list(old.sizes)
        for _ in range(3):
            sizes[draw.randrange(LEVELS)] = (self._size(), self._size())
        new = attrs.evolve(
            old,
            at=max(self._wall(), old.at + 1_000_000),
            sequence=old.sequence + 1,
            price=price,
            size=size,
            bought=draw.random() < 0.5,
            high=max(old.high, price),
            low=min(old.low, price),
            volume=round(old.volume + size, 8),
            turnover=round(old.turnover + size * price, 8),
            sizes=tuple(sizes),
        )
        self._now[topic.code] = self._said[topic] = new
        return new

    def _start(self, code: str) -> Quote:
        dollars = next((worth for name, worth in WORTH.items() if name in code), self._random.uniform(0.1, 1_000))
        rough = dollars * (WON if "KRW" in code else 1) * self._random.uniform(0.9, 1.1)
        tick = 10.0 ** (math.floor(math.log10(rough)) - 4)
        price = _round(round(rough / tick) * tick)
        size = self._size()
        return Quote(
            code=code,
            # old enough for every age a snapshot may have; Upbit's were up to 143 s old on the wire
            at=self._wall() - self._random.randrange(1_000_000_000, 120_000_000_000),
            sequence=1,
            price=price,
            tick=tick,
            size=size,
            bought=True,
            opening=price,
            high=price,
            low=price,
            volume=size,
            turnover=round(size * price, 8),
            sizes=tuple((self._size(), self._size()) for _ in range(LEVELS)),
        )

    def _size(self) -> float:
        return round(math.exp(self._random.uniform(-7, 3)), 8)


def _round(price: float) -> float:
    return round(price, 8)
