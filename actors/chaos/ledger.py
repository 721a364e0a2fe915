"""What a simulated server did, in full: the oracle of chaos tests.

A test compares what its client saw with what stands here, never with the client's own counters. Every frame of data
that the exchange *produced* has exactly one entry per connection that was subscribed to it – ``SENT``, ``LOST`` or
``DOUBTFUL`` – or a single ``LOST`` one of connection 0 if nobody was.
"""

import enum
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import attrs
import trio


class What(enum.StrEnum):
    """What an entry records."""

    ACCEPTED = "accepted"
    """A TCP connection (or stream) was accepted; ``connection`` is its number, from 1."""
    REFUSED = "refused"
    """A connect was refused below WebSocket. The kernel's own refusals leave no trace here, only those in memory."""
    REJECTED = "rejected"
    """The upgrade was answered with the HTTP status in ``data``."""
    OPENED = "opened"
    """The upgrade was answered with a 101; ``data`` is the request's path."""
    RECEIVED = "received"
    """A frame arrived from the client."""
    SENT = "sent"
    """A frame was handed to the operating system as a whole; whether it arrived is the network's affair."""
    DOUBTFUL = "doubtful"
    """The connection broke while the frame was being handed over: it may have arrived or not."""
    LOST = "lost"
    """A frame of data that was produced and never left."""
    WITHHELD = "withheld"
    """A frame other than data that a fault kept back: a pong, an ack, an error."""
    CLOSED = "closed"
    """The connection is gone; ``data`` says how."""
    FAULT = "fault"
    """A fault was injected; ``data`` names it."""


class Shape(enum.StrEnum):
    """What a frame looks like on the wire."""

    TEXT = "text"
    BINARY = "binary"
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"


class Role(enum.StrEnum):
    """What a frame of the server is for."""

    DATA = "data"
    """Market data, snapshots included."""
    ANSWER = "answer"
    """An ack, an error, a list of subscriptions."""
    HEARTBEAT = "heartbeat"
    """A ping, a pong, or a message that stands for one."""
    CLOSE = "close"


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened, at the moment when it was settled."""

    at: float
    """trio's clock, seconds."""
    wall: int
    """The injected wall clock, nanoseconds UTC."""
    what: What
    connection: int = 0
    """0 where no connection is concerned."""
    shape: Shape | None = None
    role: Role | None = None
    data: str | bytes = ""
    channel: str = ""
    code: str = ""
    number: int = 0
    """Running number of a data frame per channel and code, from 1; 0 for a snapshot, which only restates."""


class Ledger:
    """An append-only, bounded record; iterating it yields the entries kept, oldest first.

    Args:
        keep: The most entries kept; older ones are forgotten and counted in :attr:`forgotten`. A test that relies on
            a complete record asserts that it is 0.
        wall: Nanoseconds UTC.
    """

    def __init__(self, *, keep: int = 200_000, wall: Callable[[], int] = time.time_ns) -> None:
        if keep < 1:
            msg = f"keep must be at least 1: {keep!r}"
            raise ValueError(msg)
        self.counts: Counter[What] = Counter()
        """How many entries of each kind were ever written, forgotten ones included."""
        self.most_open = 0
        """The most connections that were open (accepted and not closed) at the same time."""
        self.hook: Callable[[Entry], object] = lambda entry: None
        """Called with each entry as it is written, forgotten ones included."""
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._wall = wall

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def forgotten(self) -> int:
        """Entries that no longer stand here."""
        return self.counts.total() - len(self._entries)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return self.counts[What.ACCEPTED] - self.counts[What.CLOSED]

    def write(
        self,
        what: What,
        connection: int = 0,
        *,
        data: str | bytes = "",
        shape: Shape | None = None,
        role: Role | None = None,
        channel: str = "",
        code: str = "",
        number: int = 0,
        at: float | None = None,
    ) -> None:
        """Append one entry, settled now, or at the time ``at`` of trio's clock."""
        entry = Entry(
            at=trio.current_time() if at is None else at,
            wall=self._wall(),
            what=what,
            connection=connection,
            shape=shape,
            role=role,
            data=data,
            channel=channel,
            code=code,
            number=number,
        )
        self._entries.append(entry)
        self.hook(entry)
        self.counts[what] += 1
        if what is What.ACCEPTED:
            self.most_open = max(self.most_open, self.open)

    def of(self, *whats: What, connection: int | None = None) -> list[Entry]:
        """The entries of these kinds, of one connection or of all."""
        return [
            entry
            for entry in self._entries
            if entry.what in whats and (connection is None or entry.connection == connection)
        ]

    def sent(self, connection: int | None = None) -> list[Entry]:
        """The frames of data that left, in order; acks, errors and heartbeats are not among them."""
        return [entry for entry in self.of(What.SENT, connection=connection) if entry.role is Role.DATA]

    def received(self, connection: int | None = None) -> list[Entry]:
        """The text and binary frames that clients sent, in order."""
        messages = (Shape.TEXT, Shape.BINARY)
        return [entry for entry in self.of(What.RECEIVED, connection=connection) if entry.shape in messages]

    def lost(self, since: float | None = None, until: float | None = None) -> list[Entry]:
        """The frames of data that never left, settled from ``since`` to ``until`` (trio's clock), both included."""
        return [
            entry
            for entry in self.of(What.LOST)
            if (since is None or since <= entry.at) and (until is None or entry.at <= until)
        ]

    def connects(self) -> list[float]:
        """When connections were accepted or refused: every attempt that reached us, on trio's clock."""
        return [entry.at for entry in self.of(What.ACCEPTED, What.REFUSED)]
