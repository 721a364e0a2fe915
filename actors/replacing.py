"""What may be lost while a subscription replaces the one before it on the same socket (pure)."""

from collections.abc import Hashable, Mapping

Key = Hashable
"""What tells apart the streams of a session: channel and code, as its frames have them."""


class Replacing:
    """One such change, until the exchange has answered it with a snapshot of all that stays.

    A snapshot that equals the last message before proves that nothing of its stream was lost in between.

    Args:
        stays: The code of each stream that was there before, as it was subscribed to.
    """

    def __init__(self, stays: Mapping[Key, str]) -> None:
        self._owed = dict(stays)
        self._unproven: dict[str, None] = {}

    def answered(self, key: Key, *, proven: bool) -> None:
        """A snapshot of this has come; only the first one says something about the change."""
        code = self._owed.pop(key, None)
        if code is not None and not proven:
            self._unproven[code] = None

    def owes(self, key: Key) -> bool:
        """Whether no snapshot of this has come yet."""
        return key in self._owed

    @property
    def complete(self) -> bool:
        """Whether everything has been answered."""
        return not self._owed

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of which messages may be missing: not proven, or not answered."""
        return tuple(dict.fromkeys((*self._unproven, *self._owed.values())))
