"""What a message costs from the socket to the consumer: CPU time of the client's process, the server in another.

All clients are measured in turn within each round, on the same bytes; medians of the rounds, with the spread.
"""

import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

import attrs

from tests.bench.clients import CLIENTS, Clock, Job

ROUNDS = 5
YARDSTICK = "trio-websocket"
SLOWER = 10
"""Flat out clients that need far more for a message get so many times fewer: a cost does not depend on their number."""
_SLOW = frozenset({YARDSTICK, "websockets.trio"})


@attrs.frozen
class Place:
    """Where the server is."""

    ws: int
    wss: int
    ca: str


@attrs.frozen
class Load:
    """How the server sends to each connection: milliseconds between two writes, messages in each (0: 64 KiB)."""

    name: str
    pause: float
    burst: int
    messages: int
    """How many in all, over all connections."""


FLAT_OUT = Load("flat out", 0, 0, 100_000)
BURSTS = Load("bursts of 10", 2, 10, 2_500)
SINGLY = Load("one a wake-up", 1, 1, 1_000)
LOADS = (FLAT_OUT, BURSTS, SINGLY)


@attrs.frozen
class Cell:
    """One line of the table: a load, the size of a message, plain or TLS, and how many connections."""

    load: Load
    size: int = 300
    scheme: str = "wss"
    connections: int = 1

    def __str__(self) -> str:
        tls = "TLS" if self.scheme == "wss" else "plain"
        more = f", {self.connections} connections" if self.connections > 1 else ""
        return f"{self.load.name}, {self.size} B, {tls}{more}"

    def path(self, messages: int) -> str:
        """What to ask the server for; with many connections each gets its part, at its part of the pace."""
        each = messages // self.connections
        return f"{self.load.pause * self.connections}/{self.load.burst}/{each + each // 5 + 100}/{self.size}"


def cells() -> list[Cell]:
    """Each size, plain and TLS, over one connection; more connections at 300 bytes over TLS."""
    single = [Cell(load, size, scheme) for load in LOADS for size in (100, 300, 2000) for scheme in ("wss", "ws")]
    return [*single, *(Cell(load, connections=number) for load in LOADS for number in (10, 100))]


@attrs.frozen
class Figures:
    """What one client needed in one cell: CPU microseconds a message and messages a second, of each round."""

    costs: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def cost(self) -> float:
        """The median."""
        return statistics.median(self.costs)

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)


Table = dict[Cell, dict[str, Figures]]


@contextmanager
def server() -> Generator[Place]:
    """The server, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Place(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


def once(cell: Cell, name: str, place: Place) -> Clock:
    """One client in one cell, once."""
    fewer = SLOWER if name in _SLOW and not cell.load.pause else 1
    clock = Clock(cell.load.messages // fewer, 0.05 if cell.connections == 1 else 0.5)
    port = getattr(place, cell.scheme)
    gc.collect()
    CLIENTS[name](
        Job(f"{cell.scheme}://localhost:{port}/{cell.path(clock.messages)}", place.ca, cell.connections, clock)
    )
    return clock


def measure(
    wanted: Iterable[Cell],
    names: Iterable[str] = tuple(CLIENTS),
    rounds: int = ROUNDS,
    say: Callable[[str], object] = print,
) -> Table:
    """Every client in every cell; tells each cell when it is done."""
    table: Table = {}
    with server() as place:
        for cell in wanted:
            found: dict[str, list[Clock]] = {name: [] for name in names}
            for _ in range(rounds):
                for name, clocks in found.items():
                    clocks.append(once(cell, name, place))
            table[cell] = {
                name: Figures(tuple(each.cost for each in clocks), tuple(each.rate for each in clocks))
                for name, clocks in found.items()
            }
            say(f"\n{cell}")
            for line in lines(table[cell]):
                say(line)
    return table


def lines(figures: Mapping[str, Figures]) -> list[str]:
    """A line for each client: the median cost, the spread, messages a second, and the ratio to trio-websocket."""
    yardstick = figures[YARDSTICK].cost
    return [
        f"{name:36}{each.cost:8.2f} µs  ({min(each.costs):.2f}–{max(each.costs):.2f})".ljust(68)
        + f"{each.rate:10,.0f} a second  {each.cost / yardstick:6.3f} x {YARDSTICK}"
        for name, each in figures.items()
    ]
