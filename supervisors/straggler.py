"""What a child does that was cancelled and has not ended."""

from collections.abc import Iterable, Iterator, Sequence

import trio

from actors.events import Straggler

TURNS = 10
"""Turns of the event loop for which stragglers are watched; no time passes in them but their own."""


class _Steps(trio.abc.Instrument):
    """Counts how often the tasks of each tree run."""

    def __init__(self, trees: Sequence[Iterable[trio.lowlevel.Task]]) -> None:
        self.counts = [0] * len(trees)
        self._owner = {task: number for number, tree in enumerate(trees) for task in tree}

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        number = self._owner.get(task)
        if number is not None:
            self.counts[number] += 1


async def observe(roots: Sequence[trio.lowlevel.Task | None]) -> list[Straggler]:
    """Watch the trees of tasks below ``roots`` for :data:`TURNS` turns; a root that has ended counts as parked.

    A tree is *spinning* if its tasks ran in every other turn or more: they were cancelled and come back at once, again
    and again, at the cost of a processor. It is *parked* if they did not: they wait, in a shielded scope, for something
    that has not happened. Not cancelled: it ends by itself.
    """
    steps = _Steps([() if root is None else _tree(root) for root in roots])
    trio.lowlevel.add_instrument(steps)
    try:
        for _ in range(TURNS):
            await trio.lowlevel.cancel_shielded_checkpoint()
    finally:
        trio.lowlevel.remove_instrument(steps)
    return [Straggler.SPINNING if 2 * count >= TURNS else Straggler.PARKED for count in steps.counts]


def _tree(root: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    tasks = [root]
    while tasks:
        task = tasks.pop()
        yield task
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)
