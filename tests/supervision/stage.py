"""The stage on which supervisors are tested: puppets that act as told, and a log of what happened."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
import trio.testing

from actors.actor import NO_CONTEXT, Context
from actors.backoff import ReconnectStrategy
from actors.errors import ConnectorError, NetworkError, Reason
from actors.events import ChildEvent, Event
from supervisors import ChildSpec, ChildState, Supervisor

EXACT = ReconnectStrategy(initial_delay=1, max_delay=8, multiplier=2, jitter=0, reset_after=60)


class Puppet:
    """An actor whose every incarnation does the next thing on its list, then what the last one did."""

    def __init__(self, *acts: Callable[[Context], Awaitable[None]], name: str = "puppet") -> None:
        self.name = name
        self.acts = acts
        self.runs: list[float] = []
        self.ends: list[float] = []
        self.context = NO_CONTEXT

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        self.context = task_status
        act = self.acts[min(len(self.runs), len(self.acts) - 1)]
        self.runs.append(trio.current_time())
        try:
            await act(task_status)
        finally:
            self.ends.append(trio.current_time())


class Doll(Puppet):
    """An actor that is up until it is told to end, with an error or without."""

    def __init__(self, name: str = "doll", says: Callable[[Context], Any] | None = None) -> None:
        super().__init__(self._obey, name=name)
        self._says = says
        self._told = trio.Event()
        self._error: BaseException | None = None

    async def _obey(self, context: Context) -> None:
        self._told = told = trio.Event()
        self._error = None
        context.started(self._says(context) if self._says else self.name)
        await told.wait()
        if self._error is not None:
            raise self._error

    async def end(self, error: BaseException | None = None) -> None:
        """Let the incarnation that is up end, and everything follow that follows at once."""
        self._error = error
        self._told.set()
        await settle()

    @property
    def is_up(self) -> bool:
        """Whether an incarnation runs."""
        return len(self.runs) > len(self.ends)


Act = Callable[[Context], Awaitable[None]]


async def live(context: Context) -> None:
    context.started("here")
    await trio.sleep_forever()


def fail(error: Exception, *, at: float = 0.0, healthy: bool = False) -> Callable[[Context], Awaitable[None]]:
    async def act(context: Context) -> None:
        context.started()
        if healthy:
            context.healthy()
        await trio.sleep(at)
        raise error

    return act


async def finish(context: Context) -> None:
    context.started()
    await trio.lowlevel.checkpoint()


async def ignore(context: Context) -> None:
    await trio.lowlevel.checkpoint()


async def fail_to_start(context: Context) -> None:
    await trio.lowlevel.checkpoint()
    raise RuntimeError("no start")


async def never_start(context: Context) -> None:
    await trio.sleep_forever()


def stubborn(seconds: float) -> Callable[[Context], Awaitable[None]]:
    async def act(context: Context) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)

    return act


def lost(reason: Reason = Reason.EOF) -> ConnectorError:
    return NetworkError(reason, "gone")


def spec(puppet: Puppet, **fields: Any) -> ChildSpec:
    settings: dict[str, Any] = {"id": puppet.name, "run": puppet.run, "strategy": EXACT, **fields}
    return ChildSpec(**settings)


class Stage:
    """A supervisor in a nursery, with the log of its events."""

    def __init__(self, nursery: trio.Nursery, *specs: ChildSpec, **options: Any) -> None:
        self.log: list[Event] = []
        self.supervisor = Supervisor("top", specs, emit=self.log.append, random=random.Random(1), **options)
        self.error: BaseException | None = None
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.context = _Started()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            try:
                await self.supervisor.run(task_status=self.context)
            except Exception as error:
                self.error = error
            finally:
                self.ended.set()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.log if isinstance(event, kind)]

    def state(self, id: str) -> ChildState:
        return next(child.state for child in self.supervisor.which_children() if child.id == id)

    @property
    def ids(self) -> list[str]:
        return [child.id for child in self.supervisor.which_children()]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """As OTP's suite reads them: specs, active, supervisors, workers."""
        return attrs.astuple(self.supervisor.count_children())  # pyright: ignore[reportReturnType] - four integers

    def told(self, *kinds: type[Event]) -> list[str]:
        """The events of these kinds in order, as ``Kind child``."""
        return [
            f"{type(event).__name__} {event.child}"
            for event in self.log
            if isinstance(event, ChildEvent) and isinstance(event, kinds)
        ]

    async def stop(self) -> None:
        """Stop the supervisor, and wait until it has ended."""
        self.supervisor.stop()
        await self.ended.wait()


class _Started(Context):
    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def started(self, value: Any = None) -> None:
        self.at.append(trio.current_time())


async def after(seconds: float) -> None:
    """Let time pass, then everything that follows at once."""
    await trio.sleep(seconds)
    await settle()


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()
