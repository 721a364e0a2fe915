"""The virtual network: how bytes travel, what each fault does, and that it ends."""

import contextlib
import errno
import random
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from actors.chaos import Server, What
from actors.chaos.history import Dialled, Hung, Record
from actors.chaos.network import Trouble, VirtualNetwork
from actors.chaos.plans import Plan, Step, play
from actors.chaos.wire import Direction, VirtualStream

HOST = "exchange.test"


def pair() -> tuple[VirtualStream, VirtualStream, Direction, Direction]:
    """Two ends, and the ways there and back."""
    there, back = Direction(random.Random(1)), Direction(random.Random(2))
    ours, theirs = VirtualStream.pair(there, back)
    return ours, theirs, there, back


@asynccontextmanager
async def network(
    tell: Callable[[Record], None] = lambda record: None,
) -> AsyncGenerator[tuple[VirtualNetwork, Server]]:
    """A network before one server."""
    server = Server(port=None)
    async with server.serving():
        yield VirtualNetwork({HOST: server}, feed="f", random=random.Random(1), tell=tell), server


async def dialled(net: VirtualNetwork) -> trio.abc.Stream:
    """A stream to the host, as a connector gets it."""
    (address,) = await net.resolve(HOST, 443)
    return await net.secure(await net.connect(address), HOST)


async def test_bytes_take_their_time_and_keep_their_order(autojump_clock: trio.testing.MockClock) -> None:
    """Latency with jitter delays each piece, and none overtakes another."""
    ours, theirs, there, _ = pair()
    there.delay.put((1.0, 0.9), 100)
    began = trio.current_time()
    for piece in (b"a", b"b", b"c", b"d"):
        await ours.send_all(piece)
    got = b""
    while len(got) < 4:
        got += await theirs.receive_some()
    assert got == b"abcd"
    assert 0.1 <= trio.current_time() - began <= 1.9


async def test_a_narrow_way_is_slow(autojump_clock: trio.testing.MockClock) -> None:
    """A thousand bytes at a hundred a second arrive after ten seconds."""
    ours, theirs, there, _ = pair()
    there.rate.put(100, 1000)
    began = trio.current_time()
    await ours.send_all(bytes(1000))
    await theirs.receive_some()
    assert trio.current_time() - began == pytest.approx(10)


async def test_a_full_window_holds_the_sender(autojump_clock: trio.testing.MockClock) -> None:
    """Who does not read is waited for; a window that opens again lets the rest through."""
    ours, theirs, there, _ = pair()
    there.window.put(10, 5)
    with trio.move_on_after(1) as scope:
        await ours.send_all(bytes(30))
    assert scope.cancelled_caught
    await ours.wait_send_all_might_not_block()
    await ours.send_all(bytes(5))
    got = 0
    while got < 15:
        got += len(await theirs.receive_some(4))
    assert theirs.unread_for == 0


async def test_slices_are_small(autojump_clock: trio.testing.MockClock) -> None:
    """No piece is longer than the slice, and nothing is lost."""
    ours, theirs, there, _ = pair()
    there.slice.put(3, 100)
    await ours.send_all(b"0123456789")
    pieces = [await theirs.receive_some()]
    while sum(map(len, pieces)) < 10:
        pieces.append(await theirs.receive_some())
    assert b"".join(pieces) == b"0123456789"
    assert max(map(len, pieces)) <= 3


async def test_a_clog_holds_back_and_lets_go(autojump_clock: trio.testing.MockClock) -> None:
    """What was held arrives when the clog ends, by itself or healed; until then nothing counts as unread."""
    ours, theirs, there, _ = pair()
    await ours.send_all(b"x")
    await trio.sleep(2)
    assert theirs.unread_for == 2
    there.hold(10)
    assert theirs.unread_for == 0
    began = trio.current_time()
    assert await theirs.receive_some() == b"x"
    assert trio.current_time() - began == 10
    there.hold(float("inf"))
    await ours.send_all(b"y")
    with trio.move_on_after(1000) as scope:
        await theirs.receive_some()
    assert scope.cancelled_caught
    there.heal()
    assert await theirs.receive_some() == b"y"


async def test_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A FIN is read after the data and stays; a closed peer breaks the sender, once the news comes through."""
    ours, theirs, there, _ = pair()
    await ours.send_all(b"x")
    await ours.send_eof()
    assert await theirs.receive_some() == b"x"
    assert [await theirs.receive_some() for _ in range(2)] == [b"", b""]
    there.hold(5)
    await ours.aclose()
    await theirs.send_all(b"not known yet")
    await trio.sleep(6)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"y")
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"z")
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_reset_and_cut_hit_what_is_open(autojump_clock: trio.testing.MockClock) -> None:
    """An RST loses what is under way; a limit ends the connection in the middle of what is sent."""
    ours, theirs, _, _ = pair()
    await theirs.send_all(b"lost")
    ours.reset()
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")
    ours, theirs, _, _ = pair()
    ours.cut_after(3)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"12345")
    assert await ours.receive_some() == b"123"
    assert await ours.receive_some() == b""


async def test_the_record_knows_every_dial_and_every_end(autojump_clock: trio.testing.MockClock) -> None:
    """A look-up, a connection with its number, and its close are told."""
    told: list[Record] = []
    async with network(tell=told.append) as (net, server):
        stream = await dialled(net)
        assert net.open == 1
        await trio.sleep(3)
        assert net.silent_for == 3
        await stream.aclose()
        assert net.open == 0
        assert [type(record) for record in told] == [Dialled, Dialled, Hung]
        assert server.ledger.counts[What.ACCEPTED] == 1


async def test_troubles_of_a_dial_last_as_long_as_told(autojump_clock: trio.testing.MockClock) -> None:
    """Names, connects and handshakes fail as asked, and no longer."""
    async with network() as (net, server):
        troubles: list[tuple[Trouble, int]] = [("nxdomain", socket.EAI_NONAME), ("temporary", socket.EAI_AGAIN)]
        for trouble, number in troubles:
            net.resolver(trouble, seconds=5)
            with pytest.raises(socket.gaierror) as caught:
                await dialled(net)
            assert caught.value.errno == number
        net.heal()
        with pytest.raises(socket.gaierror):
            await net.resolve("unknown.test", 443)
        net.refuse("ENETUNREACH", seconds=5)
        with pytest.raises(OSError, match="unreachable") as unreachable:
            await dialled(net)
        assert unreachable.value.errno == errno.ENETUNREACH
        assert server.ledger.counts[What.REFUSED] == 1
        with pytest.raises(ValueError, match="not an error"):
            net.refuse("EWHATEVER")
        net.heal()
        for silence in (lambda: net.resolver("silent"), net.silent, net.black_hole, net.stall_tls):
            silence()
            with trio.move_on_after(60) as scope:
                await dialled(net)
            assert scope.cancelled_caught
            assert net.open == 0
            net.heal()
        net.bug()
        with pytest.raises(RuntimeError):
            await dialled(net)
        await (await dialled(net)).aclose()


async def test_faults_reach_open_connections(autojump_clock: trio.testing.MockClock) -> None:
    """Resets, ends and limits are of the connections that are open; the next one is sound."""
    async with network() as (net, _):
        for fault in (net.reset, net.eof, lambda: net.limit_data(0)):
            stream = await dialled(net)
            fault()
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
            await stream.aclose()
        net.latency(1.0, towards="in", seconds=5)
        net.bandwidth(1000, seconds=5)
        net.window(10, towards="out", seconds=5)
        net.slicer(2, seconds=5)
        net.clog(2)
        began = trio.current_time()
        stream = await dialled(net)
        assert trio.current_time() - began == pytest.approx(1.0)
        await stream.aclose()


async def test_a_plan_is_played_by_the_names_of_its_targets(autojump_clock: trio.testing.MockClock) -> None:
    """Each step is the method of its target, at its time; a target that is missing is named before anything is done."""
    async with network() as (net, server):
        plan = Plan(seed=1, steps=(Step(20.0, "net:f", "refuse", {"seconds": 9.0}), Step(5.0, "exchange:x", "cut")))
        with pytest.raises(ValueError, match="needs exchange:x, net:f"):
            await play(plan, {})
        began = trio.current_time()
        await play(plan, {"net:f": net, "exchange:x": server})
        assert trio.current_time() - began == 20
        assert server.ledger.counts[What.FAULT] == 1
        with pytest.raises(ConnectionRefusedError):
            await dialled(net)
