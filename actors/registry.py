"""Names of one tree of actors: an address that outlives whoever is behind it."""

from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from actors.actor import Mailbox, Overflow

T = TypeVar("T")


@attrs.frozen
class Name(Generic[T]):
    """What senders and server know of an address: its name, and the mailbox that stands for it."""

    name: str
    capacity: int
    overflow: Overflow = Overflow.REJECT


class NameTaken(Exception):
    """Somebody serves that name already; the message says who."""


class Registry:
    """The mailboxes of one tree, by name.

    A mailbox is there from the first mention of its name, by a sender or a server, until the registry is closed. So
    senders keep one address while incarnations come and go behind it; what they tell meanwhile waits, up to the bound
    and by the policy of the :class:`Name`. Make one for each tree and run it inside ``with Registry() as names``.
    """

    def __init__(self) -> None:
        self._mailboxes: dict[str, tuple[Name[Any], Mailbox[Any]]] = {}
        self._holders: dict[str, str] = {}
        self._closed = False

    def mailbox(self, name: Name[T]) -> Mailbox[T]:
        """The mailbox of a name, whether or not somebody serves it; a closed one once the registry is closed.

        Raises:
            ValueError: the name is in use with another capacity or overflow policy.
        """
        known = self._mailboxes.get(name.name)
        if known is None:
            known = self._mailboxes[name.name] = (name, Mailbox[T](name.capacity, name.overflow))
            if self._closed:
                known[1].close()
        elif known[0] != name:
            msg = f"the name {name.name!r} is in use as {known[0]}"
            raise ValueError(msg)
        return known[1]

    @contextmanager
    def serve(self, name: Name[T], holder: str) -> Generator[Mailbox[T]]:
        """Be the one behind a name, for one incarnation of ``holder``; questions left unanswered fail at its end.

        Raises:
            NameTaken: somebody else is.
        """
        mailbox = self.mailbox(name)
        if (other := self._holders.get(name.name)) is not None:
            msg = f"{other!r} serves the name {name.name!r} already"
            raise NameTaken(msg)
        self._holders[name.name] = holder
        try:
            with mailbox.serving():
                yield mailbox
        finally:
            del self._holders[name.name]

    def holder(self, name: Name[Any]) -> str | None:
        """Who serves a name now."""
        return self._holders.get(name.name)

    def close(self) -> None:
        """Close every mailbox: who sends to one is told that there is nobody."""
        self._closed = True
        for _, mailbox in self._mailboxes.values():
            mailbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
