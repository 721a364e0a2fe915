"""Faults as plain data: what to do to a simulated server, and when.

Each :class:`FaultKind` is a method of :class:`~actors.chaos.server.Server` of that name; a list of :class:`Fault` is a
schedule that can be written down as JSON and played again.
"""

import enum
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import trio

from actors._checks import in_range
from actors.chaos.ledger import Role


class FaultKind(enum.StrEnum):
    """The things that can be done to a server while it runs."""

    CUT = "cut"
    RESET = "reset"
    CLOSE = "close"
    RETIRE = "retire"
    SAY = "say"
    SILENCE = "silence"
    MUTE_PROBE = "mute_probe"
    SKIP = "skip"
    IGNORE_CLOSE = "ignore_close"
    REFUSE = "refuse"
    REJECT = "reject"
    CLOSE_AT_ONCE = "close_at_once"
    OPEN_SILENT = "open_silent"
    RESUME = "resume"


@attrs.frozen
class Fault:
    """One fault: ``Fault(20, "reject", {"status": 429, "retry_after": 5})``."""

    at: float = attrs.field(validator=in_range(0, 86_400 * 400))
    """Seconds after the schedule began."""
    kind: FaultKind = attrs.field(converter=FaultKind)
    args: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """Keyword arguments of the method."""


async def play(target: object, faults: Sequence[Fault]) -> None:
    """Inject ``faults`` into a server, each at its time from now, in order of time; return after the last.

    Raises:
        ValueError: a fault has arguments that its method does not take; nothing was injected.
    """
    for number, fault in enumerate(faults, 1):
        try:
            inspect.signature(getattr(target, fault.kind)).bind(**fault.args)
        except TypeError as error:
            msg = f"fault {number} ({fault.kind}): {error}"
            raise ValueError(msg) from None
    begun = trio.current_time()
    for fault in sorted(faults, key=lambda each: each.at):
        await trio.sleep_until(begun + fault.at)
        getattr(target, fault.kind)(**fault.args)


@attrs.define
class Conduct:
    """How one connection is treated; each False is something that the server no longer does on it."""

    data: bool = True
    """Market data goes out."""
    answers: bool = True
    """Subscriptions are answered: by snapshots, acks, errors."""
    heartbeats: bool = True
    """Pings are answered and sent, in both forms."""
    closes: bool = True
    """A Close is answered, and the venue's rules may end the connection."""
    skip: int = 0
    """Frames of data, snapshots apart, that do not go out although those after them do."""

    def allows(self, role: Role, *, reply: bool) -> bool:
        """Whether a frame may go out, asked once for each; ``reply`` marks data that answers a subscription."""
        match role:
            case Role.DATA if self.skip and not reply:
                self.skip -= 1
                return False
            case Role.DATA:
                return self.data and (self.answers or not reply)
            case Role.ANSWER:
                return self.answers
            case Role.HEARTBEAT:
                return self.heartbeats
            case Role.CLOSE:
                return True
