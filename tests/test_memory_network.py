"""Simulated exchanges without sockets, under a virtual clock: the network in memory, and the ledger's arithmetic."""

import gc
import json
import random
import socket
import weakref
from collections import Counter

import pytest
import trio
import trio.testing

from actors.chaos import (
    Fault,
    FaultKind,
    MemoryNetwork,
    MemoryStream,
    Shape,
    SimulatedExchange,
    SimulatedVenue,
    What,
)
from actors.chaos.memory import WINDOW
from actors.transport.network import Address
from tests.sim_client import Client, Ear, routed, upgrade

HOST = "sim.test"
SUBSCRIBE = '{"op":"subscribe","id":1,"channel":"trade","codes":["BTC-USD"]}'


def exchange(rate: float = 10, seed: int = 1) -> SimulatedExchange:
    return SimulatedExchange(
        SimulatedVenue(), port=None, rate=rate, random=random.Random(seed), wall=lambda: int(trio.current_time() * 1e9)
    )


async def subscribed(client: Client) -> None:
    await client.send(SUBSCRIBE)
    assert (await client.json())["op"] == "subscribed"


async def test_every_message_is_accounted_for_exactly_once(autojump_clock: trio.testing.MockClock) -> None:
    """Over a cut, a reset, a silence and an outage, each number of a topic was sent or lost, once."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    received: list[int] = []
    async with sim.serving(), trio.open_nursery() as nursery:
        kinds = (FaultKind.CUT, FaultKind.RESET, FaultKind.SILENCE, FaultKind.RESUME, FaultKind.CUT)
        nursery.start_soon(sim.play, [Fault(10 * n, kind) for n, kind in enumerate(kinds, 1)])
        for _ in range(4):
            async with routed(network, HOST) as client:
                await subscribed(client)
                heard = await client.listen(20)
                received += [json.loads(message)["n"] for message in heard if "snapshot" not in json.loads(message)]
            await trio.sleep(1)
        await trio.sleep(1)
        ledger = sim.ledger
        settled = [entry.number for entry in ledger if entry.number and entry.what in (What.SENT, What.LOST)]
        assert sorted(settled) == list(range(1, max(settled) + 1))
        sent = [entry.number for entry in ledger.sent() if entry.number]
        # an RST takes back what is under way, and a FIN does not
        assert set(received) <= set(sent)
        assert len(set(sent) - set(received)) <= 2
        assert Counter(received).most_common(1)[0][1] == 1
        assert len(ledger.lost()) > 50
        assert ledger.counts[What.DOUBTFUL] == 0
        assert ledger.most_open == 1


async def test_the_same_seed_says_the_same(autojump_clock: trio.testing.MockClock) -> None:
    """Two exchanges with equal seeds produce equal frames at equal times; another seed does not."""

    async def run(seed: int) -> list[tuple[float, str | bytes]]:
        sim = exchange(seed=seed)
        begun = trio.current_time()
        async with sim.serving(), routed(MemoryNetwork({HOST: sim}), HOST) as client:
            await subscribed(client)
            await client.listen(5)
            frames = [(round(entry.at - begun, 6), json.loads(entry.data)) for entry in sim.ledger.sent()]
            return [(at, json.dumps({**frame, "at": 0})) for at, frame in frames]

    first = await run(1)
    assert len(first) > 20
    assert await run(1) == first
    assert await run(2) != first


async def test_losses_are_settled_when_a_connection_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A client that is back before its old socket is gone causes no loss on the old connection any more."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        old = await _connect(network, HOST)
        assert (await upgrade(old))[0] == 101
        await old.send_all(frame(1, SUBSCRIBE.encode()))
        await trio.sleep(5)
        sim.cut()
        async with routed(network, HOST) as client:
            await subscribed(client)
            await trio.sleep(1.5)
            assert sim.ledger.open == 2
            assert sim.ledger.lost() == []
            sim.cut()
            sim.say("to nobody")
            assert await client.ended() == 1006
        await old.aclose()


async def test_hours_pass_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """An hour of a slow feed takes no real time to speak of."""
    sim = exchange(rate=0.1)
    async with sim.serving(), routed(MemoryNetwork({HOST: sim}), HOST) as client:
        await subscribed(client)
        assert 300 < len(await client.listen(3600)) < 420


async def test_a_close_that_is_never_answered(autojump_clock: trio.testing.MockClock) -> None:
    """Two seconds after its Close the server ends TCP, and two seconds later it is done with the client."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 80)
        stream = await network.connect(address)
        assert (await upgrade(stream))[0] == 101
        begun = trio.current_time()
        sim.close(1000)
        while await stream.receive_some():
            pass
        assert trio.current_time() == begun + 2
        await trio.sleep(3)
        (closed,) = sim.ledger.of(What.CLOSED)
        assert (closed.data, closed.at) == ("close 1000, never answered", begun + 4)


async def test_a_request_that_never_comes(autojump_clock: trio.testing.MockClock) -> None:
    """A client that says nothing is left after ten seconds."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 80)
        stream = await network.connect(address)
        assert await stream.receive_some() == b""
        assert trio.current_time() == 10
        await stream.aclose()
        await trio.sleep(1)
        assert sim.ledger.of(What.CLOSED)[0].data == "no request"


async def test_a_client_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    """A send that goes nowhere for a minute ends the connection; what was on its way is in doubt, the rest lost."""
    sim = exchange(rate=1)
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        (address,) = await network.resolve(HOST, 80)
        stream = await network.connect(address)
        assert (await upgrade(stream))[0] == 101
        await stream.send_all(frame(1, SUBSCRIBE.encode()))
        await trio.sleep(1.6)
        sim.say("x" * WINDOW)
        await trio.sleep(100)
        assert sim.ledger.of(What.CLOSED)[0].data == "client does not read"
        assert [len(entry.data) for entry in sim.ledger.of(What.DOUBTFUL)] == [WINDOW]
        assert {entry.connection for entry in sim.ledger.lost()} == {0, 1}
        numbers = [entry.number for entry in sim.ledger if entry.number]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_too_much_in_the_outbox(autojump_clock: trio.testing.MockClock) -> None:
    """A client for which more than the outbox holds is waiting is hung up on."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving(), routed(network, HOST) as client:
        for _ in range(17):
            sim.say("x" * (1 << 20))
        assert await client.ended() == 1006
        await trio.sleep(3)
        assert sim.ledger.of(What.CLOSED)[0].data == "client reads too slowly"


async def test_refusals(autojump_clock: trio.testing.MockClock) -> None:
    """Connects are refused by the network, for one host, or by the server; each stands in the ledger."""
    sim, other = exchange(), exchange()
    network = MemoryNetwork({HOST: sim, "other.test": other})
    async with sim.serving(), other.serving():
        network.refuse(HOST)
        with pytest.raises(ConnectionRefusedError):
            await _connect(network, HOST)
        await (await _connect(network, "other.test")).aclose()
        network.heal(HOST)
        sim.refuse(5)
        with pytest.raises(ConnectionRefusedError):
            await _connect(network, HOST)
        await trio.sleep(5)
        await (await _connect(network, HOST)).aclose()
        await trio.sleep(1)
        whats = [entry.what for entry in sim.ledger]
        assert whats == [What.REFUSED, What.FAULT, What.REFUSED, What.ACCEPTED, What.CLOSED]
        assert sim.ledger.connects() == [0, 0, 5]


async def test_black_hole(autojump_clock: trio.testing.MockClock) -> None:
    """A connect into a black hole is never answered, and nothing of it reaches the server."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        network.black_hole(HOST)
        with pytest.raises(trio.TooSlowError), trio.fail_after(1_000):
            await _connect(network, HOST)
        assert len(sim.ledger) == 0
        network.heal(HOST)
        await (await _connect(network, HOST)).aclose()


async def test_names_are_resolved() -> None:
    """A known name has one address, which leads to itself too; an unknown one raises the resolver's error."""
    network = MemoryNetwork({"a.test": exchange(), "b.test": exchange()})
    (address,) = await network.resolve("b.test", 443)
    assert address == Address(socket.AF_INET, ("198.18.0.2", 443))
    assert await network.resolve("198.18.0.2", 443) == (address,)
    with pytest.raises(socket.gaierror, match=r"no server named 'c\.test'") as caught:
        await network.resolve("c.test", 443)
    assert caught.value.errno == socket.EAI_NONAME


async def test_secure_is_the_stream_itself() -> None:
    """TLS is left out in memory."""
    ours, _ = MemoryStream.pair()
    assert await MemoryNetwork({}).secure(ours, HOST) is ours


async def test_a_stream_carries_bytes_both_ways_and_ends() -> None:
    """What is sent arrives in order, half-close leaves the other direction open, and closing breaks a sender."""
    ours, theirs = MemoryStream.pair()
    await ours.send_all(b"hello")
    assert (await theirs.receive_some(2), await theirs.receive_some()) == (b"he", b"llo")
    await ours.send_eof()
    assert await theirs.receive_some() == b""
    await theirs.send_all(b"still here")
    assert await ours.receive_some() == b"still here"
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")
    await ours.aclose()
    await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


async def test_a_stream_has_a_window(autojump_clock: trio.testing.MockClock) -> None:
    """A sender waits while the window is full, and goes on as the other end reads."""
    ours, theirs = MemoryStream.pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(WINDOW + 10))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ours.wait_send_all_might_not_block)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        got = len(await theirs.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 0
        assert got + len(await theirs.receive_some()) == WINDOW + 10


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_parked_reader_and_writer_wake(how: str) -> None:
    """A reset breaks whoever waits on the other end; closing ends a reader and breaks a writer."""
    ours, theirs = MemoryStream.pair()
    outcomes: list[str] = []

    async def read() -> None:
        try:
            outcomes.append(repr(await ours.receive_some()))
        except trio.BrokenResourceError:
            outcomes.append("broken read")

    async def write() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(bytes(WINDOW + 1))
        outcomes.append("broken write")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        theirs.reset() if how == "reset" else await theirs.aclose()
    assert sorted(outcomes) == sorted(["broken write", "broken read" if how == "reset" else "b''"])


async def test_shapes_of_a_text_and_a_binary_message(autojump_clock: trio.testing.MockClock) -> None:
    """The ledger tells text from binary, and pings from pongs."""
    sim = exchange()
    async with sim.serving(), routed(MemoryNetwork({HOST: sim}), HOST) as client:
        await client.send("text", b"binary")
        await client.ws.pong(b"unasked")
        await client.ws.ping(b"ping")
        shapes = [(entry.shape, entry.data) for entry in sim.ledger.of(What.RECEIVED)]
        assert shapes == [
            (Shape.TEXT, "text"),
            (Shape.BINARY, b"binary"),
            (Shape.PONG, b"unasked"),
            (Shape.PING, b"ping"),
        ]


async def test_a_connection_that_ended_is_freed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing of it waits for the garbage collector, so that thousands of reconnects cost no memory."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        stream = await _connect(network, HOST)
        assert (await upgrade(stream))[0] == 101
        await stream.send_all(frame(1, SUBSCRIBE.encode()))
        await trio.sleep(1)
        link = weakref.ref(sim.connections[0])
        gc.disable()
        try:
            sim.cut()
            await stream.aclose()
            await trio.sleep(1)
            assert link() is None
        finally:
            gc.enable()


def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    return bytes([opcode | (0x80 if last else 0), 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def test_fragments_are_one_message(autojump_clock: trio.testing.MockClock) -> None:
    """A message in pieces, with a ping between them, is received as one."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        stream = await _connect(network, HOST)
        assert (await upgrade(stream))[0] == 101
        await stream.send_all(frame(1, b"ab", last=False) + frame(9, b"") + frame(0, b"c"))
        await trio.sleep(1)
        shapes = [(entry.shape, entry.data) for entry in sim.ledger.of(What.RECEIVED)]
        assert shapes == [(Shape.PING, b""), (Shape.TEXT, "abc")]


async def test_nothing_is_answered_after_a_close(autojump_clock: trio.testing.MockClock) -> None:
    """What a client says after our Close is noted and not answered; what it says after its own is nobody's."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        stream = await _connect(network, HOST)
        assert (await upgrade(stream))[0] == 101
        sim.close(1001)
        sim.say("too late")
        await stream.send_all(frame(1, SUBSCRIBE.encode()))
        await stream.send_all(frame(8, b"\x03\xe9") + frame(1, b"and on"))
        answer = b""
        while piece := await stream.receive_some():
            answer += piece
        assert answer == b"\x88\x02\x03\xe9"
        received = [entry.data for entry in sim.ledger.of(What.RECEIVED)]
        assert received == [SUBSCRIBE, "1001"]
        assert [entry.data for entry in sim.ledger.of(What.WITHHELD)] == ["too late"]


async def test_data_that_meets_a_client_s_close_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Between a Close that is ignored and the end of TCP nothing is sent any more, and the ledger says so."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        stream = await _connect(network, HOST)
        assert (await upgrade(stream))[0] == 101
        sim.ignore_close()
        await stream.send_all(frame(1, SUBSCRIBE.encode()) + frame(8, b"\x03\xe8"))
        await trio.sleep(10)
        await stream.send_all(frame(1, b"and on"))
        await trio.sleep(10)
        assert [entry.number for entry in sim.ledger.sent()] == []
        assert len(sim.ledger.lost()) > 100
        assert sim.ledger.open == 1


async def test_a_close_that_crosses_another(autojump_clock: trio.testing.MockClock) -> None:
    """A client's Close that arrives while ours waits to be sent is answered by ours."""
    sim = exchange()
    network = MemoryNetwork({HOST: sim})
    async with sim.serving():
        stream = await _connect(network, HOST)
        assert (await upgrade(stream))[0] == 101
        await trio.sleep(1)
        (link,) = sim.connections
        await stream.send_all(frame(8, b"\x03\xe8"))
        link.close(4000, "ours")
        assert (await stream.receive_some())[:4] == b"\x88\x06\x0f\xa0"
        assert await stream.receive_some() == b""
        await stream.aclose()
        await trio.sleep(1)
        assert sim.ledger.of(What.CLOSED)[0].data == "closed by us"


@pytest.mark.parametrize("half", [True, False])
async def test_any_stream_can_be_served(autojump_clock: trio.testing.MockClock, half: bool) -> None:
    """Streams that know no RST, or no half-close, end as they can."""
    sim = exchange()
    async with sim.serving(), trio.open_nursery() as nursery:
        for inject in (sim.reset, sim.cut):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs if half else Ear(theirs))
            assert (await upgrade(ours))[0] == 101
            inject()
            assert await ours.receive_some() == b""
            await ours.aclose()


async def _connect(network: MemoryNetwork, host: str) -> trio.abc.Stream:
    (address,) = await network.resolve(host, 443)
    return await network.connect(address)
