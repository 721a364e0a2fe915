"""Keeping the open session subscribed to what its feed wants, also while that changes."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.errors import ReconnectRequested
from actors.exchange import Session, Subscription
from actors.line import Line
from actors.subscriptions import Pacer, Topic, grouped, topics

GATHER = 0.05
"""Seconds in which changes are gathered into one."""


@attrs.define(eq=False)
class Subscribing:
    """One session's subscriptions, sent no faster than the exchange takes messages."""

    line: Line
    session: Session
    send: Callable[[str | bytes], Awaitable[None]]
    wanted: tuple[Subscription, ...] = ()
    """What the session is subscribed to, or about to be."""
    pacer: Pacer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wanted = self.line.subscriptions
        self.pacer = Pacer(self.line.exchange.limits.messages)

    async def begin(self) -> None:
        """Send what opens the session."""
        for frame in self.session.opened():
            await self._send(frame)

    async def keep(self, changed: Callable[[], object]) -> None:
        """Change with the feed until cancelled; ``changed`` is called after each.

        Raises:
            ReconnectRequested: only a fresh session can make the change.
        """
        while True:
            if self.line.subscriptions == self.wanted:
                await self.line.changed.park()
            await trio.sleep(GATHER)
            self.wanted = self.line.subscriptions
            frames = self.session.change(self.wanted)
            if frames is None:
                raise ReconnectRequested("its subscriptions change, which takes a fresh session")
            for frame in frames:
                await self._send(frame)
            changed()

    def isolate(self, bad: Topic) -> bool:
        """Go on without a code that the exchange will not have; False if it is all there is."""
        rest = [topic for topic in topics(self.line.subscriptions) if topic != bad]
        if not rest:
            return False
        self.wanted = grouped(topic for topic in topics(self.wanted) if topic != bad)
        self.line.subscriptions = grouped(rest)
        return True

    async def _send(self, message: str | bytes) -> None:
        await trio.sleep_until(self.pacer.due(trio.current_time()))
        await self.send(message)
