"""The simulated server over real sockets: every fault, TLS, and a ledger that leaves nothing out."""

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.chaos import (
    SIMULATED,
    Fault,
    FaultKind,
    Ledger,
    MemoryNetwork,
    Role,
    Server,
    Shape,
    SimulatedExchange,
    SimulatedVenue,
    UpbitVenue,
    What,
    simulated_exchange,
)
from actors.exchange import Rate
from actors.sequence import Continuity, Loss
from tests.sim_client import UPGRADE, Client, connected, routed, server_and_client_tls, upgrade

SUBSCRIBE = '{"op":"subscribe","id":1,"channel":"trade","codes":["BTC-USD","NO-SUCH"]}'


async def subscribed(client: Client) -> None:
    """Subscribe, and take the ack and the snapshot."""
    await client.send(SUBSCRIBE)
    assert (await client.json())["op"] == "subscribed"
    assert (await client.json())["snapshot"] is True


async def eventually(true: Callable[[], bool]) -> None:
    """Wait until it is so: the server's tasks need a turn, over sockets more than one."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - a condition of the server's, which tells nobody
            await trio.sleep(0.005)


async def test_serves_data_and_keeps_the_ledger() -> None:
    """What a client received is what the ledger says was sent, byte for byte and in order."""
    async with simulated_exchange(SimulatedVenue(), rate=200) as sim:
        assert sim.url == f"ws://127.0.0.1:{sim.port}/"
        async with connected(sim, "/some/path") as client:
            await subscribed(client)
            for _ in range(30):
                await client.next()
            (link,) = sim.connections
            assert (link.path, link.headers["upgrade"]) == ("/some/path", "websocket")
        await eventually(lambda: sim.ledger.open == 0)
        sent = [entry.data for entry in sim.ledger.sent(1)]
        assert client.heard[1:] == sent[: len(client.heard) - 1]
        numbers = [json.loads(message)["n"] for message in client.heard[2:]]
        assert numbers == list(range(1, 31))
        assert [entry.data for entry in sim.ledger.received()] == [SUBSCRIBE]
        whats = [entry.what for entry in sim.ledger]
        assert whats[:3] == [What.ACCEPTED, What.OPENED, What.RECEIVED]
        assert sim.ledger.most_open == 1
        assert sim.connections == ()


async def test_many_connections_each_get_every_message() -> None:
    """Each of twenty followers of one topic gets each message once, in order."""
    async with simulated_exchange(SimulatedVenue(), rate=100) as sim, trio.open_nursery() as nursery:

        async def follow() -> None:
            async with connected(sim) as client:
                await subscribed(client)
                numbers = [(await client.json())["n"] for _ in range(20)]
                assert numbers == list(range(numbers[0], numbers[0] + 20))

        for _ in range(20):
            nursery.start_soon(follow)
    assert sim.ledger.most_open == 20
    assert sim.ledger.counts[What.OPENED] == 20


async def test_a_quiet_code_has_its_snapshot_only(autojump_clock: trio.testing.MockClock) -> None:
    """A quiet code answers a subscription and says nothing after that, while a ping is answered."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, quiet=("BTC-USD",), rate=1_000) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        await client.ws.ping()
        await client.silence(0.2)


@pytest.mark.parametrize(
    ("inject", "end", "said"),
    [(Server.cut, "eof", "cut"), (Server.reset, "broken", "reset")],
    ids=["fin", "rst"],
)
async def test_cut_and_reset_end_tcp_without_a_close_frame(
    inject: Callable[[Server], None], end: str, said: str
) -> None:
    """A cut is a FIN, a reset an RST; the server lets the client in again at once."""
    async with simulated_exchange(SimulatedVenue(), rate=100) as sim:
        async with connected(sim) as client:
            await subscribed(client)
            # unread input must not turn the FIN into an RST
            await client.send("not read by anybody")
            inject(sim)
            assert await client.ended() == 1006
            assert client.ear.end == end
        await eventually(lambda: sim.ledger.open == 0)
        assert sim.ledger.of(What.CLOSED)[0].data == said
        assert not [entry for entry in sim.ledger.of(What.SENT) if entry.shape is Shape.CLOSE]
        async with connected(sim) as client:
            await subscribed(client)


async def test_close_sends_the_code_and_waits_for_the_answer() -> None:
    """A Close of the server carries its code and reason, and the connection ends by the client's answer."""
    async with simulated_exchange(SimulatedVenue()) as sim, connected(sim) as client:
        await subscribed(client)
        sim.close(1012, "maintenance")
        sim.close(1000)
        assert await client.ended() == 1012
        await client.ear.aclose()
        await eventually(lambda: sim.ledger.open == 0)
        assert [entry.data for entry in sim.ledger.of(What.SENT) if entry.shape is Shape.CLOSE] == ["1012 maintenance"]
        assert sim.ledger.of(What.CLOSED)[0].data == "closed by us"


async def test_silence_with_pongs(autojump_clock: trio.testing.MockClock) -> None:
    """Data and answers stop, pings are still answered, and what would have been said is lost."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=100) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        sim.silence()
        await client.listen(0.1)
        await client.send(SUBSCRIBE)
        await client.silence(0.2)
        with trio.fail_after(1):
            await client.ws.ping()
        assert len(sim.ledger.lost()) > 5
        assert {entry.connection for entry in sim.ledger.lost()} == {1}
        sim.resume()
        assert await client.next()


async def test_silence_without_pongs(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing at all is sent, not even a Close, while TCP stays up and what the client says is read."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=100) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        sim.silence(pongs=False)
        await client.listen(0.1)
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
            await client.ws.ping()
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
            await client.ws.aclose()
        await trio.sleep(10)
        withheld = [entry.shape for entry in sim.ledger.of(What.WITHHELD)]
        assert withheld == [Shape.PONG, Shape.CLOSE]


async def test_mute_probe(autojump_clock: trio.testing.MockClock) -> None:
    """Subscriptions are no longer answered, neither by acks nor by snapshots, while data and pongs go on."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=50) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        sim.mute_probe()
        await client.send('{"op":"probe","id":7}', SUBSCRIBE)
        await client.ws.ping()
        frames = [json.loads(message) for message in await client.listen(0.3)]
        assert len(frames) > 5
        assert all("op" not in frame and "snapshot" not in frame for frame in frames)


async def test_skip(autojump_clock: trio.testing.MockClock) -> None:
    """Some messages are lost on a session that lives on; the ledger has them, and their numbers are missing."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=50) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        before = await client.listen(0.3)
        sim.skip(3)
        marks = [SIMULATED.mark(frame) for frame in (*before, *await client.listen(0.3))]
        lost = [entry.number for entry in sim.ledger.of(What.LOST) if entry.connection]
        assert Continuity().take(marks) == [Loss(("trade", "BTC-USD"), lost[0], lost[-1] + 1, 3, certain=True)]


async def refused(sim: SimulatedExchange) -> bool:
    """Whether the kernel refuses a connect."""
    try:
        await (await trio.open_tcp_stream("127.0.0.1", sim.port)).aclose()
    except OSError:
        return True
    return False


async def until(sim: SimulatedExchange, *, refusing: bool) -> None:
    """Wait until connects are refused, or accepted again: the listener is closed and opened by a task."""
    with trio.fail_after(5):
        while await refused(sim) is not refusing:  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.01)


async def test_refuse_and_open_again() -> None:
    """Connects are refused by the kernel for so long, on a port that stays ours; open connections live on."""
    async with simulated_exchange(SimulatedVenue(), rate=50) as sim, connected(sim) as client:
        await subscribed(client)
        begun = trio.current_time()
        sim.refuse(0.5)
        assert sim.refusing
        await until(sim, refusing=True)
        await client.next()
        await until(sim, refusing=False)
        assert trio.current_time() - begun >= 0.5
        assert not sim.refusing
        async with connected(sim) as again:
            await subscribed(again)


async def test_refuse_for_ever_ends_with_resume() -> None:
    """Without a time the refusal lasts until resume, also if it came before the server had a turn."""
    sim = SimulatedExchange(SimulatedVenue())
    async with sim.serving():
        sim.refuse()
        await until(sim, refusing=True)
        sim.refuse()
        sim.resume()
        await until(sim, refusing=False)
        async with connected(sim) as client:
            await subscribed(client)


async def test_reject_with_retry_after_for_some_times() -> None:
    """An upgrade is answered with the status and Retry-After so many times, then let in."""
    async with simulated_exchange(SimulatedVenue()) as sim:
        sim.reject(418, retry_after=1.2, times=2)
        for expected in (418, 418, 101):
            async with await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
                status, headers = await upgrade(stream)
            assert status == expected
            assert headers.get("retry-after") == ("2" if expected == 418 else None)
        sim.reject(503)
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
                status, headers = await upgrade(stream)
            assert status == 503
            assert "retry-after" not in headers
        await eventually(lambda: sim.ledger.open == 0)
        assert [entry.data for entry in sim.ledger.of(What.REJECTED)] == ["418", "418", "503", "503", "503"]


async def test_too_many_connects_are_rejected_with_429() -> None:
    """Beyond the venue's connects a second comes a 429, which says when to come back."""
    async with simulated_exchange(UpbitVenue(connects=Rate(2, 30))) as sim:
        answers: list[tuple[int, dict[str, str]]] = []
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
                answers.append(await upgrade(stream))
        assert [status for status, _ in answers] == [101, 101, 429]
        assert answers[0][1]["remaining-req"] == "group=websocket; min=300; sec=3"
        assert 28 <= int(answers[2][1]["retry-after"]) <= 30
        assert len(sim.ledger.connects()) == 3


async def test_close_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A 101 and a Close behind it, for each connection until resume."""
    async with simulated_exchange(SimulatedVenue(), port=None) as sim:
        sim.close_at_once(1000)
        for _ in range(3):
            async with routed(MemoryNetwork({"sim": sim}), "sim") as client:
                assert await client.ended() == 1000
                assert client.heard == []
        sim.resume()
        async with routed(MemoryNetwork({"sim": sim}), "sim") as client:
            await subscribed(client)


@pytest.mark.parametrize("pongs", [False, True])
async def test_open_silent(autojump_clock: trio.testing.MockClock, pongs: bool) -> None:
    """A 101 and then nothing; with pongs, nothing but those. Connections that were open before are not touched."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=50) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as before,
    ):
        await subscribed(before)
        sim.open_silent(pongs=pongs)
        async with routed(MemoryNetwork({"sim": sim}), "sim") as client:
            await client.send(SUBSCRIBE)
            await client.silence(0.2)
            with trio.move_on_after(0.5) as scope:
                await client.ws.ping()
            assert scope.cancelled_caught is not pongs
        await before.next()


async def test_ignore_close(autojump_clock: trio.testing.MockClock) -> None:
    """A Close is never answered and TCP stays up after it, on open connections and on new ones."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None, rate=50) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await subscribed(client)
        sim.ignore_close()
        async with routed(MemoryNetwork({"sim": sim}), "sim") as other:
            for each in (client, other):
                with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
                    await each.ws.aclose()
                assert each.ear.end == ""


async def test_say(autojump_clock: trio.testing.MockClock) -> None:
    """Any text can be put into the server's mouth."""
    async with (
        simulated_exchange(SimulatedVenue(), port=None) as sim,
        routed(MemoryNetwork({"sim": sim}), "sim") as client,
    ):
        await trio.sleep(1)
        sim.say("maintenance at noon")
        assert await client.next() == "maintenance at noon"
        assert [entry.role for entry in sim.ledger.of(What.SENT)] == [Role.ANSWER]


async def test_play_injects_faults_on_a_schedule(autojump_clock: trio.testing.MockClock) -> None:
    """Faults of a schedule are injected at their times, in order, and stand in the ledger."""
    async with simulated_exchange(SimulatedVenue(), port=None) as sim:
        begun = trio.current_time()
        await sim.play([Fault(0.2, FaultKind("resume")), Fault(0.1, FaultKind.REJECT, {"status": 503})])
        names = [(entry.data, round(entry.at - begun, 1)) for entry in sim.ledger.of(What.FAULT)]
        assert names == [("reject with 503", 0.1), ("resume", 0.2)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda: Fault(0, "explode"), "explode"),  # pyright: ignore[reportUnknownLambdaType, reportArgumentType]
        (lambda: Fault(-1, FaultKind.CUT), "at must be at least 0"),  # pyright: ignore[reportUnknownLambdaType]
    ],
)
def test_a_bad_fault_is_refused(fault: Callable[[], Fault], message: str) -> None:
    """An unknown kind and a negative time are refused when the fault is made."""
    with pytest.raises(ValueError, match=message):
        fault()


async def test_a_schedule_with_bad_arguments_injects_nothing() -> None:
    """Arguments that a fault does not take are found before the first fault."""
    async with simulated_exchange(SimulatedVenue()) as sim:
        with pytest.raises(ValueError, match=r"fault 2 \(refuse\).*'minutes'"):
            await sim.play([Fault(0, FaultKind.CUT), Fault(0, FaultKind.REFUSE, {"minutes": 1})])
        assert sim.ledger.of(What.FAULT) == []


def test_every_kind_is_a_method_of_the_server() -> None:
    """There is no kind that a server cannot do."""
    for kind in FaultKind:
        assert callable(getattr(Server, kind))


async def test_tls() -> None:
    """Over TLS the same is served, a cut is a FIN without a goodbye of TLS, a reset an RST."""
    server, trust = server_and_client_tls()
    async with simulated_exchange(SimulatedVenue(), tls=server, rate=100) as sim:
        assert sim.url.startswith("wss://")
        for inject, end in ((sim.cut, "eof"), (sim.reset, "broken")):
            async with connected(sim, tls=trust) as client:
                await subscribed(client)
                inject()
                assert await client.ended() == 1006
                assert client.ear.end == end


async def test_a_failed_tls_handshake_leaves_a_trace() -> None:
    """A client that does not trust the certificate is in the ledger, and others are served."""
    server, trust = server_and_client_tls()
    async with simulated_exchange(SimulatedVenue(), tls=server) as sim:
        with pytest.raises(trio.BrokenResourceError):
            async with await trio.open_ssl_over_tcp_stream("127.0.0.1", sim.port) as stream:
                await stream.do_handshake()
        await eventually(lambda: sim.ledger.counts[What.CLOSED] == 1)
        assert sim.ledger.of(What.CLOSED)[0].data in ("broken", "ended by the client")
        assert sim.ledger.of(What.OPENED) == []
        async with connected(sim, tls=trust) as client:
            await subscribed(client)


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"Host: \xff"])
async def test_garbage_instead_of_a_request(request_: bytes) -> None:
    """What is no upgrade request is answered with 400 and ended."""
    if request_.startswith(b"Host"):
        request_ = UPGRADE.format(path="/").encode().replace(b"Host: exchange.test", request_)
    async with simulated_exchange(SimulatedVenue()) as sim:
        async with await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
            await stream.send_all(request_)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        await eventually(lambda: sim.ledger.counts[What.CLOSED] == 1)
        assert sim.ledger.of(What.CLOSED)[0].data == "bad request"
        assert sim.connections == ()


async def test_a_connection_without_a_request() -> None:
    """A client that connects and goes is in the ledger."""
    async with simulated_exchange(SimulatedVenue()) as sim:
        async with await trio.open_tcp_stream("127.0.0.1", sim.port):
            pass
        await eventually(lambda: sim.ledger.counts[What.CLOSED] == 1)
        assert sim.ledger.of(What.CLOSED)[0].data == "ended by the client"


async def test_a_request_in_pieces() -> None:
    """A request may come byte by byte."""
    sim = SimulatedExchange(SimulatedVenue())
    async with sim.serving(), await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
        for byte in UPGRADE.format(path="/").encode():
            await stream.send_all(bytes([byte]))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_a_client_that_resets() -> None:
    """An RST of the client ends its connection and no other."""
    async with simulated_exchange(SimulatedVenue(), rate=100) as sim, connected(sim) as other:
        await subscribed(other)
        stream = await trio.open_tcp_stream("127.0.0.1", sim.port)
        assert (await upgrade(stream))[0] == 101
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await eventually(lambda: sim.ledger.counts[What.CLOSED] == 1)
        assert sim.ledger.of(What.CLOSED)[0].data == "broken"
        await other.next()


async def test_a_client_that_breaks_the_protocol_is_told_and_left() -> None:
    """An unmasked frame is answered with a Close 1002, and the connection ended."""
    async with simulated_exchange(SimulatedVenue()) as sim:
        async with await trio.open_tcp_stream("127.0.0.1", sim.port) as stream:
            assert (await upgrade(stream))[0] == 101
            await stream.send_all(b"\x81\x02hi")
            answer = b""
            while piece := await stream.receive_some():
                answer += piece
            assert answer[:4] == b"\x88" + bytes([len(answer) - 2]) + (1002).to_bytes(2, "big")
        await eventually(lambda: sim.ledger.open == 0)
        assert sim.ledger.of(What.CLOSED)[0].data == "protocol error 1002"


async def test_a_message_of_a_client_is_bounded() -> None:
    """More than a mebibyte is answered with a Close 1009."""
    async with simulated_exchange(SimulatedVenue()) as sim, connected(sim) as client:
        await client.send("x" * (1 << 20), b"y" * ((1 << 20) + 1))
        assert (await client.json())["op"] == "error"
        assert await client.ended() == 1009


async def test_the_body_s_own_error_comes_out_bare() -> None:
    """An assertion in the body of ``async with`` is not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with simulated_exchange(SimulatedVenue()):
            raise ZeroDivisionError


async def test_a_plain_server_speaks_websocket_and_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    """Without rules a server answers pings and closes, and listens in silence."""
    server = Server(port=None)
    async with server.serving(), routed(MemoryNetwork({"plain": server}), "plain") as client:
        await client.send("anybody there?")
        await client.silence(1_000)
        await client.ws.ping()
        await client.ws.aclose()
    assert [entry.data for entry in server.ledger.received()] == ["anybody there?"]


@pytest.mark.parametrize("rate", [-1, float("inf"), float("nan")])
def test_a_rate_beyond_reason_is_refused(rate: float) -> None:
    """The message names the field, the bounds and the value."""
    with pytest.raises(ValueError, match="rate must be at least 0 and at most 100000 messages a second"):
        SimulatedExchange(SimulatedVenue(), rate=rate)


def test_an_idle_server_says_what_it_lacks() -> None:
    """Port and attach before the server runs are refused in words."""
    sim = SimulatedExchange(SimulatedVenue())
    with pytest.raises(RuntimeError, match="does not listen"):
        _ = sim.url
    with pytest.raises(RuntimeError, match="does not run"):
        sim.attach(_never())


def _never() -> Any:
    return None


def test_the_ledger_is_bounded_and_says_what_it_forgot() -> None:
    """Older entries go, the totals stay, and the number of the forgotten is known."""
    ledger = Ledger(keep=3, wall=lambda: 7)
    for number in range(5):
        ledger.write(What.LOST, number, role=Role.DATA, at=float(number))
    assert (len(ledger), ledger.forgotten, ledger.counts[What.LOST]) == (3, 2, 5)
    assert [entry.connection for entry in ledger] == [2, 3, 4]
    assert [entry.at for entry in ledger.lost(since=3)] == [3, 4]
    assert [entry.at for entry in ledger.lost(until=3)] == [2, 3]
    assert ledger.of(What.LOST, connection=4)[0].wall == 7
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Ledger(keep=0)


def test_the_default_wall_clock_is_the_system_s() -> None:
    """Entries carry nanoseconds UTC."""
    ledger = Ledger()
    before = time.time_ns()
    ledger.write(What.FAULT, at=0)
    (entry,) = ledger
    assert before <= entry.wall <= time.time_ns()
