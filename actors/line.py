"""The producers' end of a feed: what one connector fills, its state, and the interruptions of what it carries."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs
import trio

from actors.errors import Reason
from actors.events import EventHook, LinkState, NothingLost, StateChanged
from actors.exchange import Exchange, Kind, Subscription
from actors.items import Batch, Down, Gap
from actors.sequence import Loss, Restating
from actors.sieve import Sieve
from actors.stats import ConnectorStats
from actors.subscriptions import codes_of, grouped, topics

if TYPE_CHECKING:
    from actors.feed import Feed

TRANSITIONS: dict[LinkState, frozenset[LinkState]] = {
    LinkState.IDLE: frozenset({LinkState.CONNECTING, LinkState.DOWN}),
    LinkState.CONNECTING: frozenset({LinkState.CONNECTED, LinkState.DOWN}),
    LinkState.CONNECTED: frozenset({LinkState.LIVE, LinkState.DOWN}),
    LinkState.LIVE: frozenset({LinkState.DOWN}),
    LinkState.DOWN: frozenset({LinkState.CONNECTING, LinkState.BACKOFF, LinkState.QUARANTINED, LinkState.GAVE_UP}),
    LinkState.BACKOFF: frozenset({LinkState.CONNECTING, LinkState.QUARANTINED, LinkState.GAVE_UP, LinkState.DOWN}),
    LinkState.QUARANTINED: frozenset({LinkState.CONNECTING, LinkState.GAVE_UP, LinkState.DOWN}),
    LinkState.GAVE_UP: frozenset({LinkState.CONNECTING}),
    # a socket that was stopped because another of its feed failed too often waits with the feed
    LinkState.STOPPED: frozenset({LinkState.CONNECTING, LinkState.BACKOFF, LinkState.QUARANTINED, LinkState.GAVE_UP}),
}
"""Where a line may go from where; STOPPED may follow every state."""

PROGRESS = (
    LinkState.GAVE_UP,
    LinkState.QUARANTINED,
    LinkState.DOWN,
    LinkState.BACKOFF,
    LinkState.IDLE,
    LinkState.CONNECTING,
    LinkState.CONNECTED,
    LinkState.LIVE,
    LinkState.STOPPED,
)
"""From the least to the most."""


def sum_up(
    total: ConnectorStats, some: Sequence[ConnectorStats], pick: Callable[..., LinkState]
) -> Sequence[ConnectorStats]:
    """What can be said of several sockets together, all in ``total``; returns those that are not stopped.

    ``pick`` is ``min`` where the whole is as far as the one that has got least far, ``max`` where the best will do.
    """
    each = [stats for stats in some if stats.state is not LinkState.STOPPED]
    total.state = pick((stats.state for stats in each), key=PROGRESS.index, default=LinkState.STOPPED)
    total.incarnation = sum(stats.incarnation for stats in some)
    total.reconnect_count = sum(stats.reconnect_count for stats in some)
    total.next_attempt = min((s.next_attempt for s in each if s.next_attempt is not None), default=None)
    total.backoff = max((s.backoff for s in each), default=0.0)
    total.last_error = next((s.last_error for s in each if s.state is total.state), "") or total.last_error
    return each


@attrs.frozen
class Interruption:
    """One that has not ended: why, and when the last message before it came by both clocks."""

    reason: Reason
    since: int
    started: float


class Line:
    """What a connector gets of a feed.

    Args:
        name: For messages: the feed's, with the part behind it where there are several.
        exchange: The profile, fields already overridden.
        subscriptions: What is subscribed to, in the exchange's own words; changed by :meth:`subscribe_to`.
        stats: Where the connector counts.
        emit: The event hook.
    """

    checks_sequence: ClassVar[bool] = True
    """Whether sequence numbers are those of one session; else they are looked at where several have become one."""

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        subscriptions: tuple[Subscription, ...],
        *,
        stats: ConnectorStats,
        emit: EventHook,
    ) -> None:
        self.name = name
        self.exchange = exchange
        self.subscriptions = subscriptions
        self.stats = stats
        self.changed = trio.lowlevel.ParkingLot()
        """Where a connector waits for other subscriptions."""
        self.emit = emit
        """The event hook."""
        self.sieve = Sieve()
        """What is known of codes that the exchange rejects without naming them."""
        self._interruption: Interruption | None = None
        self._last: tuple[int, float] | None = None
        self._restating = Restating() if exchange.check_sequence else None

    def subscribe_to(self, subscriptions: tuple[Subscription, ...]) -> None:
        """From now on these are wanted: by the open session as soon as it can, and by every later one in full."""
        if subscriptions != self.subscriptions:
            self.subscriptions = subscriptions
            if self._restating is not None:
                self._restating.keep(codes_of(subscriptions))
            self.changed.unpark_all()

    def asked(self, *, fresh: bool = False) -> tuple[Subscription, ...]:
        """What a connector is to ask for: all that is wanted, but for what waits until a bad code is found."""
        if not self.sieve.on:
            return self.subscriptions
        return grouped(self.sieve.ask(topics(self.subscriptions), fresh=fresh))

    alive_at: float = 0.0
    """When the session that has failed last received anything, pongs included."""

    turn: trio.Lock | None = None
    """Held during a change that may lose messages, where another socket has them meanwhile."""

    @property
    def reached(self) -> tuple[int, float]:
        """When the last message came, or the first dial began, by both clocks."""
        assert self._last is not None, "only called while there is a session"  # noqa: S101 - an invariant
        return self._last

    def dialling(self, wall: int, now: float) -> None:
        """A connector begins; the first one marks where a gap before the first message starts."""
        if self._last is None:
            self._last = wall, now

    can_doubt: bool = False
    """Whether another socket can show what no probe can: that the market is quiet, or this link dead."""

    def doubt(self) -> None:
        """Ask for a socket beside the open one, to see what that is told."""

    def vouched(self, now: float) -> bool:
        """Whether another socket is told as little as this one."""
        del now
        return False

    def spared(self, now: float) -> bool:
        """Whether nothing would be lost with the open session, because another socket carries on."""
        del now
        return False

    def replace(self, why: str) -> bool:
        """Ask for a fresh session beside the open one; False where there can be none, or nothing renews it."""
        del why
        return False

    def silence(self, now: float) -> float:
        """Seconds since the last message, or since the first dial began."""
        return now - (self._last or (0, now))[1]

    @property
    def interruption(self) -> Down | None:
        """The interruption that has not ended yet, if there is one."""
        now = self._interruption
        return None if now is None else Down(now.reason, now.since, codes=self._codes())

    def interrupted(self, reason: Reason) -> None:
        """A connector's verdict; the first of an interruption puts in the :class:`~actors.items.Down`."""
        if self._interruption is None and self._last is not None:
            since, started = self._last
            self._interruption = Interruption(reason, since, started)
            if self._restating is not None:
                self._restating.interrupted()
            self.put(Down(reason, since, codes=self._codes()))

    def over(self, wall: int, now: float) -> None:
        """The open session brings nothing more."""

    def settle(self, wall: int, now: float) -> None:
        """Nothing more will come: an interruption that lasts ends with its gap."""
        self._resume(wall, now)

    def set_state(self, state: LinkState) -> None:
        """Move to ``state`` and tell it; AssertionError where the table has no such move."""
        previous = self.stats.state
        if state is previous:
            return
        if state is not LinkState.STOPPED and state not in TRANSITIONS[previous]:
            msg = f"{self.name}: no way from {previous} to {state}"
            raise AssertionError(msg)
        self.stats.state = state
        self._moved(previous)

    def lost(self, loss: Loss, wall: int, now: float) -> None:
        """Messages before those that have just been received are missing from a live session."""
        seconds = self.silence(now)
        gap = Gap(
            Reason.SEQ_GAP,
            wall - round(seconds * 1e9),
            wall,
            seconds,
            certain=loss.certain,
            lost=loss.lost,
            started=now - seconds,
            codes=(loss.key[1],),
            expected=loss.expected,
            got=loss.got,
        )
        self.put(gap)
        self.report(gap, now)

    def may_miss(self, since: tuple[int, float], codes: tuple[str, ...], wall: int, now: float) -> None:
        """Messages of these codes may have been lost on the open session from ``since``, by both clocks, until now."""
        at, started = since
        gap = Gap(Reason.RESUBSCRIBED, at, wall, now - started, started=started, codes=codes)
        self.put(gap)
        self.report(gap, now)

    def new_session(self) -> int:
        """The number of the session that has just begun, counted over the whole feed from 1."""
        self.stats.sessions += 1
        return self.stats.sessions

    def _begin_again(self, frames: Sequence[str | bytes], wall: int, now: float, session: int) -> Sequence[str | bytes]:
        """Frames have come after an interruption: pass on those that only restate, and return the others.

        Where there are others, the interruption is over.
        """
        restated = self._restated(frames, now)
        if restated:
            self._pass_on(frames[:restated], wall, now, session)
            frames = frames[restated:]
        if frames:
            self._resume(wall, now)
        return frames

    def _pass_on(self, frames: Sequence[str | bytes], wall: int, now: float, session: int) -> None:
        """Hand on frames that have been looked at."""
        raise NotImplementedError

    def _restated(self, frames: Sequence[str | bytes], now: float) -> int:
        """How many of the first frames after an interruption only say again what was delivered before it.

        If that is so of every code, the interruption is over, and nothing was lost.
        """
        if self._restating is None or self._interruption is None:
            return 0
        number = self._restating.proven(map(self.exchange.mark, frames))
        if self._restating.complete:
            reason, self._interruption = self._interruption.reason, None
            self.emit(NothingLost(at=now, origin=self.stats.origin, reason=reason))
        return number

    def _note(self, frames: Sequence[str | bytes]) -> None:
        if self._restating is not None:
            self._restating.delivered(map(self.exchange.mark, frames))

    def _resume(self, wall: int, now: float) -> None:
        """The first message after an interruption has come that may follow on a loss."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            started = interruption.started
            gap = Gap(
                interruption.reason,
                interruption.since,
                wall,
                now - started,
                started=started,
                codes=self._codes(),
            )
            self.put(gap)
            self.report(gap, now)

    def _codes(self) -> tuple[str, ...]:
        """The codes that an interruption concerns; empty for all of the feed."""
        return ()

    def put(self, item: Batch | Down | Gap) -> None:
        """Put an item at the end of the feed's buffer."""
        raise NotImplementedError

    def report(self, gap: Gap, now: float) -> None:
        """Count a gap and tell of it."""
        raise NotImplementedError

    def _moved(self, previous: LinkState) -> None:
        self.emit(
            StateChanged(at=trio.current_time(), origin=self.stats.origin, state=self.stats.state, previous=previous)
        )


class Part(Line):
    """One of several sockets of a feed: its own state and interruptions, the feed's buffer and name.

    Args:
        feed: The whole.
        number: From 1; never used again in the feed.
        url: Where it is dialled, if not where the exchange says.
    """

    def __init__(
        self, feed: "Feed", number: int, subscriptions: tuple[Subscription, ...], emit: EventHook, url: str = ""
    ) -> None:
        exchange = attrs.evolve(feed.exchange, ws_url=url) if url else feed.exchange
        stats = ConnectorStats(feed.stats.origin)
        super().__init__(f"{feed.name}/shard-{number}", exchange, subscriptions, stats=stats, emit=emit)
        self.feed = feed
        self.number = number

    @property
    def full(self) -> bool:
        """Whether reading has to wait for a consumer."""
        return self.feed.full

    @property
    def complete(self) -> bool:
        """Whether the whole feed is live."""
        return self.feed.complete

    async def room(self) -> None:
        """Wait until no consumer makes reading wait."""
        await self.feed.room()

    def dialling(self, wall: int, now: float) -> None:
        """A connector begins."""
        super().dialling(wall, now)
        self.feed.dialling(wall, now)

    def push(self, frames: Sequence[str | bytes], *, wall: int, now: float, session: int) -> None:
        """Take data frames that have just been received; raises GiveUp under the policy ``fail``."""
        if self._interruption is not None:
            frames = self._begin_again(frames, wall, now, session)
            if not frames:
                return
        self._note(frames)
        stats = self.stats
        stats.messages += len(frames)
        stats.last_message_time = wall / 1e9
        self._last = wall, now
        self._pass_on(frames, wall, now, session)

    def _pass_on(self, frames: Sequence[str | bytes], wall: int, now: float, session: int) -> None:
        self.feed.push(frames, wall=wall, now=now, session=session)

    def push_control(self, frame: str | bytes, kind: Kind, *, wall: int, now: float, session: int) -> None:
        """Take a frame that is no data."""
        self.feed.push_control(frame, kind, wall=wall, now=now, session=session)

    def new_session(self) -> int:
        """The number of the session that has just begun."""
        self.stats.sessions = self.feed.new_session()
        return self.stats.sessions

    def _codes(self) -> tuple[str, ...]:
        return codes_of(self.subscriptions) if len(self.feed.parts) > 1 else ()

    def put(self, item: Batch | Down | Gap) -> None:
        """Put an item at the end of the feed's buffer."""
        self.feed.put(item)

    def report(self, gap: Gap, now: float) -> None:
        """Count a gap and tell of it."""
        self.feed.report(gap, now)

    def _moved(self, previous: LinkState) -> None:
        self.feed.part_moved()
