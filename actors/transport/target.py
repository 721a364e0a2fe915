"""Where a WebSocket URL leads (pure)."""

import re
from urllib.parse import urlsplit

import attrs

from actors.transport.network import is_loopback


@attrs.frozen
class Target:
    """The parts of a WebSocket URL that a client needs. What may be secret is not in its repr."""

    tls: bool
    host: str
    port: int
    path: str
    query: str = attrs.field(repr=False)

    @classmethod
    def of(cls, url: str) -> "Target":
        """Take a URL apart.

        Raises:
            ValueError: it is no WebSocket URL, or ``ws://`` to another machine. The text does not repeat the query.
        """
        shown = url.partition("?")[0]
        if re.search(r"[^\x21-\x7e]", url):
            raise ValueError(f"a URL has only printable ASCII, percent-encode the rest: {shown!r}")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError as error:
            raise ValueError(f"not a URL ({error}): {shown!r}") from None
        if parts.scheme not in ("ws", "wss") or not host or parts.username is not None or parts.fragment:
            raise ValueError(f"a WebSocket URL looks like wss://host/path: {shown!r}")
        tls = parts.scheme == "wss"
        if not tls and not is_loopback(host):
            raise ValueError(f"ws:// is unencrypted and goes to this machine only, use wss://: {shown!r}")
        return cls(tls, host, port or (443 if tls else 80), parts.path or "/", parts.query)

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own (RFC 9110 section 4.2)."""
        return self._bracketed if self.port == (443 if self.tls else 80) else self.place

    @property
    def resource(self) -> str:
        """What stands in the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host
