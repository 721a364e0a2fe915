"""Rows of docs/faults.md that no other module injects, and a check that each row of it has its test."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trustme

from actors.errors import BACKOFF, NOW, QUARANTINE, ConnectorError, NetworkError, Reason, ServerClosed, TLSError
from actors.exchange import Kind, Subscription
from actors.exchanges import BINANCE, UPBIT
from actors.transport import Address, Link, SystemNetwork
from tests.hostile import (
    QUICK,
    ClientFrames,
    Inbox,
    Script,
    accept,
    close,
    frame,
    hostile,
    link_to,
    nothing_left,
    server_context,
    text,
    upgraded,
    wall,
)

FAULTS = Path(__file__).parent.parent / "docs" / "faults.md"
TESTS = Path(__file__).parent
COUNTS = {"D": 9, "T": 15, "S": 10, "H": 17, "W": 23}
"""How many rows each section has."""


@attrs.frozen
class Row:
    """A line of a table: its failure, the reasons it names, and the tests."""

    reasons: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> dict[str, Row]:
    """The lines of the page's tables by their number."""
    found: dict[str, Row] = {}
    for line in FAULTS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[DTSHW]\d+", cells[0]):
            assert cells[0] not in found, f"{cells[0]} stands there twice"
            assert len(cells) == 6, line
            found[cells[0]] = Row(tuple(re.findall(r"`(\w+)`", cells[2])), tuple(re.findall(r"`([\w.]+)`", cells[5])))
    return found


def test_every_row_is_there() -> None:
    """The numbers of each section run without a hole, and every reason exists."""
    assert list(rows()) == [f"{section}{number + 1}" for section, count in COUNTS.items() for number in range(count)]
    assert {reason for row in rows().values() for reason in row.reasons} <= {reason.value for reason in Reason}


@pytest.mark.parametrize("number", rows())
def test_every_row_has_a_test(number: str) -> None:
    """The test that a row names exists, and says in its first line that it is the row's."""
    assert rows()[number].tests
    for name in rows()[number].tests:
        module, _, test = name.partition(".")
        source = (TESTS / f"{module}.py").read_text(encoding="utf-8")
        found = re.search(rf"def {test}\b.*?\"\"\"(.*?)\"\"\"", source, re.DOTALL)
        assert found, f"{name} does not exist"
        assert number in named(found[1]), f"{name} does not name {number}: {found[1]}"


def named(docstring: str) -> set[str]:
    """The rows that a docstring names: ``W5``, ``S1 to S3``."""
    numbers: set[str] = set()
    for section, first, last in re.findall(r"\b([DTSHW])(\d+)(?: to [DTSHW](\d+))?\b", docstring):
        numbers |= {f"{section}{number}" for number in range(int(first), int(last or first) + 1)}
    return numbers


# -- faults that only a kernel can make -----------------------------------------------------------------------------


def can_isolate() -> bool:
    """Whether a network of one's own, with a packet filter, can be had here."""
    if os.geteuid() or not all(map(shutil.which, ("unshare", "ip", "iptables"))):
        return False
    command = ["unshare", "--net", "iptables", "-A", "INPUT", "-j", "DROP"]
    return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0


ISOLATED = [
    ("D8", Reason.NET_UNREACHABLE, 0.0, 0.9),
    ("D9", Reason.LOCAL_PORTS, 0.0, 0.9),
    ("T2", Reason.CONNECT_TIMEOUT, 1.0, 1.9),
    ("T5", Reason.PING_TIMEOUT, 1.0, 1.9),
    ("T6", Reason.PING_TIMEOUT, 1.0, 1.9),
    ("T15", Reason.PING_TIMEOUT, 1.0, 1.9),
]


@pytest.mark.skipif(not can_isolate(), reason="needs root, unshare, ip and iptables: a network of the test's own")
@pytest.mark.parametrize(("number", "reason", "least", "most"), ISOLATED)
def test_kernel_faults(number: str, reason: Reason, least: float, most: float) -> None:
    """D8, D9, T2, T5, T6, T15: no route, no port, black holes both ways and one way, an address that goes away."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.isolated", number]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reason"] == reason
    assert least <= found["seconds"] < most
    assert (found["messages"] > 0) == (number == "T6"), "one way the data goes on, and proves nothing"


# -- names ----------------------------------------------------------------------------------------------------------


@attrs.define
class Moving:
    """A name whose address changes; each look-up takes the next."""

    source = ""
    ports: list[int]
    inner: SystemNetwork = attrs.field(factory=SystemNetwork)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        del port
        return [Address(socket.AF_INET, ("127.0.0.1", self.ports.pop(0)))]

    async def connect(self, address: Address) -> trio.abc.Stream:
        return await self.inner.connect(address)

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await self.inner.secure(stream, host)


async def test_an_address_that_has_moved() -> None:
    """D5: every dial looks the name up again, so a stale address costs one attempt."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        stale = gone.getsockname()[1]
    async with nothing_left(), hostile(upgraded(text("here"))) as port, trio.open_nursery() as nursery:
        network = Moving([stale, port])
        with pytest.raises(NetworkError) as caught:
            await link_to(stale, network=network).run()
        assert (caught.value.reason, caught.value.advice) == (Reason.REFUSED, BACKOFF)
        link = link_to(stale, network=network)
        await nursery.start(link.run)
        assert await Inbox(link).receive() == "here"
        await link.aclose()


async def test_a_poisoned_name() -> None:
    """D6: a name led to another address is not talked to, and that address is in the text."""
    ca = trustme.CA()
    async with nothing_left(), hostile(upgraded(), tls=server_context(ca, "localhost")) as port:
        network = Moving([port], SystemNetwork(ca_pem=ca.cert_pem.bytes()))
        with pytest.raises(TLSError) as caught:
            await Link(network, QUICK, "wss://api.upbit.com/websocket/v1", wall=wall).run()
    assert (caught.value.reason, caught.value.advice) == (Reason.TLS_HOSTNAME, QUARANTINE)
    assert f"api.upbit.com:443 (127.0.0.1:{port})" in caught.value.detail


# -- TCP ------------------------------------------------------------------------------------------------------------


async def reset_at_once(stream: trio.abc.Stream) -> None:
    await accept(stream)
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


async def test_reset_while_subscribing() -> None:
    """T4: a reset that meets our sending is one typed error, whichever side of the socket sees it first."""
    async with nothing_left(), hostile(reset_at_once) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)

        async def subscribe() -> None:
            while True:  # the kernel may still take the first
                await link.send("subscribe")

        with pytest.raises(NetworkError) as caught:
            await subscribe()
    assert (caught.value.reason, caught.value.advice) == (Reason.RESET, NOW)


SLOW = attrs.evolve(QUICK, ping_timeout=10, upgrade_timeout=10, open_timeout=20)


@attrs.define
class Far:
    """Leads to a script in this process and under its clock."""

    source = ""
    nursery: trio.Nursery
    script: Script

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return [Address(socket.AF_INET, (host, port))]

    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.script, server)
        return client

    async def secure(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream


@pytest.mark.parametrize(("size", "reason"), [(5_000, None), (20_000, Reason.PING_TIMEOUT)])
async def test_a_slow_link(autojump_clock: trio.testing.MockClock, size: int, reason: Reason | None) -> None:
    """T8: at 1 kB/s a pong waits behind the data before it; the link is kept until that takes ``ping_timeout``."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        sent = frame(2, b"x" * size)
        _, payload = await ClientFrames(stream).next()
        sent += frame(10, payload)
        for start in range(0, len(sent), 100):
            await trio.sleep(0.1)
            await stream.send_all(sent[start : start + 100])
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        link = Link(Far(nursery, script), SLOW, "wss://host/", wall=wall)
        await nursery.start(link.run)
        Inbox(link)
        began = trio.current_time()
        if reason is None:
            assert await link.ping() == pytest.approx(5.1)
            assert not link.closed
        else:
            with pytest.raises(ConnectorError) as caught:
                await link.ping()
            assert (caught.value.reason, trio.current_time() - began) == (reason, 10)
        nursery.cancel_scope.cancel()


async def test_a_far_link(autojump_clock: trio.testing.MockClock) -> None:
    """T9: two seconds each way, give or take one, is no reason to give up; the round trip is measured."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream)
        for way in (3, 6, 2):
            _, payload = await ClientFrames(stream).next()
            await trio.sleep(way)
            await stream.send_all(frame(10, payload))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        link = Link(Far(nursery, script), SLOW, "wss://host/", wall=wall)
        await nursery.start(link.run)
        Inbox(link)
        assert [await link.ping() for _ in range(3)] == [3, 6, 2]
        nursery.cancel_scope.cancel()


async def test_a_fin_long_after_the_close() -> None:
    """T13: after a Close the socket is not kept open for the FIN; the reason is the code's."""

    async def script(stream: trio.abc.Stream) -> None:
        await accept(stream, close(1012))
        await trio.sleep(3)

    async with nothing_left(), hostile(script) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox, began = Inbox(link), trio.current_time()
        with pytest.raises(ServerClosed) as caught:
            await inbox.receive()
        await link.aclose()
        assert trio.current_time() - began < QUICK.close_timeout + 2
    assert (caught.value.reason, caught.value.advice) == (Reason.CLOSE_1012, NOW)


# -- WebSocket ------------------------------------------------------------------------------------------------------


async def test_data_after_the_close() -> None:
    """W17: what a server sends behind its Close is not delivered, and changes nothing."""
    sent = text("a") + close(1001) + text("late") + frame(9, b"?") + frame(3, b"odd") + close(1008)
    async with nothing_left(), hostile(upgraded(sent)) as port, trio.open_nursery() as nursery:
        link = link_to(port)
        await nursery.start(link.run)
        inbox = Inbox(link)
        assert await inbox.receive() == "a"
        with pytest.raises(ServerClosed) as caught:
            await inbox.receive()
    assert caught.value.reason is Reason.CLOSE_1001
    assert inbox.batches == [["a"]]


@pytest.mark.parametrize("sent", [b"\x00\xff\xfe", b"", "not JSON", "[" * 100_000, '{"a": 1}'])
def test_what_nobody_can_read(sent: str | bytes) -> None:
    """W22: a frame that is not what the exchange speaks is told as unknown, never taken for data, and ends nothing."""
    for exchange, code in ((UPBIT, "KRW-BTC"), (BINANCE, "BTC/USDT")):
        session = exchange.session(exchange.native([Subscription("trade", code)]))
        assert session.classify(sent).kind is Kind.UNKNOWN
