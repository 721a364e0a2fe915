"""Two hundred simulated half hours of the whole application, and what makes them worth something."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import determinism
from actors.chaos.history import History
from actors.chaos.invariants import BY_STYLE, Invariant, names
from actors.chaos.plans import KINDS, SWITCHES, Plan, Step, all_kinds, draw_plan
from actors.errors import Reason
from actors.events import Failed
from actors.legs import Leg
from supervisors.simulation import simulate
from supervisors.sockets import Sockets
from supervisors.twins import compare, shrink

ROOT = Path(__file__).parent.parent
PLANS = Path(__file__).parent / "plans"
SEEDS = range(200)
CHUNK = 10
EXCHANGE = "exchange:exchange-1.test"
CODE = """
from actors.chaos.plans import draw_plan
from actors.errors import Reason
from actors.events import Failed
from supervisors.simulation import simulate
print(simulate(draw_plan(9)).digest)
"""


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_no_seed_breaks_an_invariant(first: int) -> None:
    """Thirty virtual minutes of two feeds a seed, every invariant judged, none broken; a failure prints its plan."""
    for seed in range(first, first + CHUNK):
        outcome = simulate(draw_plan(seed))
        assert not outcome.violations, f"{[str(each) for each in outcome.violations]}\n{outcome.plan.json()}"


def test_the_seeds_hold_every_kind_of_fault() -> None:
    """No kind is missing from the two hundred plans."""
    drawn = {f"{step.target.partition(':')[0]}.{step.kind}" for seed in SEEDS for step in draw_plan(seed).steps}
    assert drawn == all_kinds()


def test_the_seeds_decide_what_is_not_known_both_ways() -> None:
    """Each switch of each exchange, and each style of the alerts, has every one of its values in the two hundred."""
    drawn = [draw_plan(seed) for seed in SEEDS]
    assert {plan.style for plan in drawn} == set(BY_STYLE)
    for venue, switches in SWITCHES.items():
        mine = [plan for plan in drawn if plan.venues == (venue,)]
        for name, values in switches.items():
            assert {plan.switches[name] for plan in mine} == set(values), (venue, name)


@pytest.mark.parametrize("seed", [1, 9])
def test_a_run_repeats(seed: int) -> None:
    """The same plan is the same run; its clock steps change nothing, and nobody feels the faults of another."""
    assert compare(draw_plan(seed)) == []


def test_a_run_repeats_in_another_process() -> None:
    """The hash of the event log is the same in a fresh interpreter with other string hashes."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout.strip()
        for hashes in ("1", "2")
    }
    assert printed == {simulate(draw_plan(9)).digest}


def test_another_seed_is_another_run() -> None:
    """The hash can differ."""
    plan = Plan(seed=1, seconds=120)
    assert simulate(plan).digest != simulate(attrs.evolve(plan, seed=2)).digest


def test_a_plan_survives_json() -> None:
    """What is saved is what is read, and anything else is refused."""
    for seed in range(20):
        plan = draw_plan(seed)
        assert Plan.from_json(plan.json()) == plan
    with pytest.raises(ValueError, match="not a fault plan"):
        Plan.from_json("[]")
    with pytest.raises(ValueError, match="format 7"):
        Plan.from_json(json.dumps({**json.loads(Plan(seed=1).json()), "format": 7}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"venues": ["upbitt"]}, "venues: expected some of binance, bithumb, simulated, upbit, not upbitt"),
        ({"style": "loud"}, "style: expected guide or incidents, not loud"),
        ({"feeds": 0}, "feeds: expected a number from 1 on, not 0"),
        ({"speed": 3}, "unexpected keyword argument 'speed'"),
        ({"steps": [{"at": 1, "target": "net:feed-9", "kind": "reset"}]}, "step 1: there is no target 'net:feed-9'"),
        ({"steps": [{"at": 1, "target": "moon", "kind": "full"}]}, "there is no target 'moon' in a plan of 2 feeds"),
        ({"steps": [{"at": 1, "target": "alerts", "kind": "sing"}]}, "alerts has no fault 'sing', but fail, flood"),
        (
            {"steps": [{"at": 1, "target": "clock", "kind": "step", "args": {"to": 3}}]},
            "step 1: clock.step has no argument to",
        ),
    ],
)
def test_a_plan_that_asks_for_what_there_is_not(change: dict[str, Any], told: str) -> None:
    """It is refused in words, before anything runs."""
    with pytest.raises(ValueError, match=re.escape(told)):
        Plan.from_json(json.dumps({**json.loads(Plan(seed=1).json()), **change}))


def test_the_canary_of_trio() -> None:
    """This trio still has the private names that replaying needs."""
    assert determinism.check() == ""


def test_pinning_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is as before when a run has ended; without the names it is said which are gone."""
    before = random.getstate()
    with determinism.pinned(3):
        first = random.random()
    with determinism.pinned(3):
        assert random.random() == first
    assert random.getstate() == before
    monkeypatch.delattr(determinism._run, "_r")  # pyright: ignore[reportPrivateUsage] - the name itself is the point
    assert "_r" in determinism.check()


def test_every_kind_does_something() -> None:
    """Each kind of fault, alone and early, makes another run than no fault at all."""
    plain = Plan(seed=5, seconds=90, feeds=1, rate=1.0)
    draw = random.Random(1)
    nothing = simulate(plain)
    for target, kinds in KINDS.items():
        for kind, make in kinds.items():
            place = {"net": "net:feed-1", "feed": "feed:feed-1", "exchange": "exchange:exchange-1.test"}.get(
                target, target
            )
            outcome = simulate(attrs.evolve(plain, steps=(Step(20.0, place, kind, make(draw)),)))
            assert not outcome.violations, (target, kind)
            assert outcome.digest != nothing.digest


def test_a_plan_is_shrunk_to_what_matters() -> None:
    """Of many steps the one that breaks an invariant is left."""

    class NoReset(Invariant):
        name = "X"
        hears = (Failed,)

        def take(self, record: Failed) -> str | None:
            return "reset" if record.reason is Reason.RESET else None

    steps = [Step(float(at), "net:feed-1", "slicer", {"bytes": 7, "seconds": 5.0}) for at in range(10, 60, 5)]
    plan = Plan(seed=1, seconds=120, feeds=1, steps=(*steps, Step(33.0, "net:feed-1", "reset")))
    smallest = shrink(plan, "X", run=lambda plan: simulate(plan, lambda scene: [NoReset(scene)]))
    assert [step.kind for step in smallest.steps] == ["reset"]


def test_an_exception_of_the_application_is_a_violation() -> None:
    """What leaves the application is told, not lost."""
    plan = Plan(seed=1, seconds=60, feeds=1, steps=(Step(5.0, "net:feed-1", "refuse", {"error": "no such error"}),))
    first, *_ = simulate(plan).violations
    assert (first.invariant, "no such error" in first.detail) == ("I10", True)


def test_every_invariant_is_checked() -> None:
    """I1 to I26, but for those that compare two runs."""
    assert names() | {"I8", "I20", "I26"} == {f"I{number}" for number in range(1, 27)}
    assert History().digest("nobody") == ""


def test_a_plan_that_was_saved_still_replays() -> None:
    """A plan as the first version of the format wrote it is read and played, whatever is drawn from seeds today."""
    saved = """{"format": 1, "seed": 34, "seconds": 300.0, "feeds": 1, "shared": false, "rate": 0.2,
      "venues": ["upbit"], "switches": {"idle_close": null}, "heal": true, "steps": [
      {"at": 30.0, "target": "exchange:exchange-1.test", "kind": "reject", "args": {"status": 429, "retry_after": 90}},
      {"at": 31.0, "target": "net:feed-1", "kind": "reset", "args": {}}]}"""
    outcome = simulate(Plan.from_json(saved))
    assert not outcome.violations
    assert outcome.states["http_429"] >= 1


@pytest.mark.parametrize("file", sorted(PLANS.iterdir()), ids=lambda file: file.stem)
def test_a_plan_that_once_failed(file: Path) -> None:
    """What chance has found: judges that asked for more than is promised, and what nobody had thought of."""
    assert not simulate(Plan.from_json(file.read_text())).violations


def test_the_clock_jumps_to_each_deadline() -> None:
    """Exactly, at once, and never while a task can run."""

    async def main() -> list[float]:
        seen: list[float] = []
        for deadline in (0.1, 0.3, 86_400.7):
            await trio.lowlevel.checkpoint()
            seen.append(trio.current_time())
            await trio.sleep_until(deadline)
        return [*seen, trio.current_time()]

    began = time.monotonic()
    assert determinism.run(1, main) == [0.0, 0.1, 0.3, 86_400.7]
    assert time.monotonic() - began < 5


def yes(*_arguments: object) -> bool:
    """Do nothing, and agree."""
    return True


def ignore(*_arguments: object) -> None:
    """Do nothing."""


def test_legs_are_renewed_and_carry_on_for_one_another() -> None:
    """Two sockets, lives of four hundred seconds, and faults of the first one's network: nothing is interrupted."""
    faults = (
        Step(100.0, "net:feed-1", "reset"),
        Step(300.0, "net:feed-1", "black_hole", {"seconds": 60.0}),
        Step(700.0, "net:feed-1", "refuse", {"seconds": 120.0}),
        Step(705.0, "net:feed-1", "eof"),
    )
    plan = Plan(seed=1, seconds=1800.0, feeds=1, rate=1.0, legs=2, life=400.0, steps=faults)
    outcome = simulate(plan)
    assert not outcome.violations, [str(each) for each in outcome.violations]
    assert outcome.counts["Renewed"] >= 4
    assert outcome.counts["LegLost"] >= 3
    assert {"Failed", "GapReported"}.isdisjoint(outcome.counts)


def test_a_leg_that_is_never_closed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """I1 knows how long two sockets may carry the same: with a bug that keeps the old one, it says so."""
    monkeypatch.setattr(Sockets, "close_leg", yes)
    outcome = simulate(Plan(seed=1, seconds=900.0, feeds=1, life=400.0))
    assert {each.invariant for each in outcome.violations} == {"I1"}


def test_a_successor_that_is_not_waited_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """I5 counts what two sockets bring: with one that leaves before the other delivers, something is missing."""
    slow = Step(1.0, "net:feed-1", "latency", {"mean": 1.0, "jitter": 0.0, "seconds": 900.0})
    plan = Plan(seed=1, seconds=900.0, feeds=1, rate=5.0, life=400.0, steps=(slow,))
    assert not simulate(plan).violations
    monkeypatch.setattr(Leg, "follows", yes)
    monkeypatch.setattr(Leg, "delivers", property(yes, ignore), raising=False)
    assert "I5" in {each.invariant for each in simulate(plan).violations}


@pytest.mark.parametrize(("venue", "gaps"), [("binance", 0), ("upbit", 1)])
def test_an_announced_end_is_no_interruption(venue: str, gaps: int) -> None:
    """Where the exchange says that it will end the connection, a fresh one takes over; elsewhere it is a gap."""
    steps = (Step(100.0, EXCHANGE, "retire", {"seconds": 30.0}),)
    outcome = simulate(Plan(seed=1, seconds=300.0, feeds=1, rate=1.0, venues=(venue,), steps=steps))
    assert not outcome.violations, [str(each) for each in outcome.violations]
    assert outcome.counts.get("GapReported", 0) == gaps
    assert outcome.counts.get("Renewed", 0) == 1 - gaps
