"""Proxies: what they refuse and how they misbehave, each by its name; sessions through real ones; secrets kept."""

import base64
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from actors.errors import BACKOFF, QUARANTINE, Advice, ConnectorError, NetworkError, Reason, TLSError
from actors.events import Event, Failed
from actors.exchange import Exchange
from actors.exchanges import UPBIT
from actors.transport import Address, HttpClient, ProxyNetwork, SystemNetwork
from actors.transport.dial import dial
from actors.transport.proxy import from_environment
from actors.transport.tls import TLSStream
from supervisors import open_feeds
from supervisors.standalone.status import Status
from tests.hostile import (
    QUICK,
    Inbox,
    Script,
    accept,
    answering,
    close,
    frame,
    hostile,
    link_to,
    nothing_left,
    request,
    server_context,
    text,
    upgraded,
    wall,
)

CA = trustme.CA()
PEM = CA.cert_pem.bytes()
SERVER = server_context(CA, "localhost")
SECRET = "s3cret"  # noqa: S105 - that it is none is the point
WHO = f"trader:{SECRET}"
HASTY = attrs.evolve(QUICK, connect_timeout=0.3)


@attrs.define
class OnlyLoopback:
    """A network that can look up nothing but addresses: any name has to be looked up by the proxy."""

    source = ""
    inner: SystemNetwork = attrs.field(factory=SystemNetwork)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        assert host == "127.0.0.1"
        return await self.inner.resolve(host, port)

    async def connect(self, address: Address) -> trio.abc.Stream:
        return await self.inner.connect(address)

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await self.inner.secure(stream, host)


def behind(port: int, kind: str = "http", who: str = "") -> ProxyNetwork:
    """A network whose proxy listens on this port of loopback, credentials in the URL."""
    return ProxyNetwork(OnlyLoopback(SystemNetwork(ca_pem=PEM)), f"{kind}://{who}{'@' if who else ''}127.0.0.1:{port}")


async def failure(network: ProxyNetwork, *, exchange: Exchange = HASTY, tls: bool = False) -> ConnectorError:
    """How a dial through a proxy fails; neither the error nor what stands behind it knows the password."""
    with pytest.raises(ConnectorError) as caught:
        await dial(network, "api.upbit.com", 443, tls=tls, exchange=exchange)
    shown = "".join(traceback.format_exception(caught.value)) + repr(network) + str(caught.value.args)
    assert SECRET not in shown
    assert base64.b64encode(WHO.encode()).decode() not in shown
    return caught.value


# -- HTTP CONNECT ---------------------------------------------------------------------------------------------------


def saying(*answers: bytes, stay: bool = True, heard: list[bytes] | None = None) -> Script:
    """A proxy that answers the CONNECT with these pieces, then stays or hangs up."""

    async def script(stream: trio.abc.Stream) -> None:
        head = await request(stream)
        if heard is not None:
            heard.append(head)
        for answer in answers:
            await stream.send_all(answer)
            await trio.sleep(0.01)
        if stay:
            await trio.sleep_forever()

    return script


REFUSALS: list[tuple[bytes, Reason, Advice, str]] = [
    (b"HTTP/1.1 407 s3cret\r\nProxy-Authenticate: Basic\r\n\r\n", Reason.PROXY_AUTH, QUARANTINE, "does not accept"),
    (b"HTTP/1.1 403 Filtered\r\n\r\n", Reason.PROXY_REFUSED, QUARANTINE, "403 to CONNECT api.upbit.com:443"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n", Reason.PROXY_REFUSED, QUARANTINE, "answered 302"),
    (b"HTTP/1.0 429 Slow\r\nRetry-After: 9\r\n\r\n", Reason.PROXY_REFUSED, BACKOFF, "answered 429"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n", Reason.PROXY_REFUSED, BACKOFF, "answered 502"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.PROXY_GARBAGE, BACKOFF, "not HTTP"),
    (b"HTTP/1.1 two hundred\r\n\r\n", Reason.PROXY_GARBAGE, BACKOFF, "not HTTP"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, Reason.PROXY_GARBAGE, BACKOFF, "not HTTP"),
    (b"HTTP/1.1 200 OK\r\n\r\n<html>", Reason.PROXY_GARBAGE, BACKOFF, "sent more than its answer"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, Reason.PROXY_TIMEOUT, BACKOFF, "opened no connection"),
    (b"HTTP/1.1 200 OK\r\n", Reason.PROXY_TIMEOUT, BACKOFF, "opened no connection to api.upbit.com:443 in time"),
    (b"", Reason.PROXY_TIMEOUT, BACKOFF, "opened no connection"),
]


@pytest.mark.parametrize(("said", "reason", "advice", "words"), REFUSALS)
async def test_http_refusals(said: bytes, reason: Reason, advice: Advice, words: str) -> None:
    """Whatever a proxy answers but a 2xx is named, with the proxy's place and in time, and nothing is left open."""
    async with nothing_left(), hostile(saying(said)) as port:
        error = await failure(behind(port, who=WHO))
    assert isinstance(error, NetworkError)
    assert (error.reason, error.advice) == (reason, advice)
    assert words in error.detail
    assert f"the proxy 127.0.0.1:{port}" in error.detail


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2"])
async def test_http_hang_up(said: bytes) -> None:
    """A proxy that hangs up instead of answering is seen at once."""
    async with nothing_left(), hostile(saying(said, stay=False)) as port:
        began = trio.current_time()
        error = await failure(behind(port))
        assert trio.current_time() - began < 0.2
    assert (error.reason, error.advice) == (Reason.PROXY_GARBAGE, BACKOFF)


async def resetting(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    await stream.receive_some(1)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_reset(kind: str) -> None:
    """A proxy that resets the connection is the proxy's fault, not the exchange's."""
    async with nothing_left(), hostile(resetting) as port:
        error = await failure(behind(port, kind))
    assert (error.reason, error.advice) == (Reason.PROXY_GARBAGE, BACKOFF)
    assert "reset" in error.detail


async def test_what_is_asked_of_a_proxy() -> None:
    """The name goes out as it is, and the credentials once, percent-decoded, and only if there are any."""
    heard: list[bytes] = []
    async with nothing_left(), hostile(saying(b"HTTP/1.1 503 No\r\n\r\n", heard=heard)) as port:
        await failure(behind(port))
        await failure(behind(port, who="us%3Aer:p%40ss"[5:]))
        with pytest.raises(NetworkError):
            await dial(behind(port), "2001:db8::1", 443, tls=False, exchange=QUICK)
    plain, with_user, v6 = (head.decode().split("\r\n") for head in heard)
    assert plain == ["CONNECT api.upbit.com:443 HTTP/1.1", "Host: api.upbit.com:443", "", ""]
    assert with_user[2] == "Proxy-Authorization: Basic " + base64.b64encode(b"er:p@ss").decode()
    assert v6[:2] == ["CONNECT [2001:db8::1]:443 HTTP/1.1", "Host: [2001:db8::1]:443"]


async def test_a_proxy_that_cannot_be_reached(autojump_clock: trio.testing.MockClock) -> None:
    """A refused port, a black hole and an unknown name are the proxy's, not the exchange's."""

    @attrs.define
    class Unreachable(OnlyLoopback):
        error: OSError | None = None

        async def resolve(self, host: str, port: int) -> Sequence[Address]:
            await trio.lowlevel.checkpoint()
            if isinstance(self.error, socket.gaierror):
                raise self.error
            return [Address(socket.AF_INET, (host, port))]

        async def connect(self, address: Address) -> trio.abc.Stream:
            if self.error is None:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            assert self.error is not None
            raise self.error

    for error, reason, words in (
        (
            ConnectionRefusedError(111, "refused"),
            Reason.PROXY_UNREACHABLE,
            "the proxy gate:3128 (gate:3128): Conn",
        ),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.PROXY_UNREACHABLE, "the proxy gate: unknown"),
        (OSError(24, "files"), Reason.FD_LIMIT, "Too many open files"),
        (None, Reason.PROXY_UNREACHABLE, "the proxy gate:3128 could not be reached in time"),
    ):
        began = trio.current_time()
        found = await failure(ProxyNetwork(Unreachable(error=error), "http://gate:3128"))
        assert (found.reason, found.advice) == (reason, BACKOFF)
        assert words in found.detail
        assert trio.current_time() - began < HASTY.connect_timeout


async def test_cancelled_anywhere() -> None:
    """Whenever a cancel strikes, the connection to the proxy is closed and the cancel comes out."""
    for kind in ("http", "socks5"):
        for turns in range(8):
            async with nothing_left(), hostile(saying(b"")) as port:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(failure, behind(port, kind))
                        for _ in range(turns):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                assert scope.cancelled_caught


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_nothing_for_the_collector(kind: str) -> None:
    """What a failed dial leaves is free at once: no error holds its own traceback."""

    async def fail(port: int) -> None:
        with suppress(NetworkError):
            await dial(behind(port, kind, WHO), "api.upbit.com", 443, tls=False, exchange=HASTY)

    def errors() -> list[object]:
        return [kept for kept in gc.get_objects() if isinstance(kept, NetworkError)]

    before = set(map(id, errors()))  # what other tests keep at the level of their modules
    for script in (saying(b"HTTP/1.1 403 No\r\n\r\n"), socks(b"\x05\xff"), socks(b"\x05\x00", reply(4)), resetting):
        async with nothing_left(), hostile(script) as port:
            await fail(port)
            # nothing_left() has switched the collector off
            assert [kept for kept in errors() if id(kept) not in before] == []


async def test_nowhere_a_password() -> None:
    """Events, metrics, status and what the consumer gets name the proxy, and never its password."""
    events: list[Event] = []
    failed = trio.Event()

    def hook(event: Event) -> None:
        events.append(event)
        if isinstance(event, Failed):
            failed.set()

    async with (
        nothing_left(),
        hostile(saying(REFUSALS[0][0])) as port,
        open_feeds(network=behind(port, who=WHO), on_event=hook) as feeds,
    ):
        feed = feeds.open(UPBIT, trade="KRW-BTC")
        await failed.wait()
        assert feed.stats.last_error.startswith("proxy_auth: the proxy 127.0.0.1")
        told = [*map(repr, events), feeds.metrics.render().decode(), json.dumps(Status(feeds).document())]
        assert "proxy_auth" in "".join(told)
        assert SECRET not in "".join(told)


# -- SOCKS 5 --------------------------------------------------------------------------------------------------------


def socks(*answers: bytes, stay: bool = True) -> Script:
    """A proxy that answers each thing it is sent with the next of these."""

    async def script(stream: trio.abc.Stream) -> None:
        for answer in answers:
            await stream.receive_some(1000)
            await stream.send_all(answer)
        if stay:
            await trio.sleep_forever()

    return script


def reply(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


SOCKS: list[tuple[tuple[bytes, ...], Reason, Advice, str]] = [
    ((b"\x05\xff",), Reason.PROXY_AUTH, QUARANTINE, "does not accept the user and password"),
    ((b"\x05\x02", b"\x01\x01"), Reason.PROXY_AUTH, QUARANTINE, "does not accept the user and password"),
    ((b"\x05\x00", reply(2)), Reason.PROXY_REFUSED, QUARANTINE, "not allowed by ruleset"),
    ((b"\x05\x00", reply(4)), Reason.PROXY_REFUSED, BACKOFF, "did not connect to api.upbit.com:443: Host unreachable"),
    ((b"\x05\x02", b"\x01\x00", reply(5)), Reason.PROXY_REFUSED, BACKOFF, "Connection refused by destination"),
    ((b"\x05\x00", reply(99)), Reason.PROXY_GARBAGE, BACKOFF, "not SOCKS 5"),
    ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), Reason.PROXY_GARBAGE, BACKOFF, "not SOCKS 5"),
    ((b"\x05\x00", b"\x05\x00\x00\x09" + b"x" * 50), Reason.PROXY_GARBAGE, BACKOFF, "not SOCKS 5"),
    ((b"\x05",), Reason.PROXY_TIMEOUT, BACKOFF, "opened no connection"),
    ((b"\x05\x00", b"\x05\x00\x00\x03\xffx"), Reason.PROXY_TIMEOUT, BACKOFF, "opened no connection"),
]


@pytest.mark.parametrize(("said", "reason", "advice", "words"), SOCKS)
async def test_socks_refusals(said: tuple[bytes, ...], reason: Reason, advice: Advice, words: str) -> None:
    """The same of a SOCKS proxy, whose replies are numbers."""
    async with nothing_left(), hostile(socks(*said)) as port:
        error = await failure(behind(port, "socks5", WHO))
    assert (error.reason, error.advice) == (reason, advice)
    assert words in error.detail


async def test_socks_hang_up() -> None:
    """A SOCKS proxy that hangs up in the middle is seen at once; one that wants credentials says so."""
    async with nothing_left(), hostile(socks(b"\x05\x00", b"\x05\x00", stay=False)) as port:
        error = await failure(behind(port, "socks5"))
    assert error.reason is Reason.PROXY_GARBAGE
    async with nothing_left(), hostile(socks(b"\x05\xff", stay=False)) as port:
        error = await failure(behind(port, "socks5h"))
    assert (error.reason, error.advice) == (Reason.PROXY_AUTH, QUARANTINE)
    assert "wants user and password" in error.detail


# -- sessions -------------------------------------------------------------------------------------------------------


async def pipe(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
    while data := await source.receive_some(65_536):
        await sink.send_all(data)
    scope.cancel()


async def tunnel(stream: trio.abc.Stream) -> None:
    """A proper HTTP proxy for loopback, its answer in two pieces, as a slow one's may come."""
    target = (await request(stream)).split()[1].decode()
    host, _, port = target.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as onward:
        for piece in (b"HTTP/1.1 200 Connection established\r\nVia: 1", b".1 fake\r\n\r\n"):
            await stream.send_all(piece)
            await trio.sleep(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipe, stream, onward, nursery.cancel_scope)
            nursery.start_soon(pipe, onward, stream, nursery.cancel_scope)


async def converse(network: ProxyNetwork, *, tls: bool = True) -> None:
    """A whole session with a server beyond a proxy: messages, a ping, a goodbye."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, text("hello") + frame(9, b"?"))
        await stream.receive_some(100)
        await stream.send_all(close(1012))

    async with hostile(script, tls=SERVER if tls else None) as port, trio.open_nursery() as nursery:
        scheme = "wss" if tls else "ws"
        patient = attrs.evolve(QUICK, connect_timeout=3)
        link = link_to(port, scheme=scheme, host="localhost", network=network, exchange=patient)
        await nursery.start(link.run)
        inbox = Inbox(link)
        assert await inbox.receive() == "hello"
        with pytest.raises(ConnectorError) as caught:
            await inbox.receive()
        assert caught.value.reason is Reason.CLOSE_1012


async def fetch(network: ProxyNetwork) -> None:
    """What an exchange's endpoint asks goes the same way."""
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b'{"is": 1}', stay=False)
    async with hostile(script, tls=SERVER) as port, HttpClient(network, wall=wall) as client:
        assert await client.get_json(f"https://localhost:{port}/token") == {"is": 1}


async def test_an_endpoint_through_a_tunnel() -> None:
    """It goes through as if there were no proxy; where that refuses, it is named."""
    async with nothing_left(), hostile(tunnel) as port:
        await fetch(behind(port))
    refusing = hostile(answering(b"HTTP/1.1 403 No\r\n\r\n"))
    async with nothing_left(), refusing as port, HttpClient(behind(port), wall=wall) as client:
        with pytest.raises(ConnectorError, match=f"the proxy 127.0.0.1:{port} answered 403") as caught:
            await client.get_json("https://localhost/token")
    assert caught.value.reason is Reason.ENDPOINT


@pytest.mark.parametrize("tls", [True, False])
async def test_a_session_through_a_tunnel(*, tls: bool) -> None:
    """A session goes through as if there were no proxy; the name of the server is looked up by the proxy only."""
    async with nothing_left(), hostile(tunnel) as port:
        await converse(behind(port), tls=tls)


async def test_tls_straight_on_the_socket() -> None:
    """Behind a proxy TLS is as cheap as without one, and whose certificate is wrong is told with the proxy's name."""
    async with nothing_left(), hostile(tunnel) as port, hostile(upgraded(), tls=SERVER) as there:
        stream = await dial(behind(port), "localhost", there, tls=True, exchange=QUICK)
        assert isinstance(stream, TLSStream)
        await stream.aclose()
        stranger = ProxyNetwork(SystemNetwork(), f"http://127.0.0.1:{port}")
        with pytest.raises(TLSError, match=f"through the proxy 127.0.0.1:{port}") as caught:
            await dial(stranger, "localhost", there, tls=True, exchange=QUICK)
    assert caught.value.reason is Reason.TLS_UNTRUSTED


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert isinstance(port, int)
    return port


@asynccontextmanager
async def running(port: int, *command: str) -> AsyncGenerator[None]:
    """A proxy of the real world, from when it listens until the body ends."""
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with trio.fail_after(5):
            while True:
                try:
                    await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", port))
                    break
                except OSError:
                    await trio.sleep(0.02)
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
            await process.wait()


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"needs the program {name}: apt-get install {name}")


@installed("tinyproxy")
@pytest.mark.parametrize("who", ["", WHO])
async def test_tinyproxy(tmp_path: Path, who: str) -> None:
    """A session through tinyproxy, with and without credentials; wrong ones and a closed port are named."""
    port = free_port()
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 5", f'LogFile "{tmp_path}/log"', "LogLevel Error"]
    lines += [f"BasicAuth {who.replace(':', ' ')}"] if who else []
    (tmp_path / "conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
    async with nothing_left(), running(port, "tinyproxy", "-d", "-c", str(tmp_path / "conf")):
        await converse(behind(port, who=who))
        await fetch(behind(port, who=who))
        if who:
            for wrong in ("", "trader:guess"):
                error = await failure(behind(port, who=wrong), exchange=QUICK)
                assert (error.reason, error.advice) == (Reason.PROXY_AUTH, QUARANTINE)
        with pytest.raises(NetworkError) as caught:
            await dial(behind(port, who=who), "127.0.0.1", free_port(), tls=False, exchange=QUICK)
    assert caught.value.reason is Reason.PROXY_REFUSED


@installed("microsocks")
@pytest.mark.parametrize("who", ["", WHO])
async def test_microsocks(who: str) -> None:
    """The same through microsocks."""
    port = free_port()
    credentials = ("-u", *who.replace(":", " -P ").split()) if who else ()
    async with nothing_left(), running(port, "microsocks", "-i", "127.0.0.1", "-p", str(port), *credentials):
        await converse(behind(port, "socks5", who))
        await fetch(behind(port, "socks5", who))
        if who:
            for wrong in ("", "trader:guess"):
                error = await failure(behind(port, "socks5", wrong), exchange=QUICK)
                assert (error.reason, error.advice) == (Reason.PROXY_AUTH, QUARANTINE)
        with pytest.raises(NetworkError) as caught:
            await dial(behind(port, "socks5", who), "127.0.0.1", free_port(), tls=False, exchange=QUICK)
    assert (caught.value.reason, caught.value.advice) == (Reason.PROXY_REFUSED, BACKOFF)


# -- URLs and the environment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "gate:3128",
        "https://gate:3128",
        "socks4://gate:1080",
        "http://gate",
        "http://:3128",
        "http://gate:99999",
        "http://gate:3128/s3cret",
        "http://gate:3128?s3cret",
        "http://us%3Aer:s3cret@gate:3128",
        "socks5://trader@gate:1080",
        "socks5://trader:" + "s3cret" * 50 + "@gate:1080",
        "socks5://trader:s3crét@gate:1080",
    ],
)
def test_bad_url(url: str) -> None:
    """A URL of no proxy is refused at once, and not repeated."""
    with pytest.raises(ValueError, match="proxy") as caught:
        ProxyNetwork(SystemNetwork(), url)
    assert "s3cr" not in "".join(traceback.format_exception(caught.value))


def test_shown() -> None:
    """A network shows its proxy, and no credentials."""
    assert repr(behind(3128, who=WHO)) == "<ProxyNetwork 127.0.0.1:3128>"
    assert repr(ProxyNetwork(SystemNetwork(), "http://[::1]:3128")) == "<ProxyNetwork [::1]:3128>"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-socks a SOCKS proxy is refused with the remedy, at once and not at the first connect."""
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ValueError, match=r"pip install 'feedwarden\[socks\]'"):
        ProxyNetwork(SystemNetwork(), "socks5://gate:1080")
    ProxyNetwork(SystemNetwork(), "http://gate:3128")


async def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment names is not used by itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.setitem(os.environ, spelled, "http://127.0.0.1:1")
    async with nothing_left(), hostile(upgraded()) as port:
        await (await dial(SystemNetwork(), "localhost", port, tls=False, exchange=QUICK)).aclose()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"http_proxy": "http://a:1"}, None),
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1", "all_proxy": "http://c:1"}, "http://b:1"),
        ({"HTTPS_PROXY": "a:1"}, "http://a:1"),
        ({"ALL_PROXY": "socks5://c:1"}, "socks5://c:1"),
        ({"https_proxy": "http://a:1", "NO_PROXY": ".upbit.com"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": "*"}, None),
        ({"https_proxy": "http://a:1", "no_proxy": "binance.com"}, "http://a:1"),
    ],
)
def test_from_environment(environment: dict[str, str], found: str | None) -> None:
    """Asked, the environment is read as curl reads it."""
    assert from_environment(environment, "api.upbit.com") == found
