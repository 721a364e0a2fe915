"""Bans outlive the process, and no file can do harm."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.exchange import Limits
from actors.transport import Bans, Gate

EPOCH = 1_700_000_000_000_000_000


class Process:
    """A gate with its file, in a process that has begun so many seconds after the first one."""

    def __init__(self, path: Path, offset: float) -> None:
        self.trouble: list[str] = []
        self.began = trio.current_time()
        self.bans = Bans(path, wall=self.wall(offset), trouble=self.trouble.append)
        self.gate: Gate = self.bans.gate(1.0)

    def wall(self, offset: float) -> Callable[[], int]:
        return lambda: EPOCH + round((offset + trio.current_time() - self.began) * 1e9)

    def closed(self) -> dict[str, int]:
        """For how many seconds hosts are closed."""
        return {host: round(state.closed) for (host, _), state in self.gate.states().items()}


def stamp(path: Path) -> int:
    """When it was written; 0 if it is not there."""
    return path.stat().st_mtime_ns if path.exists() else 0


async def written(path: Path, nursery: trio.Nursery, process: Process, *orders: tuple[str, float]) -> None:
    """Have the process told of bans, and wait until they are on disk."""
    nursery.start_soon(process.bans.run)
    await wait_all_tasks_blocked()
    before = stamp(path)
    for host, seconds in orders:
        process.gate.close(host, seconds)
    with trio.fail_after(5):
        while stamp(path) == before:  # noqa: ASYNC110 - the disk tells nobody
            await trio.sleep(0.01)


async def test_a_ban_outlives_the_process(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The next process waits for what is left of it, by the wall clock; what is over, or was short, is forgotten."""
    path = tmp_path / "bans.json"
    first = Process(path, 0)
    assert first.closed() == {}
    await written(path, nursery, first, ("a", 600), ("b", 60), ("c", 2))
    assert sorted(json.loads(path.read_text())) == [
        ["a", "", EPOCH + 600_000_000_000 + _slack(path, "a", 600)],
        ["b", "", EPOCH + 60_000_000_000 + _slack(path, "b", 60)],
    ]
    second = Process(path, 100)
    assert second.closed() == {"a": 500}
    turn = second.gate.line_up("a", Limits())
    with trio.move_on_after(0.05) as scope:
        await turn.come()
    assert scope.cancelled_caught
    assert first.trouble == second.trouble == []
    await written(path, nursery, second, ("d", 60))
    assert sorted(row[0] for row in json.loads(path.read_text())) == ["a", "d"]
    nursery.cancel_scope.cancel()


def _slack(path: Path, host: str, seconds: float) -> int:
    """What the clock went on between the beginning and the order: little."""
    until = next(row[2] for row in json.loads(path.read_text()) if row[0] == host)
    slack = until - EPOCH - round(seconds * 1e9)
    assert 0 <= slack < 2e9
    return slack


@pytest.mark.parametrize("text", ["{", "[[1]]", '[["a", "", "x"]]', '[["a", "", Infinity]]', "[" * 100_000, "3"])
async def test_a_damaged_file_is_told_and_replaced(tmp_path: Path, nursery: trio.Nursery, text: str) -> None:
    """The feeds start all the same, and the next ban makes a good file of it."""
    path = tmp_path / "bans.json"
    path.write_text(text)
    process = Process(path, 0)
    assert process.trouble == [f"{path} cannot be read: it is damaged; bans of earlier processes are not known"]
    await written(path, nursery, process, ("a", 600))
    assert Process(path, 0).closed() == {"a": 600}
    nursery.cancel_scope.cancel()


async def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The gate itself works."""
    process = Process(tmp_path / "no" / "bans.json", 0)
    nursery.start_soon(process.bans.run)
    for host in "ab":
        process.gate.close(host, 60)
        await trio.sleep(0.1)
    assert process.closed() == {"a": 60, "b": 60}
    [words] = process.trouble
    assert "cannot be written: No such file or directory; a restart would knock inside a ban" in words
    nursery.cancel_scope.cancel()
