"""hypothesis draws fault plans and schedules of its own, and shrinks what fails."""

import random

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from actors.chaos.invariants import BY_STYLE
from actors.chaos.plans import KINDS, SWITCHES, Plan, Step, all_kinds, host
from supervisors.simulation import simulate
from tests.planted import BUGS

SECONDS = 240.0
QUICK = settings(deadline=None, database=None, phases=(Phase.generate, Phase.shrink))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """One fault of a run with one feed; whatever its arguments are drawn from is shrunk too."""
    target, kind = draw(st.sampled_from(sorted(all_kinds()))).split(".")
    source: random.Random = draw(st.randoms(use_true_random=False))
    place = {"net": "net:feed-1", "feed": "feed:feed-1", "exchange": f"exchange:{host(1, shared=False)}"}
    at = draw(st.integers(1, int(SECONDS) - 60))
    return Step(float(at), place.get(target, target), kind, KINDS[target][kind](source))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A run of four minutes: which exchange, its switches, legs, the alerts' style, and up to eight faults."""
    venue = draw(st.sampled_from(sorted(SWITCHES)))
    numbered = venue in ("simulated", "binance")
    return Plan(
        seed=draw(st.integers(0, 2**32)),
        seconds=SECONDS,
        feeds=1,
        venues=(venue,),
        switches={name: draw(st.sampled_from(values)) for name, values in SWITCHES[venue].items()},
        legs=draw(st.integers(1, 2)) if numbered else 1,
        life=draw(st.sampled_from((0.0, 90.0))) if numbered else 0.0,
        style=draw(st.sampled_from(sorted(BY_STYLE))),
        heal=draw(st.booleans()),
        steps=tuple(draw(st.lists(steps(), max_size=8))),
    )


@settings(QUICK, max_examples=10)
@given(plan=plans())
def test_no_drawn_plan_breaks_an_invariant(plan: Plan) -> None:
    """Nor does one that survives JSON become another."""
    assert Plan.from_json(plan.json()) == plan
    outcome = simulate(plan)
    assert not outcome.violations, f"{[str(each) for each in outcome.violations]}\n{plan.json()}"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_plan_that_fails_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bug in the product a plan is found that shows it, and of its faults at most two are left."""
    BUGS["I23"](monkeypatch)

    def fails(plan: Plan) -> bool:
        return any(each.invariant == "I23" for each in simulate(plan).violations)

    smallest = find(plans(), fails, settings=settings(QUICK, max_examples=200, derandomize=True))
    assert 1 <= len(smallest.steps) <= 2
    assert smallest.feeds == 1
