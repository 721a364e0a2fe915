"""Until when hosts have shut us out, in a small file: a restart must not knock inside a ban."""

import json
from collections.abc import Callable
from pathlib import Path

import trio

from actors.actor import NO_CONTEXT, Context
from actors.transport.answers import LONGEST_BAN
from actors.transport.gate import Gate, Key

MAX_BYTES = 1 << 20
DEADLINE = 5.0
"""Seconds in which the file must be written; then it is left for the next ban."""
WORTH = 10.0
"""Seconds: a shorter order is over before a restart is."""


class Bans:
    """An actor beside a gate: what the gate is told to close is on disk soon after.

    The file is JSON: ``[host, source address, nanoseconds UTC]`` each. It never stops anything: where it cannot be read
    or written, that is told once, and the gate works without it.

    Args:
        path: The file.
        wall: Nanoseconds UTC.
        trouble: Called with what is wrong with the file, in words.
    """

    name = "bans"

    def __init__(self, path: Path, *, wall: Callable[[], int], trouble: Callable[[str], object]) -> None:
        self._path = path
        self._wall = wall
        self._trouble = trouble
        self._told = False
        self._until: dict[Key, int] = {}
        self._changed = trio.Event()
        self._one = trio.CapacityLimiter(1)  # a disk that hangs keeps this thread, and nobody else writes beside it

    def gate(self, budget: float) -> Gate:
        """A gate that knows of the bans in the file, and tells of new ones; reads the file, so call it at the start."""
        now, wall = trio.current_time(), self._wall()
        try:
            self._until = self._read()
        except (OSError, ValueError, TypeError, RecursionError, OverflowError) as error:
            self._tell(f"{self._path} cannot be read: {_words(error)}; bans of earlier processes are not known")
        most = round(LONGEST_BAN * 1e9)
        left = {key: min(until - wall, most) / 1e9 for key, until in self._until.items() if until > wall}
        return Gate(budget=budget, until={key: now + seconds for key, seconds in left.items()}, closed=self._note)

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Write whenever something has changed, until cancelled."""
        task_status.started()
        task_status.healthy()
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            wall = self._wall()
            rows = [[*key, until] for key, until in self._until.items() if until > wall]
            try:
                with trio.fail_after(DEADLINE):
                    await trio.to_thread.run_sync(
                        self._write, json.dumps(rows), abandon_on_cancel=True, limiter=self._one
                    )
            except (OSError, trio.TooSlowError) as error:
                self._tell(f"{self._path} cannot be written: {_words(error)}; a restart would knock inside a ban")

    def _note(self, key: Key, until: float) -> None:
        seconds = until - trio.current_time()
        if seconds >= WORTH:
            self._until[key] = self._wall() + round(seconds * 1e9)
            self._changed.set()

    def _read(self) -> dict[Key, int]:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES)
        except FileNotFoundError:
            return {}
        return {(str(host), str(source)): int(until) for host, source, until in json.loads(text)}

    def _write(self, text: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)

    def _tell(self, words: str) -> None:
        if not self._told:
            self._told = True
            self._trouble(words)


def _words(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return f"it takes longer than {DEADLINE:g} s"
    return error.strerror or str(error) if isinstance(error, OSError) else "it is damaged"
