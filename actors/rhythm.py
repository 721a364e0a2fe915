"""How long may a busy code be silent? Learned from its own intervals, in a few numbers (pure).

A silence is beyond the rhythm if it is longer than ``max(LEAST, FACTOR * the longest interval of late)``: of the last
10 to 20 minutes, or of the last 100 to 200 intervals where that is longer. Of n random arrivals (Poisson) the longest
interval is about ``ln(n)`` times the mean, and one that is ``FACTOR`` times as long has the probability
``n ** -FACTOR``: with 100 intervals 1e-8. A market that falls asleep makes its intervals longer little by little, and
the limit with them.
"""

import math

import attrs

ENOUGH = 100
"""Intervals from which a rhythm is learned; a code that has fewer is never judged."""
SPAN = 600.0
"""Seconds of which the longest interval is kept at least, and twice that at most."""
FACTOR = 4.0
"""How many times the longest interval is a silence."""
LEAST = 10.0
"""Seconds that are no silence, however busy the code has been."""
STEADY = 10
"""Intervals after which the code is taken to be back, and not a snapshot that answered us."""


@attrs.define(eq=False)
class Rhythm:
    """The rhythm of one code."""

    began: float
    """When the present span began."""
    _longest: float = 0.0
    _before: float = 0.0
    _count: int = 0
    _known: bool = False
    _tries: int = 0
    _since: int = 0

    def heard(self, interval: float, now: float) -> None:
        """Something came ``interval`` seconds after what came before it."""
        self._longest = max(self._longest, interval)
        self._count += 1
        self._since += 1
        if self._count >= ENOUGH and now >= self.began + SPAN:
            self._before, self._longest, self._count, self.began = self._longest, 0.0, 0, now
            self._known = True
        if self._since == STEADY:
            self._tries = 0

    def tried(self) -> None:
        """It was subscribed to once more: the next time in the same silence is twice as far."""
        self._tries += 1
        self._since = 0

    @property
    def limit(self) -> float:
        """Seconds of silence after which it is to be subscribed to once more; infinity while too little is known."""
        if not self._known:
            return math.inf
        return max(LEAST, FACTOR * max(self._longest, self._before)) * 2.0 ** min(self._tries, 20)
