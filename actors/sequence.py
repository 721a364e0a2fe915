"""Losses inside a live session, found by the exchange's own sequence numbers (pure)."""

from collections.abc import Iterable

import attrs

from actors.marks import Key, Mark


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

    def forget(self, keys: Iterable[Key]) -> None:
        """These are subscribed to no longer; should they come back, they begin anew."""
        for key in keys:
            self._last.pop(key, None)

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
