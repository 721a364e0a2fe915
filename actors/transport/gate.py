"""How often, and how often at once, a host may be dialled by everybody in this process together."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from actors.exchange import Limits, Rate

Key = tuple[str, str]
"""A host, and the address of ours that connections to it come from (empty: the system's choice)."""


class Gate:
    """Lets connection attempts through, in the order in which they came; each host and source address apart.

    One gate is shared by all connectors of a process: exchanges count by address, not by connection. At most
    ``limits.gate`` pass in any of its windows, and at most half of what the exchange publishes as ``limits.connects``
    – the other half is for whoever else shares the address. At most ``limits.sockets`` are through at one time.

    Args:
        budget: This process's share, above 0 up to 1, of what an exchange publishes for one address.
        until: Hosts that are closed already, and until when (trio's clock).
        closed: Called with the key and the new time whenever a host closes.
    """

    def __init__(
        self,
        *,
        budget: float = 1.0,
        until: Mapping[Key, float] | None = None,
        closed: Callable[[Key, float], object] = lambda key, until: None,
    ) -> None:
        self._budget = budget
        self._closed = closed
        self._doors: dict[Key, _Door] = {key: _Door(shut_until=at) for key, at in (until or {}).items()}

    def line_up(self, host: str, limits: Limits, source: str = "") -> "Turn":
        """Join the line at a host: ``await turn.come()``, and ``turn.leave()`` once the socket is closed."""
        turn = Turn(self._door((host, source)), self._rates(limits), self._sockets(limits))
        turn.stand()
        return turn

    def has_room(self, host: str, limits: Limits, source: str = "") -> bool:
        """Whether one more socket is allowed at a host, beside those that are open or wait for their turn."""
        door = self._door((host, source))
        return len(door.inside) + len(door.line) < self._sockets(limits)

    def close(self, host: str, seconds: float, source: str = "") -> None:
        """Let nobody through to ``host`` for so long, because it said so; the longer of several orders holds."""
        door, until = self._door((host, source)), trio.current_time() + seconds
        if until > door.shut_until:
            door.shut_until = until
            self._closed((host, source), until)

    def states(self) -> "dict[Key, GateState]":
        """How it stands, by host and source address."""
        now = trio.current_time()
        return {
            key: GateState(len(door.line), len(door.inside), door.passes, max(door.shut_until - now, 0.0))
            for key, door in self._doors.items()
        }

    def _door(self, key: Key) -> "_Door":
        return self._doors.setdefault(key, _Door())

    def _rates(self, limits: Limits) -> tuple[Rate, ...]:
        if limits.connects is None:
            return (limits.gate,)
        share = max(1, int(limits.connects.count * self._budget / 2))
        return limits.gate, Rate(share, limits.connects.seconds)

    def _sockets(self, limits: Limits) -> float:
        return max(1, int(limits.sockets * self._budget)) if limits.sockets else math.inf


@attrs.frozen
class GateState:
    """How a gate stands for one host and source address."""

    waiting: int
    inside: int
    """Attempts and sockets that are through and have not left."""
    passes: int
    """How many have ever passed."""
    closed: float
    """Seconds for which nobody is let through; 0 if the gate is not closed."""


class Turn:
    """One attempt's way through the gate, from the end of the line until its socket is closed."""

    def __init__(self, door: "_Door", rates: Sequence[Rate], sockets: float) -> None:
        self.rates = rates
        self.sockets = sockets
        self._door = door
        self.first = trio.Event()
        """Set once nobody stands before it."""

    @property
    def position(self) -> int:
        """The place in the line, 1 being the next to pass; 0 once it is through, or has left."""
        line = self._door.line
        return line.index(self) + 1 if self in line else 0

    def stand(self) -> None:
        """Join the end of the line."""
        self._door.line.append(self)
        self._door.line[0].first.set()

    async def come(self) -> None:
        """Wait for the turn. A cancelled wait uses none up and holds nobody back."""
        door = self._door
        try:
            await self.first.wait()
            while (opens := door.opens_at()) > trio.current_time():
                with trio.move_on_at(opens):
                    await door.changed.park()
        except BaseException:
            self.leave()
            raise
        door.passed.append(trio.current_time())
        door.passes += 1
        door.inside.add(self)
        self._step_aside()

    def leave(self) -> None:
        """Give the place back, in the line or behind the gate; a second call does nothing."""
        door = self._door
        if self in door.inside:
            door.inside.discard(self)
            door.changed.unpark_all()
        elif self in door.line:
            self._step_aside()

    def _step_aside(self) -> None:
        line = self._door.line
        line.remove(self)
        if line:
            line[0].first.set()


@attrs.define(eq=False)
class _Door:
    line: deque[Turn] = attrs.Factory(deque[Turn])
    inside: set[Turn] = attrs.Factory(set[Turn])
    changed: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)
    """Where the first in the line waits: for a time, or for somebody inside to leave."""
    passed: deque[float] = attrs.Factory(deque[float])
    """When the last ones passed, oldest first."""
    kept: int = 0
    """How many of them the widest rate asked for so far needs."""
    passes: int = 0
    shut_until: float = -math.inf

    def opens_at(self) -> float:
        """When the first in the line may pass without breaking any of its limits."""
        if not self.line:
            return self.shut_until
        first = self.line[0]
        if len(self.inside) >= first.sockets:
            return math.inf
        self.kept = max([self.kept, *(rate.count for rate in first.rates)])
        while len(self.passed) > self.kept:
            self.passed.popleft()
        turns = [self.passed[-rate.count] + rate.seconds for rate in first.rates if len(self.passed) >= rate.count]
        return max([self.shut_until, *turns])
