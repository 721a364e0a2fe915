"""The control socket: one line of JSON to the running process, one back. ``feedwarden status`` asks by it.

It lies in the state directory, is the user's alone (0600), and a lock beside it tells a live process from a dead one.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from supervisors.standalone.lines import line
from supervisors.standalone.mistakes import BadInput

SOCKET = "control.sock"
LOCK = "control.lock"
DEADLINE = 5.0
"""Seconds for question and answer."""
MAX_QUESTION = 4096
MAX_ANSWER = 16 << 20
MAX_PATH = 107
"""Bytes of a socket's path (unix(7): sun_path)."""
MAX_CALLERS = 16

Answers = Mapping[str, Callable[..., dict[str, Any]]]
"""The commands that are answered; whatever else stands in a question is given by name."""


def state_dir(option: Path | None, configured: Path | None, environment: Mapping[str, str]) -> Path:
    """Where the process keeps its state: the option's place, the configuration's, systemd's, or the user's own."""
    if option or configured:
        return option or configured or Path()
    if "STATE_DIRECTORY" in environment:
        # systemd separates several by colons (systemd.exec(5))
        return Path(environment["STATE_DIRECTORY"].partition(":")[0])
    return Path("~/.local/state/feedwarden").expanduser()


class Control:
    """The listening end; ``async with`` it for as long as the process lives.

    Args:
        folder: The state directory; made if it is not there, for its user only.

    Raises:
        BadInput: on entering: the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SOCKET
        self._folder = folder
        self._lock = -1
        self._listener: trio.SocketListener | None = None

    async def __aenter__(self) -> Self:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._listener = await self._listen()
        except BlockingIOError:
            self._release()
            raise BadInput(f"another feedwarden runs with the state directory {self._folder}; {_ELSE}") from None
        except OSError as error:
            self._release()
            raise BadInput(f"state directory {self._folder}: {error.strerror}; {_ELSE}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.path.unlink()
        self._release()

    async def run(self, answers: Answers, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        assert self._listener is not None, "entered before"  # noqa: S101 - a bug of the caller
        callers = trio.CapacityLimiter(MAX_CALLERS)
        await trio.serve_listeners(partial(_serve, answers, callers), [self._listener], task_status=task_status)

    async def _listen(self) -> trio.SocketListener:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise OSError(0, f"{SOCKET} is there and no socket")
            self.path.unlink()  # left by a dead process: the lock is ours
        server = trio.socket.socket(trio.socket.AF_UNIX)
        try:
            before = os.umask(0o177)
            try:
                with _reachable(self._folder) as path:
                    await server.bind(path)
            finally:
                os.umask(before)
            server.listen(MAX_CALLERS)
        except BaseException:
            server.close()
            raise
        return trio.SocketListener(server)

    def _release(self) -> None:
        if self._listener is not None:
            self._listener.socket.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def _reachable(folder: Path) -> Generator[str]:
    """A path to the socket in ``folder`` that is short enough; a long one leads through an open descriptor."""
    path = os.fspath(folder / SOCKET)
    if len(os.fsencode(path)) <= MAX_PATH:
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


_ELSE = "choose another one with --state-dir"


class NotRunning(Exception):
    """No process answers in that state directory."""


async def ask(folder: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """What the process with that state directory answers to ``command``; raises NotRunning."""
    path = folder / SOCKET
    try:
        with trio.fail_after(DEADLINE):
            with _reachable(folder) as short:
                stream = await trio.open_unix_socket(short)
            async with stream:
                await stream.send_all(line({"command": command, **arguments}))
                answer = await _line(stream, MAX_ANSWER)
    except (OSError, trio.BrokenResourceError):
        raise NotRunning(f"no feedwarden runs with the state directory {folder}") from None
    except trio.TooSlowError:
        raise NotRunning(f"the feedwarden with the state directory {folder} does not answer") from None
    try:
        return json.loads(answer)
    except ValueError:
        raise NotRunning(f"what listens at {path} is no feedwarden") from None


async def _serve(answers: Answers, callers: trio.CapacityLimiter, stream: trio.SocketStream) -> None:
    async with stream:
        try:
            callers.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            return
        try:
            with trio.move_on_after(DEADLINE), suppress(trio.BrokenResourceError):
                await stream.send_all(line(_answer(answers, await _line(stream, MAX_QUESTION))))
        finally:
            callers.release_on_behalf_of(stream)


def _answer(answers: Answers, question: bytes) -> dict[str, Any]:
    try:
        arguments = json.loads(question)
        return answers[arguments.pop("command")](**arguments)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {"error": f'ask like {{"command": "{next(iter(answers))}"}}; there are: {", ".join(answers)}'}


async def _line(stream: trio.SocketStream, most: int) -> bytes:
    received = bytearray()
    while b"\n" not in received and len(received) <= most:
        data = await stream.receive_some()
        if not data:
            break
        received += data
    return bytes(received[:most]).partition(b"\n")[0]
