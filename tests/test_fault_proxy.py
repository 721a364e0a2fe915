"""The fault proxy: what each fault does to real sockets, and a feed over TLS that survives all of them."""

import random
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from actors import Message
from actors.backoff import ReconnectStrategy
from actors.chaos import SIMULATED, SimulatedVenue, What, simulated_exchange
from actors.chaos.plans import Plan, play
from actors.chaos.proxy import KINDS, FaultProxy, draw_faults, is_loopback
from supervisors import open_feeds
from tests.script import TLS, network

LOOPBACK = "127.0.0.1"


async def echo(stream: trio.SocketStream) -> None:
    """Say everything again, until the client ends."""
    try:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass


@asynccontextmanager
async def proxied() -> AsyncGenerator[FaultProxy]:
    """A proxy before an echo."""
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, echo, 0, host=LOOPBACK))
        port = listeners[0].socket.getsockname()[1]
        async with FaultProxy(LOOPBACK, port, random=random.Random(1)).serving() as proxy:
            yield proxy
        nursery.cancel_scope.cancel()


async def answered(stream: trio.SocketStream, data: bytes) -> float:
    """Seconds until all of it has come back."""
    began = trio.current_time()
    await stream.send_all(data)
    got = b""
    while len(got) < len(data):
        more = await stream.receive_some()
        assert more
        got += more
    assert got == data
    return trio.current_time() - began


async def connected(proxy: FaultProxy) -> trio.SocketStream:
    """A connection that has been carried all the way."""
    stream = await trio.open_tcp_stream(LOOPBACK, proxy.port)
    await answered(stream, b"hello")
    return stream


async def emptied(proxy: FaultProxy) -> None:
    """Wait until nothing is carried any more."""
    while proxy.connections:  # noqa: ASYNC110 - a number of another task, not an event of ours
        await trio.sleep(0.01)


async def test_bytes_come_and_go_unchanged_and_the_end_too() -> None:
    """A megabyte is echoed byte for byte, the half close arrives, and then nothing of the connection is left."""
    async with proxied() as proxy, await connected(proxy) as stream, trio.open_nursery() as nursery:
        data = random.Random(7).randbytes(1 << 20)
        nursery.start_soon(stream.send_all, data)
        got = b""
        while len(got) < len(data):
            got += await stream.receive_some()
        assert got == data
        await stream.send_eof()
        assert await stream.receive_some() == b""
        await emptied(proxy)
        assert proxy.accepted == 1


async def test_latency_and_its_end() -> None:
    """Both ways are late by what was said, one way by half of it, and neither once it is healed."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.latency(0.2, seconds=60)
        assert 0.4 <= await answered(stream, b"a") < 2
        proxy.heal()
        proxy.latency(0.2, towards="in", seconds=60)
        assert 0.2 <= await answered(stream, b"a") < 2
        proxy.heal()
        assert await answered(stream, b"a") < 0.2


async def test_bandwidth() -> None:
    """A thousand bytes at two thousand a second take half a second one way."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.bandwidth(2_000, towards="out", seconds=60)
        assert 0.5 <= await answered(stream, bytes(1_000)) < 3


async def test_slicer() -> None:
    """Bytes arrive in pieces no larger than what was said, and all of them arrive."""
    async with proxied() as proxy, await connected(proxy) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        proxy.slicer(3, seconds=60)
        await answered(stream, bytes(range(200)))


@pytest.mark.parametrize("size", [0, 3])
async def test_limit_data(size: int) -> None:
    """So many bytes more arrive, then the end, which is no reset."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.limit_data(size)
        await stream.send_all(b"12345")
        got = b""
        while data := await stream.receive_some():
            got += data
        assert got == b"12345"[:size]
        await emptied(proxy)


async def test_a_limit_can_be_called_off() -> None:
    """Healed before it was reached, it ends nothing."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.limit_data(10)
        await answered(stream, b"12345")
        proxy.heal()
        await answered(stream, b"1234567890")


async def test_reset_reaches_the_client() -> None:
    """The client reads an RST."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.reset()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await emptied(proxy)


async def test_a_reset_of_the_client_is_passed_on() -> None:
    """A client that goes by an RST takes the server's side with it."""
    async with proxied() as proxy:
        stream = await connected(proxy)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        await emptied(proxy)


async def test_timeout_is_silent_and_then_ends() -> None:
    """Nothing is answered, and the connection is closed after the time; a new one is carried afterwards."""
    async with proxied() as proxy:
        async with await connected(proxy) as stream:
            proxy.timeout(0.5)
            began = trio.current_time()
            await stream.send_all(b"anybody?")
            assert await stream.receive_some() == b""
            assert 0.5 <= trio.current_time() - began < 3
        await (await connected(proxy)).aclose()


async def test_a_timeout_can_be_called_off() -> None:
    """Healed in time, the connection lives on, and what was held back arrives."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.timeout(0.3)
        await stream.send_all(b"a")
        proxy.heal()
        assert await stream.receive_some() == b"a"
        await trio.sleep(0.4)  # past the time at which it would have been closed
        await answered(stream, b"b")


async def test_slow_close() -> None:
    """The end arrives late in each of the two directions."""
    async with proxied() as proxy, await connected(proxy) as stream:
        proxy.slow_close(0.3, seconds=60)
        began = trio.current_time()
        await stream.send_eof()
        assert await stream.receive_some() == b""
        assert 0.6 <= trio.current_time() - began < 3


async def test_down_and_up_again() -> None:
    """What is open is closed, connects are refused, and afterwards it is the same port again."""
    async with proxied() as proxy:
        port = proxy.port
        async with await connected(proxy) as stream:
            proxy.down(30)
            assert await stream.receive_some() == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream(LOOPBACK, port)
        proxy.heal()
        await trio.testing.wait_all_tasks_blocked()
        await (await connected(proxy)).aclose()
        assert proxy.port == port


async def test_a_server_that_is_not_there() -> None:
    """The client is reset, and the proxy says how many there were."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        async with FaultProxy(LOOPBACK, free.getsockname()[1]).serving() as proxy:
            async with await trio.open_tcp_stream(LOOPBACK, proxy.port) as stream:
                with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
                    await stream.receive_some()
            assert proxy.unreached == 1


def test_only_loopback_is_served() -> None:
    """Anything that may be another machine is refused, and so is a port before there is one."""
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost")] == [True] * 4
    for host in ("10.0.0.1", "example.org", "::", "localhost.example.org", ""):
        with pytest.raises(ValueError, match="to loopback only"):
            FaultProxy(host, 443)
    with pytest.raises(RuntimeError, match="does not listen"):
        FaultProxy(LOOPBACK, 443).port  # noqa: B018 - that it raises is the point


@pytest.mark.parametrize("seconds", [2, 20, 300])
def test_faults_are_drawn_from_a_seed(seconds: float) -> None:
    """The same seed draws the same, in order of time and in time; every kind comes, and before any comes again."""
    faults = draw_faults(3, seconds)
    assert faults == draw_faults(3, seconds) != draw_faults(4, seconds)
    times = [step.at for step in faults]
    assert times == sorted(times)
    assert times[-1] < 0.9 * seconds
    assert {step.kind for step in faults[: len(KINDS)]} == set(KINDS)


async def test_a_failing_body_comes_out_bare() -> None:
    """Not in a group."""
    with pytest.raises(ZeroDivisionError):
        async with FaultProxy(LOOPBACK, 1).serving():
            raise ZeroDivisionError


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_feed_over_tls_survives_every_kind() -> None:
    """25 s of faults, each kind at least once; then it is live, every message is an offer of the exchange, in order."""
    seconds = 25
    taken: list[str | bytes] = []
    async with (
        simulated_exchange(SimulatedVenue(), tls=TLS, rate=50) as exchange,
        FaultProxy(LOOPBACK, exchange.port, random=random.Random(1)).serving() as proxy,
        open_feeds(network=network()) as feeds,
        trio.open_nursery() as nursery,
    ):
        quick = ReconnectStrategy(initial_delay=0.05, max_delay=0.2)
        url = exchange.url.replace(str(exchange.port), str(proxy.port))
        feed = feeds.open(attrs.evolve(SIMULATED, ws_url=url, reconnect=quick), trade="BTC-USD")

        async def consume() -> None:
            async for item in feed:
                match item:
                    case Message():
                        taken.append(item.data)
                    case _:
                        pass

        nursery.start_soon(consume)
        await feed.live(10)
        await play(Plan(seed=1, steps=draw_faults(1, seconds)), {"proxy": proxy})
        proxy.heal()
        await feed.live(30)
        before, began = len(taken), time.monotonic()
        while len(taken) < before + 20:  # noqa: ASYNC110 - a list that another task fills
            await trio.sleep(0.05)
        assert time.monotonic() - began < 10
        assert feed.stats.reconnect_count >= 4
        nursery.cancel_scope.cancel()
    sent = iter([entry.data for entry in exchange.ledger if entry.what is What.SENT])
    assert all(message in sent for message in taken)  # an iterator: each is looked for behind the one before
