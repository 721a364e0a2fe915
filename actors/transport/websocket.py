"""One WebSocket session, from the first look-up to the closed socket.

trio-websocket speaks the protocol; who may wait how long, and what an end means, is decided here. All its errors, and
those of wsproto and h11 beneath it, are translated in this module and leave it as
:class:`~actors.errors.ConnectorError`.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import cast

import h11
import trio
import trio_websocket
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection
from wsproto.utilities import ProtocolError as WsprotoError

from actors.errors import (
    BACKOFF,
    NOW,
    QUARANTINE,
    Advice,
    ConnectorError,
    HandshakeError,
    LivenessError,
    NetworkError,
    ProtocolError,
    Reason,
    ServerClosed,
    after,
)
from actors.exchange import Exchange, Http
from actors.transport.dial import dial
from actors.transport.network import Network
from actors.transport.tap import READ_SIZE, Take, Tap, afresh
from actors.transport.target import Target

GOING_AWAY = 1001

_CLOSES: Mapping[int, tuple[Reason, Advice]] = {
    1000: (Reason.CLOSE_1000, NOW),
    1001: (Reason.CLOSE_1001, NOW),
    1008: (Reason.CLOSE_1008, QUARANTINE),
    1011: (Reason.CLOSE_1011, BACKOFF),
    1012: (Reason.CLOSE_1012, NOW),
    1013: (Reason.CLOSE_1013, after(60.0)),
}
"""Close codes (RFC 6455 section 7.4.1 and IANA's registry) and the way back from each; others mean BACKOFF."""

_REFUSED = {1002: Reason.WS_PROTOCOL, 1007: Reason.WS_UTF8}
"""The codes that trio-websocket keeps for what it would not read; it sends none of them."""
_OVER_LIMITS = {Reason.WS_TOO_BIG: 1009, Reason.WS_FRAGMENTS: 1008, Reason.PING_FLOOD: 1008}
"""The codes for what the tap would not take."""

# the last is wsproto's way with header values that are not ASCII
_FOREIGN = (h11.ProtocolError, WsprotoError, UnicodeError)


async def find_link(
    network: Network,
    exchange: Exchange,
    *,
    wall: Callable[[], int],
    http: Callable[[], AbstractAsyncContextManager[Http]],
) -> "Link":
    """A link to the exchange, not dialled yet; an endpoint that has to be asked for gets ``open_timeout`` seconds.

    Raises:
        ConnectorError: the endpoint gave no usable URL, or none in time.
    """
    if exchange.endpoint is None:
        return Link(network, exchange, exchange.ws_url, wall=wall)
    with trio.move_on_after(exchange.open_timeout):
        async with http() as client:
            url = await exchange.endpoint(client)
        try:
            return Link(network, exchange, url, wall=wall)
        except ValueError as error:
            raise ConnectorError(Reason.ENDPOINT, f"the endpoint gave no usable URL: {error}") from None
    raise ConnectorError(Reason.ENDPOINT, f"no answer for {exchange.open_timeout:g} s")


class Link:
    """One session with a server: :meth:`run` owns it, the other methods use it.

    Args:
        network: Where addresses, streams and TLS come from.
        exchange: Whose timeouts, size limit and close codes hold.
        url: ``wss://host/path?query``; ``ws://`` only to this machine. The query is never repeated in an error.
        wall: Now, in nanoseconds UTC.

    Raises:
        ValueError: the URL is none of these.
    """

    def __init__(self, network: Network, exchange: Exchange, url: str, *, wall: Callable[[], int]) -> None:
        self._network = network
        self._exchange = exchange
        self._target = Target.of(url)
        self._wall = wall
        self._scope = trio.CancelScope()
        self._waits: set[trio.CancelScope] = set()
        self._verdict: ConnectorError | None = None
        self._tap: Tap | None = None
        self._ws: trio_websocket.WebSocketConnection | None = None
        self._running = False
        self._ended = trio.Event()
        """The verdict has fallen."""
        self._gone = trio.Event()
        """The socket is closed."""

    @property
    def host(self) -> str:
        """The server's name, as in the URL."""
        return self._target.host

    @property
    def verdict(self) -> ConnectorError | None:
        """Why the session ended; None while it goes on."""
        return self._verdict if self._ended.is_set() else None

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._ended.is_set()

    @property
    def last_received(self) -> float:
        """When bytes last came from the server (trio's clock, seconds); minus infinity before the connection."""
        return -float("inf") if self._tap is None else self._tap.last_received

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Dial, upgrade, call ``started()``, and stay until the session has ended and its socket is closed.

        Runs once. After the 101 it returns however the session ends; :attr:`verdict` says why. If cancelled, it says
        goodbye to the server first, within the exchange's ``close_timeout``.

        Raises:
            ConnectorError: the 101 was not reached.
        """
        self._running = True
        try:
            with self._scope:
                tap = self._tap = await self._dial()
                try:
                    # trio-websocket's reader is the only task in it: when it stops, the session has ended
                    async with trio.open_nursery() as nursery:
                        await self._upgrade(nursery, tap)
                        task_status.started()
                except* (ConnectorError, *_FOREIGN) as group:
                    if isinstance(group.exceptions[0], UnicodeError) and self._ws is not None:
                        raise  # not wsproto's: whoever takes the messages has a bug
                    self._end(self._translated(group.exceptions[0]))
                finally:
                    self._end(self._judged(tap))
                    with trio.move_on_after(self._exchange.close_timeout, shield=True):
                        await self._part(tap)
        except ConnectorError as error:
            self._end(error)
            raise
        finally:
            self._end(_stopped())
            self._gone.set()
        if self._ws is None:
            raise self._final()

    def deliver_to(self, take: Take) -> None:
        """Begin to read: every batch of whole messages goes to ``take``, in the task of :meth:`run`'s reader.

        Nothing is read beyond the 101 before this is called, and nothing while an awaitable that ``take`` returned is
        not done. A ConnectorError that it raises ends the session, anything else ends :meth:`run`.
        """
        ws = self._connection()
        if self._tap is not None and not self.closed:
            self._tap.attach(ws, take)

    async def ended(self) -> ConnectorError:
        """Wait for the end of the session; why it ended. All messages that came before were delivered."""
        await self._ended.wait()
        return self._final()

    async def send(self, data: str | bytes) -> None:
        """Send one message; if that takes longer than ``send_timeout``, or is cancelled, the session ends.

        Raises:
            ConnectorError: the session has ended.
        """
        seconds = self._exchange.send_timeout
        late = NetworkError(Reason.SEND_TIMEOUT, f"{self._target.place} did not take a message in {seconds:g} s")
        await self._in_time(lambda: self._connection().send_message(data), seconds, late)

    async def ping(self, within: float | None = None) -> float:
        """Send a ping and wait for its pong: the round trip in seconds.

        If there is no pong ``within`` so many seconds (by default the exchange's ``ping_timeout``), or the call is
        cancelled, the session ends.

        Raises:
            ConnectorError: the session has ended.
        """
        seconds = self._exchange.ping_timeout if within is None else within
        late = LivenessError(Reason.PING_TIMEOUT, f"{self._target.place} sent no pong in {seconds:g} s")
        began = trio.current_time()
        await self._in_time(lambda: self._connection().ping(), seconds, late)
        return trio.current_time() - began

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait for the server's answer for at most ``close_timeout``, and close; or cut a dial short.

        May be called at any time and more than once. If cancelled, it closes at once.
        """
        try:
            if self._ws is not None and self._tap is not None and not self.closed:
                self._verdict = self._verdict or _stopped()
                self._tap.closing = True
                with self._until_ended(self._exchange.close_timeout):
                    await self._ws.aclose(code, reason)
        finally:
            self._scope.cancel()
        if self._running:
            await self._gone.wait()

    async def _dial(self) -> Tap:
        target, exchange = self._target, self._exchange
        open_by = trio.current_time() + exchange.open_timeout
        stream = await dial(self._network, target.host, target.port, tls=target.tls, exchange=exchange)
        return Tap(
            stream,
            place=target.place,
            send_timeout=exchange.send_timeout,
            answer_by=min(trio.current_time() + exchange.upgrade_timeout, open_by),
            largest=exchange.max_message_size,
            wall=self._wall,
            secret=target.query,
            coalesce=exchange.coalesce,
        )

    async def _upgrade(self, nursery: trio.Nursery, tap: Tap) -> None:
        """Wait for the 101; the tap sees to it that the reader fails in time if it does not come."""
        self._ws = await trio_websocket.wrap_client_stream(
            nursery,
            # annotated as a socket's stream, but nothing beyond trio.abc.Stream is used of it
            cast("trio.SocketStream", tap),
            self._target.authority,
            self._target.resource,
            max_message_size=self._exchange.max_message_size,
            receive_buffer_size=READ_SIZE,
        )

    def _translated(self, error: BaseException) -> ConnectorError:
        place = self._target.place
        if isinstance(error, ConnectorError):
            return error
        if self._ws is None:
            return HandshakeError(Reason.WS_HANDSHAKE, f"{place} answered a 101 that is wrong: {error}", QUARANTINE)
        return ProtocolError(Reason.WS_PROTOCOL, f"{place}: {error}")

    def _judged(self, tap: Tap) -> ConnectorError:
        """Why the reader stopped. A Close outranks the loss of the stream, which may have followed it closely."""
        closed = self._ws and self._ws.closed
        if not closed or closed.code == 1006:
            return tap.lost or _stopped()
        said = f"{self._target.place}: {closed.code} {closed.reason or ''}"
        if closed.code != tap.close_code:
            return ProtocolError(_REFUSED.get(closed.code, Reason.WS_PROTOCOL), said)
        other = Reason.CLOSE_4XXX if 4000 <= closed.code < 5000 else Reason.CLOSE_OTHER
        reason, advice = _CLOSES.get(closed.code, (other, BACKOFF))
        return ServerClosed(reason, said, self._exchange.close_codes.get(closed.code, advice), code=closed.code)

    async def _part(self, tap: Tap) -> None:
        """Say goodbye where trio-websocket has not, and close the socket."""
        code = self._last_word(tap)
        try:
            if code:
                with suppress(trio.BrokenResourceError):
                    await tap.send_all(Connection(ConnectionType.CLIENT).send(CloseConnection(code=code)))
                    if code != GOING_AWAY:
                        await tap.drain()
        finally:
            await trio.aclose_forcefully(tap)

    def _last_word(self, tap: Tap) -> int:
        """The code of the Close frame that is still owed to the server; 0 if none is."""
        if self._ws is None or tap.closing:
            return 0
        if tap.lost is not None and tap.lost.reason in _OVER_LIMITS:
            return _OVER_LIMITS[tap.lost.reason]
        closed = self._ws.closed
        if closed is None:
            return GOING_AWAY
        return closed.code if closed.code in _REFUSED and closed.code != tap.close_code else 0

    async def _in_time(self, act: Callable[[], Awaitable[None]], seconds: float, late: ConnectorError) -> None:
        """Do something on the session; if it is not finished in time, the session ends with ``late``."""
        if self.closed:
            raise self._final()
        try:
            with self._until_ended(seconds):
                await act()
                return
        except trio_websocket.ConnectionClosed:
            # the reader knows why, and is about to end
            await self._ended.wait()
        except trio.Cancelled:
            self._kill(late)
            raise
        else:
            self._kill(late)
        raise self._final()

    @contextmanager
    def _until_ended(self, seconds: float) -> Generator[None]:
        """A scope for at most so long, which the end of the session ends too: trio-websocket wakes nobody."""
        with trio.move_on_after(seconds) as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)

    def _connection(self) -> trio_websocket.WebSocketConnection:
        if self._ws is not None:
            return self._ws
        if self.closed:
            raise self._final()
        raise RuntimeError("the link is not open: use it after run() has called started()")

    def _kill(self, error: ConnectorError) -> None:
        self._end(error)
        self._scope.cancel()

    def _end(self, error: ConnectorError) -> None:
        """Let the verdict fall; the first one stands."""
        self._verdict = self._verdict or afresh(error)
        self._ended.set()
        for scope in self._waits:
            scope.cancel()

    def _final(self) -> ConnectorError:
        assert self._verdict is not None, "only called once the verdict has fallen"  # noqa: S101 - an invariant
        return afresh(self._verdict)


def _stopped() -> ConnectorError:
    return ConnectorError(Reason.STOPPED, "we ended the session", NOW)
