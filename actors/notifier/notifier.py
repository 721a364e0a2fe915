"""The notifier: an actor that turns events into letters and hands them to its channels, one task a channel."""

import random as _random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, tzinfo
from pathlib import Path

import attrs
import trio

from actors.actor import NO_CONTEXT, Context, Mailbox, Overflow
from actors.events import ChannelTrouble, Event, EventHook
from actors.notifier.channel import Channel, Language, Letter
from actors.notifier.courier import Courier, Queued
from actors.notifier.folds import graver
from actors.notifier.handover import LASTS, Before, Crashes, handed, inherited
from actors.notifier.heartbeat import Ping
from actors.notifier.hours import Window, kept, local, reopened
from actors.notifier.incidents import TAKEN, Incidents, Rules
from actors.notifier.notification import TOLD, Notification, Severity, Style, guide
from actors.notifier.reporting import tell
from actors.notifier.reports import Report, Storage
from actors.notifier.spool import DEADLINE, Spool
from actors.notifier.wording import render

SIGN_OF_LIFE = 10.0
"""Seconds between two notes in the spool that we run: what an unclean stop is dated by."""

_RUNNING = "running"
"""When we were last seen to run; empty after a stop."""
_STOPPED = "stopped"
_WINDOWS = "windows"
_INCIDENTS = "incidents"
_CRASHES = "crashes"


@attrs.frozen
class Route:
    """A channel, and what goes to it."""

    channel: Channel
    style: Style = Style.GUIDE
    least: Severity = Severity.INFO
    """Messages that matter less are not sent there."""


class Notifier:
    """An actor at the end of a mailbox: :meth:`hook` puts events in, its channels carry the messages out.

    Nothing that a channel does delays a sender or another channel: each channel has its own task and its own bounded
    queue. Where a queue is full the oldest message is dropped and counted, and the next message that gets through says
    how many were lost. What waits survives a restart of the actor, and with a spool that of the process too. Once
    ``task_status.stopping`` is set, everything told so far is sent before ``run`` returns.

    Args:
        channels: Where messages go, a bare channel in style guide; none is allowed, then nothing is sent.
        name: The actor's name.
        emit: Takes :class:`~actors.events.Notified` and :class:`~actors.events.ChannelTrouble`.
        random: Draws the jitter of retries, and the ids of messages.
        capacity: The most events, and the most messages a channel, that wait.
        rules: What style incidents goes by.
        spool: The file that keeps messages until they have arrived; None keeps them in memory only.
        ping: A URL that is called for as long as the notifier works.
        zone: In which times are written.
        wall: Nanoseconds UTC.

    Raises:
        ValueError: two channels have the same name.
    """

    def __init__(
        self,
        channels: Sequence[Channel | Route] = (),
        *,
        name: str = "notifier",
        emit: EventHook = lambda event: None,
        random: _random.Random | None = None,
        capacity: int = 1000,
        rules: Rules | None = None,
        spool: Path | None = None,
        ping: Ping | None = None,
        zone: tzinfo = UTC,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        routes = [each if isinstance(each, Route) else Route(each) for each in channels]
        names = [route.channel.name for route in routes]
        if len(set(names)) < len(names):
            raise ValueError(f"each notification channel needs a name of its own: {', '.join(sorted(names))}")
        self.name = name
        self._mailbox: Mailbox[Event] = Mailbox(capacity, Overflow.DROP_OLDEST)
        self._dropped = 0
        self._emit = emit
        self._wall = wall
        self.zone = zone
        self._ids = random or _random.SystemRandom()
        self._rules = rules or Rules()
        self._couriers = {
            route.channel.name: Courier(
                route.channel, least=route.least, capacity=capacity, emit=emit, random=random, wall=wall
            )
            for route in routes
        }
        self._styles = {route.channel.name: route.style for route in routes}
        self._ping = ping
        self._spool_file = spool
        self._incidents: Incidents | None = None
        self._kept: tuple[Window, ...] = ()
        """The open windows that the next process will know of."""
        self._crashes = Crashes()
        """What is to be told of processes before this one."""
        self._joined = 0
        """How many feeds had joined incidents without a word when these were last left to it."""
        self._outbox: list[tuple[str, Letter]] = []
        """Letters by channel that are not in the spool yet."""
        self._wanted: set[type[Event]] = set()
        for style, events in ((Style.GUIDE, TOLD), (Style.INCIDENTS, TAKEN)):
            self._wanted.update(events if self._in_style(style) else ())
        self._look = trio.CancelScope()
        """The wait for the next event."""

    @property
    def language(self) -> Language:
        """What the first channel speaks; English if there is none."""
        return next((courier.channel.language for courier in self._couriers.values()), Language.EN)

    @property
    def queued(self) -> dict[str, int]:
        """How many messages wait, by channel."""
        return {name: courier.queued for name, courier in self._couriers.items()}

    @property
    def oldest(self) -> dict[str, float]:
        """How many seconds the oldest of them has been waiting, by channel."""
        return {name: courier.oldest for name, courier in self._couriers.items()}

    @property
    def quarantined(self) -> dict[str, bool]:
        """Whether a channel refuses us as a whole, by channel."""
        return {name: courier.quarantined for name, courier in self._couriers.items()}

    @property
    def muted(self) -> tuple[Window, ...]:
        """The windows without alerts that are open."""
        return self._incidents.muted if self._incidents is not None else ()

    def hook(self, event: Event) -> None:
        """Take note of an event, if it is one to tell: an :data:`~actors.events.EventHook`; never blocks."""
        if type(event) in self._wanted:
            self._mailbox.tell(event)

    def mute(self, subject: str, seconds: float) -> Window:
        """Tell nothing about a feed, or the feeds of an exchange, for so long; returns the window.

        Raises:
            LookupError: there is no such feed or exchange.
            ValueError: there is no channel in style incidents.
        """
        if self._incidents is None:
            raise ValueError("only channels in style incidents can be muted, and there is none")
        if not self._incidents.knows(subject):
            raise LookupError(f"there is no feed and no exchange named {subject!r}")
        now = self._wall()
        window = Window(subject, now, now + round(seconds * 1e9))
        self._incidents.mute(window)
        self._look.cancel()
        return window

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Carry messages until cancelled, or until ``task_status.stopping`` is set and all are sent."""
        until_asked = trio.CancelScope()
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            spool = None
            if self._spool_file is not None:
                spool = await stack.enter_async_context(Spool(self._spool_file, self._storage))
            await self._resume(spool)
            if spool is not None:
                for courier in self._couriers.values():  # all of them before any sends: they may share a pace
                    await courier.resume(spool)
            for courier in self._couriers.values():
                # entering a channel waits for no network; it may import and build an HTTP client, once, at the start
                await nursery.start(courier.run, spool)
            task_status.started()
            task_status.healthy()
            nursery.start_soon(_cancel_at, task_status.stopping, until_asked)
            with until_asked:
                async with trio.open_nursery() as working:
                    if spool is not None:
                        working.start_soon(self._show_life, spool)
                    if self._ping is not None:
                        working.start_soon(self._ping.run, self._emit)
                    while True:
                        await self._listen(spool)
            await self._say_goodbye(spool)
            for courier in self._couriers.values():
                courier.finish()

    async def _resume(self, spool: Spool | None) -> None:
        """Take up what an earlier process has left; an earlier incarnation's is still here."""
        if self._incidents is not None or not self._couriers:
            return
        now, wall = trio.current_time(), self._wall()
        unclean, windows, incidents, crashes = None, None, None, Crashes()
        if spool is not None:
            for stored in await spool.load():
                courier = self._couriers.get(stored.channel)
                if courier is None:
                    await spool.remove([stored.key])  # the channel is no longer configured
                else:
                    courier.take(Queued(stored.letter, stored.key))
            seen = await spool.recall(_RUNNING)
            crashes = Crashes.read(await spool.recall(_CRASHES))
            if seen:
                crashes = crashes.another(int(seen))
                await spool.remember(_CRASHES, crashes.words)
                unclean = (now - max(wall - crashes.since, 0) / 1e9, now)
            ended = seen or await spool.recall(_STOPPED)
            if ended and wall - int(ended) <= LASTS * 1e9:
                incidents = await spool.recall(_INCIDENTS)
            await spool.remember(_RUNNING, str(wall))
            windows = await spool.recall(_WINDOWS)
        if self._in_style(Style.INCIDENTS):
            self._kept = reopened(windows, self._rules.windows)
            self._crashes = crashes
            before = Before(
                unclean=unclean,
                crashes=crashes.count,
                hush=crashes.hush(wall) if unclean is not None else 0.0,
                windows=self._kept,
                left=inherited(incidents, now, wall),
            )
            self._incidents = Incidents(self._rules, now, before)

    async def _show_life(self, spool: Spool) -> None:
        while True:
            await trio.sleep(SIGN_OF_LIFE)
            await spool.remember(_RUNNING, str(self._wall()))
            if self._incidents is not None and self._incidents.joined > self._joined:
                await self._leave(spool, self._incidents)

    async def _leave(self, spool: Spool, incidents: Incidents) -> None:
        """Leave to the next process what was told of; not as of the stop, when the feeds are gone from it."""
        self._joined = incidents.joined
        await spool.remember(_INCIDENTS, handed(incidents.going_on, trio.current_time(), self._wall()))

    async def _listen(self, spool: Spool | None) -> None:
        """Wait for an event, or for something to be due, and post what is to be told."""
        wake = self._incidents.wake if self._incidents is not None else float("inf")
        with trio.CancelScope(deadline=wake) as self._look:
            self._take(await self._mailbox.receive())
        await self._catch_up(spool)

    async def _catch_up(self, spool: Spool | None) -> None:
        while len(self._mailbox):
            self._take(await self._mailbox.receive())
        reports: Sequence[Report] = ()
        if self._incidents is not None:
            reports = self._incidents.step(trio.current_time(), self._wall())
            for report in reports:
                self._report(report)
        await self._post(spool)
        if spool is None or self._incidents is None:
            return
        if self.muted != self._kept:
            self._kept = self.muted
            await spool.remember(_WINDOWS, kept(self._kept, self._rules.windows))
        if reports:
            await self._leave(spool, self._incidents)
        if not self._incidents.owed:
            await self._forget_crashes(spool)

    async def _forget_crashes(self, spool: Spool) -> None:
        if self._crashes.count:
            self._crashes = Crashes(told=self._wall())
            await spool.remember(_CRASHES, self._crashes.words)

    async def _say_goodbye(self, spool: Spool | None) -> None:
        if spool is not None:
            await spool.remember(_STOPPED, str(self._wall()))
            await spool.remember(_RUNNING, "")
        await self._catch_up(spool)
        if self._incidents is not None:
            self._report(self._incidents.stop(trio.current_time(), kept=spool is not None))
        await self._post(spool)
        if spool is not None:
            await self._forget_crashes(spool)

    def _take(self, event: Event) -> None:
        dropped = self._mailbox.dropped - self._dropped
        self._dropped += dropped
        for courier in self._couriers.values():
            if dropped:
                courier.lose(dropped, "dropped")
        if self._incidents is not None:
            self._incidents.take(event)
        if self._in_style(Style.GUIDE) and (notification := guide(event)) is not None:
            self._notify(notification)

    # -- writing and posting

    def _in_style(self, *styles: Style) -> list[Courier]:
        return [courier for name, courier in self._couriers.items() if self._styles[name] in styles]

    def _notify(self, notification: Notification) -> None:
        couriers = self._in_style(Style.GUIDE)
        self._write(couriers, notification.severity, lambda channel: render(notification, channel.language))

    def _report(self, report: Report, *styles: Style) -> None:
        now, wall = trio.current_time(), self._wall()

        def moment(at: float) -> str:
            return f"{local(wall + round((at - now) * 1e9), self.zone):%Y-%m-%d %H:%M:%S %Z}"

        couriers = self._in_style(*(styles or (Style.INCIDENTS,)))
        self._write(couriers, report.severity, lambda channel: tell(report, channel.language, moment, now))

    def _write(self, couriers: Iterable[Courier], severity: Severity, text: Callable[[Channel], str]) -> None:
        made, mark = self._wall(), f"{self._ids.getrandbits(40):010x}"
        for courier in couriers:
            if not graver(courier.least, severity):
                channel = courier.channel
                self._outbox.append((channel.name, Letter(mark, severity, text(channel), made)))

    async def _post(self, spool: Spool | None) -> None:
        """Spool what is written, then give it to the couriers."""
        while self._outbox:
            batch = self._outbox.copy()
            keys: Sequence[int] = [0] * len(batch)
            if spool is not None:
                # a letter that is in the spool under a key that nobody knows would be sent again at the next start
                with trio.move_on_after(2 * DEADLINE, shield=True):
                    keys = await spool.add(batch)
            del self._outbox[: len(batch)]
            for (name, letter), key in zip(batch, keys, strict=True):
                self._couriers[name].take(Queued(letter, key))

    def _storage(self, trouble: str) -> None:
        """Letters cannot be kept on disk, or with no words for it they can again."""
        if trouble:
            self._emit(ChannelTrouble(at=trio.current_time(), channel="spool", error=trouble, delay=None))
        self._report(Storage(severity=Severity.PAGE if trouble else Severity.INFO, detail=trouble), *Style)


async def _cancel_at(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
