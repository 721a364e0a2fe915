"""Many children: what happens to one costs the same however many there are."""

import time

import pytest
import trio.testing

from supervisors import Restart, Supervisor
from tests.bench.tree import cost, supervised
from tests.supervision.stage import Puppet, finish, live, spec


@pytest.mark.slow
def test_ten_times_the_children_take_at_most_twelve_times_the_time() -> None:
    """10,000 children: start, crash one in ten, stop; the least of a few rounds, since what others add is not ours."""
    few, many = [float("inf")], [float("inf")]
    for _ in range(8):
        few.append(cost(supervised, 1000).seconds)
        many.append(cost(supervised, 10_000).seconds)
        if min(many) <= 12 * min(few) and len(few) > 3:
            return
    pytest.fail(f"{min(many) / min(few):.1f} times the time for ten times the children")


def static_seconds(count: int) -> float:
    """CPU seconds to start and stop so many static children, one after the other."""
    top = Supervisor("top", [spec(Puppet(live, name=str(n))) for n in range(count)])

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(top.run)
            while top.count_children().active < count:  # noqa: ASYNC110 - no event says so, and a turn costs little
                await trio.lowlevel.checkpoint()
            top.stop()

    begin = time.process_time()
    trio.run(main)
    return time.process_time() - begin


def test_scale_start_stop_many_children() -> None:
    """Ten times the static children start and stop, in order, within OTP's bound: ten times of linear."""
    small, large = (min(static_seconds(count) for _ in range(2)) for count in (100, 1000))
    assert large <= 100 * small


def temporary_seconds(count: int) -> float:
    """CPU seconds for so many temporary instances that end by themselves."""

    async def main() -> None:
        top = Supervisor("top", [spec(Puppet(finish), restart=Restart.TEMPORARY)], strategy="simple_one_for_one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(top.run)
            await trio.lowlevel.checkpoint()
            for _ in range(count):
                await top.start_instance()
            while top.which_children():  # noqa: ASYNC110 - the same
                await trio.lowlevel.checkpoint()
            top.stop()

    begin = time.process_time()
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return time.process_time() - begin


def test_simple_one_for_one_scale_many_temporary_children() -> None:
    """Ten times the temporary instances come and go in less than fifty times the time, and none is left."""
    assert temporary_seconds(2000) < 50 * temporary_seconds(200)
