"""Several legs of one stream made into one: first arrival wins, nothing twice, in order (pure).

Identity is compared between legs, never within one: the k-th occurrence on one leg is the k-th on another, because
an exchange may repeat a message rightfully (40 to 50 % of Bithumb's books equal the one before:
arbitrage-observatory bithumb profile, wire, 2026-09-23).
"""

import itertools
import math
from collections.abc import Sequence

from actors.marks import Key, Mark

SETTLE = 5.0
"""Seconds that a leg which joins others has to show that it follows on what they brought."""
LAG = 0.5
"""Seconds by which a message may come later on one leg than on another without a word."""
HELD = 4096
"""Frames of such a leg that may be kept back; beyond that it is believed at once."""
WINDOW = 60.0
"""Seconds for which a message is remembered."""
LEAST = 64
"""Messages of a code that are remembered however old: Upbit's trades came up to 30 places out of order."""
MOST = 1024
"""Messages of a code that are remembered however young."""

Data = str | bytes


class Leg:
    """One session's share of a merge, opaque; made by :meth:`Merge.join`."""

    def __init__(self, number: int, now: float, *, settled: bool) -> None:
        self.number = number
        self.joined = now
        self.settled = settled
        self.gone = False
        self.met = False
        """Whether another leg has come as far as this one had begun."""
        self.tops: dict[Key, int] = {}
        self.held: dict[Key, list[tuple[Data, Mark, float]]] = {}
        """What is kept back, and since when."""
        self.waiting = 0


class _Seen:
    """How often a message was delivered, and how often each leg brought it."""

    __slots__ = ("at", "by", "times")

    def __init__(self, at: float) -> None:
        self.at = at
        self.times = 0
        self.by: dict[int, int] = {}


class _Code:
    """What is known of one key: the window; the order, identity and epoch of the message delivered last."""

    __slots__ = ("epoch", "identity", "last", "seen")

    def __init__(self) -> None:
        self.seen: dict[int, _Seen] = {}
        self.last: int | None = None
        self.identity: int | None = None
        self.epoch = -1


class Merge:
    """The legs of one shard.

    A leg that joins others may be ahead of them, and their messages still on the way. So what it brings of an ordered
    key is kept back until the others have come further than it began, for ``settle`` seconds at most; when they
    leave, it is let through at once. A message is never followed by an earlier one that another leg brings: that one
    is dropped, and counted in :attr:`late` if it is not known to have been delivered.

    Of each key the messages of ``WINDOW`` seconds are remembered, at least ``LEAST`` and at most ``MOST``. What a leg
    brings that lags further behind is late where there is an order, and is delivered again where there is none.

    A repeat whose twin came before a leg joined is taken for that twin, and so is one that only one leg was told, where
    only another was told the twin. Messages without a mark are told apart by their bytes.

    Where the others never come as far as a leg has begun, what lies in between may be lost, whatever they still bring:
    :attr:`alone` says so, with the first messages that may follow on a loss.

    Args:
        snapshots: Whether every snapshot is delivered; else only one that tells something new.
        settle: Seconds that a leg which joins others has to show that it follows on what they brought.
    """

    def __init__(self, *, snapshots: bool = False, settle: float = SETTLE) -> None:
        self.late = 0
        self.alone = False
        """Whether messages may be lost between what the others brought and where a leg had begun."""
        self._snapshots = snapshots
        self._settle_for = settle
        self._codes: dict[Key, _Code] = {}
        self._legs: dict[int, Leg] = {}
        self._numbers = itertools.count()
        self._epoch = 0

    def join(self, now: float) -> Leg:
        """A session begins; one that joins no other is believed at once."""
        alone = not self._legs
        # numbers may have begun anew while no leg was there
        self._epoch += alone
        leg = Leg(next(self._numbers), now, settled=alone)
        self._legs[leg.number] = leg
        return leg

    def leave(self, leg: Leg, now: float) -> Sequence[Data]:
        """A session is over; returns what is delivered now that nobody waits for it any more."""
        leg.gone = True
        if not leg.held:
            self._legs.pop(leg.number, None)
        if any(other.settled for other in self._legs.values()):
            return ()
        out: list[Data] = []
        heir = next((other for other in self._legs.values() if not other.gone), None)
        if heir is not None:
            self.alone = self.alone or self._unmet_since(heir) < now - LAG
            out += self._settle(heir, now)
        else:
            for key in {key for other in self._legs.values() for key in other.held}:
                out += self._release_up_to(None, key, now)
            self._legs.clear()
        return [*out, *self._caught_up(now)]

    def follows(self, leg: Leg, now: float) -> bool:
        """Whether a leg has been there for long enough to have all that the others had on their way to us.

        A planned change of legs waits for it before the old one leaves. If the others are lost before, messages may be
        lost that were on their way to them only.
        """
        return leg.settled or now >= leg.joined + self._settle_for

    def take(self, leg: Leg, frames: Sequence[Data], marks: Sequence[Mark | None], now: float) -> Sequence[Data]:
        """The frames to deliver now, ``frames`` itself if it is all of them and no other.

        Args:
            leg: Which leg brought them.
            frames: What it brought, in order.
            marks: The mark of each frame.
            now: Monotonic seconds.
        """
        before: list[Data] = []
        for other in list(self._legs.values()):
            if not other.settled and self._settles(other, now):
                before += self._settle(other, now)
        out: list[Data] = []
        for data, mark in zip(frames, marks, strict=True):
            known = mark or Mark(("", ""), hash(data))
            accepted = (leg.settled or not self._keeps_back(leg, data, known, now)) and self._accepts(leg, known, now)
            if accepted or (known.snapshot and self._snapshots):
                out.append(data)
        after = self._caught_up(now) if len(self._legs) > 1 else []
        if before or after:
            return [*before, *out, *after]
        return frames if len(out) == len(frames) else out

    # -- a leg that has yet to show that it follows on the others

    def _settles(self, leg: Leg, now: float) -> bool:
        if leg.waiting > HELD:
            return True
        if now < leg.joined + self._settle_for:
            return False
        since = self._unmet_since(leg)
        if since != math.inf and now < since + self._settle_for:
            return False
        self.alone = self.alone or since != math.inf
        return True

    def _unmet_since(self, leg: Leg) -> float:
        """Since when something is kept back that the others should have come to; infinity: nothing is."""
        if leg.met:
            return math.inf
        since = math.inf
        for key, kept in leg.held.items():
            # of a key that nobody has ever brought the others may know nothing, and a snapshot is of a time before
            code = self._codes.get(key)
            if code is not None and not any(mark.identity in code.seen for _, mark, _ in kept):
                since = min([since, *(at for _, mark, at in kept if not mark.snapshot)])
        return since

    def _keeps_back(self, leg: Leg, data: Data, mark: Mark, now: float) -> bool:
        if mark.key in leg.held:
            keep = True
        elif mark.order is None:
            # without an order a late message may still come later; only a snapshot may be told too early
            keep = mark.snapshot and not self._is_old(mark)
        else:
            keep = mark.key not in leg.tops and not self._is_old(mark)
        if keep and not (mark.snapshot and self._snapshots):
            leg.held.setdefault(mark.key, []).append((data, mark, now))
            leg.waiting += 1
        return keep

    def _is_old(self, mark: Mark) -> bool:
        """Whether what has been delivered goes further than this message; as far is not enough, twins may follow."""
        code = self._codes.get(mark.key)
        if code is None:
            return False
        if mark.order is None or code.last is None or code.epoch != self._epoch:
            return mark.identity in code.seen
        return mark.order < code.last

    def _caught_up(self, now: float) -> list[Data]:
        """What may go now because the other legs have come as far as the leg had begun."""
        out: list[Data] = []
        for leg in [leg for leg in self._legs.values() if leg.held]:
            for key in [key for key, waiting in leg.held.items() if self._is_old(waiting[0][1])]:
                leg.met = True
                out += self._release(leg, key, now)
        return out

    def _settle(self, leg: Leg, now: float) -> list[Data]:
        """Believe a leg; what another has waiting of before goes first."""
        leg.settled = True
        return [data for key in list(leg.held) for data in self._release_up_to(leg, key, now)]

    def _release_up_to(self, last: Leg | None, key: Key, now: float) -> list[Data]:
        """What is waiting of a key, from the leg that began earliest up to ``last``, None for all of them."""
        waiting = [leg for leg in self._legs.values() if key in leg.held]
        out: list[Data] = []
        for leg in sorted(waiting, key=lambda leg: (leg.held[key][0][1].order or 0, leg.number)):
            out += self._release(leg, key, now)
            if leg is last:
                break
        return out

    def _release(self, leg: Leg, key: Key, now: float) -> list[Data]:
        waiting = leg.held.pop(key)
        leg.waiting -= len(waiting)
        if leg.gone and not leg.held:
            self._legs.pop(leg.number, None)
        return [data for data, mark, _ in waiting if self._accepts(leg, mark, now)]

    # -- one message

    def _accepts(self, leg: Leg, mark: Mark, now: float) -> bool:
        code = self._codes.get(mark.key)
        if code is None:
            code = self._codes[mark.key] = _Code()
        order, top = mark.order, leg.tops.get(mark.key)
        older = order is not None and code.epoch == self._epoch and code.last is not None and order < code.last
        if mark.snapshot:
            return self._accepts_snapshot(code, mark, now, older=older)
        seen = code.seen.get(mark.identity) or self._remember(code, mark.identity, now)
        nth = seen.by.get(leg.number, 0) + 1
        seen.by[leg.number] = nth
        if order is not None:
            leg.tops[mark.key] = order
        if nth <= seen.times:
            return False
        # a leg that goes back by itself is not late: the exchange does
        if older and (top is None or (order is not None and order >= top)):
            self.late += 1
            return False
        seen.times = nth
        code.last, code.identity, code.epoch = order, mark.identity, self._epoch
        return True

    def _accepts_snapshot(self, code: _Code, mark: Mark, now: float, *, older: bool) -> bool:
        level = code.epoch == self._epoch and mark.order is not None and mark.order == code.last
        known = level or mark.identity in code.seen
        if older or known:
            return False
        # the message that it restates may still come, and is then no news
        self._remember(code, mark.identity, now).times = 1
        code.last, code.identity, code.epoch = mark.order, mark.identity, self._epoch
        return True

    def _remember(self, code: _Code, identity: int, now: float) -> _Seen:
        seen = code.seen
        while len(seen) >= LEAST:
            oldest = next(iter(seen))
            if len(seen) < MOST and seen[oldest].at > now - WINDOW:
                break
            del seen[oldest]
        made = seen[identity] = _Seen(now)
        return made
