"""What a process needs and a library must not touch: signals, and an end that comes in any case."""

import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Self

import trio

STOP_WITHIN = 10.0
"""Seconds from the first wish to stop until the process is gone, whatever happens."""
UNSTOPPED = 70
"""The exit code when the clean stop took longer (EX_SOFTWARE of sysexits.h)."""


class BoundedStop:
    """From :meth:`begin` on, the ``with`` body must end within ``STOP_WITHIN`` seconds, or the process is ended.

    The names of what is still :attr:`running` then go to standard error, and the exit code is ``UNSTOPPED``. A thread
    keeps the time, since what does not stop may be the event loop itself.
    """

    def __init__(self) -> None:
        self.running: Callable[[], Iterable[str]] = tuple
        self.farewell: Callable[[], bytes] = bytes
        """Makes the bytes for the terminal before an end at once, such as those that show its cursor again."""
        self._timer = threading.Timer(STOP_WITHIN, self._give_up)
        self._timer.daemon = True

    @property
    def begun(self) -> bool:
        """Whether we stop."""
        return self._timer.ident is not None

    def begin(self) -> None:
        """From now on we stop; nothing new if we do already."""
        if not self.begun:
            self._timer.start()

    def end_now(self, signal_number: int) -> None:
        """End without a clean stop, as a shell names the end by a signal."""
        end_now(128 + signal_number, self.farewell())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()

    def _give_up(self) -> None:
        names = ", ".join(self.running()) or "nothing that has a name"
        words = f"feedwarden: not stopped after {STOP_WITHIN:g} s: {names}\n"
        end_now(UNSTOPPED, self.farewell() + words.encode())


async def obey_signals(
    stopping: BoundedStop,
    stop: Callable[[str], object],
    hung_up: Callable[[], object] | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen until cancelled: the second SIGINT or SIGTERM ends the process at once, whatever it is doing.

    Args:
        stopping: Begins at the first SIGINT or SIGTERM.
        stop: Called with the first one's name.
        hung_up: Called at each SIGHUP; None leaves SIGHUP as it is.
        task_status: Told once signals are received.
    """
    asked = False
    also = () if hung_up is None else (signal.SIGHUP,)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *also) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP and hung_up is not None:
                hung_up()
            elif asked:
                stopping.end_now(number)
            else:
                asked = True
                stopping.begin()
                stop(signal.Signals(number).name)


def end_now(code: int, last_words: bytes = b"") -> None:
    """End the process without any clean-up."""
    if last_words:
        # a terminal or pipe that takes nothing must not keep us: the words are lost then
        writer = threading.Thread(target=os.write, args=(2, last_words), daemon=True)
        writer.start()
        writer.join(0.5)
    os._exit(code)
