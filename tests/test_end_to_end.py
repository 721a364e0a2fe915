"""The script as users meet it: real processes, real TLS, real time. What the simulated server's ledger says is true."""

import base64
import json
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import (
    BinanceVenue,
    BithumbVenue,
    CapturePlayer,
    Ledger,
    Role,
    Shape,
    SimulatedExchange,
    UpbitVenue,
    What,
    simulated_exchange,
)
from actors.exchange import Exchange, Kind
from actors.exchanges import BINANCE, GENERIC, UPBIT
from tests.bot_api import TOKEN, BotApi, bot_api
from tests.captures import CAPTURES, server_frames
from tests.script import COMMAND, TLS, Outcome, ca_file, environment, script

pytestmark = pytest.mark.slow

CAPTURED: list[tuple[str, Exchange, list[str]]] = [
    ("upbit", UPBIT, ["trade", "KRW-LAMB", "book", "KRW-LAMB"]),
    ("binance", BINANCE, ["depth@100ms", "nknusdt"]),
    *((name, GENERIC, ["--send", "{}"]) for name in ("coinbase", "deribit", "htx", "kraken_v1", "okx")),
]


def payload(line: dict[str, Any]) -> str | bytes:
    """The frame that a message line was."""
    if "data_b64" in line:
        return base64.b64decode(line["data_b64"])
    return line["data"].encode() if line.get("binary") else line["data"]


def nanoseconds(text: str) -> int:
    """A time of the output as nanoseconds UTC."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


@pytest.mark.timeout(120)
@pytest.mark.parametrize("speed", [1.0, None], ids=["original timing", "flat out"])
async def test_every_capture_is_delivered_byte_for_byte(speed: float | None, tmp_path: Path) -> None:
    """All seven sessions at once, over TLS: every message of each, in order, unchanged; and nothing else."""

    async def play(name: str, exchange: Exchange, words: list[str]) -> None:
        session = exchange.session()
        wanted = [frame for frame in server_frames(name) if session.classify(frame).kind is Kind.DATA]
        player = CapturePlayer(CAPTURES / f"{name}.ndjson", exchange=exchange, speed=speed, tls=TLS)
        async with player.serving():
            more = ["--url", player.url, "--ca-file", ca, "--count", str(len(wanted)), "--for", "60", "--require"]
            done = await script("watch", exchange.code, *words, *more, home=tmp_path)
        assert done.code == 0, (name, done.err)
        assert [payload(line) for line in done.lines] == wanted, name
        assert [line["n"] for line in done.lines] == list(range(1, len(wanted) + 1))
        assert {line["type"] for line in done.lines} == {"message"}
        assert (done.summary["gaps"], done.summary["reconnects"], done.summary["overflowed"]) == (0, 0, 0)

    ca = ca_file(tmp_path)
    async with trio.open_nursery() as nursery:
        for captured in CAPTURED:
            nursery.start_soon(play, *captured)


@attrs.frozen
class Fault:
    """What happens to the server, and what must come of it."""

    act: Callable[[SimulatedExchange], None]
    reason: str | None
    at: float = 3.0
    heal: float = 60.0
    quiet: bool = False


def _refuse(sim: SimulatedExchange) -> None:
    sim.refuse(10)
    sim.cut()


FAULTS = {
    "cut": Fault(lambda sim: sim.cut(), "eof"),
    "reset": Fault(lambda sim: sim.reset(), "reset"),
    "silent from the first second": Fault(lambda sim: sim.open_silent(), None, at=0, heal=4.0),
    "silence, pongs stop": Fault(lambda sim: sim.silence(pongs=False), "ping_timeout"),
    "silence, pongs go on": Fault(lambda sim: sim.silence(pongs=True), "message_timeout"),
    "refused for ten seconds": Fault(_refuse, "eof"),
    "a quiet code, its probe answered": Fault(lambda sim: None, "", quiet=True),
}
VENUES: dict[str, tuple[Any, str, str]] = {
    "upbit": (UpbitVenue(), "KRW-BTC", "[업비트]"),
    "bithumb": (BithumbVenue(), "KRW-BTC", "[빗썸]"),
    "binance": (BinanceVenue(), "BTCUSDT", "[바이낸스]"),
}
CLOCKS = "{ ping_interval = 2, ping_timeout = 1.5, link_timeout = 6, message_timeout = 8, max_delay = 3 }"

CONFIG = """
state_dir = "{home}/state-{name}"
[messages]
stdout = true
[feed.{name}]
on = "{exchange}"
url = "{url}"
ca_file = "{ca}"
trade = ["{code}"]
set = {clocks}
[notify.telegram.ops]
token = "${{env:BOT_TOKEN}}"
chat_id = {chat}
base_url = "{api}"
ca_file = "{bot_ca}"
style = "guide"
"""


def check(lines: list[dict[str, Any]], ledger: Ledger) -> None:
    """What arrived is what was sent, session by session, once and in order; what did not lies in a gap.

    The ledger has the server's times and the gaps have ours, so a gap may begin later than the first loss by as much as
    this process lagged behind the server, which is measured on the messages that did arrive.
    """
    gaps = [(nanoseconds(line["from"]), nanoseconds(line["to"])) for line in lines if line["type"] == "gap"]
    got: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        if line["type"] == "message":
            got.setdefault(line["session"], []).append(line)
    opened = dict(enumerate((entry.connection for entry in ledger if entry.what is What.OPENED), 1))
    delivered = {opened[session]: messages for session, messages in got.items()}
    last = {connection: messages[-1] for connection, messages in delivered.items()}
    lost: list[tuple[int, int]] = []
    lag = 0
    for entry in ledger:
        if entry.role is not Role.DATA:
            continue
        messages = delivered.get(entry.connection, [])
        if entry.what in (What.SENT, What.DOUBTFUL) and messages and payload(messages[0]) == entry.data:
            lag = max(lag, nanoseconds(messages.pop(0)["received"]) - entry.wall)
        elif entry.number:
            lost.append((entry.wall, len(messages)))
    assert not any(delivered.values()), "delivered, but not as sent"
    assert not [at for at, to_come in lost if to_come], "lost in the middle of a session"
    end = max((nanoseconds(message["received"]) for message in last.values()), default=0)
    slack = lag + 5_000_000  # a frame is noted a moment after it was handed over
    outside = [at for at, _ in lost if at <= end and not any(a - slack <= at <= b + slack for a, b in gaps)]
    assert not outside, f"lost outside of every gap, at a lag of {lag / 1e9:.3f} s"


async def play(exchange: str, name: str, api: BotApi, chat: int, home: Path) -> None:
    """One feed under ``run``, one fault, the feed's own output, and the alerts in its own chat."""
    venue, code, title = VENUES[exchange]
    fault = FAULTS[name]
    options: dict[str, Any] = {"codes": (), "quiet": (code,)} if fault.quiet else {"codes": (code,), "rate": 5.0}
    label = f"f{chat}"
    async with simulated_exchange(venue, tls=TLS, **options) as sim:
        if fault.at == 0:
            fault.act(sim)
        config = home / f"{label}.toml"
        config.write_text(
            CONFIG.format(
                home=home,
                name=label,
                exchange=exchange,
                url=sim.url,
                ca=home / "ca.pem",
                code=code,
                clocks=CLOCKS,
                chat=chat,
                api=api.url,
                bot_ca=home / "bot.pem",
            ),
            encoding="utf-8",
        )
        arguments = ["run", "--config", str(config), "--for", "30"]
        results: list[Outcome] = []

        async def run() -> None:
            results.append(await script(*arguments, home=home, env={"BOT_TOKEN": TOKEN}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            with trio.fail_after(25):
                while not sim.connections:  # noqa: ASYNC110 - a process that starts, seen from outside
                    await trio.sleep(0.05)
            if fault.at:
                await trio.sleep(fault.at)
                fault.act(sim)
            else:
                await trio.sleep(fault.heal)
                sim.cut()  # a silent session that found its voice again would have lost what no client can know of
                sim.resume()
    (done,) = results
    assert done.code == 0, done.err
    judge(done, fault, sim, [call.text for call in api.ledger if call.fields.get("chat_id") == chat], title)


def judge(done: Outcome, fault: Fault, sim: SimulatedExchange, alerts: list[str], title: str) -> None:
    """Exactly one gap line an interruption, none without one, and the alerts in Korean."""
    gaps = done.of("gap")
    check(done.lines, sim.ledger)
    first_lines = [alert.partition("\n")[0] for alert in alerts]
    assert first_lines.count(f"{title} 웹소켓 연결 성공") >= 1, alerts
    assert TOKEN.encode() not in done.out + done.err
    if fault.reason == "":
        assert not gaps
        assert not any("재연결" in line for line in first_lines)
        return
    assert len(gaps) == 1, gaps
    assert fault.reason is None or gaps[0]["reason"] == fault.reason
    assert gaps[0]["to"] is not None
    if gaps[0]["reason"] == "message_timeout" and title == "[바이낸스]":
        # a second socket has shown it, and carries on in its place: nothing is dialled again
        assert any("나머지 1개로 계속" in alert for alert in alerts), alerts
        return
    assert f"{title} 웹소켓 재연결 시도" in first_lines
    assert done.of("message")[-1]["session"] >= 2
    if fault.reason == "message_timeout":
        assert f"{title} 웹소켓 메시지 타임아웃" in first_lines


@pytest.mark.timeout(150)
@pytest.mark.parametrize("exchange", VENUES)
async def test_every_fault_is_survived_told_and_bounded(exchange: str, tmp_path: Path) -> None:
    """Seven faults at once, one process each: each feed comes back, its loss lies in one gap, its chat knows."""
    ca_file(tmp_path)
    async with bot_api() as api:
        (tmp_path / "bot.pem").write_bytes(api.ca_pem)
        async with trio.open_nursery() as nursery:
            for n, name in enumerate(FAULTS, 1):
                if exchange == "binance" and FAULTS[name].quiet:
                    continue  # nothing there answers a probe
                nursery.start_soon(play, exchange, name, api, n, tmp_path)


@pytest.mark.timeout(200)
async def test_a_reader_that_sleeps_for_two_minutes_costs_nothing(tmp_path: Path) -> None:
    """``watch | (sleep 120; cat)`` at 100 messages a second under Upbit's rules: no reconnect, pings in time."""
    async with simulated_exchange(UpbitVenue(), codes=("KRW-BTC",), rate=100, tls=TLS) as sim:
        arguments = [
            "watch",
            "upbit",
            "trade",
            "KRW-BTC",
            "--url",
            sim.url,
            "--ca-file",
            ca_file(tmp_path),
            "--for",
            "125",
        ]
        command = f"{shlex.join([*COMMAND, *arguments])} | (sleep 120; cat)"
        done = await trio.run_process(
            ["/bin/sh", "-c", command],
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(tmp_path),
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
        assert outcome.summary["reconnects"] == outcome.summary["gaps"] == outcome.summary["overflowed"] == 0
        assert outcome.summary["messages"] == len(outcome.lines) > 11_000
        check(outcome.lines, sim.ledger)
        pings = [entry.at for entry in sim.ledger if entry.what is What.RECEIVED and entry.shape is Shape.PING]
        assert len(pings) >= 6
        assert all(19 <= later - earlier <= 21 for earlier, later in pairwise(pings))


@pytest.mark.timeout(400)
async def test_a_hundred_connectors_and_a_thousand_reconnects() -> None:
    """150 s: all live, none restarted, though 20 are quiet; then tasks and descriptors as before, memory flat."""
    command = [sys.executable, "-m", "tests.endurance", "150"]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["live"], found["restarted"]) == (100, 0)
    assert found["quiet_messages"] <= 2
    assert found["busy_messages"] > 200
    assert found["reconnects"] == 1000
    assert found["reasons"] == ["requested"]
    assert found["tasks"][1] <= found["tasks"][0]
    assert found["descriptors"][1] <= found["descriptors"][0]
    assert found["rss_after_1000"] - found["rss_after_500"] <= 2
