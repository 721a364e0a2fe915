"""What style ``incidents`` tells: each report is one message, in no language yet (pure).

Times are trio's seconds, like those of events; whoever writes the text knows how they relate to the wall clock.
"""

import enum

import attrs

from actors.errors import Reason
from actors.events import FeedEvent, Origin
from actors.notifier.notification import Severity


class Kind(enum.StrEnum):
    """What is wrong with the feeds of an incident."""

    OUTAGE = "outage"
    FLAPPING = "flapping"
    """They come and go, at least four changes in ten minutes."""


class Scope(enum.IntEnum):
    """How far an incident reaches; the wider one inhibits the narrower."""

    FEEDS = 0
    """Feeds of one host, for one cause."""
    HOST = 1
    """Half of a host's feeds or more."""
    HOSTS = 2
    """Feeds of several hosts, lost one soon after the other."""
    NETWORK = 3
    """More than half of all hosts."""


class Phase(enum.StrEnum):
    """What a message says about an incident."""

    OPENED = "opened"
    GREW = "grew"
    """More feeds, or a graver cause, than were told before."""
    REPEATED = "repeated"
    RESOLVED = "resolved"


@attrs.frozen(kw_only=True)
class Trouble:
    """One feed's part in an incident."""

    origin: Origin
    reason: Reason
    since: float
    until: float | None = None
    """When it was over; None while it is not."""
    lost: float = 0.0
    """Seconds of data that are missing: the length of the gaps, as far as they are known."""
    edges: int = 0
    """How often the feed went and came back, while flapping."""
    gave_up: bool = False


@attrs.frozen(kw_only=True)
class Report:
    """One message for people."""

    severity: Severity


@attrs.frozen(kw_only=True)
class Incident(Report):
    """Feeds in trouble, folded into one message."""

    kind: Kind
    scope: Scope
    phase: Phase
    troubles: tuple[Trouble, ...]
    """Every feed of the incident, those that are well again included."""
    total: int
    """How many feeds the scope has: all of the host's, or all."""
    hosts: int
    """How many hosts there are."""
    started: "Started | None" = None
    """The start of this process, where it goes on with the incidents of the one before it."""


@attrs.frozen(kw_only=True)
class Concerns(Report):
    """What happened while the link held, to feeds of one host: overflow, an unconfirmed subscription, a quiet code."""

    events: tuple[FeedEvent, ...]
    more: int
    """How many there were beside these."""


@attrs.frozen(kw_only=True)
class Started(Report):
    """The feeds have been given time to connect."""

    at: float
    """When it began."""
    total: int
    waiting: tuple[Trouble, ...]
    """Those that are not live, by name; the reason is ``STOPPED`` where nothing has failed yet."""
    unclean: tuple[float, float] | None = None
    """The process before this one ended without a stop: when it was last seen, and when this one began."""
    crashes: int = 1
    """How many have ended so since the first moment of ``unclean``."""


@attrs.frozen(kw_only=True)
class Stopped(Report):
    """We were asked to stop."""

    total: int
    down: int
    seconds: float
    """How long it ran."""
    started: Started | None = None
    """The start, if it was not told yet and followed an unclean stop."""
    goes_on: bool = False
    """Whether a process that starts soon tells of that with the next message about the incidents that are open."""


@attrs.frozen(kw_only=True)
class Maintenance(Report):
    """A window without alerts begins, or has ended."""

    subject: str
    """The feed or exchange, as it was named."""
    begins: bool
    until: float
    troubles: tuple[Trouble, ...] = ()
    """At the end: the feeds that are down."""


@attrs.frozen(kw_only=True)
class Beat(Report):
    """Nothing has happened: the notifier is alive."""

    total: int
    live: int


@attrs.frozen(kw_only=True)
class Storage(Report):
    """Alerts cannot be kept on disk, and ``detail`` says why; or they can again, where it is empty."""

    detail: str


@attrs.frozen(kw_only=True)
class Trial(Report):
    """Somebody tries whether messages arrive."""
