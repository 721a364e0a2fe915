"""Dialling: deadlines, racing addresses, the resolver's bad days, and TLS that is always verified."""

import datetime as dt
import errno
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from actors.errors import BACKOFF, NOW, QUARANTINE, Advice, ConnectorError, NetworkError, Reason, TLSError
from actors.transport import Address, SystemNetwork
from actors.transport.dial import broken, dial, interleaved
from actors.transport.network import is_loopback
from tests.hostile import (
    QUICK,
    Inbox,
    Script,
    answering,
    close,
    hostile,
    link_to,
    nothing_left,
    server_context,
    upgraded,
)

V4 = [Address(socket.AF_INET, (f"192.0.2.{n}", 443)) for n in range(4)]
V6 = [Address(socket.AF_INET6, (f"2001:db8::{n}", 443, 0, 0)) for n in range(4)]
PATIENT = attrs.evolve(QUICK, dns_timeout=5, connect_timeout=5, tls_timeout=5, open_timeout=20)

Connect = Callable[[], Awaitable[None]]


async def answers() -> None:
    await trio.lowlevel.checkpoint()


async def swallows() -> None:
    await trio.sleep_forever()


def fails(code: int) -> Connect:
    async def connect() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(code, os.strerror(code))

    return connect


def after_seconds(seconds: float, act: Callable[[], object] = lambda: None) -> Connect:
    async def wait() -> None:
        await trio.sleep(seconds)
        act()

    return wait


class CountedStream(trio.abc.Stream):
    """A stream that says nothing and knows whether it was closed."""

    closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()
        raise AssertionError(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class FakeNetwork:
    """A network by table: what each address does, in the order in which the resolver gives them."""

    source = ""

    def __init__(self, table: dict[Address, Connect], secure: Connect | None = None) -> None:
        self.table = table
        self.handshake = secure
        self.dialled: list[tuple[float, Address]] = []
        self.opened: list[CountedStream] = []

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        assert (host, port) == ("host", 443)
        await trio.lowlevel.checkpoint()
        return list(self.table)

    async def connect(self, address: Address) -> trio.abc.Stream:
        self.dialled.append((trio.current_time(), address))
        await self.table[address]()
        self.opened.append(CountedStream())
        return self.opened[-1]

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        assert host == "host"
        try:
            if self.handshake is not None:
                await self.handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream


async def failure(network: FakeNetwork, *, tls: bool = False) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        await dial(network, "host", 443, tls=tls, exchange=PATIENT)
    assert all(stream.closed for stream in network.opened)
    return caught.value


# -- addresses ------------------------------------------------------------------------------------------------------


def test_interleaved() -> None:
    """Families take turns, the resolver's favourite first, and none is lost."""
    assert interleaved([*V6[:1], *V4[:3], *V6[1:3]]) == [V6[0], V4[0], V6[1], V4[1], V6[2], V4[2]]
    assert interleaved(V4) == V4


async def test_black_hole_costs_a_quarter_second(autojump_clock: trio.testing.MockClock) -> None:
    """D4, D7: dead addresses are overtaken after 250 ms each, the other family first."""
    network = FakeNetwork({V6[0]: swallows, V6[1]: answers, V4[0]: swallows})
    began = trio.current_time()
    stream = await dial(network, "host", 443, tls=False, exchange=PATIENT)
    assert [(at - began, address) for at, address in network.dialled] == [(0, V6[0]), (0.25, V4[0]), (0.5, V6[1])]
    assert not network.opened[0].closed
    assert stream is network.opened[0]


async def test_refused_address_is_overtaken_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A failure starts the next attempt without waiting."""
    network = FakeNetwork({V4[0]: fails(errno.ECONNREFUSED), V4[1]: answers})
    began = trio.current_time()
    await dial(network, "host", 443, tls=False, exchange=PATIENT)
    assert trio.current_time() == began


async def test_losers_are_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Of two that answer in the same turn one is handed out, and the other closed."""
    answer = trio.Event()
    network = FakeNetwork({V4[0]: answer.wait, V4[1]: answer.wait, V4[2]: swallows})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(after_seconds(1, answer.set))
        stream = await dial(network, "host", 443, tls=False, exchange=PATIENT)
    assert [opened.closed for opened in network.opened] == [opened is not stream for opened in network.opened]
    assert len(network.opened) == 2


async def test_winner_in_the_turn_of_the_cancel_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A connection made in the very turn in which the dial is cancelled is not leaked."""
    answer = trio.Event()
    network = FakeNetwork({V4[0]: answer.wait})
    with trio.CancelScope() as scope:

        def both() -> None:
            answer.set()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(after_seconds(0.1, both))
            await dial(network, "host", 443, tls=False, exchange=PATIENT)
    assert scope.cancelled_caught
    assert [opened.closed for opened in network.opened] == [True]


@pytest.mark.parametrize(
    ("code", "reason", "advice"),
    [
        (errno.ECONNREFUSED, Reason.REFUSED, BACKOFF),
        (errno.ECONNRESET, Reason.RESET, BACKOFF),
        (errno.ENETUNREACH, Reason.NET_UNREACHABLE, BACKOFF),
        (errno.EHOSTUNREACH, Reason.NET_UNREACHABLE, BACKOFF),
        (errno.EPERM, Reason.NET_UNREACHABLE, BACKOFF),
        (errno.EADDRNOTAVAIL, Reason.LOCAL_PORTS, BACKOFF),
        (errno.EMFILE, Reason.FD_LIMIT, BACKOFF),
        (errno.ETIMEDOUT, Reason.CONNECT_TIMEOUT, BACKOFF),
    ],
)
async def test_connect_errors(
    autojump_clock: trio.testing.MockClock, code: int, reason: Reason, advice: Advice
) -> None:
    """D8, D9, T1: the system's error becomes a reason, and the text names host and address."""
    error = await failure(FakeNetwork({V4[1]: fails(code)}))
    assert isinstance(error, NetworkError)
    assert (error.reason, error.advice) == (reason, advice)
    assert error.detail == f"host:443 (192.0.2.1:443): {os.strerror(code)}"


async def test_most_telling_error(autojump_clock: trio.testing.MockClock) -> None:
    """All addresses are tried, and the one that got furthest is reported, wherever it stood."""
    table = {V6[0]: fails(errno.ENETUNREACH), V4[0]: fails(errno.ECONNREFUSED), V4[1]: fails(errno.EHOSTUNREACH)}
    network = FakeNetwork(table)
    error = await failure(network)
    assert error.reason is Reason.REFUSED
    assert len(network.dialled) == 3


async def test_connect_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """T2: an address that swallows everything costs ``connect_timeout``."""
    began = trio.current_time()
    error = await failure(FakeNetwork({V4[0]: swallows, V4[1]: fails(errno.ECONNREFUSED)}))
    assert (error.reason, error.advice) == (Reason.CONNECT_TIMEOUT, BACKOFF)
    assert trio.current_time() - began == PATIENT.connect_timeout


async def test_open_timeout_bounds_the_stages_together(autojump_clock: trio.testing.MockClock) -> None:
    """However long each stage may take, the whole takes ``open_timeout``, and the stage it struck is named."""
    exchange = attrs.evolve(PATIENT, open_timeout=6)
    network = FakeNetwork({V4[0]: after_seconds(4)}, secure=swallows)
    began = trio.current_time()
    with pytest.raises(TLSError) as caught:
        await dial(network, "host", 443, tls=True, exchange=exchange)
    assert caught.value.reason is Reason.TLS_TIMEOUT
    assert trio.current_time() - began == 6
    assert network.opened[0].closed


async def test_cancelled_race(autojump_clock: trio.testing.MockClock) -> None:
    """A cancelled dial closes what it had opened."""
    network = FakeNetwork({V4[0]: answers}, secure=swallows)
    with trio.move_on_after(1):
        await dial(network, "host", 443, tls=True, exchange=PATIENT)
    assert [stream.closed for stream in network.opened] == [True]


# -- names ----------------------------------------------------------------------------------------------------------


class Names(FakeNetwork):
    """A network whose resolver fails."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__({})
        self.error = error

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        if self.error is None:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        assert self.error is not None
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Reason.DNS_NXDOMAIN, QUARANTINE),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Reason.DNS_TEMP, BACKOFF),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), Reason.DNS_TEMP, BACKOFF),
        (OSError(errno.EMFILE, "Too many open files"), Reason.DNS_TEMP, BACKOFF),
        (UnicodeError("label too long"), Reason.DNS_NXDOMAIN, QUARANTINE),
        (None, Reason.DNS_TIMEOUT, BACKOFF),
    ],
)
async def test_resolver_errors(
    autojump_clock: trio.testing.MockClock, error: Exception | None, reason: Reason, advice: Advice
) -> None:
    """D1 to D3: a name that does not exist is told from a resolver that fails or hangs."""
    found = await failure(Names(error))
    assert isinstance(found, NetworkError)
    assert (found.reason, found.advice) == (reason, advice)


Found = list[tuple[int, int, int, str, tuple[str, int]]]
GOOD: Found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]


@attrs.define
class Resolver:
    """Stands in for ``socket.getaddrinfo``, which cannot be brought to fail on demand."""

    error: Exception | None = None
    hang: threading.Event | None = None

    def __call__(self, host: str, port: int, *, type: int, flags: int) -> Found:
        del host, port, type, flags
        if self.hang is not None:
            self.hang.wait(10)
        if self.error is not None:
            raise self.error
        return GOOD


async def test_last_good_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2, D3: when the resolver fails or hangs, the addresses that worked last are used; NXDOMAIN is believed."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    network = SystemNetwork()
    good = await network.resolve("host", 443)
    assert [str(address) for address in good] == ["192.0.2.7:443"]
    resolver.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
    assert await network.resolve("host", 443) == good
    with pytest.raises(socket.gaierror):
        await network.resolve("other", 443)
    resolver.hang = threading.Event()
    with trio.fail_after(0.2):
        assert await network.resolve("host", 443) == good
    with trio.move_on_after(0.05) as scope:
        await network.resolve("other", 443)
    assert scope.cancelled_caught
    resolver.hang.set()
    resolver.hang, resolver.error = None, socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(socket.gaierror):
        await network.resolve("host", 443)


async def test_addresses_need_no_resolver() -> None:
    """An address is its own answer, of either family, and reads well."""
    network = SystemNetwork()
    v4, v6 = await network.resolve("127.0.0.1", 80), await network.resolve("::1", 80)
    assert [str(address) for address in (*v4, *v6)] == ["127.0.0.1:80", "[::1]:80"]


def test_loopback() -> None:
    """Only this machine's own names may be dialled without TLS."""
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("128.0.0.1", "localhost.kr", "::2", "upbit.com", "")))


async def test_real_connections() -> None:
    """T1 and a success on real sockets: TCP_NODELAY is on, and a refused port leaves nothing behind."""
    async with nothing_left(), hostile(answering(b"")) as port:
        stream = await dial(SystemNetwork(), "localhost", port, tls=False, exchange=QUICK)
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()
    async with nothing_left():
        with pytest.raises(NetworkError, match="refused"):
            await dial(SystemNetwork(), "127.0.0.1", port, tls=False, exchange=QUICK)


# -- TLS ------------------------------------------------------------------------------------------------------------

CA = trustme.CA()
OTHER_CA = trustme.CA()
PEM = CA.cert_pem.bytes()
LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (server_context(CA, "localhost", not_before=LONG_AGO, not_after=LONG_AGO), Reason.TLS_EXPIRED),
        (server_context(CA, "localhost", not_before=LONG_AGO.replace(year=2200)), Reason.TLS_EXPIRED),
        (server_context(CA, "example.org"), Reason.TLS_HOSTNAME),
        (server_context(OTHER_CA, "localhost"), Reason.TLS_UNTRUSTED),
    ],
)
async def test_tls_refused(context: ssl.SSLContext, reason: Reason) -> None:
    """S1 to S3, S9: whoever cannot prove to be the host is not talked to."""
    async with nothing_left(), hostile(answering(b""), tls=context) as port:
        with pytest.raises(TLSError) as caught:
            await link_to(port, scheme="wss", host="localhost", network=SystemNetwork(ca_pem=PEM)).run()
    assert (caught.value.reason, caught.value.advice) == (reason, QUARANTINE)
    assert f"127.0.0.1:{port}" in caught.value.detail
    assert ("clock" in caught.value.detail) == (reason is Reason.TLS_EXPIRED)


async def test_wrong_address() -> None:
    """An address that is not in the certificate is a wrong host name."""
    async with nothing_left(), hostile(answering(b""), tls=server_context(CA, "localhost")) as port:
        with pytest.raises(TLSError) as caught:
            await link_to(port, scheme="wss", network=SystemNetwork(ca_pem=PEM)).run()
    assert caught.value.reason is Reason.TLS_HOSTNAME


async def test_system_authorities() -> None:
    """Without a CA of one's own the system's are trusted, and the test's is not among them."""
    async with nothing_left(), hostile(answering(b""), tls=server_context(CA, "localhost")) as port:
        with pytest.raises(TLSError) as caught:
            await link_to(port, scheme="wss", host="localhost").run()
    assert caught.value.reason is Reason.TLS_UNTRUSTED


async def stall(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def truncate(stream: trio.abc.Stream) -> None:
    await stream.receive_some(10_000)
    await stream.send_all(b"\x16\x03\x03\x00\x7a\x02")


async def garble(stream: trio.abc.Stream) -> None:
    await stream.receive_some(10_000)
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await trio.sleep_forever()


def alert(number: int) -> Script:
    async def script(stream: trio.abc.Stream) -> None:
        await stream.receive_some(10_000)
        await stream.send_all(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))
        await trio.sleep_forever()

    return script


async def reset(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    await stream.receive_some(10)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize(
    ("script", "reason", "advice"),
    [
        (stall, Reason.TLS_TIMEOUT, BACKOFF),
        (truncate, Reason.TLS_EOF, BACKOFF),
        (garble, Reason.TLS_PROTOCOL, QUARANTINE),
        (alert(40), Reason.TLS_PROTOCOL, QUARANTINE),  # handshake_failure
        (alert(70), Reason.TLS_PROTOCOL, QUARANTINE),  # protocol_version
        (alert(80), Reason.TLS_ERROR, BACKOFF),  # internal_error
        (reset, Reason.RESET, NOW),
    ],
)
async def test_tls_handshake_fails(script: Script, reason: Reason, advice: Advice) -> None:
    """S4 to S6: a handshake that stalls, ends, or is no TLS at all."""
    async with nothing_left(), hostile(script) as port:
        with pytest.raises(ConnectorError) as caught:
            await link_to(port, scheme="wss", network=SystemNetwork(ca_pem=PEM)).run()
    assert (caught.value.reason, caught.value.advice) == (reason, advice)


async def test_wss() -> None:
    """A session over TLS whose server ends without close_notify is an ordinary end (S7)."""
    context = server_context(CA, "localhost")
    for script, reason in ((upgraded(stay=False), Reason.EOF), (upgraded(close(1001)), Reason.CLOSE_1001)):
        async with nothing_left(), hostile(script, tls=context) as port, trio.open_nursery() as nursery:
            link = link_to(port, scheme="wss", host="localhost", network=SystemNetwork(ca_pem=PEM))
            await nursery.start(link.run)
            inbox = Inbox(link)
            with pytest.raises(ConnectorError) as caught:
                await inbox.receive()
        assert caught.value.reason is reason


async def test_bad_record() -> None:
    """S8: a record that was tampered with ends the session as ``tls_error``."""

    async def script(raw: trio.abc.Stream) -> None:
        tls = trio.SSLStream(raw, server_context(CA, "localhost"), server_side=True)
        await upgraded(stay=False)(tls)
        await raw.send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        await trio.sleep_forever()

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port, scheme="wss", host="localhost", network=SystemNetwork(ca_pem=PEM))
        await nursery.start(link.run)
        inbox = Inbox(link)
        with pytest.raises(TLSError) as caught:
            await inbox.receive()
    assert (caught.value.reason, caught.value.advice) == (Reason.TLS_ERROR, BACKOFF)


def test_ca_file(tmp_path: Path) -> None:
    """S10: a CA file that cannot be used is refused at once, by its path."""
    good = tmp_path / "ca.pem"
    good.write_bytes(PEM)
    SystemNetwork(ca_file=good)
    SystemNetwork(ca_file=str(good), ca_pem=OTHER_CA.cert_pem.bytes())
    bad = tmp_path / "bad.pem"
    bad.write_text("not a certificate")
    with pytest.raises(ValueError, match=f"ca_file {tmp_path}/none.pem cannot be read: No such file"):
        SystemNetwork(ca_file=tmp_path / "none.pem")
    with pytest.raises(ValueError, match=f"ca_file {bad} cannot be used: it holds no certificate"):
        SystemNetwork(ca_file=bad)
    for pem in (b"junk", "인증서".encode()):
        with pytest.raises(ValueError, match="ca_pem cannot be used: it holds no certificate"):
            SystemNetwork(ca_pem=pem)


def test_broken_without_a_cause() -> None:
    """A stream that breaks without saying why counts as reset."""
    error = broken(trio.BrokenResourceError(), "host:443")
    assert (error.reason, str(error)) == (Reason.RESET, "reset: host:443: connection broken")
