"""What must outlive the process: letters that have not arrived, and a few facts, in a SQLite file."""

import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import attrs
import trio

from actors.errors import clean
from actors.notifier.channel import Letter
from actors.notifier.notification import Severity

T = TypeVar("T")

MAX_BYTES = 10 << 20
"""The largest file; SQLite refuses to let it grow further."""
DEADLINE = 5.0
"""Seconds for one transaction: a disk that takes longer is taken for broken."""
CLOSE_DEADLINE = 2.0
RETRY = 60.0
"""Seconds after which a disk that did not do is tried again."""

_SCHEMA = """
create table if not exists letters (
    key integer primary key autoincrement, channel text not null, id text not null, severity text not null,
    text text not null, made integer not null
);
create table if not exists facts (name text primary key, value text not null);
"""

_REMEMBER = "insert or replace into facts values (?, ?)"


@attrs.frozen
class Stored:
    """A letter as it lies in the spool."""

    key: int
    channel: str
    letter: Letter


class Spool:
    """Keeps letters from before they are sent until they have arrived. ``async with`` it for as long as it is used.

    One connection, used by one thread at a time, with a write-ahead log and a flush of the disk at every commit: what
    :meth:`add` has returned from is there after a crash. It never raises for the disk's sake: a file that is damaged
    is put aside, and where nothing can be written the spool keeps nothing until it can, while the letters themselves go
    on in memory. Each is told once.

    Args:
        path: The file; made with mode 0600 if it is not there, its folder with 0700.
        trouble: Called with what is wrong, in words, and with none once letters are kept again.
    """

    def __init__(self, path: Path, trouble: Callable[[str], object]) -> None:
        self._path = path
        self._trouble = trouble
        self._broken = False
        """Whether trouble was told and has not passed."""
        self._again = math.inf
        """When the disk is tried again."""
        self._connection: sqlite3.Connection | None = None
        self._facts: dict[str, str] = {}
        """What was remembered, for a time in which nothing can be written, and for after it."""
        self._one = trio.CapacityLimiter(1)

    async def __aenter__(self) -> Self:
        await self._try(self._open, None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.move_on_after(CLOSE_DEADLINE, shield=True):
                # a disk that hangs keeps its thread, not us
                await trio.to_thread.run_sync(connection.close, abandon_on_cancel=True, limiter=self._one)

    async def load(self) -> Sequence[Stored]:
        """Every letter, the oldest first."""
        return await self._try(self._load, ())

    async def add(self, letters: Iterable[tuple[str, Letter]]) -> Sequence[int]:
        """Keep letters, each with its channel's name; returns their keys, 0 where they are kept in memory only."""
        rows = [(channel, each.id, each.severity.value, each.text, each.made) for channel, each in letters]
        keys = await self._try(lambda: self._add(rows), [0] * len(rows))
        if self._broken and all(keys):
            self._broken = False
            self._trouble("")
        return keys

    async def remove(self, keys: Iterable[int]) -> None:
        """Forget letters that have arrived."""
        rows = [(key,) for key in keys if key]
        if rows:
            await self._try(lambda: self._write("delete from letters where key = ?", rows), None)

    async def remember(self, name: str, value: str) -> None:
        """Keep a fact under a name, in the place of an older one."""
        self._facts[name] = value
        row = (name, value)
        await self._try(lambda: self._write(_REMEMBER, [row]), None)

    async def recall(self, name: str) -> str | None:
        """What was last remembered under that name."""
        return await self._try(lambda: self._recall(name), self._facts.get(name))

    async def _try(self, act: Callable[[], T], otherwise: T) -> T:
        """What ``act`` returns, done in the thread; ``otherwise`` if the disk does not do."""
        if self._connection is None and act != self._open:
            if trio.current_time() < self._again:
                await trio.lowlevel.checkpoint()
                return otherwise
            await self._try(self._open, None)
        try:
            with trio.fail_after(DEADLINE):
                return await trio.to_thread.run_sync(act, abandon_on_cancel=True, limiter=self._one)
        except (sqlite3.Error, OSError) as error:
            why = clean(str(error))
        except trio.TooSlowError:
            why = f"nothing was written within {DEADLINE:g} s"
        self._connection = None
        self._again = trio.current_time() + RETRY
        if not self._broken:
            self._broken = True
            self._trouble(f"{self._path}: {why}")
        return otherwise

    # -- in the thread

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._connection = self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            # not a database, or a torn one; the log beside it belongs to it
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(f"{self._path}{suffix}.damaged")
            self._connection = self._connect()
            words = f"{self._path}: damaged ({clean(str(error))}), put aside as {self._path.name}.damaged"
            trio.from_thread.run_sync(self._trouble, words)

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=DEADLINE, check_same_thread=False)
        try:
            (page,) = connection.execute("pragma page_size").fetchone()
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma max_page_count = {MAX_BYTES // page}")
            connection.executescript(_SCHEMA)
            _check(connection)
            with connection:
                connection.executemany(_REMEMBER, list(self._facts.items()))
        except BaseException:
            connection.close()
            raise
        return connection

    def _load(self) -> Sequence[Stored]:
        rows = self._opened.execute("select key, channel, id, severity, text, made from letters order by key")
        return [
            Stored(key, channel, Letter(id_, Severity(grave), text, made))
            for key, channel, id_, grave, text, made in rows
        ]

    def _add(self, rows: Sequence[tuple[str, str, str, str, int]]) -> Sequence[int]:
        insert = "insert into letters (channel, id, severity, text, made) values (?, ?, ?, ?, ?)"
        with self._opened as connection:
            return [connection.execute(insert, row).lastrowid or 0 for row in rows]

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._opened as connection:
            connection.executemany(statement, rows)

    def _recall(self, name: str) -> str | None:
        row = self._opened.execute("select value from facts where name = ?", (name,)).fetchone()
        return row[0] if row else None

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:  # given up while this call waited for its turn
            raise sqlite3.OperationalError("closed")
        return self._connection


def _check(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("pragma quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
