"""One consumer of a feed: its own place, bound and policy, whatever others of the same feed do."""

from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import trio

from actors.backlog import Spill, backlog
from actors.items import Batch, Down, Gap, Message, Overflow

CHECKPOINT_EVERY = 256
"""Items that one task may take without a checkpoint: a checkpoint costs ten times what an item does."""
_NOTHING = Batch(0, (), 0)


class Consumer:
    """Iterates ``Message | Down | Gap``, in order; made by :meth:`actors.feed.Feed.consumer`.

    Args:
        name: The feed's, for messages.
        overflow: The bound and the policy.
        describe: Finds channel and code of a frame.
        room: Where producers wait for room, under ``block``.
        on_spill: Called when a batch has passed the bound.
    """

    def __init__(
        self,
        name: str,
        overflow: Overflow,
        describe: Callable[[str | bytes], tuple[str, str]],
        *,
        room: trio.lowlevel.ParkingLot,
        on_spill: "Callable[[Consumer, Spill, float], None]",
    ) -> None:
        self.backlog = backlog(overflow, describe)
        self._name = name
        self._describe = describe
        self._room = room if overflow.policy == "block" else None
        self._on_spill = on_spill
        self._batch = _NOTHING
        self._used = 0
        """How many messages of the batch have been made."""
        self._ready: list[Message] = []
        """Those of them that have not been taken, the last one first."""
        self._taken = 0
        self._waiting = False
        self._parked: trio.lowlevel.Task | None = None
        """The task that waits for an item, without the cost of a parking lot: there is one at most."""
        self._end: tuple[type[Exception], str] | None = None

    # -- the consumer's side

    def __aiter__(self) -> "Consumer":
        return self

    async def __anext__(self) -> Message | Down | Gap:
        """The next item. A checkpoint whenever it waits, and at least every 256 items.

        Raises:
            FeedFailed: the feed has ended by itself, or this consumer has, under the policy ``fail``.
            trio.ClosedResourceError: the feed was closed, or the consumer was left.
            trio.BusyResourceError: another task is waiting for the next item.
        """
        if not self._ready:
            if self._must_wait:
                await self._wait()
            # from here to the return nothing waits: a cancelled consumer loses no item
            item = self._make_ready()
            if item is not None:
                return item
        return self._ready.pop()

    def batches(self) -> "Batches":
        """The same items with the messages still in batches, at a fraction of the cost a message."""
        return Batches(self)

    async def next_batch(self) -> Batch | Down | Gap:
        """The next item with the messages in their batch; what :meth:`batches` iterates over."""
        if self._must_wait:
            await self._wait()
        self._taken += 1
        if self._batch is _NOTHING:  # nobody has taken single messages
            return self._take()
        rest = self._batch.frames[self._used - len(self._ready) :]
        if not rest:
            return self._take()
        item, self._batch, self._used = attrs.evolve(self._batch, frames=rest), _NOTHING, 0
        self._ready.clear()
        return item

    @property
    def _must_wait(self) -> bool:
        return self._waiting or self._taken >= CHECKPOINT_EVERY or not self._something

    @property
    def _something(self) -> bool:
        """Whether there is something to take."""
        return bool(self.backlog or self._ready) or self._used < len(self._batch.frames)

    async def _wait(self) -> None:
        """Wait until there is something to take; a checkpoint if that takes time, or is due."""
        if self._waiting:
            msg = f"another task is waiting for the next item of the feed {self._name}: give each its own consumer()"
            raise trio.BusyResourceError(msg)
        self._waiting = True
        try:
            if self._taken >= CHECKPOINT_EVERY:
                await trio.lowlevel.checkpoint()
                self._taken = 0
            while not self._something:
                if self._end is not None:
                    error, why = self._end
                    raise error(why)
                self._parked = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abandon)
                self._taken = 0
        finally:
            self._waiting = False

    def _abandon(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        task, self._parked = self._parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _make_ready(self) -> Down | Gap | None:
        """Make the next messages, no more than may be taken without a checkpoint; what is no message is returned."""
        if self._used == len(self._batch.frames):
            item = self._take()
            if not isinstance(item, Batch):
                self._taken += 1
                return item
            self._batch, self._used = item, 0
        batch, begin = self._batch, self._used
        frames = batch.frames[begin : begin + CHECKPOINT_EVERY - self._taken]
        self._used += len(frames)
        self._taken += len(frames)
        received, session, describe, kind = batch.received, batch.session, self._describe, batch.kind
        self._ready = [Message(frame, received, session, describe, kind) for frame in reversed(frames)]
        return None

    def _take(self) -> Batch | Down | Gap:
        item = self.backlog.take()
        if self._room and not self.backlog.full:
            self._room.unpark_all()
        return item

    # -- the feed's side: synchronous, so that no consumer delays a socket or another consumer

    @property
    def blocks(self) -> bool:
        """Whether reading has to wait for this one when it is at its bound."""
        return self._room is not None

    def put(self, batch: Batch, size: int, now: float) -> None:
        """Put in a batch of so many bytes."""
        spill = self.backlog.put(batch, size)
        self._wake()
        if spill is not None:
            self._on_spill(self, spill, now)

    def add(self, item: Down | Gap) -> None:
        """Put in what is told in band."""
        self.backlog.add(item)
        self._wake()

    @property
    def ended(self) -> bool:
        """Whether nothing will be put in any more."""
        return self._end is not None

    def end(self, error: type[Exception], why: str) -> None:
        """After what waits, raise this."""
        self._end = error, why
        self._wake()

    def revive(self) -> None:
        """The feed goes on after all."""
        self._end = None

    def close(self, why: str) -> None:
        """Forget what waits, and raise trio.ClosedResourceError from now on."""
        self.backlog.clear()
        self._batch, self._used = _NOTHING, 0
        self._ready.clear()
        self.end(trio.ClosedResourceError, why)


class Batches:
    """Iterates a consumer's ``Batch | Down | Gap``; made by :meth:`Consumer.batches`."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __aiter__(self) -> "Batches":
        return self

    def __anext__(self) -> Coroutine[Any, Any, Batch | Down | Gap]:
        """As the consumer's own ``__anext__``, with the messages in batches."""
        return self._consumer.next_batch()
