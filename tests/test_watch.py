"""`watch`: every message as a line of JSON, one gap an interruption, a summary, and an end that is always in time."""

import json
import os
import pty
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import CapturePlayer, Server, SimulatedExchange, UpbitVenue, What, simulated_exchange
from actors.errors import Reason
from actors.exchange import Exchange, Kind, Subscription
from actors.exchanges import BINANCE, UPBIT, generic
from actors.items import Batch, Down, Gap, Overflow
from supervisors.standalone import watch as watch_module
from supervisors.standalone.lines import Lines, iso
from supervisors.standalone.sinks import Sink
from supervisors.standalone.watch import Watch, watch
from tests.captures import CAPTURES, server_frames
from tests.script import TLS, Outcome, ca_file, inside, network, read_until, rest, running, script

TRADE = (Subscription("trade", ("KRW-BTC",)),)


def watching(exchange: Exchange, server: Server, **fields: Any) -> Watch:
    """A plan that watches a server of this test, with quick clocks."""
    quick = attrs.evolve(exchange.reconnect, initial_delay=0.05, max_delay=0.2)
    there = attrs.evolve(exchange, ws_url=server.url, reconnect=quick)
    return attrs.evolve(Watch(exchange=there, network=network(), seconds=20.0), **fields)


async def seen(plan: Watch) -> Outcome:
    """What a watch writes."""
    return await inside(lambda out, err: watch(plan, out=out, err=err))


def payload(line: dict[str, Any]) -> str | bytes:
    """The frame that a message line was."""
    return line["data"].encode() if line.get("binary") else line["data"]


@pytest.mark.parametrize(
    ("name", "exchange", "channel", "code"), [("upbit", UPBIT, "trade", "KRW-BTC"), ("binance", BINANCE, "trade", "x")]
)
async def test_a_capture_comes_out_as_it_went_in(name: str, exchange: Exchange, channel: str, code: str) -> None:
    """Played flat out over TLS, every message of a recorded session is written once, in order, byte for byte."""
    frames = server_frames(name)
    async with CapturePlayer(CAPTURES / f"{name}.ndjson", exchange=exchange, speed=None, tls=TLS).serving() as player:
        plan = watching(exchange, player, subscriptions=(Subscription(channel, (code,)),), count=len(frames), seconds=9)
        done = await seen(plan)
    messages = done.of("message")
    data = [frame for frame in frames if exchange.session(()).classify(frame).kind is Kind.DATA]
    assert [payload(line) for line in messages] == data
    assert [line["n"] for line in messages] == list(range(1, len(data) + 1))
    assert {line["session"] for line in messages} == {1}


async def test_lines_have_their_keys_in_order() -> None:
    """A message line and a gap line have exactly the promised keys, in their order, and times in microseconds."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], rate=50, tls=TLS) as exchange:
        plan = watching(UPBIT, exchange, subscriptions=TRADE, count=3)
        done = await seen(plan)
    assert done.code == 0
    assert [list(line) for line in done.lines] == [
        ["type", "feed", "exchange", "session", "n", "received", "binary", "data"]
    ] * 3
    assert [line["n"] for line in done.lines] == [1, 2, 3]
    assert all(len(line["received"]) == len("2026-11-23T01:02:03.123456Z") for line in done.lines)
    summary = done.summary
    keys = ["type", "messages", "bytes", "gaps", "reconnects", "overflowed", "first_message_seconds", "seconds"]
    assert list(summary) == keys
    assert (summary["messages"], summary["gaps"], summary["reconnects"]) == (3, 0, 0)
    assert summary["bytes"] == sum(len(line["data"].encode()) for line in done.lines)
    assert 0 < summary["first_message_seconds"] < summary["seconds"] < 20


async def cut_after(exchange: SimulatedExchange, messages: int) -> None:
    """Cut the first connection once so many messages have left."""
    while len(exchange.ledger.sent()) < messages:  # noqa: ASYNC110 - a ledger has no event
        await trio.sleep(0.01)
    exchange.cut()


async def test_an_interruption_is_one_gap(nursery: trio.Nursery) -> None:
    """A cut gives a down line with --status, one gap line, the next session, and numbers that go on."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], rate=100, tls=TLS) as exchange:
        nursery.start_soon(cut_after, exchange, 5)
        done = await seen(watching(UPBIT, exchange, subscriptions=TRADE, count=40, status=True))
        lost = [iso(entry.wall) for entry in exchange.ledger.lost()]
    kinds = [line["type"] for line in done.lines]
    assert (kinds.count("down"), kinds.count("gap"), kinds.count("message")) == (1, 1, 40)
    down, gap = done.of("down")[0], done.of("gap")[0]
    assert list(down) == ["type", "feed", "exchange", "reason", "since", "next_attempt"]
    assert list(gap) == ["type", "feed", "exchange", "reason", "from", "to", "seconds"]
    assert (down["reason"], gap["reason"], gap["from"]) == ("eof", "eof", down["since"])
    assert kinds.index("down") + 1 == kinds.index("gap")
    assert [line["n"] for line in done.of("message")] == list(range(1, 41))
    assert [line["session"] for line in done.of("message")] == sorted(line["session"] for line in done.of("message"))
    assert {line["session"] for line in done.of("message")} == {1, 2}
    last = done.of("message")[-1]["received"]
    assert all(gap["from"] <= when <= gap["to"] for when in lost if when < last)
    assert done.summary["gaps"] == done.summary["reconnects"] == 1


async def test_what_is_still_open_at_the_end_is_a_gap_without_an_end() -> None:
    """A feed that never comes up leaves one gap from its first dial, and --require makes that an error."""
    async with simulated_exchange(UpbitVenue(), tls=TLS) as exchange:
        exchange.refuse()
        done = await seen(watching(UPBIT, exchange, subscriptions=TRADE, seconds=0.3, require=True))
    assert done.code == 3
    (gap,) = done.lines
    assert (gap["type"], gap["reason"], gap["to"]) == ("gap", "refused", None)
    assert 0.2 < gap["seconds"] < 5
    assert done.summary["first_message_seconds"] is None


@pytest.mark.parametrize(("count", "code"), [(1, 0), (1_000, 3)])
async def test_require_wants_the_whole_count(count: int, code: int) -> None:
    """With --require a --count that was not reached is an exit code of its own."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        plan = watching(UPBIT, exchange, subscriptions=TRADE, seconds=0.5, count=count, require=True)
        assert (await seen(plan)).code == code


async def test_quiet_writes_the_summary_alone() -> None:
    """With --quiet standard output has one line, and standard error none."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        done = await seen(watching(UPBIT, exchange, subscriptions=TRADE, count=2, quiet=True))
    (summary,) = done.lines
    assert (summary["type"], summary["messages"]) == ("summary", 2)
    assert done.err == b""


async def test_control_shows_what_is_no_data_and_raw_everything() -> None:
    """Heartbeat answers are `control` lines under --control, numbered messages under --raw, and else not there."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS, rate=20) as exchange:
        notice = '{"status":"UP"}'
        for control, raw in ((True, False), (False, True), (False, False)):
            plan = watching(UPBIT, exchange, subscriptions=TRADE, count=20, control=control, raw=raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_say_when_open, exchange, notice)
                done = await seen(plan)
                nursery.cancel_scope.cancel()
            said = [line for line in done.lines if line.get("data") == notice]
            assert [line["type"] for line in said] == (["control"] if control else ["message"] if raw else [])
            if control:
                assert list(said[0]) == ["type", "feed", "exchange", "kind", "session", "received", "data"]
                assert said[0]["kind"] == "heartbeat"


async def _say_when_open(exchange: SimulatedExchange, text: str) -> None:
    before = len(exchange.ledger.of(What.OPENED))
    while len(exchange.ledger.of(What.OPENED)) == before:  # noqa: ASYNC110 - as above
        await trio.sleep(0.01)
    exchange.say(text)


def test_payloads_of_every_kind() -> None:
    """Text stays text, UTF-8 in a binary frame is marked, and other bytes go as base64."""
    lines = Lines("f", "x")
    batch = Batch(1_700_000_000_123_456_789, ("가", "나".encode(), b"\xff\x00"), 2)
    text, binary, other = map(json.loads, lines.lines(batch).splitlines())
    assert text["data"] == "가"
    assert "binary" not in text
    assert (binary["binary"], binary["data"]) == (True, "나")
    assert other["data_b64"] == "/wA="
    assert text["received"] == "2023-11-14T22:13:20.123456Z"
    assert lines.bytes == 3 + 3 + 2
    down = json.loads(Lines("f", "x", status=True).lines(Down(Reason.EOF, 1_000, 2_000_000_000)))
    assert down["next_attempt"] == "1970-01-01T00:00:02.000000Z"
    assert Lines("f", "x").lines(Down(Reason.EOF, 0)) == b""
    gap = json.loads(lines.lines(Gap(Reason.OVERFLOW, 0, 1_000_000_000, 1.0)))
    assert (gap["reason"], gap["to"]) == ("overflow", "1970-01-01T00:00:01.000000Z")


async def test_a_feed_that_is_given_up_ends_the_watch() -> None:
    """After max_attempts the watch ends by itself, says why, and fails."""
    async with simulated_exchange(UpbitVenue(), tls=TLS) as exchange:
        exchange.refuse()
        plan = watching(UPBIT, exchange, subscriptions=TRADE)
        strategy = attrs.evolve(plan.exchange.reconnect, max_attempts=2)
        plan = attrs.evolve(plan, exchange=attrs.evolve(plan.exchange, reconnect=strategy))
        done = await seen(plan)
    assert done.code == 1
    assert b"given up" in done.err.splitlines()[0]
    assert [line["to"] for line in done.lines] == [None]


async def test_drop_oldest_counts_what_nobody_read(tmp_path: Path) -> None:
    """A pipe that is not read loses the oldest messages under drop_oldest, leaves a gap for them, and they add up."""
    frames = [json.dumps({"n": n, "fill": "x" * 1000}) for n in range(5_000)]
    lines = [json.dumps({"t": 0.0, "from": "server", "text": frame}) for frame in frames]
    async with CapturePlayer(lines, speed=None, tls=TLS).serving() as player:
        overflow = Overflow("drop_oldest", 1000, 1 << 20)
        plan = watching(generic("wss://x.invalid/"), player, seconds=4, overflow=overflow)
        reader, writer = os.pipe()
        kept = bytearray()
        async with trio.open_nursery() as nursery:
            results: list[Outcome] = []

            async def run() -> None:
                outcome = await inside(lambda _out, err: watch(plan, out=Sink(writer), err=err))
                os.close(writer)
                results.append(outcome)

            nursery.start_soon(run)
            with trio.fail_after(3.5):
                await player.played.wait()
            async with trio.lowlevel.FdStream(reader) as stream:
                async for data in stream:
                    kept += data
    written = [json.loads(line) for line in kept.splitlines()]
    messages = [line for line in written if line["type"] == "message"]
    summary = results[0].summary
    assert summary["overflowed"] > 0
    assert summary["messages"] == len(messages)
    assert summary["messages"] + summary["overflowed"] == len(frames)
    assert {line["reason"] for line in written if line["type"] == "gap"} == {"overflow"}
    assert [line["n"] for line in messages] == list(range(1, len(messages) + 1))


@pytest.mark.slow
async def test_fail_ends_the_watch_of_a_pipe_that_nobody_reads() -> None:
    """Under `fail` the watch fails once its buffer is full, in words."""
    lines = [json.dumps({"t": 0.0, "from": "server", "text": "x" * 1000})] * 20_000
    async with CapturePlayer(lines, speed=None, tls=TLS).serving() as player:
        plan = watching(generic("wss://x.invalid/"), player, overflow=Overflow("fail", 1000, 1 << 20))
        reader, writer = os.pipe()
        with trio.fail_after(15):
            done = await inside(lambda _out, err: watch(plan, out=Sink(writer), err=err))
        os.close(reader)
        os.close(writer)
    assert done.code == 1
    assert b"too slow" in done.err
    assert b"nobody reads standard output" in done.err


@pytest.mark.parametrize("end", [{"count": 3_000}, {"seconds": 3.0}], ids=["count", "for"])
async def test_the_end_waits_for_a_reader_that_sleeps(end: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `block` what was received long before anybody reads still arrives whole, and the summary last."""
    monkeypatch.setattr(watch_module, "FLUSH", 0.1)
    lines = [json.dumps({"t": 0.0, "from": "server", "text": f"{n:01000}"}) for n in range(3_000)]
    reader, writer = os.pipe()
    kept = bytearray()

    async def read_late() -> None:
        await trio.sleep(3.3)
        async with trio.lowlevel.FdStream(reader) as stream:
            async for data in stream:
                kept.extend(data)

    async with CapturePlayer(lines, speed=None, tls=TLS).serving() as player, trio.open_nursery() as nursery:
        nursery.start_soon(read_late)
        plan = watching(generic("wss://x.invalid/"), player, **end)
        done = await inside(lambda _out, err: watch(plan, out=Sink(writer), err=err))
        os.close(writer)
    assert done.code == 0
    assert [json.loads(line)["data"] for line in kept.splitlines()] == [f"{n:01000}" for n in range(3_000)]
    assert (done.summary["messages"], done.summary["overflowed"]) == (3_000, 0)


async def test_a_full_disk_is_told() -> None:
    """What cannot be written, and not because the reader has left, fails the watch in words."""
    fd = os.open("/dev/full", os.O_WRONLY)
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        plan = watching(UPBIT, exchange, subscriptions=TRADE)
        with trio.fail_after(10):
            done = await inside(lambda _out, err: watch(plan, out=Sink(fd), err=err))
    os.close(fd)
    assert done.code == 1
    assert b"feedwarden: standard output cannot be written: No space left on device\n" in done.err


async def test_a_person_at_a_terminal_is_told_why_nothing_comes() -> None:
    """Where standard error is a terminal, failures appear there as they happen; else it has the summary alone."""
    ours, theirs = pty.openpty()
    async with simulated_exchange(UpbitVenue(), tls=TLS) as exchange:
        exchange.refuse()
        plan = watching(UPBIT, exchange, subscriptions=TRADE, seconds=0.5)
        await inside(lambda out, _err: watch(plan, out=out, err=Sink(theirs)))
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "down" in said
    assert "refused" in said
    assert "connecting" not in said


# -- as a process


async def test_closed_pipe_ends_it_quietly_while_nothing_comes(tmp_path: Path) -> None:
    """`watch | true` ends at once although no message comes, without a word of complaint."""
    async with simulated_exchange(UpbitVenue(), codes=[], quiet=["KRW-BTC"], tls=TLS) as exchange:
        arguments = ("upbit", "trade", "KRW-BTC", "--url", exchange.url, "--ca-file", ca_file(tmp_path))
        async with running("watch", *arguments, home=tmp_path) as process:
            await read_until(process.stdout, b'"n":1,')
            assert process.stdout is not None
            await process.stdout.aclose()
            with trio.fail_after(9):
                assert await process.wait() == 0
            said = await rest(process.stderr)
    assert json.loads(said)["messages"] == 1


async def test_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    """SIGINT ends the watch with its summary and 0."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        arguments = ("upbit", "trade", "KRW-BTC", "--url", exchange.url, "--ca-file", ca_file(tmp_path))
        async with running("watch", *arguments, home=tmp_path) as process:
            await read_until(process.stdout, b'"n":1,')
            process.send_signal(signal.SIGINT)
            await rest(process.stdout)
            assert await process.wait() == 0
            assert json.loads(await rest(process.stderr))["type"] == "summary"


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """While the first stop waits for a pipe that nobody reads, a second signal ends the process by its number."""
    lines = [json.dumps({"t": 0.0, "from": "server", "text": "x" * 1000})] * 5_000
    async with CapturePlayer(lines, speed=None, tls=TLS).serving() as player:
        arguments = ("generic", "--url", player.url, "--ca-file", ca_file(tmp_path))
        async with running("watch", *arguments, home=tmp_path) as process:
            while len(player.ledger.sent()) < len(lines):  # noqa: ASYNC110 - a ledger has no event
                await trio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(0.5):
                raise AssertionError(f"ended with {await process.wait()} and lost what nobody had read")
            process.send_signal(signal.SIGINT)
            with trio.fail_after(1):
                assert await process.wait() == 130


async def test_codes_come_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    """`@file` and `-` give channels and codes; the server sees one subscription of all of them."""
    (tmp_path / "codes").write_text("KRW-BTC,\n  KRW-ETH\n")
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC", "KRW-ETH", "KRW-XRP"], tls=TLS) as exchange:
        options = ("--url", exchange.url, "--ca-file", ca_file(tmp_path), "--count", "1")
        words = ("trade", f"@{tmp_path}/codes", "book", "-")
        done = await script("watch", "upbit", *words, *options, home=tmp_path, stdin=b"KRW-XRP\n")
        sent = [entry.data for entry in exchange.ledger.received()]
    assert done.code == 0, done.err
    wanted = [part for part in json.loads(sent[0]) if "type" in part]
    assert [(part["type"], part["codes"]) for part in wanted] == [
        ("trade", ["KRW-BTC", "KRW-ETH"]),
        ("orderbook", ["KRW-XRP"]),
    ]
