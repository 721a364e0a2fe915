"""A feed: ``Message | Down | Gap``, in order, handed by its producers to each of its consumers.

A feed outlives the sessions that serve it. Producers (connectors) call its synchronous methods; consumers iterate it,
message by message or batch by batch, each out of a bounded backlog of its own.
"""

from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import trio

from actors.backlog import Spill
from actors.consumer import Batches, Consumer
from actors.errors import GiveUp
from actors.events import EventHook, GapReported, LinkState, Overflowed
from actors.exchange import Exchange, Kind, Subscription
from actors.items import DROP_OLDEST, Batch, Down, FeedFailed, Gap, Message, Overflow
from actors.line import Line, Part, sum_up
from actors.stats import ConnectorStats


class Feed(Line):
    """What an application holds: iterate it, its :meth:`batches`, or a :meth:`consumer` of it.

    Until somebody takes, the feed keeps what comes, and all of it goes to who is first: its own iteration, or a
    consumer. The feed itself is a consumer once it has been iterated, and then to its end.

    Args:
        name: Unique among the feeds of a process.
        exchange: The profile, fields already overridden.
        subscriptions: What is subscribed to, in the exchange's own words.
        stats: Where the feed counts.
        emit: The event hook.
        overflow: The bound and the policy of its own iteration.
        control: Whether frames that are no data (acks, heartbeats, notices) are delivered too.

    Raises:
        ValueError: the exchange cannot be had under this policy.
    """

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        subscriptions: tuple[Subscription, ...],
        *,
        stats: ConnectorStats,
        emit: EventHook,
        overflow: Overflow = DROP_OLDEST,
        control: bool = False,
    ) -> None:
        super().__init__(name, exchange, subscriptions, stats=stats, emit=emit)
        self.control = control
        self.parts: list[Part] = []
        """Its sockets, where it may have several; else the feed itself is the one line."""
        self._room = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._failure: str | None = None
        self._closed = False
        self._own = self._new_consumer(overflow)
        self._begun = False
        """Whether anybody has begun to take."""
        self._consumers: tuple[Consumer, ...] = ()
        self._blocking: tuple[Consumer, ...] = ()
        self._set_consumers(self._own)
        stats.waiting = self._waiting

    # -- the consumers' side

    def __aiter__(self) -> Consumer:
        return self._mine()

    def __anext__(self) -> Coroutine[Any, Any, Message | Down | Gap]:
        """The next item of the feed's own iteration, as :meth:`actors.consumer.Consumer.__anext__`."""
        return self._mine().__anext__()

    def batches(self) -> Batches:
        """The same items with the messages still in batches, at a fraction of the cost a message."""
        return self._mine().batches()

    def next_batch(self) -> Coroutine[Any, Any, Batch | Down | Gap]:
        """The next item with the messages in their batch; what :meth:`batches` iterates over."""
        return self._mine().next_batch()

    @contextmanager
    def consumer(self, overflow: Overflow = DROP_OLDEST) -> Generator[Consumer]:
        """One more consumer, from now to the end of the ``with``; what becomes of it touches no other.

        During an interruption its first item is the ``Down``. Under ``block`` reading waits for the slowest of those
        with that policy; under ``fail`` the consumer alone ends.

        Raises:
            ValueError: the exchange cannot be had under this policy.
            trio.ClosedResourceError: the feed was closed.
        """
        if self._closed:
            raise trio.ClosedResourceError(self._closed_why)
        consumer = self._new_consumer(overflow)
        if self._failure is not None:
            consumer.end(FeedFailed, self._failure)
        if self._begun:
            self._join(consumer)
        else:
            self._begun = True
            self._set_consumers(consumer)
            self._hand_over(consumer)
        try:
            yield consumer
        finally:
            self._leave(consumer)
            consumer.close(f"this consumer of the feed {self.name} was left: its `with` has ended")

    async def live(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - a convenience of this API
        """Wait until the feed is live.

        Raises:
            trio.TooSlowError: it took more than ``timeout`` seconds.
            FeedFailed: the feed has ended by itself.
            trio.ClosedResourceError: the feed was closed.
        """
        with trio.fail_after(float("inf") if timeout is None else timeout):
            await trio.lowlevel.checkpoint()
            while self.stats.state is not LinkState.LIVE:
                if self._closed:
                    raise trio.ClosedResourceError(self._closed_why)
                if self._failure is not None:
                    raise FeedFailed(self._failure)
                await self._changed.park()

    def _mine(self) -> Consumer:
        """The consumer that the feed itself is, from now on if it was none."""
        self._begun = True
        if self._own not in self._consumers and not self._own.ended:
            self._join(self._own)
        return self._own

    def _new_consumer(self, overflow: Overflow) -> Consumer:
        overflow.check(self.exchange)
        return Consumer(self.name, overflow, self.exchange.describe, room=self._room, on_spill=self._spilt)

    def _join(self, consumer: Consumer) -> None:
        for line in self.parts or (self,):
            if (down := line.interruption) is not None:
                consumer.add(down)
        self._set_consumers(*self._consumers, consumer)

    def _leave(self, consumer: Consumer) -> None:
        self._set_consumers(*(each for each in self._consumers if each is not consumer))
        self._room.unpark_all()

    def _set_consumers(self, *consumers: Consumer) -> None:
        self._consumers = consumers
        self._blocking = tuple(each for each in consumers if each.blocks)

    def _hand_over(self, consumer: Consumer) -> None:
        """Give a consumer what was kept while nobody took."""
        kept = self._own.backlog
        while kept:
            item = kept.take()
            if isinstance(item, Batch):
                consumer.put(item, sum(map(len, item.frames)), item.at)
            else:
                consumer.add(item)
        self._room.unpark_all()

    # -- the producers' side: synchronous, so that no consumer delays a socket

    @property
    def full(self) -> bool:
        """Whether reading has to wait for a consumer (the policy ``block`` only)."""
        for consumer in self._blocking:  # noqa: SIM110 - once a batch, and any() would cost a generator
            if consumer.backlog.full:
                return True
        return False

    async def room(self) -> None:
        """Wait until no consumer makes reading wait."""
        while self.full and not self._closed:
            await self._room.park()

    def dialling(self, wall: int, now: float) -> None:
        """A connector begins."""
        if self._failure is not None:
            self._failure = None
            for consumer in self._consumers:
                consumer.revive()
        super().dialling(wall, now)

    @property
    def complete(self) -> bool:
        """Whether every socket is live."""
        return self.stats.state is LinkState.LIVE

    def push(self, frames: Sequence[str | bytes], *, wall: int, now: float, session: int) -> None:
        """Take data frames that have just been received; raises GiveUp under the policy ``fail``."""
        if self._closed:
            return
        if self._interruption is not None:
            frames = self._begin_again(frames, wall, now, session)
            if not frames:
                return
        if not self.parts:
            self._note(frames)
        self._pass_on(frames, wall, now, session)

    def _pass_on(self, frames: Sequence[str | bytes], wall: int, now: float, session: int) -> None:
        size = sum(map(len, frames))
        stats = self.stats
        stats.messages += len(frames)
        stats.bytes += size
        stats.last_message_time = wall / 1e9
        self._last = wall, now
        batch = Batch(wall, frames, session, at=now)
        for consumer in self._consumers:
            consumer.put(batch, size, now)

    def push_control(self, frame: str | bytes, kind: Kind, *, wall: int, now: float, session: int) -> None:
        """Take a frame that is no data; kept only if the feed was opened with ``control=True``."""
        if self.control and not self._closed:
            batch = Batch(wall, (frame,), session, kind, now)
            for consumer in self._consumers:
                consumer.put(batch, len(frame), now)

    def part_moved(self) -> None:
        """One of the parts has changed its state, or has come or gone: the feed's follows the least advanced."""
        stats, previous = self.stats, self.stats.state
        some = sum_up(stats, [part.stats for part in self.parts], min)
        begun = [each.connection_start_time for each in some]
        stats.connection_start_time = None if None in begun else min(filter(None, begun), default=None)
        if stats.state is not previous:
            self._moved(previous)

    def fail(self, why: str) -> None:
        """End the feed: each consumer gets what waits for it, then :class:`FeedFailed`."""
        self._failure = why
        for consumer in self._consumers:
            consumer.end(FeedFailed, why)
        self._changed.unpark_all()

    def close(self) -> None:
        """End the feed for good: every method raises trio.ClosedResourceError from now on."""
        self._closed = True
        for consumer in (self._own, *self._consumers):
            consumer.close(self._closed_why)
        self._changed.unpark_all()
        self._room.unpark_all()

    @property
    def _closed_why(self) -> str:
        return f"the feed {self.name} is closed"

    def report(self, gap: Gap, now: float) -> None:
        """Count a gap and tell of it."""
        self.stats.gaps += 1
        self.emit(
            GapReported(
                at=now,
                origin=self.stats.origin,
                reason=gap.reason,
                since=gap.since,
                until=gap.until,
                seconds=gap.seconds,
            )
        )

    def put(self, item: Batch | Down | Gap) -> None:
        """Tell every consumer in band."""
        assert not isinstance(item, Batch)  # noqa: S101 - batches come by push()
        for consumer in self._consumers:
            consumer.add(item)

    def _moved(self, previous: LinkState) -> None:
        self._changed.unpark_all()
        super()._moved(previous)

    def _waiting(self) -> int:
        return max((consumer.backlog.messages for consumer in self._consumers), default=0)

    def _spilt(self, consumer: Consumer, spill: Spill, now: float) -> None:
        """A batch has passed a consumer's bound."""
        backlog, stats = consumer.backlog, self.stats
        if spill.failure:
            self._consumer_fails(consumer, f"{self.name}: {spill.failure}")
            return
        if not backlog.behind:
            backlog.behind = True
            policy = backlog.overflow.policy
            self.emit(Overflowed(at=now, origin=stats.origin, policy=policy, depth=backlog.messages))
        stats.overflowed += spill.lost
        if spill.gap is not None:
            self.report(spill.gap, now)
        if backlog.overflow.policy == "fail":
            why = f"{self.name}: {backlog.messages} messages wait for the consumer, the bound is reached"
            self._consumer_fails(consumer, why)

    def _consumer_fails(self, consumer: Consumer, why: str) -> None:
        if consumer is self._own and len(self._consumers) == 1:
            self.fail(why)
            raise GiveUp(why)
        self._leave(consumer)
        consumer.end(FeedFailed, why)
