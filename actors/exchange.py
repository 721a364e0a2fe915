"""What an exchange is: constants, and a small sans-I/O session per incarnation (pure).

:class:`Exchange` is a frozen value with the guide's constants; every field may be overridden with
``attrs.evolve(UPBIT, message_timeout=30)``. ``exchange.session(subscriptions)`` makes the :class:`Session` of one
connection: it says what to send when the socket has opened, what a received frame is, what to answer, and what to
send as a probe. It does no I/O and reads no clock. All durations are seconds; 0 switches a clock off.
"""

import difflib
import enum
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs

from actors._checks import in_range
from actors.backoff import ReconnectStrategy
from actors.errors import Advice
from actors.marks import Mark, no_mark
from actors.replacing import Replacing

PORTABLE_CHANNELS = ("trade", "book", "ticker")
"""Channel names that mean the same on every exchange."""


class Kind(enum.Enum):
    """What a received frame is."""

    DATA = "data"
    ACK = "ack"
    REJECTED = "rejected"
    HEARTBEAT = "heartbeat"
    NOTICE = "notice"
    CONTROL = "control"
    ERROR = "error"
    UNKNOWN = "unknown"


@attrs.frozen
class Frame:
    """One received frame, classified.

    ``answer`` is sent back at once. ``confirms`` names the native channels (or subscription keys) that an ack or a
    first data frame proves. ``advice`` is the exchange's table's word on an error, None for the default.
    ``probe`` marks a frame that answers our probe: it moves the data clock and is not delivered.
    """

    kind: Kind
    detail: str = ""
    answer: str | bytes | None = None
    confirms: tuple[str, ...] = ()
    advice: Advice | None = None
    probe: bool = False
    renew: bool = False
    """Whether the server announces the end of this connection, so that a fresh one is to take over; of use only where
    the exchange ``gives_notice``, has a ``max_lifetime``, or the feed has several legs or a ``renew_at``."""
    rejects: "tuple[Subscription, ...]" = ()
    """What a rejection is about: at least one of these codes is bad. Empty where the exchange does not say."""


DATA = Frame(Kind.DATA)
"""The frame nearly every message is; one shared value, so that the hot path allocates nothing."""


class By(enum.StrEnum):
    """Who starts a heartbeat."""

    CLIENT = "client"
    SERVER = "server"


class Form(enum.StrEnum):
    """How a heartbeat is spoken: a WebSocket control ping, or a message of the application."""

    CONTROL = "control"
    MESSAGE = "message"


@attrs.frozen(kw_only=True)
class Heartbeat:
    """One rule that keeps a session alive.

    A ``CLIENT`` rule is carried out by the connector's ping loop. A ``SERVER`` rule documents what the server sends:
    control pings are answered below us, messages by :attr:`Frame.answer`.
    """

    by: By
    form: Form
    interval: float | None = None
    """Seconds between two; None means the exchange's ``ping_interval``."""
    payload: str | Callable[[int], str] = ""
    """A message's text, or a function of the running number (from 1) that makes it."""
    when_idle: bool = False
    """Only if nothing was received for ``interval``; else always."""
    answered: bool = True
    """Whether an answer is owed within the exchange's ``ping_timeout`` (client rules)."""
    limit: float | None = None
    """Seconds after which the server hangs up if the rule is broken, where known (for people to read)."""

    def text(self, number: int) -> str:
        """The payload of the ``number``-th message."""
        return self.payload if isinstance(self.payload, str) else self.payload(number)


@attrs.frozen
class Rate:
    """At most ``count`` in any ``seconds``."""

    count: int = attrs.field(validator=in_range(1, 1_000_000))
    seconds: float = attrs.field(validator=in_range(0, 86_400, open_left=True))


@attrs.frozen(kw_only=True)
class Limits:
    """What an exchange publishes, and what we keep to. None and 0 mean: nothing published."""

    connects: Rate | None = None
    """Connection attempts per address, as published; the gate keeps to half of it."""
    gate: Rate = Rate(5, 5.0)
    """Our own bound on connection attempts per host: one a second on average, five at once."""
    sockets: int = 0
    """Concurrent sockets per address."""
    messages: tuple[Rate, ...] = ()
    """Messages that a client may send on one connection."""
    subscriptions: int = 0
    """Subscriptions (streams, codes) on one connection."""
    argument_bytes: int = 0
    """UTF-8 bytes of all subscriptions on one connection: channel, code and one more for each."""


@attrs.frozen(kw_only=True)
class Channel:
    """A kind of data that an exchange offers, by the exchange's own word."""

    name: str
    """The native word, or a readable form of it where ``pattern`` is given (``kline_<interval>``)."""
    portable: str = ""
    """``trade``, ``book`` or ``ticker``, if the exchange's channel is what that word means here."""
    snapshot: bool = False
    """Whether a subscription is answered by data at once."""
    pattern: str = ""
    """Regular expression that the native word matches as a whole; empty: it is ``name``."""
    quiet_after: float | None = None
    """Seconds without data of this channel before a warning; None means the exchange's ``quiet_after``."""

    def matches(self, word: str) -> bool:
        """Whether ``word`` names this channel, natively or portably."""
        if word in (self.name, self.portable):
            return True
        return bool(self.pattern) and re.fullmatch(self.pattern, word) is not None


def _codes(codes: str | Iterable[str]) -> tuple[str, ...]:
    return (codes,) if isinstance(codes, str) else tuple(codes)


@attrs.frozen
class Subscription:
    """A channel and the codes wanted of it; ``Subscription("depth@100ms", ("BTCUSDT",))``."""

    channel: str
    codes: tuple[str, ...] = attrs.field(converter=_codes)


class Http(Protocol):
    """The small HTTP client that an async endpoint is given. Each call has a deadline and a size limit."""

    async def get_json(self, url: str) -> Any:
        """The decoded body of a GET; raises :class:`~actors.errors.ConnectorError`."""
        ...

    async def post_json(self, url: str, body: Any = None) -> Any:
        """The decoded body of a POST; raises :class:`~actors.errors.ConnectorError`."""
        ...


Endpoint = Callable[[Http], Awaitable[str]]
"""Finds the URL to dial, before each connect (a token, a server list)."""


class Session:
    """One incarnation's conversation with an exchange; this one sends ``on_open`` and takes every frame as data.

    Subclasses override what their exchange does differently. Nothing here does I/O or reads a clock.
    """

    def __init__(self, exchange: "Exchange", subscriptions: tuple[Subscription, ...]) -> None:
        self.exchange = exchange
        self.subscriptions = subscriptions
        self.replacing: Replacing | None = None
        """A change that replaces all that was subscribed to, from :meth:`change` until its outcome was looked at."""

    def opened(self) -> Sequence[str | bytes]:
        """The frames to send once the socket is open: the subscriptions, then the user's own."""
        return (*self.subscribe(), *self.exchange.on_open)

    def subscribe(self) -> Sequence[str | bytes]:
        """The frames that subscribe to everything; also what a probe sends again."""
        return ()

    def change(self, subscriptions: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """The frames that make these the subscriptions of the open session; None: only a fresh session can.

        What they ask to be confirmed is in :meth:`pending` from now on.
        """
        del subscriptions
        return None

    def again(self, rest: tuple[Subscription, ...]) -> Sequence[str | bytes] | None:
        """The frames that subscribe once more to all but ``rest``, on the open session; None: only a fresh one can.

        Where a subscription replaces the one before, that is all of it.
        """
        whole = self.subscriptions
        off = self.change(rest)
        on = None if off is None else self.change(whole)
        return None if off is None or on is None else [*off, *on]

    def pending(self) -> frozenset[str]:
        """Keys that :attr:`Frame.confirms` has yet to name: all of them until then, and those of a change after it.

        The session is live once there are none; if there are none at the start, any frame will do.
        """
        return frozenset()

    def classify(self, data: str | bytes) -> Frame:
        """What a received frame is. Called once for every frame, in order."""
        del data
        return DATA

    def probe(self) -> Sequence[str | bytes]:
        """Frames whose answer proves that the data path lives; empty where the exchange offers none."""
        return ()


def no_description(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a frame nobody can read: both empty."""
    del data
    return "", ""


def one_route(subscription: Subscription) -> str:
    """The route of an exchange that has but one URL."""
    del subscription
    return ""


def json_object(data: str | bytes) -> dict[str, Any]:
    """The frame as a JSON object, or an empty one if it is anything else (or nested too deeply)."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] - json is Any


def _check_url(_instance: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, str):
        msg = f"{field.name} must be a string: {value!r}"
        raise TypeError(msg)
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as error:
        msg = f"{field.name} is not a URL ({error}): {value!r}"
        raise ValueError(msg) from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not port_ok:
        msg = f"{field.name} must look like wss://host/path: {value!r}"
        raise ValueError(msg)
    if parts.username is not None or parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", value):
        msg = f"{field.name} must have no user, fragment or blank in it"
        raise ValueError(msg)


def _check_code(_instance: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", value):
        msg = f"{field.name} must be lower-case letters, digits, '-' and '_': {value!r}"
        raise ValueError(msg)


def _check_name_ko(_instance: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"\[[^\[\]\n]{1,40}\]", value):
        msg = f"{field.name} stands in brackets, like [업비트]: {value!r}"
        raise ValueError(msg)


_seconds = in_range(0, 86_400)
_some_seconds = in_range(0, 86_400, open_left=True)


@attrs.frozen(kw_only=True)
class Exchange:
    """An exchange's constants, names, limits and clocks; seconds throughout, 0 = off."""

    code: str = attrs.field(validator=_check_code)
    """The guide's EXCHANGE_CODE, e.g. ``upbit``."""
    name_ko: str = attrs.field(validator=_check_name_ko)
    """The guide's EXCHANGE_NAME_KR, brackets included: ``[업비트]``."""
    name_en: str = attrs.field(validator=attrs.validators.instance_of(str))
    """The name in English, with brackets too: ``[Upbit]``."""
    ws_url: str = attrs.field(validator=_check_url)
    """The guide's WS_URL. ``ws://`` is accepted for loopback hosts only, by the dialler."""

    ping_interval: float = attrs.field(default=20.0, validator=_seconds)
    """Seconds between two of our pings."""
    ping_timeout: float = attrs.field(default=10.0, validator=_some_seconds)
    """Seconds until a ping's answer is overdue."""
    link_timeout: float = attrs.field(default=45.0, validator=_seconds)
    """Reconnect after so long without a frame of any kind, pongs included."""
    message_timeout: float = attrs.field(default=60.0, validator=_seconds)
    """Reconnect after so long without data, unless a probe is answered. Heartbeats are not data."""
    quiet_after: float = attrs.field(default=0.0, validator=_seconds)
    """Warn, and never reconnect, after so long without data of one code."""
    health_check_interval: float = attrs.field(default=30.0, validator=_some_seconds)
    """The longest time between two looks at the clocks; a verdict falls when it is due, not at the next look."""

    dns_timeout: float = attrs.field(default=5.0, validator=_some_seconds)
    connect_timeout: float = attrs.field(default=5.0, validator=_some_seconds)
    tls_timeout: float = attrs.field(default=5.0, validator=_some_seconds)
    upgrade_timeout: float = attrs.field(default=10.0, validator=_some_seconds)
    open_timeout: float = attrs.field(default=20.0, validator=_some_seconds)
    """Bound on the four above together."""
    subscribe_timeout: float = attrs.field(default=10.0, validator=_some_seconds)
    """Seconds from the 101 until every subscription must be confirmed."""
    send_timeout: float = attrs.field(default=5.0, validator=_some_seconds)
    close_timeout: float = attrs.field(default=2.0, validator=_some_seconds)
    """Seconds for a polite close; then the socket is closed by force."""
    max_message_size: int = attrs.field(default=1 << 20, validator=in_range(1024, 16 << 20))
    """Bytes of the largest message accepted."""
    coalesce: float = attrs.field(default=0.0, validator=in_range(0, 1))
    """Seconds after a read in which arrivals are left to the kernel, to be one batch: cheaper for many sockets that say
    little each. Whatever the server says is seen at most so much later, its pings and its Close too."""
    max_lifetime: float = attrs.field(default=0.0, validator=in_range(0, 86_400 * 400))
    """Seconds after which the exchange cuts every connection; 0: none known."""
    gives_notice: bool = False
    """Whether it says beforehand that it is about to close a connection: see ``Frame.renew``."""

    reconnect: ReconnectStrategy = attrs.field(factory=ReconnectStrategy, eq=False)
    channels: tuple[Channel, ...] = ()
    code_format: str = "{base}{quote}"
    """How ``BASE/QUOTE`` is spelled here."""
    code_case: str = attrs.field(default="keep", validator=attrs.validators.in_(("upper", "lower", "keep")))
    """The case to which native codes are folded: ``upper``, ``lower`` or ``keep``."""
    heartbeats: tuple[Heartbeat, ...] = (Heartbeat(by=By.CLIENT, form=Form.CONTROL),)
    close_codes: Mapping[int, Advice] = attrs.field(factory=dict[int, Advice])
    """What this exchange means by a close code, where it differs from the protocol's table."""
    limits: Limits = Limits()
    on_open: tuple[str, ...] = ()
    """Text frames of the user's own, sent after the subscriptions."""
    route: Callable[[Subscription], str] = one_route
    """The URL that carries a subscription, empty for the exchange's one; two URLs are never one socket."""
    endpoint: Endpoint | None = None
    """Finds the URL before each connect; None: ``ws_url``."""
    make_session: "Callable[[Exchange, tuple[Subscription, ...]], Session]" = Session
    describe: Callable[[str | bytes], tuple[str, str]] = no_description
    """Native channel and code of a data frame, both empty where it has none."""
    check_sequence: bool = False
    """Whether the exchange's sequence numbers are looked at, so that a loss inside a live session is a gap."""
    mark: Callable[[str | bytes], Mark | None] = no_mark
    """What tells a data frame apart on two connections, and its sequence numbers; None where it has neither."""
    sources: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Where a figure comes from, by field name; shown by ``feedwarden exchanges``."""

    def __attrs_post_init__(self) -> None:
        # one silence must have one reason: a lost pong is to be called ping_timeout, not link_timeout
        pings = any(rule.by is By.CLIENT for rule in self.heartbeats) and self.ping_interval > 0
        if pings and 0 < self.link_timeout <= self.ping_interval + self.ping_timeout:
            msg = (
                f"link_timeout must exceed ping_interval + ping_timeout "
                f"({self.ping_interval:g} + {self.ping_timeout:g}): {self.link_timeout:g}"
            )
            raise ValueError(msg)

    @property
    def host(self) -> str:
        """The host name of ``ws_url``."""
        return urlsplit(self.ws_url).hostname or ""

    def session(self, subscriptions: Iterable[Subscription] = ()) -> Session:
        """A fresh session for one incarnation; the subscriptions are native already (:meth:`native`)."""
        return self.make_session(self, tuple(subscriptions))

    def channel(self, word: str) -> Channel:
        """The channel that ``word`` names, natively or portably; ValueError names the nearest one."""
        for channel in self.channels:
            if channel.matches(word):
                return channel
        known = [name for channel in self.channels for name in (channel.portable, channel.name) if name]
        near = difflib.get_close_matches(word, known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(dict.fromkeys(known)) or 'none'}"
        msg = f"unknown channel {word!r} of {self.code}: {hint}"
        raise ValueError(msg)

    def spell(self, code: str) -> str:
        """``BASE/QUOTE`` in this exchange's spelling, any other code folded to its case."""
        if not code or re.search(r"[\s\x00-\x1f\x7f\"\\]", code):
            msg = f"not a code of {self.code}: {code!r}"
            raise ValueError(msg)
        base, slash, quote = code.partition("/")
        if slash:
            if not base or not quote or "/" in quote:
                msg = f"a portable code is BASE/QUOTE, like BTC/KRW: {code!r}"
                raise ValueError(msg)
            code = self.code_format.format(base=base, quote=quote)
        return {"upper": code.upper(), "lower": code.lower(), "keep": code}[self.code_case]

    def native(self, subscriptions: Iterable[Subscription]) -> tuple[Subscription, ...]:
        """The subscriptions in the exchange's own words, codes of one channel merged and without repeats."""
        merged: dict[str, dict[str, None]] = {}
        for wanted in subscriptions:
            channel = self.channel(wanted.channel)
            word = channel.name if wanted.channel == channel.portable else wanted.channel
            if not wanted.codes:
                msg = f"channel {wanted.channel!r} of {self.code} has no code to subscribe to"
                raise ValueError(msg)
            merged.setdefault(word, {}).update(dict.fromkeys(self.spell(code) for code in wanted.codes))
        return tuple(Subscription(word, tuple(codes)) for word, codes in merged.items())
