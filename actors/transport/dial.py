"""From a host name to an open stream, in time or with a typed error."""

import errno
import os
import socket
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest

import attrs
import trio

from actors.errors import BACKOFF, NOW, QUARANTINE, ConnectorError, NetworkError, Reason, TLSError
from actors.exchange import Exchange
from actors.transport.network import TEMPORARY, Address, Network

STAGGER = 0.25
"""Seconds that an address has for itself before the next one is tried too (RFC 8305 section 5)."""


async def dial(network: Network, host: str, port: int, *, tls: bool, exchange: Exchange) -> trio.abc.Stream:
    """Resolve, connect, and secure, each within the exchange's time and all within its ``open_timeout``.

    Every address is tried before giving up. A stream that is not returned is closed.

    Raises:
        NetworkError: the name or the connection failed; the reason says how.
        TLSError: the server is not who it should be, or the handshake failed.
    """
    limit = trio.current_time() + exchange.open_timeout
    place = f"{host}:{port}"
    with _within(
        exchange.dns_timeout, limit, NetworkError, Reason.DNS_TIMEOUT, f"{place}: the resolver did not answer"
    ):
        addresses = await _resolve(network, host, port)
    with _within(
        exchange.connect_timeout, limit, NetworkError, Reason.CONNECT_TIMEOUT, f"{place}: no address answered"
    ):
        stream, address = await _Race(network, place).run(interleaved(addresses))
    if not tls:
        return stream
    with _within(exchange.tls_timeout, limit, TLSError, Reason.TLS_TIMEOUT, f"{place} ({address}): handshake too slow"):
        try:
            return await network.secure(stream, host)
        except (OSError, trio.BrokenResourceError) as error:
            raise _tls_error(error, f"{place} ({address})") from error


async def reach(network: Network, host: str, port: int) -> tuple[trio.abc.Stream, Address]:
    """Resolve and connect, however long it takes; raises as :func:`dial` does, but for what is late."""
    return await _Race(network, f"{host}:{port}").run(interleaved(await _resolve(network, host, port)))


def broken(error: BaseException, place: str) -> ConnectorError:
    """What a stream's failure means: the link was reset, or TLS fell apart."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError):
        return TLSError(Reason.TLS_ERROR, f"{place}: {_words(cause)}")
    return NetworkError(Reason.RESET, f"{place}: {_words(cause)}" if cause else f"{place}: connection broken", NOW)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """The addresses, families taking turns, the first family first (RFC 8305 section 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    turns = chain.from_iterable(zip_longest(*families.values()))
    return [address for address in turns if address is not None]


@contextmanager
def _within(seconds: float, limit: float, kind: type[ConnectorError], reason: Reason, detail: str) -> Generator[None]:
    """Raise an error of this kind if the body has not ended after ``seconds``, or at ``limit`` if that is sooner."""
    with trio.move_on_at(min(trio.current_time() + seconds, limit)) as scope:
        yield
    if scope.cancelled_caught:
        raise kind(reason, detail)


async def _resolve(network: Network, host: str, port: int) -> Sequence[Address]:
    try:
        return await network.resolve(host, port)
    except UnicodeError as error:
        raise NetworkError(Reason.DNS_NXDOMAIN, f"{host} is not a host name", QUARANTINE) from error
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno not in TEMPORARY:
            raise NetworkError(Reason.DNS_NXDOMAIN, f"{host}: {error.strerror}", QUARANTINE) from error
        raise NetworkError(Reason.DNS_TEMP, f"{host}: {error.strerror or error}") from error


@attrs.define
class _Race:
    """Happy eyeballs: the first address that answers wins, the others are dropped."""

    network: Network
    place: str
    winner: tuple[trio.abc.Stream, Address] | None = None
    losers: list[ConnectorError] = attrs.Factory(list[ConnectorError])

    async def run(self, addresses: Sequence[Address]) -> tuple[trio.abc.Stream, Address]:
        try:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    failed = trio.Event()
                    nursery.start_soon(self._attempt, address, failed, nursery.cancel_scope)
                    with trio.move_on_after(STAGGER):
                        await failed.wait()
        except BaseException:
            # the deadline may strike in the very turn in which somebody has won
            if self.winner is not None:
                await trio.aclose_forcefully(self.winner[0])
            raise
        if self.winner is None:
            self.losers.sort(key=lambda loser: _TELLING.get(loser.reason, 9))
            # kept, it would hold the frames it passes through, and they it
            raise self.losers.pop()
        return self.winner

    async def _attempt(self, address: Address, failed: trio.Event, race: trio.CancelScope) -> None:
        try:
            stream = await self.network.connect(address)
        except (OSError, ConnectorError) as error:
            self.losers.append(error if isinstance(error, ConnectorError) else self._named(error, address))
            failed.set()
            return
        if self.winner is None:
            self.winner = stream, address
            race.cancel()
        else:
            await trio.aclose_forcefully(stream)

    def _named(self, error: OSError, address: Address) -> NetworkError:
        reason = _REASONS.get(error.errno or 0, Reason.NET_UNREACHABLE)
        return NetworkError(reason, f"{self.place} ({address}): {_words(error)}")


_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ECONNRESET: Reason.RESET,
    errno.ECONNABORTED: Reason.RESET,
    errno.EPIPE: Reason.RESET,
    errno.ETIMEDOUT: Reason.CONNECT_TIMEOUT,
    errno.EADDRNOTAVAIL: Reason.LOCAL_PORTS,
    errno.EMFILE: Reason.FD_LIMIT,
    errno.ENFILE: Reason.FD_LIMIT,
}

_TELLING = {
    Reason.NET_UNREACHABLE: 1,
    Reason.CONNECT_TIMEOUT: 2,
    Reason.RESET: 3,
    Reason.REFUSED: 4,
    Reason.LOCAL_PORTS: 5,
    Reason.FD_LIMIT: 6,
}
"""Of several failed addresses the one that got furthest tells most: one without a route says nothing of the server."""


_TLS_VERDICTS: dict[int, Reason] = {
    9: Reason.TLS_EXPIRED,  # X509_V_ERR_CERT_NOT_YET_VALID
    10: Reason.TLS_EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
    62: Reason.TLS_HOSTNAME,  # X509_V_ERR_HOSTNAME_MISMATCH
    64: Reason.TLS_HOSTNAME,  # X509_V_ERR_IP_ADDRESS_MISMATCH
}
"""OpenSSL's verify codes (x509_vfy.h); every other one means that the chain does not lead to a trusted authority."""

_MISMATCH = ("VERSION", "PROTOCOL", "CIPHER", "HANDSHAKE_FAILURE")
"""Words in OpenSSL's reasons which say that both sides will never agree: trying again soon is useless."""


def _tls_error(error: BaseException, place: str) -> ConnectorError:
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = _TLS_VERDICTS.get(cause.verify_code, Reason.TLS_UNTRUSTED)
        hint = "; is this machine's clock right?" if reason is Reason.TLS_EXPIRED else ""
        return TLSError(reason, f"{place}: {cause.verify_message}{hint}", QUARANTINE)
    if isinstance(cause, ssl.SSLEOFError) or cause is None:
        return TLSError(Reason.TLS_EOF, f"{place} hung up during the TLS handshake")
    if not isinstance(cause, ssl.SSLError):
        return broken(error, place)
    final = any(word in (cause.reason or "") for word in _MISMATCH)
    reason, advice = (Reason.TLS_PROTOCOL, QUARANTINE) if final else (Reason.TLS_ERROR, BACKOFF)
    return TLSError(reason, f"{place}: {_words(cause)}", advice)


def _cause(error: BaseException | None) -> OSError | None:
    """The operating system's or OpenSSL's own error behind trio's."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS error"
    return os.strerror(error.errno) if error.errno else str(error)
