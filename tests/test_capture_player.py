"""Captures of real sessions, played back: the same frames of the same types, at their times, to whoever listens."""

import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.chaos import CapturePlayer, Fault, FaultKind, MemoryNetwork, Role, What, read_capture
from actors.exchanges import BINANCE, UPBIT
from tests.sim_client import Client, connected, routed, server_and_client_tls, upgrade

CAPTURES = Path(__file__).parents[2] / "shared" / "captures"
HOST = "capture.test"
URL = {"t": 100.0, "event": "open", "url": "wss://exchange.test/ws"}
SUBSCRIBE = {"t": 101.0, "from": "client", "text": '{"method":"SUBSCRIBE","params":[],"id":9}'}
FRAMES = [
    {"t": 102.0, "from": "server", "text": "one"},
    {"t": 102.5, "from": "server", "binary_text": '{"둘":2}'},
    {"t": 110.0, "from": "server", "binary_b64": base64.b64encode(b"\x1f\x8b\xff").decode()},
    {"t": 110.0, "from": "server", "text": "four"},
]
DATA = ["one", '{"둘":2}'.encode(), b"\x1f\x8b\xff", "four"]


def lines(*entries: dict[str, Any]) -> list[str]:
    return [json.dumps(entry, ensure_ascii=False) for entry in entries]


ALONE = lines(URL, *FRAMES)
ASKED = lines(URL, SUBSCRIBE, *FRAMES)


@asynccontextmanager
async def playing(source: Sequence[str], **options: Any) -> AsyncGenerator[tuple[CapturePlayer, MemoryNetwork]]:
    """A player in memory."""
    player = CapturePlayer(source, port=None, **options)
    async with player.serving():
        yield player, MemoryNetwork({HOST: player})


async def times(client: Client, count: int) -> list[float]:
    """When the next ``count`` messages arrive."""
    found: list[float] = []
    for _ in range(count):
        await client.next(100)
        found.append(trio.current_time())
    return found


async def test_plays_from_the_upgrade_if_the_client_said_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Frames come with their types and at their times after the opening, and the connection stays open."""
    async with playing(ALONE) as (player, network):
        await trio.sleep(50)
        async with routed(network, HOST, "/any/path?at=all") as client:
            begun = trio.current_time()
            assert [at - begun for at in await times(client, 4)] == [2, 2.5, 10, 10]
            assert client.heard == DATA
            assert player.played.is_set()
            await client.silence(1_000)
            await client.ws.ping()
        assert [(entry.number, entry.data) for entry in player.ledger.sent()] == list(enumerate(DATA, 1))


async def test_plays_from_the_client_s_first_frame_if_it_said_something(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Time begins with what the client says first, whatever that is, and greetings come at once."""
    greeting = {"t": 100.5, "from": "server", "text": "hello"}
    async with playing(lines(URL, greeting, SUBSCRIBE, *FRAMES)) as (_, network), routed(network, HOST) as client:
        await client.silence(60)
        await client.send("anything")
        begun = trio.current_time()
        assert [at - begun for at in await times(client, 5)] == [0, 1, 1.5, 9, 9]
        assert client.heard == ["hello", *DATA]


@pytest.mark.parametrize(("speed", "expected"), [(2.0, [1, 1.25, 5, 5]), (None, [0, 0, 0, 0])])
async def test_speed(autojump_clock: trio.testing.MockClock, speed: float | None, expected: list[float]) -> None:
    """A capture can be played faster, and flat out."""
    async with playing(ALONE, speed=speed) as (_, network), routed(network, HOST) as client:
        assert await times(client, 4) == expected
        assert client.heard == DATA


async def test_one_timeline_for_all_connections(autojump_clock: trio.testing.MockClock) -> None:
    """What falls due while nobody is connected is lost; a second listener hears what a first one hears."""
    async with playing(ALONE) as (player, network):
        async with routed(network, HOST) as client:
            await client.next()
        await trio.sleep(3)
        async with routed(network, HOST) as client, routed(network, HOST) as other:
            for each in (client, other):
                await times(each, 2)
                assert each.heard == DATA[2:]
        assert [(entry.number, entry.data, entry.at) for entry in player.ledger.lost()] == [(2, DATA[1], 2.5)]
        assert sorted(entry.number for entry in player.ledger.sent()) == [1, 3, 3, 4, 4]


async def test_who_has_said_nothing_yet_is_not_played_to(autojump_clock: trio.testing.MockClock) -> None:
    """After a reconnect frames are lost until the client has subscribed again."""
    async with playing(ASKED) as (player, network):
        async with routed(network, HOST) as client:
            await client.send("subscribe")
            await client.next()
        async with routed(network, HOST) as client:
            await trio.sleep(5)
            await client.send("subscribe")
            assert await client.next(100) == DATA[2]
        assert [entry.number for entry in player.ledger.lost()] == [2]


async def test_subscriptions_are_acknowledged_as_the_exchange_does(autojump_clock: trio.testing.MockClock) -> None:
    """Binance acknowledges requests, by number; Upbit nothing, and without a profile nothing is."""
    for exchange, acks in ((BINANCE, ['{"result":null,"id":9}', '{"result":null,"id":"x"}']), (UPBIT, []), (None, [])):
        async with playing(ASKED, exchange=exchange) as (player, network), routed(network, HOST) as client:
            await client.send(
                str(SUBSCRIBE["text"]), "nonsense", "[1]", b"binary", '{"method":"UNSUBSCRIBE","id":"x"}', '{"id":1}'
            )
            heard = await client.listen(100)
            assert heard == [*acks, *DATA]
            assert [entry.data for entry in player.ledger.sent()] == DATA


async def test_faults_are_those_of_every_server(autojump_clock: trio.testing.MockClock) -> None:
    """A cut loses what falls due before the client is back, a silence what falls due during it."""
    async with playing(ALONE) as (player, network), trio.open_nursery() as nursery:
        faults = [
            Fault(2.2, FaultKind.CUT),
            Fault(2.2, FaultKind.REJECT, {"status": 429, "retry_after": 3, "times": 1}),
        ]
        nursery.start_soon(player.play, [*faults, Fault(9, FaultKind.SILENCE)])
        async with routed(network, HOST) as client:
            assert await client.ended(100) == 1006
            assert client.heard == DATA[:1]
        (address,) = await network.resolve(HOST, 80)
        assert (await upgrade(await network.connect(address)))[1]["retry-after"] == "3"
        await trio.sleep(3)
        async with routed(network, HOST) as client:
            await client.silence(100)
            assert [(entry.number, entry.connection) for entry in player.ledger.lost()] == [(2, 0), (3, 3), (4, 3)]


async def test_flat_out_waits_for_who_reads_slowly(autojump_clock: trio.testing.MockClock) -> None:
    """More than the outbox holds can be played flat out: the player waits, and nothing is lost."""
    big = [json.dumps({"t": 1, "from": "server", "text": "x" * 100_000}) for _ in range(400)]
    async with playing(big, speed=None) as (player, network), routed(network, HOST) as client:
        for _ in range(400):
            await client.next()
        assert player.ledger.counts[What.SENT] == 400
        assert player.ledger.lost() == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Expecting property name"),
        ("[]", "it must have"),
        ('{"t":"now","event":"open"}', "it must have"),
        ('{"t":NaN,"event":"open"}', "it must have"),
        ('{"t":1,"event":"close"}', "it must have"),
        ('{"t":1,"from":"nobody","text":""}', "it must have"),
        ('{"t":1,"from":"server"}', "one string of 'text', 'binary_text' and 'binary_b64'"),
        ('{"t":1,"from":"server","text":1}', "one string of"),
        ('{"t":1,"from":"server","text":"","binary_text":""}', "one string of"),
        ('{"t":1,"from":"server","binary_b64":"?"}', ""),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    """The error names the file and the line."""
    file = tmp_path / "bad.ndjson"
    file.write_text("\n".join([*ALONE, "", line]), "utf-8")
    with pytest.raises(ValueError, match=f"bad.ndjson:7: not a line of a capture: .*{problem}"):
        CapturePlayer(file)
    with pytest.raises(ValueError, match=r"^capture:1: "):
        read_capture([line])


def test_line_separators_inside_a_frame_are_no_line_ends(tmp_path: Path) -> None:
    """JSON may hold U+2028 as it is."""
    file = tmp_path / "good.ndjson"
    file.write_text('{"t":1,"from":"server","text":"a\u2028b"}\n', "utf-8")
    (frame,) = read_capture(file).frames
    assert (frame.after, frame.data) == (0, "a\u2028b")


def test_speed_must_be_positive() -> None:
    """Speed 0 is refused in words."""
    with pytest.raises(ValueError, match="speed must be more than 0"):
        CapturePlayer([], speed=0)


def recorded(name: str) -> Path:
    """A capture that is not part of the project."""
    path = CAPTURES / f"{name}.ndjson"
    if not path.exists():
        pytest.skip(f"no captures at {CAPTURES.relative_to(CAPTURES.parents[1])} beside the checkout")
    return path


@pytest.mark.parametrize("name", ["binance", "coinbase", "deribit", "htx", "kraken_v1", "okx", "upbit"])
async def test_real_captures_arrive_byte_for_byte_over_tls(name: str) -> None:
    """Flat out, over TLS: every frame of the file, in order, of its type."""
    expected: list[str | bytes] = []
    for line in recorded(name).read_text("utf-8").split("\n"):
        entry = json.loads(line or "{}")
        if entry.get("from") == "server":
            text = entry.get("text")
            binary = entry.get("binary_text", "").encode() or base64.b64decode(entry.get("binary_b64", ""))
            expected.append(binary if text is None else text)
    server, trust = server_and_client_tls()
    async with CapturePlayer(recorded(name), speed=None, tls=server).serving() as player:
        async with connected(player, tls=trust) as client:
            if player.capture.awaits_client:
                await client.send("begin")
            for _ in expected:
                await client.next()
        assert client.heard == expected
        assert [entry.data for entry in player.ledger.of(What.SENT) if entry.role is Role.DATA] == expected


@pytest.mark.parametrize("name", ["binance", "upbit"])
async def test_real_captures_keep_their_time(autojump_clock: trio.testing.MockClock, name: str) -> None:
    """In original timing a frame comes as long after the beginning as it did when it was recorded."""
    entries = [json.loads(line) for line in recorded(name).read_text("utf-8").split("\n") if line]
    zero = next((entry["t"] for entry in entries if entry.get("from") == "client"), entries[0]["t"])
    expected = [entry["t"] - zero for entry in entries if entry.get("from") == "server"]
    player = CapturePlayer(recorded(name), port=None)
    async with player.serving(), routed(MemoryNetwork({HOST: player}), HOST) as client:
        await client.send("begin")
        assert await times(client, len(expected)) == pytest.approx(expected, abs=1e-6)
        assert expected[-1] > 20
