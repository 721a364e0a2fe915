"""Everything that happens in a simulation, in one order: what the checkers judge, and what the hash of a run is of.

A record is an :class:`~actors.events.Event` of the product, or one of this module: what the network and the ledgers of
the simulated exchanges saw, what the consumer got, what a person was told, what was injected, and what stands when
nobody moves.
"""

import functools
import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import trio

from actors.chaos.ledger import Entry
from actors.events import Event
from actors.items import Batch, Down, Gap

TAIL = 1000
"""Records kept for a report of what happened last."""


@attrs.frozen(kw_only=True)
class Record:
    """Something happened at ``at`` (trio's clock, seconds)."""

    at: float


@attrs.frozen(kw_only=True)
class Dialled(Record):
    """A feed began to look a host up (``connection`` 0), or reached the server as its so many-th connection."""

    feed: str
    host: str
    connection: int = 0


@attrs.frozen(kw_only=True)
class Hung(Record):
    """A feed closed its end of a connection."""

    feed: str
    host: str
    connection: int


@attrs.frozen(kw_only=True)
class Noted(Record):
    """An entry of an exchange's ledger."""

    host: str
    entry: Entry


@attrs.frozen(kw_only=True)
class Taken(Record):
    """The consumer of a feed took an item."""

    feed: str
    item: Batch | Down | Gap


@attrs.frozen(kw_only=True)
class Told(Record):
    """A notification channel was handed a text; ``refused`` says for how long it wants no other, 0 that it took it."""

    text: str
    refused: float = 0.0


@attrs.frozen(kw_only=True)
class Injected(Record):
    """A step of the plan was carried out."""

    target: str
    kind: str
    args: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Phase(Record):
    """A part of the run begins: ``fault``, ``heal``, ``stop`` or ``end``."""

    name: str


@attrs.frozen(kw_only=True)
class Standing(Record):
    """How one feed stands, looked at every so often."""

    feed: str
    state: str
    silent_for: float
    """Seconds since a byte last came in on its open connection."""
    unread_for: float
    """Seconds for which bytes have lain at its socket."""
    depth: int
    """Messages in its buffer."""
    messages: int
    """Messages that it has ever taken, by its own count."""
    open: int
    """Connections of its that are open."""


@attrs.frozen(kw_only=True)
class Tallied(Record):
    """What the product's own metrics say at the end, by name and labels."""

    samples: Mapping[str, float]


@attrs.frozen
class Violation:
    """An invariant does not hold."""

    invariant: str
    at: float
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f} s: {self.detail}"


class Checker(Protocol):
    """One invariant: it hears the records of the types it names, and says what is wrong."""

    @property
    def name(self) -> str:
        """``I1`` to ``I26``."""
        ...

    @property
    def hears(self) -> Sequence[type[Any]]:
        """The types of the records that it judges, their subclasses included."""
        ...

    def take(self, record: Any) -> str | None:
        """Judge a record; what is wrong in words, or None."""
        ...


Step = Event | Record


class History:
    """Takes records, hashes them, and lets the checkers judge each.

    Args:
        checkers: Invariants, fresh for this run.
    """

    def __init__(self, checkers: Sequence[Checker] = ()) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL)
        """The last records, as text."""
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        """Records by the name of their type."""
        self.judged: Counter[str] = Counter()
        """Records judged by each invariant."""
        self.found = trio.Event()
        """Set at the first violation."""
        self._checkers = checkers
        self._hearing: dict[type[Any], list[Checker]] = {}
        self._hashes: dict[str, Any] = {"": hashlib.sha256()}

    def tell(self, record: Step) -> None:
        """Take one record; never raises, so that it may be a subscriber of events."""
        kind = type(record)
        text = steady(record)
        self.tail.append(text)
        self.counts[kind.__name__] += 1
        line = f"{text}\n".encode()
        self._hashes[""].update(line)
        if feed := feed_of(record):
            self._hashes.setdefault(feed, hashlib.sha256()).update(line)
        hearing = self._hearing.get(kind)
        if hearing is None:
            hearing = self._hearing[kind] = [each for each in self._checkers if issubclass(kind, tuple(each.hears))]
        for checker in hearing:
            self.judged[checker.name] += 1
            if (wrong := checker.take(record)) is not None:
                self.violations.append(Violation(checker.name, record.at, wrong))
                self.found.set()

    def digest(self, feed: str = "") -> str:
        """SHA-256 of all records so far, or of those of one feed; times are in it, readings of the wall clock not."""
        return self._hashes[feed].hexdigest() if feed in self._hashes else ""


def feed_of(record: Step) -> str:
    """The feed that a record is about; empty if it is about none."""
    if (origin := getattr(record, "origin", None)) is not None:
        return origin.feed
    return getattr(record, "feed", "")


def steady(record: Step) -> str:
    """A record as text, without what is read from the wall clock: a step of it must change nothing else."""
    match record:
        case Noted(at=at, host=host, entry=e):
            return (
                f"{at:.9f} {host} {e.what.value} #{e.connection} {e.shape} {e.role} {e.channel} {e.code} {e.number} "
                f"{len(e.data)}"
            )
        case Taken(at=at, feed=feed, item=Batch(frames=frames, session=session)):
            return f"{at:.9f} {feed} took {len(frames)} of session {session}"
        case Taken(at=at, feed=feed, item=(Down() | Gap()) as item):
            return f"{at:.9f} {feed} took {type(item).__name__} {item.reason}"
        case Told(at=at, text=text, refused=refused):
            return f"{at:.9f} told {_WALL.sub('TIME', text)!r} {refused}"
        case _:
            fields = {name: getattr(record, name) for name in _shown(type(record))}
            if (origin := getattr(record, "origin", None)) is not None:
                fields["feed"] = origin.feed
            return f"{record.at:.9f} {type(record).__name__} {fields}"


@functools.cache
def _shown(kind: type[Step]) -> tuple[str, ...]:
    """The fields that stand in the text of a record of that kind."""
    return tuple(field.name for field in attrs.fields(kind) if field.name not in _LEFT_OUT)


_WALL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
"""A time as people read it."""
_LEFT_OUT = ("at", "since", "until", "origin")


def listening(history: History, host: str) -> Callable[[Entry], None]:
    """A ledger's hook that tells its entries to the history."""

    def hook(entry: Entry) -> None:
        history.tell(Noted(at=trio.current_time(), host=host, entry=entry))

    return hook
