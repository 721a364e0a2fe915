"""What the notifier asks of a channel, and how a channel says that it cannot (pure)."""

import enum
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from actors.errors import BACKOFF, Advice


class Language(enum.StrEnum):
    """The languages in which every message can be written."""

    KO = "ko"
    EN = "en"


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

    def split(self, text: str) -> Sequence[str]:
        """``text`` in as many pieces as this channel needs, each fit for one ``send``."""
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
