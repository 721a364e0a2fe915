"""Which codes does an exchange reject, where it does not say? Found by halves, over all sessions of a line (pure).

An exchange may refuse a whole request for one code in it, or hang up on it. Then half of the suspects wait while the
other half is tried beside everything that has been accepted; whatever is rejected is halved again, down to the single
code. A code is held to be bad only if others have been accepted meanwhile: an exchange that rejects everything is ill,
and no code is to blame.
"""

import itertools
from collections.abc import Iterable, Sequence

import attrs

from actors.subscriptions import Topic

HANG_UPS = 3
"""Sessions in a row that the exchange ended before it had accepted the list, after which the list is suspected: one is
an accident, and a restarting server is often met twice."""
ATTEMPTS = 64
"""Trials until what is left is given up: three bad codes of a thousand take at most 60,
two for each of ten halvings."""
ILL = 10
"""Trials that an exchange which hangs up on everything gets before it is taken at its word: five minutes of backoff."""


@attrs.frozen
class Found:
    """What is known now that was not before."""

    bad: tuple[Topic, ...] = ()
    """Rejected by name, or alone beside others that were accepted."""
    untried: tuple[Topic, ...] = ()
    """Suspects still when the attempts were used up."""
    nothing: bool = False
    """Not one code was accepted: it is not the codes. The sieve has started over."""


class Sieve:
    """The suspects of one line; off, and of no cost, while there are none.

    :meth:`ask` says what to ask for, :meth:`accepted`, :meth:`rejected` and :meth:`hung_up` tell how it went.

    Args:
        attempts: Trials at most.
    """

    def __init__(self, attempts: int = ATTEMPTS) -> None:
        self.in_place = True
        """Whether an open session can be asked for more; else each trial is a session of its own."""
        self._attempts = attempts
        self._left = attempts
        self._hang_ups = 0
        self._least = 0
        self._good: set[Topic] = set()
        # the first is on trial, the others wait
        self._parts: list[list[Topic]] = []
        self._alone: set[Topic] = set()
        """Rejected by themselves, when nothing had been accepted yet."""

    @property
    def on(self) -> bool:
        """Whether there are suspects."""
        return bool(self._parts)

    def ask(self, listed: Sequence[Topic], *, fresh: bool = False) -> list[Topic]:
        """What to ask for of what is wanted: all but the suspects that wait.

        A fresh session is asked for what is known to be good, so that a trial on top of it says something.
        """
        wanted = set(listed)
        self._keep(wanted)
        known = wanted - set(itertools.chain.from_iterable(self._parts))
        if fresh and self.in_place and known & self._good:
            return [topic for topic in listed if topic in known]
        trial = known.union(*itertools.islice(self._parts, 1))
        return [topic for topic in listed if topic in trial]

    def accepted(self, asked: Iterable[Topic]) -> Found:
        """The exchange has taken this."""
        self._hang_ups = 0
        if not self._parts:
            return Found()
        self._good.update(asked)
        if self._good.issuperset(self._parts[0]):
            self._parts.pop(0)
            self._left -= 1
        return self._sum_up(())

    def rejected(self, suspects: Sequence[Topic], asked: Sequence[Topic]) -> Found:
        """The exchange rejects some of these, or the one that it names, of all that it was asked for."""
        # a request that held what has been accepted before is rejected for the rest of it
        suspects = [topic for topic in suspects if topic not in self._good] or suspects
        self._good.difference_update(suspects)
        out = [topic for topic in asked if topic not in self._good]
        if len(suspects) == 1 and (len(out) > 1 or self._good):
            self._keep({topic for part in self._parts for topic in part} - {suspects[0]})
            self._left -= self.on
            return self._sum_up((suspects[0],))
        if self.on:
            self._left -= 1
        else:
            self._left = self._attempts
        self._keep({topic for part in self._parts for topic in part} - set(suspects))
        if len(suspects) == 1:
            self._alone.add(suspects[0])
            self._parts.append(list(suspects))
        else:
            # the larger parts first: when the attempts run out, as much as possible has been cleared
            middle = (len(suspects) + 1) // 2
            self._parts += [list(suspects[:middle]), list(suspects[middle:])]
        return self._sum_up(())

    def hung_up(self, asked: Sequence[Topic]) -> Found:
        """The exchange has ended the session before it had accepted all of this."""
        if not self.on:
            self._hang_ups += 1
            if self._hang_ups < HANG_UPS or len(asked) < 2:
                return Found()
            self._least = ILL
        suspects = [topic for topic in asked if topic not in self._good]
        return self.rejected(suspects, suspects) if suspects else Found()

    def _keep(self, topics: set[Topic]) -> None:
        parts = ([topic for topic in part if topic in topics] for part in self._parts)
        self._parts = [part for part in parts if part]

    def _sum_up(self, bad: tuple[Topic, ...]) -> Found:
        rest = tuple(itertools.chain.from_iterable(self._parts))
        tried = self._alone.issuperset(rest) and self._attempts - self._left >= self._least
        nothing = bool(rest) and not self._good and (tried or self._left <= 0)
        over = not rest or nothing or self._left <= 0
        if over:
            self._least = 0
            self._parts.clear()
            self._good.clear()
            self._alone.clear()
            self._hang_ups = 0
        return Found(bad, rest if over and not nothing else (), nothing)
