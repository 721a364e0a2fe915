"""A restart of the process in the middle of an incident: the next one goes on with it, and tells one thing more."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, time
from pathlib import Path
from time import time_ns

import attrs
import pytest
import trio

from actors.actor import Context
from actors.errors import Reason
from actors.events import Event, Failed, LinkState, Live, Origin, StateChanged
from actors.notifier import Notifier, QuietHours, Route, Rules, Severity, Style, Window
from actors.notifier.folds import EDGE_WINDOW, REPEATS, SETTLE, WAITS
from actors.notifier.handover import Before, Crashes, handed, inherited
from actors.notifier.incidents import START_LEAST, START_WAIT, Incidents
from actors.notifier.notifier import SIGN_OF_LIFE
from actors.notifier.reports import Incident, Kind, Phase, Report, Scope, Started, Stopped
from tests.test_incidents import BEGIN, EPOCH, FAR, WARN, A, B, Scene, born, down, gap, origin, up
from tests.test_notifier import Fake
from tests.test_storms import hosts

AWAY = 3.0
"""Seconds between the end of one process and the beginning of the next."""


def wall(at: float) -> int:
    return EPOCH + round(at * 1e9)


@attrs.define
class Process(Scene):
    """A scene that leaves what it has told of to the next."""

    note: str = ""
    noted: float = 0.0
    joined: int = 0

    def step(self) -> None:
        before = len(self.told)
        Scene.step(self)
        late = self.now >= self.noted + SIGN_OF_LIFE and self.incidents.joined > self.joined
        if len(self.told) > before or late:
            self.note, self.noted = handed(self.incidents.going_on, self.now, wall(self.now)), self.now
            self.joined = self.incidents.joined


def appears(feed: Origin, at: float) -> Event:
    return attrs.evolve(born(feed), at=at)


def first(feeds: Sequence[Origin]) -> Process:
    """A process whose feeds are all live, and whose start has been told."""
    process = Process(Rules())
    process.play([*map(born, feeds), *(up(0.5, feed) for feed in feeds)], BEGIN)
    process.told.clear()
    return process


def following(process: Process, feeds: Iterable[Origin], at: float, *, clean: bool) -> tuple[Process, list[Report]]:
    """The process that comes after one that ends at ``at``, and what that one has told at its end."""
    last: list[Report] = []
    if clean:
        closed = [StateChanged(at=at, origin=f, state=LinkState.STOPPED, previous=LinkState.LIVE) for f in feeds]
        process.play(closed, at)
        last.append(process.incidents.stop(at, kept=True))
    begins = at + AWAY
    second = Process(Rules(), now=begins, note=process.note)
    left = inherited(process.note, begins, wall(begins))
    second.incidents = Incidents(Rules(), begins, Before(unclean=None if clean else (at, begins), left=left))
    return second, last


def restarted(
    feeds: Sequence[Origin], events: Sequence[Event], at: float, until: float, *, clean: bool
) -> list[Report]:
    """What two processes tell of ``events``, the first of which ends at ``at``."""
    one = first(feeds)
    one.play([event for event in events if event.at < at], at)
    two, last = following(one, feeds, at, clean=clean)
    begins = at + AWAY
    dials: list[Event] = []
    for feed in feeds:
        dials.append(appears(feed, begins))
        past = [e for e in events if isinstance(e, Failed | Live) and e.origin == feed and e.at <= begins + 0.5]
        cut = past and isinstance(past[-1], Failed)
        dials.append(attrs.evolve(past[-1], at=begins + 0.5) if cut else up(begins + 0.5, feed))
    two.play([*dials, *(event for event in events if event.at > begins + 0.5)], until)
    return [*(each.report for each in one.told), *last, *(each.report for each in two.told)]


def straight(feeds: Sequence[Origin], events: Sequence[Event], until: float) -> list[Report]:
    """What one process tells of them."""
    one = first(feeds)
    one.play(events, until)
    return [each.report for each in one.told]


def resolved(told: Sequence[Report]) -> bool:
    """Whether the reader knows at the end that all is well."""
    last = told[-1]
    return (isinstance(last, Started) and not last.waiting) or (
        isinstance(last, Incident) and last.phase is Phase.RESOLVED
    )


Scenario = Callable[[float, Reason], tuple[list[Origin], list[Event]]]


def host(spread: float, reason: Reason) -> tuple[list[Origin], list[Event]]:
    feeds = [origin(f"u{n}") for n in range(100)]
    lost = [down(BEGIN + spread * n / 99, feed, reason) for n, feed in enumerate(feeds)]
    return [*feeds, FAR], [*lost, *(up(BEGIN + 300 + n / 10, feed) for n, feed in enumerate(feeds))]


def network(spread: float, reason: Reason) -> tuple[list[Origin], list[Event]]:
    feeds = hosts(12, 3)
    lost = [down(BEGIN + spread * n / 35, feed, reason) for n, feed in enumerate(feeds)]
    return feeds, [*lost, *(up(BEGIN + 300 + n, feed) for n, feed in enumerate(feeds))]


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("reason", [Reason.EOF, Reason.HTTP_FORBIDDEN, Reason.DNS_NXDOMAIN])
@pytest.mark.parametrize(
    ("scenario", "spread"), [(host, 5.0), (host, 40.0), (network, 0.0), (network, 3.0), (network, 60.0)]
)
def test_a_restart_in_the_middle(scenario: Scenario, spread: float, reason: Reason, *, clean: bool) -> None:
    """Whenever it comes, and whether it was asked for or not, it is no more than one message more."""
    feeds, events = scenario(spread, reason)
    end = BEGIN + 600
    usual = len(straight(feeds, events, end))
    for after in (0.5, 6, 12, 31, 45, 71, 150, 301):
        told = restarted(feeds, events, BEGIN + after, end, clean=clean)
        assert len(told) <= usual + 1, after
        assert resolved(told), after


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("after", [20.0, 100.0, 1800.0, 3500.0])
def test_a_restart_in_an_hour_of_flapping(after: float, *, clean: bool) -> None:
    """The note is not told again, and at its end it is said to be calm."""
    feeds = [A, B, FAR]
    events = [e for n in range(720) for e in (down(BEGIN + 5 * n, A), up(BEGIN + 5 * n + 2.5, A))]
    told = restarted(feeds, events, BEGIN + after, BEGIN + 3600 + EDGE_WINDOW + 10, clean=clean)
    assert [r.phase for r in told if isinstance(r, Incident)] == [Phase.OPENED, Phase.RESOLVED]
    assert len(told) == 2 + 1 + clean <= 6 + 1


def test_a_clean_restart_is_told_with_what_comes_next() -> None:
    """The stop says so; the recovery tells of the start, how it went, and counts from the first process on."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A)], BEGIN + 60)
    two, [stop] = following(one, [A, B, FAR], BEGIN + 60, clean=True)
    assert isinstance(stop, Stopped)
    assert (stop.down, stop.goes_on) == (1, True)
    begins = two.now
    told = two.play([appears(A, begins), *(up(begins + 1, f) for f in (B, FAR)), up(begins + 200, A)], begins + 2000)
    [over] = [each.report for each in told]
    assert isinstance(over, Incident)
    [trouble] = over.troubles
    assert (over.phase, trouble.since, trouble.until) == (Phase.RESOLVED, BEGIN, begins + 200)
    assert over.started == Started(severity=Severity.INFO, at=begins, total=3, waiting=())


def test_an_unclean_restart_is_told_within_a_minute() -> None:
    """With the incident's own message if that comes sooner, as a warning at least; then it is not told again."""
    for back, kinds in ((10, [Incident]), (100, [Started, Incident])):
        one = first([A, B, FAR])
        one.play([down(BEGIN, A)], BEGIN + 60)
        two, _ = following(one, [A, B, FAR], BEGIN + 60, clean=False)
        begins = two.now
        told = two.play(
            [appears(A, begins), *(up(begins + 1, f) for f in (B, FAR)), up(begins + back, A)], begins + 2000
        )
        assert [type(each.report) for each in told] == kinds
        assert told[0].at == min(begins + back + SETTLE, begins + START_WAIT)
        assert told[0].report.severity is Severity.WARNING
        start = told[0].report.started if isinstance(told[0].report, Incident) else told[0].report
        assert isinstance(start, Started)
        assert start.unclean == (BEGIN + 60, begins)


def test_an_old_incident_does_not_hide_the_start() -> None:
    """Where it has been repeated already, the start is told after a minute, and is its next repetition."""
    one = first([A, B, FAR])
    repeated = BEGIN + WARN + REPEATS[0]
    one.play([down(BEGIN, A)], repeated + 1)
    two, [stop] = following(one, [A, B, FAR], repeated + 1, clean=True)
    assert isinstance(stop, Stopped)
    assert not stop.goes_on
    begins = two.now
    told = two.play([appears(A, begins), *(up(begins + 1, f) for f in (B, FAR))], begins + START_WAIT + REPEATS[2])
    assert [(each.at, type(each.report)) for each in told] == [
        (begins + START_WAIT, Started),
        (begins + START_WAIT + REPEATS[2], Incident),
    ]


def test_a_repetition_that_fell_due_meanwhile_is_about_all_feeds() -> None:
    """It waits until every feed of the incident has had the time to appear."""
    one = first([A, B, FAR])
    due = BEGIN + WARN + REPEATS[0]
    one.play([down(BEGIN, A), down(BEGIN, B)], due - 1)
    two, _ = following(one, [A, B, FAR], due - 1, clean=True)
    begins = two.now
    told = two.play([appears(A, begins), up(begins + 1, FAR), appears(B, begins + 1)], begins + 30)
    assert [(each.at, type(each.report)) for each in told] == [(begins + 1 + SETTLE, Incident)]
    assert isinstance(told[0].report, Incident)
    assert len(told[0].report.troubles) == 2


def test_a_start_is_not_held_back_for_longer_than_a_repetition() -> None:
    """In quiet hours, when the incident's own messages wait, the start is told by itself."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A)], BEGIN + 60)
    begins = BEGIN + 60 + AWAY
    night = QuietHours(time(0), time(23, 59, 59), UTC)
    two = Process(Rules(quiet_hours=night), now=begins)
    two.incidents = Incidents(two.rules, begins, Before(left=inherited(one.note, begins, wall(begins))))
    [start] = two.play([appears(A, begins), *(up(begins + 1, f) for f in (B, FAR))], begins + REPEATS[0])
    assert isinstance(start.report, Started)
    assert [each.origin for each in start.report.waiting] == [A]
    assert start.at == begins + REPEATS[0]


def test_feeds_that_the_next_process_does_not_have() -> None:
    """An incident without feeds is gone, also where one of the name has moved: the start is told after a minute."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A), down(BEGIN, B)], BEGIN + 60)
    two, _ = following(one, [A, B, FAR], BEGIN + 60, clean=True)
    begins = two.now
    moved = attrs.evolve(B, host="elsewhere")
    told = two.play([up(begins + 1, FAR), up(begins + 1, moved), up(begins + 100, A)], begins + 2000)
    assert [(each.at, type(each.report)) for each in told] == [(begins + START_WAIT, Started)]


def test_a_feed_that_is_muted_goes_on_in_silence() -> None:
    """Who is muted in the next process is not in its incidents."""
    one = first([A, FAR])
    one.play([down(BEGIN, A)], BEGIN + 60)
    begins = BEGIN + 60 + AWAY
    two = Process(Rules(), now=begins)
    told = (Window("a", wall(0), wall(begins + 9000)),)
    left = inherited(one.note, begins, wall(begins))
    two.incidents = Incidents(two.rules, begins, Before(windows=told, left=left))
    assert [type(each.report) for each in two.play([appears(A, begins), up(begins + 1, FAR)], begins + 500)] == [
        Started
    ]


def test_a_stop_is_no_recovery() -> None:
    """A feed that is down ends at once, those that are well take their leave: nothing is said to be over."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A), down(BEGIN, B), up(BEGIN + 40, B)], BEGIN + 60)
    closed = [
        StateChanged(at=BEGIN + 60 + n, origin=feed, state=LinkState.STOPPED, previous=LinkState.LIVE)
        for n, feed in enumerate((A, B, FAR))
    ]
    assert one.play(closed, BEGIN + 70) == []
    assert inherited(one.note, 0.0, wall(0)).keys() == {"a", "b"}


def test_what_is_written_is_read() -> None:
    """Every part comes back as it was, on the next process's clock; what is damaged is nothing."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A), down(BEGIN + 1, B), gap(BEGIN + 2, A, 1.5), up(BEGIN + 32, B)], BEGIN + 33)
    note = handed(one.incidents.going_on, BEGIN + 33, wall(BEGIN + 33))
    left = inherited(note, 10.0, wall(BEGIN + 43))
    assert left.keys() == {"a", "b"}
    a, b = left["a"], left["b"]
    assert (a.host, a.reason, a.severity, a.lost, a.until) == (A.host, Reason.EOF, Severity.WARNING, 1.5, None)
    assert (a.since, b.until) == pytest.approx((10 - 43, 10 - 43 + 32))
    assert a.fold is b.fold
    assert (a.fold.scope, a.fold.kind, a.fold.told_at) == (Scope.HOST, Kind.OUTAGE, pytest.approx(10 - 43 + 30))
    for damaged in (
        None,
        "",
        "{",
        "[]",
        "3",
        '{"folds": [1]}',
        note.replace("outage", "age"),
        note.replace("since", "s"),
    ):
        assert inherited(damaged, 0.0, wall(0)) == {}


class Lives:
    """One notifier after the other, all with one spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.away = 0.0

    async def live(self, *turns: Sequence[Event], silent: Sequence[Event] = (), clean: bool = True) -> list[str]:
        """One process: each turn of events makes one message, the silent ones none; all that it has sent."""
        fake, context = Fake("a"), Context()
        send, receive = trio.open_memory_channel[Event](10)
        notifier = Notifier(
            [Route(fake, Style.INCIDENTS)],
            spool=self.folder / "spool.sqlite3",
            emit=send.send_nowait,
            wall=lambda: time_ns() + round(self.away * 1e9),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: notifier.run(task_status=context))
            for turn in turns:
                for event in turn:
                    notifier.hook(attrs.evolve(event, at=trio.current_time()))
                with trio.fail_after(5):
                    await receive.receive()
            for event in silent:
                notifier.hook(attrs.evolve(event, at=trio.current_time()))
            if clean:
                context.stopping.set()
            else:
                # what was told is left to the next one after it has been sent
                await trio.sleep(0.2)
                nursery.cancel_scope.cancel()
        return [text for _, text in fake.sent]


def test_a_process_that_crashes_again_and_again() -> None:
    """The first crash is told with the start, those of the next quarter of an hour together, with the next message."""
    crashes = Crashes().another(seen=5)
    assert (crashes.hush(10), crashes) == (0.0, Crashes(since=5, count=1))
    crashes = Crashes(told=10**9).another(seen=2 * 10**9).another(seen=3 * 10**9)
    assert crashes == Crashes(since=2 * 10**9, count=2, told=10**9)
    assert Crashes.read(crashes.words) == crashes
    assert [Crashes.read(words) for words in (None, "", "[1, 2, 3, 4]", '["x"]', "{}", "3")] == [Crashes()] * 6
    assert crashes.hush(4 * 10**9) == pytest.approx(897)
    before = Before(unclean=(-2.0, 0.0), crashes=2, hush=897.0)

    def process() -> Process:
        new = Process(Rules())
        new.incidents = Incidents(new.rules, 0.0, before)
        new.play([*map(born, (A, FAR)), up(0.5, A), up(0.5, FAR)], 100)
        assert new.told == []
        return new

    [start] = process().play([], 2000)
    assert isinstance(start.report, Started)
    assert (start.at, start.report.unclean, start.report.crashes) == (897, (-2.0, 0.0), 2)
    [outage, _] = process().play([down(200, A), up(300, A)], 2000)
    assert (outage.at, outage.report.severity) == (200 + WARN, Severity.WARNING)
    assert isinstance(outage.report, Incident)
    assert outage.report.started is not None
    assert outage.report.started.crashes == 2
    stop = process().incidents.stop(110, kept=True)
    assert stop.started is not None
    assert stop.started.crashes == 2


@pytest.mark.parametrize("left", [True, False])
def test_a_process_that_never_gets_far_is_told_of(*, left: bool) -> None:
    """Whoever dies before feeds could have gone live is told of by the fourth start at once, incident or not."""
    one = first([A, B, FAR])
    one.play([down(BEGIN, A)], BEGIN + 60)
    four = Process(Rules())
    parts = inherited(one.note if left else None, 0.0, wall(BEGIN + 60))
    four.incidents = Incidents(four.rules, 0.0, Before(unclean=(-50.0, 0.0), crashes=3, left=parts))
    [start] = four.play([*map(born, (A, B, FAR))], 50)
    assert isinstance(start.report, Started)
    assert (start.at, len(start.report.waiting), start.report.crashes) == (START_LEAST, 3, 3)


async def test_crashes_are_counted_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in a loop is two messages, the second of which says how many there were."""
    monkeypatch.setattr("actors.notifier.incidents.START_LEAST", 0.05)
    lives = Lives(tmp_path)
    feeds = [up(0, A), up(0, FAR)]
    [start] = await lives.live(feeds, clean=False)
    assert "without a stop" not in start
    [first_crash] = await lives.live(feeds, clean=False)
    assert "the previous run ended without a stop: no data between" in first_crash
    for _ in range(3):
        assert await lives.live(silent=feeds, clean=False) == []
    [stop] = await lives.live(silent=feeds)
    assert "4 runs before this one ended without a stop" in stop
    [start] = await lives.live(feeds, clean=False)
    assert "without a stop" not in start


async def test_feeds_that_join_without_a_word_are_left_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next sign of life: whoever is killed after that has handed them over."""
    for severity in Severity:
        monkeypatch.setitem(WAITS, severity, 0.05)
    monkeypatch.setattr("actors.notifier.folding.SETTLE", 0.05)
    monkeypatch.setattr("actors.notifier.notifier.SIGN_OF_LIFE", 0.05)
    lives, c = Lives(tmp_path), origin("c")
    feeds = [up(0, feed) for feed in (A, B, c, FAR)]
    _, opened = await lives.live(feeds, [down(0, A), down(0, B)], silent=[down(0, c)], clean=False)
    assert opened.startswith("[upbit] WebSocket outage of the whole host: 2 of 3 feeds lost")
    [over, *_] = await lives.live(feeds)
    assert over.startswith("[upbit] WebSocket recovered: 3 feeds\nfeeds: a, b, c")


async def test_lives_with_one_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outage, stop, and the recovery with the start in it; after a kill with that; after long enough, a new story."""
    for severity in Severity:
        monkeypatch.setitem(WAITS, severity, 0.05)
    monkeypatch.setattr("actors.notifier.folding.SETTLE", 0.05)
    lives = Lives(tmp_path)
    _, opened, stop = await lives.live([up(0, A), up(0, B), up(0, FAR)], [down(0, A)])
    assert opened.startswith("[upbit] WebSocket connection lost\nfeed: a ")
    assert "1 feeds were down when it stopped\nif it starts again within 15 minutes, the next" in stop
    back, again = await lives.live([up(0, A), up(0, B), up(0, FAR)], [down(0, FAR)], clean=False)
    assert back.startswith("[upbit] WebSocket recovered\nfeed: a (api.upbit.com)\ninterrupted: ")
    assert "running again since" in back.split("\n")[-2]
    assert "3 of 3 feeds are live" in back
    assert again.startswith("[bithumb]")
    [over, *_] = await lives.live([up(0, A), up(0, B), up(0, FAR)], clean=False)
    assert over.startswith("[bithumb] WebSocket recovered")
    assert "the previous run ended without a stop" in over
    lives.away = 901.0
    await lives.live([down(0, A, Reason.HTTP_FORBIDDEN)], clean=False)
    lives.away *= 2
    [fresh, *_] = await lives.live([up(0, A), up(0, B), up(0, FAR)])
    assert fresh.startswith("3 of 3 feeds are live\nthe previous run ended without a stop")
