"""Standard output and standard error, written by threads, so that a pipe that nobody reads stops nothing else.

What is put into a :class:`Sink` is written within 50 ms, in batches. A write that blocks holds up one thread and no
more: that thread is left behind if the process ends meanwhile.
"""

import errno
import os
import select
import stat
from collections import deque
from typing import NoReturn

import trio

WRITE_EVERY = 0.02
"""Seconds between two writes where lines come one by one: few system calls, and below the 50 ms that are promised."""
WRITE_BYTES = 1 << 18
"""The most bytes a write: so much later is it seen that there is room again."""
ROOM = 1 << 20
"""Bytes that wait in a sink. What has to wait beyond that waits in its feed, under the feed's overflow policy."""

_GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.EBADF})
"""What a write says when the reader has gone: a pipe, a terminal, a socket, or a descriptor that was never open."""


class Sink:
    """One file descriptor to write to; :meth:`run` it while it is used.

    Args:
        fd: The descriptor; it is never closed here.
        room: Bytes that may wait.
    """

    def __init__(self, fd: int, *, room: int = ROOM) -> None:
        self.fd = fd
        self.gone = trio.Event()
        """Set once the reader has gone, also while nothing is written; what is put in from then on is thrown away."""
        self.error: OSError | None = None
        """Why nothing can be written, if not because the reader has gone."""
        self.dropped = 0
        """Lines pushed out by :meth:`tell`."""
        self._room = room
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._put = trio.lowlevel.ParkingLot()
        self._written = trio.lowlevel.ParkingLot()
        self._thread = trio.CapacityLimiter(1)

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return self._size >= self._room

    def put(self, data: bytes) -> None:
        """Hand over whole lines, however much waits already; who can wait calls :meth:`has_room` before."""
        if data and not self.gone.is_set():
            self._waiting.append(data)
            self._size += len(data)
            self._put.unpark()

    def tell(self, data: bytes) -> None:
        """Hand over a line that must not wait: it pushes out the oldest ones where there is no room."""
        while self._waiting and self.full:
            self._size -= len(self._waiting.popleft())
            self.dropped += 1
        self.put(data)

    async def has_room(self) -> None:
        """Wait until there is room, or the reader has gone."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.full and not self.gone.is_set():
            await self._written.park()

    async def flush(self, seconds: float) -> bool:
        """Wait until everything is written or the reader has gone, at most so long; whether it was in time."""
        with trio.move_on_after(seconds):
            while self._size and not self.gone.is_set():
                await self._written.park()
        return not self._size or self.gone.is_set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_reader)
            task_status.started()
            while True:
                if not self._waiting:
                    await self._put.park()
                await self._write(self._batch())
                await trio.sleep(WRITE_EVERY if self._size < WRITE_BYTES else 0)

    def _batch(self) -> bytes:
        batch: list[bytes] = []
        size = 0
        while self._waiting and size < WRITE_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        return b"".join(batch)

    async def _write(self, data: bytes) -> None:
        try:
            # abandoned, because nothing wakes a thread out of a write() that nobody reads
            await trio.to_thread.run_sync(_write, self.fd, data, limiter=self._thread, abandon_on_cancel=True)
        except OSError as error:
            self._lose_reader(None if error.errno in _GONE else error)
        self._size -= len(data)
        self._written.unpark_all()

    async def _watch_reader(self) -> None:
        """Notice a closed pipe while there is nothing to write."""
        try:
            mode = os.fstat(self.fd).st_mode
        except OSError:
            self._lose_reader(None)
            return
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return
        poll = select.poll()
        poll.register(self.fd, 0)
        while not poll.poll(0):
            # woken by an error or a hang-up; a socket is readable also when its peer sends something
            await trio.lowlevel.wait_readable(self.fd)
            if not poll.poll(0):
                return
        self._lose_reader(None)

    def _lose_reader(self, error: OSError | None) -> None:
        self.error = self.error or error
        self.gone.set()
        self._size -= sum(map(len, self._waiting))
        self._waiting.clear()
        self._written.unpark_all()


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # whoever gave us the descriptor has set it so, and it is shared: wait instead
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
