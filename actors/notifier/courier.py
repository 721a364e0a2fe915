"""Carrying: the letters of one channel, in order, one at a time."""

import random
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs
import trio

from actors.backoff import ReconnectStrategy
from actors.errors import Way
from actors.events import ChannelTrouble, EventHook, Notified
from actors.notifier.channel import Channel, ChannelError, Letter, Remembering, Undeliverable
from actors.notifier.notification import Severity
from actors.notifier.spool import Spool
from actors.notifier.wording import missed

QUARANTINE_DELAY = 300.0
"""Seconds between two attempts on a channel that refuses us as a whole."""


@attrs.frozen
class Queued:
    """A letter and its key in the spool, 0 if it is not there."""

    letter: Letter
    key: int = 0


class Courier:
    """Takes letters for one channel and carries them there. What it holds survives a restart of the notifier.

    Args:
        channel: The channel.
        least: Letters of less severity are none of its business.
        capacity: The most letters that wait; beyond it the oldest is dropped, counted, and owned up to.
        emit: Takes :class:`~actors.events.Notified` and :class:`~actors.events.ChannelTrouble`.
        random: Draws the jitter of retries.
        wall: Nanoseconds UTC.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        least: Severity,
        capacity: int,
        emit: EventHook,
        random: random.Random | None,
        wall: Callable[[], int],
    ) -> None:
        self.channel = channel
        self.least = least
        self._capacity = capacity
        self._emit = emit
        self._random = random
        self._wall = wall
        self._queue: deque[Queued] = deque()
        self._present: Queued | None = None
        self._pieces: deque[str] = deque()
        """What is still to be sent of the present letter."""
        self._gone: list[int] = []
        """Keys of letters that need no longer be in the spool."""
        self._lost = 0
        """Messages lost and not yet owned up to."""
        self._owned_up = 0
        """How many of them the present letter tells of."""
        self._strategy = ReconnectStrategy()
        self._trouble: Way | None = None
        """What is wrong at present, as far as it was told."""
        self._ending = False
        self._idle = trio.CancelScope()
        """A wait that ends when a letter comes, or when we are asked to end."""

    @property
    def queued(self) -> int:
        """How many letters wait, the one that is being sent included."""
        return len(self._queue) + (self._present is not None)

    @property
    def oldest(self) -> float:
        """How long the oldest of them has been waiting, in seconds; 0 if there is none."""
        first = self._present or (self._queue[0] if self._queue else None)
        return 0.0 if first is None else max((self._wall() - first.letter.made) / 1e9, 0.0)

    @property
    def quarantined(self) -> bool:
        """Whether the channel refuses us as a whole, so that a person has to do something."""
        return self._trouble is Way.QUARANTINE

    def take(self, queued: Queued) -> None:
        """Put a letter at the end of the queue."""
        if len(self._queue) >= self._capacity:
            self._gone.append(self._queue.popleft().key)
            self.lose(1, "dropped")
        self._queue.append(queued)
        if self._present is None:
            self._idle.cancel()

    def lose(self, count: int, outcome: str) -> None:
        """Own up, in the next letter that gets through, to so many that were lost."""
        self._lost += count
        self._notified(outcome, count)

    def finish(self) -> None:
        """End once everything taken so far is sent."""
        self._ending = True
        self._idle.cancel()

    async def resume(self, spool: Spool) -> None:
        """Let the channel take up its note of an earlier process."""
        if isinstance(self.channel, Remembering):
            name = f"channel/{self.channel.name}"
            self.channel.resume(await spool.recall(name), partial(spool.remember, name))

    async def run(
        self, spool: Spool | None = None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Carry until cancelled, or until :meth:`finish` was called and all is sent."""
        self._ending = False
        async with self.channel:
            task_status.started()
            while await self._next():
                if not await self._deliver():
                    return
                if spool is not None:
                    keys = self._gone.copy()
                    await spool.remove(keys)
                    del self._gone[: len(keys)]

    async def _next(self) -> bool:
        """Wait for something to send; False if nothing will come."""
        await trio.lowlevel.checkpoint()
        while self._present is None:
            if self._queue:
                self._open(self._queue.popleft())
            elif self._ending:
                return False
            else:
                with trio.CancelScope() as self._idle:
                    await trio.sleep_forever()
        return True

    def _open(self, queued: Queued) -> None:
        letter = queued.letter
        text = letter.text
        self._owned_up = self._lost
        if self._lost:
            text = f"{text}\n{missed(self._lost, self.channel.language)}"
        self._present = queued
        self._pieces.extend(self.channel.split(attrs.evolve(letter, text=f"{text}\n#{letter.id}")))

    async def _deliver(self) -> bool:
        """Send the present letter; False if the channel refuses us and we are asked to end."""
        while self._pieces:
            try:
                await self.channel.send(self._pieces[0])
            except ChannelError as error:
                if not await self._wait(error):
                    return False
            except Undeliverable as error:
                self._fail()
                self._tell_trouble(str(error), Way.NOW, None)
                return True
            except Exception:
                # a bug: the next incarnation must not stumble over the same text
                self._fail()
                raise
            else:
                self._pieces.popleft()
                self._strategy.reset()
                self._trouble = None
        self._lost -= self._owned_up
        self._close()
        self._notified("sent", 1)
        return True

    def _close(self) -> None:
        if self._present is not None:
            self._gone.append(self._present.key)
            self._present = None

    def _fail(self) -> None:
        self._pieces.clear()
        self._close()
        self.lose(1, "failed")

    async def _wait(self, error: ChannelError) -> bool:
        """Wait as the channel advises; False if that makes no sense because we are asked to end."""
        way = error.advice.way
        if way is Way.QUARANTINE:
            delay = QUARANTINE_DELAY
        elif way is Way.AFTER:
            delay = error.advice.seconds
        else:
            delay = self._strategy.next_delay(self._random) or self._strategy.max_delay
        self._tell_trouble(str(error), way, delay)
        if way is not Way.QUARANTINE:
            await trio.sleep(delay)
        elif not self._ending:
            with trio.move_on_after(delay) as self._idle:
                await trio.sleep_forever()
        return not (way is Way.QUARANTINE and self._ending)

    def _tell_trouble(self, error: str, way: Way, delay: float | None) -> None:
        # once for each spell of trouble, and again if it turns into one that a person has to mend
        if self._trouble is None or (way is Way.QUARANTINE and self._trouble is not way):
            self._emit(ChannelTrouble(at=trio.current_time(), channel=self.channel.name, error=error, delay=delay))
            self._trouble = way

    def _notified(self, outcome: str, count: int) -> None:
        self._emit(Notified(at=trio.current_time(), channel=self.channel.name, outcome=outcome, count=count))
