"""One feed's sockets: its list cut into shards, a connector for each, all under a supervisor of the feed's own."""

from collections.abc import Callable, Iterable

import trio

from actors.actor import NO_CONTEXT, Context
from actors.backoff import Chance
from actors.connector import Connector
from actors.errors import LivenessError, Reason, Way
from actors.events import ChildGaveUp, EventHook, LinkState, Reconnecting, RestartScheduled
from actors.exchange import Exchange, Subscription, one_route
from actors.feed import Feed
from actors.legs import Bundle, Leg, Source
from actors.line import Part
from actors.subscriptions import Shards, grouped, topics
from supervisors.child import ChildSpec, Restart
from supervisors.renewal import LegPlan
from supervisors.rotation import Rotation
from supervisors.supervisor import Supervisor

ONLY = "connector"
"""The child id of a feed's only connector, where it cannot have several."""


class Sockets:
    """An actor that keeps one feed's connectors running.

    A feed whose exchange limits what one socket carries has a :class:`~actors.line.Part` for each, one of which several
    sockets may carry side by side is a :class:`~actors.legs.Bundle`; their connectors are dynamic children, so that
    they start and stop side by side. Any other feed is itself the line of its one connector.

    Args:
        feed: The feed.
        plan: How many sockets carry the same, and when they are renewed.
        connect: Makes the connector of a line.
        has_room: Whether the exchange allows one more socket in the place of that leg, counted from 0.
        emit: The event hook.
        wall: Nanoseconds UTC.
        random: Draws the jitter of delays.
        spread: Draws when sockets are renewed.

    Raises:
        ValueError: the exchange has a URL that is never dialled.
    """

    def __init__(
        self,
        feed: Feed,
        plan: LegPlan,
        *,
        connect: Callable[[Source], Connector],
        has_room: Callable[[int], bool],
        emit: EventHook,
        wall: Callable[[], int],
        random: Chance,
        spread: Chance,
    ) -> None:
        self.feed = feed
        self.has_room = has_room
        self._plan = plan
        self._connect = connect
        self._emit = emit
        self._wall = wall
        self._shards = Shards(feed.exchange, feed.subscriptions)
        self._overlaps = plan.overlaps(feed.exchange)
        # without subscriptions it is what is sent on opening that decides, on one socket
        self._several = self._overlaps or (_may_be_several(feed.exchange) and bool(self._shards.shards))
        self._rotation = Rotation(plan, self, emit=emit, wall=wall, random=spread)
        self._parts: dict[int, Feed | Part] = {}
        self._lines: dict[str, Source] = {}
        self._connectors: dict[str, Connector] = {}
        self._running = False
        static: list[ChildSpec] = []
        if not self._several:
            self._parts[1] = feed
            static.append(self._begin(ONLY, feed))
        self.supervisor = Supervisor(feed.name, static, dynamic=self._several, emit=emit, random=random)
        if self._several:
            for number in self._shards.shards or (1,):
                self._open(number)
            feed.part_moved()

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Run the feed's supervisor."""
        if self._several:
            for child in self._lines:  # dynamic children do not come back with their supervisor by themselves
                self.supervisor.start_soon(self._spec(child))
        self._running = True
        try:
            if not self._overlaps:
                await self.supervisor.run(task_status=task_status)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._rotation.run)
                await self.supervisor.run(task_status=task_status)
                nursery.cancel_scope.cancel("the feed's supervisor has ended")
        finally:
            self._running = False

    # -- what is subscribed to

    def add(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribe to these too: on the emptiest sockets that have room, on new ones where there are none."""
        for number in self._shards.add(subscriptions):
            if number in self._parts:
                self._tell(number)
            else:
                self._open(number)
        self._sum_up()

    def remove(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribe to these no longer; what stays is not moved, and a socket that is left with nothing is closed.

        Raises:
            ValueError: nothing would be left.
        """
        gone = set(topics(subscriptions))
        if not any(topic not in gone for shard in self._shards.shards.values() for topic in shard.topics):
            msg = f"nothing would be left of the feed {self.feed.name}: close it instead"
            raise ValueError(msg)
        for number in self._shards.remove(grouped(gone)):
            if number in self._shards.shards:
                self._tell(number)
            else:
                self._close(number)
        self._sum_up()

    def forget(self, rejected: Subscription) -> None:
        """The exchange has rejected this, and its connector goes on without it."""
        for number in self._shards.remove((rejected,)):
            if number in self._shards.shards:
                self._tell(number)
        self._sum_up()

    async def reconnect(self, why: str) -> None:
        """Let every socket be replaced by a fresh one."""
        for connector in list(self._connectors.values()):
            await connector.reconnect(why)

    # -- legs, at the rotation's orders

    def open_leg(self, bundle: Bundle, slot: int, *, witness: bool = False) -> None:
        """Start a connector for a further leg of a bundle."""
        leg = bundle.add(slot, witness=witness)
        spec = self._begin(_leg_child(leg), leg)
        if self._running:
            self.supervisor.start_soon(spec)

    def close_leg(self, leg: Leg) -> None:
        """Stop a leg's connector, for good."""
        leg.bundle.discard(leg, self._wall(), trio.current_time())
        self._end(_leg_child(leg))

    def fail_leg(self, leg: Leg, why: str) -> None:
        """End a leg's session with the verdict that no data come."""
        self._connectors[_leg_child(leg)].fail_soon(LivenessError(Reason.MESSAGE_TIMEOUT, why))

    def reopen_leg(self, leg: Leg, why: str) -> None:
        """Let a leg end its session and begin another."""
        self._connectors[_leg_child(leg)].reconnect_soon(why)

    # -- what has become of them

    def decided(self, event: RestartScheduled | ChildGaveUp) -> None:
        """The supervisor of a connector, or that of the whole feed, has decided what follows an end."""
        everything = event.supervisor != self.feed.name
        lines = [line for child, line in self._lines.items() if everything or child == event.child]
        if not lines:
            return  # a leg that has been told to end
        if isinstance(event, ChildGaveUp):
            for line in lines:
                line.set_state(LinkState.GAVE_UP)
            if everything or not _carried(lines[0]):
                self.feed.fail(f"{self.feed.name} was given up: {event.error}")
            return
        for line in lines:
            stats = line.stats
            stats.backoff = event.delay
            stats.next_attempt = self._wall() / 1e9 + event.delay
            stats.last_error = event.error or stats.last_error
            line.set_state(LinkState.QUARANTINED if event.way is Way.QUARANTINE else LinkState.BACKOFF)
        if not everything and _carried(lines[0]):
            return
        self._emit(
            Reconnecting(
                at=event.at,
                origin=self.feed.stats.origin,
                delay=event.delay,
                attempt=event.attempt,
                way=event.way,
                reason=event.reason,
            )
        )

    # -- inside

    def _open(self, number: int) -> None:
        """Begin with a shard."""
        shard = self._shards.shards.get(number)
        wanted, url = (shard.subscriptions, shard.url) if shard is not None else (self.feed.subscriptions, "")
        if self._overlaps:
            bundle = Bundle(
                self.feed, number, wanted, self._emit, url, moved=self._rotation.moved, snapshots=self._plan.snapshots
            )
            self._add_part(bundle)
            self._rotation.bundles.append(bundle)
            for slot in range(self._plan.count):
                self.open_leg(bundle, slot)
            return
        part = Part(self.feed, number, wanted, self._emit, url)
        self._add_part(part)
        spec = self._begin(f"shard-{number}", part)
        if self._running:
            self.supervisor.start_soon(spec)

    def _add_part(self, part: Part) -> None:
        self._parts[part.number] = part
        self.feed.parts.append(part)

    def _close(self, number: int) -> None:
        """Nothing is left of a shard."""
        part = self._parts.pop(number)
        part.settle(self._wall(), trio.current_time())
        self.feed.parts = [other for other in self.feed.parts if other is not part]
        if isinstance(part, Bundle):
            self._rotation.bundles.remove(part)
            for leg in list(part.legs):
                self.close_leg(leg)
        else:
            self._end(f"shard-{number}")

    def _begin(self, child: str, line: Source) -> ChildSpec:
        """A connector for a line; returns what its supervisor is to run."""
        self._connectors[child] = self._connect(line)
        self._lines[child] = line
        return self._spec(child)

    def _end(self, child: str) -> None:
        del self._lines[child], self._connectors[child]
        if self._running:
            self.supervisor.terminate_soon(child)

    def _tell(self, number: int) -> None:
        self._parts[number].subscribe_to(self._shards.shards[number].subscriptions)

    def _sum_up(self) -> None:
        if self._several:
            self.feed.subscriptions = grouped(topic for shard in self._shards.shards.values() for topic in shard.topics)
            self.feed.part_moved()

    def _spec(self, child: str) -> ChildSpec:
        exchange = self.feed.exchange
        return ChildSpec(
            id=child,
            run=self._connectors[child].run,
            restart=Restart.TRANSIENT,
            strategy=exchange.reconnect,
            shutdown=exchange.close_timeout + 1.0,
        )


def _may_be_several(exchange: Exchange) -> bool:
    limits = exchange.limits
    return bool(limits.subscriptions or limits.argument_bytes or exchange.route is not one_route)


def _leg_child(leg: Leg) -> str:
    return f"shard-{leg.bundle.number}-leg-{leg.number}"


def _carried(line: Source) -> bool:
    """Whether other sockets carry on what this one has lost."""
    return isinstance(line, Leg) and line.bundle.carried(trio.current_time(), without=line)
