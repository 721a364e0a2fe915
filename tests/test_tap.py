"""The tap between TLS and trio-websocket, over memory streams on a virtual clock."""

from contextlib import suppress
from typing import cast

import attrs
import pytest
import trio
import trio.testing
import trio_websocket

from actors.errors import HandshakeError, NetworkError, Reason
from actors.transport.tap import Tap
from tests.hostile import ClientFrames, accept, close, frame, text, wall

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@attrs.define
class Wire:
    """A tap on one end of a memory stream."""

    tap: Tap
    server: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


def wired() -> Wire:
    client, server = trio.testing.memory_stream_pair()
    return Wire(Tap(client, place="host:443", send_timeout=5, answer_by=trio.current_time() + 10, wall=wall), server)


class Reader:
    """Stands in for trio-websocket's connection: what the tap wants to know of it is ``closed``."""

    closed: object = None


async def upgraded(wire: Wire) -> Reader:
    await wire.server.send_all(UPGRADE)
    assert await wire.tap.receive_some() == UPGRADE
    reader = Reader()
    wire.tap.attach(reader)  # pyright: ignore[reportArgumentType] - a stand-in
    return reader


async def test_head_alone(autojump_clock: trio.testing.MockClock) -> None:
    """R1, R2: the head is passed alone, and frames glued to it wait until the connection is attached."""
    w = wired()
    await w.server.send_all(UPGRADE + text("a"))
    assert await w.tap.receive_some() == UPGRADE
    with trio.move_on_after(1) as scope:
        await w.tap.receive_some()
    assert scope.cancelled_caught
    w.tap.attach(Reader())  # pyright: ignore[reportArgumentType] - a stand-in
    assert await w.tap.receive_some() == text("a")


async def test_pieces(autojump_clock: trio.testing.MockClock) -> None:
    """Every frame comes by itself, and half a control frame waits for its rest."""
    w = wired()
    await upgraded(w)
    ping = frame(9, b"hello")
    await w.server.send_all(text("a") + ping + frame(2, b"b" * 200)[:100])
    assert [await w.tap.receive_some() for _ in range(3)] == [text("a"), ping, frame(2, b"b" * 200)[:100]]
    await w.server.send_all(frame(2, b"b" * 200)[100:] + ping[:3])
    assert await w.tap.receive_some() == frame(2, b"b" * 200)[100:]
    with trio.move_on_after(1) as scope:
        await w.tap.receive_some()
    assert scope.cancelled_caught
    await w.server.send_all(ping[3:])
    assert await w.tap.receive_some() == ping


async def test_closing(autojump_clock: trio.testing.MockClock) -> None:
    """R8: once we are closing only Close and Pong pass, except for the rest of a frame that has begun."""
    w = wired()
    await upgraded(w)
    data = frame(2, b"b" * 200)
    await w.server.send_all(data[:100])
    assert await w.tap.receive_some() == data[:100]
    w.tap.closing = True
    await w.server.send_all(data[100:] + data + text("x") + frame(9) + frame(10, b"!") + data[:150])
    assert [await w.tap.receive_some() for _ in range(2)] == [data[100:], frame(10, b"!")]
    await w.server.send_all(data[150:] + close(1000) + text("y"))
    assert [await w.tap.receive_some() for _ in range(2)] == [close(1000), b""]
    assert w.tap.close_code == 1000
    assert w.tap.lost is None


async def test_reads_nothing_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """R9: after a Close has passed, or the reader has refused a frame, there is only the end of the stream."""
    w = wired()
    await upgraded(w)
    await w.server.send_all(frame(8) + text("late"))
    assert [await w.tap.receive_some() for _ in range(3)] == [frame(8), b"", b""]
    assert w.tap.close_code == 1005

    w = wired()
    reader = await upgraded(w)
    await w.server.send_all(text("a") + text("b"))
    assert await w.tap.receive_some() == text("a")
    reader.closed = "1007"
    assert await w.tap.receive_some() == b""


async def test_last_received(autojump_clock: trio.testing.MockClock) -> None:
    """The time of the last bytes is kept, whatever they were."""
    w = wired()
    made = w.tap.last_received
    await trio.sleep(1)
    await upgraded(w)
    assert w.tap.last_received == made + 1
    await trio.sleep(1)
    await w.server.send_all(frame(10))
    await w.tap.receive_some()
    assert w.tap.last_received == made + 2


async def test_unfinished_send(autojump_clock: trio.testing.MockClock) -> None:
    """R14: after a send that was not finished nothing more is sent, and the reader wakes."""
    client, server = trio.testing.lockstep_stream_pair()
    tap = Tap(client, place="host:443", send_timeout=5, answer_by=trio.current_time() + 10, wall=wall)
    reader = Reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, UPGRADE)
        await tap.receive_some()
        tap.attach(reader)  # pyright: ignore[reportArgumentType] - a stand-in
        woken: list[bytes] = []

        async def read() -> None:
            woken.append(await tap.receive_some())

        nursery.start_soon(read)
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="took no data for 5 s"):
            await tap.send_all(b"half")
        assert trio.current_time() - began == 5
        with pytest.raises(trio.BrokenResourceError, match="unfinished"):
            await tap.send_all(b"next")
    assert woken == [b""]
    assert tap.lost is not None
    assert tap.lost.reason is Reason.SEND_TIMEOUT


async def test_request_cannot_be_sent(autojump_clock: trio.testing.MockClock) -> None:
    """Before the 101 a failed send is the typed error itself: nobody else would report it."""
    w = wired()
    await w.server.aclose()
    with pytest.raises(NetworkError) as caught:
        await w.tap.send_all(b"GET / HTTP/1.1\r\n\r\n")
    assert caught.value.reason is Reason.RESET
    await w.tap.aclose()
    with pytest.raises(NetworkError):
        await w.tap.receive_some()


async def test_refusal(autojump_clock: trio.testing.MockClock) -> None:
    """A refusal is raised with as much of its body as came with it."""
    w = wired()
    await w.server.send_all(b"HTTP/1.1 429 No\r\nRetry-After: 3\r\n\r\n{'code': -1003}")
    with pytest.raises(HandshakeError, match="-1003") as caught:
        await w.tap.receive_some()
    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)


async def test_late_answer(autojump_clock: trio.testing.MockClock) -> None:
    """The 101 must be complete by its time."""
    w = wired()
    began = trio.current_time()
    await w.server.send_all(UPGRADE[:-1])
    with pytest.raises(HandshakeError) as caught:
        await w.tap.receive_some()
    assert caught.value.reason is Reason.UPGRADE_TIMEOUT
    assert trio.current_time() == began + 10


async def test_stream_below(autojump_clock: trio.testing.MockClock) -> None:
    """What the tap does not judge it passes on."""
    w = wired()
    await w.tap.wait_send_all_might_not_block()
    await w.tap.aclose()
    assert await w.server.receive_some() == b""


async def pinging(stream: trio.abc.Stream) -> None:
    """Sends pings and data as fast as it can, answers the Close, and goes on for a while."""
    await accept(stream)
    frames = ClientFrames(stream)

    async def flood() -> None:
        while True:
            await stream.send_all(frame(9, b"?") * 3 + text("a") + frame(9, b"!"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        while (got := await frames.next())[0] not in (8, -1):
            pass
        nursery.cancel_scope.cancel()
    await stream.send_all(frame(9, b"late") + frame(8, got[1]))


@pytest.mark.parametrize("turns", range(60))
async def test_pings_round_our_close(autojump_clock: trio.testing.MockClock, turns: int) -> None:
    """W23: wherever our Close falls among the server's pings, the reader survives it (upstream issue 184)."""
    client, server = trio.testing.memory_stream_pair()
    tap = Tap(client, place="host:443", send_timeout=5, answer_by=trio.current_time() + 10, wall=wall)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pinging, server)
        ws = await trio_websocket.wrap_client_stream(nursery, cast("trio.SocketStream", tap), "host", "/")
        tap.attach(ws)

        async def receive() -> None:
            with suppress(trio_websocket.ConnectionClosed):
                while True:
                    await ws.get_message()

        nursery.start_soon(receive)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        began = trio.current_time()
        tap.closing = True
        await ws.aclose()
        assert trio.current_time() == began
    assert tap.close_code == 1000
