"""What every checker knows of the run that it judges."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from actors.chaos.plans import Plan
from actors.exchange import Exchange

TURN = 1e-6
"""Seconds that rounding may cost."""
QUARANTINE = 300.0
"""Seconds between two attempts of a feed that retrying alone does not help."""
RECOVERY = 480.0
"""Seconds after the heal by which the slowest feed is live: quarantine 300, backoff 60, open 20, and a dead link that
has yet to be noticed, 100."""


def _overlapping(scene: "Scene") -> frozenset[str]:
    mortal = (feed for feed, exchange in scene.exchanges.items() if exchange.max_lifetime)
    return frozenset(scene.exchanges if scene.plan.legs > 1 else mortal)


@attrs.frozen(kw_only=True)
class Scene:
    """The run."""

    plan: Plan
    exchanges: Mapping[str, Exchange]
    """By feed."""
    buffer: int
    """Messages that a feed keeps for its consumer."""
    secret: str
    """A text that stands in every URL, and may stand in nothing that is told."""

    overlapping: frozenset[str] = attrs.field(init=False, default=attrs.Factory(_overlapping, takes_self=True))
    """The feeds that two sockets may carry at one time: for good, while one is renewed, or to see whether it
    still lives."""


class Invariant:
    """A checker of one invariant; subclasses set ``name`` and ``hears`` and override :meth:`take`."""

    name: str = ""
    hears: Sequence[type[Any]] = ()

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def take(self, record: Any) -> str | None:
        """Judge a record; what is wrong in words, or None."""
        raise NotImplementedError
