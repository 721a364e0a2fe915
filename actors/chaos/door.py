"""A port on loopback that can be shut for a while and stays ours."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import trio

HOST = "127.0.0.1"
"""Everything here listens on loopback only."""


class Door:
    """Listens on loopback; shut, it refuses connects as a port does where nobody listens.

    Args:
        port: The TCP port, 0 for any free one.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        """The port that is listened on, once :meth:`serve` has started."""
        self._listening = trio.CancelScope()
        self._knock = trio.Event()
        self._shut_until = -math.inf

    async def serve(
        self,
        handle: Callable[[trio.SocketStream], Awaitable[object]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Handle each connection in a task of its own, until cancelled; ``started`` once connects are accepted.

        Raises:
            OSError: the port cannot be listened on.
        """
        # bound and never listening, `place` keeps the port ours while the door is shut
        with trio.socket.socket() as place:
            place.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
            await place.bind((HOST, self.port))
            self.port = place.getsockname()[1]
            listeners = await trio.open_tcp_listeners(self.port, host=HOST)
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    with self._listening:
                        if not listeners:
                            listeners = await trio.open_tcp_listeners(self.port, host=HOST)
                        await trio.serve_listeners(handle, listeners, handler_nursery=nursery)
                    listeners = []
                    self._listening = trio.CancelScope()
                    while trio.current_time() < self._shut_until:
                        self._knock = trio.Event()
                        with trio.move_on_at(self._shut_until):
                            await self._knock.wait()

    def shut(self, seconds: float = math.inf) -> None:
        """Refuse connects for so long. Connections that are open live on."""
        self._shut_until = trio.current_time() + seconds
        self._listening.cancel("shut by a fault")
        self._knock.set()

    def open(self) -> None:
        """Accept connects again."""
        self._shut_until = -math.inf
        self._knock.set()


@asynccontextmanager
async def beside(run: Callable[..., Awaitable[Any]]) -> AsyncGenerator[None]:
    """Have something run, once it has started, while the body does. The body's own exception comes out bare."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        try:
            yield
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel("the body has ended")
    if failure is not None:
        raise failure
