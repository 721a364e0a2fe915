"""What is counted of a feed while it runs: plain numbers that metrics, status page and table read when asked."""

from collections.abc import Callable

import attrs

from actors.events import LinkState, Origin
from actors.transport.gate import Turn


def _none() -> int:
    return 0


@attrs.define
class ConnectorStats:
    """The guide's ``stats``, kept over all incarnations of one connector. Times are seconds since 1970, UTC."""

    origin: Origin
    connection_start_time: float | None = None
    """When the present session reached the 101; None while there is none."""
    last_message_time: float | None = None
    """When the last data frame arrived; None before the first."""
    reconnect_count: int = 0
    """Attempts after the first."""
    sessions: int = 0
    """Sessions that reached the 101."""
    renewals: int = 0
    """Sessions that a fresh one has taken over from without an interruption."""
    messages: int = 0
    """Data frames received."""
    bytes: int = 0
    """Bytes of their payloads (characters for text frames)."""
    gaps: int = 0
    overflowed: int = 0
    """Messages lost because the consumer was too slow."""
    waiting: Callable[[], int] = _none
    """Counts the messages that wait for the slowest consumer; a feed brings its own."""
    state: LinkState = LinkState.IDLE
    incarnation: int = 0
    next_attempt: float | None = None
    """When the next attempt is due; None while none is scheduled."""
    backoff: float = 0.0
    """The delay before the next attempt in seconds; 0 while none is scheduled."""
    last_error: str = ""
    turn: Turn | None = None
    """The present attempt's place at the gate; None between two attempts."""

    @property
    def depth(self) -> int:
        """Messages that wait for the slowest consumer; without those of the batch that it is taking from."""
        return self.waiting()

    @property
    def gate_position(self) -> int:
        """The place in the line before the gate, 1 being the next to pass; 0 while it does not wait there."""
        return self.turn.position if self.turn is not None else 0

    @property
    def shown_state(self) -> str:
        """The state as a person reads it: the state's word, or ``gate, 12th`` while its turn to dial has not come."""
        place = self.gate_position
        return f"gate, {place}{_suffix(place)}" if place else self.state.value


def _suffix(number: int) -> str:
    return "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
