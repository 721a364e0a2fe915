"""What :mod:`~actors.notifier.folding` keeps of feeds and incidents, and the times it goes by (pure)."""

import math
from collections import deque
from collections.abc import Iterable

import attrs

from actors.errors import Reason
from actors.events import Origin
from actors.notifier.notification import Severity
from actors.notifier.reports import Kind, Scope, Trouble

WAITS = {Severity.PAGE: 5.0, Severity.WARNING: 30.0, Severity.INFO: 30.0}
"""Seconds that an interruption must last before it is told, by severity."""
INTERVAL = 60.0
"""Seconds before an incident that grows is told again; each time twice as long, up to the first of REPEATS."""
REPEATS = (900.0, 3600.0, 14_400.0)
"""Seconds to the first, second and every further repetition."""
SETTLE = 5.0
"""Seconds for which everything must be well before an incident is over."""
FRESH = 120.0
"""Seconds within which interruptions count as the same event, when a host or the network is judged."""
EDGES, EDGE_WINDOW = 4, 600.0
"""So many changes within so many seconds are flapping; so many seconds without one are calm."""

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def graver(one: Severity, other: Severity | None) -> bool:
    """Whether ``one`` matters more than ``other``."""
    return other is None or _RANK[one] > _RANK[other]


def gravest(severities: Iterable[Severity]) -> Severity:
    """The one of them that matters most; INFO if there is none."""
    return max(severities, key=_RANK.__getitem__, default=Severity.INFO)


@attrs.define(eq=False)
class Watched:
    """One feed as the notifier sees it."""

    origin: Origin
    live: bool = False
    stopped: bool = False
    muted: bool = False
    down: float | None = None
    """Since when it is interrupted."""
    reason: Reason = Reason.STOPPED
    severity: Severity = Severity.INFO
    gave_up: bool = False
    flapping: bool = False
    edges: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=EDGES))
    """When it last went or came back."""
    part: "Part | None" = None

    @property
    def trouble(self) -> Trouble:
        """Its state, as a report shows it."""
        since = self.down if self.down is not None else 0.0
        return Trouble(origin=self.origin, reason=self.reason, since=since, gave_up=self.gave_up)


@attrs.define(eq=False)
class Part:
    """A feed's part in an incident."""

    feed: Watched
    fold: "Fold"
    since: float
    severity: Severity
    reason: Reason
    due: float
    """When it has lasted long enough to be told."""
    until: float | None = None
    lost: float = 0.0
    edges: int = 0
    told: Severity | None = None
    """How grave it was when it was last told."""

    @property
    def untold(self) -> bool:
        """Whether it is worse than was told."""
        return self.until is None and graver(self.severity, self.told)

    def lasts(self, now: float) -> bool:
        """Whether it has been told, or has outlasted its wait."""
        return self.until is None and (self.told is not None or self.due <= now)

    @property
    def trouble(self) -> Trouble:
        """As a report shows it."""
        return Trouble(
            origin=self.feed.origin,
            reason=self.reason,
            since=self.since,
            until=self.until,
            lost=self.lost,
            edges=self.edges,
            gave_up=self.feed.gave_up,
        )


@attrs.define(eq=False)
class Fold:
    """Feeds that make one incident."""

    kind: Kind
    scope: Scope
    host: str
    """Empty for the whole network."""
    reason: Reason | None
    """The cause, where it is about feeds."""
    parts: dict[str, Part] = attrs.field(factory=dict[str, Part])
    due: float = math.inf
    told: Severity | None = None
    """How grave it was when it was last told."""
    told_at: float | None = None
    grown: int = 0
    """How often it was told because it had grown."""
    repeats: int = 0

    @property
    def over(self) -> bool:
        """Whether all of its feeds are well again."""
        return all(part.until is not None for part in self.parts.values())

    @property
    def hosts(self) -> set[str]:
        """Where feeds of it are down."""
        return {part.feed.origin.host for part in self.parts.values() if part.until is None}

    @property
    def severity(self) -> Severity:
        """How grave it is, or has been."""
        return gravest(each for part in self.parts.values() for each in (part.severity, part.told) if each)
