"""When to try again: exponential backoff with jitter (pure)."""

import random
from typing import Protocol

import attrs

from actors._checks import in_range


class Chance(Protocol):
    """Where draws come from; a ``random.Random`` is one."""

    def random(self) -> float:
        """A number from 0 up to 1."""
        ...


@attrs.define
class ReconnectStrategy:
    """The guide's reconnect strategy: delays that grow, are jittered, and start over only after health.

    The n-th delay is ``d = min(max_delay, initial_delay * multiplier ** n)``, drawn uniformly from
    ``[d * (1 - jitter), d]``. With the defaults that makes about 12 attempts in the first five minutes.

    The fields are settings; the count of attempts is the only state. A supervisor works on a copy of its own
    (:meth:`fresh`), so one strategy may stand in many specs.
    """

    initial_delay: float = attrs.field(default=1.0, validator=in_range(0, 86_400, open_left=True))
    """Seconds before the first retry."""
    max_delay: float = attrs.field(default=60.0, validator=in_range(0, 86_400, open_left=True))
    """The longest delay, in seconds; at least ``initial_delay``."""
    multiplier: float = attrs.field(default=2.0, validator=in_range(1, 100))
    """How much each delay grows over the one before."""
    max_attempts: int = attrs.field(default=0, validator=in_range(0, 1_000_000))
    """Retries in a row before giving up; 0 means never."""
    jitter: float = attrs.field(default=0.5, validator=in_range(0, 1))
    """Which part of the delay is drawn: 0 none, 0.5 the upper half, 1 all of it."""
    reset_after: float = attrs.field(default=60.0, validator=in_range(0, 86_400))
    """Seconds of flowing data after which the delays start over. A mere connect never resets them."""
    attempts: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.max_delay < self.initial_delay:
            msg = f"max_delay must be at least initial_delay ({self.initial_delay}): {self.max_delay}"
            raise ValueError(msg)

    def next_delay(self, random: Chance | None = None) -> float | None:
        """Seconds to wait before the next attempt, counted as made; None once ``max_attempts`` are used up."""
        if self.max_attempts and self.attempts >= self.max_attempts:
            return None
        # 64 doublings exceed any max_delay; without the bound a year of retries would overflow the float
        delay = min(self.max_delay, self.initial_delay * self.multiplier ** min(self.attempts, 64))
        self.attempts += 1
        draw = (random or _RANDOM).random()
        return delay * (1 - self.jitter * draw)

    def reset(self) -> None:
        """Start over with the first delay."""
        self.attempts = 0

    def fresh(self) -> "ReconnectStrategy":
        """A copy with no attempt made."""
        return attrs.evolve(self)


_RANDOM = random.Random()  # noqa: S311 - jitter needs no secrecy
