"""Bytes under way: two directions with latency, bandwidth, windows and clogs, and the streams at their ends."""

import math
import random
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")

WINDOW = 1 << 18
"""Bytes that may be under way in one direction before the sender waits."""


class Setting(Generic[T]):
    """What is ``normal``, but for a while something else."""

    def __init__(self, normal: T, changed: Callable[[], None] = lambda: None) -> None:
        self._normal = self._value = normal
        self._changed = changed
        self.until = -math.inf
        """When it ends (trio's clock)."""

    def now(self) -> T:
        """What holds now."""
        return self._value if trio.current_time() < self.until else self._normal

    def put(self, value: T, seconds: float) -> None:
        """Let ``value`` hold for so long."""
        self._value, self.until = value, trio.current_time() + seconds
        self._changed()

    def end(self) -> None:
        """Back to normal."""
        self.until = -math.inf


class Direction:
    """How bytes travel one way; shared by all connections of a network, so that a fault hits them all.

    Args:
        random: Draws jitter and slices.
    """

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._lots: weakref.WeakSet[trio.lowlevel.ParkingLot] = weakref.WeakSet()
        self.delay = Setting((0.0, 0.0), self._changed)
        """Mean and jitter, seconds."""
        self.rate = Setting(math.inf, self._changed)
        """Bytes a second."""
        self.window = Setting(WINDOW, self._changed)
        """Bytes under way."""
        self.slice = Setting(0, self._changed)
        """The largest piece handed over, 0 for any."""
        self._open_at = -math.inf

    @property
    def opens_at(self) -> float:
        """When what is held back may arrive (trio's clock); past if nothing is held."""
        return self._open_at

    @property
    def clogged(self) -> bool:
        """Whether nothing arrives now."""
        return trio.current_time() < self._open_at

    def hold(self, seconds: float) -> None:
        """Let nothing arrive for so long; of several orders the last to end holds."""
        self._open_at = max(self._open_at, trio.current_time() + seconds)
        self._changed()

    def heal(self) -> None:
        """Back to normal."""
        self._open_at = -math.inf
        for setting in (self.delay, self.rate, self.window, self.slice):
            setting.end()
        self._changed()

    def lot(self) -> trio.lowlevel.ParkingLot:
        """A place to wait for one connection: whoever waits there looks again when a setting changes."""
        lot = trio.lowlevel.ParkingLot()
        self._lots.add(lot)
        return lot

    def trip(self) -> float:
        """Seconds for one packet, drawn."""
        mean, jitter = self.delay.now()
        return max(0.0, mean + jitter * self._random.uniform(-1, 1)) if jitter else mean

    def piece(self, size: int) -> int:
        """How many of ``size`` bytes are handed over at once."""
        most = self.slice.now()
        return min(size, self._random.randint(1, most)) if most else size

    def _changed(self) -> None:
        for lot in tuple(self._lots):
            lot.unpark_all()


@attrs.define(eq=False)
class _Pipe:
    """One direction of one connection: written by one end, read by the other."""

    way: Direction
    flight: deque[tuple[float, bytes]] = attrs.field(factory=deque[tuple[float, bytes]])
    """What is under way, each with the time of its arrival; an empty piece is the end."""
    size: int = 0
    last: float = -math.inf
    """When the last piece arrives, so that none overtakes it."""
    left: float = math.inf
    """Bytes that may still be written before the network cuts the connection."""
    ended: bool = False
    broken: bool = False
    abandoned: bool = False
    """The reader has closed its end."""
    changed: trio.lowlevel.ParkingLot = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.changed = self.way.lot()

    def put(self, data: bytes) -> None:
        now = trio.current_time()
        travel = self.way.trip() + len(data) / self.way.rate.now()
        self.last = max(self.last, now) + travel if math.isfinite(self.way.rate.now()) else max(self.last, now + travel)
        self.flight.append((self.last, data))
        self.size += len(data)
        self.changed.unpark_all()

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.put(b"")

    def shatter(self) -> None:
        self.broken = True
        self.flight.clear()
        self.size = 0
        self.changed.unpark_all()


class VirtualStream(trio.abc.HalfCloseableStream):
    """One end of a virtual connection; :meth:`pair` makes both."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self.on_close: Callable[[], object] = lambda: None
        """Called once, when this end is closed."""
        self.last_read = trio.current_time()
        """When bytes were last received here (trio's clock)."""

    @classmethod
    def pair(cls, there: Direction, back: Direction) -> "tuple[VirtualStream, VirtualStream]":
        """Two ends: what the first sends travels ``there``, what it receives has come ``back``."""
        out, incoming = _Pipe(there), _Pipe(back)
        return cls(incoming, out), cls(out, incoming)

    @property
    def unread_for(self) -> float:
        """Seconds for which bytes have lain here unread."""
        pipe, now = self._incoming, trio.current_time()
        if self._closed or not pipe.flight or pipe.way.clogged:
            return 0.0
        return max(0.0, now - max(pipe.flight[0][0], pipe.way.opens_at, self.last_read))

    @property
    def cut(self) -> bool:
        """Whether the network has ended this connection by a limit, or we our half: what is under way still arrives."""
        return self._outgoing.ended and not self._outgoing.broken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all, waiting while the window is full; BrokenResourceError once the other end is known to be gone."""
        await trio.lowlevel.checkpoint()  # first: what is recorded of a sending must stand before anybody has read it
        pipe, rest = self._outgoing, bytes(data)
        while True:
            self._check_writable()
            room = max(pipe.way.window.now() - pipe.size, 0)
            if rest and not room:
                await self._wait(pipe, pipe.way.window.until)
                continue
            piece, rest = rest[:room], rest[room:]
            if len(piece) >= pipe.left:
                pipe.put(piece[: int(pipe.left)])
                self._cut()
                raise trio.BrokenResourceError("the connection was cut on its way")
            pipe.left -= len(piece)
            if piece:
                pipe.put(piece)
            if not rest:
                return

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await trio.lowlevel.checkpoint()
        pipe = self._outgoing
        while pipe.size >= pipe.way.window.now() and not (pipe.broken or self._closed):
            await self._wait(pipe, pipe.way.window.until)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, at least one byte; empty at the end; BrokenResourceError after a reset."""
        await trio.lowlevel.checkpoint_if_cancelled()
        pipe, waited = self._incoming, False
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this end is closed")
            if pipe.broken:
                raise trio.BrokenResourceError("connection reset by the other end")
            ready = max(pipe.flight[0][0], pipe.way.opens_at) if pipe.flight else math.inf
            if ready > trio.current_time():
                await self._wait(pipe, ready)
            elif waited:
                return self._take(pipe, max_bytes)
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
            waited = True

    async def send_eof(self) -> None:
        """Send no more; what was sent still arrives."""
        await trio.lowlevel.checkpoint()
        self._outgoing.end()

    def reset(self) -> None:
        """Break both directions, as an RST does: what is under way is gone."""
        self._incoming.shatter()
        self._outgoing.shatter()

    def cut_after(self, size: float) -> None:
        """Let the other end send so many more bytes, then end both directions; infinity calls it off."""
        self._incoming.left = size
        if size == 0:
            self._cut()

    async def aclose(self) -> None:
        """End our direction; the other end breaks if it sends any more and hears of it."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.abandoned = True
            self._incoming.changed.unpark_all()
            self.on_close()
        await trio.lowlevel.checkpoint()

    def _cut(self) -> None:
        self._incoming.end()
        self._outgoing.end()

    def _check_writable(self) -> None:
        pipe = self._outgoing
        if self._closed:
            raise trio.ClosedResourceError("this end is closed")
        # the news that the reader is gone has to come back the other way
        if pipe.broken or pipe.ended or (pipe.abandoned and not self._incoming.way.clogged):
            raise trio.BrokenResourceError("the other end is gone")

    def _take(self, pipe: _Pipe, max_bytes: int | None) -> bytes:
        arrives, data = pipe.flight.popleft()
        size = pipe.way.piece(min(len(data), max_bytes or len(data)))
        if size < len(data):
            pipe.flight.appendleft((arrives, data[size:]))
        elif not data:
            pipe.flight.append((arrives, b""))  # the end stays the end
        pipe.size -= size
        pipe.changed.unpark_all()
        self.last_read = trio.current_time()
        return data[:size]

    async def _wait(self, pipe: _Pipe, until: float) -> None:
        """Wait until something changes on the way, or a time has come."""
        if until <= trio.current_time() or until == math.inf:
            await pipe.changed.park()
            return
        with trio.move_on_at(until):
            await pipe.changed.park()
