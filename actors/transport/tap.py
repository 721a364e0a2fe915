"""The stream between TLS and trio-websocket: it judges the handshake, takes the messages, and knows how it ended.

trio-websocket would wait for the body of a refusal, answer a ping after our own close (its issue 184) and read on after
a protocol error; and it needs twenty times as long for a message as it takes to cut it out. Here the bytes are seen
first: plain messages are handed over as batches, and what trio-websocket must not see is kept from it.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from actors.errors import ConnectorError, HandshakeError, NetworkError, ProtocolError, Reason
from actors.transport.answers import read_answer, refused
from actors.transport.dial import broken
from actors.transport.frames import CLOSE, PING, PONG, RAW, Frames, Piece, Refusal

READ_SIZE = 64 * 1024
MUCH = 16 * 1024
"""Bytes in one read (a TLS record at most, RFC 8446 section 5.1) after which the next is not put off."""
LONGEST_MESSAGE = 10.0
"""Seconds that a message may take from its first fragment to its last."""
MOST_PINGS = 100
"""Pings in a second; more of them in each of ten seconds are a flood."""

Take = Callable[[list[str | bytes]], Awaitable[None] | None]
"""Is given each batch of whole messages and must not wait; nothing more is read until what it may return is awaited."""


@attrs.define
class PingWatch:
    """Tells a flood of pings from a busy moment. Times are trio's."""

    began: float
    """When the present second began."""
    count: int = 0
    busy: int = 0
    """Seconds in a row with too many."""

    def flooded(self, frames: Frames, now: float) -> bool:
        """Take over the number of pings that were found; True once there were too many for ten seconds in a row."""
        if now >= self.began + 1:
            self.busy = self.busy + 1 if self.count > MOST_PINGS and now < self.began + 2 else 0
            self.began, self.count = now, 0
        self.count, frames.pings = self.count + frames.pings, 0
        return self.busy >= 10


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
        largest: Bytes of the largest message that is taken.
        wall: Now, in nanoseconds UTC; read for a ``Retry-After`` that is a date.
        secret: What no error text may repeat (the query of the request).
        coalesce: Seconds after a read until the next, unless that read brought much or we have sent something.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        place: str,
        send_timeout: float,
        answer_by: float,
        largest: int,
        wall: Callable[[], int],
        secret: str = "",
        coalesce: float = 0.0,
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
        self._coalesce = coalesce
        self._pause = trio.CancelScope()
        self._much = True
        """Whether the last read brought so much that there may be more at once."""
        self._upgraded = False
        self._early = b""
        """The answer to the upgrade request as far as it has come."""
        self._ws: WebSocketConnection | None = None
        self._take: Take = _nobody
        self._attached = trio.Event()
        self._frames = Frames(largest)
        self._pings = PingWatch(self.last_received)
        self._message_by = math.inf
        """When the message in fragments that has begun must be complete."""
        self._message_due = False
        """Whether its last fragment has passed."""
        self._unfinished = False

    def attach(self, ws: WebSocketConnection, take: Take) -> None:
        """Name the connection that reads from here, and who gets the messages; frames wait until both are known."""
        self._ws, self._take = ws, take
        self._attached.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The 101's head, then what only the protocol machine can judge, then nothing. ``max_bytes`` is not looked at.

        Raises:
            ConnectorError: the server did not answer with a 101.
        """
        del max_bytes
        if not self._upgraded:
            return await self._handshake()
        await self._attached.wait()
        if self._message_due:
            await self._take_assembled()
        # a close of ours may have begun while we waited: judge after the last wait, and return without another
        while not self._over():
            cut = self._frames.take()
            if cut is None:
                self._frames.feed(await self._more())
            elif isinstance(cut, list):
                if (rest := self._hand_over(cut)) is not None:
                    await rest
            elif isinstance(cut, Refusal):
                self.lost = ProtocolError(cut.reason, f"{self._place} sent {cut.detail}")
            elif self._passes(cut):
                return cut.data
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
        self._pause.cancel()  # an answer may come
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
        # both hold the tap: letting them go frees all at once, without waiting for the collector
        self._ws, self._take = None, _nobody
        await self._stream.aclose()

    async def drain(self) -> None:
        """Read on to the end and keep nothing: closing over unread data resets, and the server never hears why."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(READ_SIZE):
                pass

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
        self._upgraded, self._early, self._much = True, b"", True
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
            self._much = len(data) >= MUCH
        else:
            self.lost = self.lost or NetworkError(Reason.EOF, f"{self._place} hung up without a close frame")
        return bytes(data)

    def _over(self) -> bool:
        """Whether nothing more may reach the reader: it has seen a Close, refused a frame, or the stream is gone."""
        refused_frame = self._ws is not None and self._ws.closed is not None and not self.closing
        return self.lost is not None or self.close_code is not None or refused_frame

    def _more(self) -> Awaitable[bytes]:
        """The next read; neither pings nor fragments may come for ever."""
        if self._frames.pings and self._pings.flooded(self._frames, self.last_received):
            self.lost = ProtocolError(Reason.PING_FLOOD, f"{self._place} pings more than {MOST_PINGS} times a second")
            return _nothing()
        if self._message_by != math.inf:
            return self._read_in_time()
        if self._coalesce and not self._much:
            return self._read_later()
        return self._read()

    async def _read_later(self) -> bytes:
        with trio.CancelScope(deadline=self.last_received + self._coalesce) as self._pause:
            await trio.sleep_forever()
        return await self._read()

    async def _read_in_time(self) -> bytes:
        with trio.move_on_at(self._message_by):
            return await self._read()
        late = f"{self._place} did not complete a message in fragments within {LONGEST_MESSAGE:g} s"
        self.lost = ProtocolError(Reason.WS_FRAGMENTS, late)
        return b""

    def _hand_over(self, messages: list[str | bytes]) -> Awaitable[None] | None:
        """Give a batch to whoever takes it; once we are closing, to nobody."""
        return None if self.closing else self._take(messages)

    async def _take_assembled(self) -> None:
        """Hand over the message whose last fragment the reader has just been given: it has put it together."""
        self._message_due = False
        if self._ws is None or self._ws.closed is not None:
            return
        with suppress(ConnectionClosed):
            message = await self._ws.get_message()
            if (rest := self._hand_over([message])) is not None:
                await rest

    def _passes(self, piece: Piece) -> bool:
        """Whether the reader is to see a frame; once we are closing, only Close and Pong."""
        if piece.opcode == CLOSE:
            self.close_code = int.from_bytes(piece.payload[:2]) if piece.payload else 1005
        elif piece.opcode == RAW and self.closing:
            # the reader may have missed a frame that we dropped, and could take these bytes for good ones
            self.lost = ProtocolError(Reason.WS_PROTOCOL, f"{self._place} broke the protocol")
        elif piece.opcode not in (PING, PONG, RAW) and not self.closing:
            self._message_due = piece.fin
            if piece.fin:
                self._message_by = math.inf
            elif self._message_by == math.inf:
                self._message_by = trio.current_time() + LONGEST_MESSAGE
        return not self.closing or piece.opcode in (CLOSE, PONG)

    def _failed(self, error: ConnectorError) -> Exception:
        self.lost = self.lost or error
        self._attached.set()  # the reader is to learn of it, also before anybody takes the messages
        return trio.BrokenResourceError(str(error)) if self._upgraded else afresh(error)


def _nobody(messages: list[str | bytes]) -> None:
    del messages


async def _nothing() -> bytes:
    return b""
