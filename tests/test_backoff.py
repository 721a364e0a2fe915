"""ReconnectStrategy: the guide's fields, jitter, and the figures that the design promises."""

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backoff import ReconnectStrategy


def test_without_jitter_the_delays_are_the_guides() -> None:
    """1, 2, 4, … up to max_delay, and from the start again after reset."""
    strategy = ReconnectStrategy(jitter=0)
    assert [strategy.next_delay() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    strategy.reset()
    assert strategy.next_delay() == 1


def test_max_attempts_ends_it() -> None:
    """After max_attempts there is no next delay; a fresh copy has made no attempt."""
    strategy = ReconnectStrategy(max_attempts=2)
    assert strategy.next_delay() is not None
    assert strategy.next_delay() is not None
    assert strategy.next_delay() is None
    assert strategy.attempts == 2
    assert strategy.fresh().attempts == 0
    assert strategy.fresh().next_delay() is not None


@given(
    st.floats(0.01, 10),
    st.floats(10, 1000),
    st.floats(1, 10),
    st.floats(0, 1),
    st.integers(0, 200),
    st.integers(0, 2**32),
)
def test_each_delay_lies_in_its_interval(
    initial: float, most: float, multiplier: float, jitter: float, attempts: int, seed: int
) -> None:
    """The n-th delay is drawn from [d (1 - jitter), d] with d = min(max_delay, initial * multiplier ** n)."""
    strategy = ReconnectStrategy(initial_delay=initial, max_delay=most, multiplier=multiplier, jitter=jitter)
    strategy.attempts = attempts
    delay = strategy.next_delay(random.Random(seed))
    bound = min(most, initial * multiplier ** min(attempts, 64))
    assert delay is not None
    assert bound * (1 - jitter) * 0.999999 <= delay <= bound


def test_five_minutes_make_about_twelve_attempts() -> None:
    """With the defaults: 12 attempts in five minutes on average, and never more than 14."""
    counts: list[int] = []
    for seed in range(2000):
        strategy, draw, clock, attempts = ReconnectStrategy(), random.Random(seed), 0.0, 0
        while (clock := clock + (strategy.next_delay(draw) or 0)) < 300:
            attempts += 1
        counts.append(attempts)
    assert 10.5 < sum(counts) / len(counts) < 12.5
    assert max(counts) <= 14


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"initial_delay": 0}, "initial_delay must be more than 0"),
        ({"max_delay": 0.5}, "max_delay must be at least initial_delay"),
        ({"multiplier": 0.5}, "multiplier must be at least 1"),
        ({"max_attempts": -1}, "max_attempts must be at least 0"),
        ({"jitter": 1.1}, "jitter must be at least 0 and at most 1"),
        ({"reset_after": float("nan")}, "reset_after must be at least 0"),
    ],
)
def test_bad_values_are_named(fields: dict[str, float], message: str) -> None:
    """A wrong value is refused with its field, the bound and the value."""
    with pytest.raises(ValueError, match=message):
        attrs.evolve(ReconnectStrategy(), **fields)


@pytest.mark.parametrize(("field", "value"), [("max_attempts", 1.5), ("jitter", "half"), ("max_delay", True)])
def test_bad_types_are_named(field: str, value: object) -> None:
    """So is a value of the wrong type."""
    with pytest.raises(TypeError, match=f"{field} must be a"):
        ReconnectStrategy(**{field: value})  # pyright: ignore[reportArgumentType] - that is the test
