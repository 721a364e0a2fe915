"""What the hot paths cost on this machine: `make bench`. Medians of several rounds, in microseconds an item."""

import gc
import platform
import statistics
import time
from collections.abc import Awaitable, Callable

import trio

from actors.actor import Mailbox
from actors.events import Event, Origin
from actors.exchange import Subscription
from actors.exchanges import UPBIT
from actors.feed import Feed
from actors.items import Message
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


async def one_by_one(feed: Feed) -> None:
    """A consumer iterates over the feed."""
    async for item in feed:
        if not isinstance(item, Message) or not feed.stats.depth:
            return


async def in_batches(feed: Feed) -> None:
    """A consumer iterates over the feed's batches."""
    async for _ in feed.batches():
        if not feed.stats.depth:
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

    paths: dict[str, Callable[[], Callable[[], Awaitable[None]]]] = {
        "Mailbox: tell and receive": lambda: tell,
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
