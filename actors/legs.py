"""Several sockets that carry the same: one stream out of all of them, interrupted only when none carries on."""

import math
from collections.abc import Sequence

import trio

from actors.errors import Reason
from actors.events import (
    Connected,
    Disconnected,
    Event,
    EventHook,
    Failed,
    LegLive,
    LegLost,
    LinkState,
    Live,
    Probed,
    Quiet,
)
from actors.exchange import Kind, Subscription
from actors.feed import Feed
from actors.items import Batch, Down, Gap
from actors.line import Line, Part, sum_up
from actors.marks import no_mark
from actors.merge import HELD, SETTLE, WINDOW, Merge
from actors.merge import Leg as Place
from actors.sequence import Continuity
from actors.stats import ConnectorStats
from actors.subscriptions import codes_of


class Bundle(Part):
    """A part that several legs may carry at once; the first arrival of a message wins.

    Args:
        feed: The whole.
        number: The shard's.
        subscriptions: What each leg carries.
        emit: The event hook.
        url: Where it is dialled, if not where the exchange says.
        moved: Where whoever renews the legs waits for news of them.
        snapshots: Whether the snapshots that an overlapping leg's subscription causes are delivered.
    """

    def __init__(
        self,
        feed: Feed,
        number: int,
        subscriptions: tuple[Subscription, ...],
        emit: EventHook,
        url: str = "",
        *,
        moved: trio.lowlevel.ParkingLot,
        snapshots: bool = False,
    ) -> None:
        super().__init__(feed, number, subscriptions, emit, url)
        self.legs: list[Leg] = []
        self.merge: Merge | None = None
        """Only while there may be two sessions: telling messages apart costs more than passing them on."""
        self.merging_since = 0.0
        self._parted_at = -math.inf
        self.news_at: float | None = None
        """When a witness brought what the leg in doubt had not; it is held back until that is settled."""
        self.moved = moved
        life = self.exchange.max_lifetime
        self.settling = min(SETTLE, life / 20) if life else SETTLE
        """Seconds that a leg is watched beside another before it may carry on alone."""
        self._snapshots = snapshots
        self._held: list[tuple[Leg, Sequence[str | bytes], int, float, int]] = []
        self._number = 0
        self._gone = ConnectorStats(self.stats.origin, state=LinkState.STOPPED)
        self._continuity = Continuity() if self.exchange.check_sequence else None
        self.changing = trio.Lock()
        """Held by the leg that changes what it is subscribed to, where that may lose messages: one after the other."""

    def add(self, slot: int, *, witness: bool = False) -> "Leg":
        """A further leg, in the place of one of those wanted at a time, counted from 0."""
        self._number += 1
        leg = Leg(self, self._number, slot, witness=witness)
        self.legs.append(leg)
        return leg

    def discard(self, leg: "Leg", wall: int, now: float) -> None:
        """A leg is told to end: it counts no longer, and what it may still bring is known already."""
        leg.over(wall, now)
        leg.retired = True
        self.legs.remove(leg)
        self._parted_at = now
        self._gone.incarnation += leg.stats.incarnation
        self._gone.reconnect_count += leg.stats.reconnect_count
        self.leg_moved()

    def begin_merging(self, now: float) -> None:
        """Remember what is delivered from now on, so that a further leg's repeats are known."""
        if self.merge is None:
            self.merge = Merge(snapshots=self._snapshots, settle=self.settling)
            self.merging_since = now
            for leg in self.legs:
                leg.join(now)

    def end_merging(self, now: float) -> float:
        """There is one leg again; returns when to ask anew: it may still repeat what one that left has brought."""
        if self.merge is None:
            return math.inf
        if now < (over := self._parted_at + WINDOW):
            return over
        self.merge = None
        for leg in self.legs:
            leg.place = None
        return math.inf

    def carried(self, now: float, *, without: "Leg") -> bool:
        """Whether another leg is live that has brought, or will bring, whatever this one does not bring any more."""
        if without.doubted:
            since = without.heard_at
        else:
            since = math.inf if without.born is None else max(without.alive_at, without.heard_at)
        return self.covered(now, since, without=without)

    def covered(self, now: float, since: float, *, without: "Leg") -> bool:
        """Whether another leg is live that has brought, or will bring, everything from then on."""
        others = [leg for leg in self.legs if leg is not without and not leg.vain]
        return any(leg.follows(now) and leg.covers(since) for leg in others)

    def settle_doubt(self) -> None:
        """The leg in doubt has brought something, or is lost: what was held back may go."""
        held, self.news_at = self._held, None
        self._held = []
        for leg, frames, wall, now, session in held:
            leg.merge_in(frames, wall=wall, now=now, session=session)

    def hold(self, leg: "Leg", frames: Sequence[str | bytes], wall: int, now: float, session: int) -> None:
        """A witness has brought something, and the leg in doubt has not: it may still come."""
        self._held.append((leg, frames, wall, now, session))
        if self.news_at is None or sum(len(held) for _, held, _, _, _ in self._held) > HELD:
            self.news_at = now if self.news_at is None else -math.inf
            self.moved.unpark_all()

    def subscribe_to(self, subscriptions: tuple[Subscription, ...]) -> None:
        """From now on these are wanted."""
        super().subscribe_to(subscriptions)
        if self._continuity is not None:
            self._continuity.keep(codes_of(subscriptions))
        for leg in self.legs:
            leg.subscribe_to(subscriptions)

    def leg_moved(self) -> None:
        """A leg has changed its state, or has come or gone: the bundle's follows the most advanced."""
        stats, previous = self.stats, self.stats.state
        sum_up(stats, [self._gone, *(leg.stats for leg in self.legs)], max)
        begun = [leg.stats.connection_start_time for leg in self.legs]
        stats.connection_start_time = min(filter(None, begun), default=None)
        self.moved.unpark_all()
        if stats.state is not previous:
            self._moved(previous)

    def deliver(self, frames: Sequence[str | bytes], *, wall: int, now: float, session: int) -> None:
        """Pass on what is new of what a leg has brought."""
        if self._continuity is not None:
            if self._interruption is not None:
                self._continuity = Continuity()
            for loss in self._continuity.take(map(self.exchange.mark, frames)):
                self.lost(loss, wall, now)
        self.push(frames, wall=wall, now=now, session=session)

    def prove(self, frames: Sequence[str | bytes], now: float) -> None:
        """After an interruption, look at what a leg has brought before it is merged, which drops what only restates."""
        if self._interruption is not None:
            self._restated(frames, now)

    def look_for_loss(self, merge: Merge, leg: "Leg | None" = None) -> None:
        """If the others have not come as far as a leg had begun: if it is named, they count for nothing any more."""
        if not merge.alone:
            return
        merge.alone = False
        self.interrupted(Reason.MESSAGE_TIMEOUT)
        for other in self.legs:
            other.vain = leg is not None and other is not leg

    def too_late(self, count: int, wall: int, now: float) -> None:
        """So many messages came after later ones of their code, and nobody had brought them before: they are lost."""
        seconds = min(WINDOW, now - self.merging_since)
        since = wall - round(seconds * 1e9)
        gap = Gap(Reason.SEQ_GAP, since, wall, seconds, certain=True, lost=count, started=now - seconds)
        self.put(gap)
        self.report(gap, now)


class Leg(Line):
    """One socket of a bundle, with a state of its own.

    What concerns it alone is told as :class:`~actors.events.LegLive` and :class:`~actors.events.LegLost`.
    """

    checks_sequence = False

    def __init__(self, bundle: Bundle, number: int, slot: int, *, witness: bool = False) -> None:
        super().__init__(
            f"{bundle.name}/leg-{number}",
            bundle.exchange,
            bundle.subscriptions,
            stats=ConnectorStats(bundle.stats.origin),
            emit=self._tell,
        )
        self.bundle = bundle
        self.number = number
        self.slot = slot
        self.turn = bundle.changing
        self.witness = witness
        """Whether it is there only to see whether another leg still tells what there is to tell."""
        self.can_doubt = self.exchange.mark is not no_mark
        self.doubted = False
        """Whether it has been silent for so long that a witness was asked for."""
        self.heard_at = 0.0
        """When it last brought data, or its session began."""
        self.vain = False
        """Whether another leg has brought what it did not, for so long that it counts for nothing."""
        self.place: Place | None = None
        """Its place in the merge, while it has a session and there is one."""
        self.born: float | None = None
        """When its session began, on trio's clock; None while it has none."""
        self.due: float | None = None
        """When it is to be renewed, once that has been worked out for this session."""
        self.leaving = ""
        """Why it is to be replaced; empty while it is not."""
        self.delivers = False
        """Whether its session has brought data."""
        self.retired = False
        """Whether it is only closing any more."""

    @property
    def full(self) -> bool:
        """Whether reading has to wait for a consumer."""
        return self.bundle.full

    @property
    def complete(self) -> bool:
        """Whether the whole feed is live."""
        return self.bundle.complete

    async def room(self) -> None:
        """Wait until no consumer makes reading wait."""
        await self.bundle.room()

    def follows(self, now: float) -> bool:
        """Whether it is live, and nothing is on its way any more that only another leg would bring."""
        merge = self.bundle.merge
        settled = merge is None or (self.place is not None and merge.follows(self.place, now))
        return settled and self.stats.state is LinkState.LIVE

    def covers(self, since: float) -> bool:
        """Whether it has been there for long enough to have brought everything from then on."""
        return self.born is not None and self.born + self.bundle.settling <= since

    def doubt(self) -> None:
        """Ask for a witness, unless there is another leg already."""
        self.doubted = True
        self.bundle.moved.unpark_all()

    def vouched(self, now: float) -> bool:
        """Whether another leg is live and has brought nothing that this one lacks."""
        if self.bundle.news_at is not None:
            return False
        others = [leg for leg in self.bundle.legs if leg is not self and leg.follows(now)]
        return any(leg.heard_at <= self.heard_at + self.bundle.settling or not leg.delivers for leg in others)

    def spared(self, now: float) -> bool:
        """Whether another leg carries on without this one."""
        return self.bundle.carried(now, without=self)

    def replace(self, why: str) -> bool:
        """Ask for a fresh leg beside this one, which leaves once the other delivers."""
        self.leaving = self.leaving or why
        self.bundle.moved.unpark_all()
        return True

    def dialling(self, wall: int, now: float) -> None:
        """A connector begins."""
        self.bundle.dialling(wall, now)

    def silence(self, now: float) -> float:
        """Seconds since any leg's last message."""
        return self.bundle.silence(now)

    def new_session(self) -> int:
        """The number of the session that has just begun."""
        self.born, self.due, self.delivers = trio.current_time(), None, False
        self.heard_at, self.doubted, self.vain = self.born, False, False
        self.join(self.born)
        self.stats.sessions = self.bundle.new_session()
        return self.stats.sessions

    def join(self, now: float) -> None:
        """Take a place in the bundle's merge, if there is one and a session to bring something."""
        if self.bundle.merge is not None and self.born is not None:
            self.place = self.bundle.merge.join(now)

    def push(self, frames: Sequence[str | bytes], *, wall: int, now: float, session: int) -> None:
        """Take data frames that have just been received; raises GiveUp under the policy ``fail``."""
        if self.retired:
            return
        bundle, stats = self.bundle, self.stats
        stats.messages += len(frames)
        stats.last_message_time = wall / 1e9
        self.heard_at, self.vain = now, False
        if not self.delivers or self.doubted:
            was_doubted, self.delivers, self.doubted = self.doubted, True, False
            bundle.moved.unpark_all()
            if was_doubted:
                bundle.settle_doubt()
        if self.witness and any(leg.doubted for leg in bundle.legs):
            bundle.hold(self, frames, wall, now, session)
        else:
            self.merge_in(frames, wall=wall, now=now, session=session)

    def merge_in(self, frames: Sequence[str | bytes], *, wall: int, now: float, session: int) -> None:
        """Pass on what no other leg has brought."""
        bundle = self.bundle
        if self.place is not None and bundle.merge is not None:
            bundle.prove(frames, now)
            late = bundle.merge.late
            frames = bundle.merge.take(self.place, frames, [self.exchange.mark(frame) for frame in frames], now)
            if bundle.merge.late > late:
                bundle.too_late(bundle.merge.late - late, wall, now)
            bundle.look_for_loss(bundle.merge, self)
        if frames:
            bundle.deliver(frames, wall=wall, now=now, session=session)

    def push_control(self, frame: str | bytes, kind: Kind, *, wall: int, now: float, session: int) -> None:
        """Take a frame that is no data."""
        if not self.retired:
            self.bundle.push_control(frame, kind, wall=wall, now=now, session=session)

    def interrupted(self, reason: Reason) -> None:
        """A connector's verdict: an interruption, unless another leg carries on."""
        bundle, was_doubted = self.bundle, self.doubted
        if not self.vain and not bundle.carried(trio.current_time(), without=self):
            bundle.interrupted(reason)
        self.doubted = False
        if was_doubted:
            bundle.settle_doubt()

    @property
    def reached(self) -> tuple[int, float]:
        """When any leg's last message came, or the first dial began, by both clocks."""
        return self.bundle.reached

    def may_miss(self, since: tuple[int, float], codes: tuple[str, ...], wall: int, now: float) -> None:
        """Messages of these codes may have been lost here; another leg that was there all the time has them."""
        if not self.retired and not self.bundle.covered(now, since[1], without=self):
            self.bundle.may_miss(since, codes, wall, now)

    def put(self, item: Batch | Down | Gap) -> None:
        """Put an item at the end of the feed's buffer."""
        self.bundle.put(item)

    def report(self, gap: Gap, now: float) -> None:
        """Count a gap and tell of it."""
        self.bundle.report(gap, now)

    def over(self, wall: int, now: float) -> None:
        """The session brings nothing more: what others have waiting behind it may go."""
        self.born = None
        self.doubted = False
        place, self.place, merge = self.place, None, self.bundle.merge
        if place is not None and merge is not None:
            frames = merge.leave(place, now)
            self.bundle.look_for_loss(merge)
            if frames:
                self.bundle.deliver(frames, wall=wall, now=now, session=self.bundle.stats.sessions)

    def _moved(self, previous: LinkState) -> None:
        del previous
        self.bundle.leg_moved()

    def _tell(self, event: Event) -> None:
        """Pass on what a connector tells: what concerns this leg alone is told as such, or not at all."""
        emit = self.bundle.emit
        others = [leg for leg in self.bundle.legs if leg is not self and leg.stats.state is LinkState.LIVE]
        if not others:
            emit(event)
            return
        match event:
            case Live():
                emit(LegLive(at=event.at, origin=event.origin, session=event.session))
            case Failed() if not self.leaving:
                emit(
                    LegLost(
                        at=event.at,
                        origin=event.origin,
                        session=event.session,
                        reason=event.reason,
                        detail=event.detail,
                        left=len(others),
                    )
                )
            case Connected() | Failed() | Disconnected() | Quiet() | Probed():
                pass
            case _:
                emit(event)


Source = Feed | Part | Leg
"""What one connector fills."""
