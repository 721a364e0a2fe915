"""What a message costs from the socket to the consumer: CPU time of the client's process, the server in another.

All clients are measured in turn within each round, on the same bytes over TLS; medians of the rounds, with the spread.
"""

import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable

import attrs

from tests.bench import clients
from tests.bench.clients import Clock

ROUNDS = 7
CLIENTS: dict[str, Callable[[str, str, Clock], None]] = {
    "feedwarden, batches": clients.our_batches,
    "feedwarden, messages": clients.our_messages,
    "trio-websocket": clients.bare_trio_websocket,
    "epoll + ssl": clients.floor,
}
SLOW = 10
"""Flat out trio-websocket gets so many times fewer messages: its cost does not depend on their number."""


@attrs.frozen
class Load:
    """How the server sends: milliseconds between two writes, messages in each (0: 64 KiB), and how many in all."""

    name: str
    pause: int
    burst: int
    messages: int


LOADS = (
    Load("flat out", 0, 0, 200_000),
    Load("bursts of 10", 2, 10, 5_000),
    Load("one a wake-up", 1, 1, 1_000),
)


def measure(load: Load, client: Callable[[str, str, Clock], None], port: int, ca: str) -> float:
    """Microseconds a message, once."""
    fewer = SLOW if client is clients.bare_trio_websocket and not load.pause else 1
    clock = Clock(load.messages // fewer)
    gc.collect()
    client(f"wss://localhost:{port}/{load.pause}/{load.burst}/{clock.messages + 1000}", ca, clock)
    return clock.cost


def main(rounds: int = ROUNDS) -> None:
    """Print a table: for each load and client the median, the spread, and the ratio to trio-websocket."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        place = json.loads(server.stdout.readline())
        print(f"A message of 300 bytes over TLS; CPU µs of the client, median of {rounds} (least–most)")
        for load in LOADS:
            costs: dict[str, list[float]] = {name: [] for name in CLIENTS}
            for _ in range(rounds):
                for name, client in CLIENTS.items():
                    costs[name].append(measure(load, client, place["port"], place["ca"]))
            yardstick = statistics.median(costs["trio-websocket"])
            for name, found in costs.items():
                median = statistics.median(found)
                spread = f"({min(found):.2f}–{max(found):.2f})"
                print(f"{load.name:16}{name:24}{median:8.2f}  {spread:18} {median / yardstick:6.3f} x trio-websocket")
        server.stdin.close()
