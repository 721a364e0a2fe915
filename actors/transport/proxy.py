"""A network behind a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) or SOCKS 5 (RFC 1928); the proxy looks names up.

Nothing is taken from the environment unless :func:`from_environment` is asked. Of what a proxy says an error repeats
the status only: it has seen our credentials.
"""

import socket
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import attrs
import trio

from actors.errors import BACKOFF, QUARANTINE, Advice, ConnectorError, HandshakeError, NetworkError, Reason
from actors.transport.answers import read_answer
from actors.transport.dial import broken, reach
from actors.transport.network import Address, Network

if TYPE_CHECKING:
    from python_socks.async_.trio.v2 import Proxy

SHARE = 0.9
"""The part of the time allowed for a connection that the proxy gets; the rest is for saying that it was the proxy."""

_OWN = frozenset({Reason.LOCAL_PORTS, Reason.FD_LIMIT})
"""Failures of this machine, whoever is called."""
_LATER = frozenset({408, 425, 429})
"""Answers of the 4xx kind that the next attempt may not get."""
_NEVER = frozenset({2, 7, 8})
"""Replies of SOCKS that stay as they are: not allowed by the ruleset, command or kind of address not supported."""
_NOT_LET_IN = ("No acceptable authentication methods", "Username and password authentication failure")
"""How python-socks words that credentials were missing or wrong: it has no type for either."""


@attrs.frozen
class Tunnel(Address):
    """A server's own name and port, for the proxy to look up."""

    proxy: str

    def __str__(self) -> str:
        return f"through the proxy {self.proxy}"


class ProxyNetwork:
    """The network ``inner``, its connections made through a proxy.

    The time that a caller allows for a connection is that for reaching the proxy and for its answer together.

    Args:
        inner: The way to the proxy; it also does the TLS with the server.
        url: ``http://host:port`` (CONNECT) or ``socks5://host:port``, with ``user:password@`` before the host if they
            are asked for, percent-encoded. ``socks5h://`` is the same. SOCKS takes the extra ``socks``.

    Raises:
        ValueError: the URL is none of these, or the extra is missing. The text does not repeat the URL.
    """

    def __init__(self, inner: Network, url: str) -> None:
        self._inner = inner
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError(_LOOKS) from None
        bare = parts.path in ("", "/") and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "socks5", "socks5h") or not host or not port or not bare:
            raise ValueError(_LOOKS)
        self._host, self._port = host, port
        self.source = self._place
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._socks = parts.scheme != "http"
        if self._socks:
            _check_socks(self._user, self._password)
        elif ":" in self._user:
            raise ValueError("a proxy's user has no colon in it (RFC 7617 section 2)")

    def __repr__(self) -> str:
        return f"<ProxyNetwork {self._place}>"

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The server's name itself: the proxy looks it up."""
        await trio.lowlevel.checkpoint()
        return [Tunnel(socket.AF_UNSPEC, (host, port), self._place)]

    async def connect(self, address: Address) -> trio.abc.Stream:
        """A stream to the server, through the proxy.

        Raises:
            NetworkError: the proxy cannot be reached, is silent, wants other credentials, refuses, or is none.
        """
        host, port = address.sockaddr[:2]
        stream: trio.abc.Stream | None = None
        allowed = max(trio.current_effective_deadline() - trio.current_time(), 0)
        try:
            with trio.move_on_after(allowed * SHARE):
                stream = await self._reached()
                await self._ask(stream, host, port)
                return stream
        except BaseException:
            if stream is not None:
                await trio.aclose_forcefully(stream)
            raise
        if stream is None:
            raise self._error(Reason.PROXY_UNREACHABLE, "could not be reached in time")
        await trio.aclose_forcefully(stream)
        raise self._error(Reason.PROXY_TIMEOUT, f"opened no connection to {host}:{port} in time")

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """TLS with the server; the proxy sees none of it."""
        return await self._inner.secure(stream, host)

    async def _reached(self) -> trio.abc.Stream:
        try:
            stream, _ = await reach(self._inner, self._host, self._port)
        except ConnectorError as error:
            reason = error.reason if error.reason in _OWN else Reason.PROXY_UNREACHABLE
            raise NetworkError(reason, f"the proxy {error.detail}", BACKOFF) from error
        return stream

    async def _ask(self, stream: trio.abc.Stream, host: str, port: int) -> None:
        try:
            if self._socks:
                await self._ask_socks(stream, host, port)
            else:
                await self._ask_http(stream, host, port)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            detail = broken(error, "").detail.removeprefix(": ")
            raise self._error(Reason.PROXY_GARBAGE, f"broke the connection: {detail}") from error

    async def _ask_http(self, stream: trio.abc.Stream, host: str, port: int) -> None:
        target = _authority(host, port)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._user:
            token = b64encode(f"{self._user}:{self._password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {token}")
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        status, rest = await self._answer(stream)
        if status in (401, 407):  # tinyproxy says 401 to credentials that are wrong, 407 to missing ones
            raise self._error(Reason.PROXY_AUTH, self._credentials(str(status)), QUARANTINE)
        if not 200 <= status < 300:
            final = 300 <= status < 500 and status not in _LATER
            words = f"answered {status} to CONNECT {target}"
            raise self._error(Reason.PROXY_REFUSED, words, QUARANTINE if final else BACKOFF)
        if rest:
            raise self._error(Reason.PROXY_GARBAGE, "sent more than its answer")

    async def _answer(self, stream: trio.abc.Stream) -> tuple[int, bytes]:
        """The status of the final answer, and what came behind its head."""
        data = b""
        while True:
            try:
                answer = read_answer(data, self._place)
            except HandshakeError:
                raise self._error(Reason.PROXY_GARBAGE, "gave an answer that is not HTTP, or too long") from None
            if answer is None:
                more = await stream.receive_some(4096)
                if not more:
                    raise self._error(Reason.PROXY_GARBAGE, "hung up without an answer")
                data += more
            elif answer.status >= 200:
                return answer.status, data[answer.size :]
            else:
                data = data[answer.size :]

    async def _ask_socks(self, stream: trio.abc.Stream, host: str, port: int) -> None:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.trio.v2 import Proxy

        # reached already: the library would look up and dial by itself, past the seam
        below = cast("Proxy", _Reached(stream))
        proxy = Proxy(ProxyType.SOCKS5, self._host, self._port, self._user, self._password, rdns=True, forward=below)
        try:
            await proxy.connect(host, port)
        except ProxyError as error:
            words = str(error)
            if error.error_code is not None:
                advice = QUARANTINE if error.error_code in _NEVER else BACKOFF
                refusal = f"did not connect to {host}:{port}: {words}"
                raise self._error(Reason.PROXY_REFUSED, refusal, advice) from None
            if words.startswith(_NOT_LET_IN):
                raise self._error(Reason.PROXY_AUTH, self._credentials("SOCKS"), QUARANTINE) from None
            raise self._error(Reason.PROXY_GARBAGE, "gave an answer that is not SOCKS 5, or hung up") from None

    @property
    def _place(self) -> str:
        return _authority(self._host, self._port)

    def _credentials(self, how: str) -> str:
        return f"does not accept the user and password ({how})" if self._user else f"wants user and password ({how})"

    def _error(self, reason: Reason, words: str, advice: Advice = BACKOFF) -> NetworkError:
        return NetworkError(reason, f"the proxy {self._place} {words}", advice)


_LOOKS = "a proxy's URL looks like http://host:port or socks5://host:port (it is not shown)"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_socks(user: str, password: str) -> None:
    try:
        import python_socks  # noqa: F401  # pyright: ignore[reportUnusedImport] - only whether it is there
    except ImportError:
        raise ValueError("a SOCKS proxy takes an extra: pip install 'feedwarden[socks]'") from None
    if bool(user) != bool(password) or not all(word.isascii() and len(word) <= 255 for word in (user, password)):
        raise ValueError("a SOCKS proxy takes both user and password, each up to 255 ASCII characters, or neither")


def from_environment(environment: Mapping[str, str], host: str) -> str | None:
    """The proxy that the environment names for a host, as curl reads it; None if there is none.

    ``https_proxy`` before ``all_proxy``, lower case before upper case, without a scheme ``http://``, and none for what
    ``no_proxy`` lists.
    """
    names = [spelled for name in ("https_proxy", "all_proxy", "no_proxy") for spelled in (name, name.upper())]
    https, https_2, every, every_2, never, never_2 = (environment.get(name, "") for name in names)
    without = [entry.strip().lstrip(".") for entry in (never or never_2).lower().split(",")]
    if "*" in without or any(host == entry or host.endswith(f".{entry}") for entry in without if entry):
        return None
    found = https or https_2 or every or every_2
    return f"http://{found}" if found and "://" not in found else found or None


@attrs.frozen
class _Reached:
    """Stands where python-socks has a proxy before the proxy, and is the stream that this would give."""

    stream: trio.abc.Stream

    async def connect(self, dest_host: str, dest_port: int) -> "_Reached":
        del dest_host, dest_port
        await trio.lowlevel.checkpoint()
        return self

    async def write(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = await self.stream.receive_some(size - len(data))
            if not more:
                from python_socks import ProxyError

                raise ProxyError("it hung up")
            data += more
        return bytes(data)

    async def close(self) -> None:
        await trio.aclose_forcefully(self.stream)
