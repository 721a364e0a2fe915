"""A link against servers that misbehave: every ending is seen in time, named, and leaves nothing behind."""

import gc
from collections.abc import Sequence
from contextlib import suppress
from copy import copy

import attrs
import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from actors.errors import (
    BACKOFF,
    NOW,
    QUARANTINE,
    Advice,
    ConnectorError,
    HandshakeError,
    LivenessError,
    NetworkError,
    ProtocolError,
    Reason,
    ServerClosed,
    after,
    leaves,
)
from actors.transport import Address, Link
from actors.transport.tap import Tap
from tests.hostile import (
    QUICK,
    ClientFrames,
    Inbox,
    Script,
    accept,
    accepting,
    answering,
    close,
    frame,
    hostile,
    link_to,
    nothing_left,
    request,
    text,
    upgraded,
    wall,
)


def answer(status: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", body]).encode()


# -- before the 101 -------------------------------------------------------------------------------------------------

RETRY = 1_800_000_030  # half a minute after the tests' wall clock

REFUSALS: list[tuple[bytes, Reason, Advice, int | None]] = [
    (answer("301 Moved", "Location: https://a.b/c?token=s3cret"), Reason.HTTP_REDIRECT, QUARANTINE, 301),
    (answer("308 Moved", "Location: /c"), Reason.HTTP_REDIRECT, QUARANTINE, 308),
    (answer("400 Bad Request"), Reason.HTTP_CLIENT, QUARANTINE, 400),
    (answer("404 Not Found"), Reason.HTTP_CLIENT, QUARANTINE, 404),
    (answer("426 Upgrade Required"), Reason.HTTP_CLIENT, QUARANTINE, 426),
    (answer("401 Unauthorized"), Reason.HTTP_FORBIDDEN, QUARANTINE, 401),
    (answer("403 Forbidden"), Reason.HTTP_FORBIDDEN, QUARANTINE, 403),
    (answer("451 Legal"), Reason.HTTP_FORBIDDEN, QUARANTINE, 451),
    (answer("418 I'm a teapot", "Retry-After: 120"), Reason.HTTP_BANNED, after(120), 418),
    (answer("429 Too Many", "retry-after: 7", body="slow down"), Reason.HTTP_429, after(7), 429),
    (answer("429 Too Many", "Retry-After: Fri, 15 Jan 2027 08:00:30 GMT"), Reason.HTTP_429, after(30), 429),
    (answer("429 Too Many"), Reason.HTTP_429, after(60), 429),
    (answer("503 Unavailable", "Retry-After: 9"), Reason.HTTP_5XX, after(9), 503),
    (answer("502 Bad Gateway", body="x" * 100_000), Reason.HTTP_5XX, BACKOFF, 502),
    (answer("200 OK", "Content-Type: text/html", body="<h1>maintenance</h1>"), Reason.HTTP_NOT_101, BACKOFF, 200),
    (answer("100 Continue"), Reason.HTTP_NOT_101, BACKOFF, 100),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.HTTP_GARBAGE, BACKOFF, None),
    (b"HTTP/1.1 abc\r\n\r\n", Reason.HTTP_GARBAGE, BACKOFF, None),
    (answer("101 Switching Protocols", "X: " + "y" * 20_000), Reason.HTTP_GARBAGE, BACKOFF, None),
    (answer("429 Too Many\nRetry-After: 5\n").replace(b"\r", b""), Reason.HTTP_429, after(5), 429),
]

PATIENT = attrs.evolve(QUICK, upgrade_timeout=5, open_timeout=10, close_timeout=5)
"""With clocks that a slow machine does not run out."""


@pytest.mark.parametrize(("said", "reason", "advice", "status"), REFUSALS)
async def test_refusal(said: bytes, reason: Reason, advice: Advice, status: int | None) -> None:
    """H1 to H10: what is no 101 is named at once, though the server keeps the connection open."""
    async with nothing_left(), hostile(answering(said)) as port:
        began = trio.current_time()
        with pytest.raises(HandshakeError) as caught:
            await link_to(port, path="/ws?token=s3cret", exchange=PATIENT).run()
        assert trio.current_time() - began < PATIENT.upgrade_timeout
    error = caught.value
    assert (error.reason, error.advice, error.status) == (reason, advice, status)
    assert str(port) in error.detail
    assert "s3cret" not in error.detail


async def test_echoed_query() -> None:
    """A server that repeats our query in its refusal does not get it into our logs."""
    async with nothing_left(), hostile(answering(answer("404 No", body="no /ws?token=s3cret"))) as port:
        with pytest.raises(HandshakeError, match="404: no /ws") as caught:
            await link_to(port, path="/ws?token=s3cret").run()
    assert "s3cret" not in str(caught.value)


async def endless_body(stream: trio.abc.Stream) -> None:
    await request(stream)
    await stream.send_all(answer("500 Oops", "Transfer-Encoding: chunked"))
    while True:
        await stream.send_all(b"1000\r\n" + b"x" * 4096 + b"\r\n")


async def test_endless_body() -> None:
    """H16: a body without end is not waited for."""
    async with nothing_left(), hostile(endless_body) as port:
        with pytest.raises(HandshakeError) as caught:
            await link_to(port).run()
    assert caught.value.reason is Reason.HTTP_5XX


async def slowloris(stream: trio.abc.Stream) -> None:
    await request(stream)
    for byte in answer("101 Switching Protocols"):
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.1)


@pytest.mark.parametrize("script", [answering(b""), slowloris, answering(b"HTTP/1.1 200 OK\r\n")])
async def test_upgrade_timeout(script: Script) -> None:
    """H11, H12: an answer that never comes, or never ends, costs ``upgrade_timeout``."""
    async with nothing_left(), hostile(script) as port:
        with pytest.raises(HandshakeError) as caught:
            await link_to(port).run()
    assert (caught.value.reason, caught.value.advice) == (Reason.UPGRADE_TIMEOUT, BACKOFF)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 10"])
async def test_eof_before_status(said: bytes) -> None:
    """H13: a server that hangs up instead of answering is seen at once."""
    async with nothing_left(), hostile(answering(said, stay=False)) as port:
        with pytest.raises(NetworkError) as caught:
            await link_to(port).run()
    assert (caught.value.reason, caught.value.advice) == (Reason.EOF, BACKOFF)


WRONG_101 = answer(
    "101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: bm90IHRoZSBrZXk="
)


@pytest.mark.parametrize(
    "script",
    [
        answering(WRONG_101),
        answering(answer("101 Switching Protocols", "bad header line")),
        answering(answer("101 Switching Protocols", "Upgrade: smtp")),
        accepting("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        accepting("Sec-WebSocket-Protocol: mqtt\r\n"),
        accepting("Sec-WebSocket-Protocol: \u00fc\r\n"),
    ],
)
async def test_wrong_101(script: Script) -> None:
    """H14, H15: a wrong accept token, an unasked extension or sub-protocol is one typed error."""
    async with nothing_left(), hostile(script) as port:
        with pytest.raises(HandshakeError) as caught:
            await link_to(port).run()
    assert (caught.value.reason, caught.value.advice) == (Reason.WS_HANDSHAKE, QUARANTINE)


async def test_request() -> None:
    """The request carries what RFC 6455 wants and nothing else: no Origin, no User-Agent."""
    seen: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        seen.append(await request(stream))

    async with nothing_left(), hostile(script) as port:
        with pytest.raises(NetworkError):
            await link_to(port, host="localhost", path="/a?b=c").run()
    line, *headers = seen[0].decode().strip().split("\r\n")
    assert line == "GET /a?b=c HTTP/1.1"
    assert [header.split(":")[0] for header in headers] == [
        "Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
    ]  # fmt: skip
    assert headers[0] == f"Host: localhost:{port}"


# -- after the 101 --------------------------------------------------------------------------------------------------


async def ending(script: Script, *, messages: int = 0) -> ConnectorError:
    """Open a link, take this many messages, and give the error with which it ends."""
    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        for _ in range(messages):
            await inbox.receive()
        with pytest.raises(ConnectorError) as caught:
            await inbox.receive()
        assert link.closed
        assert str(link.verdict) == str(caught.value)
    return caught.value


CLOSES: list[tuple[int, Reason, Advice]] = [
    (1000, Reason.CLOSE_1000, NOW),
    (1001, Reason.CLOSE_1001, NOW),
    (1003, Reason.CLOSE_OTHER, BACKOFF),
    (1008, Reason.CLOSE_1008, QUARANTINE),
    (1011, Reason.CLOSE_1011, BACKOFF),
    (1012, Reason.CLOSE_1012, NOW),
    (1013, Reason.CLOSE_1013, after(60)),
    (1002, Reason.CLOSE_OTHER, BACKOFF),
    (3000, Reason.CLOSE_OTHER, BACKOFF),
    (4000, Reason.CLOSE_4XXX, BACKOFF),
]


@pytest.mark.parametrize(("code", "reason", "advice"), CLOSES)
@pytest.mark.parametrize("stay", [True, False])
async def test_close(code: int, reason: Reason, advice: Advice, *, stay: bool) -> None:
    """W8 to W15: a close code is named by the table, also when the server then leaves TCP open; data comes first."""
    error = await ending(upgraded(text("a") + close(code, "so long\x1b[31m"), stay=stay), messages=1)
    assert isinstance(error, ServerClosed)
    assert (error.reason, error.advice, error.code) == (reason, advice, code)
    assert "so long" in error.detail
    assert "\x1b" not in error.detail


async def test_close_without_code() -> None:
    """A Close frame without a body is code 1005."""
    error = await ending(upgraded(frame(8)))
    assert isinstance(error, ServerClosed)
    assert (error.reason, error.code) == (Reason.CLOSE_OTHER, 1005)


@attrs.define
class GoneNetwork:
    """Leads to a server that says this right behind its 101, and is gone before anything can be answered."""

    source = ""
    nursery: trio.Nursery
    last: bytes

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return [Address(2, (host, port))]

    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, server)
        return client

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    async def _serve(self, server: trio.abc.Stream) -> None:
        await accept(server, self.last)
        await server.aclose()


@pytest.mark.parametrize(
    ("last", "reason"),
    [(close(1012), Reason.CLOSE_1012), (frame(2, b"x" * 2000), Reason.WS_TOO_BIG), (frame(9), Reason.RESET)],
)
async def test_last_word_outranks_the_reset(last: bytes, reason: Reason) -> None:
    """Where our answer to a Close meets a closed connection, the Close is still the reason."""
    async with trio.open_nursery() as nursery:
        exchange = attrs.evolve(QUICK, max_message_size=1024)
        link = Link(GoneNetwork(nursery, last), exchange, "wss://host/", wall=wall)
        await nursery.start(link.run)
        inbox = Inbox(link)
        with pytest.raises(ConnectorError) as caught:
            await inbox.receive()
    assert caught.value.reason is reason


async def test_close_code_of_the_exchange() -> None:
    """An exchange's own meaning of a close code outranks the protocol's."""
    exchange = attrs.evolve(QUICK, close_codes={1000: QUARANTINE, 4000: NOW})
    for code in (1000, 4000):
        async with nothing_left(), hostile(upgraded(close(code))) as port, trio.open_nursery() as nursery:
            link = link_to(port, exchange=exchange)
            await nursery.start(link.run)
            inbox = Inbox(link)
            with pytest.raises(ServerClosed) as caught:
                await inbox.receive()
        assert caught.value.advice == exchange.close_codes[code]


async def test_eof() -> None:
    """T11, T12, W10: an end without a Close frame, also inside a frame."""
    for tail in (b"", frame(2, b"x" * 300)[:50]):
        error = await ending(upgraded(text("a") + tail, stay=False), messages=1)
        assert isinstance(error, NetworkError)
        assert (error.reason, error.advice) == (Reason.EOF, BACKOFF)


async def resetting(stream: trio.abc.Stream) -> None:
    await accept(stream)
    assert isinstance(stream, trio.SocketStream)
    await ClientFrames(stream).next()
    stream.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SOL_SOCKET, SO_LINGER on, 0 s: close() resets


async def test_reset() -> None:
    """T3: a reset is seen at once, and may be answered by a reconnect at once."""
    async with nothing_left(), hostile(resetting) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        await link.send("bye")
        with pytest.raises(NetworkError) as caught:
            await inbox.receive()
    assert (caught.value.reason, caught.value.advice) == (Reason.RESET, NOW)


PROTOCOL: list[tuple[bytes, Reason, int]] = [
    (frame(1, b"\xff\xfe"), Reason.WS_UTF8, 1007),
    (frame(1, b"\xe2\x82", fin=False) + frame(0, b"(", fin=True), Reason.WS_UTF8, 1007),
    (frame(1, b"masked", mask=b"abcd"), Reason.WS_PROTOCOL, 1002),
    (frame(1, b"rsv", rsv=4), Reason.WS_PROTOCOL, 1002),
    (frame(3, b"opcode"), Reason.WS_PROTOCOL, 1002),
    (frame(11, b"opcode"), Reason.WS_PROTOCOL, 1002),
    (frame(9, b"x" * 126), Reason.WS_PROTOCOL, 1002),
    (frame(9, b"x", fin=False), Reason.WS_PROTOCOL, 1002),
    (frame(0, b"nothing to continue"), Reason.WS_PROTOCOL, 1002),
    (frame(1, b"a", fin=False) + text("b"), Reason.WS_PROTOCOL, 1002),
    (b"\x81\x7e\x00\x05hello", Reason.WS_PROTOCOL, 1002),
    (b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Reason.WS_PROTOCOL, 1002),
    (frame(8, b"\x03"), Reason.WS_PROTOCOL, 1002),
    (close(1006), Reason.WS_PROTOCOL, 1002),
    (frame(8, b"\x03\xe8\xff\xff"), Reason.WS_UTF8, 1007),
    (frame(1, b"x" * (1 << 20) + b"y"), Reason.WS_TOO_BIG, 1009),
    (frame(2, b"x" * (1 << 19), fin=False) + frame(0, b"x" * (1 << 19) + b"y"), Reason.WS_TOO_BIG, 1009),
]


@pytest.mark.parametrize(("sent", "reason", "code"), PROTOCOL)
async def test_protocol_error(sent: bytes, reason: Reason, code: int) -> None:
    """W1 to W6: what breaks the protocol ends the session, and the server is told once and with the right code."""
    goodbyes: list[int] = []

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, sent + text("after") * 10)
            frames = ClientFrames(stream)
            while (got := await frames.next())[0] >= 0:
                assert got[0] == 8
                goodbyes.append(int.from_bytes(got[1][:2]))

    error = await ending(script)
    assert isinstance(error, ProtocolError)
    assert (error.reason, error.advice) == (reason, BACKOFF)
    assert goodbyes == [code]


def endless(first: bytes, then: bytes, heard: list[tuple[int, bytes]]) -> Script:
    """Send ``first``, then ``then`` for ever; keeps what the client says."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, first)

        async def flood() -> None:
            with suppress(trio.BrokenResourceError):
                while then:
                    await stream.send_all(then)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            frames = ClientFrames(stream)
            while (got := await frames.next())[0] >= 0:
                heard.append(got)
                if got[0] == 8:
                    break
            nursery.cancel_scope.cancel()

    return script


@pytest.mark.parametrize(
    ("first", "then", "reason", "code"),
    [
        (frame(2, b"x" * (1 << 21))[:10], b"", Reason.WS_TOO_BIG, 1009),
        (frame(2, b"x" * (1 << 21))[:10], b"x" * 65_536, Reason.WS_TOO_BIG, 1009),
        (frame(1, b"x", fin=False), frame(0, b"x" * 60_000, fin=False), Reason.WS_TOO_BIG, 1009),
        (frame(1, b"", fin=False), frame(0, b"", fin=False), Reason.WS_FRAGMENTS, 1008),
        (frame(1, b"", fin=False), frame(0, b"", fin=False) + frame(9, b"?"), Reason.WS_FRAGMENTS, 1008),
    ],
)
async def test_too_much(first: bytes, then: bytes, reason: Reason, code: int) -> None:
    """W5 to W7: what is too much is refused when it is declared, nothing of it is kept, and the server hears why."""
    heard: list[tuple[int, bytes]] = []
    began = trio.current_time()
    error = await ending(endless(text("good") + first, then, heard), messages=1)
    assert trio.current_time() - began < 2
    assert isinstance(error, ProtocolError)
    assert (error.reason, error.advice) == (reason, BACKOFF)
    assert [int.from_bytes(payload[:2]) for opcode, payload in heard if opcode == 8] == [code]


async def test_many_pings() -> None:
    """W20: of thousands of pings only the latest are answered, and the data among them is delivered in order."""
    pongs: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        frames = ClientFrames(stream)
        number = [b"%d" % n for n in range(5000)]
        await stream.send_all(b"".join(frame(9, one) + frame(2, one) for one in number))
        while not pongs or pongs[-1] != number[-1]:
            pongs.append((await frames.next())[1])

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        assert [await inbox.receive() for _ in range(5000)] == [b"%d" % n for n in range(5000)]
        with pytest.raises(NetworkError):
            await inbox.receive()
    assert len(pongs) < 100


@pytest.mark.parametrize("error", [LivenessError(Reason.APP_ERROR, "said so"), UnicodeError("a bug"), KeyError("too")])
async def test_whoever_takes_the_messages_fails(error: Exception) -> None:
    """A ConnectorError of the taker is the session's end; any other error is a bug and comes out of run()."""
    left: list[BaseException] = []

    async with nothing_left(), hostile(upgraded(text("a"))) as port, trio.open_nursery() as nursery:
        link = link_to(port)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                await link.run(task_status=task_status)
            except* Exception as group:
                left.extend(leaves(group))

        def take(batch: list[str | bytes]) -> None:
            del batch
            raise copy(error)

        await nursery.start(run)
        link.deliver_to(take)
        ended = await link.ended()
    if isinstance(error, ConnectorError):
        assert not left
        assert str(ended) == str(error)
    else:
        assert [repr(each) for each in left] == [repr(error)]
        assert ended.reason is Reason.STOPPED
    left.clear()


async def test_glued_frames() -> None:
    """H17, T10: frames in the segment of the 101 are kept; bytes may come one at a time."""
    frames = text("a") + frame(9, b"?") + frame(2, b"b" * 200) + text("c" * 400)
    for cut in (0, 1):
        async with nothing_left(), hostile(upgraded(frames, cut=cut)) as port, trio.open_nursery() as nursery:
            link = link_to(port)
            await nursery.start(link.run)
            inbox = Inbox(link)
            assert [await inbox.receive() for _ in range(3)] == ["a", b"b" * 200, "c" * 400]
            await link.aclose()


async def test_fragments() -> None:
    """A message in fragments, with a ping in between, arrives whole and the ping is answered."""
    pongs: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, frame(1, b"ab", fin=False) + frame(9, b"now") + frame(0, "가".encode()))
        pongs.append((await ClientFrames(stream).next())[1])

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        assert await inbox.receive() == "ab가"
        with pytest.raises(NetworkError):
            await inbox.receive()
    assert pongs == [b"now"]


async def test_gathered() -> None:
    """An exchange's latency budget is kept to: what comes soon after a read is one batch, an answer is not put off."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        for number in range(5):
            await stream.send_all(text(str(number)))
            await trio.sleep(0.02)
        _, payload = await ClientFrames(stream).next()
        await stream.send_all(frame(10, payload))
        await trio.sleep_forever()

    exchange = attrs.evolve(QUICK, coalesce=1, ping_timeout=1)
    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=exchange)
        await nursery.start(link.run)
        inbox = Inbox(link)
        assert [await inbox.receive() for _ in range(5)] == list("01234")
        # the first may have come with the 101, after which the next read is not put off
        assert len(inbox.batches) <= 3
        assert await link.ping() < 0.5
        await link.aclose()


# -- sending --------------------------------------------------------------------------------------------------------


async def echo(stream: trio.abc.Stream) -> None:
    """A proper server: echoes data, answers pings, answers a Close and leaves."""
    await accept(stream)
    frames = ClientFrames(stream)
    while (got := await frames.next())[0] >= 0:
        opcode, payload = got
        await stream.send_all(frame(10 if opcode == 9 else opcode, payload))
        if opcode == 8:
            return


async def test_conversation() -> None:
    """Text, binary, pings and a polite close with a proper server."""
    async with nothing_left(), hostile(echo) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        assert link.last_received == -float("inf")
        await nursery.start(link.run)
        inbox = Inbox(link)
        opened = link.last_received
        await link.send("가")
        assert await inbox.receive() == "가"
        await link.send(b"\x00")
        assert await inbox.receive() == b"\x00"
        assert 0 <= await link.ping() < 1
        assert opened < link.last_received <= trio.current_time()
        assert link.verdict is None
        await link.aclose(1000, "done")
        await link.aclose()
        for call in (inbox.receive, link.ping, lambda: link.send("x")):
            with pytest.raises(ConnectorError) as caught:
                await call()
            assert caught.value.reason is Reason.STOPPED


async def test_polite_close() -> None:
    """Our Close carries code and reason, and the server's answer ends it at once."""
    seen: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        _, payload = await ClientFrames(stream).next()
        seen.append(payload)
        await stream.send_all(frame(9, b"?") + text("late") + frame(8, payload[:2]))
        await trio.sleep_forever()

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=PATIENT)
        await nursery.start(link.run)
        Inbox(link)
        began = trio.current_time()
        await link.aclose(1001, "moving")
        assert trio.current_time() - began < PATIENT.close_timeout
    assert seen == [b"\x03\xe9moving"]


@pytest.mark.parametrize("flood", [b"", frame(9, b"?"), frame(2, b"x" * 70_000)])
async def test_close_never_answered(flood: bytes) -> None:
    """W16, W23: a server that ignores our Close, and goes on pinging or sending, costs ``close_timeout``."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        while flood:
            await stream.send_all(flood)
            await trio.sleep(0.001)
        await trio.sleep_forever()

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        if len(flood) > 100:
            await inbox.receive()
        began = trio.current_time()
        await link.aclose()
        assert QUICK.close_timeout <= trio.current_time() - began < QUICK.close_timeout + 2
    assert link.verdict is not None
    assert link.verdict.reason is Reason.STOPPED


async def test_close_within_a_message() -> None:
    """The rest of a message that had begun before our Close is thrown away, the answer after it ends the session."""
    big = frame(2, b"x" * 200_000)

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, big[:100_000])
        _, payload = await ClientFrames(stream).next()
        await stream.send_all(big[100_000:] + frame(1, b"half", fin=False) + frame(8, payload[:2]))
        await trio.sleep_forever()

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=attrs.evolve(QUICK, close_timeout=3))
        await nursery.start(link.run)
        inbox = Inbox(link)
        await trio.testing.wait_all_tasks_blocked(0.05)
        began = trio.current_time()
        await link.aclose()
        assert trio.current_time() - began < 1
    assert not inbox.batches
    assert link.verdict is not None
    assert link.verdict.reason is Reason.STOPPED


async def deaf(stream: trio.abc.Stream) -> None:
    await accept(stream)
    await trio.sleep_forever()


BIG = b"x" * (16 << 20)


async def test_send_timeout() -> None:
    """T7: a server that takes nothing ends the session after ``send_timeout``, for everybody."""
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        for call in (lambda: link.send(BIG), lambda: link.send("x"), inbox.receive, link.ping):
            with pytest.raises(NetworkError) as caught:
                await call()
            assert str(caught.value) == str(link.verdict)
    assert (caught.value.reason, caught.value.advice) == (Reason.SEND_TIMEOUT, BACKOFF)


async def test_queued_send_timeout() -> None:
    """A send that waits behind another keeps its own deadline."""
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        failures: list[ConnectorError] = []

        async def send() -> None:
            try:
                await link.send(BIG)
            except ConnectorError as error:
                failures.append(error)

        nursery.start_soon(send)
        nursery.start_soon(send)
        with pytest.raises(NetworkError):
            await inbox.receive()
    assert [failure.reason for failure in failures] == [Reason.SEND_TIMEOUT] * 2


async def test_cancelled_send() -> None:
    """A send that was cancelled half-way is the end of the session, never a broken frame."""
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        Inbox(link)
        with trio.move_on_after(0.05) as scope:
            await link.send(BIG)
        assert scope.cancelled_caught
        with pytest.raises(NetworkError) as caught:
            await link.send("x")
    assert caught.value.reason is Reason.SEND_TIMEOUT


@pytest.mark.parametrize("script", [deaf, upgraded(frame(10, b"????")), upgraded(text("data"))])
async def test_ping_timeout(script: Script) -> None:
    """W18, W19: no pong, or somebody else's, is the end of the session after ``ping_timeout``."""
    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        Inbox(link)
        with pytest.raises(LivenessError) as caught:
            await link.ping()
        assert str(link.verdict) == str(caught.value)
    assert (caught.value.reason, caught.value.advice) == (Reason.PING_TIMEOUT, BACKOFF)


async def test_ping_within() -> None:
    """A ping may have a deadline of its own, or none: then only the end of the session ends it."""
    patient = attrs.evolve(QUICK, ping_timeout=10)
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=patient)
        await nursery.start(link.run)
        Inbox(link)
        with pytest.raises(LivenessError, match=r"no pong in 0\.1 s"):
            await link.ping(0.1)

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        await ClientFrames(stream).next()
        await trio.sleep(0.4)

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        Inbox(link)
        with pytest.raises(NetworkError) as caught:
            await link.ping(float("inf"))
    assert caught.value.reason is Reason.EOF


async def test_cancelled_ping() -> None:
    """A ping that was cancelled is the end of the session: its pong could be taken for another's."""
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        with trio.move_on_after(0.05):
            await link.ping()
        with pytest.raises(LivenessError):
            await inbox.receive()


async def test_end_during_ping() -> None:
    """A ping whose session ends meanwhile fails with the session's own reason, at once."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        await ClientFrames(stream).next()
        await stream.send_all(close(1012))

    exchange = attrs.evolve(QUICK, ping_timeout=3)
    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=exchange)
        await nursery.start(link.run)
        Inbox(link)
        with pytest.raises(ServerClosed) as caught:
            await link.ping()
    assert caught.value.reason is Reason.CLOSE_1012


async def test_pong_while_nobody_receives() -> None:
    """W21: a ping is answered although no message has been taken yet."""
    answered = trio.Event()

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, text("waits") + frame(9, b"?"))
        assert await ClientFrames(stream).next() == (10, b"?")
        answered.set()

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        await answered.wait()
        assert await inbox.receive() == "waits"


# -- stopping -------------------------------------------------------------------------------------------------------


async def test_cancelled_run() -> None:
    """A cancelled session says goodbye with 1001 and leaves nothing; a waiting receiver is told."""
    seen: list[tuple[int, bytes]] = []
    told: list[ConnectorError] = []

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        seen.append(await ClientFrames(stream).next())

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)

        async def receive() -> None:
            try:
                await inbox.receive()
            except ConnectorError as error:
                told.append(error)

        async with trio.open_nursery() as inner:
            await inner.start(link.run)
            inbox = Inbox(link)
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        while not seen:
            await trio.testing.wait_all_tasks_blocked()
    assert seen == [(8, b"\x03\xe9")]
    assert [error.reason for error in told] == [Reason.STOPPED]


async def test_cancelled_run_while_a_send_is_stuck() -> None:
    """The goodbye never lands in the middle of another frame."""
    exchange = attrs.evolve(QUICK, send_timeout=3)
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=exchange)
        async with trio.open_nursery() as inner:
            await inner.start(link.run)
            Inbox(link)

            async def send() -> None:
                with pytest.raises(ConnectorError, match="stopped"):
                    await link.send(BIG)

            nursery.start_soon(send)
            await trio.sleep(0.05)
            inner.cancel_scope.cancel()


@pytest.mark.parametrize("script", [answering(b""), deaf])
async def test_cancelled_anywhere(script: Script) -> None:
    """Whenever the cancel strikes, nothing is left and the cancel comes out."""
    for turns in range(12):
        async with nothing_left(), hostile(script) as port:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link_to(port).run)
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert scope.cancelled_caught


async def test_aclose_while_dialling() -> None:
    """Closing a link that is still opening cuts the opening short."""
    async with nothing_left(), hostile(answering(b"")) as port, trio.open_nursery() as nursery:
        link = link_to(port)

        async def run() -> None:
            with pytest.raises(ConnectorError, match="stopped"):
                await link.run()

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        await link.aclose()
        with pytest.raises(ConnectorError, match="stopped"):
            await link.ping()


async def test_aclose_before_run() -> None:
    """A link closed before it ran does not dial."""
    link = link_to(1)
    await link.aclose()
    with pytest.raises(ConnectorError, match="stopped"):
        await link.run()


async def test_cancelled_aclose() -> None:
    """A cancelled goodbye still closes."""
    async with nothing_left(), hostile(deaf) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=attrs.evolve(QUICK, close_timeout=3))
        await nursery.start(link.run)
        Inbox(link)
        with trio.move_on_after(0.05):
            await link.aclose()
    assert link.closed


LIVES: list[tuple[Script, bool]] = [
    (answering(b"HTTP/1.1 429 No\r\n\r\n"), False),
    (answering(b""), False),
    (answering(b"", stay=False), False),
    (answering(WRONG_101), False),
    (upgraded(text("a") + close(1001)), False),
    (upgraded(text("a"), stay=False), False),
    (upgraded(frame(3)), False),
    (resetting, False),
    (deaf, False),
    (echo, True),
]


@pytest.mark.parametrize(("script", "leave"), LIVES)
async def test_nothing_for_the_collector(script: Script, *, leave: bool) -> None:
    """However a session ends, its memory is free at once: no cycle through an error, a frame, or the connection."""

    async def live(port: int) -> None:
        async with trio.open_nursery() as nursery:
            link = link_to(port, exchange=attrs.evolve(QUICK, ping_timeout=0.1, upgrade_timeout=0.1))
            with suppress(ConnectorError):
                await nursery.start(link.run)
                inbox = Inbox(link)
                await link.ping()
                while not leave:
                    await inbox.receive()
            if leave:
                await link.aclose()

    async with nothing_left(), hostile(script) as port:
        await live(port)
        await live(port)
        # nothing_left() has switched the collector off
        assert not [kept for kept in gc.get_objects() if type(kept) in (Link, Tap, WebSocketConnection)]


async def test_use_before_open() -> None:
    """Using a link that is not open is a mistake of ours and says so."""
    with pytest.raises(RuntimeError, match="started"):
        await link_to(1).ping()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ws://api.upbit.com/v1", "use wss://"),
        ("ws://128.0.0.1/", "use wss://"),
        ("https://api.upbit.com/", "looks like wss://"),
        ("wss://", "looks like wss://"),
        ("wss://user:s3cret@host/", "looks like wss://"),
        ("wss://host/#part", "looks like wss://"),
        ("wss://host:99999/?s3cret", "not a URL"),
        ("wss://" + "a" * 64 + ".kr/?s3cret", "not a URL"),
        ("wss://host/경로?s3cret", "percent-encode"),
    ],
)
def test_bad_url(url: str, message: str) -> None:
    """A URL that cannot be dialled safely is refused before anything is opened."""
    with pytest.raises(ValueError, match=message) as caught:
        Link(None, QUICK, url, wall=wall)  # type: ignore[arg-type]
    assert "?s3cret" not in str(caught.value)
