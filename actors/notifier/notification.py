"""What a person is told: a notification is one event and how much it matters, in no language yet (pure)."""

import enum

import attrs

from actors.errors import Reason, Way
from actors.events import (
    CodeRejected,
    Connected,
    Disconnected,
    Event,
    Failed,
    FeedEvent,
    LegLost,
    LinkState,
    Origin,
    Overflowed,
    Quiet,
    Reconnecting,
    StateChanged,
    Unconfirmed,
)


class Severity(enum.StrEnum):
    """How much a notification matters."""

    INFO = "info"
    WARNING = "warning"
    PAGE = "page"
    """Somebody has to do something: retrying alone will not help."""


class Style(enum.StrEnum):
    """How much a channel wants to hear."""

    GUIDE = "guide"
    """One message for each connect, disconnect, reconnect and error."""
    INCIDENTS = "incidents"
    """Few messages: what is folded, lasting, and worth reading."""


class Topic(enum.StrEnum):
    """The guide's four kinds of alert, by its own words."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    RECONNECT = "reconnect"
    ERROR = "error"


@attrs.frozen
class Notification:
    """One thing to tell, about one feed."""

    event: Topic
    severity: Severity
    cause: FeedEvent
    """What happened; the wording takes its figures from here."""

    @property
    def origin(self) -> Origin:
        """Which feed it is about."""
        return self.cause.origin


TOLD: frozenset[type[Event]] = frozenset(
    {CodeRejected, Connected, Disconnected, Failed, LegLost, Overflowed, Quiet, Reconnecting, StateChanged, Unconfirmed}
)
"""The events from which :func:`guide` makes notifications."""

ALONE = frozenset(
    {
        Reason.HTTP_REDIRECT,
        Reason.HTTP_CLIENT,
        Reason.HTTP_FORBIDDEN,
        Reason.HTTP_BANNED,
        Reason.WS_HANDSHAKE,
        Reason.WS_TOO_BIG,
        Reason.CLOSE_1008,
        Reason.SUB_REJECTED,
        Reason.CRASH,
    }
)
"""The failures whose cause is an exchange's own, or ours: beside another one they are another incident."""

PAGES = ALONE | {
    Reason.DNS_NXDOMAIN,
    Reason.LOCAL_PORTS,
    Reason.FD_LIMIT,
    Reason.TLS_EXPIRED,
    Reason.TLS_HOSTNAME,
    Reason.TLS_UNTRUSTED,
    Reason.TLS_PROTOCOL,
}
"""The failures that somebody has to look into; for each the wording says what to do."""

OUR_OWN_WISH = frozenset({Reason.REQUESTED, Reason.STOPPED})
"""Ends of a session that are no failure: somebody asked for a fresh one, or for none."""


def akin(one: Reason | None, other: Reason | None) -> bool:
    """Whether two failures may have one cause: they are the same, or both may come from the network between."""
    return one is other or not {one, other} & ALONE


def guide(event: Event) -> Notification | None:
    """Style ``guide``: one notification for each connect, disconnect, reconnect and error; None for anything else.

    What a consumer or an exchange does wrong while the link holds (overflow, an unconfirmed subscription, a quiet
    or rejected code) is an error of severity warning. A session that ended because somebody wished it is no error.
    """
    match event:
        case Connected():
            return Notification(Topic.CONNECT, Severity.INFO, event)
        case Disconnected():
            return Notification(Topic.DISCONNECT, Severity.INFO, event)
        case Reconnecting():
            severity = Severity.PAGE if event.way is Way.QUARANTINE else Severity.INFO
            return Notification(Topic.RECONNECT, severity, event)
        case Failed() if event.reason not in OUR_OWN_WISH:
            severity = Severity.PAGE if event.reason in PAGES else Severity.WARNING
            return Notification(Topic.ERROR, severity, event)
        case StateChanged(state=LinkState.GAVE_UP):
            return Notification(Topic.ERROR, Severity.PAGE, event)
        case CodeRejected() | LegLost() | Overflowed() | Quiet() | Unconfirmed():
            return Notification(Topic.ERROR, Severity.WARNING, event)
        case _:
            return None
