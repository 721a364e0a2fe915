"""A raw loopback server that misbehaves on purpose, and a check that nothing of a session is left behind."""

import base64
import datetime as dt
import gc
import hashlib
import os
import re
import ssl
import struct
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import trio
import trio.testing
import trustme

from actors.exchange import Exchange
from actors.transport import Link, Network, SystemNetwork

Script = Callable[[trio.abc.Stream], Awaitable[None]]
"""What the server does with one connection; the connection is closed when it returns."""

QUICK = Exchange(
    code="test",
    name_ko="[테스트]",
    name_en="[Test]",
    ws_url="wss://test.invalid/ws",
    dns_timeout=1,
    connect_timeout=1,
    tls_timeout=0.3,
    upgrade_timeout=0.3,
    open_timeout=3,
    send_timeout=0.3,
    close_timeout=0.3,
    ping_timeout=0.3,
)
"""An exchange with little patience, for tests on the real clock."""

WALL = 1_800_000_000 * 10**9
"""The wall clock of the tests: Fri, 15 Jan 2027 08:00:00 GMT."""


def wall() -> int:
    return WALL


def server_context(
    ca: trustme.CA, host: str, *, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
) -> ssl.SSLContext:
    """A server's TLS context with a certificate for ``host``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert = ca.issue_cert(host, not_before=not_before, not_after=not_after)
    # trustme's annotation names a type of pyOpenSSL, which is not installed
    cert.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@asynccontextmanager
async def hostile(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """A server on loopback that runs ``script`` for each connection; gives its port."""

    async def serve(raw: trio.SocketStream) -> None:
        stream: trio.abc.Stream = raw
        if tls is not None:
            stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await script(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, serve, listeners))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None]:
    """Check that the body leaves no descriptor open, and as many tasks as it found, without help from the collector."""
    gc.collect()
    gc.disable()
    try:
        before, tasks = descriptors(), _tasks()
        with trio.fail_after(5):
            await trio.lowlevel.checkpoint()
            yield
        # a task that has just ended is gone only after the next turn of the loop
        await trio.testing.wait_all_tasks_blocked()
        assert (descriptors() - before, _tasks()) == (set(), tasks), "descriptors, tasks"
    finally:
        gc.enable()


def descriptors() -> frozenset[tuple[str, str]]:
    """The open file descriptors of this process: number, and what it leads to."""
    found: set[tuple[str, str]] = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - read in one call
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))  # noqa: PTH115 - the same
    return frozenset(found)


def _tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return sum(1 for _ in _below(root))


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child
            yield from _below(child)


def link_to(
    port: int,
    *,
    scheme: str = "ws",
    host: str = "127.0.0.1",
    path: str = "/",
    exchange: Exchange = QUICK,
    network: Network | None = None,
) -> Link:
    """A link to the hostile server."""
    return Link(network or SystemNetwork(), exchange, f"{scheme}://{host}:{port}{path}", wall=wall)


class Inbox:
    """Takes a link's messages, and gives them to a test one by one; made once the link is open."""

    def __init__(self, link: Link) -> None:
        self.batches: list[list[str | bytes]] = []
        self._link = link
        self._messages: deque[str | bytes] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        link.deliver_to(self._take)

    def _take(self, batch: list[str | bytes]) -> None:
        self.batches.append(batch)
        self._messages.extend(batch)
        self._arrived.unpark_all()

    async def receive(self) -> str | bytes:
        """The next message; raises why the link has ended once all were taken."""
        while not self._messages:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_for_end, nursery.cancel_scope)
                await self._arrived.park()
                nursery.cancel_scope.cancel()
            if self._link.closed and not self._messages:
                raise await self._link.ended()
        return self._messages.popleft()

    async def _wait_for_end(self, scope: trio.CancelScope) -> None:
        await self._link.ended()
        scope.cancel()


async def request(stream: trio.abc.Stream) -> bytes:
    """The upgrade request, read to its end."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = await stream.receive_some(4096)
        if not more:
            raise trio.BrokenResourceError("the client left")
        head += more
    return head


async def accept(stream: trio.abc.Stream, after: bytes = b"", headers: str = "") -> None:
    """Read the request and answer with a proper 101, followed in the same segment by ``after``."""
    match = re.search(rb"Sec-WebSocket-Key: (\S+)", await request(stream), re.IGNORECASE)
    assert match is not None
    token = base64.b64encode(hashlib.sha1(match[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
    await stream.send_all(head.encode() + b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n" + after)


def accepting(headers: str) -> Script:
    """Accept with these headers in the 101."""
    return lambda stream: accept(stream, headers=headers)


def answering(answer: bytes, *, stay: bool = True) -> Script:
    """Answer each request with these bytes, then keep the connection open, or close it."""

    async def script(stream: trio.abc.Stream) -> None:
        await request(stream)
        await stream.send_all(answer)
        if stay:
            await trio.sleep_forever()

    return script


def upgraded(then: bytes = b"", *, stay: bool = True, cut: int = 0) -> Script:
    """Accept, send these bytes (``cut`` at a time if given), then keep the connection open and say no more."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, b"" if cut else then)
        for start in range(0, len(then), cut) if cut else ():
            await stream.send_all(then[start : start + cut])
        if stay:
            await trio.sleep_forever()

    return script


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """One frame, well formed or not."""
    size = len(payload)
    first = bytes([(0x80 if fin else 0) | (rsv << 4) | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head = first + bytes([bit | size])
    elif size < 1 << 16:
        head = first + bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head = first + bytes([bit | 127]) + struct.pack("!Q", size)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if mask else payload
    return head + mask + masked


def text(payload: str) -> bytes:
    return frame(1, payload.encode())


def close(code: int, reason: str = "") -> bytes:
    return frame(8, struct.pack("!H", code) + reason.encode())


@attrs.define
class ClientFrames:
    """Reads what the client sends, frame by frame."""

    stream: trio.abc.Stream
    held: bytes = b""

    async def next(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; ``(-1, b"")`` at the end of the stream."""
        head = await self._take(2)
        if not head:
            return -1, b""
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(await self._take({126: 2, 127: 8}[size]))
        mask, payload = await self._take(4), await self._take(size)
        return head[0] & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    async def _take(self, size: int) -> bytes:
        while len(self.held) < size:
            more = await self.stream.receive_some(65536)
            if not more:
                return b""
            self.held += more
        taken, self.held = self.held[:size], self.held[size:]
        return taken
