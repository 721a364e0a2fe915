"""Alerts as an operator has them: the tables under [notify], secrets, `mute`, `notify test`, and how fast a page is."""

import io
import os
import random
import string
import time
from collections.abc import Mapping
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.chaos import UpbitVenue, simulated_exchange
from actors.errors import Reason
from actors.events import Event, Failed, LinkState, Live, Notified, Origin, StateChanged
from actors.notifier import (
    Console,
    Language,
    Notifier,
    Pace,
    Route,
    Rules,
    Secret,
    Severity,
    Style,
    Telegram,
    Webhook,
    Window,
)
from supervisors.feeds import Feeds
from supervisors.standalone import report
from supervisors.standalone.config import Config, load_config
from supervisors.standalone.control import ask
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.mute import muting
from supervisors.standalone.notify import advice
from supervisors.standalone.saying import say
from supervisors.standalone.secrets import Secrets
from supervisors.standalone.words import ADVICE, SAID, UNKNOWN
from tests.bot_api import TOKEN, bot_api, refusal
from tests.script import TLS, ca_file, read_until, rest, running, script
from tests.test_notifier import Fake

UPBIT = Origin("upbit-krw", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")
OTHER = Origin("bithumb", "bithumb", "[빗썸]", "[Bithumb]", "ws.bithumb.com")
SEOUL = timezone(timedelta(hours=9), "KST")
FEED = '[feed.up]\non = "upbit"\ntrade = ["KRW-BTC"]\n'
HOW = 'write "${env:NAME}", "${file:PATH}" or "${credential:NAME}"'
AT = "2026-12-01T02:00:00+09:00"
ENVIRONMENT = {"TOKEN": TOKEN, "KEY": "0123456789abcdef", "URL": "https://example.com/x", "BAD": "canary"}


def load(text: str, folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> Config:
    file = folder / "feedwarden.toml"
    file.write_text(FEED + text, encoding="utf-8")
    return load_config(file, environment=environment)


def mistakes(text: str, folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> list[str]:
    with pytest.raises(BadInput) as caught:
        load(text, folder, environment)
    assert "canary" not in str(caught.value)
    return sorted(caught.value.lines)


# -- the tables -----------------------------------------------------------------------------------------------------


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    """Channels with style and least severity, rules, windows, and a heartbeat come out as they went in."""
    config = load(
        """
        [notify]
        zone = "Asia/Seoul"
        quiet_hours = "23:00-07:00"
        severity = { eof = "page" }
        feed_severity = { up = "info" }
        heartbeat = { every = "1h" }
        [notify.telegram.ops]
        token = "${env:TOKEN}"
        chat_id = -5
        message_thread_id = 7
        proxy = "${env:URL}"
        least = "page"
        [notify.webhook.hook]
        url = "${env:URL}"
        key = "${env:KEY}"
        language = "en"
        [notify.console.here]
        style = "guide"
        [[notify.maintenance]]
        on = "upbit"
        from = 2026-12-01T02:00:00+09:00
        until = 2026-12-01T06:00:00+09:00
        """,
        tmp_path,
    )
    alerts = config.alerts
    routes = [make(lambda text: None) for make in alerts.routes]
    assert [(type(route.channel), route.style, route.least) for route in routes] == [
        (Telegram, Style.INCIDENTS, Severity.PAGE),
        (Webhook, Style.INCIDENTS, Severity.INFO),
        (Console, Style.GUIDE, Severity.INFO),
    ]
    assert routes[1].channel.language is Language.EN
    assert str(alerts.zone) == "Asia/Seoul"
    rules = alerts.rules
    assert (rules.reasons, rules.feeds, rules.heartbeat) == (
        {Reason.EOF: Severity.PAGE},
        {"up": Severity.INFO},
        3600,
    )
    [window] = rules.windows
    assert (window.subject, (window.ends - window.begins) / 1e9) == ("upbit", 4 * 3600)
    assert window.begins == 1_796_058_000 * 10**9
    assert rules.quiet_hours is not None
    assert alerts.ping is None
    assert config.notifier(lambda event: None) is not None


def test_a_heartbeat_with_a_url_is_no_message(tmp_path: Path) -> None:
    """Who is pinged needs no message."""
    alerts = load('[notify.heartbeat]\nevery = "60s"\nurl = "${env:URL}"', tmp_path).alerts
    assert alerts.ping is not None
    assert alerts.rules.heartbeat == 0
    assert load("", tmp_path).alerts.zone is not None


def test_all_mistakes_of_alerts_at_once(tmp_path: Path) -> None:
    """Each has its place and its remedy, and none shows a secret."""
    text = """
        [notify]
        zone = "Asia/Soul"
        quiet_hours = "night"
        quiet_hour = "23:00-07:00"
        severity = { eoff = "page", eof = "loud" }
        feed_severity = { upp = "info" }
        heartbeat = { every = "soon", url = "${env:BAD}" }
        [notify.webhook.a]
        url = "${env:BAD}"
        key = "${env:KEY}"
        [notify.telegram.b]
        token = "canary"
        chat_id = 5
        [notify.apprise.c]
        url = "${env:BAD}"
        [notify.webhook.d]
        url = "${credential:x}"
        [[notify.maintenance]]
        on = "upbit"
        from = 2026-12-01T02:00:00
        until = 2026-12-01T06:00:00
        [[notify.maintenance]]
        on = "okx"
        from = 2026-12-01T06:00:00Z
        until = 2026-12-01T02:00:00Z
        [[notify.maintenance]]
        on = "upbit"
        from = 3
        """
    assert mistakes(text, tmp_path) == sorted(
        [
            "notify.zone: expected a time zone that this machine's tzdata knows, like Asia/Seoul or UTC",
            "notify.quiet_hours: expected two times of day, like 23:00-07:30",
            "notify.quiet_hour: unknown key, did you mean 'quiet_hours'?",
            "notify.severity.eof: expected one of info, warning, page",
            "notify.feed_severity.upp: unknown, did you mean 'up'?",
            "notify.heartbeat.every: expected a length of time of at most 30 days, like 90s, 30m, 2h or 1d",
            "notify.webhook.a: url must look like https://host/path (http:// only for this machine), without a user",
            f"notify.telegram.b.token: must not stand in the file; {HOW}",
            "notify.apprise.c: needs the extra: pip install 'feedwarden[apprise]'",
            "notify.webhook.d.key: missing",
            "notify.webhook.d.url: credential x: there is no $CREDENTIALS_DIRECTORY; set LoadCredential= in the unit",
            "notify.maintenance[0]: from and until need their offset, like 2026-12-01T02:00:00+09:00",
            "notify.maintenance[1]: until must come after from",
            "notify.maintenance[1].on: there is no feed and no exchange of this name; there are up, upbit",
            f"notify.maintenance[2].from: expected a date with a time and its offset, like {AT}, got a whole number",
            "notify.maintenance[2].until: missing",
        ]
    )
    assert mistakes("[notify.severity]\neoff = 'page'", tmp_path) == [
        "notify.severity.eoff: unknown, did you mean 'eof'?"
    ]
    assert mistakes("[notify.heartbeat]\nevery = '1h'\nurl = '${env:BAD}'", tmp_path) == [
        "notify.heartbeat.url: url must look like https://host/path (http:// only for this machine), without a user"
    ]


# -- secrets --------------------------------------------------------------------------------------------------------


def test_where_secrets_may_lie(tmp_path: Path) -> None:
    """World-writable is refused; readable by others is one warning a file; systemd's own place is trusted."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, mode in (("ours", 0o600), ("open", 0o644), ("group", 0o640), ("worst", 0o602)):
        for folder in (tmp_path, credentials):
            (folder / name).write_text(f"value of {name}\n")
            (folder / name).chmod(mode)
    reader = Secrets({"CREDENTIALS_DIRECTORY": str(credentials)}, lambda text: tmp_path / text)
    assert reader.read("${file:ours}").reveal() == "value of ours"
    assert reader.warnings == []
    for name in ("open", "open", "group"):
        assert reader.read(f"${{file:{name}}}").reveal() == f"value of {name}"
    assert reader.warnings == [f"{name} can be read by others: chmod 600 {name}" for name in ("open", "group")]
    assert reader.read("${credential:open}").reveal() == "value of open"
    assert reader.read("${file:credentials/open}").reveal() == "value of open"
    assert len(reader.warnings) == 2
    for text in ("${file:worst}", "${credential:worst}"):
        with pytest.raises(ValueError, match=r"can be written by everybody.*chmod 600 worst"):
            reader.read(text)
    with pytest.raises(ValueError, match="a name has no slash"):
        reader.read("${credential:../ours}")
    (tmp_path / "huge").write_text("x" * 70_000)
    (tmp_path / "huge").chmod(0o600)
    with pytest.raises(ValueError, match="too large"):
        reader.read("${file:huge}")


async def test_check_tells_the_warning(tmp_path: Path) -> None:
    """`check` accepts the file and says what should be mended."""
    (tmp_path / "t").write_text(TOKEN)
    (tmp_path / "t").chmod(0o644)
    (tmp_path / "f.toml").write_text(f'{FEED}[notify.telegram.t]\ntoken = "${{file:t}}"\nchat_id = 1\n')
    done = await script("check", str(tmp_path / "f.toml"), home=tmp_path)
    assert done.code == 0
    assert b"t can be read by others: chmod 600 t" in done.err
    assert TOKEN.encode() not in done.out + done.err


# -- the notifier in style incidents --------------------------------------------------------------------------------


def down(at: float, origin: Origin = UPBIT, reason: Reason = Reason.EOF) -> Failed:
    return Failed(at=at, origin=origin, session=1, reason=reason, detail="", connected=True)


def live(at: float, origin: Origin = UPBIT) -> Live:
    return Live(at=at, origin=origin, session=1)


async def test_incidents_through_the_actor(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Start, outage and recovery are three messages; a channel gets what matters enough to it, a guide gets all."""
    all_, pages, guide = Fake("all"), Fake("pages"), Fake("guide")
    rules = Rules(reasons={Reason.CRASH: Severity.PAGE})
    notifier = Notifier(
        [Route(all_, Style.INCIDENTS), Route(pages, Style.INCIDENTS, Severity.PAGE), guide], rules=rules
    )
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    for origin in (UPBIT, OTHER):
        notifier.hook(live(trio.current_time(), origin))
    await trio.sleep(100)
    notifier.hook(down(trio.current_time()))
    await trio.sleep(50)
    notifier.hook(live(trio.current_time()))
    await trio.sleep(50)
    notifier.hook(down(trio.current_time(), OTHER, Reason.HTTP_FORBIDDEN))
    await trio.sleep(6)
    firsts = [(at, text.split("\n")[0]) for at, text in all_.sent]
    assert firsts == [
        (1.0, "2 of 2 feeds are live"),
        (130.0, "[Upbit] WebSocket connection lost"),
        (155.0, "[Upbit] WebSocket recovered"),
        (205.0, "[Bithumb] WebSocket connection error: access denied (HTTP 401/403)"),
    ]
    assert [text.split("\n")[0] for _, text in pages.sent] == [firsts[3][1]]
    assert [text.split("\n")[0] for _, text in guide.sent] == [
        "[Upbit] WebSocket connection lost",
        "[Bithumb] WebSocket connection error: access denied (HTTP 401/403)",
    ]
    assert "since: 1970-" not in all_.sent[1][1]
    # one event, one id, on every channel
    assert all_.sent[3][1].split("\n#")[1] == pages.sent[0][1].split("\n#")[1]
    assert notifier.oldest == {"all": 0, "pages": 0, "guide": 0}
    assert not any(notifier.quarantined.values())


async def test_muting_a_running_notifier(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A note at once, silence, and a note when it is over; nobody mutes what there is not."""
    start = time.time_ns()
    fake = Fake("a")
    notifier = Notifier([Route(fake, Style.INCIDENTS)], wall=lambda: start + round(trio.current_time() * 1e9), zone=UTC)
    with pytest.raises(ValueError, match="there is none"):
        notifier.mute("upbit", 60)
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    for origin in (UPBIT, OTHER):
        notifier.hook(live(trio.current_time(), origin))
    await trio.sleep(10)
    with pytest.raises(LookupError, match="named 'okx'"):
        notifier.mute("okx", 60)
    notifier.mute("upbit", 7200)
    await trio.sleep(1)
    assert [window.subject for window in notifier.muted] == ["upbit"]
    notifier.hook(down(trio.current_time()))
    await trio.sleep(3600)
    notifier.hook(live(trio.current_time()))
    await trio.sleep(4000)
    assert notifier.muted == ()
    assert [text.split(" (")[0].split("\n")[0] for _, text in fake.sent][1:] == ["upbit muted", "upbit no longer muted"]


async def test_a_mute_outlives_the_process(tmp_path: Path) -> None:
    """One note at each end, however often the process restarts in between; a window that was edited away is gone."""
    start, offset = time.time_ns(), 0.0

    def at(seconds: float) -> int:
        return start + round(seconds * 1e9)

    planned, edited = Window("bithumb", at(5), at(900)), Window("bithumb", at(5), at(800))
    notes: list[str] = []
    for offset, windows, muted in (
        (10.0, (planned,), ["bithumb", "upbit"]),
        (100.0, (planned,), ["bithumb", "upbit"]),
        (200.0, (edited,), ["bithumb", "upbit"]),
        (300.0, (), ["upbit"]),
        (600.0, (), []),
        (601.0, (), []),
    ):
        fake = Fake("a")
        notifier = Notifier(
            [Route(fake, Style.INCIDENTS)],
            rules=Rules(windows=windows),
            spool=tmp_path / "spool.sqlite3",
            wall=lambda offset=offset: at(offset),
            zone=UTC,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            await trio.sleep(0.2)
            for origin in (UPBIT, OTHER):
                notifier.hook(live(trio.current_time(), origin))
            await trio.sleep(0.2)
            if not notes:
                notifier.mute("upbit", 500)
                await trio.sleep(0.2)
            assert sorted(each.subject for each in notifier.muted) == muted
            nursery.cancel_scope.cancel()
        notes += [text.split(" (")[0].split("\n")[0] for _, text in fake.sent if "muted" in text.split("\n")[0]]
    assert notes == ["bithumb muted", "upbit muted", "bithumb muted", "upbit no longer muted"]


async def test_a_stop_is_one_message(autojump_clock: MockClock) -> None:
    """Asked to stop, the notifier says so, and nothing of what was still waiting to be told."""
    from tests.test_notifier import Told

    fake, context = Fake("a"), Told()
    notifier = Notifier([Route(fake, Style.INCIDENTS)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        await wait_all_tasks_blocked()
        notifier.hook(live(trio.current_time()))
        await trio.sleep(20)
        notifier.hook(down(trio.current_time()))
        notifier.hook(
            StateChanged(at=trio.current_time(), origin=UPBIT, state=LinkState.STOPPED, previous=LinkState.DOWN)
        )
        context.stopping.set()
    assert [text.split("\n")[0] for _, text in fake.sent] == ["1 of 1 feeds are live", "stopped watching 1 feeds"]


# -- how fast -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untraced")
async def test_telling_costs_little_in_style_incidents(nursery: trio.Nursery) -> None:
    """The hook costs a few microseconds at most."""
    notifier = Notifier([Route(Fake(), Style.INCIDENTS)])
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    event, best = down(0), float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            notifier.hook(event)
        best = min(best, (time.perf_counter() - began) / 500)
    assert best < 5e-6


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_page_is_there_within_six_seconds(tmp_path: Path) -> None:
    """From the event to the channel's 200, spool and TLS included: a hundred notifiers, one page each."""
    took: list[float] = []
    async with bot_api() as api:
        (tmp_path / "ca.pem").write_bytes(api.ca_pem)
        pace = Pace()

        async def page(number: int) -> None:
            feed = Origin(f"f{number}", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")
            telegram = Telegram(Secret(TOKEN), number, base_url=api.url, ca_file=tmp_path / "ca.pem", pace=pace)
            send, receive = trio.open_memory_channel[Event](10)
            notifier = Notifier(
                [Route(telegram, Style.INCIDENTS)],
                spool=tmp_path / f"spool{number}",
                emit=send.send_nowait,
                random=random.Random(number),
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(notifier.run)
                notifier.hook(live(trio.current_time(), feed))
                assert isinstance(await receive.receive(), Notified)  # of the start
                await trio.sleep(number / 4)  # so that no page waits for its turn among all
                began = trio.current_time()
                notifier.hook(down(began, feed, Reason.HTTP_FORBIDDEN))
                event = await receive.receive()
                assert isinstance(event, Notified)
                took.append(event.at - began)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for number in range(1, 101):
                nursery.start_soon(page, number)
    took.sort()
    print(f"page to 200: median {took[49]:.3f} s, p99 {took[98]:.3f} s, worst {took[99]:.3f} s")  # noqa: T201 - a figure
    assert took[98] < 6


# -- notify test ----------------------------------------------------------------------------------------------------


async def test_notify_test(tmp_path: Path) -> None:
    """A message arrives at every channel, or at the one that was named."""
    async with bot_api() as api:
        (tmp_path / "ca.pem").write_bytes(api.ca_pem)
        (tmp_path / "feedwarden.toml").write_text(
            f"""{FEED}
            [notify.telegram.ops]
            token = "${{env:TOKEN}}"
            chat_id = 5
            base_url = "{api.url}"
            ca_file = "ca.pem"
            [notify.console.here]
            language = "en"
            """
        )
        config = ("--config", str(tmp_path / "feedwarden.toml"))
        done = await script("notify", "test", *config, home=tmp_path, env=ENVIRONMENT)
        assert (done.code, done.out.decode()) == (0, "ops: 도착했습니다\nhere: arrived\n")
        assert b"this is a test message" in done.err
        assert api.delivered()[0].startswith("시험 메시지입니다")
        api.script.append(refusal(403, "Forbidden: bot was blocked by the user"))
        done = await script("notify", "test", "--to", "ops", *config, home=tmp_path, env=ENVIRONMENT)
        assert done.code == 1
        assert "ops: 도착하지 않았습니다: the bot may not write to the chat" in done.out.decode()
        assert "봇 차단을 풀거나" in done.out.decode()
        done = await script("notify", "test", "--to", "op", *config, home=tmp_path, env=ENVIRONMENT)
        assert (done.code, done.err) == (2, b"--to op: no channel has this name, did you mean 'ops'?\n")
        assert TOKEN.encode() not in done.out + done.err


async def test_mute_without_a_process(tmp_path: Path) -> None:
    """Nobody to ask, and a length of time that is none, are told in words."""
    done = await script("mute", "upbit", "2h", home=tmp_path)
    assert (done.code, b"no feedwarden runs" in done.err) == (1, True)
    done = await script("mute", "upbit", "2 hours", home=tmp_path)
    assert (done.code, b"2 hours: expected a length of time" in done.err) == (2, True)


def test_muting_without_a_channel() -> None:
    """There is nothing to mute where nobody is told."""
    assert muting(Feeds(None, network=None, wall=time.time_ns, random=None))["mute"]("a", 1) == {
        "refused": "no notification channel is configured"
    }


async def test_notify_test_without_a_channel(tmp_path: Path) -> None:
    """It says what is missing."""
    (tmp_path / "f.toml").write_text(FEED)
    done = await script("notify", "test", "--config", str(tmp_path / "f.toml"), home=tmp_path)
    assert (done.code, done.err) == (
        2,
        b"no channel is configured; a channel is a table like [notify.telegram.ops]\n",
    )


def test_every_advice_can_be_reached() -> None:
    """No advice hides another, and what is unknown is said to be, in both languages."""
    for language in Language:
        for mark, words in ADVICE.items():
            assert advice(f"something: {mark}", language) == words[language]
        assert advice("42", language) == UNKNOWN[language]


def test_what_the_commands_say_is_complete_in_both_languages() -> None:
    """No line lacks a language, and each names the same figures in both."""
    for words in (*SAID.values(), *ADVICE.values(), UNKNOWN):
        assert set(words) == set(Language)
        assert any("가" <= letter <= "힣" for letter in words[Language.KO])
        assert words[Language.EN].isascii()
        fields = [{field for _, field, _, _ in string.Formatter().parse(line) if field} for line in words.values()]
        assert fields[0] == fields[1], words


def test_a_terminal_without_korean() -> None:
    """What cannot be shown is escaped, and is no traceback."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("도착 ok", out)
    out.seek(0)
    assert out.read() == "\\ub3c4\\ucc29 ok\n"


async def test_mute_speaks_as_the_first_channel(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whom the process tells in Korean it also answers in Korean, in the configured zone."""
    feeds = Feeds(None, network=None, wall=time.time_ns, random=None)
    assert Notifier([]).language is Language.EN
    for language, refused, no_feed, muted in (
        (Language.KO, "채널이 없습니다", "x: 이런 이름의 피드나 거래소가 없습니다", "까지 알림을 보내지 않습니다"),
        (Language.EN, "there is none", "there is no feed and no exchange named 'x'", "upbit is muted until"),
    ):
        mute = muting(feeds)["mute"]
        feeds.notifier = Notifier([Fake(language=language)])
        assert mute("upbit", 60)["refused"].endswith(refused)
        feeds.notifier = Notifier([Route(Fake(language=language), Style.INCIDENTS)], zone=SEOUL, wall=lambda: 0)
        nursery.start_soon(feeds.notifier.run)
        await wait_all_tasks_blocked()
        feeds.notifier.hook(live(0))
        await trio.sleep(1)
        assert mute("x", 60) == {"refused": no_feed}
        answer = mute("upbit", 60)
        assert muted in answer["said"]
        assert "1970-01-01 09:01:00 KST" in answer["said"]
        assert answer["until"].startswith("1970-01-01T00:01:00")


# -- mute -----------------------------------------------------------------------------------------------------------


async def test_mute_on_a_running_process(tmp_path: Path) -> None:
    """The process is told, `status` shows it, a log line has it; bad wishes are refused in words."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as exchange:
        (tmp_path / "f.toml").write_text(
            f'{FEED}url = "{exchange.url}"\nca_file = "{ca_file(tmp_path)}"\n[notify.console.here]\nlanguage = "en"\n'
        )
        state = ("--state-dir", str(tmp_path / "s"))
        async with running("run", "--config", str(tmp_path / "f.toml"), *state, home=tmp_path) as child:
            await read_until(child.stderr, b'"event":"live"')
            done = await script("mute", "upbit", "2h", *state, home=tmp_path)
            assert done.code == 0, done.err
            assert done.out.startswith(b"upbit is muted until 20")
            await read_until(child.stderr, b"upbit muted (until 20")
            document = await ask(tmp_path / "s", "status")
            assert [window["subject"] for window in document["muted"]] == ["upbit"]
            assert "muted: upbit until 20" in report.status(document)
            refused = await ask(tmp_path / "s", "mute", subject="okx", seconds=9)
            assert refused == {"refused": "there is no feed and no exchange named 'okx'"}
            assert "error" in await ask(tmp_path / "s", "mute")
            os.kill(child.pid, 15)
            assert b"stopped watching 1 feeds" in await rest(child.stderr)
            assert await child.wait() == 0
    assert (tmp_path / "s" / "alerts.sqlite3").stat().st_mode & 0o777 == 0o600
