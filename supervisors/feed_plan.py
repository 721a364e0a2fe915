"""What a configuration says of feeds."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from actors.events import EventHook
from actors.exchange import Exchange, Subscription
from actors.items import DROP_OLDEST, Overflow
from actors.notifier import Notifier
from actors.transport import Network
from supervisors.renewal import RenewAt


def check_name(_instance: object, _field: object, name: str) -> None:
    """Raise ValueError for a name that no feed can have."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        msg = f"a feed's name is up to 64 letters, digits, '.', '-' and '_': {name!r}"
        raise ValueError(msg)
    if name in ("root", "feeds"):
        msg = f"no feed can be named {name!r}: a supervisor is"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class FeedPlan:
    """A feed as a configuration describes it; ValueError for a name that no feed can have."""

    name: str = attrs.field(validator=check_name)
    exchange: Exchange
    subscriptions: tuple[Subscription, ...] = ()
    overflow: Overflow = DROP_OLDEST
    network: Network | Sequence[Network] | None = None
    """Where this feed's connections are made, if not where those of the others are; of several, one for each leg."""
    legs: int = 1
    """Sockets that carry the same side by side."""
    renew_at: str | RenewAt = ""
    """When they are renewed, like ``06:00/30m``."""


class FeedsConfig(Protocol):
    """What :class:`open_feeds` needs of a configuration; ``supervisors.standalone.load_config`` reads one from TOML."""

    @property
    def feeds(self) -> Sequence[FeedPlan]:
        """The feeds to open."""
        ...

    @property
    def ip_budget(self) -> float:
        """This process's share of what an exchange publishes for one address, above 0 up to 1."""
        ...

    @property
    def bans(self) -> Path | None:
        """The file in which bans outlive the process; None where they need not."""
        ...

    def notifier(self, emit: EventHook) -> Notifier | None:
        """The notifier with its channels, or None where none is configured."""
        ...
