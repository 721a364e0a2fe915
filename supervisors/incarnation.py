"""One run of a child: its shielded scope, its task, and the context through which it speaks to its supervisor."""

from collections.abc import Awaitable
from typing import Any, Protocol

import trio

from actors.actor import Context
from supervisors.child import Child, Runnable


class Listener(Protocol):
    """What a context speaks to: the supervisor's inbox."""

    def post_ready(self, child: Child, incarnation: int, value: Any) -> None:
        """The incarnation has started."""

    def post_healthy(self, child: Child, incarnation: int) -> None:
        """The incarnation is healthy."""


class Incarnation:
    """One run of a child. Its scope is shielded: only the supervisor cancels it."""

    __slots__ = ("_run", "abandoned", "child", "context", "number", "scope", "task")

    def __init__(self, listener: Listener, child: Child, run: Runnable) -> None:
        self.child = child
        self.number = child.incarnation
        self.scope = trio.CancelScope(shield=True)
        self.context = _Context(listener, child)
        self.task: trio.lowlevel.Task | None = None
        self.abandoned = False
        """Whether the supervisor's brain has died, so that a cancel is nobody's verdict any more."""
        self._run: Runnable | None = run

    def begin(self) -> Awaitable[None]:
        """The run itself, once; nothing of it is kept here, so that its arguments live as long as it needs them."""
        run, self._run = self._run, None
        assert run is not None  # noqa: S101 - an incarnation is begun once
        return run(task_status=self.context)

    def abandon(self, why: str) -> None:
        """Leave it to whoever cancels from outside."""
        self.abandoned = True
        self.scope.shield = False
        self.scope.cancel(why)


class _Context(Context):
    """Knows the child, not the incarnation's record: a cycle here would keep every ended session until a collection."""

    def __init__(self, listener: Listener, child: Child) -> None:
        super().__init__()
        self.incarnation = child.incarnation
        self._listener = listener
        self._child = child
        self._started = self._healthy = False

    def started(self, value: Any = None) -> None:
        if self._started:
            raise RuntimeError("started() was called twice")
        self._started = True
        self._listener.post_ready(self._child, self.incarnation, value)

    def healthy(self) -> None:
        if not self._healthy:
            self._healthy = True
            self._listener.post_healthy(self._child, self.incarnation)
