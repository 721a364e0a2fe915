"""Whose fault it was, and how to come back.

Every failure of a feed is a :class:`ConnectorError` with a ``reason`` out of a closed set and an :class:`Advice`.
The class says whose fault it was; the advice says when to try again; whatever is *not* a ``ConnectorError`` is a
bug of ours and counts as a crash.
"""

import enum
import unicodedata
from typing import cast

import attrs


class Reason(enum.StrEnum):
    """Why a session ended or never began: the closed label set of logs, metrics and gaps."""

    DNS_NXDOMAIN = "dns_nxdomain"
    DNS_TIMEOUT = "dns_timeout"
    DNS_TEMP = "dns_temp"
    NET_UNREACHABLE = "net_unreachable"
    LOCAL_PORTS = "local_ports"
    FD_LIMIT = "fd_limit"
    CONNECT_TIMEOUT = "connect_timeout"
    REFUSED = "refused"
    RESET = "reset"
    EOF = "eof"
    SEND_TIMEOUT = "send_timeout"
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_TIMEOUT = "proxy_timeout"
    PROXY_AUTH = "proxy_auth"
    PROXY_REFUSED = "proxy_refused"
    PROXY_GARBAGE = "proxy_garbage"
    TLS_EXPIRED = "tls_expired"
    TLS_HOSTNAME = "tls_hostname"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_TIMEOUT = "tls_timeout"
    TLS_EOF = "tls_eof"
    TLS_PROTOCOL = "tls_protocol"
    TLS_ERROR = "tls_error"
    UPGRADE_TIMEOUT = "upgrade_timeout"
    HTTP_REDIRECT = "http_redirect"
    HTTP_CLIENT = "http_client"
    HTTP_FORBIDDEN = "http_forbidden"
    HTTP_BANNED = "http_banned"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    HTTP_NOT_101 = "http_not_101"
    HTTP_GARBAGE = "http_garbage"
    WS_HANDSHAKE = "ws_handshake"
    WS_UTF8 = "ws_utf8"
    WS_PROTOCOL = "ws_protocol"
    WS_TOO_BIG = "ws_too_big"
    WS_FRAGMENTS = "ws_fragments"
    PING_FLOOD = "ping_flood"
    CLOSE_1000 = "close_1000"
    CLOSE_1001 = "close_1001"
    CLOSE_1008 = "close_1008"
    CLOSE_1011 = "close_1011"
    CLOSE_1012 = "close_1012"
    CLOSE_1013 = "close_1013"
    CLOSE_4XXX = "close_4xxx"
    CLOSE_OTHER = "close_other"
    PING_TIMEOUT = "ping_timeout"
    LINK_TIMEOUT = "link_timeout"
    MESSAGE_TIMEOUT = "message_timeout"
    SUB_TIMEOUT = "sub_timeout"
    SUB_REJECTED = "sub_rejected"
    SEQ_GAP = "seq_gap"
    RESUBSCRIBED = "resubscribed"
    APP_ERROR = "app_error"
    ENDPOINT = "endpoint"
    REQUESTED = "requested"
    OVERFLOW = "overflow"
    CRASH = "crash"
    STOPPED = "stopped"


WITHIN = frozenset({Reason.OVERFLOW, Reason.SEQ_GAP, Reason.RESUBSCRIBED})
"""The reasons of gaps in a session that goes on; any other gap ends an interruption."""


class Way(enum.Enum):
    """The ways back after a failure."""

    NOW = "now"
    BACKOFF = "backoff"
    AFTER = "after"
    QUARANTINE = "quarantine"


@attrs.frozen
class Advice:
    """How to come back: a way, and for ``AFTER`` the least number of seconds to wait."""

    way: Way
    seconds: float = 0.0


NOW = Advice(Way.NOW)
"""At once – honoured only after a session that had been healthy, else as BACKOFF."""
BACKOFF = Advice(Way.BACKOFF)
"""After the strategy's next delay."""
QUARANTINE = Advice(Way.QUARANTINE)
"""Slow retries and one alert: retrying sooner would not help, giving up would be wrong."""


def after(seconds: float) -> Advice:
    """Not sooner than ``seconds`` from now, because the server said so."""
    return Advice(Way.AFTER, seconds)


class ConnectorError(Exception):
    """A session failed for a reason that lies outside this program.

    Args:
        reason: One of :class:`Reason`.
        detail: What was seen, for a person; cleaned of control characters and cut to 200 characters.
        advice: How to come back.
    """

    def __init__(self, reason: Reason, detail: str = "", advice: Advice = BACKOFF) -> None:
        self.reason = reason
        self.detail = clean(detail)
        self.advice = advice
        super().__init__(reason, self.detail, advice)

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


class NetworkError(ConnectorError):
    """The way to the server failed: name resolution, TCP, or the link itself."""


class TLSError(ConnectorError):
    """The server's identity or the encrypted channel failed."""


class HandshakeError(ConnectorError):
    """The server answered the upgrade request with something other than a valid 101.

    ``status`` is the HTTP status, or None where none was readable; ``retry_after`` the server's own wait in seconds.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        advice: Advice = BACKOFF,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, detail, advice)
        self.status = status
        self.retry_after = retry_after


class ProtocolError(ConnectorError):
    """The server broke the WebSocket protocol or a limit of ours."""


class ServerClosed(ConnectorError):
    """The server said goodbye with a close frame; ``code`` is its close code."""

    def __init__(self, reason: Reason, detail: str = "", advice: Advice = BACKOFF, *, code: int = 1005) -> None:
        super().__init__(reason, detail, advice)
        self.code = code


class LivenessError(ConnectorError):
    """One of our clocks ran out: no pong, no frame, no data, no confirmation."""


class ApplicationError(ConnectorError):
    """The exchange said in its own words that something is wrong."""


class ReconnectRequested(ConnectorError):
    """Somebody called ``reconnect()``: a fresh session is wanted, nobody is to blame."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(Reason.REQUESTED, detail, NOW)
        self.args = (self.detail,)  # what a copy is made with


class GiveUp(Exception):
    """An actor raises this to end for good: its supervisor does not restart it."""


class Escalate(Exception):
    """An actor raises this to fail its supervisor too."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, however deeply nested; a bare error is its own only leaf."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for inner in group.exceptions for leaf in leaves(inner)]


_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str, limit: int = 200) -> str:
    """Foreign text made safe for a terminal, a log line and a message: no control or bidi characters, bounded."""
    safe = "".join(" " if unicodedata.category(c).startswith("C") or c in _BIDI else c for c in text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
