"""The invariants of the product as checkers of a history: what must hold at each record, and what by a deadline.

I8, I20 and I26 compare two runs and are in :mod:`supervisors.twins`.
"""

from collections.abc import Sequence

from actors.chaos.invariants import links, running, telling
from actors.chaos.invariants.base import Invariant, Scene
from actors.chaos.invariants.links import RECOVERY

ALL: tuple[type[Invariant], ...] = (
    links.OneSocket,
    links.ComesBack,
    links.OnTime,
    links.NotTooEarly,
    links.DeadLinks,
    links.NothingLost,
    links.InOrder,
    links.Bounded,
    running.CancelStaysCancel,
    running.EndsOnlyWhenAsked,
    running.Intense,
    running.OrderedStop,
    telling.Alerted,
    telling.Paced,
    telling.Readable,
    links.Recovers,
    telling.AlertsConverge,
    running.StopsInTime,
    links.NoLeak,
    links.LiveIsTrue,
    telling.MetricsAgree,
    running.ListedStates,
    telling.NoSecrets,
    links.Gated,
    telling.FewWords,
)
"""Every checker of a single run."""

__all__ = ["ALL", "RECOVERY", "Invariant", "Scene", "checkers"]


def checkers(scene: Scene) -> Sequence[Invariant]:
    """Fresh checkers for one run."""
    return [make(scene) for make in ALL]
