"""Folding: which feeds are in trouble, and which of them make one incident (pure).

An incident begins as the feeds of one host that were lost for one cause, or for causes that may be one. When its wait
is over it is told, unless all of its feeds are well again. Hosts that are lost soon after each other for such causes
are one incident, which takes in those that follow. What is told as the trouble of a whole host, or of the network,
takes in whatever else breaks there meanwhile. A feed that comes and goes is taken out and told once as flapping, until
it has been calm.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from actors.errors import Reason
from actors.notifier.folds import (
    EDGE_WINDOW,
    EDGES,
    FRESH,
    INTERVAL,
    REPEATS,
    SETTLE,
    WAITS,
    Fold,
    Part,
    Watched,
    graver,
    gravest,
)
from actors.notifier.handover import Left
from actors.notifier.notification import Severity, akin
from actors.notifier.reports import Incident, Kind, Phase, Scope


class Folding:
    """The feeds, and the incidents that they are folded into."""

    def __init__(self, left: Mapping[str, Left]) -> None:
        """``left`` is what the process before this one has told of, by feed."""
        self.feeds: dict[str, Watched] = {}
        self.joined = 0
        """How many feeds an incident that was told of has taken in without a word."""
        self._folds: list[Fold] = []
        self._left = dict(left)

    # -- what happens to a feed

    def add(self, feed: Watched, at: float) -> None:
        """Watch a feed; the incident that it was in when the process before this one ended goes on."""
        name = feed.origin.feed
        self.feeds[name] = feed
        left = self._left.pop(name, None)
        if left is None or left.host != feed.origin.host or feed.muted:
            return
        fold = left.fold
        feed.reason, feed.severity, feed.flapping = left.reason, left.severity, fold.kind is Kind.FLAPPING
        if feed.flapping:
            feed.edges.append(at)
        elif left.until is None:
            feed.down = left.since
        if fold not in self._folds:
            self._folds.append(fold)
        feed.part = fold.parts[name] = Part(
            feed,
            fold,
            left.since,
            left.severity,
            left.reason,
            at,
            until=left.until,
            lost=left.lost,
            edges=left.edges,
            told=left.severity,
        )
        self._schedule(fold)
        fold.due = max(fold.due, at + SETTLE)  # not before its other feeds have been added

    def forget(self) -> None:
        """Feeds that are added from now on are new."""
        self._left.clear()

    def lost(self, feed: Watched, reason: Reason, severity: Severity, at: float) -> None:
        """A session or a dial of the feed has failed."""
        if feed.down is None:
            feed.down, feed.severity, feed.reason = at, severity, reason
            self._edge(feed, at)
            if feed.part is not None and feed.part.fold.kind is Kind.FLAPPING and not feed.flapping:
                self.leave(feed)  # it is calm, and no part of what others of its host go on with
            if feed.part is None:
                self._enter(feed, at)
            elif not feed.flapping:  # a relapse before the incident was over
                feed.part.until = None
                self._worsen(feed, reason, severity, at)
        elif graver(severity, feed.severity):
            self._worsen(feed, reason, severity, at)

    def found(self, feed: Watched, at: float) -> None:
        """The feed is live."""
        feed.live = True
        if feed.down is None:
            return
        feed.down = None
        self._edge(feed, at)
        part = feed.part
        if part is None or feed.flapping:
            return
        if part.told is None:
            self.leave(feed)
        else:
            part.until = at
            self._schedule(part.fold)

    def missing(self, feed: Watched, seconds: float) -> None:
        """So much of the feed's data is missing."""
        if feed.part is not None:
            feed.part.lost += seconds

    def leave(self, feed: Watched) -> None:
        """Take a feed out of its incident without a word; an incident without feeds is gone."""
        part, feed.part = feed.part, None
        if part is None:
            return
        fold = part.fold
        del fold.parts[feed.origin.feed]
        if not fold.parts:
            self._folds.remove(fold)
        else:
            self._schedule(fold)

    def close(self, feed: Watched, at: float) -> None:
        """The feed has been stopped. That is no recovery of the others: they may be about to be stopped, too."""
        part = feed.part
        self.leave(feed)
        if part is not None:
            part.fold.due = max(part.fold.due, at + SETTLE)

    def mute(self, feed: Watched) -> None:
        """Nothing is told about the feed any more."""
        feed.muted, feed.flapping = True, False
        feed.edges.clear()
        self.leave(feed)

    def unmute(self, feed: Watched, at: float) -> None:
        """What is wrong with the feed by now is told after the usual wait."""
        feed.muted = False
        if feed.down is not None:
            self._enter(feed, at)

    # -- what is to be told

    @property
    def told(self) -> Sequence[Fold]:
        """The incidents that have been told of and are not over."""
        return [fold for fold in self._folds if fold.told_at is not None]

    @property
    def wake(self) -> float:
        """When something is due, at the latest."""
        calm = (feed.edges[-1] + EDGE_WINDOW for feed in self.feeds.values() if feed.flapping)
        return min(min((fold.due for fold in self._folds), default=math.inf), min(calm, default=math.inf))

    @property
    def page_wake(self) -> float:
        """When a page is due; infinity if there is none."""
        return min((fold.due for fold in self._folds if fold.severity is Severity.PAGE), default=math.inf)

    def calm(self, now: float) -> None:
        """Let go of the feeds that flap no more."""
        for feed in [each for each in self.feeds.values() if each.flapping and each.edges[-1] + EDGE_WINDOW <= now]:
            feed.flapping = False
            last = feed.edges[-1]
            feed.edges.clear()
            if feed.down is not None:
                self.leave(feed)
                self._enter(feed, now - WAITS[feed.severity])
            elif feed.part is not None and feed.part.told is not None:
                feed.part.until = last
                self._schedule(feed.part.fold)
            else:
                self.leave(feed)

    def adopt(self, now: float) -> None:
        """Take everything that is wrong as told: a summary has done it."""
        for fold in list(self._folds):
            if fold in self._folds and fold.told_at is None:
                self._mark(self._widened(fold, now), now)
            elif fold in self._folds and not fold.over:
                fold.repeats += 1
                self._mark(fold, now)

    def due(self, now: float, hold: float) -> Iterator[Incident]:
        """The messages of this moment, in the order in which they fell due.

        Args:
            now: Trio's time.
            hold: Seconds for which whatever is no page has to wait.
        """
        for fold in sorted((each for each in self._folds if each.due <= now), key=lambda each: each.due):
            if fold not in self._folds:  # a wider one has taken it in
                continue
            if hold and fold.severity is not Severity.PAGE:
                fold.due = now + hold
                continue
            yield self._tell(fold, now)

    # -- inside

    def _edge(self, feed: Watched, at: float) -> None:
        if feed.muted:
            return
        feed.edges.append(at)
        if feed.flapping:
            if feed.part is not None:
                feed.part.edges += 1
            return
        if len(feed.edges) < EDGES or feed.edges[0] <= at - EDGE_WINDOW:
            return
        part = feed.part
        if part is not None and part.fold.scope is not Scope.FEEDS and part.told is not None:
            return  # told as the host's or the network's trouble, and taken in by it
        lost = part.lost if part is not None else 0.0
        said = part is not None and part.told is not None
        feed.flapping = True
        self.leave(feed)
        mild = Severity.WARNING if graver(feed.severity, Severity.WARNING) else feed.severity
        joined = self._join(feed, Kind.FLAPPING, at, mild)
        joined.lost, joined.edges = lost, EDGES
        if said and joined.told is not None:  # who has heard that it is down is to hear what has become of that
            joined.told = None
            self.joined -= 1
            self._schedule(joined.fold)

    def _worsen(self, feed: Watched, reason: Reason, severity: Severity, at: float) -> None:
        feed.severity, feed.reason = severity, reason
        part = feed.part
        if part is None or feed.flapping:
            return
        if part.told is None:
            self.leave(feed)
            self._enter(feed, at)
            return
        part.severity, part.reason, part.due = severity, reason, at + WAITS[severity]
        if not graver(severity, part.fold.told):  # its incident is known to be as grave as that
            part.told = gravest((severity, part.told))
        self._schedule(part.fold)

    def _enter(self, feed: Watched, at: float) -> None:
        if feed.muted or feed.flapping or feed.down is None:
            return
        self._join(feed, Kind.OUTAGE, at, feed.severity).since = feed.down

    def _join(self, feed: Watched, kind: Kind, at: float, severity: Severity) -> Part:
        host = feed.origin.host
        reason = feed.reason if kind is Kind.OUTAGE else None
        wide = next((each for each in self._folds if each.kind is kind and self._takes_in(each, feed, at)), None)
        fold = wide or self._of_host(kind, host, reason, at)
        if fold is None:
            fold = Fold(kind, Scope.FEEDS, host, reason)
            self._folds.append(fold)
        known = wide and (wide.scope is not Scope.HOSTS or host in wide.hosts) and not graver(severity, wide.told)
        told = severity if known else None
        self.joined += told is not None
        part = Part(feed, fold, at, severity, feed.reason, at + WAITS[severity], told=told)
        feed.part = fold.parts[feed.origin.feed] = part
        self._schedule(fold)
        return part

    def _takes_in(self, fold: Fold, feed: Watched, at: float) -> bool:
        """Whether a wide incident is what the feed suffers from."""
        if fold.scope is Scope.FEEDS or fold.told_at is None:
            return False
        host, parts = feed.origin.host, fold.parts.values()
        if fold.scope is Scope.HOSTS:
            follows = any(at - part.since <= FRESH for part in parts) or host in fold.hosts
            return follows and any(akin(feed.reason, part.reason) for part in parts)
        if fold.scope is Scope.HOST and fold.host != host:
            return False
        hurt = sum(part.until is None for part in parts)
        return at - fold.told_at <= FRESH or 2 * hurt >= len(self._in_scope(fold))

    def _of_host(self, kind: Kind, host: str, reason: Reason | None, at: float) -> Fold | None:
        """The incident of some of the host's feeds that is for this cause, or may be."""
        folds = [each for each in self._folds if (each.kind, each.scope, each.host) == (kind, Scope.FEEDS, host)]
        same = next((each for each in folds if each.reason is reason), None)
        fresh = (each for each in folds if each.told_at is None or at - each.told_at <= FRESH)
        return same or next((each for each in fresh if akin(each.reason, reason)), None)

    def _in_scope(self, fold: Fold) -> list[Watched]:
        everywhere = fold.scope in (Scope.HOSTS, Scope.NETWORK)
        return [
            feed for feed in self.feeds.values() if not feed.stopped and (everywhere or feed.origin.host == fold.host)
        ]

    def _schedule(self, fold: Fold) -> None:
        """Set when the fold is looked at again, after something about it has changed."""
        if fold.over:
            fold.due = max(part.until or 0.0 for part in fold.parts.values()) + SETTLE
            return
        untold = [part for part in fold.parts.values() if part.untold]
        if fold.told_at is None:
            fold.due = min(part.due for part in untold)
            return
        repeat = REPEATS[min(fold.repeats, len(REPEATS) - 1)] if fold.kind is Kind.OUTAGE else math.inf
        fold.due = fold.told_at + repeat
        told, interval = fold.told, min(INTERVAL * 2**fold.grown, REPEATS[0])
        for part in untold:
            # what is graver than all that was told must not wait for the interval
            soonest = 0.0 if graver(part.severity, told) else fold.told_at + interval
            fold.due = min(fold.due, max(part.due, soonest))

    def _tell(self, fold: Fold, now: float) -> Incident:
        if fold.over:
            self._folds.remove(fold)
            report = self._report(fold, Phase.RESOLVED)
            for part in fold.parts.values():
                part.feed.part = None
            return report
        if not any(part.untold for part in fold.parts.values()):
            fold.repeats += 1
            self._mark(fold, now)
            return self._report(fold, Phase.REPEATED)
        wider = self._widened(fold, now)
        phase = Phase.OPENED if wider.told_at is None else Phase.GREW
        wider.grown += phase is Phase.GREW
        report = self._report(wider, phase)
        self._mark(wider, now)
        return report

    def _mark(self, fold: Fold, now: float) -> None:
        fold.told_at = now
        for part in fold.parts.values():
            # who has read that it is back is to hear of its next interruption
            part.told = gravest((part.severity, part.told or Severity.INFO)) if part.until is None else None
        fold.told = fold.severity
        self._schedule(fold)

    def _report(self, fold: Fold, phase: Phase) -> Incident:
        scope = self._in_scope(fold)
        return Incident(
            severity=fold.severity,
            kind=fold.kind,
            scope=fold.scope,
            phase=phase,
            troubles=tuple(part.trouble for part in fold.parts.values()),
            total=len(scope),
            hosts=len({feed.origin.host for feed in self.feeds.values() if not feed.stopped}),
        )

    # -- the trouble of a host, and of the network

    def _widened(self, fold: Fold, now: float) -> Fold:
        """The fold itself, or the wider one that what is new in it has become part of."""

        def fresh(part: Part) -> bool:
            grows = part.fold is fold and fold.scope is Scope.HOSTS
            new = part.told is None and part.until is None
            return grows or new or (part.fold.told_at or 0.0) > now - FRESH

        if fold.scope is Scope.NETWORK or not any(part.untold and fresh(part) for part in fold.parts.values()):
            return fold
        parts = [part for each in self._folds if each.kind is fold.kind for part in each.parts.values() if fresh(part)]
        hosts = {feed.origin.host for feed in self.feeds.values() if not feed.stopped}
        hurt = [host for host in hosts if self._half(host, parts)]
        if len(hurt) > 1 and 2 * len(hurt) > len(hosts):
            return self._merged(parts, Scope.NETWORK, "")
        if fold.scope is Scope.HOSTS:
            return fold
        causes = {part.reason for part in fold.parts.values() if part.untold}
        related = [part for part in parts if any(akin(part.reason, cause) for cause in causes)]
        if len({part.feed.origin.host for part in related if part.lasts(now)}) > 1:
            return self._merged(related, Scope.HOSTS, "")
        mine = [part for part in parts if part.feed.origin.host == fold.host]
        if fold.scope is Scope.FEEDS and len(mine) > 1 and self._half(fold.host, mine):
            return self._merged(mine, Scope.HOST, fold.host)
        return fold

    def _half(self, host: str, parts: Collection[Part]) -> bool:
        total = sum(feed.origin.host == host and not feed.stopped for feed in self.feeds.values())
        hurt = sum(part.feed.origin.host == host and part.until is None for part in parts)
        return 2 * hurt >= total > 0

    def _merged(self, parts: Collection[Part], scope: Scope, host: str) -> Fold:
        wide = Fold(next(iter(parts)).fold.kind, scope, host, None)
        for part in parts:
            self.leave(part.feed)
            part.fold = wide
            part.feed.part = wide.parts[part.feed.origin.feed] = part
        self._folds.append(wide)
        return wide
