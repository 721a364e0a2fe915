"""Every secret is a canary in a whole run: it is searched for in every byte that the script writes, anywhere."""

import base64
import random
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import trio

from actors.chaos import UpbitVenue, simulated_exchange
from tests.bot_api import TOKEN, BotApi, Reply, bot_api, refusal
from tests.script import COMMAND, TLS, ca_file, environment, script

PIECE = 10
"""So many characters of a secret in a row are a leak; what the canaries have in common with harmless words is less."""

CANARIES = {
    "TOKEN": TOKEN,
    "PASSWORD": "pr0xy+Oanary/5w0rd=Qq",
    "HOOK_KEY": "h00k-Wey+Yanary/0918273645==",
    "HOOK_PATH": "in/hUrlXanaryPath42?auth=hUrlXanary%2BQuery77",
    "BEAT_PATH": "beatWanary5544332211",
    "FEED_KEY": "feedVanary99887766",
}

LOUD = (
    "import logging, runpy, sys; logging.basicConfig(level=logging.DEBUG); sys.argv[0] = 'feedwarden'; "
    "runpy.run_module('supervisors', run_name='__main__')"
)
"""Runs the script with every library's log at its loudest."""


def configuration(folder: Path, exchange: str, api: BotApi) -> str:
    """Every channel, each with its secrets: one that works on bad days, one behind a proxy, one that is refused."""
    (folder / "api.pem").write_bytes(api.ca_pem)
    return f"""
        [feed.up]
        on = "upbit"
        trade = ["KRW-BTC"]
        url = "{exchange}?key={CANARIES["FEED_KEY"]}"
        ca_file = "{ca_file(folder)}"
        [web]
        port = 0
        [notify]
        heartbeat = {{ every = "1s", url = "${{env:BEAT}}" }}
        severity = {{ eof = "page", http_forbidden = "page" }}
        [notify.telegram.ops]
        style = "guide"
        token = "${{env:TOKEN}}"
        chat_id = 5
        base_url = "{api.url}"
        ca_file = "{folder / "api.pem"}"
        [notify.telegram.proxied]
        style = "guide"
        token = "${{env:TOKEN}}"
        chat_id = 6
        proxy = "${{env:PROXY}}"
        [notify.webhook.hook]
        url = "${{env:HOOK}}"
        key = "${{env:HOOK_KEY}}"
        ca_file = "{folder / "api.pem"}"
        """


def leaks(text: bytes) -> set[str]:
    """The names of the secrets of which ten characters in a row, plain or encoded, are in a text."""
    found: set[str] = set()
    for name, whole in CANARIES.items():
        secret = whole.partition(":")[2] or whole  # a token's number names the bot and is no secret
        forms = {secret, quote(secret, safe=""), quote_plus(secret), base64.b64encode(secret.encode()).decode()}
        forms |= {base64.b64encode(f"user:{secret}".encode()).decode()}
        pieces = {form[at : at + PIECE] for form in forms for at in range(len(form) - PIECE + 1)}
        if any(piece.encode() in text for piece in pieces):
            found.add(name)
    return found


def test_the_search_finds_a_secret_that_is_split() -> None:
    """A part of it is enough, and so is an encoded one; words that look like it are none."""
    assert leaks(b"x" + TOKEN[20:35].encode()) == {"TOKEN"}
    assert leaks(quote(CANARIES["PASSWORD"], safe="").encode()) == {"PASSWORD"}
    assert leaks(base64.b64encode(f"user:{CANARIES['PASSWORD']}".encode())) == {"PASSWORD"}
    assert leaks(b"canary, proxy, Canary 5550001111 feed.up hook") == set()


class Written:
    """What a process has written so far."""

    def __init__(self) -> None:
        self.text = b""
        self.more = trio.Event()

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        """Read all of a stream."""
        async for data in stream:
            self.text += data
            self.more.set()
            self.more = trio.Event()

    async def until(self, pattern: bytes, count: int = 1) -> bytes:
        """Wait for so many matches; returns the last one's first group."""
        with trio.fail_after(60):
            while len(found := re.findall(pattern, self.text)) < count:
                await self.more.wait()
        return found[-1]


def page(url: str) -> bytes:
    """What a browser gets."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the script's own page, on loopback
            return answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.read()


@pytest.mark.slow
async def test_no_secret_is_in_any_byte_of_a_run(tmp_path: Path) -> None:
    """Output, log at every level, metrics, status pages, commands, spool and state; while everything goes wrong."""
    draws = random.Random(4)
    bad = [
        refusal(400, "Bad Request: can't parse entities"),
        refusal(502, "Bad Gateway"),
        Reply(500),
        Reply(reset=True),
    ]
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange, bot_api() as api:
        api.judge = lambda fields: draws.choice(bad) if draws.random() < 0.3 else Reply()
        file = tmp_path / "f.toml"
        file.write_text(configuration(tmp_path, exchange.url, api))
        secrets = {
            "TOKEN": TOKEN,
            "PROXY": f"http://user:{quote(CANARIES['PASSWORD'], safe='')}@127.0.0.1:9",
            "HOOK": f"{api.url}/{CANARIES['HOOK_PATH']}",
            "HOOK_KEY": CANARIES["HOOK_KEY"],
            "BEAT": f"{api.url}/{CANARIES['BEAT_PATH']}",
        }
        state = ("--state-dir", str(tmp_path / "state"))
        written, seen = Written(), b""
        async with trio.open_nursery() as nursery:
            child = await trio.lowlevel.open_process(
                [COMMAND[0], "-c", LOUD, "run", "--config", str(file), *state],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(tmp_path, **secrets),
            )
            for stream in (child.stdout, child.stderr):
                assert stream is not None
                nursery.start_soon(written.read, stream)
            try:
                home = (await written.until(rb'"page":"(http[^"]+)"')).decode()
                await written.until(rb'"event":"live"')
                exchange.cut()
                await written.until(rb'"event":"live"', 2)
                exchange.reject(403)
                exchange.cut()
                await written.until(rb"http_forbidden")
                for path in ("", "metrics", "readyz", "healthz"):
                    seen += await trio.to_thread.run_sync(page, home + path)
                for command in (["status"], ["mute", "up", "1h"], ["status", "--json"]):
                    done = await script(*command, *state, home=tmp_path, env=secrets)
                    seen += done.out + done.err
                done = await script("check", "--config", str(file), home=tmp_path, env=secrets)
                seen += done.out + done.err
                done = await script("notify", "test", "--config", str(file), home=tmp_path, env=secrets)
                seen += done.out + done.err
                await written.until(rb"hook")
                await written.until(rb"proxied")
            finally:
                child.terminate()
                with trio.move_on_after(20, shield=True):
                    await child.wait()
    for path in sorted((tmp_path / "state").rglob("*")):
        if path.is_file():
            seen += path.read_bytes()
    assert leaks(written.text) == set()
    assert leaks(seen) == set()
    assert b"DEBUG:" in written.text
    assert b"feedwarden_" in seen
    assert len(seen) > 10_000
    # the canaries did go where they belong
    assert api.delivered()
    assert any(CANARIES["HOOK_PATH"].partition("?")[0] in call.path for call in api.ledger)
