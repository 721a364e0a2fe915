"""Is the link alive? Three clocks, the confirmation of subscriptions, and the probe (pure).

All times are trio's clock in seconds; nothing here waits. The connector tells what it sees, asks
:meth:`Liveness.check` what follows from it, and looks again at :attr:`Liveness.wake` at the latest.
"""

import enum
import math
from collections.abc import Iterable

import attrs

from actors.errors import Reason
from actors.exchange import Exchange, Subscription
from actors.marks import plain
from actors.rhythm import Rhythm
from actors.subscriptions import Topic


class Task(enum.Enum):
    """What a connector is to do now."""

    PROBE = "probe"
    """Send the probe: data is overdue, and its answer proves a quiet market."""
    WARN_UNCONFIRMED = "unconfirmed"
    """Data flows, but some subscriptions were not confirmed in time."""


@attrs.frozen
class Expired:
    """A clock ran out: the session is to end for this reason."""

    reason: Reason
    detail: str


Verdict = Task | Expired


class Liveness:
    """The clocks of one session, started at the 101.

    Args:
        exchange: Whose clocks; 0 switches one off.
        now: The time of the 101.
        pending: Keys that must be confirmed before the session is live; empty: any frame will do.
        can_probe: Whether the exchange answers a probe.
    """

    def __init__(self, exchange: Exchange, now: float, *, pending: frozenset[str], can_probe: bool) -> None:
        self._exchange = exchange
        self._pending = set(pending)
        self._data_at = now
        self._has_data = False
        self._subscribe_by = now + exchange.subscribe_timeout if pending else math.inf
        self._subscribed = False
        self._heard = False
        self._can_probe = can_probe and exchange.message_timeout > 0
        self._probe_at = now + exchange.message_timeout / 2 if self._can_probe else math.inf
        self._probing = False
        self._blocked = False
        self._since = now
        """From when on silence counts: the 101, or the end of a pause of this process."""

    # -- what the connector sees

    def subscribed(self) -> None:
        """The last subscription was sent."""
        self._subscribed = True

    def heard(self) -> None:
        """A frame of any kind was received, pongs included."""
        self._heard = self._subscribed

    def confirm(self, keys: tuple[str, ...]) -> None:
        """These subscriptions are proven."""
        self._pending.difference_update(keys)

    def expect(self, keys: frozenset[str], now: float) -> None:
        """Subscriptions have changed: these are to be proven, no others, and their time begins."""
        self._pending = set(keys)
        self._subscribe_by = now + self._exchange.subscribe_timeout if keys else math.inf

    def data(self, now: float) -> None:
        """A data frame was received at ``now``."""
        self._data_at = now
        self._has_data = True
        self._probing = False
        if self._can_probe:
            self._probe_at = now + self._exchange.message_timeout / 2

    def probe_sent(self) -> None:
        """The probe is on its way."""
        self._probing = True
        self._probe_at = math.inf

    def probe_answered(self, now: float) -> bool:
        """The data path has proven itself without news; False if no probe was out.

        The market is quiet, so the next probe is stretched to the latest moment that leaves its answer
        ``ping_timeout`` seconds before the limit.
        """
        if not self._probing:
            return False
        self._probing = False
        self._data_at = now
        limit = self._exchange.message_timeout
        self._probe_at = now + max(limit / 2, limit - self._exchange.ping_timeout)
        return True

    def woke(self, now: float) -> None:
        """This process has not run for a while: what nobody could see is no silence of the link's, and it is probed.

        Every clock starts over, so a link that did not survive is found within its usual limit.
        """
        self._since = now
        self._data_at = max(self._data_at, now)
        if self._pending:
            self._subscribe_by = now + self._exchange.subscribe_timeout
        if self._can_probe:
            self._probe_at = now

    def block(self) -> None:
        """We ourselves stop reading, for our consumer: nothing that is not seen now is the link's fault."""
        self._blocked = True

    def unblock(self, now: float) -> None:
        """We read again; every clock starts over."""
        self._blocked = False
        self._data_at = max(self._data_at, now)
        if self._can_probe:
            self._probe_at = now + self._exchange.message_timeout / 2

    # -- what follows

    @property
    def live(self) -> bool:
        """Whether every subscription is confirmed: by its key, or by any frame after the last was sent."""
        return self._heard and not self._pending

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The subscriptions that are not confirmed yet."""
        return tuple(sorted(self._pending))

    @property
    def blocked(self) -> bool:
        """Whether we ourselves have stopped reading."""
        return self._blocked

    def check(self, now: float, last_frame: float) -> Verdict | None:
        """What follows at ``now`` if the last frame of any kind came at ``last_frame``; call again until None."""
        if self._blocked:
            return None
        limits = self._exchange
        last_frame = max(last_frame, self._since)
        if limits.link_timeout and now >= last_frame + limits.link_timeout:
            return Expired(Reason.LINK_TIMEOUT, f"no frame of any kind for {limits.link_timeout:g} s")
        if now >= self._subscribe_by and self._pending:
            self._subscribe_by = math.inf
            if self._has_data:
                return Task.WARN_UNCONFIRMED
            missing = ", ".join(self.unconfirmed)
            return Expired(Reason.SUB_TIMEOUT, f"not confirmed in {limits.subscribe_timeout:g} s: {missing}")
        if limits.message_timeout and now >= self._data_at + limits.message_timeout:
            probed = "; the probe was not answered" if self._probing else ""
            return Expired(Reason.MESSAGE_TIMEOUT, f"no data for {limits.message_timeout:g} s{probed}")
        if now >= self._probe_at:
            return Task.PROBE
        return None

    def wake(self, last_frame: float) -> float:
        """When the next verdict may fall due; infinity while we are blocked or every clock is off."""
        if self._blocked:
            return math.inf
        limits = self._exchange
        link = max(last_frame, self._since) + limits.link_timeout if limits.link_timeout else math.inf
        data = self._data_at + limits.message_timeout if limits.message_timeout else math.inf
        return min(link, data, self._probe_at, self._subscribe_by if self._pending else math.inf)


class QuietWatch:
    """The third clock: warns of each code without data for too long; never a reason to reconnect.

    Too long is the ``quiet_after`` of its channel or exchange, or what is beyond its :class:`~actors.rhythm.Rhythm`.
    Codes are compared without case and without a depth suffix, since data frames may spell them differently from
    subscriptions (Binance: ``btcusdt`` and ``BTCUSDT``, Upbit: ``KRW-BTC.15`` and ``KRW-BTC``).
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watched: dict[Topic, _Watched] = {}

    @property
    def on(self) -> bool:
        """Whether any code is watched at all."""
        return bool(self._watched)

    def watch(self, subscriptions: Iterable[Subscription], now: float) -> None:
        """From now on these are watched; the clocks of those that were go on."""
        before, self._watched = self._watched, {}
        for wanted in subscriptions:
            own = self._exchange.channel(wanted.channel).quiet_after
            limit = self._exchange.quiet_after if own is None else own
            for code in wanted.codes if limit else ():
                key = wanted.channel, plain(code)
                self._watched[key] = before.get(key) or _Watched((wanted.channel, code), limit, now)

    def begin(self, now: float) -> None:
        """A session begins: every clock starts over; what has been learned of the codes is kept."""
        for each in self._watched.values():
            each.last, each.warned = now, False

    def shift(self, seconds: float) -> None:
        """For so long nobody could have seen anything."""
        for each in self._watched.values():
            each.last += seconds

    def data(self, channel: str, code: str, now: float) -> None:
        """A data frame of this channel and code was received."""
        each = self._watched.get((channel, plain(code)))
        if each is not None and now > each.last:  # what came with one read is one arrival
            each.rhythm.heard(now - each.last, now)
            each.last = now
            each.warned = False

    def check(self, now: float) -> list[tuple[str, str, float]]:
        """Channel, code and seconds of silence of each that has just become quiet: once for every silence."""
        found: list[tuple[str, str, float]] = []
        for key, each in self._watched.items():
            if not each.warned and now >= each.last + min(each.limit, each.rhythm.limit):
                each.warned = True
                found.append((*key, now - each.last))
        return found

    def out_of_rhythm(self, now: float) -> list[Topic]:
        """What is to be subscribed to once more, as it was asked for; in one silence ever more rarely."""
        found = [each for each in self._watched.values() if now >= each.last + each.rhythm.limit]
        for each in found:
            each.rhythm.tried()
        return [each.topic for each in found]

    @property
    def wake(self) -> float:
        """When the next code may become quiet; infinity if none is left."""
        return min((each.due for each in self._watched.values()), default=math.inf)


@attrs.define(eq=False)
class _Watched:
    topic: Topic
    limit: float
    last: float
    warned: bool = False
    rhythm: Rhythm = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rhythm = Rhythm(self.last)

    @property
    def due(self) -> float:
        beyond = self.rhythm.limit
        return self.last + (beyond if self.warned else min(self.limit, beyond))
