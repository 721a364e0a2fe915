import io
import random
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.actor import Context
from actors.errors import BACKOFF, NOW, QUARANTINE, Reason, Way, after
from actors.events import (
    ChannelTrouble,
    Connected,
    Disconnected,
    Event,
    EventHub,
    Failed,
    LinkState,
    Notified,
    Origin,
    Reconnecting,
    StateChanged,
)
from actors.notifier import (
    Channel,
    ChannelError,
    Console,
    Language,
    Letter,
    Notifier,
    Secret,
    Severity,
    Telegram,
    Undeliverable,
)
from tests.bot_api import TOKEN, bot_api, refusal

UPBIT = Origin("upbit-krw", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")


class Fake:
    """A channel that keeps what it is given, or does what its script says."""

    def __init__(self, name: str = "fake", *script: Exception | None, language: Language = Language.EN) -> None:
        self.name = name
        self.language = language
        self.script = deque(script)
        self.sent: list[tuple[float, str]] = []
        self.tried: list[float] = []
        self.entered = 0
        self.gate = trio.Event()
        self.gate.set()

    def split(self, letter: Letter) -> Sequence[str]:
        return letter.text.split("|")

    async def send(self, text: str) -> None:
        self.tried.append(trio.current_time())
        await self.gate.wait()
        await trio.lowlevel.checkpoint()
        trouble = self.script.popleft() if self.script else None
        if trouble is not None:
            raise trouble
        self.sent.append((trio.current_time(), text))

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.entered -= 1

    @property
    def numbers(self) -> list[int]:
        """Which connects have arrived, by their session number."""
        return [int(text.split("no. ")[1].split(",")[0]) for _, text in self.sent if "no. " in text]


class Told(Context):
    """A supervisor's context that remembers what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def started(self, value: object = None) -> None:
        self.said.append("started")

    def healthy(self) -> None:
        self.said.append("healthy")


def connected(session: int = 2) -> Connected:
    return Connected(at=0, origin=UPBIT, session=session, seconds=1)


def make(*channels: Channel, capacity: int = 100) -> tuple[Notifier, list[Event]]:
    events: list[Event] = []
    return Notifier(channels, emit=events.append, random=random.Random(1), capacity=capacity), events


def outcomes(events: Sequence[Event], outcome: str, channel: str = "fake") -> int:
    return sum(
        event.count
        for event in events
        if isinstance(event, Notified) and (event.outcome, event.channel) == (outcome, channel)
    )


# -- carrying -------------------------------------------------------------------------------------------------------


async def test_each_event_is_one_message_in_order(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Style guide: a connect, a cut, its end and the retry are four messages, each channel in its own language."""
    ko, en = Fake("ko", language=Language.KO), Fake("en")
    notifier, events = make(ko, en)
    nursery.start_soon(notifier.run)
    for event in (
        connected(),
        Failed(at=0, origin=UPBIT, session=2, reason=Reason.EOF, detail="", connected=True),
        Disconnected(at=0, origin=UPBIT, session=2, reason=Reason.EOF, seconds=9),
        Reconnecting(at=0, origin=UPBIT, delay=1, attempt=1, way=Way.BACKOFF, reason=Reason.EOF),
        StateChanged(at=0, origin=UPBIT, state=LinkState.LIVE, previous=LinkState.CONNECTED),
        Notified(at=0, channel="ko", outcome="sent"),
    ):
        notifier.hook(event)
    await wait_all_tasks_blocked()
    assert [text.split("\n")[0] for _, text in ko.sent] == [
        "[업비트] 웹소켓 연결 성공",
        "[업비트] 웹소켓 연결 끊김",
        "[업비트] 웹소켓 연결 종료",
        "[업비트] 웹소켓 재연결 시도",
    ]
    assert en.sent[0][1].startswith("[Upbit] WebSocket connected\n")
    assert [outcomes(events, "sent", name) for name in ("ko", "en")] == [4, 4]


async def test_what_is_told_before_the_start_is_carried(nursery: trio.Nursery) -> None:
    """The mailbox takes events before the actor runs, and while it is being restarted."""
    fake = Fake()
    notifier, _ = make(fake)
    notifier.hook(connected())
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    assert fake.numbers == [2]


async def test_a_dead_channel_delays_no_other(nursery: trio.Nursery) -> None:
    """While one channel hangs in a send, the other gets everything."""
    dead, alive = Fake("dead"), Fake("alive")
    dead.gate = trio.Event()
    notifier, _ = make(dead, alive)
    nursery.start_soon(notifier.run)
    for number in range(50):
        notifier.hook(connected(number + 2))
    await wait_all_tasks_blocked()
    assert len(alive.sent) == 50
    assert dead.sent == []
    assert notifier.queued == {"dead": 50, "alive": 0}


async def test_a_full_queue_drops_the_oldest_and_says_so(nursery: trio.Nursery) -> None:
    """What was dropped is counted, and told once in the next message that gets through."""
    fake = Fake()
    fake.gate = trio.Event()
    notifier, events = make(fake, capacity=3)
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    for number in range(2, 10):
        notifier.hook(connected(number))
        await wait_all_tasks_blocked()
    assert notifier.queued == {"fake": 4}
    fake.gate.set()
    await wait_all_tasks_blocked()
    assert fake.numbers == [2, 7, 8, 9]
    assert outcomes(events, "dropped") == 4
    lost = [text.split("\n")[-2] for _, text in fake.sent if "were lost" in text]
    assert lost == ["(4 notifications before this one were lost)"]
    assert "before this one" in fake.sent[1][1]


async def test_a_full_mailbox_is_counted_for_every_channel(nursery: trio.Nursery) -> None:
    """Events that the actor had no time for are lost to every channel, and told to every reader."""
    one, two = Fake("one"), Fake("two")
    notifier, events = make(one, two, capacity=2)
    for number in range(2, 7):
        notifier.hook(connected(number))
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    assert one.numbers == two.numbers == [5, 6]
    assert [outcomes(events, "dropped", name) for name in ("one", "two")] == [3, 3]
    assert "(3 notifications" in one.sent[0][1]
    assert "were lost" not in one.sent[1][1]


async def test_a_long_text_is_one_message_in_pieces(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A piece that fails is tried again alone, and the whole counts as one."""
    fake = Fake("fake", None, ChannelError("not now"))
    notifier, events = make(fake)
    nursery.start_soon(notifier.run)
    notifier.hook(Failed(at=0, origin=UPBIT, session=2, reason=Reason.EOF, detail="a|b", connected=True))
    await trio.sleep(5)
    assert [text.split("\n#")[0].split("\n")[-1] for _, text in fake.sent] == ["detail: a", "b"]
    assert outcomes(events, "sent") == 1


# -- trouble --------------------------------------------------------------------------------------------------------


async def test_a_transient_failure_is_retried_with_backoff(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Delays grow, trouble is told once, and after a success they start over."""
    fake = Fake("fake", *[ChannelError("no network", BACKOFF)] * 4, None, ChannelError("no network", NOW))
    notifier, events = make(fake)
    nursery.start_soon(notifier.run)
    notifier.hook(connected(2))
    notifier.hook(connected(3))
    await trio.sleep(100)
    assert fake.numbers == [2, 3]
    waits = [later - earlier for earlier, later in zip(fake.tried, fake.tried[1:], strict=False)]
    assert 0.5 <= waits[0] <= 1
    assert 4 <= waits[3] <= 8
    assert 0.5 <= waits[5] <= 1
    troubles = [event for event in events if isinstance(event, ChannelTrouble)]
    assert [(event.channel, event.error) for event in troubles] == [("fake", "no network")] * 2


async def test_retry_after_is_obeyed_exactly(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next attempt is made when the channel said, not sooner, not later."""
    fake = Fake("fake", ChannelError("slow down", after(37)))
    notifier, _ = make(fake)
    nursery.start_soon(notifier.run)
    notifier.hook(connected())
    await trio.sleep(100)
    assert [at - fake.tried[0] for at in fake.tried] == [0, 37]


async def test_a_quarantined_channel_is_tried_every_five_minutes(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A refusal as a whole is told in one event, even if it began as something smaller, and nothing is lost."""
    fake = Fake("fake", ChannelError("no network"), *[ChannelError("check the token", QUARANTINE)] * 3)
    notifier, events = make(fake)
    nursery.start_soon(notifier.run)
    notifier.hook(connected())
    await trio.sleep(1000)
    waits = [later - earlier for earlier, later in zip(fake.tried[1:], fake.tried[2:], strict=False)]
    assert waits == pytest.approx([300, 300, 300])
    assert fake.numbers == [2]
    troubles = [(event.error, event.delay) for event in events if isinstance(event, ChannelTrouble)]
    assert troubles[1:] == [("check the token", 300)]


async def test_an_undeliverable_message_is_dropped_and_owned_up_to(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A text that the channel will never take holds up nothing; the next message says that one was lost."""
    fake = Fake("fake", *[Undeliverable("bad text")] * 2)
    notifier, events = make(fake)
    nursery.start_soon(notifier.run)
    for number in (2, 3, 4):
        notifier.hook(connected(number))
    await wait_all_tasks_blocked()
    assert fake.numbers == [4]
    assert "(2 notifications" in fake.sent[0][1]
    assert (outcomes(events, "failed"), outcomes(events, "sent")) == (2, 1)
    troubles = [event for event in events if isinstance(event, ChannelTrouble)]
    assert [(event.error, event.delay) for event in troubles] == [("bad text", None)]


async def test_a_bug_in_a_channel_is_a_crash_that_does_not_repeat(nursery: trio.Nursery) -> None:
    """An unforeseen exception ends the actor; its next incarnation goes on behind the text that brought it about."""
    fake = Fake("fake", RuntimeError("bug"))
    notifier, events = make(fake)
    for number in (2, 3):
        notifier.hook(connected(number))
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="bug")):
        await notifier.run()
    assert fake.entered == 0
    assert outcomes(events, "failed") == 1
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    assert fake.numbers == [3]


async def test_a_cancelled_send_is_repeated_by_the_next_incarnation(nursery: trio.Nursery) -> None:
    """What was in flight when the actor was cancelled goes out again: at least once."""
    fake = Fake()
    fake.gate = trio.Event()
    notifier, _ = make(fake)
    notifier.hook(connected())
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as inner:
            inner.start_soon(notifier.run)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert fake.entered == 0
    fake.gate.set()
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    assert fake.numbers == [2]


def test_two_channels_of_one_name_are_refused() -> None:
    """A channel's name is a metric's label and a config table's key."""
    with pytest.raises(ValueError, match="a name of its own: a, a"):
        Notifier([Fake("a"), Fake("a")])


# -- stopping -------------------------------------------------------------------------------------------------------


async def test_stopping_flushes_what_was_told(autojump_clock: MockClock) -> None:
    """Asked to stop, the actor sends everything told so far, retries included, and returns."""
    fake = Fake("fake", ChannelError("not now"))
    notifier, _ = make(fake)
    context = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        await wait_all_tasks_blocked()
        assert context.said == ["started", "healthy"]
        for number in range(2, 22):
            notifier.hook(connected(number))
        context.stopping.set()
    assert fake.numbers == list(range(2, 22))
    assert fake.entered == 0


async def test_an_idle_notifier_stops_at_once(autojump_clock: MockClock) -> None:
    """With nothing to send, stopping takes no time."""
    notifier, _ = make(Fake("a"), Fake("b"))
    context = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        await wait_all_tasks_blocked()
        context.stopping.set()
    assert trio.current_time() == 0


@pytest.mark.parametrize("already", [True, False])
async def test_a_quarantined_channel_does_not_hold_up_a_stop(already: bool, autojump_clock: MockClock) -> None:
    """Waiting five minutes for a refusal makes no sense when we are asked to end; the message stays queued."""
    fake = Fake("fake", ChannelError("check the token", QUARANTINE))
    notifier, _ = make(fake)
    context = Told()
    if already:
        context.stopping.set()
    notifier.hook(connected())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: notifier.run(task_status=context))
        await wait_all_tasks_blocked()
        context.stopping.set()
    assert trio.current_time() == 0
    assert notifier.queued == {"fake": 1}


async def test_it_can_run_again_after_a_stop(autojump_clock: MockClock) -> None:
    """A second incarnation starts afresh."""
    fake = Fake()
    notifier, _ = make(fake)
    for number in (2, 3):
        context = Told()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda context=context: notifier.run(task_status=context))
            await wait_all_tasks_blocked()
            notifier.hook(connected(number))
            await wait_all_tasks_blocked()
            context.stopping.set()
    assert fake.numbers == [2, 3]


# -- as a subscriber ------------------------------------------------------------------------------------------------


async def test_it_subscribes_and_reports_through_the_same_hub(nursery: trio.Nursery) -> None:
    """Its own events pass through the hub and are not told again."""
    hub, seen = EventHub(), list[Event]()
    fake = Fake()
    notifier = Notifier([fake], emit=hub.emit)
    hub.subscribe("seen", seen.append)
    hub.subscribe("notifier", notifier.hook)
    nursery.start_soon(notifier.run)
    hub.emit(connected())
    await wait_all_tasks_blocked()
    assert [type(event) for event in seen] == [Connected, Notified]


@pytest.mark.usefixtures("untraced")
async def test_telling_costs_the_connector_little(nursery: trio.Nursery) -> None:
    """The hook costs a few microseconds at most (the bound is wide, for busy machines)."""
    notifier = Notifier([Fake()])
    nursery.start_soon(notifier.run)
    await wait_all_tasks_blocked()
    event, best = connected(), float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            notifier.hook(event)
        best = min(best, (time.perf_counter() - began) / 500)
    assert best < 5e-6


# -- console --------------------------------------------------------------------------------------------------------


async def test_the_console_calls_a_function() -> None:
    """A function gets the whole text with a newline, in the event loop."""
    lines: list[str] = []
    async with Console(lines.append) as console:
        assert console.split(Letter("1", Severity.INFO, "a\nb", 0)) == ("a\nb",)
        await console.send("a\nb")
    assert lines == ["a\nb\n"]


async def test_the_console_writes_a_stream() -> None:
    """A stream is written and flushed."""
    stream = io.StringIO()
    async with Console(stream, language=Language.EN) as console:
        await console.send("a")
    assert stream.getvalue() == "a\n"


async def test_a_closed_console_is_a_channel_in_quarantine() -> None:
    """A stream that is closed will not come back."""
    stream = io.StringIO()
    stream.close()
    with pytest.raises(ChannelError, match="cannot be written") as caught:
        await Console(stream).send("a")
    assert caught.value.advice.way is Way.QUARANTINE


async def test_a_console_that_nobody_reads_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe costs one thread and a deadline, not the event loop."""
    monkeypatch.setattr("actors.notifier.console._TIMEOUT", 0.1)
    release = trio.Event()

    class Stuck(io.StringIO):
        def write(self, text: str, /) -> int:
            trio.from_thread.run(release.wait)
            return super().write(text)

    console = Console(Stuck())
    for _ in range(2):
        with pytest.raises(ChannelError, match="took nothing") as caught:
            await console.send("a")
        assert caught.value.advice.way is Way.BACKOFF
    release.set()
    await wait_all_tasks_blocked()


# -- end to end -----------------------------------------------------------------------------------------------------


async def test_alerts_reach_a_bot_api_server_in_korean(nursery: trio.Nursery, tmp_path: Path) -> None:
    """Events come out at the Bot API, over TLS, in order, through a refusal and a lost answer."""
    async with bot_api() as api:
        (tmp_path / "ca.pem").write_bytes(api.ca_pem)
        telegram = Telegram(Secret(TOKEN), -100, base_url=api.url, ca_file=tmp_path / "ca.pem")
        notifier, events = make(telegram)
        context = Told()
        nursery.start_soon(lambda: notifier.run(task_status=context))
        api.script.append(refusal(429, "Too Many Requests: retry after 1", retry_after=1))
        notifier.hook(connected())
        notifier.hook(Failed(at=0, origin=UPBIT, session=2, reason=Reason.EOF, detail="", connected=True))
        refused, first, second = await api.calls(3)
        assert refused.status == 429
        assert first.at - refused.at >= 1
        assert second.at - first.at >= 1
        with trio.fail_after(5):
            while outcomes(events, "sent", "telegram") < 2:
                await wait_all_tasks_blocked(0.001)
        assert [text.split("\n")[0] for text in api.delivered()] == [
            "[업비트] 웹소켓 연결 성공",
            "[업비트] 웹소켓 연결 끊김",
        ]
