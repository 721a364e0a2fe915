"""What the notifier asks of a channel, and how a channel says that it cannot (pure)."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import attrs

from actors.errors import BACKOFF, Advice
from actors.notifier.notification import Severity


class Language(enum.StrEnum):
    """The languages in which every message can be written."""

    KO = "ko"
    EN = "en"


@attrs.frozen
class Letter:
    """One message for one channel, written and ready to go."""

    id: str
    """The same in every repetition and on every channel: by it a reader knows what was sent twice."""
    severity: Severity
    text: str
    made: int
    """When it was written, in nanoseconds UTC."""


class ChannelError(Exception):
    """The channel did not take the text now; ``advice`` says when to hand it over again.

    ``BACKOFF``: after growing delays. ``AFTER``: after so many seconds, never sooner. ``QUARANTINE``: the channel
    refuses us as a whole and a person has to do something; it is tried again slowly.
    """

    def __init__(self, detail: str, advice: Advice = BACKOFF) -> None:
        super().__init__(detail)
        self.advice = advice


class Undeliverable(Exception):
    """The channel will never take this text: it is to be dropped, the next one tried."""


class Channel(Protocol):
    """One way to a person, with a life of its own: ``async with channel``, then ``send`` by one task at a time."""

    @property
    def name(self) -> str:
        """Unique among the channels of a notifier; the ``channel`` label of its metrics."""
        ...

    @property
    def language(self) -> Language:
        """The language in which this channel's reader is addressed."""
        ...

    def split(self, letter: Letter) -> Sequence[str]:
        """The letter in as many pieces as this channel needs, each fit for one ``send``."""
        ...

    async def send(self, text: str) -> None:
        """Hand one piece over; returns once it has been taken, within a deadline of the channel's own.

        Raises:
            ChannelError: not now.
            Undeliverable: never.
        """
        ...

    async def __aenter__(self) -> Self:
        """Build what the channel needs; waits for no network."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release it, within a deadline."""
        ...


Keep = Callable[[str], Awaitable[None]]
"""Keeps a channel's note over the end of the process; it never raises."""


@runtime_checkable
class Remembering(Protocol):
    """What a channel has beside :class:`Channel` if it must not forget something when the process ends."""

    def resume(self, kept: str | None, keep: Keep) -> None:
        """Go on from the note that was kept last, if there is one, and keep further ones by ``keep``."""
        ...
