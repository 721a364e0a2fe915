"""A hundred connectors over TLS, then a thousand forced reconnects: run as a program, prints what it measured.

The simulated exchange runs in a process of its own, so that memory and descriptors here are the connectors' alone.
"""

import gc
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import trio
import trustme

from actors.backoff import ReconnectStrategy
from actors.chaos import SIMULATED, SimulatedExchange, SimulatedVenue
from actors.events import Event, Failed, LinkState, RestartScheduled
from actors.exchange import Exchange
from actors.transport import SystemNetwork
from supervisors import Feeds, open_feeds

FEEDS = 100
QUIET = 20
QUIET_CODES = tuple(f"QUIET-{n}" for n in range(QUIET))


async def serve() -> None:
    """The exchange: says its URL and its CA, then serves until its standard input ends."""
    import ssl

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    exchange = SimulatedExchange(SimulatedVenue(), quiet=QUIET_CODES, rate=2, tls=context, keep=1000)
    async with exchange.serving():
        print(json.dumps({"url": exchange.url, "ca": authority.cert_pem.bytes().decode()}), flush=True)  # noqa: T201 - the answer to whoever started it
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - what the kernel shows, counted


def tasks() -> int:
    """Tasks of this run."""
    return trio.lowlevel.current_statistics().tasks_living


def drain(feeds: Feeds, nursery: trio.Nursery) -> None:
    """A consumer for each feed."""

    async def consume(name: str) -> None:
        async for _ in feeds[name].batches():
            pass

    for feed in feeds:
        nursery.start_soon(consume, feed.name)


async def reconnect_all(feeds: Feeds) -> None:
    """A fresh session for every feed, all at once; back when all are live again."""

    async def one(name: str) -> None:
        feed = feeds[name]
        session = feed.stats.sessions
        await feeds.reconnect(name)
        while feed.stats.sessions == session:  # noqa: ASYNC110 - a number that is polled, not an event of ours
            await trio.sleep(0.02)
        await feed.live(30)

    async with trio.open_nursery() as nursery:
        for feed in feeds:
            nursery.start_soon(one, feed.name)


async def measure(exchange: Exchange, ca: bytes, seconds: float) -> dict[str, Any]:
    """Both phases; the figures."""
    log: list[Event] = []

    def hook(event: Event) -> None:
        if isinstance(event, Failed | RestartScheduled):
            log.append(event)

    found: dict[str, Any] = {}
    async with open_feeds(network=SystemNetwork(ca_pem=ca), on_event=hook, random=random.Random(1)) as feeds:
        for n in range(FEEDS):
            code = QUIET_CODES[n] if n < QUIET else "BTC-USD"
            feeds.open(exchange, trade=code)
        async with trio.open_nursery() as nursery:
            drain(feeds, nursery)
            for feed in feeds:
                await feed.live(60)
            await trio.sleep(seconds)
            found["live"] = sum(feed.stats.state is LinkState.LIVE for feed in feeds)
            found["restarted"] = len(log)
            found["quiet_messages"] = max(feed.stats.messages for feed in list(feeds)[:QUIET])
            found["busy_messages"] = min(feed.stats.messages for feed in list(feeds)[QUIET:])
            log.clear()
            gc.collect()
            gc.disable()
            before = tasks(), descriptors()
            for round_ in range(10):
                if round_ == 5:
                    found["rss_after_500"] = resident()
                await reconnect_all(feeds)
            found["rss_after_1000"] = resident()
            await trio.sleep(1)
            found["tasks"] = before[0], tasks()
            found["descriptors"] = before[1], descriptors()
            found["reconnects"] = sum(feed.stats.reconnect_count for feed in feeds)
            found["reasons"] = sorted({event.reason.value for event in log if isinstance(event, Failed)})
            nursery.cancel_scope.cancel()
    return found


def main() -> None:
    """With ``serve``: the exchange; else the measurement, for so many seconds of calm."""
    if sys.argv[1] == "serve":
        trio.run(serve)
        return
    command = [sys.executable, "-m", "tests.endurance", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        place = json.loads(server.stdout.readline())
        quick = ReconnectStrategy(initial_delay=0.05, max_delay=0.1)
        exchange = attrs.evolve(SIMULATED, ws_url=place["url"], reconnect=quick)
        print(json.dumps(trio.run(measure, exchange, place["ca"].encode(), float(sys.argv[1]))))  # noqa: T201 - as above
        server.stdin.close()


if __name__ == "__main__":
    main()
