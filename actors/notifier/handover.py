"""What a process leaves to the one that comes after it: the incidents that it has told of, and crashes (pure)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from actors.errors import Reason
from actors.notifier.folds import Fold, Part
from actors.notifier.hours import Window
from actors.notifier.notification import Severity
from actors.notifier.reports import Kind, Scope

LASTS = 900.0
"""Seconds after its end for which a process can be followed by one that goes on with its incidents."""


@attrs.frozen
class Left:
    """A feed's part in an incident that the process before this one has told of. Times are this process's own."""

    host: str
    fold: Fold
    """The incident; its parts are those whose feeds this process has, too."""
    since: float
    severity: Severity
    reason: Reason
    until: float | None
    lost: float
    edges: int


@attrs.frozen(kw_only=True)
class Before:
    """What is known of the process before this one."""

    unclean: tuple[float, float] | None = None
    """Where it ended without a stop: when it was last seen and when this one began."""
    crashes: int = 1
    """How many have ended so in that time."""
    hush: float = 0.0
    """Seconds for which that is told with the next message only: another was told not long ago."""
    windows: Sequence[Window] = ()
    """Those that were open, and told of. Those that somebody opened by hand go on, those of the rules are not told of
    once more."""
    left: Mapping[str, Left] = attrs.field(factory=dict[str, Left])
    """What it has told of its feeds, by feed."""


NOTHING = Before()


@attrs.frozen
class Crashes:
    """Processes that have ended without a stop. Times are nanoseconds UTC, 0 for never."""

    since: int = 0
    """When the first of those that were not told of was last seen."""
    count: int = 0
    """How many were not told of."""
    told: int = 0
    """When some were last told of."""

    @classmethod
    def read(cls, words: str | None) -> "Crashes":
        """What :attr:`words` of an earlier process say; none if they are damaged."""
        try:
            return cls(*map(int, json.loads(words or "[]")))
        except (ValueError, TypeError, RecursionError):
            return cls()

    @property
    def words(self) -> str:
        """For the next process."""
        return json.dumps(attrs.astuple(self))

    def another(self, seen: int) -> "Crashes":
        """One more, that was last seen then."""
        return attrs.evolve(self, since=self.since if self.count else seen, count=self.count + 1)

    def hush(self, wall: int) -> float:
        """Seconds for which they need not be told by themselves, since some were told not long ago."""
        return max(self.told / 1e9 + LASTS - wall / 1e9, 0.0) if self.told else 0.0


def handed(folds: Iterable[Fold], now: float, wall: int) -> str:
    """Incidents in words that :func:`inherited` reads; ``wall`` is ``now`` in nanoseconds UTC."""
    return json.dumps({"at": wall, "folds": [_fold(fold, now) for fold in folds]})


def inherited(words: str | None, now: float, wall: int) -> Mapping[str, Left]:
    """The parts by the names of their feeds; none if the words are none, or damaged."""
    try:
        note = json.loads(words or "{}")
        then = now - max(wall - int(note.get("at", wall)), 0) / 1e9
        return {name: left for fold in note.get("folds", ()) for name, left in _left(fold, then)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _fold(fold: Fold, now: float) -> dict[str, Any]:
    return {
        "kind": fold.kind,
        "scope": fold.scope,
        "host": fold.host,
        "reason": fold.reason,
        "told": fold.told,
        "told_at": (fold.told_at or 0.0) - now,
        "grown": fold.grown,
        "repeats": fold.repeats,
        "parts": [_part(part, now) for part in fold.parts.values() if part.told is not None],
    }


def _part(part: Part, now: float) -> dict[str, Any]:
    return {
        "feed": part.feed.origin.feed,
        "host": part.feed.origin.host,
        "since": part.since - now,
        "severity": part.told,
        "reason": part.reason,
        "until": None if part.until is None else part.until - now,
        "lost": part.lost,
        "edges": part.edges,
    }


def _left(note: Mapping[str, Any], then: float) -> Iterable[tuple[str, Left]]:
    fold = Fold(Kind(note["kind"]), Scope(note["scope"]), str(note["host"]), note["reason"] and Reason(note["reason"]))
    fold.told, fold.told_at = Severity(note["told"]), then + float(note["told_at"])
    fold.grown, fold.repeats = int(note["grown"]), int(note["repeats"])
    for part in note["parts"]:
        until = part["until"]
        yield (
            str(part["feed"]),
            Left(
                str(part["host"]),
                fold,
                then + float(part["since"]),
                Severity(part["severity"]),
                Reason(part["reason"]),
                None if until is None else then + float(until),
                float(part["lost"]),
                int(part["edges"]),
            ),
        )
