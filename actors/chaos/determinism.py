"""Same seed, same run: all that trio and the libraries under it leave to chance, pinned while a simulation lasts.

This is the one module that uses private names of trio: ``_ALLOW_DETERMINISTIC_SCHEDULING``, with which trio sorts the
tasks of a turn before it shuffles them, and ``_r``, with which it shuffles (``trio/_core/_run.py``; trio's own
``test_scheduler_determinism`` sets the same two). Should they ever be gone, :func:`check` says so, and a run is still
valid but cannot be replayed.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import gc
import math
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TypeVar, TypeVarTuple

import trio
import wsproto.frame_protocol
import wsproto.utilities
from trio._core import _run

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualClock(trio.abc.Clock):
    """Time that jumps to the next deadline as soon as every task waits.

    trio asks a clock how long to sleep when, and only when, no task can run. That is the moment to jump, so a jump
    costs no turn of the loop, as those of :class:`trio.testing.MockClock` do.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        """Nothing: time begins at 0."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No time at all: it is that late already. Without a deadline only what runs outside can end the wait."""
        if deadline == math.inf:
            return math.inf
        self._now = max(self._now, deadline)
        return 0.0


def check() -> str:
    """What this version of trio no longer has; empty if runs can be replayed."""
    missing = [name for name in ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r") if not hasattr(_run, name)]
    return f"trio {trio.__version__} has no {' and no '.join(missing)}: runs cannot be replayed" if missing else ""


def run(seed: int, main: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """``trio.run(main, *args)`` on a virtual clock that jumps, with everything drawn from ``seed``."""
    with pinned(seed):
        return trio.run(main, *args, clock=VirtualClock())


@contextmanager
def pinned(seed: int) -> Generator[None]:
    """Pin the order of trio's tasks, WebSocket masks and keys, the module ``random``, and the garbage collector.

    All of it is as before when the body has ended. The masks are not secret meanwhile: only for networks in memory.
    """
    allowed, turns, module = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate(), random.getstate()  # noqa: SLF001
    collecting = gc.isenabled()
    draws = random.Random(f"{seed}/masks")  # noqa: S311 - repeating is the point
    masks = SimpleNamespace(urandom=draws.randbytes)
    real = wsproto.frame_protocol.os, wsproto.utilities.os
    gc.collect()
    gc.disable()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001  # pyright: ignore - final in typing only
    _run._r.seed(seed)  # noqa: SLF001
    random.seed(seed)
    wsproto.frame_protocol.os = wsproto.utilities.os = masks  # pyright: ignore - a module with one function
    try:
        yield
    finally:
        wsproto.frame_protocol.os, wsproto.utilities.os = real
        random.setstate(module)
        _run._r.setstate(turns)  # noqa: SLF001
        _run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # noqa: SLF001  # pyright: ignore - as above
        if collecting:
            gc.enable()
