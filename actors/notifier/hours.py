"""When nobody wants to be told: quiet hours and maintenance windows (pure)."""

import json
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo

import attrs

from actors.events import Origin

_NS = 1_000_000_000


def local(nanoseconds: int, zone: tzinfo) -> datetime:
    """Nanoseconds UTC as a time on that zone's clocks, to the second."""
    return datetime.fromtimestamp(nanoseconds // _NS, UTC).astimezone(zone)


@attrs.frozen
class QuietHours:
    """A stretch of every day in which warnings wait; it may go over midnight."""

    begins: time
    ends: time
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, zone: tzinfo) -> "QuietHours":
        """Read ``23:00-07:30``; ValueError for anything else, and for a stretch of no length."""
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
        if found is None or found[1] + found[2] == found[3] + found[4]:
            raise ValueError("expected two times of day, like 23:00-07:30")
        return cls(time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4])), zone)

    def remaining(self, wall: int) -> float:
        """Seconds until they end; 0 if ``wall`` (nanoseconds UTC) lies outside of them."""
        now = local(wall, self.zone)
        at = now.time()
        overnight = self.begins > self.ends
        inside = (at >= self.begins or at < self.ends) if overnight else self.begins <= at < self.ends
        if not inside:
            return 0.0
        day = now.date() + timedelta(days=1 if overnight and at >= self.begins else 0)
        # through UTC, since the zone may change its offset in between
        end = datetime.combine(day, self.ends, self.zone).astimezone(UTC)
        return max((end - now.astimezone(UTC)).total_seconds(), 1.0)


@attrs.frozen
class Window:
    """A stretch of time in which nothing is told about a feed, or about all feeds of an exchange."""

    subject: str
    """A feed's name or an exchange's code."""
    begins: int
    """Nanoseconds UTC."""
    ends: int

    def covers(self, origin: Origin) -> bool:
        """Whether it is about this feed."""
        return self.subject in (origin.feed, origin.exchange)


def kept(windows: Iterable[Window], configured: Collection[Window]) -> str:
    """Open windows in words that :func:`reopened` reads, for the next process."""
    return json.dumps([(*attrs.astuple(window), window in configured) for window in windows])


def reopened(words: str | None, configured: Collection[Window]) -> tuple[Window, ...]:
    """The windows that were open when the process before this one ended, less those that the configuration
    had and has no more."""
    try:
        read = [
            (Window(str(subject), int(begins), int(ends)), of)
            for subject, begins, ends, of in json.loads(words or "[]")
        ]
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(window for window, of_configuration in read if not of_configuration or window in configured)


def length(text: str) -> float:
    """Seconds of ``90s``, ``30m``, ``2h`` or ``1d``; ValueError for anything else, and for more than 30 days."""
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]] if found else 0
    if not 0 < seconds <= 30 * 86_400:
        raise ValueError("expected a length of time of at most 30 days, like 90s, 30m, 2h or 1d")
    return float(seconds)
