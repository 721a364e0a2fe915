"""A feed's list cut into sockets, and sent no faster than the exchange takes it (pure)."""

import itertools
import math
from collections import deque
from collections.abc import Iterable

import attrs

from actors.exchange import Exchange, Rate, Subscription

Topic = tuple[str, str]
"""A native channel and one code of it: what takes one place on a socket."""


def topics(subscriptions: Iterable[Subscription]) -> list[Topic]:
    """The single places that these take, in order and without repeats."""
    return list(dict.fromkeys((wanted.channel, code) for wanted in subscriptions for code in wanted.codes))


def codes_of(subscriptions: Iterable[Subscription]) -> tuple[str, ...]:
    """The codes of all channels together, in order and without repeats."""
    return tuple(dict.fromkeys(code for wanted in subscriptions for code in wanted.codes))


def grouped(wanted: Iterable[Topic]) -> tuple[Subscription, ...]:
    """The same the other way round: one subscription a channel."""
    codes: dict[str, list[str]] = {}
    for channel, code in wanted:
        codes.setdefault(channel, []).append(code)
    return tuple(Subscription(channel, tuple(each)) for channel, each in codes.items())


@attrs.define(eq=False)
class Shard:
    """What one socket carries."""

    number: int
    """From 1, never used again."""
    url: str
    """Where it is dialled; empty: wherever the exchange says."""
    topics: dict[Topic, None] = attrs.field(factory=dict["Topic", None])
    size: int = 0
    """UTF-8 bytes of the arguments."""

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What to subscribe to on a fresh socket."""
        return grouped(self.topics)


class Shards:
    """A list cut by what one socket may carry: ``limits.subscriptions``, ``limits.argument_bytes`` and ``route``.

    What is added goes to the emptiest socket of its route that has room, and to a new one only where there is none.
    What stays is never moved.

    Args:
        exchange: Whose limits; 0 is no limit.
        subscriptions: The list to begin with, native already.
    """

    def __init__(self, exchange: Exchange, subscriptions: Iterable[Subscription] = ()) -> None:
        self.shards: dict[int, Shard] = {}
        """By number."""
        self._exchange = exchange
        self._numbers = itertools.count(1)
        self._places: dict[Topic, Shard] = {}
        self.add(subscriptions)

    def add(self, subscriptions: Iterable[Subscription]) -> dict[int, tuple[Subscription, ...]]:
        """What each shard carries now besides; a number not known before is a new shard."""
        added: dict[int, list[Topic]] = {}
        for topic in topics(subscriptions):
            if topic in self._places:
                continue
            shard = self._room(topic)
            shard.topics[topic] = None
            shard.size += _size(topic)
            self._places[topic] = shard
            added.setdefault(shard.number, []).append(topic)
        return {number: grouped(new) for number, new in added.items()}

    def remove(self, subscriptions: Iterable[Subscription]) -> dict[int, tuple[Subscription, ...]]:
        """What each shard carries no longer; one that is left with nothing is gone from :attr:`shards`."""
        removed: dict[int, list[Topic]] = {}
        for topic in topics(subscriptions):
            shard = self._places.pop(topic, None)
            if shard is None:
                continue
            del shard.topics[topic]
            shard.size -= _size(topic)
            if not shard.topics:
                del self.shards[shard.number]
            removed.setdefault(shard.number, []).append(topic)
        return {number: grouped(old) for number, old in removed.items()}

    def _room(self, topic: Topic) -> Shard:
        url = self._exchange.route(Subscription(*topic))
        limits = self._exchange.limits
        most, most_bytes = limits.subscriptions or math.inf, limits.argument_bytes or math.inf
        having = [
            shard
            for shard in self.shards.values()
            if shard.url == url and len(shard.topics) < most and shard.size + _size(topic) <= most_bytes
        ]
        if having:
            return min(having, key=lambda shard: len(shard.topics))
        made = Shard(next(self._numbers), url)
        self.shards[made.number] = made
        return made


def _size(topic: Topic) -> int:
    # channel, code and what stands between them: "publicTrade.BTCUSDT", "btcusdt@trade"
    return len(topic[0].encode()) + 1 + len(topic[1].encode())


class Pacer:
    """When the next message may be sent on one connection: half of each published rate, at least one.

    The other half is for what is not ours to plan: pongs, and the blur between the server's clock and ours. Whoever
    sends a ping or an answer that the exchange counts says so by :meth:`sent`, too.

    Args:
        rates: What the exchange publishes; none: always.
    """

    def __init__(self, rates: Iterable[Rate]) -> None:
        self._rates = [(rate.seconds, deque[float](maxlen=max(1, rate.count // 2))) for rate in rates]

    def due(self, now: float) -> float:
        """The moment from which a message may be sent, ``now`` if that has come."""
        return max([now, *(sent[0] + seconds for seconds, sent in self._rates if len(sent) == sent.maxlen)])

    def sent(self, now: float) -> None:
        """A message was sent."""
        for _, sent in self._rates:
            sent.append(now)
