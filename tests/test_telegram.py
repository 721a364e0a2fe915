import base64
import copy
import json
import logging
import pickle
import traceback
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from actors.errors import Way
from actors.notifier import ChannelError, Letter, Pace, Secret, Severity, Telegram, Undeliverable
from actors.notifier.pieces import split
from actors.notifier.telegram import Answer
from tests.bot_api import KEY, TOKEN, BotApi, Reply, bot_api, refusal


class Scripted(Telegram):
    """A channel whose calls are answered from a script, so that it runs under a virtual clock."""

    def __init__(self, chat_id: int | str = 7, *answers: Answer, pace: Pace | None = None) -> None:
        super().__init__(Secret(TOKEN), chat_id, pace=pace)
        self.answers = deque(answers)
        self.calls: list[tuple[float, dict[str, object]]] = []

    async def _post(self, fields: dict[str, object]) -> Answer:
        await trio.lowlevel.checkpoint()
        self.calls.append((trio.current_time(), fields))
        return self.answers.popleft() if self.answers else Answer(200, None, {"ok": True})

    @property
    def times(self) -> list[float]:
        return [at - self.calls[0][0] for at, _ in self.calls]


def answer(status: int, description: str = "", retry_after: float | None = None, **parameters: Any) -> Answer:
    return Answer(status, retry_after, {"ok": False, "description": description, "parameters": parameters})


def shown(error: BaseException | None) -> list[str]:
    """An exception and its chain, with the locals of every frame but this file's own."""
    lines: list[str] = []
    while error is not None:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        lines += [repr(error), str(error)]
        lines += [f"{frame.name}: {frame.locals}" for frame in told.stack if frame.filename != __file__]
        error = error.__cause__ or error.__context__
    return lines


@asynccontextmanager
async def connected(
    path: Path, *, token: str = TOKEN, chat_id: int | str = 7
) -> AsyncGenerator[tuple[BotApi, Telegram]]:
    async with bot_api() as api:
        (path / "ca.pem").write_bytes(api.ca_pem)
        async with Telegram(Secret(token), chat_id, base_url=api.url, ca_file=path / "ca.pem") as channel:
            yield api, channel


# -- on a real socket -----------------------------------------------------------------------------------------------


async def test_sends_plain_text_over_tls(tmp_path: Path) -> None:
    """A text arrives at the chat as plain text: no parse mode, no link preview."""
    async with connected(tmp_path) as (api, channel):
        await channel.send("[업비트] 웹소켓 연결 성공")
    [call] = api.ledger
    assert call.path == f"/bot{TOKEN}/sendMessage"
    assert call.fields == {
        "chat_id": 7,
        "text": "[업비트] 웹소켓 연결 성공",
        "link_preview_options": {"is_disabled": True},
    }


async def test_one_message_a_second_at_the_server(tmp_path: Path) -> None:
    """Messages arrive at least one second apart, by the server's own clock."""
    async with connected(tmp_path) as (api, channel):
        for text in ("a", "b"):
            await channel.send(text)
    first, second = api.ledger
    assert second.at - first.at >= 1.0


async def test_a_reset_after_the_request_is_a_transient_failure(tmp_path: Path) -> None:
    """An answer that was lost is no answer: the text is to be handed over again."""
    async with connected(tmp_path) as (api, channel):
        api.script.append(Reply(reset=True))
        with pytest.raises(ChannelError, match="cannot be reached") as caught:
            await channel.send("a")
        assert caught.value.advice.way is Way.BACKOFF
        await channel.send("a")
    assert api.delivered() == ["a"]


async def test_an_untrusted_certificate_is_told_in_words(tmp_path: Path) -> None:
    """A TLS failure has an empty text of its own; what is said comes from the bottom of the chain."""
    async with bot_api() as api:
        (tmp_path / "other.pem").write_bytes(trustme.CA().cert_pem.bytes())
        channel = Telegram(Secret(TOKEN), 7, base_url=api.url, ca_file=tmp_path / "other.pem")
        async with channel:
            with pytest.raises(ChannelError, match="CERTIFICATE_VERIFY_FAILED"):
                await channel.send("a")
        assert api.ledger == []


async def test_a_slow_answer_ends_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server does, a call ends at its deadline."""
    monkeypatch.setattr("actors.notifier.wire.CALL_TIMEOUT", 0.3)
    async with connected(tmp_path) as (api, channel):
        api.script.append(Reply(delay=60))
        began = trio.current_time()
        with pytest.raises(ChannelError, match=r"no complete answer within 0\.3 s"):
            await channel.send("a")
        assert trio.current_time() - began < 2


async def test_an_endless_answer_is_not_kept(tmp_path: Path) -> None:
    """More than 64 KiB of answer are not kept: it cannot be the Bot API's."""
    async with connected(tmp_path) as (api, channel):
        api.script.append(Reply(body=b'{"ok": true, "x": "' + b"x" * 100_000 + b'"}'))
        with pytest.raises(ChannelError, match="not the Bot API's"):
            await channel.send("a")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[" * 60_000])
async def test_an_answer_that_is_not_the_bot_apis(tmp_path: Path, body: bytes) -> None:
    """A 200 that does not say ok is no delivery."""
    async with connected(tmp_path) as (api, channel):
        api.script.append(Reply(body=body))
        with pytest.raises(ChannelError, match="base_url") as caught:
            await channel.send("a")
    assert caught.value.advice.way is Way.BACKOFF


async def test_retry_after_from_the_header_alone(tmp_path: Path) -> None:
    """A 429 that is not Telegram's own says its wait in the HTTP header."""
    async with connected(tmp_path) as (api, channel):
        api.script.append(Reply(429, b"", (("Retry-After", "17"),)))
        with pytest.raises(ChannelError) as caught:
            await channel.send("a")
    assert (caught.value.advice.way, caught.value.advice.seconds) == (Way.AFTER, 17)


async def test_a_channel_that_is_not_entered_refuses() -> None:
    """Sending without the client is a bug of the caller's."""
    with pytest.raises(RuntimeError, match="async with"):
        await Telegram(Secret(TOKEN), 7).send("a")


async def test_the_proxy_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """With a proxy given, the call goes there: it sees a CONNECT and no token, and no log line its password."""
    caplog.set_level(logging.DEBUG)
    seen: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        seen.append(bytes(await stream.receive_some()))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, proxy, 0)
        port = listeners[0].socket.getsockname()[1]
        channel = Telegram(Secret(TOKEN), 7, proxy=Secret(f"http://user:{KEY}@127.0.0.1:{port}"))
        async with channel:
            with pytest.raises(ChannelError):
                await channel.send("a")
        nursery.cancel_scope.cancel()
    assert seen[0].startswith(b"CONNECT api.telegram.org:443 ")
    assert KEY.encode() not in seen[0]
    password = base64.b64encode(f"user:{KEY}".encode()).decode()
    assert password.encode() in seen[0]
    assert [line for line in caplog.messages if KEY in line or password in line] == []


async def test_the_token_is_seen_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log records at DEBUG, exceptions with their whole chains and locals, reprs, pickles: none holds the token."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("actors.notifier.telegram._PER_CHAT", 0.0)
    echo = (("Location", f"https://elsewhere.example/bot{TOKEN}/x"),)
    said: list[str] = []
    async with connected(tmp_path) as (api, channel):
        api.script += [
            Reply(headers=echo),
            refusal(403, f"Forbidden: bot{TOKEN}"),
            Reply(302, b"", echo),
            Reply(reset=True),
            Reply(500, {"description": f"https://x/bot{TOKEN.replace(':', '%3A')}/"}),
        ]
        for _ in range(5):
            try:
                await channel.send("a")
            except ChannelError as error:
                said += shown(error)
        said += [repr(channel), repr(vars(channel))]
    assert len(api.ledger) == 5
    with pytest.raises(ValueError, match="token must look like") as refused:
        Telegram(Secret(f"{TOKEN} "), 7)
    said += [repr(refused.value), "".join(traceback.format_exception(refused.value))]
    said += [record.getMessage() for record in caplog.records]
    assert any(line.startswith("_post: ") for line in said), "the frames' locals should be among them"
    assert any("sendMessage" in line for line in said), "the client's own log line should be among them"
    # the client itself does not know the token: its log line would be clean without the filter
    assert any(f"POST {api.url}/bot***/sendMessage" in line for line in caplog.messages)
    assert any("Location" in line for line in said), "the client's debug lines should be among them"
    assert [line for line in said if KEY in line] == []
    assert logging.getLogger("httpx2").filters == []


# -- judging answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "way", "words"),
    [
        (answer(401, "Unauthorized"), Way.QUARANTINE, "check the token"),
        (answer(404, "Not Found"), Way.QUARANTINE, "check the token"),
        (answer(403, "Forbidden: bot was blocked by the user"), Way.QUARANTINE, "blocked by the user"),
        (answer(400, "Bad Request: chat not found"), Way.QUARANTINE, "check chat_id"),
        (answer(302), Way.QUARANTINE, "check base_url"),
        (answer(502, "Bad Gateway"), Way.BACKOFF, "out of order"),
        (answer(429, retry_after=5), Way.AFTER, "wait 5 s"),
        (answer(429, retry_after=5.5), Way.AFTER, "wait 5.5 s"),
        (answer(429), Way.AFTER, "wait 60 s"),
        (Answer(429, None, {"parameters": {"retry_after": "soon"}}), Way.AFTER, "wait 60 s"),
        (Answer(429, None, {"parameters": {"retry_after": True}}), Way.AFTER, "wait 60 s"),
        (Answer(429, None, {"parameters": {"retry_after": float("inf")}}), Way.AFTER, "wait 60 s"),
        (Answer(503, None, {"parameters": {"retry_after": 9}}), Way.AFTER, "wait 9 s"),
        (Answer(200, None, {"parameters": [], "description": 3}), Way.BACKOFF, "not the Bot API's"),
    ],
)
async def test_what_an_answer_means(
    given: Answer, way: Way, words: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Each kind of refusal says when to try again, and what a person may do."""
    channel = Scripted(7, given)
    with pytest.raises(ChannelError, match=words) as caught:
        await channel.send("a")
    assert caught.value.advice.way is way
    assert len(channel.calls) == 1


async def test_a_bad_text_is_sent_once_more_as_plain_text(autojump_clock: trio.testing.MockClock) -> None:
    """On 400 the text goes again with printable characters only; that one is delivered."""
    channel = Scripted(7, answer(400, "Bad Request: strings must be encoded in UTF-8"))
    await channel.send("a\ud83d\x07b\nc")
    assert channel.times == [0, 1]
    assert channel.calls[1][1] == {"chat_id": 7, "text": "a  b\nc"}


async def test_a_text_refused_twice_is_undeliverable(autojump_clock: trio.testing.MockClock) -> None:
    """After the second 400 the text is given up: it never loops."""
    channel = Scripted(7, answer(400, "Bad Request: no"), answer(400, "Bad Request: no"))
    with pytest.raises(Undeliverable, match="Bad Request: no"):
        await channel.send("a")
    assert len(channel.calls) == 2


async def test_a_text_of_nothing_printable_is_undeliverable(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing is left to send a second time."""
    channel = Scripted(7, answer(400, "Bad Request: message text is empty"))
    with pytest.raises(Undeliverable):
        await channel.send("\x07")
    assert len(channel.calls) == 1


async def test_a_group_that_became_a_supergroup_is_followed(autojump_clock: trio.testing.MockClock) -> None:
    """The text and all later ones go to the new chat."""
    moved = answer(400, "group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1001234567890)
    channel = Scripted(-5, moved)
    await channel.send("a")
    await channel.send("b")
    assert [fields["chat_id"] for _, fields in channel.calls] == [-5, -1001234567890, -1001234567890]


# -- pacing ---------------------------------------------------------------------------------------------------------


async def test_a_person_gets_one_message_a_second(autojump_clock: trio.testing.MockClock) -> None:
    """Thirty messages to a person take 29 seconds."""
    channel = Scripted(7)
    for _ in range(30):
        await channel.send("a")
    assert channel.times == list(range(30))


@pytest.mark.parametrize("chat_id", [-5, "@some_channel"])
async def test_a_group_gets_twenty_a_minute(chat_id: int | str, autojump_clock: trio.testing.MockClock) -> None:
    """No minute holds more than 20 messages to a group."""
    channel = Scripted(chat_id)
    for _ in range(45):
        await channel.send("a")
    times = channel.times
    assert times[19] == 19
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[20:], strict=False))


async def test_retry_after_is_never_broken(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever sends next, and however soon, waits for the whole time."""
    channel = Scripted(7, answer(429, retry_after=30))
    with pytest.raises(ChannelError):
        await channel.send("a")
    await channel.send("a")
    assert channel.times == [0, 30]


async def test_a_bot_makes_25_calls_a_second_in_all(autojump_clock: trio.testing.MockClock) -> None:
    """However many chats it writes to, no second holds more, and none is wasted."""
    pace = Pace()
    channels = [Scripted(chat, pace=pace) for chat in range(1, 101)]

    async def chat(channel: Scripted) -> None:
        for _ in range(3):
            await channel.send("a")

    async with trio.open_nursery() as nursery:
        for channel in channels:
            nursery.start_soon(chat, channel)
    times = sorted(at for channel in channels for at, _ in channel.calls)
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[25:], strict=False))
    assert times[-1] - times[0] == pytest.approx(11)


async def test_a_chat_that_has_to_wait_delays_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """The bot's pace counts calls that are made, not those that are waited for."""
    pace = Pace()
    group = Scripted(-5, pace=pace)
    for _ in range(20):
        await group.send("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.send, "b")
        await trio.testing.wait_all_tasks_blocked()
        person = Scripted(7, pace=pace)
        for _ in range(30):
            await person.send("a")
        assert person.times == list(range(30))
    assert group.times[20] == 60


async def test_the_pace_outlives_the_process(autojump_clock: trio.testing.MockClock) -> None:
    """What the process before has called within the last second counts for the bot as a whole."""
    kept: dict[int, str] = {}
    before, after = Pace(), Pace()
    for pace in (before, after):
        channels = [Scripted(chat, pace=pace) for chat in range(1, 41)]
        for chat, channel in enumerate(channels):

            async def keep(note: str, chat: int = chat) -> None:
                await trio.lowlevel.checkpoint()
                kept[chat] = note

            channel.resume(kept.get(chat), keep)
        async with trio.open_nursery() as nursery:
            for channel in channels[25:] if pace is after else channels[:25]:
                nursery.start_soon(channel.send, "a")
    assert [at for at, _ in channels[30].calls] == [pytest.approx(1.0, abs=0.1)]


# -- splitting ------------------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_at_line_ends() -> None:
    """No piece exceeds the limit, none cuts a line, and nothing is lost."""
    text = "\n".join(f"line {n}" for n in range(2000))
    pieces = Telegram(Secret(TOKEN), 7).split(Letter("1", Severity.INFO, text, 0))
    assert len(pieces) > 4
    assert all(len(piece) <= 4000 for piece in pieces)
    assert "\n".join(pieces) == text


def test_units_are_utf_16() -> None:
    """A character outside of the basic plane counts twice, and is never cut in half."""
    assert split("😀" * 5, 4) == ["😀😀", "😀😀", "😀"]
    assert split("a" + "😀" * 3, 4) == ["a😀", "😀😀"]
    assert split("한글", 4) == ["한글"]


def test_a_line_that_is_too_long_is_cut_inside() -> None:
    """A single line over the limit is cut where it must be; the rest joins the following line."""
    assert split("abcdef\ngh", 4) == ["abcd", "ef", "gh"]
    assert split("abcde\ng", 4) == ["abcd", "e\ng"]


def test_blank_pieces_are_left_out() -> None:
    """Telegram refuses an empty text, so there is none."""
    assert split("", 4) == []
    assert split("abcd\n\n\nefgh", 4) == ["abcd", "efgh"]


# -- construction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat_id", [0, True, "", "me", "1 2", "-", "@", 1.5])
def test_a_malformed_chat_is_refused(chat_id: Any) -> None:
    """A chat is a number or a channel's name."""
    with pytest.raises(ValueError, match="chat_id must be"):
        Telegram(Secret(TOKEN), chat_id)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.telegram.org",
        "ftp://localhost",
        "https://",
        "https://user:pw@host",
        "https://host/?q=1",
        "https://host:port",
        "https://[::1",
        "https://호스트",
    ],
)
def test_a_malformed_base_url_is_refused(url: str) -> None:
    """The token travels by TLS, to a plain address."""
    with pytest.raises(ValueError, match="base_url must look like"):
        Telegram(Secret(TOKEN), 7, base_url=url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081", "http://localhost/prefix/", "https://bots.example/api"])
def test_other_bot_api_servers_are_accepted(url: str) -> None:
    """A Bot API server of one's own may be used, on this machine without TLS."""
    Telegram(Secret(TOKEN), "-42", base_url=url)


@pytest.mark.parametrize("proxy", ["proxy:8080", f"ftp://{KEY}@host", f"http://u:{KEY}@[::1", "socks5://"])
def test_a_malformed_proxy_is_refused_without_showing_it(proxy: str) -> None:
    """A proxy's URL holds a password, so the message does not repeat it."""
    with pytest.raises(ValueError, match="proxy must look like") as caught:
        Telegram(Secret(TOKEN), 7, proxy=Secret(proxy))
    assert KEY not in str(caught.value)


def test_an_unusable_ca_file_is_refused(tmp_path: Path) -> None:
    """A file that is missing or holds no certificate is named at once, not at the first alert."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ValueError, match=f"ca_file cannot be used: .*{name}"):
            Telegram(Secret(TOKEN), 7, ca_file=tmp_path / name)


@pytest.mark.parametrize("token", ["", KEY, f"x{TOKEN}", f"{TOKEN}\n", f"{TOKEN}/getMe"])
def test_a_malformed_token_is_refused_without_showing_it(token: str) -> None:
    """The message says what a token looks like, not what this one is."""
    with pytest.raises(ValueError, match="token must look like") as caught:
        Telegram(Secret(token), 7)
    assert KEY not in str(caught.value)


# -- secrets --------------------------------------------------------------------------------------------------------


def test_a_secret_does_not_show_itself() -> None:
    """Every way to look at it gives three stars."""
    secret = Secret(TOKEN)
    shown = [repr(secret), str(secret), f"{secret:>10}", f"{secret!s}", json.dumps(secret, default=str), repr([secret])]
    assert all("***" in text and KEY not in text for text in shown)
    assert KEY.encode() not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)).reveal() == "***"  # noqa: S301 - our own pickle
    assert not hasattr(secret, "__dict__")


def test_a_copied_secret_still_works() -> None:
    """Copying a configuration does not lose its secrets."""
    secret = Secret(TOKEN)
    assert copy.deepcopy([secret])[0].reveal() == TOKEN
    assert copy.copy(secret) is secret
