"""What has been told survives: kills, damage, a full disk; and pacing survives with it."""

import random
import re
import sqlite3
import stat
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors.actor import Context
from actors.events import ChannelTrouble, Connected, Event, Live, Origin
from actors.notifier import Letter, Notifier, Route, Severity, Style, incidents
from actors.notifier import spool as spool_module
from actors.notifier.spool import Spool
from tests.bot_api import KEY, BotApi, Reply, bot_api, refusal
from tests.test_notifier import Fake

UPBIT = Origin("upbit-krw", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")


def letter(number: int, text: str = "text") -> Letter:
    return Letter(f"{number:010x}", Severity.WARNING, text, number)


# -- the file -------------------------------------------------------------------------------------------------------


async def test_letters_and_facts_come_back(tmp_path: Path) -> None:
    """What was added and not removed is there again, in order, and so is the latest of each fact; nobody may look."""
    path, told = tmp_path / "state" / "spool.sqlite3", list[str]()
    async with Spool(path, told.append) as spool:
        assert list(await spool.load()) == []
        keys = await spool.add([("a", letter(1)), ("b", letter(2)), ("a", letter(3))])
        await spool.remove([keys[1]])
        await spool.remember("x", "1")
        await spool.remember("x", "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    async with Spool(path, told.append) as spool:
        stored = await spool.load()
        assert [(each.key, each.channel, each.letter) for each in stored] == [
            (keys[0], "a", letter(1)),
            (keys[2], "a", letter(3)),
        ]
        assert (await spool.recall("x"), await spool.recall("y")) == ("2", None)
    assert told == []


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says", None])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, content: bytes | None) -> None:
    """Garbage, or pages torn in the middle, are kept for whoever wants to look, and a new file takes their place."""
    path, told = tmp_path / "spool.sqlite3", list[str]()
    async with Spool(path, told.append) as spool:
        await spool.add([("a", letter(n, "x" * 2000)) for n in range(50)])
    raw = bytearray(path.read_bytes())
    raw[5000:40_000] = b"\xa5" * 35_000
    path.write_bytes(content or bytes(raw))
    async with Spool(path, told.append) as spool:
        assert list(await spool.load()) == []
        assert await spool.add([("a", letter(1))]) == [1]
    [words] = told
    assert "damaged" in words
    assert (tmp_path / "spool.sqlite3.damaged").exists()


async def test_a_full_disk_turns_it_off_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the keys are 0, facts are remembered in memory, and it is told once."""
    monkeypatch.setattr(spool_module, "MAX_BYTES", 40_000)
    told: list[str] = []
    async with Spool(tmp_path / "s", told.append) as spool:
        assert await spool.add([("a", letter(1))]) == [1]
        assert await spool.add([("a", letter(2, "x" * 60_000))]) == [0]
        assert await spool.add([("a", letter(3))]) == [0]
        await spool.remember("x", "1")
        assert await spool.recall("x") == "1"
        await spool.remove([1, 0])
        assert list(await spool.load()) == []
    assert len(told) == 1
    assert "full" in told[0]


async def test_a_disk_that_does_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute it is tried again: what is written from then on is kept, facts of the meantime too; told once."""
    path, told = tmp_path / "s", list[str]()
    path.mkdir()
    async with Spool(path, told.append) as spool:
        await spool.remember("x", "1")
        path.rmdir()
        assert await spool.add([("a", letter(1))]) == [0]
        monkeypatch.setattr(spool, "_again", trio.current_time())
        assert await spool.add([("a", letter(2))]) == [1]
        assert await spool.recall("x") == "1"
        assert await spool.add([("a", letter(3))]) == [2]
    assert [bool(words) for words in told] == [True, False]


async def test_a_disk_that_stays_full_is_no_flood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again and again, and told of once."""
    monkeypatch.setattr(spool_module, "MAX_BYTES", 40_000)
    monkeypatch.setattr(spool_module, "RETRY", 0.0)
    told: list[str] = []
    async with Spool(tmp_path / "s", told.append) as spool:
        for number in range(5):
            assert await spool.add([("a", letter(number, "x" * 60_000))]) == [0]
    assert len(told) == 1


async def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder in the file's place is told in words."""
    (tmp_path / "s").mkdir()
    told: list[str] = []
    async with Spool(tmp_path / "s", told.append) as spool:
        assert await spool.add([("a", letter(1))]) == [0]
    assert told == [f"{tmp_path / 's'}: [Errno 21] Is a directory: '{tmp_path / 's'}'"]


async def test_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction past its deadline is a broken disk; nobody waits for it any longer."""
    monkeypatch.setattr(spool_module, "DEADLINE", 0.1)
    told: list[str] = []
    async with Spool(tmp_path / "s", told.append) as spool:
        with sqlite3.connect(tmp_path / "s") as other:
            other.execute("begin immediate")
            monkeypatch.setattr(spool_module, "DEADLINE", 0.05)
            assert await spool.add([("a", letter(1))]) == [0]
            other.rollback()
        other.close()
    assert len(told) == 1


# -- the notifier with a spool --------------------------------------------------------------------------------------


class Told(Context):
    """A context that can be asked to stop."""


async def run_briefly(notifier: Notifier, *events: Event, stop: bool = True) -> None:
    """Run until everything is quiet, then stop, or be cancelled as by a crash."""
    context = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        for event in events:
            notifier.hook(event)
        await trio.sleep(0.3)
        if stop:
            context.stopping.set()
        else:
            nursery.cancel_scope.cancel()


def connected(session: int) -> Connected:
    return Connected(at=0, origin=UPBIT, session=session, seconds=1)


async def test_what_was_not_sent_is_sent_by_the_next_process(tmp_path: Path) -> None:
    """Letters go out under their own ids, in order, before newer ones; channels that are gone lose theirs."""
    stuck, gone = Fake("a"), Fake("gone")
    stuck.gate = gone.gate = trio.Event()
    await run_briefly(Notifier([stuck, gone], spool=tmp_path / "s"), connected(2), connected(3), stop=False)
    fake = Fake("a")
    await run_briefly(Notifier([fake], spool=tmp_path / "s"), connected(4))
    assert fake.numbers == [2, 3, 4]
    again = Fake("a")
    await run_briefly(Notifier([again, Fake("gone")], spool=tmp_path / "s"))
    assert again.sent == []


async def test_an_unclean_stop_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash the start's summary has the interval; after a clean stop it has not."""
    monkeypatch.setattr(incidents, "START_LEAST", 0.0)
    told: list[bool] = []
    for stop in (False, True, True):
        fake = Fake("a")
        live = Live(at=trio.current_time(), origin=UPBIT, session=1)
        await run_briefly(Notifier([Route(fake, Style.INCIDENTS)], spool=tmp_path / "s"), live, stop=stop)
        texts = [text for _, text in fake.sent]
        assert texts[0].startswith("1 of 1 feeds are live")
        assert len(texts) == 1 + stop
        told.append("the previous run ended without a stop: no data between 20" in texts[0])
    assert told == [False, True, False]


async def test_a_broken_spool_is_told_and_alerts_go_on(tmp_path: Path) -> None:
    """The channels hear that a kill would lose alerts; the alerts themselves arrive."""
    (tmp_path / "s").mkdir()
    fake, events = Fake("a"), list[Event]()
    await run_briefly(Notifier([fake], spool=tmp_path / "s", emit=events.append), connected(2))
    texts = [text for _, text in fake.sent]
    assert sum("cannot be kept on disk" in text for text in texts) == 1
    assert fake.numbers == [2]
    assert [event.channel for event in events if isinstance(event, ChannelTrouble)] == ["spool"]


async def test_a_spool_that_works_again_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble and its end are one message each, in every style."""
    monkeypatch.setattr(spool_module, "RETRY", 0.0)
    (tmp_path / "s").mkdir()
    fake, context = Fake("a"), Told()
    notifier = Notifier([fake], spool=tmp_path / "s")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        notifier.hook(connected(2))
        await trio.sleep(0.2)
        (tmp_path / "s").rmdir()
        notifier.hook(connected(3))
        await trio.sleep(0.2)
        context.stopping.set()
    heads = [text.split("\n")[0] for _, text in fake.sent]
    assert [head for head in heads if "disk" in head] == [
        "alerts cannot be kept on disk",
        "alerts are kept on disk again",
    ]
    assert fake.numbers == [2, 3]


# -- killed processes -----------------------------------------------------------------------------------------------


@attrs.define
class Trouble:
    """Answers like the Bot API on a bad day, and notes every breach of its rules."""

    rate: float
    random: random.Random
    spacing: float
    moves: dict[int, int] = attrs.field(factory=dict[int, int])
    until: dict[int, float] = attrs.field(factory=dict[int, float])
    last: dict[int, float] = attrs.field(factory=dict[int, float])
    breaches: list[str] = attrs.field(factory=list[str])
    unanswered: int = 0
    """Messages that arrived, and whose answer did not: only these may be sent again."""

    def judge(self, fields: dict[str, Any]) -> Reply:
        """What a call is answered."""
        now, chat = trio.current_time(), fields["chat_id"]
        if now < self.until.get(chat, 0):
            self.breaches.append(f"{chat}: {self.until[chat] - now:.3f} s before retry_after")
        if now - self.last.get(chat, -100) < self.spacing:
            self.breaches.append(f"{chat}: {now - self.last[chat]:.3f} s after the call before")
        self.last[chat] = now
        if chat in self.moves:
            return refusal(400, "group chat was upgraded", migrate_to_chat_id=self.moves[chat])
        draw = self.random.random()
        if draw > self.rate:
            return Reply(delay=0.2 if draw > 0.98 else 0.0)
        match self.random.randrange(7):
            case 0:
                self.until[chat] = now + 1
                return refusal(429, "Too Many Requests: retry after 1", retry_after=1)
            case 1 if "entities" in fields:
                return refusal(400, "Bad Request: can't parse entities")
            case 2:
                return refusal(502, "Bad Gateway")
            case 3:
                self.unanswered += 1
                return Reply(reset=True)
            case 4:
                return refusal(401, "Unauthorized")
            case 5:
                return refusal(403, "Forbidden: bot was blocked by the user")
            case _:
                return Reply()


async def killed(folder: Path, api: BotApi, spacing: float, last: int, chats: list[int], kills: list[float]) -> None:
    """Run the alerter, killing it after so many seconds each, and start it again where it was, until all is sent.

    What a channel refuses while it is asked to end is left to the next start.
    """
    (folder / "ca.pem").write_bytes(api.ca_pem)
    first, said = 1, b""
    for kill in [*kills, *[600.0] * 20]:
        arguments = [str(folder), api.url, str(spacing), str(first), str(last), *map(str, chats)]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.alerter", *arguments],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        assert process.stdout is not None
        said = b""
        with trio.move_on_after(kill):
            async for data in process.stdout:
                said += data
        process.kill()
        async for data in process.stdout:
            said += data
        await process.wait()
        told = [int(number) for number in said.split() if number.isdigit()]
        first = max([first - 1, *told]) + 1
        if said.endswith(b"done\n") and not left(folder):
            return
    pytest.fail(f"{left(folder)} letters are still in the spool")


def left(folder: Path) -> int:
    """How many letters lie in the spool."""
    with closing(sqlite3.connect(folder / "spool.sqlite3")) as spool:
        return spool.execute("select count(*) from letters").fetchone()[0]


def judge(api: BotApi, trouble: Trouble, last: int, chats: list[int], kills: int) -> None:
    """All arrived, in order, repeats under their own ids, no rule broken."""
    assert trouble.breaches == []
    arrived: dict[int, list[tuple[int, str]]] = defaultdict(list)
    home = {new: old for old, new in trouble.moves.items()}
    # a reader has it too where only our answer was lost
    seen = Counter((call.fields["chat_id"], call.text) for call in api.ledger if call.status in (0, 200))
    repeats = seen.total() - len(seen)
    # Telegram's own bounds, by the server's clock and over every kill: 20 a minute to a group, 30 a second in all
    for chat in {call.fields["chat_id"] for call in api.ledger if call.fields["chat_id"] < 0}:
        times = [call.at for call in api.ledger if call.fields["chat_id"] == chat]
        assert all(later - earlier >= 60 for earlier, later in zip(times, times[20:], strict=False)), chat
    times = [call.at for call in api.ledger]
    # 25 of ours; over a restart what is known of a call is when it began
    assert all(later - earlier >= 25 / 30 for earlier, later in zip(times, times[25:], strict=False))
    for call in api.ledger:
        if call.status == 200:
            number = re.search(r"(\d+)번째 연결", call.text)
            sent_to: int = call.fields["chat_id"]
            chat = home.get(sent_to, sent_to)
            arrived[chat].append((int(number[1]) if number else 1, call.text.split("\n#")[1][:10]))
    for chat in chats:
        firsts = list(dict.fromkeys(number for number, _ in arrived[chat]))
        assert firsts == list(range(1, last + 1)), chat
        ids: dict[int, set[str]] = defaultdict(set)
        for number, mark in arrived[chat]:
            ids[number].add(mark)
        # a kill between the spool and our own note makes the test tell it once more, as a new one
        assert sum(len(marks) - 1 for marks in ids.values()) <= kills
    assert bool(trouble.unanswered) <= repeats <= trouble.unanswered + kills * len(chats)
    if not kills:
        assert repeats <= 0.02 * last * len(chats)


@pytest.mark.slow
async def test_at_most_two_in_a_hundred_are_repeated(tmp_path: Path) -> None:
    """On a bad day without a kill, with one answer in a hundred lost, nothing else is sent twice."""
    async with bot_api() as api:
        trouble = Trouble(0.05, random.Random(3), 0.0)
        api.judge = trouble.judge
        await killed(tmp_path, api, 0.0, 40, [*range(1, 11)], [])
        judge(api, trouble, 40, [*range(1, 11)], 0)
    assert trouble.unanswered


async def test_alerts_survive_kills(tmp_path: Path) -> None:
    """The short form: a few alerts, each kind of trouble, one kill."""
    async with bot_api() as api:
        trouble = Trouble(0.3, random.Random(5), 0.05, moves={-7: -1007})
        api.judge = trouble.judge
        await killed(tmp_path, api, 0.05, 4, [1, -7], [0.9])
        judge(api, trouble, 4, [1, -7], 1)
    written = b"".join([file.read_bytes() for file in tmp_path.iterdir()])  # noqa: ASYNC240 - nothing else runs
    assert KEY.encode() not in written


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_a_thousand_alerts_survive_kills(tmp_path: Path) -> None:
    """Fifty alerts to each of twenty chats, at Telegram's own pace, under trouble and ten kills."""
    chats = [*range(1, 19), -20, -21]
    async with bot_api() as api:
        trouble = Trouble(0.15, random.Random(7), 1.0, moves={-21: -100021})
        api.judge = trouble.judge
        await killed(tmp_path, api, 1.0, 50, chats, [2.0, 3.0, 5.0, 8.0, 2.5, 7.0, 4.0, 9.0, 6.0, 3.5])
        judge(api, trouble, 50, chats, 10)
