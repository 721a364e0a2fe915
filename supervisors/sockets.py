"""One feed's sockets: its list cut into shards, a connector for each, all under a supervisor of the feed's own."""

from collections.abc import Callable, Iterable
from random import Random

import trio

from actors.actor import NO_CONTEXT, Context
from actors.connector import Connector
from actors.errors import Way
from actors.events import ChildGaveUp, EventHook, LinkState, Reconnecting, RestartScheduled
from actors.exchange import Exchange, Subscription, one_route
from actors.feed import Feed
from actors.line import Part
from actors.subscriptions import Shards, grouped, topics
from supervisors.child import ChildSpec, Restart
from supervisors.supervisor import Supervisor

ONLY = "connector"
"""The child id of a feed's only connector, where it cannot have several."""


class Sockets:
    """An actor that keeps one feed's connectors running.

    A feed whose exchange limits what one socket carries has a :class:`~actors.line.Part` for each; they are dynamic
    children, so that they start and stop side by side. Any other feed is itself the line of its one connector.

    Args:
        feed: The feed.
        connect: Makes the connector of a line.
        emit: The event hook.
        wall: Nanoseconds UTC.
        random: Draws the jitter of delays.

    Raises:
        ValueError: the exchange has a URL that is never dialled.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        connect: Callable[[Feed | Part], Connector],
        emit: EventHook,
        wall: Callable[[], int],
        random: Random,
    ) -> None:
        self.feed = feed
        self._connect = connect
        self._emit = emit
        self._wall = wall
        self._shards = Shards(feed.exchange, feed.subscriptions)
        # without subscriptions it is what is sent on opening that decides, on one socket
        self._several = _may_be_several(feed.exchange) and bool(self._shards.shards)
        self._lines: dict[str, Feed | Part] = {}
        self._connectors: dict[str, Connector] = {}
        self._running = False
        if self._several:
            for number in self._shards.shards:
                self._open(number)
            feed.part_moved()
        else:
            self._lines[ONLY] = feed
            self._connectors[ONLY] = connect(feed)
        static = () if self._several else (self._spec(ONLY),)
        self.supervisor = Supervisor(feed.name, static, dynamic=self._several, emit=emit, random=random)

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Run the feed's supervisor."""
        if self._several:
            for child in self._lines:  # dynamic children do not come back with their supervisor by themselves
                self.supervisor.start_soon(self._spec(child))
        self._running = True
        try:
            await self.supervisor.run(task_status=task_status)
        finally:
            self._running = False

    # -- what is subscribed to

    def add(self, subscriptions: Iterable[Subscription]) -> None:
        """Subscribe to these too: on the emptiest sockets that have room, on new ones where there are none."""
        for number in self._shards.add(subscriptions):
            if self._child(number) in self._lines:
                self._tell(number)
            else:
                child = self._open(number)
                if self._running:
                    self.supervisor.start_soon(self._spec(child))
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
        self._shards.remove((rejected,))
        self._sum_up()

    async def reconnect(self, why: str) -> None:
        """Let every socket be replaced by a fresh one."""
        for connector in list(self._connectors.values()):
            await connector.reconnect(why)

    # -- what has become of them

    def decided(self, event: RestartScheduled | ChildGaveUp) -> None:
        """The supervisor of a connector, or that of the whole feed, has decided what follows an end."""
        lines = [self._lines[event.child]] if event.child in self._lines else list(self._lines.values())
        if isinstance(event, ChildGaveUp):
            for line in lines:
                line.set_state(LinkState.GAVE_UP)
            self.feed.fail(f"{self.feed.name} was given up: {event.error}")
            return
        for line in lines:
            stats = line.stats
            stats.backoff = event.delay
            stats.next_attempt = self._wall() / 1e9 + event.delay
            stats.last_error = event.error or stats.last_error
            line.set_state(LinkState.QUARANTINED if event.way is Way.QUARANTINE else LinkState.BACKOFF)
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

    def _child(self, number: int) -> str:
        return f"shard-{number}" if self._several else ONLY

    def _open(self, number: int) -> str:
        shard = self._shards.shards[number]
        part = Part(self.feed, number, shard.subscriptions, self._emit, shard.url)
        child = self._child(number)
        self._connectors[child] = self._connect(part)
        self._lines[child] = part
        self.feed.parts.append(part)
        return child

    def _close(self, number: int) -> None:
        child = self._child(number)
        self._lines[child].settle(self._wall(), trio.current_time())
        self.feed.parts = [part for part in self.feed.parts if part.number != number]
        del self._lines[child], self._connectors[child]
        if self._running:
            self.supervisor.terminate_soon(child)

    def _tell(self, number: int) -> None:
        self._lines[self._child(number)].subscribe_to(self._shards.shards[number].subscriptions)

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
