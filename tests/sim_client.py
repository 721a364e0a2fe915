"""A client for tests of the simulated servers: trio-websocket over a stream that notes how TCP ended."""

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
import trustme
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from actors.chaos import MemoryNetwork, Server

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: exchange.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Ear(trio.abc.Stream):
    """Passes everything on, and notes how the connection ended: ``eof`` or ``broken``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.end = ""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self.end = self.end or "broken"
            raise
        if not data:
            self.end = self.end or "eof"
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Client:
    """One WebSocket connection."""

    def __init__(self, ws: WebSocketConnection, ear: Ear) -> None:
        self.ws = ws
        self.ear = ear
        self.heard: list[str | bytes] = []

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.ws.send_message(message)

    async def next(self, seconds: float = 10) -> str | bytes:
        """The next message."""
        with trio.fail_after(seconds):
            message = await self.ws.get_message()
        self.heard.append(message)
        return message

    async def json(self, seconds: float = 10) -> Any:
        """The next message, decoded."""
        return json.loads(await self.next(seconds))

    async def silence(self, seconds: float) -> None:
        """Assert that nothing arrives for so long."""
        with trio.move_on_after(seconds):
            raise AssertionError(f"unexpected: {await self.ws.get_message()!r}")

    async def listen(self, seconds: float) -> list[str | bytes]:
        """What arrives within so many seconds, or until the end."""
        begun = len(self.heard)
        with trio.move_on_after(seconds):
            await self.ended(seconds)
        return self.heard[begun:]

    async def ended(self, seconds: float = 10) -> int:
        """The close code with which the connection ends; messages before that are heard."""
        with trio.fail_after(seconds + 0.001):
            while True:
                try:
                    self.heard.append(await self.ws.get_message())
                except ConnectionClosed as closed:
                    return closed.reason.code if closed.reason is not None else 0


@asynccontextmanager
async def over(stream: trio.abc.Stream, path: str = "/") -> AsyncGenerator[Client]:
    """A WebSocket over ``stream``."""
    ear = Ear(stream)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        with trio.fail_after(10):
            ws = await wrap_client_stream(nursery, cast("Any", ear), "exchange.test", path, message_queue_size=100_000)
        try:
            yield Client(ws, ear)
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


@asynccontextmanager
async def connected(server: Server, path: str = "/", tls: ssl.SSLContext | None = None) -> AsyncGenerator[Client]:
    """A WebSocket to a server on loopback."""
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
    async with over(stream, path) as client:
        yield client


@asynccontextmanager
async def routed(network: MemoryNetwork, host: str, path: str = "/") -> AsyncGenerator[Client]:
    """A WebSocket over a network in memory."""
    (address,) = await network.resolve(host, 443)
    async with over(await network.connect(address), path) as client:
        yield client


async def upgrade(stream: trio.abc.Stream, path: str = "/") -> tuple[int, dict[str, str]]:
    """Ask for the upgrade by hand: status and headers of the answer."""
    await stream.send_all(UPGRADE.format(path=path).encode())
    answer = b""
    with trio.fail_after(5):
        while b"\r\n\r\n" not in answer:
            piece = await stream.receive_some()
            assert piece, f"ended after {answer!r}"
            answer += piece
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers


def server_and_client_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that trusts its certificate."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL is not installed
    client = ssl.create_default_context()
    authority.configure_trust(client)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL is not installed
    return server, client
