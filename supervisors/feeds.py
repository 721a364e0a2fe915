"""Feeds for an application: one supervisor a feed under a common root, behind ``async with open_feeds()``.

The tree: root (ordered: notifier, then feeds) -> feeds (dynamic) -> one supervisor a feed -> its connector.
"""

import difflib
import random as _random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

import trio

from actors.connector import Connector
from actors.errors import leaves
from actors.events import (
    ChildGaveUp,
    CodeRejected,
    Event,
    EventHook,
    EventHub,
    LinkState,
    NotKept,
    Origin,
    RestartScheduled,
)
from actors.exchange import PORTABLE_CHANNELS, Exchange, Subscription
from actors.feed import Feed
from actors.items import DROP_OLDEST, Overflow
from actors.legs import Leg, Source
from actors.metrics import Metrics
from actors.pulse import Pulse
from actors.stats import ConnectorStats
from actors.transport import Bans, Gate, Network, SystemNetwork
from supervisors.child import RUNNING, ChildKind, ChildSpec, Restart, TooMany
from supervisors.feed_plan import FeedsConfig, check_name
from supervisors.intensity import Intensity
from supervisors.refusals import NotFound
from supervisors.renewal import LegPlan, RenewAt
from supervisors.sockets import Sockets
from supervisors.supervisor import Supervisor

STOP_WITHIN = 8.0
"""Seconds for an orderly stop of everything; then what is left is cancelled together."""
NOTIFIER_DRAIN = 3.0
"""Seconds in which the notifier sends what is still queued when everything stops."""


class FeedsFailed(Exception):
    """The feeds as a whole have failed, which only a bug of ours can do; the cause is attached."""


class Feeds:
    """The open feeds of an application; made by :class:`open_feeds`.

    After the ``async with`` has ended, every method raises trio.ClosedResourceError.
    """

    def __init__(
        self,
        config: FeedsConfig | None,
        *,
        network: Network | None,
        wall: Callable[[], int],
        random: _random.Random | None,
    ) -> None:
        self.events = EventHub()
        """The one hook: everything that happens goes through it."""
        self.metrics = Metrics()
        self.events.subscribe("metrics", self.metrics.hook)
        self.events.subscribe("sockets", self._on_rejected)
        self._network = network or SystemNetwork()
        self._wall = wall
        self._pulse = Pulse(self.events.emit)
        children: list[ChildSpec] = []
        self.gate = Gate(budget=config.ip_budget if config is not None else 1.0)
        """What all connectors of this process pass before they dial."""
        if config is not None and config.bans is not None:
            bans = Bans(config.bans, wall=wall, trouble=self._not_kept)
            self.gate = bans.gate(config.ip_budget)
            children.append(ChildSpec(id="bans", run=bans.run, shutdown=2.0))
        self.metrics.watch_gate(self.gate.states)
        self._seed = (random or _random.SystemRandom()).getrandbits(64)
        self._opened: dict[str, Sockets] = {}
        self._closed = False
        self._feeds = Supervisor("feeds", dynamic=True, emit=self._on_event, random=self._split("feeds"))
        self.notifier = config.notifier(self.events.emit) if config is not None else None
        if self.notifier is not None:
            self.events.subscribe("notifier", self.notifier.hook)
            teller = self.notifier
            self.metrics.watch_queues(lambda: teller.queued, lambda: teller.oldest, lambda: teller.quarantined)
            children.append(ChildSpec(id="notifier", run=self.notifier.run, drain=NOTIFIER_DRAIN, shutdown=2.0))
        children.append(ChildSpec(id="pulse", run=self._pulse.run, shutdown=2.0))
        # dynamic children do not come back with their supervisor, so its failure is the failure of everything
        children.append(
            ChildSpec(id="feeds", run=self._feeds.run, kind=ChildKind.SUPERVISOR, intensity=Intensity(0, 1))
        )
        self.root = Supervisor(
            "root", children, emit=self.events.emit, random=self._split("root"), stop_within=STOP_WITHIN
        )
        for plan in config.feeds if config is not None else ():
            self.open(
                plan.exchange,
                *plan.subscriptions,
                name=plan.name,
                overflow=plan.overflow,
                network=plan.network,
                legs=plan.legs,
                renew_at=plan.renew_at,
            )

    def open(
        self,
        exchange: Exchange,
        /,
        *subscriptions: Subscription,
        name: str | None = None,
        overflow: Overflow = DROP_OLDEST,
        control: bool = False,
        network: Network | Sequence[Network] | None = None,
        legs: int = 1,
        renew_at: str | RenewAt = "",
        snapshots: bool = False,
        **channels: str | Sequence[str],
    ) -> Feed:
        """Keep a feed alive from now on; returns at once, before anything is connected.

        Args:
            exchange: The profile, its fields overridden with ``attrs.evolve`` where wanted.
            subscriptions: Channels by the exchange's own word, with their codes.
            name: Unique; without one the feed is called after its exchange: ``upbit``, ``upbit-2``, …
            overflow: What happens when the consumer is too slow.
            control: Deliver acks, heartbeats and notices too.
            network: Where this feed's connections are made, if not where those of the others are. Several, for instance
                with a source address each, are used in turn by the legs.
            legs: Sockets that carry the same side by side; the first arrival of a message wins.
            renew_at: A time of day at which they are replaced by fresh ones, one at a time and without an interruption,
                and minutes to spread that over: ``06:00/30m``. Without it only an exchange's ``max_lifetime``
                and its notices make them be renewed.
            snapshots: Deliver the snapshots, too, that the subscription of an overlapping socket causes.
            channels: ``trade``, ``book`` and ``ticker``, each a code or several.

        Raises:
            ValueError: unknown channel, bad code, a URL never dialled, a name taken, or no such ``overflow`` here.
        """
        self._check_open()
        wanted = exchange.native((*subscriptions, *_portable(channels)))
        at = RenewAt.parse(renew_at) if isinstance(renew_at, str) and renew_at else renew_at or None
        plan = LegPlan(count=legs, renew_at=at, snapshots=snapshots)
        name = self._name(exchange, name)
        origin = Origin(name, exchange.code, exchange.name_ko, exchange.name_en, exchange.host)
        feed = Feed(
            name,
            exchange,
            wanted,
            stats=ConnectorStats(origin),
            emit=self.events.emit,
            overflow=overflow,
            control=control,
        )
        self._keep(feed, plan, network or self._network)
        return feed

    def add(self, name: str, *subscriptions: Subscription, **channels: str | Sequence[str]) -> None:
        """Subscribe a feed to more, as :meth:`open` takes it; at once, without an interruption of what it has.

        Raises:
            KeyError: there is no feed of that name.
            ValueError: unknown channel, or bad code.
        """
        self._check_open()
        opened = self._opened[name]
        opened.add(opened.feed.exchange.native((*subscriptions, *_portable(channels))))

    def remove(self, name: str, *subscriptions: Subscription, **channels: str | Sequence[str]) -> None:
        """Subscribe a feed to these no longer; what it does not have is passed over.

        Raises:
            KeyError: there is no feed of that name.
            ValueError: unknown channel, bad code, or nothing would be left.
        """
        self._check_open()
        opened = self._opened[name]
        opened.remove(opened.feed.exchange.native((*subscriptions, *_portable(channels))))

    async def close(self, name: str) -> None:
        """Stop a feed and forget it; its consumer gets trio.ClosedResourceError. KeyError if there is none."""
        self._check_open()
        opened = self._opened[name]
        with suppress(NotFound):  # an earlier call may have been cancelled in its wait
            await self._feeds.terminate_child(name)
        opened.feed.set_state(LinkState.STOPPED)
        opened.feed.close()
        self.metrics.forget(name)
        self._opened.pop(name, None)

    async def reconnect(self, name: str, why: str = "asked for") -> None:
        """Let a feed start a fresh session; KeyError if there is none of that name."""
        self._check_open()
        await self._opened[name].reconnect(why)

    def running(self) -> list[str]:
        """What still runs, by name: feeds, and ``notifier``. Also while everything stops, and from any thread."""
        supervisors = {name: opened.supervisor for name, opened in list(self._opened.items())}
        names = [name for name, each in supervisors.items() if _running_workers(each)]
        beside = [name for name in _running_workers(self.root) if name != "pulse"]  # which outlives the feeds
        return [*names, *beside]

    def __getitem__(self, name: str) -> Feed:
        self._check_open()
        return self._opened[name].feed

    def __iter__(self) -> Iterator[Feed]:
        self._check_open()
        return iter([opened.feed for opened in self._opened.values()])

    def __len__(self) -> int:
        return len(self._opened)

    def _keep(self, feed: Feed, plan: LegPlan, network: Network | Sequence[Network]) -> None:
        ways = tuple(network) if isinstance(network, Sequence) else (network,)
        exchange = feed.exchange

        def connect(line: Source) -> Connector:
            way = ways[line.slot % len(ways)] if isinstance(line, Leg) else ways[0]
            return Connector(line, network=way, gate=self.gate, emit=line.emit, wall=self._wall, pulse=self._pulse)

        def has_room(slot: int) -> bool:
            return self.gate.has_room(exchange.host, exchange.limits, ways[slot % len(ways)].source)

        name = feed.name
        sockets = self._opened[name] = Sockets(
            feed,
            plan,
            connect=connect,
            has_room=has_room,
            emit=self._on_event,
            wall=self._wall,
            random=self._split(name),
            spread=self._split(f"{name}/renewal"),
        )
        self.metrics.watch(feed.stats)
        # a feed that crashes too often is tried again every 300 s, and its siblings notice nothing
        self._feeds.start_soon(
            ChildSpec(
                id=name,
                run=sockets.run,
                kind=ChildKind.SUPERVISOR,
                restart=Restart.TRANSIENT,
                intensity=Intensity(0, 1),
                too_many=TooMany.QUARANTINE,
            )
        )

    def _not_kept(self, error: str) -> None:
        self.events.emit(NotKept(at=trio.current_time(), error=error))

    def _on_event(self, event: Event) -> None:
        """Pass an event of a feed's supervisors on, and draw the feed's own conclusion from it."""
        self.events.emit(event)
        if isinstance(event, RestartScheduled | ChildGaveUp):
            name = event.child if event.supervisor == "feeds" else event.supervisor
            if (opened := self._opened.get(name)) is not None:
                opened.decided(event)

    def _on_rejected(self, event: Event) -> None:
        if isinstance(event, CodeRejected) and (opened := self._opened.get(event.origin.feed)) is not None:
            opened.forget(Subscription(event.channel, event.code))

    def _name(self, exchange: Exchange, name: str | None) -> str:
        if name is None:
            number = 1
            name = exchange.code
            while name in self._opened:
                number += 1
                name = f"{exchange.code}-{number}"
        else:
            check_name(self, None, name)
            if name in self._opened:
                msg = f"there is a feed named {name!r} already"
                raise ValueError(msg)
        return name

    def _split(self, name: str) -> "_Draws":
        """A generator of its own for each, so that one feed's failures never move another's delays."""
        return _Draws(f"{self._seed}/{name}")

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("these feeds are closed: their `async with open_feeds()` has ended")

    def shut(self) -> None:
        """Close every feed for its consumer; ``open_feeds`` calls it when everything has stopped."""
        self._closed = True
        for opened in self._opened.values():
            opened.feed.set_state(LinkState.STOPPED)
            opened.feed.close()


class _Draws:
    """A generator that is made when it is first drawn from: 2.5 kB that most feeds never need."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._made: _random.Random | None = None

    def random(self) -> float:
        """A number from 0 up to 1."""
        if self._made is None:
            self._made = _random.Random(self._seed)  # noqa: S311 - jitter needs no secrecy
        return self._made.random()


def _running_workers(supervisor: Supervisor) -> list[str]:
    children = supervisor.which_children()
    return [child.id for child in children if child.state in RUNNING and child.kind is ChildKind.WORKER]


def _portable(channels: dict[str, str | Sequence[str]]) -> list[Subscription]:
    for word in channels:
        if word not in PORTABLE_CHANNELS:
            near = difflib.get_close_matches(word, PORTABLE_CHANNELS, 1)
            hint = f"did you mean {near[0]}=…?" if near else f'any other channel is Subscription("{word}", codes)'
            msg = f"unknown channel keyword {word!r}: {hint}"
            raise ValueError(msg)
    return [
        Subscription(word, (codes,) if isinstance(codes, str) else tuple(codes)) for word, codes in channels.items()
    ]


class open_feeds:  # noqa: N801 - used as a function: `async with open_feeds() as feeds`
    """Run feeds beside the body of an ``async with``.

    The body's own exception comes out bare; a failure of the feeds alone cancels the body and comes out as
    :class:`FeedsFailed`; a cancel from outside stays a cancel. Leaving stops everything. Entering waits for no
    network, installs no signal handler and touches no global state.

    Args:
        config: What ``load_config`` returned; its feeds are opened, its notifier runs beside them.
        network: The way to the outside; tests and simulations bring their own.
        wall: Nanoseconds since 1970, UTC.
        random: The source of all jitter; with a seeded one the delays repeat.
        on_event: Called with every event, synchronously.
    """

    def __init__(
        self,
        config: FeedsConfig | None = None,
        *,
        network: Network | None = None,
        wall: Callable[[], int] | None = None,
        random: _random.Random | None = None,
        on_event: EventHook | None = None,
    ) -> None:
        self._feeds = Feeds(config, network=network, wall=wall or time.time_ns, random=random)
        if on_event is not None:
            self._feeds.events.subscribe("on_event", on_event)
        self._failure: Exception | None = None

    async def __aenter__(self) -> Feeds:
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run, nursery.cancel_scope)
        return self._feeds

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._feeds.root.stop()
        try:
            # no shield and no deadline here: the root stops in STOP_WITHIN, and an outer cancel hurries it
            handled = await self._leave(kind, error, traceback)  # noqa: ASYNC102
        finally:
            self._feeds.shut()
        if self._failure is not None:
            if error is None or handled:
                raise FeedsFailed(str(self._failure)) from self._failure
            error.add_note(f"the feeds failed too: {self._failure!r}")
        return handled

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is not None and _is_cancelled(error):
            return bool(await self._manager.__aexit__(kind, error, traceback))
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseException as late:
            if error is not None:
                both = BaseExceptionGroup("the body failed, then its feeds were cancelled", [error, late])
                raise both from None  # noqa: ASYNC104 - the Cancelled is in it
            raise
        return False

    async def _run(self, body: trio.CancelScope) -> None:
        try:
            await self._feeds.root.run()
        except* Exception as group:
            found = leaves(group)
            self._failure = group if len(found) > 1 else group.exceptions[0]
            body.cancel("the feeds have failed")


def _is_cancelled(error: BaseException) -> bool:
    return any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))
