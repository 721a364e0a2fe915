"""What connections cost that say nothing: memory each, and how many can be opened in a second."""

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import aiohttp
import attrs
import picows
import trio
import trio_websocket
import uvloop
from websockets.asyncio.client import connect as connect_asyncio

from actors.exchange import Exchange, Subscription
from actors.exchanges import GENERIC
from actors.transport import SystemNetwork
from supervisors import open_feeds
from tests.bench.clients import CHECKED, OPEN, TRADES, Job, Stopwatch
from tests.bench.wire import Place

PAGE = resource.getpagesize()
WARM = 10
"""Connections that are opened before the first look at the memory."""
OWNERS = (
    ("feedwarden", r"/(actors|supervisors)/"),
    ("trio", r"/trio/|attrs generated methods trio\."),
    ("trio-websocket and wsproto", r"/(trio_websocket|wsproto|h11)/"),
    ("else", ""),
)
"""Whose line made an object, by its file."""


@attrs.frozen
class Idle:
    """Bytes of memory a connection, and connections opened in a second, one process for all."""

    memory: float
    opened: float
    held: dict[str, float] = attrs.field(factory=dict[str, float])
    """Bytes of Python's objects a connection, by whose they are; empty if they were not traced."""


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def ours(job: Job, profile: Exchange = GENERIC, wanted: tuple[Subscription, ...] = ()) -> Idle:
    """Supervised feeds, each with its connector, ping loop and health check."""
    found: list[Idle] = []

    async def main() -> None:
        patient = {"link_timeout": 0, "message_timeout": 0, "subscribe_timeout": 3600}  # for what never comes
        exchange = attrs.evolve(profile, ws_url=job.url, limits=OPEN, **patient)
        async with open_feeds(network=SystemNetwork(ca_pem=job.ca.encode())) as feeds:

            async def open_some(number: int) -> None:
                for feed in [feeds.open(exchange, *wanted) for _ in range(number)]:
                    while feed.stats.connection_start_time is None:  # noqa: ASYNC110 - live needs a frame, and none comes
                        await trio.sleep(0.001)

            found.append(await _measured(open_some, job.connections))

    trio.run(main)
    return found[0]


def ours_checked(job: Job) -> Idle:
    """The same of a profile that knows its messages, with its checks for silence and sequence on."""
    return ours(job, CHECKED, TRADES)


def bare_trio_websocket(job: Job) -> Idle:
    """trio-websocket with its reader, and nothing around it."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def one(task_status: trio.TaskStatus[None]) -> None:
                async with trio_websocket.open_websocket_url(job.url, ssl_context=job.tls) as ws:
                    task_status.started()
                    await ws.get_message()

            async def open_some(number: int) -> None:
                async with trio.open_nursery() as opening:
                    for _ in range(number):
                        opening.start_soon(nursery.start, one)

            found.append(await _measured(open_some, job.connections))
            nursery.cancel_scope.cancel()

    found: list[Idle] = []
    trio.run(main)
    return found[0]


async def _measured(open_some: Callable[[int], Awaitable[None]], number: int) -> Idle:
    await open_some(WARM)
    known = held()
    before, began = resident(), time.monotonic()
    await open_some(number)
    memory, seconds = resident() - before, time.monotonic() - began
    return Idle(memory / number, number / seconds, {owner: (n - known[owner]) / number for owner, n in held().items()})


def held() -> Counter[str]:
    """Bytes of Python's objects by their owner, while they are traced."""
    found = Counter[str]()
    for each in tracemalloc.take_snapshot().statistics("filename") if tracemalloc.is_tracing() else ():
        file = each.traceback[0].filename
        found[next(owner for owner, pattern in OWNERS if re.search(pattern, file))] += each.size
    return found


def _on_uvloop(connect: Callable[[list[Any]], Coroutine[Any, Any, object]], number: int) -> Idle:
    async def main() -> Idle:
        kept: list[Any] = []

        async def open_some(number: int) -> None:
            kept.extend(await asyncio.gather(*(connect(kept) for _ in range(number))))

        return await _measured(open_some, number)

    return uvloop.run(main())


def websockets_on_uvloop(job: Job) -> Idle:
    """websockets for asyncio."""

    async def connect(kept: list[Any]) -> object:
        del kept
        return await connect_asyncio(job.url, ssl=job.tls, compression=None, open_timeout=60)

    return _on_uvloop(connect, job.connections)


def aiohttp_on_uvloop(job: Job) -> Idle:
    """aiohttp, one client session for all."""

    async def connect(kept: list[Any]) -> object:
        if not kept:
            kept.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        return await cast("aiohttp.ClientSession", kept[0]).ws_connect(job.url, ssl=job.tls or True)

    return _on_uvloop(connect, job.connections)


def picows_on_uvloop(job: Job) -> Idle:
    """picows."""

    async def connect(kept: list[Any]) -> object:
        del kept
        ws_connect = cast("Any", picows).ws_connect
        return await ws_connect(picows.WSListener, job.url, ssl_context=job.tls, websocket_handshake_timeout=60)

    return _on_uvloop(connect, job.connections)


CLIENTS: dict[str, Callable[[Job], Idle]] = {
    "feedwarden, supervised": ours,
    "feedwarden, supervised, checked": ours_checked,
    "trio-websocket": bare_trio_websocket,
    "websockets + uvloop": websockets_on_uvloop,
    "aiohttp + uvloop": aiohttp_on_uvloop,
    "picows + uvloop": picows_on_uvloop,
}


def measure(name: str, number: int, place: Place, *, trace: bool = False) -> Idle:
    """One client with so many connections, in a process of its own; tracing its objects takes memory of its own."""
    tracing = ["-X", "tracemalloc"] if trace else []
    command = [sys.executable, *tracing, "-m", "tests.bench.idle", name, str(number), json.dumps(attrs.asdict(place))]
    done = subprocess.run(command, capture_output=True, check=True)
    return Idle(*json.loads(done.stdout.splitlines()[-1]))


def main(name: str, number: int, place: Place) -> None:
    """Measure here, and say what was found."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    job = Job(f"wss://localhost:{place.wss}/0/0/0/300", place.ca, number, Stopwatch(0))
    found = CLIENTS[name](job)
    sys.stdout.write(f"{json.dumps([found.memory, found.opened, found.held])}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Place(**json.loads(sys.argv[3])))
