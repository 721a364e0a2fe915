"""What a supervised child costs, beside the same tree of bare trio nurseries: time and memory a child."""

import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.actor import Context
from actors.backoff import ReconnectStrategy
from supervisors import ChildSpec, Supervisor

SOON = ReconnectStrategy(initial_delay=0.001, max_delay=0.001, jitter=0)


@attrs.frozen
class Cost:
    """CPU seconds and bytes: of all children, up and idle."""

    seconds: float
    memory: int


class Tally:
    """Counts who has come up, and says when they are so many."""

    def __init__(self, target: int) -> None:
        self.up = 0
        self.target = target
        self.reached = trio.Event()

    def one_more(self) -> None:
        """Somebody is up."""
        self.up += 1
        if self.up == self.target:
            self.reached.set()

    async def until(self, target: int) -> None:
        """Wait until so many have come up since the beginning."""
        self.target, self.reached = target, trio.Event()
        if self.up < target:
            await self.reached.wait()


class Crashing:
    """A child that ends with an error when it is told to."""

    def __init__(self, tally: Tally) -> None:
        self.told = trio.Event()
        self.tally = tally

    async def run(self, *, task_status: Context) -> None:
        """Be up until told."""
        self.told = told = trio.Event()
        task_status.started()
        self.tally.one_more()
        await told.wait()
        raise RuntimeError("told to")


async def supervised(count: int) -> int:
    """Start so many children, let one in ten crash and come back, stop all; returns the bytes while all are idle."""
    tally = Tally(count)
    children = [Crashing(tally) for _ in range(count)]
    before = tracemalloc.get_traced_memory()[0]
    top = Supervisor("top", dynamic=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(top.run)
        await trio.lowlevel.checkpoint()
        for number, child in enumerate(children):
            top.start_soon(ChildSpec(id=str(number), run=child.run, strategy=SOON))
        await tally.until(count)
        memory = tracemalloc.get_traced_memory()[0] - before
        for child in children[::10]:
            child.told.set()
        await tally.until(count + len(children[::10]))
        top.stop()
    return memory


async def bare(count: int) -> int:
    """The same with nothing but nurseries: a task in a scope each, which starts again by itself."""
    tally = Tally(count)
    events = [trio.Event() for _ in range(count)]
    before = tracemalloc.get_traced_memory()[0]

    async def child(number: int) -> None:
        with trio.CancelScope():
            tally.one_more()
            await events[number].wait()
            await trio.sleep(SOON.initial_delay)
            tally.one_more()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(child, number)
        await tally.until(count)
        memory = tracemalloc.get_traced_memory()[0] - before
        for event in events[::10]:
            event.set()
        await tally.until(count + len(events[::10]))
        nursery.cancel_scope.cancel()
    return memory


def cost(tree: Callable[[int], Awaitable[int]], count: int, *, collector: bool = False, memory: bool = False) -> Cost:
    """What one run costs; the memory is traced in a run of its own, which is slow.

    Without the garbage collector, unless it is asked for: its work grows with all that is alive, so that with it ten
    times as many bare nurseries take fifteen times as long.
    """
    gc.collect()
    if memory:
        tracemalloc.start()
    if not collector:
        gc.disable()
    try:
        start = time.process_time()
        traced = trio.run(tree, count)
        seconds = time.process_time() - start
    finally:
        gc.enable()
        tracemalloc.stop()
    return Cost(seconds, traced)


def report(count: int = 10_000, rounds: int = 5) -> None:
    """Print the figures of both trees."""
    print(f"\n{count} children: start, crash one in ten, stop; CPU µs a child, least of {rounds}")
    for name, tree in (("Supervisor", supervised), ("bare nurseries", bare)):
        for collector in (False, True):
            few, many = (
                min(cost(tree, number, collector=collector).seconds for _ in range(rounds))
                for number in (count // 10, count)
            )
            gc_too = ", gc on" if collector else ""
            print(f"{name + gc_too:30}{many / count * 1e6:7.2f}  (10x the children: {many / few:.1f}x the time)")
        print(f"{name + ', memory':30}{cost(tree, count, memory=True).memory / count:7.0f}  bytes an idle child")
