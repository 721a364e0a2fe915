"""The status page and the control socket: for this machine, within limits, and never in the way of an end."""

import json
import os
import re
import socket
import stat
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.chaos import UpbitVenue, simulated_exchange
from actors.exchanges import UPBIT
from actors.notifier import Console, Route
from supervisors import FeedPlan, Feeds, open_feeds
from supervisors.standalone import control as control_module
from supervisors.standalone import report
from supervisors.standalone.alerts import Alerts
from supervisors.standalone.config import Config, Web
from supervisors.standalone.control import MAX_CALLERS, Control, NotRunning, ask, state_dir
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.status import SEND_TIMEOUT, Page, Status
from tests.script import TLS, network


@asynccontextmanager
async def page(status: Status) -> AsyncGenerator[Page]:
    """A page that is served beside the body."""
    made = Page(Web(port=0))
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run, status)
        yield made
        nursery.cancel_scope.cancel("the test is over")


@asynccontextmanager
async def live_feed(**options: Any) -> AsyncGenerator[tuple[Feeds, Status]]:
    """One live feed of a simulated exchange, and what is said of it."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        profile = attrs.evolve(UPBIT, ws_url=exchange.url)
        async with open_feeds(
            Config(feeds=[], alerts=Alerts(routes=[lambda out: Route(Console(out))])), network=network()
        ) as feeds:
            feed = feeds.open(profile, trade="KRW-BTC", name="up")
            await feed.live(5)
            await feed.next_batch()
            yield feeds, Status(feeds, **options)


async def asked(port: int, request: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what a raw request is answered."""
    with trio.fail_after(5):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(request.replace("\n", "\r\n").encode())
            answer = b""
            async for data in stream:
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def get(path: str, host: str = "localhost") -> str:
    """A GET that ends its connection."""
    return f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n"


async def test_the_four_answers() -> None:
    """Alive, ready, metrics and the document; ready no longer while we stop, alive still."""
    async with live_feed(demo=True) as (feeds, status), page(status) as served:
        feeds.metrics.demo = True
        assert (await asked(served.port, get("/livez")))[0::2] == (200, b"alive\n")
        assert (await asked(served.port, get("/readyz")))[0::2] == (200, b"ready\n")
        code, headers, body = await asked(served.port, get("/metrics"))
        assert (code, headers["content-type"][:10]) == (200, "text/plain")
        assert b'feedwarden_feed_state{feed="up",state="live"} 1.0' in body
        assert b"feedwarden_demo 1.0" in body
        code, headers, body = await asked(served.port, get("/status.json", f"127.0.0.1:{served.port}"))
        document = json.loads(body)
        assert (code, headers["content-type"]) == (200, "application/json")
        assert headers["cache-control"] == "no-store"
        assert (document["live"], document["demo"], document["pid"]) == (True, True, os.getpid())
        (feed,) = document["feeds"]
        assert (feed["feed"], feed["state"], feed["session"], feed["incarnation"]) == ("up", "live", 1, 1)
        assert feed["messages"] > 0
        assert feed["last_message_age_seconds"] < 5
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", feed["connected_since"])
        assert document["notifications_queued"] == {"console": 0} or document["notifications_queued"]
        assert "wss://" not in body.decode()
        text = report.status(document)
        assert "DEMO: simulated exchanges, no real data" in text
        assert re.search(r"up +live +1 +\d+ +\d\.\d s ago", text)
        status.stopping = True
        assert (await asked(served.port, get("/readyz")))[0] == 503
        assert (await asked(served.port, get("/livez")))[0] == 200
    assert served.url.startswith("http://127.0.0.1:")


async def test_durations_know_nothing_of_the_wall_clock() -> None:
    """Set back by an hour, it changes neither how long we run nor how old the last message is."""
    ahead = time.time_ns() + 3_600 * 10**9
    async with live_feed(wall=lambda: ahead) as (_, status):
        document = status.document()
        assert 0 <= document["uptime_seconds"] < 5
        assert 0 <= document["feeds"][0]["last_message_age_seconds"] < 5


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        (get("/"), 404),
        (get("/livez", "evil.example"), 421),
        (get("/livez", "127.0.0.1.evil.example"), 421),
        (get("/livez", "localhost:evil"), 421),
        (get("/livez", "[::1]:80"), 200),
        (get("/livez", "LOCALHOST"), 200),
        ("GET /livez HTTP/1.0\n\n", 421),
        ("POST /livez HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: 0\n\n", 405),
        ("DELETE /status.json HTTP/1.1\nHost: localhost\nConnection: close\n\n", 405),
        (f"GET /livez HTTP/1.1\nHost: localhost\nX: {'x' * 9000}", 431),
    ],
)
async def test_only_this_machine_only_get_and_not_too_much(request_text: str, code: int) -> None:
    """A foreign Host is refused (DNS rebinding), so is every method that could change something, and a huge header."""
    async with open_feeds() as feeds, page(Status(feeds)) as served:
        assert (await asked(served.port, request_text))[0] == code


async def test_a_websocket_is_refused() -> None:
    """There is nothing to talk about."""
    upgrade = (
        "GET /livez HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: websocket\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\n"
    )
    async with open_feeds() as feeds, page(Status(feeds)) as served:
        assert (await asked(served.port, upgrade))[0] == 403


async def test_a_reader_that_never_reads_does_not_keep_the_page_from_ending() -> None:
    """A client that asks for much and never reads: the page still ends within its send timeout."""
    async with open_feeds() as feeds:
        status = Status(feeds)
        document = {"huge": "x" * 30_000_000}
        status.document = lambda: document
        async with page(status) as served:
            client = await trio.open_tcp_stream("127.0.0.1", served.port)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await client.send_all(get("/status.json").replace("\n", "\r\n").encode())
            await trio.sleep(0.3)
            began = trio.current_time()
        assert trio.current_time() - began < SEND_TIMEOUT + 1.5
        await client.aclose()


async def test_a_port_that_is_taken_is_told_in_words() -> None:
    """A port of somebody else's is bad input, by its name in the configuration."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match=r"^web\.port: 127\.0\.0\.1:\d+ cannot be had: Address already in use$"):
            Page(Web(port=taken.getsockname()[1]))


# -- the control socket


@asynccontextmanager
async def answering(folder: Path, **answers: Callable[[], dict[str, Any]]) -> AsyncGenerator[Control]:
    """A process that answers."""
    async with Control(folder) as control, trio.open_nursery() as nursery:
        await nursery.start(control.run, answers or {"status": lambda: {"live": True}})
        yield control
        nursery.cancel_scope.cancel("the test is over")


async def raw(path: Path, question: bytes) -> bytes:
    """What the socket answers to these bytes."""
    with trio.fail_after(8):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(question)
            await stream.send_eof()
            return b"".join([data async for data in stream])


async def test_one_line_each_way(tmp_path: Path) -> None:
    """A question is answered, a bad one told how to ask, and the socket is its user's alone."""
    folder = tmp_path / "a" / "state"
    async with answering(folder) as control:
        assert await ask(folder, "status") == {"live": True}
        assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for bad in (b"\n", b"x\n", b'{"command": "stop"}\n', b"[]\n", b"", b"[" * 4000 + b"\n", b'{"command":[]}\n'):
            assert json.loads(await raw(control.path, bad)) == {
                "error": 'ask like {"command": "status"}; there are: status'
            }
        assert b"error" in await raw(control.path, b'"' + b"x" * 10_000)
    assert not control.path.exists()


async def test_a_second_process_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    """One process a state directory; what a dead one left is no hindrance, what is no socket is left alone."""
    async with answering(tmp_path):
        with pytest.raises(BadInput, match=f"another feedwarden runs with the state directory {tmp_path}; choose"):
            async with Control(tmp_path):
                raise AssertionError("entered")
        assert await ask(tmp_path, "status") == {"live": True}
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NotRunning, match=f"no feedwarden runs with the state directory {tmp_path}"):
        await ask(tmp_path, "status")
    async with answering(tmp_path):
        assert await ask(tmp_path, "status") == {"live": True}
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(BadInput, match="is there and no socket"):
        async with Control(tmp_path):
            raise AssertionError("entered")
    assert (tmp_path / "control.sock").read_text() == "mine"


async def test_a_path_longer_than_a_sockets_may_be(tmp_path: Path) -> None:
    """A state directory deep down works like any: the limit of 107 bytes is the kernel's, not the user's."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    async with answering(deep):
        assert (deep / "control.sock").stat().st_mode & 0o777 == 0o600
        assert await ask(deep, "status") == {"live": True}
    with pytest.raises(NotRunning, match="no feedwarden runs"):
        await ask(deep, "status")
    with pytest.raises(NotRunning, match="no feedwarden runs"):
        await ask(deep / "nowhere", "status")


async def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    """A name that no file system takes, and one that is a file, are told with the remedy."""
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / ("x" * 300), "File name too long"), (tmp_path / "file", "File exists")):
        with pytest.raises(BadInput, match=f"{why}.*choose another one with --state-dir"):
            async with Control(folder):
                raise AssertionError("entered")


async def test_a_caller_that_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers have a deadline and a number; who is one too many is hung up on."""
    monkeypatch.setattr(control_module, "DEADLINE", 0.5)
    async with answering(tmp_path) as control:
        mute = [await trio.open_unix_socket(control.path) for _ in range(MAX_CALLERS)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        with suppress(trio.BrokenResourceError):
            assert await raw(control.path, b'{"command":"status"}\n') == b""
        for stream in mute:
            await stream.receive_some()
            await stream.aclose()
        assert await ask(tmp_path, "status") == {"live": True}


async def test_something_else_that_listens_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is no JSON, or none at all, is told as what it is."""
    monkeypatch.setattr(control_module, "DEADLINE", 0.3)
    answers = ((b"hello\n", "is no feedwarden"), (b"", "is no feedwarden"), (None, "does not answer"))
    for answer, why in answers:
        path = tmp_path / "control.sock"
        server = trio.socket.socket(trio.socket.AF_UNIX)
        await server.bind(str(path))
        server.listen()
        async with trio.open_nursery() as nursery:

            async def serve(answer: bytes | None = answer, server: trio.socket.SocketType = server) -> None:
                client, _ = await server.accept()
                with client:
                    await client.recv(100)
                    if answer is None:
                        await trio.sleep(1)
                    else:
                        await client.send(answer)

            nursery.start_soon(serve)
            with pytest.raises(NotRunning, match=why):
                await ask(tmp_path, "status")
        server.close()
        path.unlink()


def test_which_state_directory() -> None:
    """The option, else the configuration, else systemd's (the first of several), else the user's own."""
    option, configured = Path("/o"), Path("/c")
    systemd = {"STATE_DIRECTORY": "/s:/t"}
    assert state_dir(option, configured, systemd) == option
    assert state_dir(None, configured, systemd) == configured
    assert state_dir(None, None, systemd) == Path("/s")
    assert state_dir(None, None, {}) == Path.home() / ".local/state/feedwarden"


def test_a_plan_refuses_a_bad_name() -> None:
    """What is no name of a feed is refused where the plan is made."""
    with pytest.raises(ValueError, match="up to 64 letters"):
        FeedPlan(name="a b", exchange=UPBIT)
    with pytest.raises(ValueError, match="a supervisor is"):
        FeedPlan(name="root", exchange=UPBIT)
