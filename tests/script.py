"""Running the script: as a process of its own, or inside a test with pipes for standard output and error."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from actors.chaos.tls import Authority
from actors.transport import SystemNetwork
from supervisors.standalone.sinks import Sink

COMMAND = (sys.executable, "-m", "supervisors")

AUTHORITY = Authority()
TLS = AUTHORITY.server_context("127.0.0.1")


def network() -> SystemNetwork:
    """One that trusts the servers of these tests."""
    return SystemNetwork(ca_pem=AUTHORITY.pem)


@attrs.frozen
class Outcome:
    """What came of a run."""

    code: int
    out: bytes
    err: bytes

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of standard error."""
        return json.loads(self.err.splitlines()[-1])

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The lines of standard output that have this type."""
        return [line for line in self.lines if line["type"] == kind]


async def inside(act: Callable[[Sink, Sink], Awaitable[int]]) -> Outcome:
    """Run a command inside this process, both its outputs read as they come; what it raises comes out bare."""
    kept: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    code = -1
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        ends: dict[str, int] = {}
        for name, into in kept.items():
            reader, ends[name] = os.pipe()
            nursery.start_soon(_read, reader, into)
        try:
            code = await act(Sink(ends["out"]), Sink(ends["err"]))
        except Exception as error:
            failure = error
        finally:
            for end in ends.values():
                os.close(end)
    if failure is not None:
        raise failure
    return Outcome(code, bytes(kept["out"]), bytes(kept["err"]))


async def _read(fd: int, into: bytearray) -> None:
    async with trio.lowlevel.FdStream(fd) as stream:
        async for data in stream:
            into += data


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person on a machine of their own, without what a service manager adds."""
    managed = ("INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST", "STATE_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if name not in managed}
    return {**kept, "HOME": str(home), **more}


async def script(*arguments: str, home: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
    """Run the script as a process until it ends."""
    done = await trio.run_process(
        [*COMMAND, *arguments],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(home, **(env or {})),
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@asynccontextmanager
async def running(
    *arguments: str,
    home: Path,
    env: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[trio.Process]:
    """Run the script, or another command, as a process beside the body; what still runs at the end is killed."""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            [*command, *arguments],
            stdin=b"",
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(home, **(env or {})),
        )
        process: trio.Process = await nursery.start(run)
        yield process
        nursery.cancel_scope.cancel("the test is over")


async def read_until(stream: trio.abc.ReceiveStream | None, *wanted: bytes, seconds: float = 20) -> bytes:
    """What a process writes until all of ``wanted`` are in it."""
    assert stream is not None
    seen = b""
    with trio.fail_after(seconds):
        while not all(text in seen for text in wanted):
            data = await stream.receive_some()
            assert data, f"ended before {wanted}: {seen!r}"
            seen += data
    return seen


async def rest(stream: trio.abc.ReceiveStream | None) -> bytes:
    """What a process still writes until it ends."""
    assert stream is not None
    with trio.fail_after(20):
        return b"".join([data async for data in stream])


def ca_file(folder: Path) -> str:
    """The authority of these tests as a file."""
    file = folder / "ca.pem"
    file.write_bytes(AUTHORITY.pem)
    return str(file)
