"""The JSON webhook, the heartbeat's URL, and apprise: signed, retried by the same rules, and tight-lipped."""

import hmac
import json
import logging
import re
import sys
import threading
import types
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec

import attrs
import h11
import pytest
import trio

from actors.errors import Way
from actors.events import ChannelTrouble, Event
from actors.notifier import Apprise, ChannelError, Letter, Ping, Secret, Severity, Undeliverable, Webhook, others
from actors.notifier.webhook import signature

KEY = Secret("canary-canary-canary-0123456789")
PATH = "/hooks/canary-path-0123456789?token=canary%2Fquery"
LETTER = Letter("0123456789", Severity.PAGE, "[업비트] 끊김", 1_700_000_000_500_000_000)


@attrs.define
class Receiver:
    """An HTTP server that keeps what it is sent, and answers by its script."""

    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list[tuple[str, dict[str, str], bytes]])
    script: deque[tuple[int, list[tuple[str, str]]]] = attrs.field(factory=deque[tuple[int, list[tuple[str, str]]]])
    came: trio.Event = attrs.field(factory=trio.Event)
    """Set, and made anew, whenever something has come."""

    @property
    def url(self) -> Secret:
        return Secret(f"http://127.0.0.1:{self.port}{PATH}")

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        path, headers, body = "", dict[str, str](), bytearray()
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some()))
                elif isinstance(event, h11.Request):
                    path = event.target.decode()
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if not isinstance(event, h11.EndOfMessage):
                return
            self.got.append((path, headers, bytes(body)))
            self.came.set()
            self.came = trio.Event()
            status, more = self.script.popleft() if self.script else (204, [])
            response = h11.Response(status_code=status, headers=[*more, ("Connection", "close")])
            for part in (response, h11.EndOfMessage()):
                await stream.send_all(connection.send(part) or b"")


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    made = Receiver()
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, made.serve, 0)
        made.port = listeners[0].socket.getsockname()[1]
        yield made
        nursery.cancel_scope.cancel()


async def test_a_letter_is_a_signed_document() -> None:
    """Id, severity, text and time are fields; the signature is the HMAC of time and body under the key."""
    async with receiver() as server, Webhook(server.url, KEY) as channel:
        [document] = channel.split(LETTER)
        await channel.send(document)
    [(path, headers, body)] = server.got
    assert path == PATH
    assert json.loads(body) == {
        "id": "0123456789",
        "severity": "page",
        "text": "[업비트] 끊김",
        "made": 1_700_000_000.5,
    }
    found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["x-feedwarden-signature"])
    assert found
    assert hmac.compare_digest(found[2], signature(KEY, int(found[1]), body))
    assert not hmac.compare_digest(found[2], signature(KEY, int(found[1]) + 1, body))


@pytest.mark.parametrize(
    ("status", "headers", "way", "seconds"),
    [
        (429, [("Retry-After", "7")], Way.AFTER, 7),
        (429, [], Way.AFTER, 60),
        (503, [("Retry-After", "9")], Way.AFTER, 9),
        (503, [], Way.BACKOFF, 0),
        (408, [], Way.BACKOFF, 0),
        (401, [], Way.QUARANTINE, 0),
        (404, [], Way.QUARANTINE, 0),
        (302, [("Location", "https://elsewhere.example/")], Way.QUARANTINE, 0),
    ],
)
async def test_what_a_refusal_means(status: int, headers: list[tuple[str, str]], way: Way, seconds: float) -> None:
    """The same rules as for Telegram: obey a wait, back off from trouble, quarantine what refuses us."""
    async with receiver() as server, Webhook(server.url, KEY) as channel:
        server.script.append((status, headers))
        with pytest.raises(ChannelError) as caught:
            await channel.send("{}")
    assert (caught.value.advice.way, caught.value.advice.seconds) == (way, seconds)


async def test_a_document_that_is_refused_is_undeliverable() -> None:
    """Another 4xx is about this document."""
    async with receiver() as server, Webhook(server.url, KEY) as channel:
        server.script.append((422, []))
        with pytest.raises(Undeliverable, match="422"):
            await channel.send("{}")


async def test_url_and_key_are_seen_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Not in logs at DEBUG, exceptions or reprs, plain or URL-encoded, whatever the server sends back."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with receiver() as server, Webhook(server.url, KEY) as channel:
        server.script.append((500, [("X-Echo", f"{PATH} {KEY.reveal()}")]))
        with pytest.raises(ChannelError) as caught:
            await channel.send("{}")
        said += [repr(channel), repr(vars(channel)), repr(caught.value)]
    dead = Webhook(Secret(f"http://127.0.0.1:1{PATH}"), KEY)
    async with dead:
        with pytest.raises(ChannelError, match="the webhook cannot be reached") as caught:
            await dead.send("{}")
    said += [repr(caught.value), *caplog.messages]
    assert any("X-Echo" in line for line in said)
    assert [line for line in said if "canary" in line] == []


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://h/", "https://u:canary@h/", "https://[::1", "", "https:///x"]
)
def test_a_malformed_url_is_refused_without_showing_it(url: str) -> None:
    """https, or http on this machine; the message holds no part of what it was given."""
    with pytest.raises(ValueError, match="url must look like https://host/path") as caught:
        Webhook(Secret(url), KEY)
    assert "canary" not in str(caught.value)


def test_a_short_key_is_refused() -> None:
    """A key that can be guessed signs nothing."""
    with pytest.raises(ValueError, match="at least 16 characters"):
        Webhook(Secret("https://example.com/"), Secret("canary"))


# -- heartbeat ------------------------------------------------------------------------------------------------------


async def test_the_heartbeat_calls_and_tells_its_trouble_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its interval; failures in a row are one event, and a new one after a success."""
    events: list[Event] = []
    async with receiver() as server:
        server.script += [(204, []), (500, []), (500, []), (200, []), (404, [])]
        ping = Ping(server.url, 0.02)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping.run, events.append)
            with trio.fail_after(5):
                while len(server.got) < 6:  # noqa: ASYNC110 - the server has no event
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    errors = [event.error for event in events if isinstance(event, ChannelTrouble)]
    assert errors == [f"the heartbeat's URL answers HTTP {status}: check it" for status in (500, 404)]
    events.clear()
    with trio.move_on_after(0.2):
        await Ping(Secret(f"http://127.0.0.1:1{PATH}"), 60).run(events.append)
    assert len(events) == 1
    assert "canary" not in repr(events)


# -- apprise --------------------------------------------------------------------------------------------------------


class FakeApprise(types.ModuleType):
    """Stands in for the library."""

    def __init__(self) -> None:
        super().__init__("apprise")
        self.urls: list[str] = []
        self.sent: list[tuple[str, str]] = []
        self.outcome: bool | Exception = True
        self.Apprise = lambda: self
        self.__spec__ = ModuleSpec("apprise", None)

    def add(self, url: str) -> bool:
        self.urls.append(url)
        return url.startswith("ok://")

    def notify(self, body: str) -> bool:
        self.sent.append((body, threading.current_thread().name))
        logging.getLogger("urllib3.connectionpool").warning("POST /canary")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeApprise:
    fake = FakeApprise()
    monkeypatch.setitem(sys.modules, "apprise", fake)
    return fake


async def test_apprise_is_called_in_a_thread(library: FakeApprise) -> None:
    """The service is made once, in the thread; a refusal and an exception are both a back-off, without the URL."""
    async with Apprise(Secret("ok://canary")) as channel:
        await channel.send("one")
        for outcome in (False, RuntimeError("ok://canary")):
            library.outcome = outcome
            with pytest.raises(ChannelError, match="could not deliver") as caught:
                await channel.send("two")
            assert "canary" not in f"{caught.value!r} {caught.value.__context__!r}"
        assert len(channel.split(attrs.evolve(LETTER, text="x" * 4000))) == 3
    assert library.urls == ["ok://canary"]
    assert library.sent[0][0] == "one"
    assert library.sent[0][1] != threading.main_thread().name


async def test_a_url_that_apprise_does_not_know(library: FakeApprise) -> None:
    """It is a channel that cannot deliver."""
    async with Apprise(Secret("bad://")) as channel:
        with pytest.raises(ChannelError):
            await channel.send("x")


async def test_a_service_that_hangs(library: FakeApprise, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call past its deadline is left to its thread."""
    monkeypatch.setattr(others, "DEADLINE", 0.05)
    release = threading.Event()

    def hang(body: str) -> bool:
        del body
        return release.wait(5)

    monkeypatch.setattr(library, "notify", hang)
    async with Apprise(Secret("ok://")) as channel:
        with pytest.raises(ChannelError, match="has not delivered within"):
            await channel.send("x")
    release.set()


def test_without_the_extra_it_says_what_to_install() -> None:
    """A missing library is told where the channel is made."""
    with pytest.raises(ValueError, match=r"pip install 'feedwarden\[apprise\]'"):
        Apprise(Secret("ok://"))


async def test_what_the_library_logs_is_kept_back(library: FakeApprise, caplog: pytest.LogCaptureFixture) -> None:
    """Its log lines hold URLs; while a channel lives the parts of ours are taken out of them."""
    async with Apprise(Secret("ok://canary")) as channel:
        logging.getLogger("apprise").warning("ok://canary")
        await channel.send("x")
    logging.getLogger("apprise").warning("after")
    assert caplog.messages == ["ok://***", "POST /***", "after"]
