"""Measures everything and writes ``docs/performance.md`` and its chart: ``python -m tests.bench.report [--goals]``.

With ``--goals`` only the cells for which there are goals. How long it took stands in the page.
"""

import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import trio

from tests.bench import idle, moments
from tests.bench.clients import CLIENTS
from tests.bench.wire import (
    BURSTS,
    FLAT_OUT,
    LOADS,
    ROUNDS,
    SINGLY,
    YARDSTICK,
    Cell,
    Figures,
    Table,
    cells,
    measure,
    server,
)

DOCS = Path(__file__).parent.parent.parent / "docs"
OURS, SINGLE = "feedwarden, batches", "feedwarden, messages"
CONNECTIONS = (100, 1000)


@attrs.frozen
class Goal:
    """A ratio that is to be kept, in a cell of 300 bytes over TLS and one connection."""

    cell: Cell
    ours: str
    theirs: str
    most: float


GOALS = (
    Goal(Cell(FLAT_OUT), OURS, YARDSTICK, 1 / 15),
    Goal(Cell(FLAT_OUT), OURS, "aiohttp + uvloop", 1.0),
    Goal(Cell(FLAT_OUT), OURS, "picows + uvloop", 1.5),
    Goal(Cell(BURSTS), OURS, YARDSTICK, 0.5),
    Goal(Cell(BURSTS), OURS, "websockets + uvloop", 1.0),
    Goal(Cell(SINGLY), OURS, YARDSTICK, 0.55),
    Goal(Cell(SINGLY), OURS, "epoll + ssl", 1.6),
    Goal(Cell(FLAT_OUT), SINGLE, OURS, 2.0),
)
MEMORY = 90_000
"""Bytes that an idle, supervised connection may cost."""


def verdicts(table: Table, memory: float) -> Iterator[tuple[str, str, str, str]]:
    """Each goal, the bound, what was measured, and whether that is enough."""
    for goal in GOALS:
        figures = table[goal.cell]
        ratio = figures[goal.ours].cost / figures[goal.theirs].cost
        met = "met" if ratio <= goal.most else f"missed by {ratio / goal.most - 1:.0%}"
        yield f"{goal.cell}: {goal.ours} to {goal.theirs}", f"{goal.most:.3g}", f"{ratio:.3g}", met
    met = "met" if memory <= MEMORY else f"missed by {memory / MEMORY - 1:.0%}"
    yield (
        f"memory of one of {CONNECTIONS[-1]:,} idle TLS connections, supervised",
        "90 kB",
        f"{memory / 1000:.1f} kB",
        met,
    )


def rows(head: Sequence[str], body: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def chart(figures: Mapping[Cell, Mapping[str, Figures]]) -> str:
    """Bars, one a client, of the CPU time a message as a part of trio-websocket's; three groups."""
    parts, top = list[str](), 10
    for cell, found in figures.items():
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{cell}</text>')
        top += 24
        for name, each in found.items():
            ratio = each.cost / found[YARDSTICK].cost
            colour = "#2f7d5b" if name.startswith("feedwarden") else "#8a94a0"
            width = max(1.0, 360 * min(ratio, 1.3))
            parts.append(f'<text x="250" y="{top + 12}" text-anchor="end">{name}</text>')
            parts.append(f'<rect x="256" y="{top + 2}" width="{width:.0f}" height="12" fill="{colour}"/>')
            parts.append(f'<text x="{262 + width:.0f}" y="{top + 12}">{ratio:.3f} ({each.cost:.1f} µs)</text>')
            top += 18
        top += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{top}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def costs(table: Table) -> str:
    """Every cell's medians with their spread, and the ratios to trio-websocket."""
    parts: list[str] = []
    for cell, found in table.items():
        body = [
            [
                name,
                f"{each.cost:.2f}",
                f"{min(each.costs):.2f}–{max(each.costs):.2f}",
                f"{each.rate:,.0f}",
                f"{each.cost / found[YARDSTICK].cost:.3f}",
            ]
            for name, each in found.items()
        ]
        parts.append(f"### {cell}\n\n{rows(['client', 'µs', 'spread', 'messages/s', 'ratio'], body)}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure, then write both files."""
    began = time.monotonic()
    table = measure(map(Cell, LOADS) if "--goals" in sys.argv else cells())
    with server() as place:
        ages = {name: moments.latency(name, place) for name in CLIENTS}
        cut, checked_cut = moments.reconnect(place), moments.reconnect(place, checked=True)
        found = {name: [idle.measure(name, number, place) for number in CONNECTIONS] for name in idle.CLIENTS}
        held = idle.measure("feedwarden, supervised", CONNECTIONS[0], place, trace=True).held
    memory = found["feedwarden, supervised"][-1].memory
    text = TEMPLATE.format(
        when=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{platform.machine()}, Python {platform.python_version()}, trio {trio.__version__}",
        rounds=ROUNDS,
        ours=table[Cell(SINGLY)][OURS].cost,
        trio=table[Cell(SINGLY)]["trio + ssl"].cost,
        epoll=table[Cell(SINGLY)]["epoll + ssl"].cost,
        goals=rows(["goal", "at most", "measured", ""], list(verdicts(table, memory))),
        idle=rows(
            ["client", *(f"kB each of {n:,}" for n in CONNECTIONS), *(f"opened a second, {n:,}" for n in CONNECTIONS)],
            [
                [name, *(f"{each.memory / 1000:.1f}" for each in some), *(f"{each.opened:.0f}" for each in some)]
                for name, some in found.items()
            ],
        ),
        held="; ".join(f"{owner} {size / 1000:.0f} kB" for owner, size in held.items()),
        ages=rows(
            ["client", "half, µs", "99 in 100, µs", "of a processor"],
            [[name, f"{each.half:.0f}", f"{each.most:.0f}", f"{each.load:.1%}"] for name, each in ages.items()],
        ),
        cut=f"{cut:.1f}",
        checked_cut=f"{checked_cut:.1f}",
        minutes=f"{(time.monotonic() - began) / 60:.0f}",
        costs=costs(table),
    )
    (DOCS / "performance.md").write_text(text, encoding="utf-8")
    (DOCS / "performance.svg").write_text(chart({cell: table[cell] for cell in map(Cell, (FLAT_OUT, BURSTS, SINGLY))}))
    sys.stdout.write(text)


TEMPLATE = """# What a message costs

Written by `make bench-report`, or `make bench-report ARGS=--goals`, on {when} in {minutes} minutes: {machine},
two processors shared by client, server and whatever else ran.
CPU time of the client's process for each message, from the socket to the consumer; the server is another process and
sends the same bytes to every client. All clients take turns within each of {rounds} rounds; figures are medians. What
counts are the ratios: absolute times are this machine's.

*feedwarden* is a feed of `open_feeds()` as it ships: supervised, with ping loop, health check, gap reports and metrics,
over a profile that knows nothing of its messages; with the policy `block`, so that flat out none is dropped before a
slower consumer. *checked* is Upbit's profile looking into every message for its code and its place in the sequence
(`quiet_after`, `check_sequence`). The others are bare clients without any of that. *epoll + ssl* and *trio + ssl* are
no clients at all: they find out where a frame ends, and are the floors for Python; on trio one task reads and another
takes the messages.

![CPU time a message, as a part of trio-websocket's](performance.svg)

## Goals

{goals}

Where every frame wakes the process up, what costs is the wake-up: a turn of the loop for the task that reads and one
for the task that takes the message. Of the {ours:.0f} µs a message of ours in that cell the floor on trio needs
{trio:.0f}, the floor on epoll {epoll:.0f}. What has arrived together shares a wake-up, which is what `coalesce` makes
use of.

## Idle connections

Over TLS, in a process for each line.

{idle}

Objects of Python that a supervised feed of ours holds, by whose line made them: {held}. Most of it are the tasks of a
feed with their scopes and events: its supervisor, the connector, the owner of its session, the reader, receive loop,
ping loop, health check, subscriptions, and the wait for an end that is asked for. What else lies in memory is OpenSSL's
and the allocator's.

## Delay

From the server's send to the consumer, a message of 300 bytes over TLS each millisecond.

{ages}

From the last message before a cut to the first after it, by a new connection over TLS: {cut} ms, {checked_cut} with
checks, to which the reconnect strategy's delay is added.

## All figures

{costs}
"""


if __name__ == "__main__":
    main()
