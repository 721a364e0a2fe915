"""The consumer's end of a feed: ``Message | Down | Gap``, in order, out of a bounded buffer.

A feed outlives the sessions that serve it. Producers (connectors) call its synchronous methods; one consumer
iterates it, message by message or batch by batch.
"""

from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

import attrs
import trio

from actors.errors import GiveUp, Reason
from actors.events import EventHook, GapReported, LinkState, Overflowed
from actors.exchange import Exchange, Kind, Subscription
from actors.items import DROP_OLDEST, Batch, Down, FeedFailed, Gap, Message, Overflow
from actors.line import PROGRESS, Line, Part, sum_up
from actors.stats import ConnectorStats

CHECKPOINT_EVERY = 64
"""Items that one task may take without a checkpoint: a checkpoint costs ten times what an item does."""


class Feed(Line):
    """What a consumer holds: iterate it, or its :meth:`batches`.

    Args:
        name: Unique among the feeds of a process.
        exchange: The profile, fields already overridden.
        subscriptions: What is subscribed to, in the exchange's own words.
        stats: Where the feed counts.
        emit: The event hook.
        overflow: The bound and the policy.
        control: Whether frames that are no data (acks, heartbeats, notices) are delivered too.
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
        self.overflow = overflow
        self.control = control
        self.parts: list[Part] = []
        """Its sockets, where it may have several; else the feed itself is the one line."""
        self._items: deque[Batch | Down | Gap] = deque()
        self._bytes = 0
        self._batch: Batch | None = None
        self._used = 0
        self._taken = 0
        self._consuming = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self._overflowing = False
        self._failure: str | None = None
        self._closed = False

    # -- the consumer's side

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> Message | Down | Gap:
        """The next item. A checkpoint whenever it waits, and at least every 64 items.

        Raises:
            FeedFailed: the feed has ended by itself.
            trio.ClosedResourceError: the feed was closed.
            trio.BusyResourceError: another task is waiting for the next item.
        """
        if self._batch is None:
            item = await self._next()
            if not isinstance(item, Batch):
                return item
            self._batch = item
            self._used = 0
        elif self._taken >= CHECKPOINT_EVERY:
            await self._checkpoint()
        # from here to the return nothing waits: a cancelled consumer loses no item
        self._taken += 1
        batch = self._batch
        frame = batch.frames[self._used]
        self._used += 1
        if self._used >= len(batch.frames):
            self._batch = None
        self._count_out(1, len(frame))
        return Message(frame, batch.received, batch.session, self.exchange.describe, batch.kind)

    def batches(self) -> "Batches":
        """The same items with the messages still in batches, at a fraction of the cost a message."""
        return Batches(self)

    async def live(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - a convenience of this API
        """Wait until the feed is live; raises trio.TooSlowError after ``timeout`` seconds."""
        with trio.fail_after(float("inf") if timeout is None else timeout):
            await trio.lowlevel.checkpoint()
            while self.stats.state is not LinkState.LIVE:
                self._check_open()
                await self._changed.park()

    async def next_batch(self) -> Batch | Down | Gap:
        """The next item with the messages in their batch; what :meth:`batches` iterates over."""
        if self._batch is None:
            item = await self._next()
        else:
            await self._checkpoint()
            item = attrs.evolve(self._batch, frames=self._batch.frames[self._used :])
            self._batch = None
        if isinstance(item, Batch):
            self._count_out(len(item.frames), sum(map(len, item.frames)))
        return item

    async def _next(self) -> Batch | Down | Gap:
        if self._consuming:
            raise trio.BusyResourceError("another task is waiting for the next item of this feed")
        if self._items and self._taken >= CHECKPOINT_EVERY:
            await self._checkpoint()
        self._consuming = True
        try:
            while not self._items:
                self._check_open()
                await self._arrived.park()
                self._taken = 0
        finally:
            self._consuming = False
        self._taken += 1
        return self._items.popleft()

    async def _checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()
        self._taken = 0

    def _count_out(self, messages: int, size: int) -> None:
        self.stats.depth -= messages
        self._bytes -= size
        if self._overflowing and self.stats.depth == 0:
            self._overflowing = False
        if self._room and not self.full:
            self._room.unpark_all()

    def _count_in(self, messages: int, size: int, now: float) -> None:
        self.stats.depth += messages
        self._bytes += size
        if self.stats.depth > self.overflow.messages or self._bytes > self.overflow.bytes:
            self._overflowed(now)

    def _check_open(self) -> None:
        if self._closed:
            msg = f"the feed {self.name} is closed"
            raise trio.ClosedResourceError(msg)
        if self._failure is not None:
            raise FeedFailed(self._failure)

    # -- the producers' side: synchronous, so that no consumer delays a socket

    @property
    def full(self) -> bool:
        """Whether the buffer is at its bound."""
        return self.stats.depth >= self.overflow.messages or self._bytes >= self.overflow.bytes

    async def room(self) -> None:
        """Wait until the buffer is below its bound (the policy ``block`` only)."""
        while self.full and not self._closed:
            await self._room.park()

    def dialling(self, wall: int, now: float) -> None:
        """A connector begins."""
        self._failure = None
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
            self._resume(wall, now)
        size = sum(map(len, frames))
        stats = self.stats
        stats.messages += len(frames)
        stats.bytes += size
        stats.last_message_time = wall / 1e9
        self._last = wall, now
        self.put(Batch(wall, frames, session, at=now))
        self._count_in(len(frames), size, now)

    def push_control(self, frame: str | bytes, kind: Kind, *, wall: int, now: float, session: int) -> None:
        """Take a frame that is no data; kept only if the feed was opened with ``control=True``."""
        if self.control and not self._closed:
            self.put(Batch(wall, (frame,), session, kind, now))
            self._count_in(1, len(frame), now)

    def part_moved(self) -> None:
        """One of the parts has changed its state, or has come or gone: the feed's follows the least advanced."""
        stats, previous = self.stats, self.stats.state
        some = [part.stats for part in self.parts]
        states = [each.state for each in some if each.state is not LinkState.STOPPED]
        sum_up(stats, some, min(states, key=PROGRESS.index, default=LinkState.STOPPED))
        stats.incarnation = sum(each.incarnation for each in some)
        stats.reconnect_count = sum(each.reconnect_count for each in some)
        begun = [each.connection_start_time for each in some if each.state is not LinkState.STOPPED]
        stats.connection_start_time = None if None in begun else min(filter(None, begun), default=None)
        if stats.state is not previous:
            self._moved(previous)

    def fail(self, why: str) -> None:
        """End the feed: the consumer gets what is buffered, then :class:`FeedFailed`."""
        self._failure = why
        self._wake()

    def close(self) -> None:
        """End the feed for good: every method raises trio.ClosedResourceError from now on."""
        self._closed = True
        self._items.clear()
        self._batch = None
        self.stats.depth = self._bytes = 0
        self._wake()

    def _wake(self) -> None:
        self._arrived.unpark_all()
        self._changed.unpark_all()
        self._room.unpark_all()

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
        """Put an item at the end of the buffer."""
        self._items.append(item)
        self._arrived.unpark()

    def _moved(self, previous: LinkState) -> None:
        self._changed.unpark_all()
        super()._moved(previous)

    def _overflowed(self, now: float) -> None:
        if not self._overflowing:
            self._overflowing = True
            self.emit(Overflowed(at=now, origin=self.stats.origin, policy=self.overflow.policy, depth=self.stats.depth))
        if self.overflow.policy == "drop_oldest":
            self._drop_oldest(now)
        elif self.overflow.policy == "fail":
            why = f"{self.name}: {self.stats.depth} messages wait for the consumer, the bound is reached"
            self.fail(why)
            raise GiveUp(why)

    def _drop_oldest(self, now: float) -> None:
        """Turn the oldest items into one gap at the front, until the rest is within the bound.

        The last item is the batch that has just been pushed, so there is always one to keep; a ``Down`` goes with
        the ``Gap`` that follows it.
        """
        items, stats, bound = self._items, self.stats, self.overflow
        first = items[0]
        known = isinstance(first, Gap) and first.reason is Reason.OVERFLOW
        since: tuple[int, float] | None = None
        lost = 0
        while len(items) > 1:
            item = items[0]
            if isinstance(item, Batch):
                if stats.depth <= bound.messages and self._bytes <= bound.bytes:
                    break
                since = since or (item.received, item.at)
                lost += len(item.frames)
                stats.overflowed += len(item.frames)
                stats.depth -= len(item.frames)
                self._bytes -= sum(map(len, item.frames))
            elif isinstance(item, Gap):
                since = since or (item.since, item.started)
                lost += item.lost or 0
            items.popleft()
        kept = items[0]
        if since is None or not isinstance(kept, Batch):
            return
        gap = Gap(Reason.OVERFLOW, since[0], kept.received, kept.at - since[1], True, lost, since[1])
        items.appendleft(gap)
        if not known:
            self.report(gap, now)


class Batches:
    """Iterates a feed's ``Batch | Down | Gap``; made by :meth:`Feed.batches`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __aiter__(self) -> "Batches":
        return self

    def __anext__(self) -> Coroutine[Any, Any, Batch | Down | Gap]:
        """As the feed's own ``__anext__``, with the messages in batches."""
        return self._feed.next_batch()
