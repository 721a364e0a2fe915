"""A network that is slow, narrow, deaf or broken, without sockets: one feed's way to simulated exchanges.

:class:`VirtualNetwork` is what a feed is given instead of the system's network. Each feed has one of its own, with a
generator of its own, so that what happens on one way never moves the draws of another. Faults are methods; they act at
once and need no ``await``, so that a list of them is a plan (:mod:`actors.chaos.plans`). What lasts, lasts for
``seconds`` or until :meth:`VirtualNetwork.heal`.
"""

import errno
import ipaddress
import math
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import trio

from actors.chaos.history import Dialled, Hung, Record
from actors.chaos.ledger import What
from actors.chaos.server import Server
from actors.chaos.ways import Towards, Ways
from actors.chaos.wire import Setting, VirtualStream
from actors.transport.network import Address

FIRST_ADDRESS = ipaddress.IPv4Address("198.18.0.1")
"""Addresses are made up from the block that RFC 2544 keeps for tests of networks."""

Trouble = Literal["nxdomain", "temporary", "silent"]


class VirtualNetwork(Ways):
    """Routes host names to servers that run in this process, over ways that misbehave; a feed's ``network``.

    Without a fault nothing takes time. Ports are of no account, and TLS is left out: :meth:`secure` returns the stream
    as it is. TCP is kept honest: bytes arrive in order or not at all, and what a clogged way holds back arrives once it
    is open again.

    Args:
        servers: A running server for each host name; ``port=None`` keeps it from listening besides.
        feed: Whose way this is, for the record.
        random: Draws jitter and slices; a seeded one makes a run repeat.
        tell: Takes :class:`~actors.chaos.history.Dialled` and :class:`~actors.chaos.history.Hung`.
    """

    source = ""

    def __init__(
        self,
        servers: Mapping[str, Server],
        *,
        feed: str = "",
        random: random.Random | None = None,
        tell: Callable[[Record], None] = lambda record: None,
    ) -> None:
        super().__init__(random or _RANDOM)
        self.feed = feed
        self._servers = dict(servers)
        self._hosts = {str(FIRST_ADDRESS + n): host for n, host in enumerate(self._servers)}
        self._tell = tell
        self._streams: dict[int, VirtualStream] = {}
        self._resolver = Setting("")
        self._door = Setting("")
        self._handshake = Setting("")
        self._bugs = 0

    @property
    def open(self) -> int:
        """Connections whose client's end is open."""
        return len(self._streams)

    @property
    def silent_for(self) -> float:
        """Seconds since the client last received a byte on an open connection; 0 if none is open."""
        now = trio.current_time()
        return max((now - stream.last_read for stream in self._streams.values()), default=0.0)

    @property
    def unread_for(self) -> float:
        """Seconds for which bytes have lain at the client's end and nobody has read them."""
        return max((stream.unread_for for stream in self._streams.values()), default=0.0)

    # -- faults that hit the connections of now ----------------------------------------------------------------------

    def reset(self) -> None:
        """Break every connection at both ends by an RST; what is under way is gone."""
        for stream in tuple(self._streams.values()):
            stream.reset()

    def eof(self) -> None:
        """End every connection at both ends by a FIN that neither of them has sent."""
        for stream in tuple(self._streams.values()):
            stream.cut_after(0)

    def limit_data(self, bytes: int) -> None:  # noqa: A002 - toxiproxy's word
        """Let so many more bytes come in on each connection, then end it: mostly in the middle of a frame."""
        for stream in tuple(self._streams.values()):
            stream.cut_after(bytes)

    # -- faults that last --------------------------------------------------------------------------------------------

    def black_hole(self, towards: Towards = "both", *, seconds: float = math.inf) -> None:
        """Let nothing through, no new connection either where the way out is gone."""
        self.clog(seconds, towards=towards)
        self._door.put("silent", seconds)

    def refuse(self, error: str = "ECONNREFUSED", *, seconds: float = math.inf) -> None:
        """Fail every connect with an error of the ``errno`` module; each stands in the server's ledger."""
        if not hasattr(errno, error):
            msg = f"not an error of the errno module: {error!r}"
            raise ValueError(msg)
        self._door.put(error, seconds)

    def silent(self, *, seconds: float = math.inf) -> None:
        """Never answer a connect; one that waits already goes on waiting."""
        self._door.put("silent", seconds)

    def stall_tls(self, *, seconds: float = math.inf) -> None:
        """Never finish a TLS handshake."""
        self._handshake.put("silent", seconds)

    def resolver(self, trouble: Trouble = "temporary", *, seconds: float = math.inf) -> None:
        """Answer look-ups with "no such name", with "not now", or not at all."""
        self._resolver.put(trouble, seconds)

    def bug(self, times: int = 1) -> None:
        """Raise RuntimeError from the next connects: what a mistake of our own looks like."""
        self._bugs = times

    def heal(self) -> None:
        """End everything that lasts. What was held back arrives; what has ended stays ended."""
        super().heal()
        for setting in (self._resolver, self._door, self._handshake):
            setting.end()
        self._bugs = 0

    # -- what a connector asks for -----------------------------------------------------------------------------------

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The one address of ``host``; socket.gaierror if no server has that name, or by a fault."""
        await trio.lowlevel.checkpoint()
        self._tell(Dialled(at=trio.current_time(), feed=self.feed, host=host))
        match self._resolver.now():
            case "silent":
                await trio.sleep_forever()
            case "nxdomain":
                raise socket.gaierror(socket.EAI_NONAME, "no such name, by a fault")
            case "temporary":
                raise socket.gaierror(socket.EAI_AGAIN, "the resolver is out of order, by a fault")
            case _:
                pass
        for ip, name in self._hosts.items():
            if host in (name, ip):
                return (Address(socket.AF_INET, (ip, port)),)
        raise socket.gaierror(socket.EAI_NONAME, f"no server named {host!r} in this virtual network")

    async def connect(self, address: Address) -> trio.abc.Stream:
        """A stream to the server that has the address; OSError if it, or a fault, refuses."""
        host = self._hosts[address.sockaddr[0]]
        server = self._servers[host]
        await trio.sleep(self.incoming.trip() + self.outgoing.trip())
        if self._bugs:
            self._bugs -= 1
            raise RuntimeError("a bug in the network, by a fault")
        door = self._door.now()
        if door == "silent":
            await trio.sleep_forever()
        elif door:
            server.ledger.write(What.REFUSED)
            number: int = getattr(errno, door)
            raise OSError(number, os.strerror(number))
        ours, theirs = VirtualStream.pair(self.outgoing, self.incoming)
        number = server.attach(theirs)
        ours.on_close = lambda: self._hung_up(host, number)
        self._streams[number] = ours
        self._tell(Dialled(at=trio.current_time(), feed=self.feed, host=host, connection=number))
        return ours

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """The stream itself."""
        del host
        try:
            await trio.lowlevel.checkpoint()
            if self._handshake.now():
                await trio.sleep_forever()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    # -- inside ------------------------------------------------------------------------------------------------------

    def _hung_up(self, host: str, number: int) -> None:
        del self._streams[number]
        self._tell(Hung(at=trio.current_time(), feed=self.feed, host=host, connection=number))


_RANDOM = random.Random()  # noqa: S311 - chance, no secret
