"""The actor kit: a named service with a context, and its bounded mailbox."""

import enum
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

T = TypeVar("T")
A = TypeVar("A")


class Context(trio.TaskStatus[Any]):
    """What a running actor may say to its supervisor, and hear from it. This one says and hears nothing."""

    incarnation: int = 1
    """The number of this run, from 1."""

    def __init__(self) -> None:
        self.stopping = trio.Event()
        """Set when the actor should come to an end by itself: it has its ``drain`` seconds before the cancel."""

    def started(self, value: Any = None) -> None:
        """Tell that the actor accepts messages (not that it is connected to anything)."""

    def healthy(self) -> None:
        """Tell that the actor does what it is for (a connector: data flows)."""


NO_CONTEXT = Context()
"""The default: an actor that runs without a supervisor."""


class Actor(Protocol):
    """A named service that may be run more than once.

    ``run`` cleans its own state at the top (this may be a restart), does not return before it has really stopped,
    and says how it ended: returning = done, raising = failed, :class:`~actors.errors.GiveUp` = do not restart me,
    :class:`~actors.errors.Escalate` = my supervisor must fail too.
    """

    @property
    def name(self) -> str:
        """Unique among its siblings."""
        ...

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Do the work until done or cancelled."""
        ...


class MailboxFull(Exception):
    """The mailbox is at its bound and its policy refuses the message."""


class ActorEnded(Exception):
    """The incarnation that took the question has ended without an answer, or the mailbox is closed."""


class Overflow(enum.Enum):
    """What happens to a message for which there is no room."""

    REJECT = "reject"
    DROP_OLDEST = "drop_oldest"
    BLOCK = "block"


@attrs.define(eq=False)
class Reply(Generic[A]):
    """The one-shot answer to a question. The first of :meth:`answer` and :meth:`fail` counts."""

    _done: trio.Event = attrs.field(factory=trio.Event, init=False)
    _value: list[A] = attrs.field(factory=list[A], init=False)
    _error: Exception | None = attrs.field(default=None, init=False)

    @property
    def answered(self) -> bool:
        """Whether an answer or a failure is there."""
        return self._done.is_set()

    def answer(self, value: A) -> None:
        """Give the answer."""
        if not self.answered:
            self._value.append(value)
            self._done.set()

    def fail(self, error: Exception) -> None:
        """Let the caller's ``ask`` raise ``error``."""
        if not self.answered:
            self._error = error
            self._done.set()

    async def wait(self) -> A:
        """The answer, when it is there; raises what :meth:`fail` was given."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]


class Mailbox(Generic[T]):
    """A bounded queue of messages for one actor, which survives the actor's incarnations.

    Args:
        capacity: The most messages that wait; at least 1.
        overflow: What happens to a message for which there is no room.
    """

    def __init__(self, capacity: int, overflow: Overflow = Overflow.REJECT) -> None:
        if capacity < 1:
            msg = f"capacity must be at least 1: {capacity!r}"
            raise ValueError(msg)
        self.capacity = capacity
        self.overflow = overflow
        self.dropped = 0
        """Messages refused or pushed out, since the beginning."""
        self._waiting: deque[tuple[T, Reply[Any] | None]] = deque()
        self._taken: set[Reply[Any]] = set()
        self._closed = False
        self._arrived = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._waiting)

    def tell(self, message: T) -> bool:
        """Put a message in without waiting; False if it was refused (REJECT, BLOCK, or closed)."""
        return self._put(message, None)

    async def send(self, message: T, *, timeout: float) -> None:  # noqa: ASYNC109 - the deadline is the API
        """Put a message in; under BLOCK wait for room.

        Raises:
            MailboxFull: there was no room, under BLOCK for ``timeout`` seconds.
            ActorEnded: the mailbox is closed.
        """
        await self._send(message, None, trio.current_time() + timeout)

    async def ask(self, question: Callable[[Reply[A]], T], *, timeout: float) -> A:  # noqa: ASYNC109
        """Put in the message that ``question`` makes of a fresh :class:`Reply`, and wait for the answer.

        Raises:
            MailboxFull: there was no room for the question.
            ActorEnded: the incarnation that took it ended without an answer.
            trio.TooSlowError: no answer in ``timeout`` seconds.
        """
        deadline = trio.current_time() + timeout
        reply: Reply[A] = Reply()
        await self._send(question(reply), reply, deadline)
        try:
            with trio.fail_at(deadline):
                return await reply.wait()
        finally:
            self._taken.discard(reply)

    async def receive(self) -> T:
        """The next message, when there is one; one actor receives at a time."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if self._closed:
                raise ActorEnded("the mailbox is closed")
            await self._arrived.park()
        # the take is synchronous and last: a cancelled receive loses nothing
        return self._take()

    def serving(self) -> "_Serving":
        """A context for one incarnation: when it is left, questions it took and did not answer fail."""
        return _Serving(self._taken)

    def close(self) -> None:
        """Refuse further messages and fail every open question."""
        self._closed = True
        for _, reply in self._waiting:
            if reply is not None:
                reply.fail(ActorEnded("the mailbox is closed"))
        self._waiting.clear()
        _fail_all(self._taken)
        self._arrived.unpark_all()
        self._room.unpark_all()

    def _take(self) -> T:
        message, reply = self._waiting.popleft()
        if reply is not None:
            self._taken.add(reply)
        self._room.unpark()
        return message

    def _put(self, message: T, reply: Reply[Any] | None) -> bool:
        if self._closed:
            return False
        if len(self._waiting) >= self.capacity:
            self.dropped += 1
            if self.overflow is not Overflow.DROP_OLDEST:
                return False
            _, pushed_out = self._waiting.popleft()
            if pushed_out is not None:
                pushed_out.fail(MailboxFull("pushed out by newer messages"))
        self._waiting.append((message, reply))
        self._arrived.unpark()
        return True

    async def _send(self, message: T, reply: Reply[Any] | None, deadline: float) -> None:
        await trio.lowlevel.checkpoint()
        if self.overflow is Overflow.BLOCK:
            with trio.move_on_at(deadline):
                while len(self._waiting) >= self.capacity and not self._closed:
                    await self._room.park()
        if self._closed:
            raise ActorEnded("the mailbox is closed")
        if not self._put(message, reply):
            msg = f"{len(self._waiting)} messages are waiting"
            raise MailboxFull(msg)


class _Serving:
    def __init__(self, taken: set[Reply[Any]]) -> None:
        self._taken = taken

    def __enter__(self) -> None:
        _fail_all(self._taken)

    def __exit__(self, *exc: object) -> None:
        _fail_all(self._taken)


def _fail_all(taken: set[Reply[Any]]) -> None:
    for reply in taken:
        reply.fail(ActorEnded("the actor ended before it answered"))
    taken.clear()
