"""The live table: what a person at a terminal sees of all feeds, log lines scrolling by above it."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import IO, cast

import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.errors import clean
from actors.events import LinkState
from actors.stats import ConnectorStats
from supervisors.standalone.sinks import Sink

REFRESH = 0.5
"""Seconds between two pictures."""
RATE_OVER = 5.0
"""Seconds over which messages a second are counted."""
SHOW_CURSOR = b"\x1b[?25h\n"

_COLOURS = {
    LinkState.LIVE: "green",
    LinkState.CONNECTING: "cyan",
    LinkState.CONNECTED: "cyan",
    LinkState.DOWN: "red",
    LinkState.BACKOFF: "yellow",
    LinkState.QUARANTINED: "bold red",
    LinkState.GAVE_UP: "bold red",
}


class LiveTable:
    """Draws the feeds on a terminal, through a sink: a terminal that takes nothing stops nothing.

    Args:
        stats: The feeds' counts, in the order in which they are shown.
        sink: Where the terminal is.
        title: What stands above.
        wall: Nanoseconds UTC.
        width: Columns; None asks the terminal.
    """

    def __init__(
        self,
        stats: Iterable[ConnectorStats],
        sink: Sink,
        *,
        title: str = "",
        wall: Callable[[], int] = time.time_ns,
        width: int | None = None,
    ) -> None:
        self._stats = tuple(stats)
        self._sink = sink
        self._title = title
        self._wall = wall
        self._counted: dict[str, deque[tuple[float, int]]] = {each.origin.feed: deque() for each in self._stats}
        file = cast("IO[str]", _File(sink))  # rich writes and flushes, and asks for no more
        console = Console(file=file, force_terminal=True, width=width)
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Draw until cancelled; the last picture stays."""
        with self._live:
            task_status.started()
            try:
                while True:
                    # a picture that nobody has seen yet need not be followed by another
                    if not self._sink.full:
                        self.draw()
                    await trio.sleep(REFRESH)
            finally:
                self.draw()

    def draw(self) -> None:
        """Draw the present picture."""
        self._live.update(self.picture(trio.current_time()), refresh=True)

    def print(self, line: bytes) -> None:
        """Let a log line scroll by above the table."""
        self._live.console.print(Text.from_ansi(line.decode().rstrip("\n")), soft_wrap=True)

    def picture(self, now: float) -> Table:
        """The table as it is; ``now`` is trio's clock."""
        table = Table(title=self._title or None, title_style="bold yellow", title_justify="left", expand=True)
        for name in ("feed", "state", "incarnation", "messages/s", "last message", "next attempt"):
            table.add_column(name, no_wrap=True, justify="right" if name in _NUMBERS else "left")
        table.add_column("last error", ratio=1, no_wrap=True, overflow="ellipsis")
        wall = self._wall() / 1e9
        for stats in self._stats:
            age = None if stats.last_message_time is None else wall - stats.last_message_time
            due = None if stats.next_attempt is None else stats.next_attempt - wall
            live = stats.state is LinkState.LIVE
            table.add_row(
                stats.origin.feed,
                Text(stats.shown_state, style=_COLOURS.get(stats.state, "")),
                str(stats.incarnation),
                f"{self._rate(stats, now):.1f}",
                "" if age is None else f"{_seconds(age)} ago",
                "" if due is None else f"in {_seconds(due)}",
                Text(clean(stats.last_error), style="dim" if live else ""),
            )
        return table

    def _rate(self, stats: ConnectorStats, now: float) -> float:
        counted = self._counted[stats.origin.feed]
        counted.append((now, stats.messages))
        while counted[0][0] < now - RATE_OVER:
            counted.popleft()
        since, before = counted[0]
        return (stats.messages - before) / (now - since) if now > since else 0.0


_NUMBERS = ("incarnation", "messages/s", "last message", "next attempt")


def _seconds(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class _File:
    """What rich writes to."""

    encoding = "utf-8"

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, text: str) -> int:
        self._sink.tell(text.encode())
        return len(text)

    def flush(self) -> None:
        pass


def is_terminal(environment: Mapping[str, str], isatty: bool) -> bool:
    """Whether a table can be drawn there."""
    return isatty and environment.get("TERM", "dumb") != "dumb"
