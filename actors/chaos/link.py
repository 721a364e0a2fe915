"""The server's end of one WebSocket connection, with every frame in sight and every rule of conduct breakable.

It speaks wsproto directly: a server made for clients hides the control frames and always answers them, but here an
exchange counts them, and a fault withholds the answers. Two tasks serve a link, whatever the traffic: one reads, one
writes and keeps the timers. All that a venue calls is synchronous.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from actors.chaos.conversation import Conversation
from actors.chaos.faults import Conduct
from actors.chaos.ledger import Ledger, Role, Shape, What
from actors.chaos.outgoing import Outgoing

UPGRADE_TIMEOUT = 10.0
"""Seconds for a client to ask for the upgrade, its TLS handshake included."""
SEND_TIMEOUT = 60.0
"""Seconds after which a client that does not read is hung up on."""
CLOSE_TIMEOUT = 2.0
"""Seconds for a client to answer our Close, and to end its side of the TCP connection after we ended ours."""
OUTBOX_BYTES = 16 << 20
"""Payload waiting for a client that reads too slowly; beyond it the client is hung up on, as exchanges do."""
MAX_MESSAGE = 1 << 20
"""Bytes of the largest message taken from a client; beyond it Close 1009."""

RECEIVE_BYTES = 1 << 16
BATCH_BYTES = 1 << 16
"""Payload handed over at once; what is on its way when a connection breaks is in doubt, so not too much."""
ROOM = 1 << 18
"""Payload waiting below which :meth:`Link.room` lets a flat-out sender go on."""


class Link:
    """One connection, from the first byte to the last.

    Attributes:
        number: Counts the server's connections, from 1.
        conduct: How the connection is treated; faults change it.
        path: The request's path and query.
        headers: The request's headers, names in lower case.
        last_message: When the last text or binary frame went in either direction (trio's clock).
        last_control: The same of pings and pongs.
        opened: Whether the 101 is out.
        by_rst: Whether TCP is to end by an RST instead of a FIN.
        scope: What the server runs the connection in; the link cancels it at its end.
    """

    def __init__(self, number: int, stream: trio.abc.Stream, ledger: Ledger, conduct: Conduct) -> None:
        self.number = number
        self.conduct = conduct
        self.path = ""
        self.headers: dict[str, str] = {}
        self.last_message = self.last_control = trio.current_time()
        self.opened = False
        self.by_rst = False
        self.scope = trio.CancelScope()
        self._stream = stream
        self._ledger = ledger
        self._ws = WSConnection(ConnectionType.SERVER)
        self._conversation = Conversation(self)
        self._partial = bytearray()
        self._outbox: deque[Outgoing] = deque()
        self._waiting = 0
        self._bell = trio.Event()
        self._drained = trio.lowlevel.ParkingLot()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._closing = False
        self._farewell = ""
        """How the connection has ended once the outbox is empty."""
        self._ending = ""

    # -- for venues: synchronous -------------------------------------------------------------------------------------

    def send(
        self,
        data: str | bytes,
        role: Role = Role.ANSWER,
        *,
        channel: str = "",
        code: str = "",
        number: int = 0,
        reply: bool = False,
    ) -> None:
        """Put a text or binary frame into the outbox, unless a fault keeps it back.

        ``reply`` marks data that answers a subscription: a snapshot.
        """
        text = isinstance(data, str)
        self._post(
            Outgoing(
                event=TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data),
                shape=Shape.TEXT if text else Shape.BINARY,
                role=role,
                data=data,
                channel=channel,
                code=code,
                number=number,
            ),
            reply=reply,
        )

    def ping(self, payload: bytes) -> bool:
        """Send a control ping; False if a fault keeps it back."""
        self._control(Ping(payload=payload), Shape.PING, payload)
        return self.conduct.heartbeats

    def end(self, code: int | None, reason: str = "") -> None:
        """A rule of the venue ends the connection: with a Close of that code, or None: TCP just ends.

        Nothing happens under a fault that keeps the connection open.
        """
        if not self.conduct.closes:
            return
        if code is None:
            self.cut()
        else:
            self.close(code, reason)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` so many seconds from now, if the connection is still there."""
        if not self._ending:
            heapq.heappush(self._timers, (trio.current_time() + seconds, next(self._order), action))
            self._bell.set()

    def retire(self, seconds: float) -> None:
        """End the connection (FIN) in so many seconds, and let the venue announce it."""
        self._conversation.retiring()
        self.later(seconds, lambda: self.end(None))

    # -- for faults: synchronous, at once ----------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Send a Close and wait a little for the client's; nothing happens if one is out already."""
        if self._closing or self._ws.state is not ConnectionState.OPEN:
            return
        self._close(CloseConnection(code=code, reason=reason or None))
        self.later(CLOSE_TIMEOUT, lambda: self._finish(f"close {code}, never answered"))

    def cut(self) -> None:
        """End TCP without a Close frame (FIN)."""
        self._finish("cut")

    def reset(self) -> None:
        """End TCP by an RST."""
        self.by_rst = True
        self._finish("reset")

    # -- for the server ----------------------------------------------------------------------------------------------

    async def request(self) -> bool:
        """Read the upgrade request into ``path`` and :attr:`headers`; False if none came."""
        with trio.move_on_after(UPGRADE_TIMEOUT):
            while (data := await self._receive()) is not None:
                try:
                    self._ws.receive_data(data)
                except (RemoteProtocolError, UnicodeError) as error:
                    # a host that is no host name comes as a UnicodeError, without wsproto's hint
                    hint = getattr(error, "event_hint", None) or RejectConnection(status_code=400)
                    await self._send_now(self._ws.send(hint))
                    self._finish("bad request")
                    return False
                for event in self._ws.events():
                    if isinstance(event, Request):
                        self.path = event.target
                        self.headers = {
                            name.decode("latin-1"): value.decode("latin-1") for name, value in event.extra_headers
                        }
                        return True
        self._finish("no request")
        return False

    async def reject(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Answer the request with an HTTP status other than 101, and end the connection."""
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        head = RejectConnection(status_code=status, headers=headers, has_body=True)
        await self._send_now(self._ws.send(head) + self._ws.send(RejectData(data=body)))
        self._ledger.write(What.REJECTED, self.number, data=str(status))
        self._finish(f"rejected with {status}")

    async def converse(self, make: Callable[["Link"], Conversation], headers: list[tuple[bytes, bytes]]) -> None:
        """Answer the request with a 101 and serve the connection until it ends."""
        accept = self._ws.send(AcceptConnection(extra_headers=headers))
        # before the client can know: what it does next must find the connection open
        self.opened = True
        self._ledger.write(What.OPENED, self.number, data=self.path)
        await self._send_now(accept)
        self._conversation = make(self)
        self._conversation.opened()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            await self._read()
            nursery.cancel_scope.cancel("the client's side has ended")

    async def room(self) -> None:
        """Wait until little is in the outbox, or the connection has ended; for senders that go flat out."""
        await trio.lowlevel.checkpoint()
        while self._waiting > ROOM and not self._ending:
            await self._drained.park()

    def forget(self) -> None:
        """The last word in the ledger. The stream is the server's to close."""
        self._finish("server stopped")
        del self._conversation  # they know each other: only the garbage collector could free them
        self._ledger.write(What.CLOSED, self.number, data=self._ending)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _finish(self, how: str) -> None:
        if self._ending:
            return
        # settled now, not when TCP is gone as well: by then the client may be back on another connection
        self._ending = how
        self._conversation.closed()
        self._timers.clear()
        while self._outbox:
            self._record(What.LOST, self._outbox.popleft())
        self._drained.unpark_all()
        self.scope.cancel(how)

    def _control(self, event: Ping | Pong, shape: Shape, payload: bytes) -> None:
        self._post(Outgoing(event=event, shape=shape, role=Role.HEARTBEAT, data=payload))

    def _close(self, event: CloseConnection) -> None:
        data = f"{event.code} {event.reason or ''}".strip()
        self._post(Outgoing(event=event, shape=Shape.CLOSE, role=Role.CLOSE, data=data))
        self._closing = True

    def _post(self, outgoing: Outgoing, *, reply: bool = False) -> None:
        if self._closing or self._ending or not self.conduct.allows(outgoing.role, reply=reply):
            self._record(What.LOST, outgoing)
            return
        self._outbox.append(outgoing)
        self._waiting += len(outgoing.data)
        self._bell.set()
        if self._waiting > OUTBOX_BYTES:
            self._finish("client reads too slowly")

    def _record(self, what: What, outgoing: Outgoing, at: float | None = None) -> None:
        outgoing.record(self._ledger, what, self.number, at)

    async def _write(self) -> None:
        while not self._ending:
            if self._outbox:
                await self._transmit()
            while self._timers and self._timers[0][0] <= trio.current_time():
                heapq.heappop(self._timers)[2]()
            if self._outbox:
                continue
            if self._farewell:
                self._finish(self._farewell)
            self._bell = trio.Event()
            if not self._timers:
                await self._bell.wait()
                continue
            with trio.move_on_at(self._timers[0][0]):
                await self._bell.wait()

    async def _transmit(self) -> None:
        batch: list[Outgoing] = []
        pieces: list[bytes] = []
        size = 0
        while self._outbox and size < BATCH_BYTES:
            frame = self._outbox.popleft()
            size += len(frame.data)
            if self._ws.state is ConnectionState.OPEN or frame.role is Role.CLOSE:
                pieces.append(self._ws.send(frame.event))
                batch.append(frame)
            else:
                self._record(What.LOST, frame)
        at, outcome = trio.current_time(), What.DOUBTFUL
        try:
            if await self._send_now(b"".join(pieces)):
                outcome = What.SENT
        finally:
            for frame in batch:
                self._touch(frame.shape)
                self._record(outcome, frame, at)
            self._waiting -= size
            self._drained.unpark_all()

    async def _send_now(self, data: bytes) -> bool:
        try:
            with trio.fail_after(SEND_TIMEOUT):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self._finish("client does not read")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish("broken")
        else:
            return True
        return False

    async def _receive(self) -> bytes | None:
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._finish("broken")
            return None
        if not data:
            self._finish("ended by the client")
            return None
        return bytes(data)

    async def _read(self) -> None:
        while (data := await self._receive()) is not None:
            # what comes after the client's Close, or after a frame that cannot be read, is nobody's
            if self._farewell or self._ws.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
                continue
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._heard(event)
                if self._ending or isinstance(event, CloseConnection):
                    break

    def _heard(self, event: Event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                self._assemble(event)
            case Ping() | Pong():
                payload = bytes(event.payload)
                shape = Shape.PING if isinstance(event, Ping) else Shape.PONG
                self._note(shape, payload)
                if isinstance(event, Ping):
                    self._control(event.response(), Shape.PONG, payload)
                self._conversation.control(shape, payload)
            case CloseConnection():
                self._note(Shape.CLOSE, f"{event.code} {event.reason or ''}".strip())
                self._closed(event)
            case _:  # pragma: no cover - wsproto has no other event on an open connection
                pass

    def _assemble(self, event: TextMessage | BytesMessage) -> None:
        text = isinstance(event, TextMessage)
        self._partial += event.data.encode() if isinstance(event, TextMessage) else event.data
        if len(self._partial) > MAX_MESSAGE:
            self._partial.clear()
            self.close(1009, "message too big")
        elif event.message_finished:
            whole = self._partial.decode() if text else bytes(self._partial)
            self._partial.clear()
            self._note(Shape.TEXT if text else Shape.BINARY, whole)
            if not self._closing:
                self._conversation.received(whole)

    def _closed(self, event: CloseConnection) -> None:
        if not self.conduct.closes:
            self._ledger.write(What.WITHHELD, self.number, shape=Shape.CLOSE, role=Role.CLOSE)
            return
        # wsproto reports a frame that it cannot read as a Close, without a change of state
        broke = self._ws.state is ConnectionState.OPEN
        self._farewell = (
            f"protocol error {event.code}" if broke else "closed by us" if self._closing else "closed by the client"
        )
        if not self._closing:
            self._close(event.response())
        self._bell.set()

    def _note(self, shape: Shape, data: str | bytes) -> None:
        self._touch(shape)
        self._ledger.write(What.RECEIVED, self.number, shape=shape, data=data)

    def _touch(self, shape: Shape) -> None:
        if shape in (Shape.TEXT, Shape.BINARY):
            self.last_message = trio.current_time()
        else:
            self.last_control = trio.current_time()
