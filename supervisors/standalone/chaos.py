"""`feedwarden chaos`: simulations of the whole application on all processors, and a table of what was survived."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, count, islice
from pathlib import Path

import attrs

from actors.chaos.determinism import check
from actors.chaos.history import Violation
from actors.chaos.invariants import meanings
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
RATE = 1.0
"""Messages a second of each feed."""
AHEAD = 32
"""The most runs that are handed out and not yet counted."""
SAME = "the same plan is the same run, and what is none of a feed's business changes nothing of it"
"""What I8, I20 and I26 say, which compare runs."""
TELL_EVERY = 30.0
"""Seconds between two lines that say how far it is."""

Verdict = tuple[Outcome, Violation | None]


@attrs.define
class Tally:
    """What was run so far."""

    runs: int = 0
    feed_hours: float = 0.0
    """Virtual."""
    cpu: float = 0.0
    """Seconds that the runs took."""
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
        rate = self.feed_hours / self.cpu if self.cpu else 0.0
        yield f"runs: {self.runs}, feed-hours: {self.feed_hours:.1f}, {rate:.2f} of them a CPU second"
        yield ""
        yield "faults injected"
        yield from (f"  {kind:<24}{count:>8}" for kind, count in sorted(self.injected.items()))
        if missing := sorted(all_kinds() - set(self.injected)):
            yield f"  none of: {', '.join(missing)}"
        yield ""
        yield "states entered and failures survived"
        yield from (f"  {name:<24}{count:>8}" for name, count in sorted(self.survived.items()))
        yield ""
        yield "invariants, and how many records each has judged"
        yield from (f"  {name:<24}{self.judged[name]:>8}  {meaning}" for name, meaning in meanings().items())
        yield f"  {'I8, I20, I26':<24}{-(-self.runs // COMPARED):>8}  runs that were made again and compared"


def read_plan(file: Path) -> Plan:
    """A plan from a file; BadInput where there is none in it."""
    try:
        return Plan.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"--plan {file}: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"--plan {file}: {error}") from None


def drawn(seed: int, hours: float, feeds: int) -> Iterator[Plan]:
    """The plans of so many virtual hours of so many feeds, beginning with this seed."""
    left = hours * 3600
    while left > 0:
        yield draw_plan(seed, seconds=max(120.0, min(left, RUN_SECONDS)), feeds=feeds, rate=RATE)
        left -= RUN_SECONDS
        seed += 1


def judge(plan: Plan, compared: bool) -> Verdict:
    """Run a plan, and if wanted its twins; the records are kept of a run that fails only."""
    outcome = simulate(plan)
    violations = outcome.violations or (compare(plan, outcome) if compared else ())
    return (outcome, violations[0]) if violations else (attrs.evolve(outcome, tail=()), None)


def judged(plans: Iterator[Plan]) -> Iterator[Verdict]:
    """Run plans, in their order as far as anybody can see: a single one here, several on all processors."""
    first = list(islice(plans, 2))
    if len(first) < 2:
        yield from (judge(plan, compared=True) for plan in first)
        return
    waiting: deque[Future[Verdict]] = deque()
    pool = ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        for number, plan in zip(count(), chain(first, plans)):
            waiting.append(pool.submit(judge, plan, compared=number % COMPARED == 0))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """A worker leaves Ctrl-C to the process that has started it, and ends with that, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def play(plans: Iterator[Plan], tally: Tally, tell: Callable[[str], None]) -> tuple[Outcome, Violation] | None:
    """Count runs until one fails; returns that one and what it broke."""
    due = time.monotonic() + 1.0
    for outcome, violation in judged(plans):
        tally.add(outcome)
        if violation is not None:
            return outcome, violation
        if time.monotonic() >= due:
            due += TELL_EVERY
            tell(f"runs: {tally.runs}, feed-hours: {tally.feed_hours:.0f}, no violation so far; Ctrl-C shows the table")
    return None


def failure(outcome: Outcome, violation: Violation, seconds: float = 60.0) -> Iterator[str]:
    """What a person needs to see it again."""
    alone = violation.invariant in meanings()
    smallest = shrink(outcome.plan, violation.invariant, seconds=seconds, run=simulate if alone else _beside_twins)
    yield f"FAILED: seed {outcome.plan.seed}: {violation}"
    yield f"{violation.invariant} is: {meanings().get(violation.invariant, SAME)}"
    yield f"the smallest plan found, {len(smallest.steps)} of {len(outcome.plan.steps)} faults; save it for --plan:"
    yield smallest.json().rstrip()
    yield "the last events:"
    yield from (f"  {line}" for line in list(outcome.tail)[-LAST:])


def _beside_twins(plan: Plan) -> Outcome:
    """A run with what it breaks where it is compared, as if it had broken that alone."""
    outcome = simulate(plan)
    return attrs.evolve(outcome, violations=compare(plan, outcome))


def report(plans: Iterator[Plan], tell: Callable[[str], None]) -> tuple[int, Iterator[str]]:
    """Run the plans; the exit code, and what to print. ``tell`` hears how far it is. Ctrl-C or SIGTERM ends it."""
    if missing := check():
        raise BadInput(missing)
    tally, began = Tally(), time.monotonic()
    code, ending = 0, iter(())
    stopped_by = signal.SIGINT

    def stop(number: int, _frame: object) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        if (failed := play(plans, tally, tell)) is not None:
            tell(f"FAILED: {failed[1]}; the smallest plan that does is being looked for, a minute at most")
            code, ending = 1, failure(*failed)
        else:
            ending = iter((f"zero violations in {time.monotonic() - began:.0f} s",))
    except KeyboardInterrupt:
        code = 128 + stopped_by
        ending = iter((f"interrupted after {time.monotonic() - began:.0f} s, zero violations until then",))
    finally:
        signal.signal(signal.SIGTERM, before)
    return code, chain(tally.lines(), ("",), ending)


def kind_of(target: str, kind: str) -> str:
    """A step's kind with that of its target."""
    return f"{target.partition(':')[0]}.{kind}"
