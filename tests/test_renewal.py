"""When a session is renewed: before the end of its life, or at a time of day."""

import math
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges import BINANCE, UPBIT
from supervisors.renewal import LegPlan, RenewAt

SEOUL = ZoneInfo("Asia/Seoul")


def nanoseconds(when: datetime) -> int:
    return round(when.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "now", "draw", "then"),
    [
        ("06:00/30m Asia/Seoul", datetime(2026, 11, 24, 5, 0, tzinfo=SEOUL), 0.5, "2026-11-24 06:15"),
        ("06:00/30m Asia/Seoul", datetime(2026, 11, 24, 6, 0, tzinfo=SEOUL), 0.0, "2026-11-25 06:00"),
        ("06:00 Asia/Seoul", datetime(2026, 11, 24, 6, 0, 1, tzinfo=SEOUL), 0.9, "2026-11-25 06:00"),
        ("23:50/20m UTC", datetime(2026, 11, 24, 20, 0, tzinfo=UTC), 1.0, "2026-11-25 00:10"),
        # the night in which the clocks of Berlin go back has an hour more, the one in which they go forward one less
        ("06:00 Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 0.0, "2026-10-25 06:00"),
        ("06:00 Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 0.0, "2026-03-29 06:00"),
    ],
)
def test_a_time_of_day(text: str, now: datetime, draw: float, then: str) -> None:
    """The next time that begins after now, by the clocks of the place."""
    at = RenewAt.parse(text)
    seconds = at.seconds_from(nanoseconds(now), draw)
    assert now + timedelta(seconds=seconds) == datetime.fromisoformat(then).replace(tzinfo=at.zone)


def test_without_a_zone_it_is_this_machines() -> None:
    """06:00 is six on the clocks of this machine."""
    now = datetime(2026, 11, 24, 5, 0).astimezone()
    assert RenewAt.parse("06:00").seconds_from(nanoseconds(now), 0) == 3600


@pytest.mark.parametrize(
    "text", ["6:00", "24:00", "06:60", "06:00/", "06:00/30", "06:00/1440m", "06:00 Here/There", ""]
)
def test_what_is_no_time_of_day(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match=r"06:00/30m|Asia/Seoul"):
        RenewAt.parse(text)


@given(st.integers(0, 2**32), st.floats(1, 40 * 86_400))
def test_before_the_end_of_a_life(seed: int, life: float) -> None:
    """A twenty-fourth of a life before its end on average, and never after it; a day's at 22.5 to 23.5 hours."""
    due = LegPlan().due(attrs.evolve(BINANCE, max_lifetime=life), 100, 0, random.Random(seed))
    assert 100 + life / 4 <= due <= 100 + life * 47 / 48
    day = LegPlan().due(BINANCE, 0, 0, random.Random(seed)) / 3600
    assert 22.5 <= day <= 23.5


@given(st.integers(0, 2**32), st.integers(0, 365 * 86_400))
def test_at_a_time_of_day_from_day_to_day(seed: int, begin: int) -> None:
    """Each day in the window, or up to a minute before it where life would end sooner; never after the end of life."""
    draws = random.Random(seed)
    plan = LegPlan(renew_at=RenewAt.parse("06:00/30m UTC"))
    at = float(begin)
    for _ in range(20):
        due = plan.due(BINANCE, at, round(at * 1e9), draws)
        assert at < due <= at + BINANCE.max_lifetime - 60
        minutes = due / 60 % 1440
        assert 359 <= minutes <= 390 or due == at + BINANCE.max_lifetime - 60
        at = due


def test_never() -> None:
    """Without a limit of life and a wish there is no renewal."""
    assert LegPlan().due(UPBIT, 0, 0, random.Random(1)) == math.inf
    assert not LegPlan().overlaps(UPBIT)
    assert LegPlan(count=2).overlaps(UPBIT)
    assert LegPlan().overlaps(attrs.evolve(UPBIT, gives_notice=True))
    with pytest.raises(ValueError, match="legs must be 1 to 8"):
        LegPlan(count=0)
