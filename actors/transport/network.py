"""The one seam to the network: names to addresses, addresses to streams, streams to TLS."""

import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

import attrs
import trio

from actors.errors import NetworkError, Reason
from actors.transport.tls import secured

RESOLVER_THREADS = 8
"""Name look-ups at one time. A thread in ``getaddrinfo`` cannot be stopped, only abandoned, so a resolver that hangs
would use up trio's own 40 threads and with them everything else that needs one."""


@attrs.frozen
class Address:
    """Where a server listens: an address family and what the ``socket`` module calls an address of it."""

    family: int
    sockaddr: tuple[Any, ...]
    """``(ip, port)``, for IPv6 followed by flow and scope."""

    def __str__(self) -> str:
        ip, port = self.sockaddr[:2]
        return f"[{ip}]:{port}" if self.family == socket.AF_INET6 else f"{ip}:{port}"


class Network(Protocol):
    """What a connector needs of a network; tests and simulations bring their own.

    None of the three has a deadline of its own: :func:`~actors.transport.dial.dial` sets them. Each closes what it
    opened if it fails or is cancelled.
    """

    @property
    def source(self) -> str:
        """The address that servers see connections come from, where it is not the system's choice; else empty."""
        ...

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The host's addresses, best first, at least one; raises OSError (``socket.gaierror``)."""
        ...

    async def connect(self, address: Address) -> trio.abc.Stream:
        """A stream to the address; raises OSError, or a ConnectorError that needs no translation."""
        ...

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """TLS on the stream, the peer proven to be ``host``.

        Raises trio.BrokenResourceError, its cause an ``ssl.SSLError`` or OSError. The stream is closed on failure.
        """
        ...


class SystemNetwork:
    """The real network: the system's resolver, TCP, and TLS 1.2 or newer whose certificate is always verified.

    Args:
        ca_file: A PEM file of certificate authorities, trusted instead of the system's.
        ca_pem: The same as bytes.
        source: An IP address of this machine that connections are to come from; empty for the system's choice. Only
            addresses of its own family are dialled.

    Raises:
        ValueError: the certificate authorities cannot be read, or this machine has no such address.
    """

    def __init__(
        self,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        ca_pem: bytes | None = None,
        source: str = "",
    ) -> None:
        self._tls = client_context(ca_file=ca_file, ca_pem=ca_pem)
        self.source = source
        self._family = _family_of(source) if source else socket.AF_UNSPEC
        self._threads = trio.CapacityLimiter(RESOLVER_THREADS)
        self._last_good: dict[tuple[str, int], tuple[Address, ...]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The host's addresses; the last good ones if the resolver fails for the moment or is slow.

        Slow is: half of the time that the caller allows has passed.
        """
        if _is_ip(host):
            await trio.lowlevel.checkpoint()
            return self._own_family(_lookup(host, port, socket.AI_NUMERICHOST))
        known = self._last_good.get((host, port))
        if known is None:
            addresses = await self._ask(host, port)
        else:
            patience = (trio.current_effective_deadline() - trio.current_time()) / 2
            addresses = known
            with trio.move_on_after(max(patience, 0)):
                try:
                    addresses = await self._ask(host, port)
                except socket.gaierror as error:
                    if error.errno not in TEMPORARY:
                        raise
        self._last_good[host, port] = addresses
        return self._own_family(addresses)

    async def connect(self, address: Address) -> trio.abc.Stream:
        """A TCP connection, without Nagle's delay (trio sets TCP_NODELAY)."""
        sock = trio.socket.socket(address.family, socket.SOCK_STREAM)
        try:
            if self.source:
                await self._bind(sock)
            await sock.connect(address.sockaddr)
            return trio.SocketStream(sock)
        except BaseException:
            sock.close()
            raise

    async def _bind(self, sock: trio.socket.SocketType) -> None:
        try:
            await sock.bind((self.source, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise NetworkError(
                Reason.NET_UNREACHABLE, f"the source {self.source} is no address of this machine any more"
            ) from error

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """TLS on the stream; its end without ``close_notify`` counts as an end, as it does in HTTPS."""
        if isinstance(stream, trio.SocketStream):
            return await secured(stream, self._tls, host)
        tls = trio.SSLStream(stream, self._tls, server_hostname=host, https_compatible=True)
        try:
            await tls.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return tls

    def _own_family(self, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        """Those that can be reached from our source address."""
        found = tuple(each for each in addresses if self._family in (socket.AF_UNSPEC, each.family))
        if not found:
            raise OSError(errno.EAFNOSUPPORT, f"it has no address of the family of the source {self.source}")
        return found

    async def _ask(self, host: str, port: int) -> tuple[Address, ...]:
        return await trio.to_thread.run_sync(_lookup, host, port, 0, limiter=self._threads, abandon_on_cancel=True)


def _family_of(source: str) -> socket.AddressFamily:
    """The family of an address of this machine; ValueError for anything else."""
    if not _is_ip(source):
        msg = f"source must be an IP address of this machine: {source!r}"
        raise ValueError(msg)
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((source, 0))
        except OSError as error:
            msg = f"source {source} is no address of this machine: {error.strerror}"
            raise ValueError(msg) from None
    return family


TEMPORARY = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM})
"""Resolver errors that say nothing about the name."""


def client_context(*, ca_file: str | os.PathLike[str] | None = None, ca_pem: bytes | None = None) -> ssl.SSLContext:
    """A verifying TLS context that trusts the given authorities only, or the system's if none are given.

    Raises:
        ValueError: the file cannot be read, or no certificate is in it.
    """
    place = "ca_pem" if ca_file is None else f"ca_file {os.fspath(ca_file)}"
    try:
        pem = None if ca_pem is None else ca_pem.decode("ascii")
        context = ssl.create_default_context(cafile=ca_file, cadata=pem)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ValueError(f"{place} cannot be used: it holds no certificate in PEM form") from error
    except OSError as error:
        raise ValueError(f"{place} cannot be read: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a read could otherwise need a write at any time
    return context


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very name: ``localhost`` or a loopback address."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _lookup(host: str, port: int, flags: int) -> tuple[Address, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return tuple(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))
