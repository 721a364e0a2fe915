"""The stream between TLS and trio-websocket: it judges the handshake, watches the frames, and knows how it ended.

trio-websocket would wait for the body of a refusal, answer a ping after our own close (its issue 184) and read on after
a protocol error. Here the bytes are seen first, and what it must not see is kept from it.
"""

from collections.abc import Callable
from copy import copy

import trio
from trio_websocket import WebSocketConnection

from actors.errors import ConnectorError, HandshakeError, NetworkError, Reason
from actors.transport.answers import read_answer, refused
from actors.transport.dial import broken
from actors.transport.frames import CLOSE, PING, Frames, Piece

READ_SIZE = 64 * 1024


def afresh(error: ConnectorError) -> ConnectorError:
    """A copy to raise of an error that is kept.

    Raised itself, it would hold the frames it passed through, and they it: only the collector could free the session.
    """
    return copy(error)


class Tap(trio.abc.Stream):
    """A client's end of a WebSocket connection, in bytes.

    Until the 101 has passed every failure is raised as a :class:`~actors.errors.ConnectorError`; after it, the failure
    is kept as :attr:`lost` and the reader is told of an end of stream.

    Args:
        stream: The open, secured stream; closed together with the tap.
        place: Host and port, for error texts.
        send_timeout: Seconds for each ``send_all``, pongs and closes included.
        answer_by: When the 101 must have come (trio's clock).
        wall: Now, in nanoseconds UTC; read for a ``Retry-After`` that is a date.
        secret: What no error text may repeat (the query of the request).
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        place: str,
        send_timeout: float,
        answer_by: float,
        wall: Callable[[], int],
        secret: str = "",
    ) -> None:
        self.closing = False
        """Set just before our own close: from then on only Close and Pong are passed on."""
        self.close_code: int | None = None
        """The code of the server's Close frame, 1005 for one without; None before it came."""
        self.lost: ConnectorError | None = None
        """How the stream failed, if it did."""
        self.last_received = trio.current_time()
        """When bytes last came in (trio's clock); at first, when the tap was made."""
        self._stream = stream
        self._place = place
        self._send_timeout = send_timeout
        self._answer_by = answer_by
        self._wall = wall
        self._secret = secret
        self._upgraded = False
        self._early = b""
        """The answer to the upgrade request as far as it has come."""
        self._ws: WebSocketConnection | None = None
        self._attached = trio.Event()
        self._frames = Frames()
        self._dropping = False
        self._unfinished = False

    def attach(self, ws: WebSocketConnection) -> None:
        """Name the connection that reads from here; frames wait until it is known."""
        self._ws = ws
        self._attached.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The 101's head, then pieces of frames, then nothing. ``max_bytes`` is not looked at.

        Raises:
            ConnectorError: the server did not answer with a 101.
        """
        del max_bytes
        if not self._upgraded:
            return await self._handshake()
        await self._attached.wait()
        # a close of ours may have begun while we waited: judge after the last wait, and return without another
        while not self._over():
            piece = self._frames.take()
            if piece is None:
                self._frames.feed(await self._read())
            elif self._passes(piece):
                return piece.data
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send in time, or break the stream: after half a frame nothing can follow.

        Raises:
            trio.BrokenResourceError: this send or an earlier one was not finished.
            ConnectorError: the same, before the 101.
        """
        if self._unfinished:
            raise trio.BrokenResourceError("an earlier send was left unfinished")
        self._unfinished = True
        try:
            with trio.fail_after(self._send_timeout):
                await self._stream.send_all(data)
            self._unfinished = False
        except trio.TooSlowError as error:
            late = NetworkError(Reason.SEND_TIMEOUT, f"{self._place} took no data for {self._send_timeout:g} s")
            raise self._failed(late) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._failed(broken(error, self._place)) from error
        finally:
            if self._unfinished:
                # wakes the reader, which would wait for the peer for ever
                await trio.aclose_forcefully(self._stream)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below."""
        # the connection holds the tap: letting it go frees both at once, without waiting for the collector
        self._ws = None
        await self._stream.aclose()

    async def _handshake(self) -> bytes:
        answer = None
        with trio.move_on_at(self._answer_by):
            while (answer := read_answer(self._early, self._place)) is None:
                data = await self._read()
                if self.lost is not None:
                    raise afresh(self.lost)
                self._early += data
        if answer is None:
            late = f"{self._place} did not answer the upgrade request in time"
            raise HandshakeError(Reason.UPGRADE_TIMEOUT, late)
        head, rest = self._early[: answer.size], self._early[answer.size :]
        if answer.status != 101:
            raise refused(answer, rest, place=self._place, wall=self._wall(), secret=self._secret)
        self._upgraded, self._early = True, b""
        self._frames.feed(rest)
        return head

    async def _read(self) -> bytes:
        try:
            data = await self._stream.receive_some(READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.lost = self.lost or broken(error, self._place)
            return b""
        if data:
            self.last_received = trio.current_time()
        else:
            self.lost = self.lost or NetworkError(Reason.EOF, f"{self._place} hung up without a close frame")
        return bytes(data)

    def _over(self) -> bool:
        """Whether nothing more may reach the reader: it has seen a Close, refused a frame, or the stream is gone."""
        refused_frame = self._ws is not None and self._ws.closed is not None and not self.closing
        return self.lost is not None or self.close_code is not None or refused_frame

    def _passes(self, piece: Piece) -> bool:
        if piece.opcode == CLOSE and piece.first:
            self.close_code = int.from_bytes(piece.payload[:2]) if piece.payload else 1005
        elif piece.opcode == PING and piece.first:
            return not self.closing
        elif piece.opcode < CLOSE:
            # half a frame that the reader has seen must be completed, or it would take what follows for its rest
            self._dropping = self.closing if piece.first else self._dropping
            return not self._dropping
        return True

    def _failed(self, error: ConnectorError) -> Exception:
        self.lost = self.lost or error
        return trio.BrokenResourceError(str(error)) if self._upgraded else afresh(error)
