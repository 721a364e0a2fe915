"""A network without sockets: host names lead to simulated exchanges in the same process, under any clock.

:class:`MemoryNetwork` is what a connector is given instead of the system's network. Nothing here takes time: what is
sent can be received at once, so that a test under a virtual clock runs at the speed of its timers.
"""

import errno
import ipaddress
import socket
from collections.abc import Mapping, Sequence

import attrs
import trio

from actors.chaos.ledger import What
from actors.chaos.server import Server
from actors.transport.network import Address

WINDOW = 1 << 18
"""Bytes that may be under way in one direction before the sender waits."""
FIRST_ADDRESS = ipaddress.IPv4Address("198.18.0.1")
"""Addresses are made up from the block that RFC 2544 keeps for tests of networks."""


@attrs.define(eq=False)
class _Pipe:
    """One direction: written by one stream, read by the other."""

    waiting: bytearray = attrs.field(factory=bytearray)
    ended: bool = False
    """The writer will write no more."""
    broken: bool = False
    """The reader is gone, or the connection was reset: there is no use in writing, or in waiting for more."""
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory; :meth:`pair` makes both."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    @classmethod
    def pair(cls) -> "tuple[MemoryStream, MemoryStream]":
        """Two ends: what is sent on the one is received on the other."""
        there, back = _Pipe(), _Pipe()
        return cls(back, there), cls(there, back)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all, waiting while the window is full; BrokenResourceError once the other end is gone."""
        await trio.lowlevel.checkpoint()
        pipe, rest = self._outgoing, memoryview(data)
        while True:
            if self._closed or pipe.ended:
                raise trio.ClosedResourceError("this end is closed")
            if pipe.broken:
                raise trio.BrokenResourceError("the other end is gone")
            room = max(WINDOW - len(pipe.waiting), 0)
            pipe.waiting += rest[:room]
            rest = rest[room:]
            pipe.changed.unpark_all()
            if not rest:
                return
            await pipe.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await trio.lowlevel.checkpoint()
        while len(self._outgoing.waiting) >= WINDOW and not self._outgoing.broken and not self._closed:
            await self._outgoing.changed.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What is there, at least one byte; empty at the end; BrokenResourceError after a reset."""
        await trio.lowlevel.checkpoint()
        pipe = self._incoming
        while not (pipe.waiting or pipe.ended or pipe.broken or self._closed):
            await pipe.changed.park()
        if self._closed:
            raise trio.ClosedResourceError("this end is closed")
        if pipe.broken:
            raise trio.BrokenResourceError("connection reset by the other end")
        data = bytes(pipe.waiting[:max_bytes])
        del pipe.waiting[: len(data)]
        pipe.changed.unpark_all()
        return data

    async def send_eof(self) -> None:
        """Send no more; what was sent can still be received."""
        await trio.lowlevel.checkpoint()
        self._outgoing.ended = True
        self._outgoing.changed.unpark_all()

    def reset(self) -> None:
        """Break both directions, as an RST does: what is under way is gone."""
        for pipe in (self._incoming, self._outgoing):
            pipe.broken = True
            pipe.waiting.clear()
            pipe.changed.unpark_all()

    async def aclose(self) -> None:
        """End our direction; the other end breaks if it sends any more."""
        if not self._closed:
            self._closed = True
            self._outgoing.ended = self._incoming.broken = True
            self._outgoing.changed.unpark_all()
            self._incoming.changed.unpark_all()
        await trio.lowlevel.checkpoint()


class MemoryNetwork:
    """Routes host names to servers that run in this process; a connector's ``network``.

    Ports are of no account, and TLS is left out: :meth:`secure` returns the stream as it is.

    Args:
        servers: A running server for each host name; ``port=None`` keeps it from listening besides.
    """

    source = ""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = dict(servers)
        self._hosts = {str(FIRST_ADDRESS + n): host for n, host in enumerate(self._servers)}
        self._refused: set[str] = set()
        self._holes: set[str] = set()

    def refuse(self, host: str) -> None:
        """Refuse every connect to ``host`` until :meth:`heal`; each stands in its server's ledger."""
        self._refused.add(host)

    def black_hole(self, host: str) -> None:
        """Never answer a connect to ``host``, until :meth:`heal`; one that waits already goes on waiting."""
        self._holes.add(host)

    def heal(self, host: str) -> None:
        """Let connects to ``host`` through again."""
        self._refused.discard(host)
        self._holes.discard(host)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The one address of ``host``; socket.gaierror (EAI_NONAME) if no server has that name."""
        await trio.lowlevel.checkpoint()
        for ip, name in self._hosts.items():
            if host in (name, ip):
                return (Address(socket.AF_INET, (ip, port)),)
        raise socket.gaierror(socket.EAI_NONAME, f"no server named {host!r} in this memory network")

    async def connect(self, address: Address) -> trio.abc.Stream:
        """A stream to the server that has the address; ConnectionRefusedError if it, or this network, refuses."""
        await trio.lowlevel.checkpoint()
        host = self._hosts[address.sockaddr[0]]
        server = self._servers[host]
        if host in self._holes:
            await trio.sleep_forever()
        if host in self._refused:
            server.ledger.write(What.REFUSED)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"connect to {host} refused")
        ours, theirs = MemoryStream.pair()
        server.attach(theirs)
        return ours

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """The stream itself."""
        del host
        await trio.lowlevel.checkpoint()
        return stream
