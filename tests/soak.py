"""A hundred TLS feeds through the fault proxy on the real clock: run as a program, judged by the program.

``python -m tests.soak SECONDS [CHART]``. Each round is a time of faults, every kind of them, and then a calm in which
what is measured must be as it was in the rounds before. Exchange and proxy run in a process of their own, so that
memory, descriptors and CPU time here are the feeds' alone.
"""

import ctypes
import gc
import json
import os
import random
import ssl
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from actors.backoff import ReconnectStrategy
from actors.chaos import SIMULATED, SimulatedExchange, SimulatedVenue
from actors.chaos.plans import Plan, play
from actors.chaos.proxy import FaultProxy, draw_faults
from actors.chaos.tls import Authority
from actors.events import LinkState
from actors.exchange import Exchange
from actors.transport import SystemNetwork
from supervisors import Feeds, open_feeds
from tests.soak_verdict import Round, chart, complaints, growth, judged, rise

LIBC: Any = ctypes.CDLL(None)
"""What it has freed and kept for later, most of it of TLS handshakes, is given back before memory is measured."""
SETTLE = 2.5
"""Seconds after the heal in which a connection may still end, by a slow close that was under way."""
FEEDS = 100
RATE = 5.0
"""Messages a second of each feed."""


def say(text: str) -> None:
    """A line, at once."""
    print(text, flush=True)  # noqa: T201 - a program that tells what it has measured


async def serve() -> None:
    """Exchange and proxy: says where and the CA, then plays the faults of each seed that is asked for."""
    authority = Authority()
    context: ssl.SSLContext = authority.server_context("127.0.0.1")
    exchange = SimulatedExchange(SimulatedVenue(), rate=RATE, tls=context, keep=1000)
    async with exchange.serving(), FaultProxy("127.0.0.1", exchange.port, random=random.Random(1)).serving() as proxy:
        say(json.dumps({"port": proxy.port, "ca": authority.pem.decode()}))
        async with trio.lowlevel.FdStream(os.dup(0)) as asked:
            async for line in asked:
                seed, seconds = json.loads(line)
                await play(Plan(seed=seed, steps=draw_faults(seed, seconds)), {"proxy": proxy})
                proxy.heal()
                say("healed")


async def consume(feeds: Feeds, name: str) -> None:
    """Whatever comes."""
    async for _ in feeds[name].batches():
        pass


async def said(server: trio.Process, seconds: float) -> str:
    """The one line that the server says next, in so many seconds."""
    assert server.stdout is not None
    line = b""
    with trio.fail_after(seconds):
        while not line.endswith(b"\n"):
            line += await server.stdout.receive_some()
    return line.decode().rstrip()


def messages(feeds: Feeds) -> int:
    """Of all feeds."""
    return sum(feed.stats.messages for feed in feeds)


async def measured(feeds: Feeds, began: float, calm: float) -> Round:
    """All live again, a calm, and what stands at its end."""
    await trio.sleep(SETTLE)
    with trio.move_on_after(60):
        while not all(feed.stats.state is LinkState.LIVE for feed in feeds):  # noqa: ASYNC110 - many numbers, polled
            await trio.sleep(0.1)
    gc.collect()
    LIBC.malloc_trim(0)
    cpu, count = time.process_time(), messages(feeds)
    await trio.sleep(calm)
    cpu, count = time.process_time() - cpu, messages(feeds) - count
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])  # noqa: ASYNC240 - memory, no disk
    return Round(
        at=trio.current_time() - began,
        live=sum(feed.stats.state is LinkState.LIVE for feed in feeds),
        memory=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - what the kernel shows, counted
        blocks=sys.getallocatedblocks(),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        cpu=cpu / max(count, 1) * 1e6,
        messages=count,
        reconnects=sum(feed.stats.reconnect_count for feed in feeds),
    )


async def soak(exchange: Exchange, ca: bytes, server: trio.Process, seconds: float) -> list[Round]:
    """The rounds; each asks for faults, waits for the heal, and measures."""
    assert server.stdin is not None
    length = min(30.0, max(5.0, seconds / 12))
    rounds: list[Round] = []
    async with open_feeds(network=SystemNetwork(ca_pem=ca), random=random.Random(1)) as feeds:
        for _ in range(FEEDS):
            feeds.open(exchange, trade="BTC-USD")
        async with trio.open_nursery() as nursery:
            for feed in feeds:
                nursery.start_soon(consume, feeds, feed.name)
            for feed in feeds:
                await feed.live(60)
            began = trio.current_time()
            while trio.current_time() - began < seconds - length / 2:
                await server.stdin.send_all(f"{json.dumps([len(rounds) + 1, length / 2])}\n".encode())
                assert await said(server, length + 30) == "healed"
                rounds.append(await measured(feeds, began, length / 3))
                say(" ".join(f"{name}={value:g}" for name, value in attrs.asdict(rounds[-1]).items()))
            nursery.cancel_scope.cancel("the time is over")
    return rounds


async def watch(seconds: float) -> list[Round]:
    """The server's process beside the soak."""
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-m", "tests.soak", "serve"]
        start: Any = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        server: trio.Process = await nursery.start(start)
        place = json.loads(await said(server, 30))
        quick = ReconnectStrategy(initial_delay=0.05, max_delay=0.5)
        exchange = attrs.evolve(SIMULATED, ws_url=f"wss://127.0.0.1:{place['port']}/", reconnect=quick)
        rounds = await soak(exchange, place["ca"].encode(), server, seconds)
        nursery.cancel_scope.cancel("all is measured")
    return rounds


def main() -> int:
    """With ``serve``: exchange and proxy; else the soak, and its verdict as the exit code."""
    if sys.argv[1] == "serve":
        trio.run(serve)
        return 0
    rounds = trio.run(watch, float(sys.argv[1]))
    if len(sys.argv) > 2:
        file = Path(sys.argv[2])
        file.parent.mkdir(parents=True, exist_ok=True)
        title = f"{FEEDS} TLS feeds through the fault proxy, {rounds[-1].reconnects} reconnects"
        file.write_text(chart(rounds, title), encoding="utf-8")
        say(f"chart: {file}")
    wrong, last = complaints(rounds, FEEDS), judged(rounds)
    if len(last) >= 3:
        more = rise(last, lambda each: each.memory)
        say(f"memory {more:+.2f} MB over the judged rounds, CPU for a message x{growth(last):.2f}")
    for each in wrong:
        say(f"FAILED: {each}")
    say("failed" if wrong else "all as it was at the beginning")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
