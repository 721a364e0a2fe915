"""Make-before-break: a fresh leg is open, subscribed and delivering before the one that it replaces is closed."""

import math
from collections.abc import Callable
from typing import Protocol

import trio

from actors.backoff import Chance
from actors.events import EventHook, LinkState, NoOverlap, Renewed
from actors.legs import Bundle, Leg
from supervisors.renewal import LegPlan

END_OF_LIFE = "its time has come"
"""Why a leg is replaced that nobody asked to."""


WAITING = (LinkState.DOWN, LinkState.BACKOFF, LinkState.QUARANTINED, LinkState.GAVE_UP)
"""Where a leg stands that has failed and is not being dialled."""


class Hands(Protocol):
    """Who opens and closes sockets."""

    def open_leg(self, bundle: Bundle, slot: int, *, witness: bool = False) -> None:
        """Start a connector for a further leg."""
        ...

    def fail_leg(self, leg: Leg, why: str) -> None:
        """End a leg's session with the verdict that no data come."""
        ...

    def close_leg(self, leg: Leg) -> None:
        """Stop a leg's connector, for good."""
        ...

    def reopen_leg(self, leg: Leg, why: str) -> None:
        """Let a leg end its session and begin another."""
        ...

    def has_room(self, slot: int, /) -> bool:
        """Whether the exchange allows one more socket now."""
        ...


class Rotation:
    """Keeps each bundle of a feed at its legs, and replaces those that are to leave.

    What is to be done follows from how the legs stand alone (:meth:`step`), so nothing is forgotten when one of them
    fails halfway.

    Args:
        plan: How many, and until when.
        hands: Who opens and closes sockets.
        emit: The event hook.
        wall: Nanoseconds UTC.
        random: Spreads the renewals.
    """

    def __init__(
        self, plan: LegPlan, hands: Hands, *, emit: EventHook, wall: Callable[[], int], random: Chance
    ) -> None:
        self.bundles: list[Bundle] = []
        self.moved = trio.lowlevel.ParkingLot()
        """Where it waits for news of the legs."""
        self._plan = plan
        self._hands = hands
        self._emit = emit
        self._wall = wall
        self._random = random
        self._warned = False

    async def run(self) -> None:
        """Act whenever something has moved or is due, until cancelled."""
        while True:
            now = trio.current_time()
            wake = min([self.step(bundle, now) for bundle in self.bundles], default=math.inf)
            with trio.move_on_at(wake):
                await self.moved.park()

    def step(self, bundle: Bundle, now: float) -> float:
        """Do what is due for one bundle; returns when to look again, if nothing moves before."""
        wake = min(self._look_for_old(bundle, now), self._look_for_dead(bundle, now))
        for slot in range(self._plan.count):
            wake = min(wake, self._fill(bundle, slot, now))
        if len(bundle.legs) > 1:
            bundle.begin_merging(now)
        elif all(not leg.leaving for leg in bundle.legs):
            wake = min(wake, bundle.end_merging(now))
        return wake

    def _look_for_old(self, bundle: Bundle, now: float) -> float:
        """Whose time has come is to leave, one at a time: the others are to carry on meanwhile."""
        wake = math.inf
        for leg in bundle.legs:
            if leg.born is None or leg.leaving:
                continue
            if leg.due is None:
                leg.due = self._plan.due(bundle.exchange, leg.born, self._wall(), self._random)
            if now < leg.due:
                wake = min(wake, leg.due)
            elif not any(other.leaving for other in bundle.legs):
                leg.leaving = END_OF_LIFE
        return wake

    def _look_for_dead(self, bundle: Bundle, now: float) -> float:
        """A leg that is in doubt gets a witness; what that is told and the other not decides."""
        doubted = next((leg for leg in bundle.legs if leg.doubted), None)
        witness = next((leg for leg in bundle.legs if leg.witness), None)
        if doubted is None:
            if witness is not None:
                self._dismiss(bundle, witness)
        elif bundle.news_at is not None:
            if now < (settled := bundle.news_at + bundle.settling):
                return settled
            seconds = now - doubted.heard_at
            self._hands.fail_leg(doubted, f"no data for {seconds:.0f} s, while another connection brings some")
        elif len(bundle.legs) == 1 and self._hands.has_room(doubted.slot):
            bundle.begin_merging(now)
            self._hands.open_leg(bundle, doubted.slot, witness=True)
        return math.inf

    def _dismiss(self, bundle: Bundle, witness: Leg) -> None:
        """The doubt is settled: the witness goes, or stays in the place of a leg that is lost."""
        bundle.settle_doubt()
        lost = [leg for leg in bundle.legs if leg.slot == witness.slot and leg is not witness and leg.born is None]
        if lost and witness.born is not None:
            witness.witness = False
            for leg in lost:
                self._hands.close_leg(leg)
        elif len(bundle.legs) > 1:
            self._hands.close_leg(witness)
        else:
            witness.witness = False

    def _fill(self, bundle: Bundle, slot: int, now: float) -> float:
        """See to one of the legs that are wanted: its successor is opened, or has come so far that it may leave."""
        here = [leg for leg in bundle.legs if leg.slot == slot]
        leaving, staying = [leg for leg in here if leg.leaving], [leg for leg in here if not leg.leaving]
        if leaving and not staying:
            old = next((leg for leg in leaving if leg.follows(now)), leaving[0])
            for heir in leaving:
                if heir is not old:  # it is to leave, too, before it could take over
                    self._hands.close_leg(heir)
            return self._succeed(bundle, old, now)
        for leg in leaving:
            heir = staying[0]
            ready = heir.follows(now) and heir.delivers and not leg.doubted
            if ready:
                bundle.feed.stats.renewals += 1
                self._emit(Renewed(at=now, origin=leg.stats.origin, session=heir.stats.sessions, why=leg.leaving))
            if leg.born is None and heir.stats.state in WAITING:
                leg.leaving = ""  # it is dialled again sooner than its successor
                self._hands.close_leg(heir)
                return math.inf
            if ready or leg.born is None:
                self._hands.close_leg(leg)
            elif heir.place is not None and (settled := heir.place.joined + bundle.settling) > now:
                return settled
        return math.inf

    def _succeed(self, bundle: Bundle, leg: Leg, now: float) -> float:
        """Open the successor of a leg that is to leave; returns from when on that can be, or infinity."""
        if leg.born is None:
            leg.leaving = ""  # its next session is a fresh one anyway
        elif not self._hands.has_room(leg.slot):
            self._reopen(leg, now)
        else:
            bundle.begin_merging(now)
            # what its successor repeats has to be known from before it is there
            if now < (known := bundle.merging_since + bundle.settling):
                return known
            self._hands.open_leg(bundle, leg.slot)
        return math.inf

    def _reopen(self, leg: Leg, now: float) -> None:
        why, leg.leaving, leg.due = leg.leaving, "", math.inf
        if not self._warned:
            self._warned = True
            self._emit(NoOverlap(at=now, origin=leg.stats.origin, why=why))
        self._hands.reopen_leg(leg, why)
