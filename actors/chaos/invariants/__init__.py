"""The invariants of the product as checkers of a history: what must hold at each record, and what by a deadline.

I8, I20 and I26 compare two runs and are in :mod:`supervisors.twins`.
"""

from collections.abc import Mapping, Sequence

from actors.chaos.invariants import incidents, links, running, telling
from actors.chaos.invariants.base import RECOVERY, Invariant, Scene

ALL: tuple[type[Invariant], ...] = (
    links.FewSockets,
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
    telling.Paced,
    telling.Readable,
    running.Recovers,
    running.StopsInTime,
    links.NoLeak,
    telling.LiveIsTrue,
    telling.MetricsAgree,
    running.ListedStates,
    telling.NoSecrets,
    links.Gated,
    telling.FewWords,
)
"""Every checker of a single run, but those of what people are told."""
BY_STYLE: Mapping[str, tuple[type[Invariant], ...]] = {
    "guide": (telling.Alerted, telling.AlertsConverge),
    "incidents": (incidents.TroubleTold, incidents.TroubleOver, incidents.FewAlerts),
}
"""The others: how much people are told is decided by the style of their channel."""

__all__ = ["ALL", "BY_STYLE", "RECOVERY", "Invariant", "Scene", "checkers", "meanings", "names"]


def names() -> frozenset[str]:
    """The names of all of them."""
    return frozenset(each.name for some in (ALL, *BY_STYLE.values()) for each in some)


def meanings() -> Mapping[str, str]:
    """What each of them says, in a sentence, by its name and in the order of their numbers."""
    said: dict[str, str] = {}
    for each in (each for some in (ALL, *BY_STYLE.values()) for each in some):
        name, _, sentence = (each.__doc__ or "").partition("\n")[0].partition(": ")
        if name == each.name:
            said.setdefault(name, sentence.replace("``", "").partition(".")[0])
    return dict(sorted(said.items(), key=lambda item: int(item[0][1:])))


def checkers(scene: Scene) -> Sequence[Invariant]:
    """Fresh checkers for one run."""
    return [make(scene) for make in (*ALL, *BY_STYLE[scene.plan.style])]
