"""Each invariant catches the bug that is planted for it, and the plan that shows it is shrunk to a few faults."""

import time
from collections.abc import Iterator

import attrs
import pytest

from actors.chaos.history import Violation
from actors.chaos.invariants import BY_STYLE
from actors.chaos.plans import Plan, draw_plan
from supervisors.simulation import Outcome, simulate
from supervisors.twins import compare, shrink
from tests.planted import BUGS

TWINS = ("I8", "I20", "I26")


def plans(invariant: str, style: str) -> Iterator[Plan]:
    """Plans until one shows it."""
    for seed in range(200):
        plan = attrs.evolve(draw_plan(seed, feeds=6 if invariant == "I24" else 2), style=style)
        if invariant == "I8":  # judged where the heal phase and chance between two legs have no say
            plan = attrs.evolve(plan, heal=False, legs=1, life=0.0)
            if plan.shared or plan.overlaps:
                continue
        # a Retry-After can be broken only where there is one
        if invariant != "I3" or any(step.kind == "reject" and step.args["retry_after"] for step in plan.steps):
            yield plan


def violations(invariant: str, outcome: Outcome) -> list[Violation]:
    """What the run breaks, alone or beside its twins."""
    return compare(outcome.plan, outcome) if invariant in TWINS else list(outcome.violations)


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant itself says so, within 60 s; and what a run shows is shrunk to at most three faults."""
    BUGS[bug](monkeypatch)
    invariant, _, style = bug.partition("/")
    began = time.monotonic()
    caught = False
    for plan in plans(invariant, style or "guide"):
        if invariant in [each.invariant for each in violations(invariant, simulate(plan))]:
            assert time.monotonic() - began < 60 or caught, "not caught in time"
            caught = True
            # another plan may have a smaller core: a shrinker finds the nearest one, not the least
            if invariant in TWINS or len(shrink(plan, invariant, seconds=20).steps) <= 3:
                return
        assert time.monotonic() - began < 110, "caught, but never shrunk" if caught else "not caught"
    raise AssertionError("no plan shows it")


def test_each_invariant_has_a_planted_bug() -> None:
    """None of I1 to I26 is believed unseen, in neither style."""
    named = {bug.partition("/")[0] for bug in BUGS}
    assert named == {f"I{number}" for number in range(1, 27)}
    assert {f"{each.name}/incidents" for each in BY_STYLE["incidents"]} <= set(BUGS)
