"""`feedwarden chaos`, and the fixtures that pytest finds by itself."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio_websocket import open_websocket_url

from actors.chaos import SimulatedVenue, What, simulated_exchange
from actors.chaos.invariants import names
from actors.chaos.plans import Plan, Step, all_kinds, draw_plan
from actors.chaos.proxy import KINDS
from supervisors.simulation import simulate
from supervisors.standalone.chaos import RATE, judged
from supervisors.standalone.cli import main
from supervisors.standalone.playing import server_of
from tests.planted import BUGS
from tests.script import read_until, rest, running

ROOT = Path(__file__).parent.parent


def test_it_shows_what_was_survived(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of two feeds prints the faults, the states and the invariants, and exits 0."""
    assert main(["chaos", "--seed", "7", "--hours", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "zero violations" in printed
    kinds = {f"{step.target.partition(':')[0]}.{step.kind}" for step in draw_plan(7, rate=RATE).steps}
    for kind in kinds:
        assert re.search(rf"^  {re.escape(kind)} +[1-9]\d*$", printed, re.MULTILINE)
    assert f"  none of: {', '.join(sorted(all_kinds() - kinds))}\n" in printed
    assert re.search(r"^  I5 +[1-9]\d*  every message is delivered once", printed, re.MULTILINE)
    assert re.search(r"^  I8, I20, I26 +1  ", printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_day_has_every_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """The short form of `make chaos`: 24 feed-hours, every kind injected, every invariant judged, none broken."""
    assert main(["chaos", "--seed", "4", "--hours", "12"]) == 0
    printed = capsys.readouterr().out
    assert "zero violations" in printed
    assert re.search(r"feed-hours: \d+\.\d, \d+\.\d+ of them a CPU second", printed)
    assert "none of" not in printed
    for kind in all_kinds():
        assert re.search(rf"^  {re.escape(kind)} +[1-9]\d*$", printed, re.MULTILINE), kind
    for name in names():
        assert re.search(rf"^  {name} +[1-9]\d*  \w", printed, re.MULTILINE), name


def test_runs_are_the_same_on_all_processors() -> None:
    """Each is the run that it would be alone, in the order of the seeds, whoever has made it."""
    plans = [draw_plan(seed, seconds=120) for seed in range(5)]
    assert [outcome.digest for outcome, _ in judged(iter(plans))] == [simulate(plan).digest for plan in plans]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupt_shows_what_there_is(tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C or SIGTERM amid a year's runs: the table; the pipe has an end only when no worker is left."""
    async with running("chaos", "--hours", "4380", home=tmp_path) as process:
        told = await read_until(process.stderr, b"Ctrl-C")
        assert re.match(rb"runs: \d+, feed-hours: \d+, no violation so far", told)
        process.send_signal(number)
        printed = (await rest(process.stdout)).decode()
        assert await process.wait() == code
        assert await rest(process.stderr) == b""
    assert re.match(r"runs: \d+, ", printed)
    assert "zero violations until then" in printed


@pytest.mark.slow
async def test_no_worker_outlives_the_command(tmp_path: Path) -> None:
    """Not even where it is killed."""
    async with running("chaos", "--hours", "4380", home=tmp_path) as process:
        await read_until(process.stderr, b"Ctrl-C")
        process.kill()
        assert b"Traceback" not in await rest(process.stderr)


def test_a_failure_names_seed_plan_and_last_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bug in the product it exits 1, and the plan that it prints shows the bug again."""
    BUGS["I23"](monkeypatch)
    steps = (Step(10.0, "net:feed-1", "slicer", {"bytes": 3, "seconds": 5.0}), Step(20.0, "net:feed-1", "reset"))
    file = tmp_path / "plan.json"
    file.write_text(Plan(seed=3, seconds=120, feeds=1, steps=steps).json(), encoding="utf-8")
    assert main(["chaos", "--plan", str(file)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED: seed 3: I23" in printed
    assert "I23 is: a secret that stands in every URL stands in nothing that is told" in printed
    smallest = Plan.from_json("{" + printed.partition("--plan:\n{")[2].partition("\nthe last events:")[0])
    assert [step.kind for step in smallest.steps] == ["reset"]
    assert smallest.seconds == 80
    assert "'end'" in printed.partition("the last events:")[2]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_failure_of_two_runs_is_shrunk_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only a comparison shows is looked for by comparing: of four faults the clock's step and a reset are left."""
    BUGS["I20"](monkeypatch)
    steps = (
        Step(10.0, "net:feed-1", "slicer", {"bytes": 3, "seconds": 5.0}),
        Step(20.0, "clock", "step", {"by": 2.0}),
        Step(30.0, "net:feed-1", "reset"),
        Step(40.0, "alerts", "fail", {"times": 1}),
    )
    file = tmp_path / "plan.json"
    file.write_text(Plan(seed=3, seconds=120, feeds=1, steps=steps).json(), encoding="utf-8")
    assert main(["chaos", "--plan", str(file)]) == 1
    printed = capsys.readouterr().out
    assert "I20 is: the same plan is the same run" in printed
    smallest = Plan.from_json("{" + printed.partition("--plan:\n{")[2].partition("\nthe last events:")[0])
    assert [step.kind for step in smallest.steps] == ["step", "reset"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--plan", "nowhere.json"], "--plan nowhere.json: No such file or directory"),
        (["--plan", "nowhere.json", "--hours", "2"], "a plan says itself how long it is"),
        (["--hours", "0"], "--hours must be more than 0"),
        (["--feeds", "-1"], "--feeds must be more than 0"),
        (["--for", "9"], "--for goes with --url"),
        (["--url", "ws://127.0.0.1:1/", "--hours", "1"], "--hours and --feeds are for simulations"),
        (["--url", "ws://127.0.0.1:1/", "--for", "0"], "--for must be more than 0"),
        (["--url", "wss://api.upbit.com/websocket/v1"], "api.upbit.com may be another's"),
        (["--url", "ws://10.0.0.1:80/"], "must be on this machine"),
        (["--url", "http://127.0.0.1/"], "must begin with ws://"),
        (["--url", "ws://127.0.0.1:port/"], "is no URL"),
    ],
)
def test_bad_input_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert main(["chaos", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_it_tells_ports_by_the_scheme() -> None:
    """A URL without a port has that of its scheme."""
    urls = ("ws://localhost/", "wss://127.0.0.1/x", "ws://[::1]:9000")
    assert [server_of(url) for url in urls] == [("localhost", 80), ("127.0.0.1", 443), ("::1", 9000)]


async def test_it_stands_between_a_client_and_a_server(tmp_path: Path) -> None:
    """The port is printed, a client reaches the server through it, every kind is played, and it ends by itself."""
    async with (
        simulated_exchange(SimulatedVenue(), rate=20) as exchange,
        running("chaos", "--url", exchange.url, "--for", "3", home=tmp_path) as process,
    ):
        told = await read_until(process.stdout, b"by itself in 3 s")
        port = int(re.findall(rb"connect to 127\.0\.0\.1:(\d+) instead of", told)[0])
        with trio.fail_after(5):
            async with open_websocket_url(f"ws://127.0.0.1:{port}/") as socket:
                await socket.send_message('{"op":"subscribe","channel":"trade","codes":["BTC-USD"]}')
        printed = (await rest(process.stdout)).decode()
        assert await process.wait() == 0
    assert exchange.ledger.counts[What.OPENED] == 1
    for kind in KINDS:
        assert re.search(rf"^  {kind} +[1-9]\d*$", printed, re.MULTILINE)
    assert "1 connections were made, 0 of them" in printed


async def test_a_signal_ends_it(tmp_path: Path) -> None:
    """Ctrl-C ends it at once, with the table."""
    async with running("chaos", "--url", "ws://127.0.0.1:9/", home=tmp_path) as process:
        await read_until(process.stdout, b"by itself in 60 s")
        process.send_signal(signal.SIGINT)
        said = await rest(process.stdout)
        assert b"0 connections were made" in said
        assert b"nobody felt any of it" in said
        assert await process.wait() == 0


def test_the_example_finds_the_bug_in_the_naive_consumer(tmp_path: Path) -> None:
    """The example of docs/chaos.md, run by pytest as its reader would: one test fails, the other passes."""
    page = (ROOT / "docs" / "chaos.md").read_text(encoding="utf-8")
    (tmp_path / "test_quotes.py").write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "actors.chaos.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED" in done.stdout
    assert "test_naive" in done.stdout


def test_a_plan_is_drawn_by_a_fixture(tmp_path: Path) -> None:
    """`fault_plan(seed)` is the plan of that seed."""
    (tmp_path / "test_plan.py").write_text(
        "from actors.chaos.plans import draw_plan\n"
        "def test_plan(fault_plan):\n    assert fault_plan(3, seconds=300) == draw_plan(3, seconds=300)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "actors.chaos.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
