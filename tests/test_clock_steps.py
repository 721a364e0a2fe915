"""The wall clock is set by an hour while the script runs, with real sockets, TLS, alerts and a spool."""

import json
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import SimulatedExchange, UpbitVenue, simulated_exchange
from tests.script import COMMAND, TLS, read_until, rest, running, script
from tests.test_run import config_for
from tests.test_webhook import Receiver, receiver

pytestmark = pytest.mark.slow
KEY = "0123456789abcdef0123456789abcdef"
ALERTS = """
[notify]
zone = "UTC"
severity = { reset = "page" }
[notify.webhook.hook]
url = "${env:HOOK}"
key = "${env:KEY}"
language = "en"
"""


def letters(server: Receiver) -> list[dict[str, Any]]:
    """What has arrived at the webhook, repetitions included."""
    return [json.loads(body) for _, _, body in server.got]


async def arrived(server: Receiver, words: str, seconds: float = 20) -> dict[str, Any]:
    """The first letter with these words in it, once it has come."""
    with trio.fail_after(seconds):
        while not (found := [letter for letter in letters(server) if words in letter["text"]]):
            await server.came.wait()
    return found[0]


async def status(it: "Stepped") -> dict[str, Any]:
    """What the running process says of itself."""
    return json.loads((await script("status", "--json", *it.place, home=it.home)).out)


@attrs.frozen
class Stepped:
    """A script whose clock can be set, with what it talks to."""

    home: Path
    exchange: SimulatedExchange
    server: Receiver

    @property
    def place(self) -> tuple[str, ...]:
        """Where its state is."""
        return ("--state-dir", str(self.home / "s"))

    @asynccontextmanager
    async def running(self, *command: str) -> AsyncGenerator[trio.Process]:
        """It runs, is live, and has said so, until the body ends; then it stops, in order."""
        env = {"HOOK": self.server.url.reveal(), "KEY": KEY}
        arguments = ("run", "--config", str(self.home / "feedwarden.toml"), *self.place)
        async with running(*arguments, home=self.home, env=env, command=command or COMMAND) as child:
            await read_until(child.stderr, b'"event":"live"')
            yield child
            child.send_signal(signal.SIGTERM)
            assert b"Traceback" not in await rest(child.stderr)
            assert await child.wait() == 0


@asynccontextmanager
async def scene(home: Path) -> AsyncGenerator[Stepped]:
    """An exchange, a webhook, and a configuration for both."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange, receiver() as server:
        config_for(exchange, home)
        file = home / "feedwarden.toml"
        file.write_text(file.read_text(encoding="utf-8") + ALERTS, encoding="utf-8")
        yield Stepped(home, exchange, server)


def stepping(by: int) -> tuple[str, ...]:
    """The script under a clock that each SIGUSR1 puts forward by so many seconds."""
    return (sys.executable, "-m", "tests.stepped", str(by))


@pytest.mark.parametrize("by", [3600, -3600])
async def test_the_wall_clock_is_set_amid_an_outage(by: int, tmp_path: Path) -> None:
    """Durations are what they were, moments are the new ones, and no alert is early, late or lost."""
    async with scene(tmp_path) as it, it.running(*stepping(by)) as child:
        # seven seconds, and a channel that asks for two of them before it takes the page
        await arrived(it.server, "feeds are live")
        it.server.script.append((503, [("Retry-After", "2")]))
        it.exchange.refuse(seconds=7)
        it.exchange.reset()
        began = trio.current_time()
        await read_until(child.stderr, b'"event":"down"')
        child.send_signal(signal.SIGUSR1)
        document = await status(it)
        assert 0 < document["uptime_seconds"] < 60
        assert 0 < document["feeds"][0]["last_message_age_seconds"] < 10
        page = await arrived(it.server, "connection lost")
        assert 5 <= trio.current_time() - began < 10
        assert page["made"] == pytest.approx(time.time() + by, abs=5)
        said = await read_until(child.stderr, b'"event":"recovered"', b'"event":"live"')
        recovered = await arrived(it.server, "recovered")
        assert trio.current_time() - began < 30
        assert 7 <= float(re.findall(r"interrupted: ([\d.]+) s", recovered["text"])[0]) < 20
        assert [letter["id"] for letter in letters(it.server)].count(page["id"]) == 2
        [gap] = re.findall(rb'"gap_seconds":([\d.]+)', said)
        assert 7 <= float(gap) < 20


def to_the_second(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(microsecond=0)


@pytest.mark.parametrize("by", [3600, -3600])
async def test_a_mute_lasts_until_the_moment_it_has_told(by: int, tmp_path: Path) -> None:
    """Also where the clock reaches it sooner or later; the next process, by the old clock again, finds all in order."""
    async with scene(tmp_path) as it:
        async with it.running(*stepping(by)) as child:
            said = (await script("mute", "up", "30m", *it.place, home=tmp_path)).out.decode()
            [told] = [datetime.fromisoformat(found) for found in re.findall(r"until ([\d-]+ [\d:]+) UTC", said)]
            told = told.replace(tzinfo=UTC)
            assert told.timestamp() == pytest.approx(time.time() + 1800, abs=5)
            child.send_signal(signal.SIGUSR1)
            it.exchange.reset()
            await read_until(child.stderr, b'"event":"down"', b'"event":"live"')
            if by > 0:
                await arrived(it.server, "no longer muted")
            until = [to_the_second(window["until"]) for window in (await status(it))["muted"]]
            assert until == ([] if by > 0 else [told])
        before = len(letters(it.server))
        async with it.running():
            with trio.fail_after(10):
                while len(letters(it.server)) == before:
                    await it.server.came.wait()
            until = [to_the_second(window["until"]) for window in (await status(it))["muted"]]
            assert until == ([] if by > 0 else [told])
        [*_, first, last] = [letter["text"].partition("\n")[0] for letter in letters(it.server)]
        assert (first, last) == ("1 of 1 feeds are live", "stopped watching 1 feeds")
