"""When a session is replaced by a fresh one, before the exchange cuts it or at a time of the user's (pure)."""

import math
import re
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import attrs

from actors.backoff import Chance
from actors.exchange import Exchange

LEAST = 60.0
"""Seconds before the end of a session's life by which its successor is begun at the latest, where it lives so long."""

MOST = 8
"""Sockets that may carry the same."""

_NS = 1_000_000_000
_TEXT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?:/(\d{1,4})m)?(?: (\S{1,64}))?")


@attrs.frozen
class RenewAt:
    """Once a day: at a local time, spread over some minutes from it on."""

    at: time
    minutes: int = 0
    zone: tzinfo | None = None
    """None: this machine's."""

    @classmethod
    def parse(cls, text: str) -> "RenewAt":
        """``06:00/30m`` is somewhen between six and half past, ``06:00/30m Asia/Seoul`` so on that zone's clocks.

        Raises:
            ValueError: it is anything else.
        """
        found = _TEXT.fullmatch(text)
        if found is None or int(found[3] or 0) >= 24 * 60:
            msg = (
                f"expected a local time and minutes to spread it over, like 06:00/30m or 06:00/30m Asia/Seoul: {text!r}"
            )
            raise ValueError(msg)
        try:
            zone = ZoneInfo(found[4]) if found[4] else None
        except (LookupError, ValueError, OSError):
            msg = f"not a time zone that this machine's tzdata knows, like Asia/Seoul: {found[4]!r}"
            raise ValueError(msg) from None
        return cls(time(int(found[1]), int(found[2])), int(found[3] or 0), zone)

    def seconds_from(self, wall: int, draw: float) -> float:
        """Seconds from ``wall`` (nanoseconds UTC) to the next time that begins after it; ``draw`` in 0 to 1 spreads."""
        now = datetime.fromtimestamp(wall / _NS, self.zone)
        day = now.date()
        while (begin := datetime.combine(day, self.at, self.zone)) <= now:
            day += timedelta(days=1)
        return begin.timestamp() - wall / _NS + draw * self.minutes * 60


def check_legs(count: int) -> None:
    """Raise ValueError for a number of sockets that no feed can have."""
    if not 1 <= count <= MOST:
        msg = f"legs must be 1 to {MOST} sockets side by side: {count}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class LegPlan:
    """How many sockets carry each part of a feed, and when they are renewed.

    Args:
        count: Sockets side by side, 1 to 8; ValueError for anything else.
        renew_at: A time of day; None: only as the exchange's ``max_lifetime`` and its notices demand.
        snapshots: Whether the snapshots that an overlapping socket's subscription causes are delivered.
    """

    count: int = attrs.field(default=1, validator=lambda _instance, _field, count: check_legs(count))
    renew_at: RenewAt | None = None
    snapshots: bool = False

    def overlaps(self, exchange: Exchange) -> bool:
        """Whether there may ever be two sockets for the same."""
        mortal = exchange.max_lifetime > 0 or exchange.gives_notice
        return mortal or self.count > 1 or self.renew_at is not None

    def due(self, exchange: Exchange, born: float, wall: int, random: Chance) -> float:
        """When a session that began at ``born`` (``wall`` by the wall clock) is to be renewed; infinity: never.

        A day's life ends at 22.5 to 23.5 hours, any other proportionally, so that the sockets of a fleet are not
        renewed together. At a time of the user's choosing life is only the last limit.
        """
        life, draw = exchange.max_lifetime, random.random()
        if self.renew_at is not None:
            chosen = born + self.renew_at.seconds_from(wall, draw)
            return min(chosen, born + life - min(LEAST, life / 2)) if life else chosen
        if not life:
            return math.inf
        early = max(life / 24, min(LEAST, life / 2))
        return born + life - early * (0.5 + draw)
