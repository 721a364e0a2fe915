"""`feedwarden chaos`: simulations of the whole application, one after the other, and a table of what was survived."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from actors.chaos.determinism import check
from actors.chaos.history import Violation
from actors.chaos.invariants import names
from actors.chaos.plans import Plan, all_kinds, draw_plan
from supervisors.simulation import Outcome, simulate
from supervisors.standalone.mistakes import BadInput
from supervisors.twins import compare, shrink

RUN_SECONDS = 1800.0
"""The longest fault phase of one run, virtual; longer tellings are more runs, each with a seed of its own."""
COMPARED = 100
"""One run of so many is run again and compared."""
LAST = 20
"""Records printed of a run that failed."""


@attrs.define
class Tally:
    """What was run so far."""

    runs: int = 0
    feed_hours: float = 0.0
    cpu: float = 0.0
    injected: Counter[str] = attrs.field(factory=Counter[str])
    survived: Counter[str] = attrs.field(factory=Counter[str])
    judged: Counter[str] = attrs.field(factory=Counter[str])

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.runs += 1
        self.feed_hours += outcome.virtual * outcome.plan.feeds / 3600
        self.cpu += outcome.cpu
        self.injected.update(kind_of(step.target, step.kind) for step in outcome.plan.steps)
        self.survived.update(outcome.states)
        self.judged.update(outcome.judged)

    def lines(self) -> Iterator[str]:
        """The tally as a table."""
        yield f"{self.runs} runs, {self.feed_hours:.1f} feed-hours, {self.feed_hours / self.cpu:.2f} a CPU second"
        yield ""
        yield "injected"
        yield from (f"  {kind:<24}{self.injected[kind]:>8}" for kind in sorted(all_kinds()))
        yield ""
        yield "states entered and failures survived"
        yield from (f"  {name:<24}{count:>8}" for name, count in sorted(self.survived.items()))
        yield ""
        yield "invariants, and how many records each has judged"
        ordered = sorted(names(), key=lambda name: int(name[1:]))
        yield from (f"  {name:<24}{self.judged[name]:>8}" for name in ordered)


def read_plan(file: Path) -> Plan:
    """A plan from a file; BadInput where there is none in it."""
    try:
        return Plan.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"--plan {file}: {error}") from None


def drawn(seed: int, hours: float, feeds: int) -> Iterator[Plan]:
    """The plans of so many virtual hours of so many feeds, beginning with this seed."""
    left = hours * 3600
    while left > 0:
        yield draw_plan(seed, seconds=max(120.0, min(left, RUN_SECONDS)), feeds=feeds)
        left -= RUN_SECONDS
        seed += 1


def play(plans: Iterator[Plan], tally: Tally) -> tuple[Outcome, Violation] | None:
    """Run plans until one fails; returns its run and what it broke."""
    for plan in plans:
        outcome = simulate(plan)
        tally.add(outcome)
        violations = outcome.violations or (compare(plan, outcome) if tally.runs % COMPARED == 1 else ())
        if violations:
            return outcome, violations[0]
    return None


def failure(outcome: Outcome, violation: Violation, seconds: float = 60.0) -> Iterator[str]:
    """What a person needs to see it again."""
    smallest = shrink(outcome.plan, violation.invariant, seconds=seconds)
    yield f"FAILED: seed {outcome.plan.seed}: {violation}"
    yield f"the smallest plan found, {len(smallest.steps)} of {len(outcome.plan.steps)} faults; save it for --plan:"
    yield smallest.json().rstrip()
    yield "the last events:"
    yield from (f"  {line}" for line in list(outcome.tail)[-LAST:])


def report(plans: Iterator[Plan]) -> tuple[int, Iterator[str]]:
    """Run the plans; the exit code, and what to print."""
    if missing := check():
        raise BadInput(missing)
    tally, began = Tally(), time.monotonic()
    failed = play(plans, tally)

    def lines() -> Iterator[str]:
        yield from tally.lines()
        yield ""
        if failed is None:
            yield f"zero violations in {time.monotonic() - began:.0f} s"
        else:
            yield from failure(*failed)

    return int(failed is not None), lines()


def kind_of(target: str, kind: str) -> str:
    """A step's kind with that of its target."""
    return f"{target.partition(':')[0]}.{kind}"
