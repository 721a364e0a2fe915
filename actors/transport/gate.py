"""How often a host may be dialled by everybody in this process together."""

from collections import deque
from collections.abc import Sequence

import attrs
import trio

from actors.exchange import Limits, Rate


class Gate:
    """Lets connection attempts through, one host apart from another, in the order in which they came.

    One gate is shared by all connectors: exchanges count attempts per address, not per connection. At most
    ``limits.gate`` pass in any of its windows, and at most half of what the exchange publishes as
    ``limits.connects`` – the other half is for whoever else shares the address.
    """

    def __init__(self) -> None:
        self._doors: dict[str, _Door] = {}

    async def enter(self, host: str, limits: Limits) -> None:
        """Wait for a turn at ``host``. A cancelled wait uses no turn up and holds nobody back."""
        door = self._door(host)
        door.waiting += 1
        try:
            async with door.queue:
                while (opens := door.opens_at(_rates(limits))) > trio.current_time():  # noqa: ASYNC110 - it is a time
                    await trio.sleep_until(opens)
                door.passed.append(trio.current_time())
        finally:
            door.waiting -= 1

    def close(self, host: str, seconds: float) -> None:
        """Let nobody through to ``host`` for so long, because it said so; the longer of several orders holds."""
        door = self._door(host)
        door.shut_until = max(door.shut_until, trio.current_time() + seconds)

    def waiting(self, host: str) -> int:
        """How many wait for a turn at ``host``."""
        return self._door(host).waiting

    def opens_at(self, host: str) -> float:
        """When the first of those who wait may pass, or the next to come if nobody waits (trio's clock, seconds).

        A time that is past means at once.
        """
        return self._door(host).opens_at(())

    def _door(self, host: str) -> "_Door":
        return self._doors.setdefault(host, _Door())


@attrs.define(eq=False)
class _Door:
    queue: trio.StrictFIFOLock = attrs.Factory(trio.StrictFIFOLock)
    passed: deque[float] = attrs.Factory(deque[float])
    """When the last ones passed, oldest first."""
    kept: int = 0
    """How many of them the widest rate asked for so far needs."""
    rates: Sequence[Rate] = ()
    """Those of the last one to ask."""
    shut_until: float = -float("inf")
    waiting: int = 0

    def opens_at(self, rates: Sequence[Rate]) -> float:
        """When one more may pass without breaking any of the rates."""
        self.rates = rates or self.rates
        self.kept = max([self.kept, *(rate.count for rate in self.rates)])
        while len(self.passed) > self.kept:
            self.passed.popleft()
        turns = [self.passed[-rate.count] + rate.seconds for rate in self.rates if len(self.passed) >= rate.count]
        return max([self.shut_until, *turns])


def _rates(limits: Limits) -> tuple[Rate, ...]:
    if limits.connects is None:
        return (limits.gate,)
    return limits.gate, Rate(max(1, limits.connects.count // 2), limits.connects.seconds)
