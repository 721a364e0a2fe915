"""A day of a hundred feeds of one host that bans them, cuts them all, and meets a slow notifier."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from actors.chaos.history import Checker, Told
from actors.chaos.invariants import Invariant, Scene, checkers
from actors.chaos.plans import Plan, Step
from actors.events import Live
from supervisors.simulation import simulate

FEEDS = 100
HOST = "exchange:exchange-1.test"
DAY = 86_400.0
BAN, CUT = 6 * 3600.0, 18 * 3600.0
STEPS = (
    Step(BAN, HOST, "reject", {"status": 418, "retry_after": 600}),
    Step(BAN, HOST, "cut"),
    Step(BAN + 300, HOST, "resume"),
    Step(CUT - 10, "alerts", "slow", {"seconds": 600.0}),
    Step(CUT, HOST, "cut"),
)
"""The ban lasts as long as the exchange has said, ten minutes, although it would let them in after five."""


class Recovery(Invariant):
    """Not a rule but a record: when each feed was live, and when people were told something."""

    name = "recovery"
    hears = (Live, Told)

    def __init__(self, scene: Scene, lives: list[float], told: list[float]) -> None:
        super().__init__(scene)
        self._lives = lives
        self._told = told

    def take(self, record: Any) -> None:
        (self._lives if isinstance(record, Live) else self._told).append(record.at)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_feeds_come_back_as_fast_as_the_gate_allows() -> None:
    """One a second and five at once: all are live 100 s after the ban and after the cut, and the gate is never passed.

    The first attempts after the cut are spread by the backoff's first delay, a second. In the whole day people hear of
    the start, of each of the two events at most twice and once when it is over, and of the stop.
    """
    lives: list[float] = []
    told: list[float] = []

    def watching(scene: Scene) -> Sequence[Checker]:
        return [*checkers(scene), Recovery(scene, lives, told)]

    plan = Plan(seed=1, seconds=DAY, feeds=FEEDS, shared=True, rate=0.05, style="incidents", steps=STEPS)
    outcome = simulate(plan, watching)
    assert not outcome.violations, [str(each) for each in outcome.violations]
    assert outcome.judged["I24"] >= 3 * FEEDS
    assert len(lives) == 3 * FEEDS
    start, ban, cut = (sorted(lives)[n * FEEDS : (n + 1) * FEEDS] for n in range(3))
    assert start[-1] <= 100
    # five knocked and were told of the ban; whoever stood at the gate waited there
    assert ban[0] >= BAN + 600
    assert ban[-1] <= BAN + 600 + 105
    assert cut[-1] <= CUT + 105
    edges = (0, BAN, CUT, DAY, math.inf)
    heard = [sum(since <= at < until for at in told) for since, until in itertools.pairwise(edges)]
    assert heard[0] == 1
    assert 2 <= heard[1] <= 3
    assert 2 <= heard[2] <= 3
    assert heard[3] == 1
