"""How late a message reaches the consumer, and how long a cut connection is missed."""

import statistics
import time

import attrs
import trio

from actors.backoff import ReconnectStrategy
from actors.exchanges import GENERIC
from actors.items import Batch
from actors.transport import SystemNetwork
from supervisors import open_feeds
from tests.bench.clients import CHECKED, CLIENTS, OPEN, TRADES, Job, Stopwatch
from tests.bench.wire import Place

MESSAGES = 3000
"""One in each millisecond."""
CUTS = 30


@attrs.frozen
class Ages:
    """Microseconds from the server's send to the consumer: half and 99 in 100 of the messages are not older."""

    half: float
    most: float
    load: float
    """The part of one processor that the client needed."""


def latency(name: str, place: Place) -> Ages:
    """How old messages are when a client's consumer has them, at a message a millisecond of 300 bytes over TLS."""
    watch = Stopwatch(MESSAGES)
    CLIENTS[name](Job(f"wss://localhost:{place.wss}/stamped/1/1/{MESSAGES + 100}/300", place.ca, 1, watch))
    ages = sorted(watch.ages[len(watch.ages) // 10 :])
    return Ages(ages[len(ages) // 2], ages[len(ages) * 99 // 100], watch.cost * watch.rate / 1e6)


def reconnect(place: Place, *, checked: bool = False) -> float:
    """Milliseconds from the last message before a cut to the first after it, the strategy's delay being none."""
    profile, wanted = (CHECKED, TRADES) if checked else (GENERIC, ())

    async def main() -> float:
        soon = ReconnectStrategy(initial_delay=0.001, max_delay=0.001, jitter=0)
        url = f"wss://localhost:{place.wss}/cut/1/1/20/300"
        exchange = attrs.evolve(profile, ws_url=url, limits=OPEN, reconnect=soon)
        found: list[float] = []
        session, last = 0, 0.0
        async with open_feeds(network=SystemNetwork(ca_pem=place.ca.encode())) as feeds:
            async for item in feeds.open(exchange, *wanted).batches():
                if isinstance(item, Batch):
                    now = time.monotonic()
                    if session and item.session != session:
                        found.append(now - last)
                    if len(found) == CUTS:
                        break
                    session, last = item.session, now
        return statistics.median(found) * 1000

    return trio.run(main)
