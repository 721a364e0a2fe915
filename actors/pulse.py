"""Notices that this process has not run for a while: suspended, stopped by a signal, or its event loop blocked.

What came meanwhile has not been read yet, so nothing follows from its absence. One pulse is enough for a process.
"""

import math
import sys
import time
from collections.abc import Callable

import trio

from actors.actor import NO_CONTEXT, Context
from actors.events import EventHook, Paused

TICK = 1.0
"""Seconds between two looks."""
LATE = 1.0
"""Seconds by which a look is late after a pause: one of two seconds (``TICK`` + ``LATE``) is seen wherever it falls."""


def asleep() -> float:
    """Seconds for which this machine has been suspended since its start; 0 where the system does not say.

    On Linux trio's clock stands still meanwhile, CLOCK_BOOTTIME does not (clock_gettime(2)).
    """
    if sys.platform != "linux":
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Pulse:
    """An actor that looks at the clock every second.

    Args:
        emit: Takes the one event of each pause.
        asleep: Seconds for which the machine has been suspended, counted from anywhere.
    """

    def __init__(self, emit: EventHook, asleep: Callable[[], float] = asleep) -> None:
        self.pauses = 0
        """How many there have been."""
        self.lost = 0.0
        """Seconds by which they moved trio's clock, together."""
        self.ended = -math.inf
        """When the last one ended."""
        self.woke = trio.lowlevel.ParkingLot()
        """Where to wait for the end of the next."""
        self._emit = emit
        self._asleep = asleep
        self._slept = asleep()
        self._due = math.inf

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Look until cancelled."""
        self._slept = self._asleep()
        self._due = trio.current_time() + TICK
        task_status.started()
        try:
            while True:
                await trio.sleep_until(self._due)
                self.look()
                self._due = trio.current_time() + TICK
        finally:
            self._due = math.inf

    def look(self) -> None:
        """Has there been a pause just now? Whoever is about to hold a silence against somebody asks first."""
        now, asleep = trio.current_time(), self._asleep()
        late = max(0.0, now - self._due)
        slept = asleep - self._slept if asleep - self._slept >= LATE else 0.0  # it is read from two clocks, and blurred
        if late < LATE and not slept:
            return
        self._due = now + TICK
        self._slept = asleep
        self.pauses += 1
        self.lost += late
        self.ended = now
        self._emit(Paused(at=now, seconds=late + slept))
        self.woke.unpark_all()
