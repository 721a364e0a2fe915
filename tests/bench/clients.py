"""Clients that take so many messages off the wire: ours, its peers, and a bare loop as the floor.

Each opens some connections at once and hands every message, as text, to a :class:`Clock` until that has seen enough.
"""

import asyncio
import base64
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import aiohttp
import attrs
import picows
import trio
import trio_websocket
import uvloop
from websockets.asyncio.client import connect as connect_asyncio
from websockets.trio.client import connect as connect_trio

from actors import Feed, Message
from actors.exchange import Exchange, Limits, Rate, Subscription
from actors.exchanges import GENERIC, UPBIT
from actors.items import BLOCK, Batch
from actors.transport import SystemNetwork
from supervisors import open_feeds
from tests.bench.server import STAMP


@attrs.define
class Clock:
    """The process's CPU time for each message, the first of them left out."""

    messages: int
    skipped: float = 0.05
    """The part of them that is left out: until all connections are open."""
    seen: int = 0
    since: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    cost: float = 0.0
    """CPU microseconds a message, once all have come."""
    rate: float = 0.0
    """Messages a second, once all have come."""

    def count(self, number: int, last: str) -> bool:
        """So many have come, and this is the last of them; True once they are all there."""
        del last
        self.seen += number
        if not self.since and self.seen >= self.messages * self.skipped:
            self.since, self.cpu, self.wall = self.seen, time.process_time(), time.monotonic()
        if self.seen < self.messages:
            return False
        counted = self.seen - self.since
        self.cost = (time.process_time() - self.cpu) / counted * 1e6
        self.rate = counted / (time.monotonic() - self.wall)
        return True


@attrs.define
class Stopwatch(Clock):
    """Also how old each message is, in microseconds since the server began to send it."""

    ages: list[float] = attrs.field(factory=list[float])

    def count(self, number: int, last: str) -> bool:
        """As :class:`Clock` does."""
        self.ages.append((time.monotonic_ns() - int(last[-STAMP:])) / 1000)
        return super().count(number, last)


@attrs.frozen
class Job:
    """What a client is to do."""

    url: str
    ca: str
    connections: int
    clock: Clock

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What trusts the server; None where the URL is plain."""
        return ssl.create_default_context(cadata=self.ca) if self.url.startswith("wss") else None


Client = Callable[[Job], None]
LONGEST = 120.0
"""Seconds after which a client that has not seen enough is broken."""
GOODBYE = 0.1
"""Seconds for which those wait that take leave politely: the server is busy and does not answer a Close, and what a
message costs has been counted by then."""
OPEN = Limits(gate=Rate(100_000, 1.0))
"""What a server of our own takes."""


# -- ours -----------------------------------------------------------------------------------------------------------


Consume = Callable[[Feed, Clock], Awaitable[None]]


async def _ours(job: Job, exchange: Exchange, wanted: tuple[Subscription, ...], consume: Consume) -> None:
    exchange = attrs.evolve(exchange, ws_url=job.url, limits=OPEN)
    network = SystemNetwork(ca_pem=job.ca.encode())
    with trio.fail_after(LONGEST):
        await _consume_all(job, exchange, wanted, consume, network)


async def _consume_all(
    job: Job, exchange: Exchange, wanted: tuple[Subscription, ...], consume: Consume, network: SystemNetwork
) -> None:
    async with open_feeds(network=network) as feeds, trio.open_nursery() as nursery:

        async def consume_one() -> None:
            await consume(feeds.open(exchange, *wanted, overflow=BLOCK), job.clock)
            nursery.cancel_scope.cancel()

        for _ in range(job.connections):
            nursery.start_soon(consume_one)


async def _batches(feed: Feed, clock: Clock) -> None:
    async for item in feed.batches():
        if isinstance(item, Batch) and clock.count(len(item.frames), str(item.frames[-1])):
            return


async def _messages(feed: Feed, clock: Clock) -> None:
    async for item in feed:
        if isinstance(item, Message) and clock.count(1, str(item.data)):
            return


CHECKED = attrs.evolve(UPBIT, quiet_after=30.0, check_sequence=True)
"""A profile that looks into every message: for its code, should that go quiet, and for its place in the sequence."""
TRADES = (Subscription("trade", ("KRW-BTC",)),)


def our_batches(job: Job) -> None:
    """A supervised feed, its consumer iterating over batches."""
    trio.run(_ours, job, GENERIC, (), _batches)


def our_messages(job: Job) -> None:
    """The same, its consumer iterating over messages."""
    trio.run(_ours, job, GENERIC, (), _messages)


def our_checked_batches(job: Job) -> None:
    """A feed of a profile that knows its messages, with its checks for silence and sequence on."""
    trio.run(_ours, job, CHECKED, TRADES, _batches)


def our_checked_messages(job: Job) -> None:
    """The same, its consumer iterating over messages."""
    trio.run(_ours, job, CHECKED, TRADES, _messages)


# -- peers ----------------------------------------------------------------------------------------------------------


def trio_websocket_bare(job: Job) -> None:
    """trio-websocket as it comes, without supervision, pings, clocks or a feed."""

    async def one(nursery: trio.Nursery) -> None:
        async with trio_websocket.open_websocket_url(job.url, ssl_context=job.tls) as ws:
            while not job.clock.count(1, str(await ws.get_message())):
                pass
            nursery.cancel_scope.cancel()

    trio.run(_all_on_trio, job, one)


def websockets_on_trio(job: Job) -> None:
    """websockets' client for trio."""

    async def one(nursery: trio.Nursery) -> None:
        async with connect_trio(job.url, ssl=job.tls, compression=None) as ws:
            async for message in ws:
                if job.clock.count(1, str(message)):
                    break
            nursery.cancel_scope.cancel()

    trio.run(_all_on_trio, job, one)


async def _all_on_trio(job: Job, one: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    with trio.fail_after(LONGEST):
        async with trio.open_nursery() as nursery:
            for _ in range(job.connections):
                nursery.start_soon(one, nursery)


def websockets_on_uvloop(job: Job) -> None:
    """websockets' client for asyncio."""

    async def one() -> None:
        async with connect_asyncio(job.url, ssl=job.tls, compression=None, close_timeout=GOODBYE) as ws:
            async for message in ws:
                if job.clock.count(1, str(message)):
                    return

    _on_uvloop(job, one)


def aiohttp_on_uvloop(job: Job) -> None:
    """aiohttp's client."""

    async def one() -> None:
        goodbye = aiohttp.ClientWSTimeout(ws_close=GOODBYE)  # pyright: ignore[reportCallIssue] - a class of attrs unseen
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(job.url, ssl=job.tls or True, timeout=goodbye) as ws,
        ):
            async for message in ws:
                if job.clock.count(1, message.data):
                    return

    _on_uvloop(job, one)


def picows_on_uvloop(job: Job) -> None:
    """picows, which calls back for each frame."""

    class Listener(picows.WSListener):
        def __init__(self) -> None:
            self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            del transport
            text = frame.msg_type == picows.WSMsgType.TEXT
            if text and job.clock.count(1, frame.get_payload_as_utf8_text()) and not self.done.done():
                self.done.set_result(None)

    async def one() -> None:
        ws_connect = cast("Any", picows).ws_connect  # its own signature is not typed to the end
        transport, listener = await ws_connect(Listener, job.url, ssl_context=job.tls)
        await listener.done
        transport.disconnect()

    _on_uvloop(job, one)


def _on_uvloop(job: Job, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        tasks = [asyncio.ensure_future(one()) for _ in range(job.connections)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=LONGEST)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    uvloop.run(main())


# -- the floor ------------------------------------------------------------------------------------------------------


def floor(job: Job) -> None:
    """epoll, ssl, and as little Python as finds out where a frame ends; no protocol, no deadline."""
    held: dict[int, tuple[socket.socket, bytes]] = {}
    try:
        with select.epoll() as poll:
            for _ in range(job.connections):
                sock, rest = _dialled(job)
                held[sock.fileno()] = sock, rest
                poll.register(sock, select.EPOLLIN)
            late = time.monotonic() + LONGEST
            while time.monotonic() < late:
                for number, _ in poll.poll(1):
                    if _drain(held, number, job.clock):
                        return
    finally:
        for sock, _ in held.values():
            sock.close()


def floor_on_trio(job: Job) -> None:
    """The same on trio: one task reads and cuts, another takes the messages."""

    async def one(nursery: trio.Nursery) -> None:
        sock, rest = _dialled(job)
        found: deque[list[str]] = deque()
        arrived = trio.lowlevel.ParkingLot()

        async def read(rest: bytes) -> None:
            waited = False
            with sock:
                while True:
                    try:
                        messages, rest = _cut(rest + sock.recv(65_536))
                        found.append(messages)
                        arrived.unpark()
                        if not waited:
                            await trio.lowlevel.checkpoint()
                        waited = False
                    except (ssl.SSLWantReadError, BlockingIOError):
                        await trio.lowlevel.wait_readable(sock)
                        waited = True

        nursery.start_soon(read, rest)
        while True:
            while not found:
                await arrived.park()
            messages = found.popleft()
            if messages and job.clock.count(len(messages), messages[-1]):
                nursery.cancel_scope.cancel()
                return

    trio.run(_all_on_trio, job, one)


def _dialled(job: Job) -> tuple[socket.socket, bytes]:
    host, path = job.url.partition("://")[2].split("/", 1)
    name, port = host.split(":")
    sock = socket.create_connection((name, int(port)))
    if (tls := job.tls) is not None:
        sock = tls.wrap_socket(sock, server_hostname=name)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"Host: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}"
    sock.sendall(f"GET /{path} HTTP/1.1\r\n{head}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(65_536)
    sock.setblocking(False)
    return sock, answer.partition(b"\r\n\r\n")[2]


def _drain(held: dict[int, tuple[socket.socket, bytes]], number: int, clock: Clock) -> bool:
    sock, rest = held[number]
    try:
        while piece := sock.recv(65_536):
            messages, rest = _cut(rest + piece)
            if messages and clock.count(len(messages), messages[-1]):
                return True
    except (ssl.SSLWantReadError, BlockingIOError):
        pass
    held[number] = sock, rest
    return False


def _cut(data: bytes) -> tuple[list[str], bytes]:
    found: list[str] = []
    at = 0
    while len(data) - at >= 4 and data[at] == 0x81:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
        if start + size > len(data):
            break
        found.append(data[start : start + size].decode())
        at = start + size
    return found, data[at:]


CLIENTS: dict[str, Client] = {
    "feedwarden, batches": our_batches,
    "feedwarden, messages": our_messages,
    "feedwarden, batches, checked": our_checked_batches,
    "feedwarden, messages, checked": our_checked_messages,
    "trio-websocket": trio_websocket_bare,
    "websockets.trio": websockets_on_trio,
    "websockets + uvloop": websockets_on_uvloop,
    "aiohttp + uvloop": aiohttp_on_uvloop,
    "picows + uvloop": picows_on_uvloop,
    "trio + ssl": floor_on_trio,
    "epoll + ssl": floor,
}
