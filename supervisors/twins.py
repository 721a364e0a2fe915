"""Invariants of two runs, and the smallest plan that still fails.

I8: what happens to one feed changes nothing of another. I20: a step of the wall clock changes nothing at all. I26: the
same plan is the same run.
"""

import time
from collections.abc import Callable, Sequence

import attrs

from actors.chaos.history import Violation
from actors.chaos.plans import Plan, Step
from supervisors.simulation import Outcome, simulate

BEHIND = 60.0
"""Seconds that a shrunk plan goes on behind its last fault, where that is enough."""


def compare(plan: Plan, first: Outcome | None = None) -> list[Violation]:
    """Run a plan again – as it is, without its clock steps, and without the faults of its first feed – and compare.

    Args:
        plan: What to run.
        first: Its run, if there was one already.
    """
    plain = first or simulate(plan)
    found: list[Violation] = []
    if simulate(plan).digest != plain.digest:
        found.append(Violation("I26", plain.virtual, "the same plan is another run"))
    found += _differs("I20", plain, _without(plan, lambda step: step.target == "clock"), "")
    # a shared host is meant to be felt by the others, and how long the heal phase takes is decided by all of them;
    # of two legs that hear the same at one moment chance says which was first, and it is drawn for all feeds
    if plan.feeds > 1 and not (plan.shared or plan.heal or plan.overlaps):
        others = _without(plan, lambda step: step.target.partition(":")[2] in ("feed-1", "exchange-1.test"))
        found += _differs("I8", plain, others, "feed-2")
    return found


def shrink(plan: Plan, invariant: str, *, seconds: float = 60.0, run: Callable[[Plan], Outcome] = simulate) -> Plan:
    """The smallest plan found that breaks the same invariant, after so many seconds of real time at most.

    Steps are left out by halves, then one by one (delta debugging), then the time behind the last one is cut off.
    """
    deadline = time.monotonic() + seconds

    def fails(steps: Sequence[Step], until: float = plan.seconds) -> bool:
        outcome = run(attrs.evolve(plan, steps=tuple(steps), seconds=until))
        return any(each.invariant == invariant for each in outcome.violations)

    steps = list(plan.steps)
    size = max(1, len(steps) // 2)
    while steps and time.monotonic() < deadline:
        for start in range(0, len(steps), size):
            rest = steps[:start] + steps[start + size :]
            if time.monotonic() < deadline and fails(rest):
                steps = rest
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    until = min(plan.seconds, max((step.at for step in steps), default=0.0) + BEHIND)
    if until < plan.seconds and not (time.monotonic() < deadline and fails(steps, until)):
        until = plan.seconds
    return attrs.evolve(plan, steps=tuple(steps), seconds=until)


def _without(plan: Plan, unwanted: Callable[[Step], bool]) -> Plan:
    return attrs.evolve(plan, steps=tuple(step for step in plan.steps if not unwanted(step)))


def _differs(invariant: str, plain: Outcome, other: Plan, feed: str) -> list[Violation]:
    if len(other.steps) == len(plain.plan.steps):
        return []
    twin = simulate(other)
    # the steps that were left out stand in the log of everything; what each feed did must be the same
    feeds = [feed] if feed else list(plain.digests)
    return [
        Violation(invariant, plain.virtual, f"{name} ran differently when faults that are not its own were left out")
        for name in feeds
        if twin.digests[name] != plain.digests[name]
    ]
