"""The tap between TLS and trio-websocket, over memory streams on a virtual clock."""

from contextlib import suppress
from functools import partial
from typing import cast

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.errors import HandshakeError, NetworkError, Reason
from actors.transport.tap import MUCH, Tap
from tests.hostile import ClientFrames, accept, close, frame, text, wall
from tests.wire import SIZES, oracle, pieces, streams

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@attrs.define
class Wire:
    """A tap on one end of a memory stream."""

    tap: Tap
    server: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


def wired(coalesce: float = 0.0) -> Wire:
    client, server = trio.testing.memory_stream_pair()
    return Wire(tap_on(client, coalesce), server)


def tap_on(stream: trio.abc.Stream, coalesce: float = 0.0) -> Tap:
    return Tap(
        stream,
        place="host:443",
        send_timeout=5,
        answer_by=trio.current_time() + 10,
        largest=1 << 20,
        wall=wall,
        coalesce=coalesce,
    )


class Reader:
    """Stands in for trio-websocket's connection: what the tap wants to know of it is ``closed``."""

    closed: object = None


async def upgraded(wire: Wire) -> tuple[Reader, list[list[str | bytes]]]:
    """A tap beyond the 101, a stand-in for its connection, and the batches that it hands over."""
    await wire.server.send_all(UPGRADE)
    assert await wire.tap.receive_some() == UPGRADE
    reader, batches = Reader(), list[list[str | bytes]]()
    wire.tap.attach(as_connection(reader), batches.append)
    return reader, batches


def as_connection(reader: Reader) -> trio_websocket.WebSocketConnection:
    return cast("trio_websocket.WebSocketConnection", reader)


async def test_head_alone(autojump_clock: trio.testing.MockClock) -> None:
    """R1, R2: the head is passed alone, and frames glued to it wait until somebody takes them."""
    w = wired()
    await w.server.send_all(UPGRADE + text("a") + frame(9))
    assert await w.tap.receive_some() == UPGRADE
    with trio.move_on_after(1) as scope:
        await w.tap.receive_some()
    assert scope.cancelled_caught
    batches = list[list[str | bytes]]()
    w.tap.attach(as_connection(Reader()), batches.append)
    assert await w.tap.receive_some() == frame(9)
    assert batches == [["a"]]


async def test_batch_first(autojump_clock: trio.testing.MockClock) -> None:
    """R4 to R6: the messages of a read are one batch, handed over before what came after them is passed on, whole."""
    w = wired()
    _, batches = await upgraded(w)
    await w.server.send_all(text("a") + frame(2, b"b" * 200) + frame(9, b"hello")[:3])
    with trio.move_on_after(1) as scope:
        await w.tap.receive_some()
    assert scope.cancelled_caught
    assert batches == [["a", b"b" * 200]]
    await w.server.send_all(frame(9, b"hello")[3:] + text("c") + frame(9, b"again") + frame(10))
    assert [await w.tap.receive_some() for _ in range(2)] == [frame(10), frame(9, b"again")]
    assert batches == [["a", b"b" * 200], ["c"]]


async def test_nothing_is_read_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """What the taker returns is awaited before anything more is passed on or read."""
    w = wired()
    await upgraded(w)
    woke: list[float] = []

    async def wait() -> None:
        await trio.sleep(3)
        woke.append(trio.current_time())

    w.tap.attach(as_connection(Reader()), lambda _: wait())
    began = trio.current_time()
    await w.server.send_all(text("a") + frame(9))
    assert await w.tap.receive_some() == frame(9)
    assert woke == [began + 3]


async def test_closing(autojump_clock: trio.testing.MockClock) -> None:
    """R8: once we are closing only Close and Pong pass, nothing is handed over, nothing that had begun is completed."""
    w = wired()
    _, batches = await upgraded(w)
    data, rest = frame(2, b"b" * 200), frame(0, b"rest")
    await w.server.send_all(frame(1, b"half", fin=False) + rest[:3])
    assert await w.tap.receive_some() == frame(1, b"half", fin=False)
    w.tap.closing = True
    await w.server.send_all(rest[3:] + data + text("x") + frame(9) + frame(10, b"!") + data[:150])
    assert await w.tap.receive_some() == frame(10, b"!")
    await w.server.send_all(data[150:] + close(1000) + text("y"))
    assert [await w.tap.receive_some() for _ in range(2)] == [close(1000), b""]
    assert w.tap.close_code == 1000
    assert w.tap.lost is None
    assert not batches


async def test_reads_nothing_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """R9: after a Close has passed, or the reader has refused a frame, there is only the end of the stream."""
    w = wired()
    _, batches = await upgraded(w)
    await w.server.send_all(text("in time") + frame(8) + text("late"))
    assert [await w.tap.receive_some() for _ in range(3)] == [frame(8), b"", b""]
    assert w.tap.close_code == 1005
    assert batches == [["in time"]]

    w = wired()
    reader, batches = await upgraded(w)
    await w.server.send_all(frame(1, b"\xff") + text("b"))
    assert await w.tap.receive_some() == frame(1, b"\xff")
    reader.closed = "1007"
    assert await w.tap.receive_some() == b""
    assert not batches


async def test_a_message_that_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    """W7: ten seconds from the first fragment to the last, whether the server drips or falls silent."""
    for drip in (True, False):
        w = wired()
        await upgraded(w)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def send(w: Wire = w, drip: bool = drip) -> None:
                await w.server.send_all(frame(1, b"", fin=False))
                while drip:
                    await trio.sleep(0.5)
                    await w.server.send_all(frame(0, b"", fin=False))

            nursery.start_soon(send)
            while await w.tap.receive_some():
                pass
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began == 10
        assert w.tap.lost is not None
        assert w.tap.lost.reason is Reason.WS_FRAGMENTS


async def test_fragments_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """A message within its ten seconds is no reason to hurry the next one."""
    async with trio.open_nursery() as nursery:
        client, server = trio.testing.memory_stream_pair()
        tap = tap_on(client)
        nursery.start_soon(accept, server)
        ws = await trio_websocket.wrap_client_stream(nursery, cast("trio.SocketStream", tap), "host", "/")
        batches = list[list[str | bytes]]()
        tap.attach(ws, batches.append)
        for _ in range(3):
            await server.send_all(frame(1, b"a", fin=False))
            await trio.sleep(9)
            await server.send_all(frame(0, b"b") + text("c"))
            await trio.sleep(9)
        await server.aclose()
    assert batches == [["ab"], ["c"]] * 3
    assert tap.lost is not None
    assert tap.lost.reason is Reason.EOF


@pytest.mark.parametrize(("rate", "seconds", "flood"), [(101, 30, True), (90, 30, False), (2000, 9, False)])
async def test_ping_flood(autojump_clock: trio.testing.MockClock, rate: int, seconds: int, *, flood: bool) -> None:
    """W20: more than a hundred pings in each of ten seconds end the session; a moment of many does not."""
    w = wired()
    await upgraded(w)
    passed = 0
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for _ in range(seconds * 10):
                await w.server.send_all(frame(9, b"?") * (rate // 10) + frame(9, b"!") * (rate % 10))
                await trio.sleep(0.1)
            await w.server.aclose()

        nursery.start_soon(send)
        while await w.tap.receive_some():
            passed += 1
        nursery.cancel_scope.cancel()
    assert w.tap.lost is not None
    assert w.tap.lost.reason is (Reason.PING_FLOOD if flood else Reason.EOF)
    assert passed <= seconds * 10


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


async def test_arrivals_are_gathered(autojump_clock: trio.testing.MockClock) -> None:
    """With a budget, what comes within it after a read is one batch at its end; after a pause it is read at once."""
    w = wired(coalesce=0.2)
    _, batches = await upgraded(w)
    began = trio.current_time()
    times: list[float] = []

    async def read() -> None:
        while True:
            await w.tap.receive_some()
            times.append(round(trio.current_time() - began, 3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(10):
            await w.server.send_all(text(str(number)))
            await trio.sleep(0.05)
        await trio.sleep(1)
        # a ping is put off by the budget at most, and by nothing where the last read is long ago
        await w.server.send_all(frame(9, b"now"))
        await trio.sleep(0.01)
        await w.server.send_all(frame(9, b"later"))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert batches == [["0"], ["1", "2", "3", "4"], ["5", "6", "7", "8"], ["9"]]
    assert times == [1.5, 1.7]


async def test_gathering_ends_when_it_must(autojump_clock: trio.testing.MockClock) -> None:
    """After a large read the next follows at once; so it does when we send, since an answer may come."""
    w = wired(coalesce=1)
    _, batches = await upgraded(w)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(w.tap.receive_some)
        for size in (MUCH, 1, 2):
            await w.server.send_all(frame(2, b"x" * size))
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert [len(batch[0]) for batch in batches] == [MUCH, 1]
        await w.tap.send_all(b"ping")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [len(batch[0]) for batch in batches] == [MUCH, 1, 2]
        nursery.cancel_scope.cancel()


async def test_unfinished_send(autojump_clock: trio.testing.MockClock) -> None:
    """R14: after a send that was not finished nothing more is sent, and the reader wakes."""
    client, server = trio.testing.lockstep_stream_pair()
    tap = tap_on(client)
    reader = Reader()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, UPGRADE)
        await tap.receive_some()
        tap.attach(as_connection(reader), lambda _: None)
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
    tap = tap_on(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pinging, server)
        ws = await trio_websocket.wrap_client_stream(nursery, cast("trio.SocketStream", tap), "host", "/")
        tap.attach(ws, lambda _: None)
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        began = trio.current_time()
        tap.closing = True
        await ws.aclose()
        assert trio.current_time() == began
    assert tap.close_code == 1000


# -- the whole of it against the oracle -----------------------------------------------------------------------------


@attrs.define
class Played:
    """What a client made of a server's stream."""

    messages: list[str | bytes]
    code: int
    pongs: list[bytes]


async def play(data: bytes, sizes: list[int], *, glued: bool, close_after: int | None) -> Played:
    """Send the stream to a real trio-websocket behind a tap; close from our side after so many checkpoints."""
    client, server = trio.testing.memory_stream_pair()
    tap = tap_on(client)
    played = Played([], 1006, [])

    def take(batch: list[str | bytes]) -> None:
        played.messages += batch

    async def send(rest: list[bytes]) -> None:
        with suppress(trio.BrokenResourceError):  # a client that leaves early
            for piece in rest:
                await server.send_all(piece)
            await server.send_eof()

    async def listen() -> None:
        frames = ClientFrames(server)
        while (got := await frames.next())[0] >= 0:
            if got[0] == 10:
                played.pongs.append(got[1])
            elif got[0] == 8 and close_after is not None:
                return

    async def serve() -> None:
        first, *rest = [*pieces(data, sizes), b""]
        await accept(server, first if glued else b"")
        if not glued:
            await server.send_all(first)
        async with trio.open_nursery() as both:
            both.start_soon(send, rest)
            both.start_soon(listen)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with trio.open_nursery() as session:
            ws = await trio_websocket.wrap_client_stream(session, cast("trio.SocketStream", tap), "host", "/")
            tap.attach(ws, take)
            if close_after is not None:
                for _ in range(close_after):
                    await trio.lowlevel.checkpoint()
                tap.closing = True
                await ws.aclose()
        await trio.aclose_forcefully(tap)
    assert ws.closed is not None
    played.code = ws.closed.code
    return played


def run_virtual(data: bytes, sizes: list[int], *, glued: bool, close_after: int | None = None) -> Played:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(partial(play, data, sizes, glued=glued, close_after=close_after), clock=clock)


@given(sent=streams(), sizes=SIZES, glued=st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_wsproto(sent: list[bytes], sizes: list[int], *, glued: bool) -> None:
    """The messages, the close code and the pongs of wsproto alone, pongs coalesced by reads."""
    data = b"".join(sent)
    truth, ours = oracle(data), run_virtual(data, sizes, glued=glued)
    assert ours.messages == truth.messages
    assert ours.code == truth.code
    # which pings share a read is the stream's business; that the last is answered, and none twice, is ours
    assert ours.pongs[-1:] == truth.pings[-1:]
    pings = iter(truth.pings)
    assert all(pong in pings for pong in ours.pongs)


@given(streams(), SIZES, st.integers(0, 60))
@settings(max_examples=150, deadline=None)
@example([frame(1, fin=False), frame(0), frame(0, b"not begun"), frame(9, b"?")], [1], 5)
def test_local_close_anywhere(sent: list[bytes], sizes: list[int], turns: int) -> None:
    """W23: wherever our close falls, the session ends without an error, with no more than the server had sent."""
    data = b"".join(sent)
    ours = run_virtual(data, sizes, glued=False, close_after=turns)
    truth = oracle(data)
    assert ours.messages == truth.messages[: len(ours.messages)]
