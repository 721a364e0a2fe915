"""What tells messages apart and puts them in order, cut out of a frame without decoding it (pure).

An exchange's ``mark`` hook makes a :class:`Mark` of a data frame. It runs per batch, and only while something asks
for it: several legs that are merged (:mod:`actors.merge`), or a check for losses (:mod:`actors.sequence`).
"""

from typing import NamedTuple

Key = tuple[str, str]
"""The exchange's own words for channel and code, as ``Exchange.describe`` gives them."""


class Mark(NamedTuple):
    """One message's place in the stream of its channel and code.

    A named tuple, not an attrs class: one is made for every frame, and a tuple is made in half the time.
    """

    key: Key
    identity: int
    """Equal on every connection for the same message; different messages of a key differ, rightful repeats do not."""
    order: int | None = None
    """Never falls from one message of the key to the next; None where the exchange keeps no order."""
    snapshot: bool = False
    """Whether it restates the present instead of telling what has happened."""
    first: int | None = None
    """The first sequence number in the message; None where the exchange numbers nothing without holes."""
    last: int | None = None
    """The last sequence number in the message."""
    previous: int | None = None
    """``last`` of the message before, where messages carry it; then ``first`` is not looked at."""
    promised: bool = True
    """Whether the exchange promises numbers without holes; if not, a hole is no proof of a loss."""
    counted: bool = False
    """Whether one number is one message, so that a hole's size is the number of messages lost."""


def plain(code: str) -> str:
    """A code as subscriptions and frames have it alike: without case, and without a depth (``KRW-BTC.15``)."""
    return code.upper().partition(".")[0]


def no_mark(data: str | bytes) -> Mark | None:
    """The hook of an exchange whose messages carry nothing to tell them apart by."""
    del data
