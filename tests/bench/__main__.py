"""What the hot paths cost on this machine: `make bench`. Medians of several rounds, in microseconds an item."""

import gc
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from actors.actor import Mailbox
from actors.errors import Reason
from actors.events import Event, EventHook, EventHub, Failed, Origin
from actors.exchange import Subscription
from actors.exchanges import UPBIT
from actors.feed import Feed
from actors.items import Batch, Message
from actors.metrics import Metrics
from actors.notifier import Console, Notifier
from actors.stats import ConnectorStats
from tests.bench import tree, wire

ITEMS = 20_000
ROUNDS = 11
FRAME = b'{"type":"trade","code":"KRW-BTC","trade_price":116539000.0,"trade_volume":0.00129}'.ljust(300)


async def tell() -> None:
    """An actor is told a message, and receives it: one of each, the mailbox never full."""
    mailbox: Mailbox[int] = Mailbox(16)
    for number in range(ITEMS):
        mailbox.tell(number)
        await mailbox.receive()


def filled_feed(batch: int) -> Feed:
    """A feed with ITEMS messages waiting, in batches of ``batch``."""
    origin = Origin("upbit", UPBIT.code, UPBIT.name_ko, UPBIT.name_en, UPBIT.host)
    subscriptions = (Subscription("trade", "KRW-BTC"),)
    feed = Feed("upbit", UPBIT, subscriptions, stats=ConnectorStats(origin), emit=_ignore)
    for _ in range(ITEMS // batch):
        feed.push([FRAME] * batch, wall=0, now=0.0, session=1)
    return feed


def _ignore(event: Event) -> None:
    del event


def told(event: Event, *hooks: EventHook) -> Callable[[], Awaitable[None]]:
    """A feed's verdict is told to these subscribers; nobody takes it from the notifier meanwhile."""
    hub = EventHub()
    for number, hook in enumerate(hooks):
        hub.subscribe(str(number), hook)

    async def tell_all() -> None:
        for _ in range(ITEMS):
            hub.emit(event)

    return tell_all


async def one_by_one(feed: Feed) -> None:
    """A consumer iterates over the feed."""
    taken = 0
    async for item in feed:
        taken += isinstance(item, Message)
        if taken == ITEMS:
            return


async def in_batches(feed: Feed) -> None:
    """A consumer iterates over the feed's batches."""
    taken = 0
    async for item in feed.batches():
        taken += len(item.frames) if isinstance(item, Batch) else 0
        if taken == ITEMS:
            return


async def measure(work: Callable[[], Awaitable[None]]) -> float:
    """Microseconds an item that one run of ``work`` takes, by the process's CPU time."""
    gc.collect()
    start = time.process_time()
    await work()
    return (time.process_time() - start) / ITEMS * 1e6


async def main() -> None:
    """Measure each path ROUNDS times and print the median and the spread."""

    def consume(how: Callable[[Feed], Awaitable[None]], batch: int) -> Callable[[], Awaitable[None]]:
        feed = filled_feed(batch)
        return lambda: how(feed)

    origin = Origin("upbit", UPBIT.code, UPBIT.name_ko, UPBIT.name_en, UPBIT.host)
    failed = Failed(at=0.0, origin=origin, session=1, reason=Reason.EOF, detail="cut", connected=True)
    notifier = partial(Notifier, [Console(lambda text: None)], capacity=ITEMS)
    paths: dict[str, Callable[[], Callable[[], Awaitable[None]]]] = {
        "Mailbox: tell and receive": lambda: tell,
        "Event: notifier alone": lambda: told(failed, notifier().hook),
        "Event: metrics and notifier": lambda: told(failed, Metrics().hook, notifier().hook),
        "Feed: iterate, batches of 1": lambda: consume(one_by_one, 1),
        "Feed: iterate, batches of 10": lambda: consume(one_by_one, 10),
        "Feed: batches() of 10": lambda: consume(in_batches, 10),
    }
    print(
        f"Python {platform.python_version()}, trio {trio.__version__}; CPU µs an item, median of {ROUNDS} (least–most)"
    )
    for name, prepare in paths.items():
        costs = [await measure(prepare()) for _ in range(ROUNDS)]
        print(f"{name:30}{statistics.median(costs):7.2f}  ({min(costs):.2f}–{max(costs):.2f})")


if __name__ == "__main__":
    trio.run(main)
    tree.report()
    wire.measure(wire.Cell(load) for load in wire.LOADS)
