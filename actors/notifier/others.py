"""A channel to whatever the apprise library knows: mail, Slack, Discord, ntfy and many more. An extra."""

import importlib
import importlib.util
import logging
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import trio

from actors.errors import BACKOFF
from actors.notifier.channel import ChannelError, Language, Letter
from actors.notifier.pieces import split
from actors.notifier.secret import Secret
from actors.notifier.wire import Redactor

_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.util.retry", "requests_oauthlib.oauth1_auth")
_PART = 5
LIMIT = 1800
"""UTF-16 units a message: below the 2,000 that Discord takes, the least of the common ones."""
DEADLINE = 60.0
"""Seconds for a call, the library's slow first one included."""


class Apprise:
    """Hands messages to apprise, in a thread of its own: it blocks, and loads all its plugins with the first call.

    Args:
        url: As https://github.com/caronc/apprise/wiki has it; all of it is kept secret.
        name: The channel's name.
        language: The reader's language.

    Raises:
        ValueError: the extra is not installed.
    """

    def __init__(self, url: Secret, *, name: str = "apprise", language: Language = Language.KO) -> None:
        if importlib.util.find_spec("apprise") is None:
            raise ValueError("needs the extra: pip install 'feedwarden[apprise]'")
        self.name = name
        self.language = language
        self._url = url
        self._service: Any = None
        # which of its parts are secret only the service knows
        self._filter = Redactor(part for part in re.split(r"[/?&=@:,]+", url.reveal()) if len(part) >= _PART)
        self._one = trio.CapacityLimiter(1)

    def split(self, letter: Letter) -> Sequence[str]:
        """The text in pieces of at most 1,800 UTF-16 units."""
        return split(letter.text, LIMIT)

    async def send(self, text: str) -> None:
        """Hand one piece over; raises :class:`ChannelError` if the library has not got it delivered."""
        delivered = False
        try:
            with trio.fail_after(DEADLINE):
                delivered = await trio.to_thread.run_sync(self._notify, text, abandon_on_cancel=True, limiter=self._one)
        except trio.TooSlowError:
            raise ChannelError(f"apprise has not delivered within {DEADLINE:g} s", BACKOFF) from None
        if not delivered:
            raise ChannelError("apprise could not deliver: check the URL, and the service behind it", BACKOFF)

    async def __aenter__(self) -> Self:
        # they log what they do, URLs included; what matters is said by our own errors
        for logger in _LOGGERS:
            logging.getLogger(logger).addFilter(self._filter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for logger in _LOGGERS:
            logging.getLogger(logger).removeFilter(self._filter)

    def _notify(self, text: str) -> bool:
        if self._service is None:
            service = importlib.import_module("apprise").Apprise()
            if not service.add(self._url.reveal()):
                return False
            self._service = service
        try:
            return bool(self._service.notify(body=text))
        except Exception:
            return False  # a plugin's own trouble: its words and frames may hold the URL
