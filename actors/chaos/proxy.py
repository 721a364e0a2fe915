"""A fault proxy: real bytes between real clients and one real server on loopback, on ways that misbehave.

Each connection is two sockets with a virtual wire (:mod:`actors.chaos.wire`) between them. The faults are those of
toxiproxy (https://github.com/Shopify/toxiproxy#toxics): latency, bandwidth, slow close, timeout, reset, slicer, limit
and down. TLS goes through as it is.
"""

import ipaddress
import math
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn, Self

import attrs
import trio

from actors.chaos.door import Door, beside
from actors.chaos.ending import rst
from actors.chaos.plans import Args, Step
from actors.chaos.ways import Ways
from actors.chaos.wire import Setting, VirtualStream

CHUNK = 65_536
"""Bytes read from a socket at once."""
DIAL_TIMEOUT = 10.0
"""Seconds for the connect to the server."""


@attrs.define(eq=False)
class _Splice:
    """One connection: its sockets, and the wire between them."""

    client: trio.SocketStream
    server: trio.SocketStream
    near: VirtualStream
    far: VirtualStream
    scope: trio.CancelScope
    delivering: int = 2


class FaultProxy(Ways):
    """Listens on loopback and carries every connection to a server on loopback; faults are methods and act at once.

    Those that hit the connections of now: :meth:`reset`, :meth:`limit_data`, :meth:`timeout`. Those that last for
    ``seconds``, or until :meth:`heal`: :meth:`latency`, :meth:`bandwidth`, :meth:`window`, :meth:`slicer`,
    :meth:`clog`, :meth:`slow_close`, :meth:`down`.

    Args:
        host: The server's address; only loopback is served.
        port: The server's TCP port.
        listen: The TCP port to listen on, 0 for any free one.
        random: Draws jitter and slices; a seeded one repeats them.

    Raises:
        ValueError: the server is not on loopback.
    """

    def __init__(self, host: str, port: int, *, listen: int = 0, random: random.Random | None = None) -> None:
        super().__init__(random or _RANDOM)
        if not is_loopback(host):
            raise ValueError(f"a fault proxy carries to loopback only, such as 127.0.0.1: {host!r}")
        self.accepted = 0
        """Connections that clients have made."""
        self.unreached = 0
        """Those of them for which the server could not be reached: they were reset."""
        self._server = host, port
        self._door = Door(listen)
        self._linger = Setting(0.0)
        self._splices: dict[int, _Splice] = {}

    async def run(self, *, task_status: trio.TaskStatus["FaultProxy"] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Carry until cancelled; ``started`` (with the proxy) once connections are accepted.

        Raises:
            OSError: the port cannot be listened on.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._door.serve, self._carry)
            task_status.started(self)
        raise AssertionError("the door ended by itself")

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Self]:
        """Carry while the body runs. The body's own exception comes out bare, not in a group."""
        async with beside(self.run):
            yield self

    @property
    def port(self) -> int:
        """The TCP port to connect to."""
        if not self._door.port:
            raise RuntimeError("the proxy does not listen (yet)")
        return self._door.port

    @property
    def connections(self) -> int:
        """Connections that are carried now."""
        return len(self._splices)

    # -- faults that hit the connections of now ----------------------------------------------------------------------

    def reset(self) -> None:
        """End every connection by an RST to both sides; what is under way is gone."""
        for splice in tuple(self._splices.values()):
            splice.near.reset()

    def limit_data(self, bytes: int) -> None:  # noqa: A002 - toxiproxy's word
        """Let so many more bytes reach each client, then end its connection: mostly in the middle of a frame."""
        for splice in tuple(self._splices.values()):
            splice.near.cut_after(bytes)

    def timeout(self, after: float) -> None:
        """Let nothing through for ``after`` seconds, on new connections neither, then close those of now."""
        self.clog(after + 0.1)  # what is held back must not slip out as they close
        for splice in tuple(self._splices.values()):
            splice.scope.deadline = min(splice.scope.deadline, trio.current_time() + after)

    # -- faults that last, besides those of the ways -----------------------------------------------------------------

    def slow_close(self, delay: float, *, seconds: float) -> None:
        """Pass the end of a connection on ``delay`` seconds late."""
        self._linger.put(delay, seconds)

    def down(self, seconds: float) -> None:
        """Close every connection, and refuse new ones."""
        self._door.shut(seconds)
        for splice in tuple(self._splices.values()):
            splice.scope.cancel("the proxy is down, by a fault")

    def heal(self) -> None:
        """End everything that lasts. What was held back arrives; what has ended stays ended."""
        super().heal()
        for splice in tuple(self._splices.values()):
            splice.scope.deadline = math.inf
            splice.near.cut_after(math.inf)
        self._linger.end()
        self._door.open()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _carry(self, client: trio.SocketStream) -> None:
        """One connection, until both directions have ended or one side has broken."""
        self.accepted += 1
        number = self.accepted
        async with client:
            try:
                with trio.fail_after(DIAL_TIMEOUT):
                    server = await trio.open_tcp_stream(*self._server)
            except (OSError, trio.TooSlowError):
                self.unreached += 1
                rst(client)
                return
            async with server:
                near, far = VirtualStream.pair(self.outgoing, self.incoming)
                splice = _Splice(client, server, near, far, trio.CancelScope())
                self._splices[number] = splice
                try:
                    await self._splice(splice)
                finally:
                    del self._splices[number]

    async def _splice(self, splice: _Splice) -> None:
        near, far = splice.near, splice.far
        with splice.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take, splice, splice.client, near)
                nursery.start_soon(self._take, splice, splice.server, far)
                nursery.start_soon(self._deliver, splice, near, splice.client)
                nursery.start_soon(self._deliver, splice, far, splice.server)

    async def _take(self, splice: _Splice, source: trio.SocketStream, wire: VirtualStream) -> None:
        """From a socket onto the wire."""
        try:
            while data := await source.receive_some(CHUNK):
                await wire.send_all(data)
            await wire.send_eof()
        except trio.BrokenResourceError:
            # either the socket is broken, and so is everything then, or the wire was cut, and what it holds arrives
            if not wire.cut:
                self._break(splice)

    async def _deliver(self, splice: _Splice, wire: VirtualStream, sink: trio.SocketStream) -> None:
        """From the wire into a socket."""
        try:
            while data := await wire.receive_some(CHUNK):
                await sink.send_all(data)
            await trio.sleep(self._linger.now())
            await sink.send_eof()
        except trio.BrokenResourceError:
            self._break(splice)
        splice.delivering -= 1
        if not splice.delivering:
            splice.scope.cancel("both directions have ended")

    def _break(self, splice: _Splice) -> None:
        """What is broken at one side breaks at the other."""
        rst(splice.client)
        rst(splice.server)
        splice.scope.cancel("one side has broken")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain: an address of loopback, or ``localhost``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_KINDS: Mapping[str, Callable[[random.Random], Args]] = {
    "latency": lambda draw: {"mean": draw.choice((0.05, 0.3)), "jitter": 0.04, "seconds": _while(draw)},
    "bandwidth": lambda draw: {"rate": draw.choice((500, 5_000)), "seconds": _while(draw)},
    "slicer": lambda draw: {"bytes": draw.choice((1, 7, 100)), "seconds": _while(draw)},
    "slow_close": lambda draw: {"delay": draw.choice((0.5, 2.0)), "seconds": _while(draw)},
    "timeout": lambda draw: {"after": _while(draw)},
    "reset": lambda draw: {},
    "limit_data": lambda draw: {"bytes": draw.choice((0, 1, 50, 3_000))},
    "down": lambda draw: {"seconds": _while(draw)},
}
"""The faults that :func:`draw_faults` draws, by method, with how their arguments are drawn."""

KINDS = tuple(_KINDS)
"""Every kind that is drawn: toxiproxy's."""


def draw_faults(seed: int, seconds: float) -> tuple[Step, ...]:
    """Faults of ``proxy`` from a seed, for so many seconds: every kind comes once before any comes again.

    They come about five seconds apart, closer where time is short, and leave off before the last tenth of the time.
    """
    draw = random.Random(f"{seed}/proxy")  # noqa: S311 - repeating is the point
    pause = min(5.0, 0.9 * seconds / (len(KINDS) + 1))
    steps: list[Step] = []
    waiting: list[str] = []
    at = pause
    while at < 0.9 * seconds:
        waiting = waiting or draw.sample(KINDS, len(KINDS))
        kind = waiting.pop()
        args = _KINDS[kind](draw)
        steps.append(Step(round(at, 3), "proxy", kind, args))
        at += pause * draw.uniform(0.75, 1.0)
    return tuple(steps)


def _while(draw: random.Random) -> float:
    return round(draw.uniform(0.5, 4.0), 3)


_RANDOM = random.Random()  # noqa: S311 - chance, no secret
