"""Scenes for end-to-end tests under the virtual clock: simulated exchanges, real feeds, and the ledger as oracle."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

from actors.chaos import Ledger, MemoryNetwork, Role, Server, What
from actors.events import Event
from actors.feed import Feed
from actors.items import Batch, Down, Gap, Message
from supervisors import Feeds, open_feeds

EPOCH = 1_700_000_000_000_000_000


def wall() -> int:
    """The virtual clock as nanoseconds UTC."""
    return EPOCH + round(trio.current_time() * 1e9)


@attrs.define
class Seen:
    """What a consumer got, and everything that was told."""

    items: list[Message | Batch | Down | Gap] = attrs.field(factory=list[Message | Batch | Down | Gap])
    events: list[Event] = attrs.field(factory=list[Event])

    def of(self, kind: type[Any]) -> list[Any]:
        """The items or events of a kind, in order."""
        return [each for each in (*self.items, *self.events) if isinstance(each, kind)]

    @property
    def messages(self) -> list[Message]:
        """The messages."""
        return self.of(Message)

    @property
    def gaps(self) -> list[Gap]:
        """The gaps."""
        return self.of(Gap)

    async def consume(self, feed: Feed) -> None:
        """Take every item of the feed until cancelled."""
        async for item in feed:
            self.items.append(item)


@asynccontextmanager
async def scene(exchanges: Mapping[str, Server], *, seed: int = 1) -> AsyncGenerator[tuple[Feeds, MemoryNetwork, Seen]]:
    """Feeds in front of simulated exchanges by host name, all in this process and under this clock."""
    seen = Seen()
    network = MemoryNetwork(exchanges)
    async with AsyncExitStack() as stack:
        for exchange in exchanges.values():
            await stack.enter_async_context(exchange.serving())
        draws = random.Random(seed)
        async with open_feeds(network=network, wall=wall, random=draws, on_event=seen.events.append) as feeds:
            yield feeds, network, seen


async def watch(feeds: Feeds, feed: Feed, seen: Seen, seconds: float, *script: tuple[float, Callable[[], Any]]) -> None:
    """Consume for so long, while the script's calls are made at their times from now."""
    del feeds
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.consume, feed)
        began = trio.current_time()
        for at, act in script:
            await trio.sleep_until(began + at)
            act()
        await trio.sleep_until(began + seconds)
        nursery.cancel_scope.cancel()


def check_against_ledger(seen: Seen, ledger: Ledger) -> None:
    """Each session delivered, in order and once, what its connection was sent; whatever is missing lies in a gap."""
    assert ledger.forgotten == 0
    sessions: dict[int, list[str | bytes]] = {}
    for message in seen.messages:
        sessions.setdefault(message.session, []).append(message.data)
    opened = [entry.connection for entry in ledger if entry.what is What.OPENED]
    missing: list[int] = []
    settled = dict(enumerate(opened, 1))
    delivered: dict[int, list[str | bytes]] = {settled[number]: frames for number, frames in sessions.items()}
    for entry in ledger:
        if entry.role is not Role.DATA:
            continue
        frames = delivered.get(entry.connection, [])
        if entry.what is What.SENT and frames and frames[0] == entry.data:
            frames.pop(0)
        elif entry.number:  # a snapshot only restates
            missing.append(entry.wall)
    assert not any(delivered.values()), "something was delivered that was not sent, out of order, or twice"
    spans = [(gap.since, gap.until) for gap in seen.gaps]
    for at in missing:
        assert any(since <= at <= until for since, until in spans), f"lost outside of every gap: {at - EPOCH}"
