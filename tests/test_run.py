"""`run`: the demo and a configuration, in a terminal and without, and a stop that is clean, or bounded, or at once."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import SimulatedExchange, UpbitVenue, simulated_exchange
from actors.events import LinkState, Origin
from actors.stats import ConnectorStats
from supervisors.standalone import process
from supervisors.standalone.config import Config, Web, load_config
from supervisors.standalone.control import ask
from supervisors.standalone.demo import FAULTS, NOTICE, refuse_in_service
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.sinks import Sink
from supervisors.standalone.table import LiveTable, is_terminal
from supervisors.standalone.tree import Plan, run
from tests.script import COMMAND, TLS, ca_file, environment, inside, read_until, rest, running, script

WALL = 1_700_000_000


def config_for(exchange: SimulatedExchange, folder: Path, more: str = "") -> Config:
    """A configuration file for one feed of an exchange of this test, as it is read."""
    file = folder / "feedwarden.toml"
    file.write_text(
        f"""
        [feed.up]
        on = "upbit"
        trade = ["KRW-BTC"]
        url = "{exchange.url}"
        ca_file = "{ca_file(folder)}"
        set = {{ initial_delay = 0.05 }}
        {more}
        """,
        encoding="utf-8",
    )
    return load_config(file)


def log_lines(text: bytes) -> list[dict[str, Any]]:
    """Log lines of standard error."""
    return [json.loads(line) for line in text.splitlines()]


# -- the demo


async def test_the_demo_says_what_it_is_and_stops_in_time(tmp_path: Path) -> None:
    """Without a configuration three simulated exchanges go live, in log and document as a demo, and --for ends it."""
    async with running("run", "--for", "3", home=tmp_path) as child:
        seen = await read_until(child.stderr, b'"event":"live","feed":"upbit"', b'"event":"live","feed":"binance"')
        document = await ask(tmp_path / ".local/state/feedwarden", "status")
        seen += await rest(child.stderr)
        assert await child.wait() == 0
        assert await rest(child.stdout) == b""
    assert document["demo"] is True
    assert [feed["feed"] for feed in document["feeds"]] == ["upbit", "bithumb", "binance"]
    lines = log_lines(seen)
    assert (lines[0]["level"], lines[0]["event"]) == ("warning", NOTICE)
    assert any(line.get("text", "").startswith("[업비트] 웹소켓 연결 성공") for line in lines)
    assert [line["event"] for line in lines if "feed" not in line and "text" not in line][-2:] == [
        "stopping",
        "stopped",
    ]
    assert not (tmp_path / ".local/state/feedwarden/control.sock").exists()


@pytest.mark.slow
async def test_the_demo_recovers_from_its_faults(tmp_path: Path) -> None:
    """`run --for 20` shows a cut and a reset, both mended."""
    with trio.fail_after(40):
        done = await script("run", "--for", "20", home=tmp_path)
    assert done.code == 0
    mended = {line["feed"] for line in log_lines(done.err) if line["event"] == "recovered"}
    assert mended == {"upbit", "bithumb"}
    assert not [line for line in log_lines(done.err) if line["level"] == "error"]


def test_the_demo_is_no_service() -> None:
    """Under systemd and Kubernetes it is refused; a desktop's terminal, which systemd starts too, is none."""
    refuse_in_service({}, terminal=False)
    refuse_in_service({"INVOCATION_ID": "1"}, terminal=True)
    for name in ("INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"):
        with pytest.raises(BadInput, match=r"there is no demo: give a configuration with --config FILE"):
            refuse_in_service({name: "1"}, terminal=False)


async def test_under_a_service_manager_the_process_ends_with_2(tmp_path: Path) -> None:
    """The refusal is one message and the exit code of bad input."""
    done = await script("run", home=tmp_path, env={"NOTIFY_SOCKET": "/run/x"})
    assert (done.code, done.out) == (2, b"")
    assert done.err == b"under systemd there is no demo: give a configuration with --config FILE\n"


def test_the_first_faults_are_seen_soon() -> None:
    """Every exchange has its fault within the first minute, one of each kind that people meet."""
    assert all(min(fault.at for fault in faults) < 60 for faults in FAULTS.values())
    assert {"cut", "reset", "silence", "refuse", "close"} <= {str(f.kind) for faults in FAULTS.values() for f in faults}


# -- a configuration, inside this process


async def seen(config: Config, folder: Path, **fields: Any) -> Any:
    """What a run of a configuration writes."""
    plan = Plan(config=config, state_dir=folder, **fields)
    return await inside(lambda out, err: run(plan, out=out, err=err, environment={}))


async def test_messages_go_to_standard_output(tmp_path: Path) -> None:
    """With [messages] every message of every feed is a JSON line, and the log stays on standard error."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS, rate=50) as exchange:
        config = config_for(
            exchange, tmp_path, "[messages]\nstdout = true\n[notify.console.here]\nlanguage = 'en'\nstyle = 'guide'"
        )
        done = await seen(config, tmp_path, seconds=1)
    assert done.code == 0
    assert {(line["type"], line["feed"]) for line in done.lines} == {("message", "up")}
    assert [line["n"] for line in done.lines] == list(range(1, len(done.lines) + 1))
    alerts = [line["text"] for line in log_lines(done.err) if line["event"] == "alert"]
    assert alerts[0].startswith("[Upbit] WebSocket connected")


async def test_without_messages_standard_output_is_empty(tmp_path: Path) -> None:
    """The log alone tells of a run whose messages nobody wants; page and control socket are named in it."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        config = config_for(exchange, tmp_path, "[web]\nport = 0")
        done = await seen(config, tmp_path / "state", seconds=0.5)
    started = next(line for line in log_lines(done.err) if line["event"] == "started")
    assert done.out == b""
    assert started["control"] == str(tmp_path / "state/control.sock")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", started["page"])


async def test_a_reader_that_leaves_ends_the_run(tmp_path: Path) -> None:
    """Who has asked for messages on standard output and has nobody to read them has nothing left to do."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        config = config_for(exchange, tmp_path, "[messages]\nstdout = true")
        plan = Plan(config=config, state_dir=tmp_path, seconds=20)
        reader, writer = os.pipe()
        os.close(reader)
        with trio.fail_after(10):
            done = await inside(lambda _out, err: run(plan, out=Sink(writer), err=err, environment={}))
        os.close(writer)
    assert done.code == 0
    assert b"nobody reads standard output" in done.err


async def test_a_run_without_a_feed_left_fails(tmp_path: Path) -> None:
    """Once every feed was given up the process ends, so that a service manager can start it again."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        exchange.refuse()
        config = config_for(exchange, tmp_path)
        (plan,) = config.feeds
        strategy = attrs.evolve(plan.exchange.reconnect, max_attempts=1)
        feed = attrs.evolve(plan, exchange=attrs.evolve(plan.exchange, reconnect=strategy))
        with trio.fail_after(10):
            done = await seen(attrs.evolve(config, feeds=[feed]), tmp_path, seconds=20)
    assert done.code == 1
    assert "feed ended" in [line["event"] for line in log_lines(done.err)]


async def test_a_place_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """A second run with the same state directory, or a port that is taken, is bad input and touches no exchange."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        config = config_for(exchange, tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen, config, tmp_path)
            with trio.fail_after(5):
                while not (tmp_path / "control.sock").exists():  # noqa: ASYNC110 - a file has no event
                    await trio.sleep(0.01)
            with pytest.raises(BadInput, match="another feedwarden runs"):
                await seen(config, tmp_path)
            nursery.cancel_scope.cancel("the test is over")
        with trio.socket.socket() as taken:
            await taken.bind(("127.0.0.1", 0))
            web = Web(port=taken.getsockname()[1])
            with pytest.raises(BadInput, match=r"web\.port"):
                await seen(attrs.evolve(config, web=web), tmp_path)


# -- as a process


async def test_signals(tmp_path: Path) -> None:
    """SIGHUP is logged and nothing else; SIGTERM is a clean stop with code 0; `status` knows in between."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        config_for(exchange, tmp_path)
        state = ("--state-dir", str(tmp_path / "s"))
        arguments = ("run", "--config", str(tmp_path / "feedwarden.toml"), *state)
        async with running(*arguments, home=tmp_path) as child:
            await read_until(child.stderr, b'"event":"live"')
            child.send_signal(signal.SIGHUP)
            await read_until(child.stderr, b"SIGHUP")
            done = await script("status", *state, home=tmp_path)
            assert (done.code, done.err) == (0, b"")
            assert b"up    live" in done.out
            document = json.loads((await script("status", "--json", *state, home=tmp_path)).out)
            assert (document["pid"], document["live"]) == (child.pid, True)
            exchange.refuse()
            exchange.cut()
            await read_until(child.stderr, b'"event":"down"')
            assert (await script("status", *state, home=tmp_path)).code == 3
            child.send_signal(signal.SIGTERM)
            said = await rest(child.stderr)
            with trio.fail_after(10):
                assert await child.wait() == 0
    assert b'"signal":"SIGTERM"' in said
    assert b"Traceback" not in said


async def test_a_live_table_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal the feeds stand in a table that says DEMO, log lines above it, and the cursor comes back."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(  # noqa: ASYNC220 - trio has no process on a pty, and this one is killed below
        [*COMMAND, "run", "--for", "2.5"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(tmp_path, TERM="xterm", COLUMNS="140"),
    )
    os.close(theirs)
    drawn = b""
    try:
        with trio.fail_after(20):
            async with trio.lowlevel.FdStream(ours) as terminal:
                try:
                    while data := await terminal.receive_some():
                        drawn += data
                except trio.BrokenResourceError:
                    pass  # EIO: the other end of a terminal is closed
    finally:
        child.kill()
        code = child.wait()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert code == 0
    assert NOTICE in text
    for word in ("feed", "state", "incarnation", "messages/s", "last message", "next attempt", "last error"):
        assert word in text
    assert re.search(r"upbit +│ live +│ +1 │ +\d+\.\d │ +\d\.\d s ago", text)
    assert "[업비트] 웹소켓 연결 성공" in text
    assert drawn.rindex(b"\x1b[?25h") > drawn.rindex(b"\x1b[?25l")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run a small program of ours."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)


def test_what_does_not_stop_is_named_and_left() -> None:
    """Past the deadline, even of an event loop that hangs, the names go to standard error and the process ends."""
    code = """
import time
from supervisors.standalone import process
process.STOP_WITHIN = 0.3
with process.BoundedStop() as stopping:
    stopping.running = lambda: ["up", "notifier"]
    stopping.begin()
    stopping.begin()
    time.sleep(10)
"""
    done = run_python(code)
    assert done.returncode == process.UNSTOPPED == 70
    assert done.stderr == "feedwarden: not stopped after 0.3 s: up, notifier\n"


def test_a_stop_in_time_ends_nothing() -> None:
    """A body that ends in time is left alone, and one that never began to stop has no deadline."""
    code = """
import time
from supervisors.standalone import process
process.STOP_WITHIN = 0.2
with process.BoundedStop() as stopping:
    assert not stopping.begun
    time.sleep(0.3)
    stopping.begin()
    assert stopping.begun
time.sleep(0.3)
print("ended")
"""
    assert run_python(code).stdout == "ended\n"


# -- the table, drawn by hand


def stats(**fields: Any) -> ConnectorStats:
    """A feed's counts."""
    return ConnectorStats(Origin("up", "upbit", "[업비트]", "[Upbit]", "api.upbit.com"), **fields)


async def test_what_the_table_shows() -> None:
    """State, incarnation, rate, age, next attempt and the last error, cleaned of what could move the cursor."""
    feed = stats(state=LinkState.BACKOFF, incarnation=3, last_message_time=WALL - 4.0, next_attempt=WALL + 200.0)
    feed.last_error = "reset: \x1b[2J by peer"
    reader, writer = os.pipe()
    sink = Sink(writer)
    table = LiveTable([feed], sink, title="T", wall=lambda: WALL * 10**9, width=120)
    async with trio.open_nursery() as nursery:
        await nursery.start(sink.run)
        table.picture(trio.current_time())
        await trio.sleep(0.2)
        feed.messages = 30
        async with trio.open_nursery() as drawing:
            await drawing.start(table.run)
            table.print(b"a log line\n")
            await trio.sleep(0.1)
            drawing.cancel_scope.cancel("seen")
        assert await sink.flush(1)
        nursery.cancel_scope.cancel("seen")
    drawn = os.read(reader, 100_000).decode()
    os.close(reader)
    os.close(writer)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert re.search(r"up +│ backoff +│ +3 │ +1?\d\d\.\d │ +4\.0 s ago │ +in 3 min 20 s │ reset:  \[2J by peer", text)
    assert "a log line" in text
    assert "\x1b[2J" not in drawn


def test_where_a_table_can_be_drawn() -> None:
    """A terminal that knows how to move its cursor, and nothing else."""
    assert is_terminal({"TERM": "xterm"}, True)
    assert not is_terminal({"TERM": "dumb"}, True)
    assert not is_terminal({}, True)
    assert not is_terminal({"TERM": "xterm"}, False)
