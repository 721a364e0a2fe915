"""``feedwarden watch``: one feed, kept alive, as lines of JSON."""

import logging
import math
import os
from contextlib import suppress

import attrs
import trio

from actors.events import Event, EventHook, LinkState, StateChanged
from actors.exchange import Exchange, Subscription
from actors.feed import Feed
from actors.items import BLOCK, Batch, FeedFailed, Overflow
from actors.transport import Network
from supervisors.feeds import open_feeds
from supervisors.standalone.lines import Item, Lines, line
from supervisors.standalone.logs import Journal
from supervisors.standalone.process import BoundedStop, obey_signals
from supervisors.standalone.sinks import Sink

TOO_LITTLE = 3
"""The exit code of ``--require``."""
FAILED = 1
"""The exit code when the feed itself has ended: given up, or overflowed under ``fail``."""
LINGER = 600.0
"""Seconds in which, at the end, a reader may take what has been received under ``block``: nothing is to be lost."""
FLUSH = 5.0
"""The same under another policy, or once a signal has asked us to stop."""
LAST_MOMENT = 0.5
"""Seconds in which what is said at the very end must be taken."""
BUFFER = 64 << 20
"""Bytes that wait for a slow reader."""
MESSAGES = 1 << 18
"""Messages that wait for a slow reader, were they ever so small."""


@attrs.frozen(kw_only=True)
class Watch:
    """What to watch, and for how long."""

    exchange: Exchange
    subscriptions: tuple[Subscription, ...] = ()
    network: Network | None = None
    seconds: float = math.inf
    count: int | None = None
    require: bool = False
    quiet: bool = False
    raw: bool = False
    control: bool = False
    status: bool = False
    overflow: Overflow = BLOCK


async def watch(plan: Watch, *, out: Sink, err: Sink) -> int:
    """Watch until the plan is fulfilled, a signal comes, or nobody reads any more; returns the exit code."""
    async with trio.open_nursery() as nursery:
        await nursery.start(out.run)
        await nursery.start(err.run)
        watcher = _Watcher(plan, out, err)
        await watcher.run(nursery)
        nursery.cancel_scope.cancel("the watch has ended")
    return watcher.exit_code


class _Watcher:
    def __init__(self, plan: Watch, out: Sink, err: Sink) -> None:
        self.plan = plan
        self.out = out
        self.err = err
        name = plan.exchange.code
        self.lines = Lines(name, name, raw=plan.raw, control=plan.control, status=plan.status)
        self.began = trio.current_time()
        self.first: float | None = None
        self.failed = False
        self.flush_by = math.inf
        self.flush_scope = trio.CancelScope()
        self.until = trio.CancelScope(deadline=self.began + plan.seconds)

    @property
    def exit_code(self) -> int:
        wanted = 1 if self.plan.count is None else self.plan.count
        if self.plan.require and self.lines.messages < wanted:
            return TOO_LITTLE
        return FAILED if self.failed else 0

    async def run(self, nursery: trio.Nursery) -> None:
        plan = self.plan
        with BoundedStop() as stopping:
            await nursery.start(obey_signals, stopping, self._stop)
            nursery.start_soon(self._until_gone)
            async with open_feeds(network=plan.network, on_event=self._hook()) as feeds:
                stopping.running = feeds.running
                control = plan.raw or plan.control
                feed = feeds.open(plan.exchange, *plan.subscriptions, overflow=plan.overflow, control=control)
                with self.until:
                    await self._deliver(feed)
                seconds = trio.current_time() - self.began
                self._flush_within(LINGER if plan.overflow.policy == "block" else FLUSH)
                with self._flushing():
                    await self._deliver_rest(feed)
                await self._finish(feed, seconds)
                stopping.begin()

    async def _finish(self, feed: Feed, seconds: float) -> None:
        """Say what is to be said at the end: first on standard output, then, when that has been taken, the rest."""
        gap, summary = self._open_gap(feed), self._summary(feed, seconds)
        self.out.put(summary if self.plan.quiet else gap)
        self._flush_within(math.inf, at_least=LAST_MOMENT)
        with self._flushing():
            await self.out.flush(math.inf)
        if feed.stats.state is LinkState.GAVE_UP:
            self._fail(f"{feed.name} was given up: {feed.stats.last_error}")
        if self.out.error is not None:
            self._fail(f"standard output cannot be written: {self.out.error.strerror}")
        elif not await self.out.flush(0):
            self._fail("nobody reads standard output: the last lines are lost")
        if not self.plan.quiet:
            self.err.put(summary)
        await self.err.flush(LAST_MOMENT)

    def _stop(self, signal_name: str) -> None:
        self.until.cancel(signal_name)
        self._flush_within(FLUSH)

    def _flush_within(self, seconds: float, *, at_least: float = 0.0) -> None:
        now = trio.current_time()
        self.flush_by = max(min(self.flush_by, now + seconds), now + at_least)
        self.flush_scope.deadline = self.flush_by

    def _flushing(self) -> trio.CancelScope:
        self.flush_scope = trio.CancelScope(deadline=self.flush_by)
        return self.flush_scope

    def _hook(self) -> EventHook:
        journal: EventHook | None = None
        if os.isatty(self.err.fd):
            # a person at a terminal is told what goes wrong; a program reads it on standard output
            journal = Journal(self.err.tell, terminal=True, level=logging.WARNING).hook

        def hook(event: Event) -> None:
            if journal is not None:
                journal(event)
            # the one who delivers may be waiting for room, not for the feed
            if isinstance(event, StateChanged) and event.state is LinkState.GAVE_UP:
                self.until.cancel("the feed has ended")

        return hook

    async def _until_gone(self) -> None:
        await self.out.gone.wait()
        self.until.cancel("nobody reads standard output")

    async def _deliver(self, feed: Feed) -> None:
        with suppress(FeedFailed):  # why is seen from its state
            while self.plan.count is None or self.lines.messages < self.plan.count:
                await self.out.has_room()
                self._write(await feed.next_batch())

    async def _deliver_rest(self, feed: Feed) -> None:
        """What had been received when the time was up."""
        if self.plan.count is not None:
            return
        left = feed.stats.depth
        while left > 0 and not self.out.gone.is_set():
            await self.out.has_room()
            item = await feed.next_batch()
            left -= len(item.frames) if isinstance(item, Batch) else 0
            self._write(item)

    def _write(self, item: Item) -> None:
        lines = self.lines.lines(item, self.plan.count)
        if self.first is None and self.lines.messages and isinstance(item, Batch):
            self.first = item.at - self.began
        if not self.plan.quiet and lines:
            self.out.put(lines)

    def _open_gap(self, feed: Feed) -> bytes:
        down = feed.interruption
        if down is None:
            return b""
        return self.lines.gap(down.reason, down.since, None, feed.silence(trio.current_time()))

    def _summary(self, feed: Feed, seconds: float) -> bytes:
        return line(
            {
                "type": "summary",
                "messages": self.lines.messages,
                "bytes": self.lines.bytes,
                "gaps": self.lines.gaps,
                "reconnects": feed.stats.reconnect_count,
                "overflowed": feed.stats.overflowed,
                "first_message_seconds": None if self.first is None else round(self.first, 6),
                "seconds": round(seconds, 6),
            }
        )

    def _fail(self, why: str) -> None:
        self.failed = True
        self.err.tell(f"feedwarden: {why}\n".encode())
