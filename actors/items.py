"""What a feed yields, and how much it keeps for a slow consumer."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs

from actors.errors import Reason
from actors.exchange import By, Exchange, Form, Kind, no_description


class Message(NamedTuple):
    """One data frame, as the exchange sent it.

    ``received`` is nanoseconds UTC, one reading of the clock for all messages of a batch; ``session`` counts the
    feed's sessions from 1. ``channel``, ``code`` and ``json()`` are worked out when asked for, the first two by
    ``describe``, the profile's. ``kind`` is DATA, except in a feed that was opened with ``control=True``.
    """

    # a tuple because there is one for every message: a frozen value of attrs takes twice as long to make
    data: str | bytes
    received: int
    session: int
    describe: Callable[[str | bytes], tuple[str, str]]
    kind: Kind = Kind.DATA

    def __repr__(self) -> str:
        return f"Message(data={self.data!r}, received={self.received}, session={self.session}, kind={self.kind})"

    @property
    def channel(self) -> str:
        """The exchange's own word for the channel; empty where the frame names none."""
        return self.describe(self.data)[0]

    @property
    def code(self) -> str:
        """The exchange's own code; empty where the frame names none."""
        return self.describe(self.data)[1]

    def json(self) -> Any:
        """The payload decoded by the standard library; raises ValueError where it is no JSON."""
        return json.loads(self.data)


@attrs.frozen
class Batch:
    """Frames that were received together, in order; of ``kind`` DATA, but for a feed opened with ``control=True``."""

    received: int
    frames: Sequence[str | bytes]
    session: int
    kind: Kind = Kind.DATA
    at: float = attrs.field(default=0.0, repr=False, eq=False)
    """The same moment on trio's clock."""


@attrs.frozen
class Down:
    """The feed is interrupted, told at the moment of the verdict.

    ``since`` is when the last message before it came, or the first dial began (nanoseconds UTC). ``next_attempt``
    (nanoseconds UTC) is None while nobody has decided; later attempts are events. ``codes`` names what is interrupted
    where a feed has several sockets and not all of them are; empty: all of it.
    """

    reason: Reason
    since: int
    next_attempt: int | None = None
    codes: tuple[str, ...] = ()


@attrs.frozen
class Gap:
    """Messages between ``since`` and ``until`` (nanoseconds UTC) may be missing; precedes the first message after.

    ``seconds`` is the same interval on the monotonic clock. ``certain`` says that messages are known to be lost;
    ``lost`` is their number where it was counted. ``codes`` names those concerned; empty: all of the feed.
    ``expected`` and ``got`` are the exchange's own sequence numbers, where it has any and they have proven the loss:
    the one that should have come, and the one that came instead.
    """

    reason: Reason
    since: int
    until: int
    seconds: float
    certain: bool = False
    lost: int | None = None
    started: float = attrs.field(default=0.0, repr=False, eq=False)
    """``since`` on trio's clock."""
    codes: tuple[str, ...] = ()
    expected: int | None = None
    got: int | None = None


class FeedFailed(Exception):
    """The feed has ended by itself: its supervisor gave it up, or its buffer overflowed under the policy ``fail``."""


Key = Callable[[str | bytes], object]
"""Finds in a frame what tells apart the things that messages are about; its result is hashable."""
POLICIES = ("drop_oldest", "block", "conflate", "fail")


def _check_policy(_instance: object, _field: object, value: str) -> None:
    if value not in POLICIES:
        msg = f"overflow must be {', '.join(POLICIES[:-1])} or {POLICIES[-1]}: {value!r}"
        raise ValueError(msg)


def _check_key(instance: "Overflow", _field: object, value: object) -> None:
    if value is not None and instance.policy != "conflate":
        msg = f"a key says what conflate goes by, and the policy is {instance.policy}"
        raise ValueError(msg)


@attrs.frozen
class Overflow:
    """How much is kept for a slow consumer, and what happens beyond.

    ``drop_oldest`` loses the oldest messages and says so with a :class:`Gap`. ``conflate`` keeps the newest message of
    each key, and a Gap counts the others. ``block`` stops reading the socket, which delays our pongs too. ``fail`` ends
    the consumer with :class:`FeedFailed`.
    """

    policy: str = attrs.field(default="drop_oldest", validator=_check_policy)
    messages: int = attrs.field(default=65_536, validator=attrs.validators.ge(1))
    bytes: int = attrs.field(default=64 << 20, validator=attrs.validators.ge(1))
    key: Key | None = attrs.field(default=None, validator=_check_key)
    """What ``conflate`` goes by; None: channel and code, as the profile reads them."""

    def check(self, exchange: Exchange) -> None:
        """Raise ValueError where the policy cannot be had of this exchange."""
        if self.policy == "block" and any(
            rule.by is By.SERVER and rule.form is Form.MESSAGE for rule in exchange.heartbeats
        ):
            msg = (
                f"the policy block cannot be had of {exchange.code}: it pings in messages, which are answered as they "
                f"are read, and block stops reading; use drop_oldest, conflate or fail"
            )
            raise ValueError(msg)
        if self.policy == "conflate" and self.key is None and exchange.describe is no_description:
            msg = (
                f"the policy conflate needs a key for {exchange.code}, whose messages name no code that is known: "
                f'Overflow("conflate", key=…)'
            )
            raise ValueError(msg)


DROP_OLDEST = Overflow("drop_oldest")
BLOCK = Overflow("block")
FAIL = Overflow("fail")
