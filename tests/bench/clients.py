"""Clients that take so many messages off the wire: ours, bare trio-websocket, and a bare loop as the floor."""

import base64
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import attrs
import trio
import trio_websocket

from actors import Feed, Message
from actors.exchanges import GENERIC
from actors.items import Batch
from actors.transport import SystemNetwork
from supervisors import open_feeds


@attrs.define
class Clock:
    """The process's CPU time for each message, the first twentieth of them left out."""

    messages: int
    seen: int = 0
    started: float = 0.0
    since: int = 0
    cost: float = 0.0
    """Microseconds a message, once all have come."""

    def count(self, number: int) -> bool:
        """So many have come; True once they are all there."""
        self.seen += number
        if not self.since and self.seen >= self.messages // 20:
            self.since, self.started = self.seen, time.process_time()
        if self.seen < self.messages:
            return False
        self.cost = (time.process_time() - self.started) / (self.seen - self.since) * 1e6
        return True


async def _ours(url: str, ca: str, consume: Callable[[Feed], Any]) -> None:
    async with open_feeds(network=SystemNetwork(ca_pem=ca.encode())) as feeds:
        await consume(feeds.open(attrs.evolve(GENERIC, ws_url=url)))


def our_batches(url: str, ca: str, clock: Clock) -> None:
    """A supervised feed, its consumer iterating over batches."""

    async def consume(feed: Feed) -> None:
        async for item in feed.batches():
            if isinstance(item, Batch) and clock.count(len(item.frames)):
                return

    trio.run(_ours, url, ca, consume)


def our_messages(url: str, ca: str, clock: Clock) -> None:
    """The same, its consumer iterating over messages."""

    async def consume(feed: Feed) -> None:
        async for item in feed:
            if isinstance(item, Message) and clock.count(1):
                return

    trio.run(_ours, url, ca, consume)


def bare_trio_websocket(url: str, ca: str, clock: Clock) -> None:
    """trio-websocket as it comes, without supervision, pings, clocks or a feed."""

    async def main() -> None:
        context = ssl.create_default_context(cadata=ca)
        async with trio_websocket.open_websocket_url(url, ssl_context=context) as ws:
            while True:
                await ws.get_message()
                if clock.count(1):
                    return

    trio.run(main)


def floor(url: str, ca: str, clock: Clock) -> None:
    """epoll, ssl, and as little Python as finds out where a frame ends; no protocol, no deadline."""
    host, path = url.removeprefix("wss://").split("/", 1)
    name, port = host.split(":")
    context = ssl.create_default_context(cadata=ca)
    with socket.create_connection((name, int(port))) as raw, context.wrap_socket(raw, server_hostname=name) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"Host: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}"
        sock.sendall(f"GET /{path} HTTP/1.1\r\n{head}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        held = b""
        while b"\r\n\r\n" not in held:
            held += sock.recv(65_536)
        held = held.partition(b"\r\n\r\n")[2]
        sock.setblocking(False)
        with select.epoll() as poll:
            poll.register(sock, select.EPOLLIN)
            while True:
                poll.poll()
                try:
                    while piece := sock.recv(65_536):
                        messages, held = _cut(held + piece)
                        if clock.count(len(messages)):
                            return
                except ssl.SSLWantReadError:
                    pass


def _cut(data: bytes) -> tuple[list[str], bytes]:
    found: list[str] = []
    at = 0
    while len(data) - at >= 4 and data[at] == 0x81:
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4])
        if end > len(data):
            break
        found.append(data[at + 4 : end].decode())
        at = end
    return found, data[at:]
