"""Who follows what, what is said when, and under which number: the market data of a simulated exchange."""

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Hashable
from typing import NoReturn, Protocol

import trio

from actors.chaos.conversation import Conversation
from actors.chaos.ledger import Ledger, Role, Shape, What
from actors.chaos.link import Link
from actors.chaos.market import Market, Quote, Topic
from actors.exchange import Rate


class Follower(Conversation):
    """A conversation that may subscribe to topics."""

    def __init__(self, link: Link, board: "Board") -> None:
        super().__init__(link)
        self.board = board
        self.topics: dict[Topic, None] = {}
        """What it follows, in the order of subscription; kept by the board."""

    def style(self, topic: Topic) -> Hashable:
        """In which way this connection wants the topic rendered; the venue's own affair."""
        del topic
        return None

    def closed(self) -> None:
        """Nothing more is for this connection."""
        self.board.leave(self)


class Venue(Protocol):
    """The documented rules of one exchange, of its connections and of its frames."""

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes that it lists unless told otherwise."""
        ...

    @property
    def path(self) -> str:
        """Path of its URL."""
        ...

    @property
    def connects(self) -> Rate | None:
        """Connects it lets in, whatever their source; the others get HTTP 429."""
        ...

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Its own headers of the 101."""
        ...

    def judge(self, path: str) -> int:
        """The HTTP status that a request for ``path`` deserves; 101 lets it in."""
        ...

    def follower(self, link: Link, board: "Board") -> Follower:
        """A fresh conversation under its rules."""
        ...

    def render(
        self, topic: Topic, quote: Quote, number: int, *, style: Hashable = None, snapshot: bool = False
    ) -> str | bytes:
        """A frame of data. ``number`` is the topic's running number, of a snapshot that of the frame it restates."""
        ...

    def repeats(self, topic: Topic) -> float:
        """The share of the topic's frames that repeat the one before, byte for byte."""
        ...


class Board:
    """Produces messages of every topic that was ever followed, whether anybody follows it now or not.

    Args:
        venue: Its rules.
        market: Its prices.
        ledger: Where messages that nobody follows are written down as lost.
        random: Where chance comes from.
        wall: Nanoseconds UTC.
        rate: Messages a second of each topic, on average; 0 for none.
        quiet: Codes of which there are snapshots only.
    """

    def __init__(
        self,
        *,
        venue: Venue,
        market: Market,
        ledger: Ledger,
        random: random.Random,
        wall: Callable[[], int],
        rate: float,
        quiet: Collection[str],
    ) -> None:
        self.market = market
        self.wall = wall
        self._venue = venue
        self._ledger = ledger
        self.random = random
        self._pause = 1 / rate if rate else math.inf
        self._quiet = frozenset(quiet)
        self._followers: dict[Topic, dict[Follower, None]] = {}
        self._numbers: Counter[Topic] = Counter()
        self._due: list[tuple[float, int, Topic]] = []
        self._order = itertools.count()
        self._bell = trio.Event()

    def follow(self, follower: Follower, topic: Topic) -> None:
        """From now on the topic's messages go to ``follower`` too."""
        if topic not in self._followers:
            self._followers[topic] = {}
            if topic.code not in self._quiet and math.isfinite(self._pause):
                self._schedule(topic, trio.current_time())
                self._bell.set()
        self._followers[topic][follower] = None
        follower.topics[topic] = None

    def unfollow(self, follower: Follower, topic: Topic) -> None:
        """No more of the topic's messages go to ``follower``."""
        follower.topics.pop(topic, None)
        self._followers.get(topic, {}).pop(follower, None)

    def leave(self, follower: Follower) -> None:
        """No more messages go to ``follower``."""
        for topic in tuple(follower.topics):
            self.unfollow(follower, topic)

    def lose(self, code: str) -> None:
        """Whoever follows anything of this code does so no longer."""
        for topic in [topic for topic in self._followers if topic.code == code]:
            for follower in tuple(self._followers[topic]):
                self.unfollow(follower, topic)

    def hush(self, code: str) -> None:
        """Nothing is said of this code any more, but snapshots."""
        self._quiet |= {code}
        self._due = [each for each in self._due if each[2].code != code]
        heapq.heapify(self._due)

    def snapshot(self, follower: Follower, topic: Topic) -> None:
        """Send ``follower`` what the topic said last."""
        quote, style = self.market.latest(topic), follower.style(topic)
        data = self._venue.render(topic, quote, self._numbers[topic], style=style, snapshot=True)
        follower.link.send(data, Role.DATA, channel=topic.channel, code=topic.code, reply=True)

    async def run(self) -> NoReturn:
        """Say what is due, until cancelled."""
        while True:
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                due, _, topic = heapq.heappop(self._due)
                self._say(topic)
                # a loop that was held up does not catch up in a burst
                self._schedule(topic, max(due, now - self._pause))
            self._bell = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else math.inf):
                await self._bell.wait()

    def _schedule(self, topic: Topic, after: float) -> None:
        due = after + self._pause * self.random.uniform(0.5, 1.5)
        heapq.heappush(self._due, (due, next(self._order), topic))

    def _say(self, topic: Topic) -> None:
        repeat = self._numbers[topic] and self.random.random() < self._venue.repeats(topic)
        quote = self.market.latest(topic) if repeat else self.market.move(topic)
        self._numbers[topic] += 1
        number = self._numbers[topic]
        rendered: dict[Hashable, str | bytes] = {}
        for follower in tuple(self._followers[topic]):
            style = follower.style(topic)
            if style not in rendered:
                rendered[style] = self._venue.render(topic, quote, number, style=style)
            follower.link.send(rendered[style], Role.DATA, channel=topic.channel, code=topic.code, number=number)
        if not rendered:
            data = self._venue.render(topic, quote, number)
            shape = Shape.TEXT if isinstance(data, str) else Shape.BINARY
            self._ledger.write(
                What.LOST, data=data, shape=shape, role=Role.DATA, channel=topic.channel, code=topic.code, number=number
            )
