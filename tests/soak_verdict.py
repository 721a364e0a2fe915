"""What a soak has measured, whether it is as it was at the beginning, and a chart of it."""

from collections.abc import Callable, Sequence
from statistics import linear_regression, median

import attrs

WARM_UP = 0.25
"""The part of the rounds that is not judged: caches, allocator and TLS sessions fill first."""
MOST_MB = 3.0
"""Megabytes that the line through the memory may rise over the judged rounds."""
MOST_CPU = 1.25
"""How many times the CPU time for a message of the first judged rounds the last ones may take."""


@attrs.frozen(kw_only=True)
class Round:
    """What stood at the end of one round, when its faults were over and all feeds were live again."""

    at: float
    """Seconds since the start."""
    live: int
    """Feeds that were live."""
    memory: float
    """Resident megabytes, after a collection of garbage."""
    blocks: int
    """Blocks of memory that Python's objects take: a leak of our own shows here first, without an allocator's noise."""
    descriptors: int
    tasks: int
    cpu: float
    """Microseconds of CPU time for a message, in the calm at the end of the round."""
    messages: int
    """Messages in that calm."""
    reconnects: int
    """Of all feeds, since the start."""


def judged(rounds: Sequence[Round]) -> Sequence[Round]:
    """The rounds without the warm-up."""
    return rounds[round(len(rounds) * WARM_UP) :]


def rise(rounds: Sequence[Round], value: Callable[[Round], float]) -> float:
    """How much the line through a figure rises from the first to the last round."""
    slope, _ = linear_regression([each.at for each in rounds], [value(each) for each in rounds])
    return slope * (rounds[-1].at - rounds[0].at)


def most_blocks(rounds: Sequence[Round]) -> float:
    """Blocks that may be more at the end: not one for four reconnects, but for what comes and goes with the moment.

    That is up to 3,700 from one round to the next where nothing is kept: a leak of one a reconnect takes two minutes to
    stand out from it.
    """
    return 4000 + (rounds[-1].reconnects - rounds[0].reconnects) / 4


def growth(rounds: Sequence[Round]) -> float:
    """CPU time for a message in the last third, by that of the first third."""
    third = max(1, len(rounds) // 3)
    return median(each.cpu for each in rounds[-third:]) / median(each.cpu for each in rounds[:third])


def complaints(rounds: Sequence[Round], feeds: int) -> list[str]:
    """What is not as it was; empty if the soak has passed."""
    if len(judged(rounds)) < 3:
        return [f"{len(rounds)} rounds are too few to judge; give it more time"]
    rounds = judged(rounds)
    found = [f"{each.live} of {feeds} feeds were live at {each.at:.0f} s" for each in rounds if each.live != feeds]
    for name in ("descriptors", "tasks"):
        counts: list[int] = [getattr(each, name) for each in rounds]
        if max(counts) > counts[0]:
            found.append(f"{name} rose from {counts[0]} to {max(counts)}")
    if (grown := rise(rounds, lambda each: each.memory)) > MOST_MB:
        found.append(f"memory rose by {grown:.1f} MB, more than {MOST_MB:g}")
    if (kept := rise(rounds, lambda each: each.blocks)) > (allowed := most_blocks(rounds)):
        found.append(f"blocks of memory rose by {kept:.0f}, more than {allowed:.0f}")
    if growth(rounds) > MOST_CPU:
        found.append(f"CPU for a message has grown {growth(rounds):.2f} times, more than {MOST_CPU:g}")
    return found


PANELS: Sequence[tuple[str, Callable[[Round], float]]] = (
    ("resident memory, MB", lambda each: each.memory),
    ("blocks of memory that Python's objects take", lambda each: each.blocks),
    ("file descriptors", lambda each: each.descriptors),
    ("tasks", lambda each: each.tasks),
    ("CPU for a message, µs", lambda each: each.cpu),
    ("reconnects so far", lambda each: each.reconnects),
)
WIDTH, HEIGHT, LEFT, GAP = 640, 90, 60, 34


def chart(rounds: Sequence[Round], title: str) -> str:
    """All of it as SVG: one panel below the other, each from zero, time to the right."""
    tall = GAP + len(PANELS) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}"',
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{tall}" fill="white"/><text x="{LEFT}" y="16" font-size="13">{title}</text>',
    ]
    end = rounds[-1].at
    for number, (name, value) in enumerate(PANELS):
        top = GAP + number * (HEIGHT + GAP)
        values = [value(each) for each in rounds]
        most = max(*values, 1.0) * 1.1
        points = " ".join(
            f"{LEFT + each.at / end * (WIDTH - LEFT - 20):.1f},{top + HEIGHT - each_value / most * HEIGHT:.1f}"
            for each, each_value in zip(rounds, values, strict=True)
        )
        parts += [
            f'<path d="M{LEFT} {top}V{top + HEIGHT}H{WIDTH - 20}" fill="none" stroke="#999"/>',
            f'<text x="{LEFT}" y="{top - 5}">{name}: {values[0]:.4g} at first, {values[-1]:.4g} at last</text>',
            f'<text x="{LEFT - 6}" y="{top + 8}" text-anchor="end">{most:.3g}</text>',
            f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
            f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>',
        ]
    parts.append(f'<text x="{WIDTH - 20}" y="{tall - 12}" text-anchor="end">{end:.0f} s</text></svg>')
    return "\n".join(parts) + "\n"
