"""The way in and the way out, and the faults met on them: what a virtual network and a fault proxy share."""

import math
import random
from typing import Literal

from actors.chaos.wire import Direction

Towards = Literal["both", "in", "out"]
"""The direction of a fault: towards the client, towards the server, or both."""


class Ways:
    """Two directions that all connections share. A fault lasts for ``seconds``, or until :meth:`heal`.

    Args:
        random: Draws jitter and slices.
    """

    def __init__(self, random: random.Random) -> None:
        self.incoming = Direction(random)
        """Towards the client."""
        self.outgoing = Direction(random)
        """Towards the server."""

    def latency(
        self, mean: float, jitter: float = 0.0, *, towards: Towards = "both", seconds: float = math.inf
    ) -> None:
        """Delay everything by ``mean`` seconds, give or take up to ``jitter`` of them."""
        for way in self._towards(towards):
            way.delay.put((mean, jitter), seconds)

    def bandwidth(self, rate: float, *, towards: Towards = "both", seconds: float = math.inf) -> None:
        """Let ``rate`` bytes a second through."""
        for way in self._towards(towards):
            way.rate.put(rate, seconds)

    def window(self, bytes: int, *, towards: Towards = "both", seconds: float = math.inf) -> None:  # noqa: A002 - as above
        """Let so many bytes be under way before the sender waits; 0 is a peer that has stopped reading."""
        for way in self._towards(towards):
            way.window.put(bytes, seconds)

    def slicer(self, bytes: int = 1, *, towards: Towards = "both", seconds: float = math.inf) -> None:  # noqa: A002
        """Hand bytes over in pieces of 1 to ``bytes``."""
        for way in self._towards(towards):
            way.slice.put(bytes, seconds)

    def clog(self, seconds: float, *, towards: Towards = "both") -> None:
        """Hold everything back for so long; then it arrives."""
        for way in self._towards(towards):
            way.hold(seconds)

    def heal(self) -> None:
        """End everything that lasts. What was held back arrives."""
        for way in self._towards("both"):
            way.heal()

    def _towards(self, towards: Towards) -> tuple[Direction, ...]:
        ways = {"in": (self.incoming,), "out": (self.outgoing,), "both": (self.incoming, self.outgoing)}
        return ways[towards]
