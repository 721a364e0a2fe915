"""A WebSocket server that misbehaves on request: listeners, connections and faults, whatever is spoken on them."""

import errno
import math
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn, Self

import attrs
import trio

from actors.chaos import faults
from actors.chaos.conversation import Conversation
from actors.chaos.door import HOST, Door, beside
from actors.chaos.ending import fin, rst
from actors.chaos.faults import Conduct, Fault
from actors.chaos.ledger import Ledger, What
from actors.chaos.link import CLOSE_TIMEOUT, Link
from actors.exchange import Rate


class Server:
    """Accepts connections on loopback, or streams handed to it, and keeps the ledger.

    Faults are methods; they act at once, need no ``await``, and each stands in the ledger. Those of the first kind hit
    the connections that are open now, so that a client that comes back finds a healthy server: :meth:`cut`,
    :meth:`reset`, :meth:`close`, :meth:`retire`, :meth:`say`, :meth:`silence`, :meth:`mute_probe`, :meth:`skip`.
    Those of the second kind last until :meth:`resume`, or as long as their arguments say: :meth:`refuse`,
    :meth:`reject`, :meth:`close_at_once`, :meth:`open_silent`, :meth:`ignore_close`.

    Args:
        path: The path in :attr:`url`.
        port: The TCP port, 0 for any free one; None listens on none, for streams handed over by :meth:`attach`.
        tls: A server context with a certificate; None speaks plain TCP.
        connect_limit: Upgrades beyond it are answered with HTTP 429 and Retry-After.
        keep: The most entries that the ledger keeps.
        random: Source of all randomness.
        wall: Nanoseconds UTC.
    """

    def __init__(
        self,
        *,
        path: str = "/",
        port: int | None = 0,
        tls: ssl.SSLContext | None = None,
        connect_limit: Rate | None = None,
        keep: int = 200_000,
        random: random.Random | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.ledger = Ledger(keep=keep, wall=wall)
        self.random = random or _RANDOM
        self.wall = wall
        self._path = path
        self._door = None if port is None else Door(port)
        self._tls = tls
        self._limit = connect_limit
        self._attempts: deque[float] = deque()
        self._links: dict[int, Link] = {}
        self._nursery: trio.Nursery | None = None
        self._shut_until = -math.inf
        self._rejection: tuple[int, float | None] | None = None
        self._rejections_left = math.inf
        self._close_at_once: tuple[int, str] | None = None
        self._opening_conduct = Conduct()

    # -- what subclasses say -----------------------------------------------------------------------------------------

    def converse(self, link: Link) -> Conversation:
        """The conversation of a connection that has just been upgraded."""
        return Conversation(link)

    def judge(self, link: Link) -> int:
        """The HTTP status that a request deserves; 101 lets it in."""
        del link
        return 101

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the 101 besides those of the protocol."""
        return []

    async def work(self) -> None:
        """What goes on besides the connections, until cancelled."""
        await trio.sleep_forever()

    # -- running -----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve until cancelled; ``started`` (with the server) once connections are accepted.

        Raises:
            OSError: the port cannot be listened on.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if self._door is not None:
                await nursery.start(self._door.serve, self._accept)
            nursery.start_soon(self.work)
            task_status.started(self)
        raise AssertionError("the work ended by itself")

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Self]:
        """Serve while the body runs. The body's own exception comes out bare, not in a group."""
        async with beside(self.run):
            yield self

    @property
    def port(self) -> int:
        """The TCP port."""
        if self._door is None or not self._door.port:
            raise RuntimeError("the server does not listen (yet)")
        return self._door.port

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"{'ws' if self._tls is None else 'wss'}://{HOST}:{self.port}{self._path}"

    @property
    def connections(self) -> tuple[Link, ...]:
        """The connections that have been upgraded and are still there, oldest first."""
        return tuple(link for link in self._links.values() if link.opened)

    @property
    def refusing(self) -> bool:
        """Whether connects are refused now."""
        return trio.current_time() < self._shut_until

    def attach(self, stream: trio.abc.Stream) -> int:
        """Serve one more stream beside the others, without TLS; the server must be running.

        Returns the connection's number.

        Raises:
            ConnectionRefusedError: :meth:`refuse` is in force. The stream is the caller's to close.
        """
        if self._nursery is None:
            raise RuntimeError("the server does not run (yet)")
        if self.refusing:
            self.ledger.write(What.REFUSED)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connect refused by a fault")
        link = self._accepted(stream)
        self._nursery.start_soon(self._serve_link, link, stream)
        return link.number

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one stream until it ends, without TLS. It is closed at the end."""
        await self._serve_link(self._accepted(stream), stream)

    def _accepted(self, stream: trio.abc.Stream) -> Link:
        link = Link(self.ledger.counts[What.ACCEPTED] + 1, stream, self.ledger, Conduct())
        self._links[link.number] = link
        self.ledger.write(What.ACCEPTED, link.number)
        return link

    async def _serve_link(self, link: Link, stream: trio.abc.Stream) -> None:
        try:
            with link.scope:
                await self._serve(link)
            if link.by_rst:
                rst(stream)
            else:
                await fin(stream, CLOSE_TIMEOUT)
        finally:
            del self._links[link.number]
            link.forget()
            await trio.aclose_forcefully(stream)

    # -- faults that hit the connections of now ----------------------------------------------------------------------

    def cut(self, connection: int | None = None) -> None:
        """End every connection, or the one of that number, by a FIN, without a Close frame."""
        self._write_fault("cut")
        for number, link in tuple(self._links.items()):
            if connection in (None, number):
                link.cut()

    def reset(self) -> None:
        """End every connection by an RST."""
        self._write_fault("reset")
        for link in tuple(self._links.values()):
            link.reset()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send every client a Close."""
        self._write_fault(f"close {code}")
        for link in self.connections:
            link.close(code, reason)

    def retire(self, seconds: float = 30.0) -> None:
        """End every connection in so many seconds, as before a restart; the venue announces it if it does so at all."""
        self._write_fault(f"retire in {seconds:g} s")
        for link in self.connections:
            link.retire(seconds)

    def say(self, text: str) -> None:
        """Send every client a text frame that no rule calls for: a notice, an error."""
        self._write_fault("say")
        for link in self.connections:
            link.send(text)

    def silence(self, *, pongs: bool = True) -> None:
        """Send no more data and answer no subscription; with ``pongs`` False nothing is sent at all, no Close either.

        TCP stays up, and what clients send is still read.
        """
        self._write_fault(f"silence, pongs {'go on' if pongs else 'stop'}")
        for link in self._links.values():
            link.conduct = _silent(pongs=pongs)

    def mute_probe(self) -> None:
        """Answer no more subscriptions, while data and pongs go on."""
        self._write_fault("mute_probe")
        for link in self._links.values():
            link.conduct.answers = False

    def skip(self, messages: int = 1) -> None:
        """Lose the next messages on every connection and go on after them: a hole in a live session."""
        self._write_fault(f"skip {messages}")
        for link in self._links.values():
            link.conduct.skip = messages

    # -- faults that last --------------------------------------------------------------------------------------------

    def refuse(self, seconds: float = math.inf) -> None:
        """Refuse connects for so long: the listener is closed, the port stays ours. Open connections live on."""
        self._write_fault(f"refuse for {seconds:g} s")
        self._shut_until = trio.current_time() + seconds
        if self._door is not None:
            self._door.shut(seconds)

    def reject(self, status: int = 429, *, retry_after: float | None = None, times: int | None = None) -> None:
        """Answer upgrades with an HTTP status, and Retry-After in seconds; all of them, or the next ``times``."""
        self._write_fault(f"reject with {status}")
        self._rejection = (status, retry_after)
        self._rejections_left = math.inf if times is None else times

    def close_at_once(self, code: int = 1000, reason: str = "") -> None:
        """Answer upgrades with a 101 and a Close right behind it."""
        self._write_fault(f"close_at_once {code}")
        self._close_at_once = (code, reason)

    def open_silent(self, *, pongs: bool = False) -> None:
        """Answer upgrades with a 101 and then nothing, as :meth:`silence` has it."""
        self._write_fault(f"open_silent, pongs {'go on' if pongs else 'stop'}")
        self._opening_conduct = _silent(pongs=pongs)

    def ignore_close(self) -> None:
        """Never answer a Close, and leave TCP up after it; holds for open connections and for new ones."""
        self._write_fault("ignore_close")
        self._opening_conduct.closes = False
        for link in self._links.values():
            link.conduct.closes = False

    def resume(self) -> None:
        """Behave again: end every fault that lasts, and every silence."""
        self._write_fault("resume")
        self._shut_until = -math.inf
        if self._door is not None:
            self._door.open()
        self._rejection = self._close_at_once = None
        self._opening_conduct = Conduct()
        for link in self._links.values():
            link.conduct = Conduct()

    async def play(self, schedule: Sequence[Fault]) -> None:
        """Inject the faults of a schedule, each at its time from now; return after the last.

        Raises:
            ValueError: a fault has arguments that its method does not take; nothing was injected.
        """
        await faults.play(self, schedule)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _write_fault(self, name: str) -> None:
        self.ledger.write(What.FAULT, data=name)

    async def _accept(self, stream: trio.SocketStream) -> None:
        if self._tls is None:
            await self.serve_stream(stream)
        else:
            await self.serve_stream(trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True))

    async def _serve(self, link: Link) -> None:
        if not await link.request():
            return
        status, retry_after = self._verdict(link)
        if status != 101:
            wait = [] if retry_after is None else [(b"retry-after", b"%d" % math.ceil(retry_after))]
            await link.reject(status, wait)
            return
        link.conduct = attrs.evolve(self._opening_conduct)
        await link.converse(self._open, self.headers())

    def _open(self, link: Link) -> Conversation:
        if self._close_at_once is None:
            return self.converse(link)
        link.close(*self._close_at_once)
        return Conversation(link)

    def _verdict(self, link: Link) -> tuple[int, float | None]:
        wait = self._over_limit()
        if self._rejection is not None and self._rejections_left > 0:
            self._rejections_left -= 1
            return self._rejection
        if wait > 0:
            return 429, wait
        return self.judge(link), None

    def _over_limit(self) -> float:
        """Seconds until the connect limit lets one in again; 0 lets this one in."""
        if self._limit is None:
            return 0
        now = trio.current_time()
        while self._attempts and self._attempts[0] <= now - self._limit.seconds:
            self._attempts.popleft()
        if len(self._attempts) >= self._limit.count:
            return self._attempts[0] + self._limit.seconds - now
        self._attempts.append(now)
        return 0


def _silent(*, pongs: bool) -> Conduct:
    return Conduct(data=False, answers=False, heartbeats=pongs, closes=pongs)


_RANDOM = random.Random()  # noqa: S311 - made-up prices need no secrecy
