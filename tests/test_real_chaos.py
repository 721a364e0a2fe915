"""What no simulation proves: signals, descriptors, a full disk, a blocked loop, and packets that the kernel drops."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.backoff import ReconnectStrategy
from actors.chaos import SIMULATED, SimulatedExchange, UpbitVenue, simulated_exchange
from actors.events import Event, Failed, Paused
from actors.items import Overflow
from actors.notifier import Letter, Severity
from actors.notifier.spool import Spool
from actors.transport import SystemNetwork
from supervisors import open_feeds
from tests.script import TLS, read_until, rest, running
from tests.soak import said
from tests.test_run import config_for

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@asynccontextmanager
async def watching(folder: Path) -> AsyncGenerator[tuple[SimulatedExchange, tuple[str, ...]]]:
    """An exchange, and the arguments of a script that keeps a feed of it."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        config_for(exchange, folder)
        arguments = ("run", "--config", str(folder / "feedwarden.toml"), "--state-dir", str(folder / "s"))
        yield exchange, arguments


# -- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_by_signal_amid_an_outage(number: signal.Signals, tmp_path: Path) -> None:
    """While the exchange refuses all, and after a SIGHUP, it ends within ten seconds, with 0, and without noise."""
    async with watching(tmp_path) as (exchange, arguments), running(*arguments, home=tmp_path) as child:
        await read_until(child.stderr, b'"event":"live"')
        exchange.refuse()
        exchange.reset()
        await read_until(child.stderr, b'"event":"down"')
        child.send_signal(signal.SIGHUP)
        child.send_signal(number)
        began = trio.current_time()
        said = await rest(child.stderr)
        assert await child.wait() == 0
        assert trio.current_time() - began < 10
        assert b"Traceback" not in said


async def test_a_process_that_was_frozen_comes_back(tmp_path: Path) -> None:
    """Six seconds of SIGSTOP, in which the connection is reset: after SIGCONT it sees that, and is live again."""
    async with watching(tmp_path) as (exchange, arguments), running(*arguments, home=tmp_path) as child:
        await read_until(child.stderr, b'"event":"live"')
        child.send_signal(signal.SIGSTOP)
        await trio.sleep(3)
        exchange.reset()
        await trio.sleep(3)
        child.send_signal(signal.SIGCONT)
        await read_until(child.stderr, b'"event":"down"', b'"event":"recovered"', seconds=10)
        child.send_signal(signal.SIGTERM)
        await rest(child.stderr)
        assert await child.wait() == 0


async def test_a_killed_process_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """After SIGKILL the next process starts in the same place, and is live."""
    async with watching(tmp_path) as (_, arguments):
        for number in (signal.SIGKILL, signal.SIGTERM):
            async with running(*arguments, home=tmp_path) as child:
                await read_until(child.stderr, b'"event":"live"')
                child.send_signal(number)
                assert await child.wait() == (-9 if number == signal.SIGKILL else 0)


# -- what the kernel gives out


async def test_no_descriptors_left(tmp_path: Path) -> None:
    """Under an RLIMIT_NOFILE that is used up, it goes on trying, and is live when there are some again."""
    async with watching(tmp_path) as (exchange, arguments), running(*arguments, home=tmp_path) as child:
        await read_until(child.stderr, b'"event":"live"')
        usual = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (5, usual[1]))
        exchange.reset()
        said = await read_until(child.stderr, b'"event":"down"', b"Too many open files")
        assert b"Traceback" not in said
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, usual)
        await read_until(child.stderr, b'"event":"recovered"', seconds=40)
        child.send_signal(signal.SIGTERM)
        assert b"Traceback" not in await rest(child.stderr)
        assert await child.wait() == 0


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """A file system of 256 KiB; skips where it cannot be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="a full disk needs root and mount")
async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Alerts that no longer fit are kept in memory, it is told once, and nothing raises; what fitted is there later."""
    told: list[str] = []
    letter = Letter(f"{1:010x}", Severity.WARNING, "text", 1)
    with small_disk(tmp_path) as disk:
        async with Spool(disk / "spool.sqlite3", told.append) as spool:
            assert await spool.add([("a", letter)]) == [1]
            free = os.statvfs(disk)
            (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize))
            big = attrs.evolve(letter, text="x" * 100_000)
            assert await spool.add([("a", big)]) == [0]
            assert await spool.add([("a", big)]) == [0]
            await spool.remove([0])
        assert len(told) == 1
        (disk / "ballast").unlink()
        async with Spool(disk / "spool.sqlite3", told.append) as spool:
            assert [each.key for each in await spool.load()] == [1]


# -- time


async def test_a_loop_that_was_blocked_goes_on() -> None:
    """Seconds in which nothing of ours runs, around and beyond each timeout: the link is kept, and each is told of."""
    seen: list[Event] = []

    def hook(event: Event) -> None:
        if isinstance(event, Failed | Paused):
            seen.append(event)

    async with exchange_elsewhere() as (url, ca):
        impatient = attrs.evolve(
            SIMULATED,
            ws_url=url,
            ping_interval=1.0,
            ping_timeout=2.0,
            link_timeout=4.0,
            message_timeout=4.5,
            health_check_interval=1.0,
            reconnect=ReconnectStrategy(initial_delay=0.1, max_delay=1.0),
        )
        async with open_feeds(network=SystemNetwork(ca_pem=ca), on_event=hook) as feeds:
            feed = feeds.open(impatient, trade="BTC-USD", overflow=Overflow("drop_oldest", 10))
            await feed.live(10)
            for seconds in (2.1, 2.9, 3.7, 5.0):
                time.sleep(seconds)  # noqa: ASYNC251 - what a consumer must never do is the point
                await trio.sleep(0.2)
                await feed.live(5)
                messages = feed.stats.messages
                await trio.sleep(2)
                assert feed.stats.messages > messages
    assert [type(event) for event in seen] == [Paused] * 4


@asynccontextmanager
async def exchange_elsewhere() -> AsyncGenerator[tuple[str, bytes]]:
    """An exchange in a process of its own, which goes on while this loop is blocked: its URL, and its CA."""
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-m", "tests.soak", "serve"]
        start: Any = partial(trio.run_process, command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        server: trio.Process = await nursery.start(start)
        place = json.loads(await said(server, 30))
        yield f"wss://127.0.0.1:{place['port']}/", place["ca"].encode()
        nursery.cancel_scope.cancel("the test is over")


async def test_packets_that_the_kernel_drops() -> None:
    """In a namespace of its own: by the ping's deadlines it is noticed, dials are silent, and then it is live again."""
    if shutil.which("iptables") is None or shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("dropping packets needs root, unshare and iptables")
    command = ["unshare", "--net", sys.executable, "-m", "tests.black_hole"]
    done = await trio.run_process(command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode and b"unshare failed" in done.stderr:
        pytest.skip(f"no namespace can be made here: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["reasons"] == ["ping_timeout", "connect_timeout"]
    assert found["noticed"] <= 5
    assert found["back"] <= 10
