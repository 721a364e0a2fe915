"""Losses inside a live session, found by the exchange's own sequence numbers (pure)."""

from collections.abc import Iterable

import attrs

from actors.marks import Key, Mark, plain


@attrs.frozen
class Loss:
    """Messages of ``key`` that did not arrive although the session lived on.

    ``expected`` is the number that should have come, or where messages name their predecessor the last that came;
    ``got`` is what came, or was named, instead. ``lost`` counts messages, None where the numbers count something
    else. ``certain`` is False where the exchange does not promise numbers without holes.
    """

    key: Key
    expected: int
    got: int
    lost: int | None
    certain: bool


class Restating:
    """Whether an exchange's snapshots say that nothing was lost while nobody listened.

    It is so where the snapshot of every code repeats what was delivered of it last.
    """

    def __init__(self) -> None:
        self._last: dict[Key, int] = {}
        self._open: set[Key] = set()

    def delivered(self, marks: Iterable[Mark | None]) -> None:
        """These were passed on."""
        self._last.update((mark.key, mark.identity) for mark in marks if mark is not None)

    def keep(self, codes: Iterable[str]) -> None:
        """Only these are subscribed to any more: of the others nothing can be missing."""
        self._last = _kept(self._last, codes)
        self._open &= self._last.keys()

    def interrupted(self) -> None:
        """From now on there is something to prove."""
        self._open = set(self._last)

    def proven(self, marks: Iterable[Mark | None]) -> int:
        """How many messages, from the first on, only restate what is known; all but these may follow on a loss."""
        number = 0
        for mark in marks:
            if mark is None or not mark.snapshot or self._last.get(mark.key) != mark.identity:
                break
            self._open.discard(mark.key)
            number += 1
        return number

    @property
    def complete(self) -> bool:
        """Whether nothing is left to prove, and something was."""
        return not self._open and bool(self._last)

    @property
    def open(self) -> tuple[str, ...]:
        """The codes of which messages may be missing."""
        return tuple(dict.fromkeys(sorted(code for _, code in self._open)))


class Continuity:
    """The numbers of one session; a new session gets a new one, so that a reconnect makes no false loss.

    A message whose numbers have been passed already is a repeat or late, and changes nothing.
    """

    def __init__(self) -> None:
        self._last: dict[Key, int] = {}

    def take(self, marks: Iterable[Mark | None]) -> list[Loss]:
        """The losses that come to light with these messages, in order."""
        losses: list[Loss] = []
        for mark in marks:
            if mark is not None and mark.last is not None:
                loss = self._step(mark, mark.last)
                if loss is not None:
                    losses.append(loss)
        return losses

    def keep(self, codes: Iterable[str]) -> None:
        """Only these are subscribed to any more; should others come back, they begin anew."""
        self._last = _kept(self._last, codes)

    def _step(self, mark: Mark, number: int) -> Loss | None:
        last = self._last.get(mark.key)
        if last is None or mark.snapshot or mark.previous == last:
            # a snapshot, and a successor by name, may lower the number: the exchange has begun anew
            self._last[mark.key] = number
            return None
        if number <= last:
            return None
        self._last[mark.key] = number
        if mark.previous is not None:
            return Loss(mark.key, last, mark.previous, None, mark.promised)
        first = number if mark.first is None else mark.first
        if first <= last + 1:
            return None
        return Loss(mark.key, last + 1, first, first - last - 1 if mark.counted else None, mark.promised)


def _kept(last: dict[Key, int], codes: Iterable[str]) -> dict[Key, int]:
    known = {plain(code) for code in codes}
    # a key without a code is about all of them
    return {key: number for key, number in last.items() if not key[1] or plain(key[1]) in known}
