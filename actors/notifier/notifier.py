"""The notifier: an actor that turns events into messages and hands them to its channels, one task a channel."""

import random
from collections import deque
from collections.abc import Sequence

import trio

from actors.actor import NO_CONTEXT, Context, Mailbox, Overflow
from actors.backoff import ReconnectStrategy
from actors.errors import Way
from actors.events import ChannelTrouble, Event, EventHook, Notified
from actors.notifier.channel import Channel, ChannelError, Undeliverable
from actors.notifier.notification import TOLD, Notification, guide
from actors.notifier.wording import missed, render

QUARANTINE_DELAY = 300.0
"""Seconds between two attempts on a channel that refuses us as a whole."""


class Notifier:
    """An actor at the end of a mailbox: :meth:`hook` puts events in, its channels carry the messages out.

    Nothing that a channel does delays a sender or another channel: each channel has its own task and its own bounded
    queue. Where a queue is full the oldest message is dropped and counted, and the next message that gets through says
    how many were lost. What waits survives a restart of the actor. Once ``task_status.stopping`` is set, everything
    told so far is sent before ``run`` returns.

    Args:
        channels: Where messages go; none is allowed, then nothing is sent.
        name: The actor's name.
        emit: Takes :class:`~actors.events.Notified` and :class:`~actors.events.ChannelTrouble`.
        random: Draws the jitter of retries.
        capacity: The most events, and the most messages a channel, that wait.

    Raises:
        ValueError: two channels have the same name.
    """

    def __init__(
        self,
        channels: Sequence[Channel] = (),
        *,
        name: str = "notifier",
        emit: EventHook = lambda event: None,
        random: random.Random | None = None,
        capacity: int = 1000,
    ) -> None:
        names = [channel.name for channel in channels]
        if len(set(names)) < len(names):
            raise ValueError(f"each notification channel needs a name of its own: {', '.join(sorted(names))}")
        self.name = name
        self._mailbox: Mailbox[Event] = Mailbox(capacity, Overflow.DROP_OLDEST)
        self._dropped = 0
        self._couriers = tuple(_Courier(channel, capacity, emit, random) for channel in channels)

    @property
    def queued(self) -> dict[str, int]:
        """How many messages wait, by channel."""
        return {courier.channel.name: courier.queued for courier in self._couriers}

    def hook(self, event: Event) -> None:
        """Take note of an event, if it is one to tell: an :data:`~actors.events.EventHook`; never blocks."""
        if type(event) in TOLD:
            self._mailbox.tell(event)

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Carry messages until cancelled, or until ``task_status.stopping`` is set and all are sent."""
        until_asked = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            for courier in self._couriers:
                # entering a channel waits for no network; it may import and build an HTTP client, once, at the start
                await nursery.start(courier.run)
            task_status.started()
            task_status.healthy()
            nursery.start_soon(_cancel_at, task_status.stopping, until_asked)
            with until_asked:
                while True:
                    self._pass_on(await self._mailbox.receive())
            while len(self._mailbox):
                self._pass_on(await self._mailbox.receive())
            for courier in self._couriers:
                courier.finish()

    def _pass_on(self, event: Event) -> None:
        dropped = self._mailbox.dropped - self._dropped
        self._dropped += dropped
        notification = guide(event)
        for courier in self._couriers:
            if dropped:
                courier.lose(dropped, "dropped")
            if notification is not None:
                courier.take(notification)


class _Courier:
    """Carries the messages of one channel, in order, one at a time."""

    def __init__(self, channel: Channel, capacity: int, emit: EventHook, random: random.Random | None) -> None:
        self.channel = channel
        self._emit = emit
        self._random = random
        self._queue: Mailbox[Notification] = Mailbox(capacity, Overflow.DROP_OLDEST)
        self._pieces: deque[str] = deque()
        """What is still to be sent of the present message."""
        self._lost = 0
        """Messages lost and not yet owned up to."""
        self._owned_up = 0
        """How many of them the present message tells of."""
        self._strategy = ReconnectStrategy()
        self._trouble: Way | None = None
        """What is wrong at present, as far as it was told."""
        self._ending = False
        self._idle = trio.CancelScope()
        """A wait that ends when we are asked to."""

    @property
    def queued(self) -> int:
        return len(self._queue) + bool(self._pieces)

    def take(self, notification: Notification) -> None:
        dropped = self._queue.dropped
        self._queue.tell(notification)
        if self._queue.dropped > dropped:
            self.lose(1, "dropped")

    def lose(self, count: int, outcome: str) -> None:
        self._lost += count
        self._notified(outcome, count)

    def finish(self) -> None:
        """End once everything taken so far is sent."""
        self._ending = True
        self._idle.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._ending = False
        async with self.channel:
            task_status.started()
            while True:
                if not self._pieces:
                    notification = await self._next()
                    if notification is None:
                        return
                    self._write(notification)
                if not await self._deliver():
                    return

    async def _next(self) -> Notification | None:
        if self._ending and not len(self._queue):
            return None
        with trio.CancelScope() as self._idle:
            return await self._queue.receive()
        return None

    def _write(self, notification: Notification) -> None:
        text = render(notification, self.channel.language)
        self._owned_up = self._lost
        if self._lost:
            text = f"{text}\n{missed(self._lost, self.channel.language)}"
        self._pieces.extend(self.channel.split(text))

    async def _deliver(self) -> bool:
        """Send the present message; False if the channel refuses us and we are asked to end."""
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
        self._notified("sent", 1)
        return True

    def _fail(self) -> None:
        self._pieces.clear()
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


async def _cancel_at(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
