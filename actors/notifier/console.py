"""A channel that writes to the console, or to any function that takes a line."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO

import trio

from actors.errors import BACKOFF, QUARANTINE
from actors.notifier.channel import ChannelError, Language, Letter

_TIMEOUT = 5.0


class Console:
    """Writes each message as one text ending with a newline.

    Args:
        out: A function is called in the event loop and must not block. A stream is written in a thread, and a
            stream that nobody reads costs at most that one thread: the channel is in back-off meanwhile.
        name: The channel's name.
        language: The reader's language.
    """

    def __init__(
        self, out: Callable[[str], object] | TextIO, *, name: str = "console", language: Language = Language.KO
    ) -> None:
        self.name = name
        self.language = language
        self._out = out
        # of its own, so that a blocked stream takes none of the threads that name resolution needs
        self._limiter = trio.CapacityLimiter(1)

    def split(self, letter: Letter) -> Sequence[str]:
        """One piece, whatever its length."""
        return (letter.text,)

    async def send(self, text: str) -> None:
        """Write ``text``; raises :class:`ChannelError` if the stream is closed or takes nothing for 5 seconds."""
        try:
            if callable(self._out):
                await trio.lowlevel.checkpoint()
                self._out(f"{text}\n")
                return
            with trio.fail_after(_TIMEOUT):
                await trio.to_thread.run_sync(
                    _write, self._out, f"{text}\n", abandon_on_cancel=True, limiter=self._limiter
                )
        except trio.TooSlowError:
            raise ChannelError(
                f"the console took nothing for {_TIMEOUT:g} s: is anybody reading it?", BACKOFF
            ) from None
        except (OSError, ValueError) as error:
            # a closed file raises ValueError, a closed pipe BrokenPipeError
            raise ChannelError(f"the console cannot be written: {error}", QUARANTINE) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()
