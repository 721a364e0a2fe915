"""TLS, the same tests on both streams: straight on a socket, and through memory buffers over any stream."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trustme

from actors.transport import SystemNetwork
from actors.transport.tls import READ_SIZE, TLSStream, secured
from tests.hostile import nothing_left, server_context

CA = trustme.CA()
NETWORK = SystemNetwork(ca_pem=CA.cert_pem.bytes())
SERVER = server_context(CA, "localhost")
BIG = os.urandom(3 << 20)


@attrs.define
class Around(trio.abc.Stream):
    """A socket's stream that is not one by type: TLS over it cannot know that there is a socket."""

    inner: trio.SocketStream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.inner.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture(params=["socket", "buffers"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def client(kind: str, raw: trio.SocketStream) -> trio.abc.Stream:
    """Our end of a TLS connection, by the seam that the product uses."""
    below = raw if kind == "socket" else Around(raw)
    tls = await NETWORK.secure(below, "localhost")
    assert isinstance(tls, TLSStream) == (kind == "socket")
    return tls


@attrs.define
class Pair:
    """Both ends; ``wire`` is the server's socket under its TLS."""

    client: trio.abc.Stream
    server: trio.SSLStream[trio.SocketStream]
    wire: trio.SocketStream


async def sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a TCP connection on loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


async def open_pair(kind: str, context: ssl.SSLContext = SERVER) -> Pair:
    near, far = await sockets()
    server = trio.SSLStream(far, context, server_side=True, https_compatible=True)
    ours: list[trio.abc.Stream] = []

    async def shake_hands() -> None:
        ours.append(await client(kind, near))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands)
        nursery.start_soon(server.do_handshake)
    return Pair(ours[0], server, far)


@asynccontextmanager
async def pair(kind: str, context: ssl.SSLContext = SERVER) -> AsyncGenerator[Pair]:
    async with nothing_left():
        both = await open_pair(kind, context)
        try:
            yield both
        finally:
            await trio.aclose_forcefully(both.client)
            await trio.aclose_forcefully(both.server)


async def read(stream: trio.abc.ReceiveStream, size: int, at_once: int | None = None) -> bytes:
    """Exactly so many bytes, or those before the end."""
    data = bytearray()
    while len(data) < size:
        piece = await stream.receive_some(min(at_once or READ_SIZE, size - len(data)))
        if not piece:
            break
        data += piece
    return bytes(data)


async def test_trio_own_checks(kind: str) -> None:
    """What trio demands of every stream: checkpoints, conflicts, closing under a waiting task, and the rest."""

    async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        both = await open_pair(kind)
        return both.client, both.server

    await trio.testing.check_two_way_stream(make, None)


async def test_pieces(kind: str) -> None:
    """However the bytes are cut, on the way or by the reader, they arrive as they were sent."""
    async with pair(kind) as both:
        sent = os.urandom(70_000)

        async def send() -> None:
            for size in (1, 16_384, 16_385, 37_230):
                await both.server.send_all(sent[send_from[0] : send_from[0] + size])
                send_from[0] += size

        send_from = [0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await read(both.client, 100, at_once=1) == sent[:100]
            assert await read(both.client, len(sent) - 100, at_once=3000) == sent[100:]
        for size in (0, -1):
            with pytest.raises(ValueError, match="max_bytes"):
                await both.client.receive_some(size)


async def test_large_writes_both_ways(kind: str) -> None:
    """Megabytes at once, in both directions at the same time, each through a kernel buffer that is often full."""
    async with pair(kind) as both, trio.open_nursery() as nursery:
        nursery.start_soon(both.client.send_all, BIG)
        nursery.start_soon(both.server.send_all, BIG[::-1])
        got: dict[str, bytes] = {}

        async def take(name: str, stream: trio.abc.Stream) -> None:
            got[name] = await read(stream, len(BIG))

        nursery.start_soon(take, "client", both.client)
        nursery.start_soon(take, "server", both.server)
    assert got == {"client": BIG[::-1], "server": BIG}


async def test_drained_at_once(kind: str) -> None:
    """What lies in the kernel comes out in few calls, though TLS cuts it into records."""
    async with pair(kind) as both:
        await both.server.send_all(b"x" * 40_000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        calls, left = 0, 40_000
        while left:
            left -= len(await both.client.receive_some())
            calls += 1
        assert calls <= 3


async def test_a_fast_server_starves_nobody(kind: str) -> None:
    """While a server sends without a pause, another task's deadline of a millisecond is kept."""
    async with pair(kind) as both, trio.open_nursery() as nursery:
        late: list[float] = []

        async def flood() -> None:
            while True:
                await both.server.send_all(bytes(200_000))

        async def drain() -> None:
            while True:
                await both.client.receive_some()

        nursery.start_soon(flood)
        nursery.start_soon(drain)
        for _ in range(20):
            due = trio.current_time() + 0.001
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)
        nursery.cancel_scope.cancel()
    assert sorted(late)[len(late) // 2] < 0.05


async def test_a_fast_reader_starves_nobody(kind: str) -> None:
    """However fast the kernel takes a large write, other tasks run in between."""
    async with pair(kind) as both, trio.open_nursery() as nursery:
        turns: list[int] = []

        async def count() -> None:
            while True:
                turns.append(1)
                await trio.lowlevel.checkpoint()

        async def drain() -> None:
            while await both.wire.receive_some():
                pass

        nursery.start_soon(drain)
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        turns.clear()
        await both.client.send_all(bytes(200_000))
        assert len(turns) >= (3 if kind == "socket" else 1)
        nursery.cancel_scope.cancel()


async def test_end_with_and_without_close_notify(kind: str) -> None:
    """Either is the end of the stream, and data before it comes first; ours says so however often it is asked."""
    for polite in (True, False):
        async with pair(kind) as both:
            await both.server.send_all(b"last")
            if polite:
                await both.server.aclose()
            else:
                await both.wire.aclose()
            assert await read(both.client, 4) == b"last"
            for _ in range(2 if kind == "socket" else 1):
                with trio.testing.assert_checkpoints():
                    assert await both.client.receive_some() == b""


async def test_truncated_record(kind: str) -> None:
    """An end in the middle of a record is an end too, and nothing of that record is given out."""
    async with pair(kind) as both:
        await both.wire.send_all(b"\x17\x03\x03\x01\x00" + b"x" * 50)
        await both.wire.aclose()
        assert await both.client.receive_some() == b""


async def test_forged_record(kind: str) -> None:
    """A record that was not the server's breaks the stream, with OpenSSL's words as the cause, and for good."""
    async with pair(kind) as both:
        await both.wire.send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await both.client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await both.client.send_all(b"x")


async def test_what_came_before_the_break_is_given_first(kind: str) -> None:
    """Data in front of a forged record is data."""
    async with pair(kind) as both:
        await both.server.send_all(b"good")
        await both.wire.send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await both.client.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError) as caught:
            await both.client.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        del caught


async def test_reset(kind: str) -> None:
    """A reset breaks reading and writing, the system's error is the cause."""
    async with pair(kind) as both:
        both.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await both.wire.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await both.client.receive_some()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await both.client.send_all(b"x")


async def test_our_close_notify(kind: str) -> None:
    """Our close tells the server that it is one, without waiting for it."""
    async with pair(kind) as both:
        await both.client.aclose()
        await both.client.aclose()
        strict = both.server
        assert await strict.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await both.client.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await both.client.send_all(b"x")


@pytest.mark.parametrize("turns", range(3, 9))
async def test_cancelled_receive_loses_nothing(kind: str, turns: int) -> None:
    """Whenever a receiving task is cancelled, the next one gets every byte that it did not return."""
    async with pair(kind) as both:
        sent = os.urandom(60_000)
        got = bytearray()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for start in range(0, len(sent), 500):
                    await both.server.send_all(sent[start : start + 500])
                    if start % 3000 == 0:
                        await trio.sleep(0.0005)

            async def take() -> None:
                while True:
                    got.extend(await both.client.receive_some(700))

            nursery.start_soon(send)
            while len(got) < len(sent):
                async with trio.open_nursery() as inner:
                    inner.start_soon(take)
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    inner.cancel_scope.cancel()
        assert bytes(got) == sent


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_handshake(kind: str, turns: int) -> None:
    """Whenever a handshake is cancelled, the socket is closed and the cancel comes out, however far it had got."""
    async with nothing_left():
        near, far = await sockets()
        server = trio.SSLStream(far, SERVER, server_side=True, https_compatible=True)

        async def answer() -> None:
            with suppress(trio.BrokenResourceError):
                await server.do_handshake()

        secured: list[trio.abc.Stream] = []

        async def shake_hands() -> None:
            secured.append(await client(kind, near))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with trio.open_nursery() as inner:
                inner.start_soon(shake_hands)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                inner.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        for stream in secured:  # it was through before the cancel
            await trio.aclose_forcefully(stream)
        assert near.socket.fileno() == -1
        await trio.aclose_forcefully(server)


async def test_cancelled_before_the_first_byte(kind: str) -> None:
    """A call that is cancelled before it does anything leaves the stream as good as it was."""
    async with pair(kind) as both:
        for call in (both.client.receive_some, partial(both.client.send_all, b"never"), both.client.aclose):
            if call != both.client.aclose:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await call()
                assert scope.cancelled_caught
        await both.client.send_all(b"sent")
        assert await both.server.receive_some() == b"sent"


async def stuck(both: Pair) -> trio.CancelScope:
    """Send more than the kernel takes, and give up after a moment."""
    with trio.move_on_after(0.05) as scope:
        await both.client.send_all(b"x" * (16 << 20))
    return scope


async def test_interrupted_send() -> None:
    """After a send that was cancelled half-way there is no other, and no close_notify; reading goes on."""
    async with pair("socket") as both:
        assert (await stuck(both)).cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match="unfinished"):
            await both.client.send_all(b"next")
        await both.server.send_all(b"still")
        assert await both.client.receive_some() == b"still"
        await both.client.aclose()
        received = await read(both.server, 16 << 20)
        assert len(received) < 16 << 20
        assert not received.strip(b"x")


async def test_closed_under_a_stuck_send(kind: str) -> None:
    """Closing wakes a task that waits to send, and one that waits to receive."""
    async with pair(kind) as both:
        woken: list[str] = []

        async def until_closed(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
                await call()
            woken.append("")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_closed, partial(both.client.send_all, b"x" * (16 << 20)))
            nursery.start_soon(until_closed, both.client.receive_some)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await both.client.aclose()
        assert len(woken) == 2


async def test_one_task_for_each_direction(kind: str) -> None:
    """A second task that receives, sends or waits to send is refused."""
    async with pair(kind) as both, trio.open_nursery() as nursery:
        nursery.start_soon(both.client.receive_some)
        nursery.start_soon(partial(both.client.send_all, b"x" * (16 << 20)))
        await trio.testing.wait_all_tasks_blocked(0.05)
        for call in (
            both.client.receive_some,
            partial(both.client.send_all, b"x"),
            both.client.wait_send_all_might_not_block,
        ):
            with pytest.raises(trio.BusyResourceError):
                await call()
        nursery.cancel_scope.cancel()


class Contrary(ssl.SSLSocket):
    """OpenSSL in the middle of an update of keys: every second call of each kind first wants the other direction."""

    def _other(self, kind: str, error: type[ssl.SSLError]) -> None:
        calls = self.__dict__[kind] = self.__dict__.get(kind, 0) + 1
        if calls % 2:
            raise error

    def do_handshake(self, block: bool = False) -> None:
        self._other("handshake", ssl.SSLWantWriteError)
        super().do_handshake(block)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self._other("receive", ssl.SSLWantWriteError)
        return super().recv(buflen, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        self._other("transmit", ssl.SSLWantReadError)
        return super().send(data, flags)


async def test_each_direction_may_need_the_other() -> None:
    """A read that has to write first does so; a write that has to read first waits with the task that reads."""
    context = ssl.create_default_context(cadata=CA.cert_pem.bytes().decode())
    context.sslsocket_class = Contrary
    async with nothing_left():
        near, far = await sockets()
        server = trio.SSLStream(far, SERVER, server_side=True, https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            tls = await secured(near, context, "localhost")
        await server.send_all(b"first")
        assert await read(tls, 5) == b"first"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tls.receive_some)
            await trio.testing.wait_all_tasks_blocked(0.02)
            nursery.start_soon(tls.send_all, b"a")
            await trio.testing.wait_all_tasks_blocked(0.02)
            await server.send_all(b"go on")
            assert await server.receive_some() == b"a"
        await trio.aclose_forcefully(tls)
        await trio.aclose_forcefully(server)


async def test_broken_before_the_handshake() -> None:
    """A connection that was reset before TLS began is said to be that, and is closed."""
    async with nothing_left():
        near, far = await sockets()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await far.aclose()
        await trio.sleep(0.02)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await secured(near, ssl.create_default_context(), "localhost")
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        del caught, near


def versions(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context(CA, "localhost")
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(kind: str, version: ssl.TLSVersion) -> None:
    """Both versions that we accept carry data both ways."""
    async with pair(kind, versions(version)) as both:
        await both.client.wait_send_all_might_not_block()
        await both.client.send_all(b"ping")
        assert await both.server.receive_some() == b"ping"
        await both.server.send_all(b"pong")
        assert await both.client.receive_some() == b"pong"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program: Python cannot update keys")
async def test_key_updates(kind: str, tmp_path: Path) -> None:
    """TLS 1.3: keys are updated while data flows, also where an answer is wanted and while the kernel takes nothing."""
    cert = CA.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    key.write_bytes(cert.private_key_pem.bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", str(port), "-cert", str(chain), "-key", str(key), "-tls1_3", "-quiet"]
    command.remove("-quiet")
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = bytearray()

        async def hear(what: bytes) -> None:
            assert process.stdout is not None
            while what not in said:
                said.extend(await process.stdout.receive_some())

        with trio.fail_after(5):
            await hear(b"ACCEPT")
            tls = await client(kind, await trio.open_tcp_stream("127.0.0.1", port))
            for number, update in enumerate((b"k\n", b"K\n", b"K\n")):
                await process.stdin.send_all(b"before\n")
                assert await read(tls, 7) == b"before\n"
                await process.stdin.send_all(update)
                # it looks at its standard input first: whoever hears of this mark knows that the keys are updated
                mark = b"mark %d\n" % number
                await tls.send_all(mark)
                await hear(mark)
                await process.stdin.send_all(b"after\n")
                assert await read(tls, 6) == b"after\n"
            await trio.aclose_forcefully(tls)
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
