"""How a connection ends below WebSocket: by a FIN or by an RST, exactly as asked."""

import contextlib
import socket
import struct
from typing import Protocol, cast, runtime_checkable

import trio


@runtime_checkable
class Resettable(Protocol):
    """A stream without a socket that can still end as by an RST."""

    def reset(self) -> None:
        """End at once; the peer's operations fail."""
        ...


async def fin(stream: trio.abc.Stream, seconds: float) -> None:
    """End our half of the connection, and wait ``seconds`` at most for the peer to end its own.

    What the peer still sends is read and thrown away: closing a socket with unread input would send an RST instead.
    TLS is ended by the FIN alone, without its own goodbye, as by a process that dies.
    """
    transport = _transport(stream)
    # a peer that is gone already cannot be told
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_after(seconds):
        if isinstance(transport, trio.abc.HalfCloseableStream):
            await transport.send_eof()
        while await transport.receive_some(65536):
            pass


def rst(stream: trio.abc.Stream) -> None:
    """Make the coming close of ``stream`` an RST."""
    transport = _transport(stream)
    if isinstance(transport, trio.SocketStream):
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif isinstance(transport, Resettable):
        transport.reset()


def _transport(stream: trio.abc.Stream) -> trio.abc.Stream:
    if isinstance(stream, trio.SSLStream):
        return cast("trio.abc.Stream", stream.transport_stream)  # pyright: ignore[reportUnknownMemberType] - generic
    return stream
