"""Style incidents: what is told of outages, flapping, starts, stops and windows, and above all what is not."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import Reason, Way
from actors.events import (
    Connected,
    Event,
    Failed,
    GapReported,
    LegLive,
    LegLost,
    LinkState,
    Live,
    Origin,
    Overflowed,
    Quiet,
    Reconnecting,
    Renewed,
    StateChanged,
    Unconfirmed,
)
from actors.notifier.folds import EDGE_WINDOW, EDGES, INTERVAL, REPEATS, SETTLE, WAITS
from actors.notifier.handover import Before
from actors.notifier.hours import QuietHours, Window, length
from actors.notifier.incidents import START_WAIT, Incidents, Rules
from actors.notifier.notification import Severity
from actors.notifier.reports import (
    Beat,
    Concerns,
    Incident,
    Kind,
    Maintenance,
    Phase,
    Report,
    Scope,
    Started,
)

EPOCH = 1_700_000_000_000_000_000
WARN, PAGE = WAITS[Severity.WARNING], WAITS[Severity.PAGE]
BEGIN = 100.0
"""When the scenes begin, long after the start."""


def origin(name: str, host: str = "api.upbit.com", exchange: str = "upbit") -> Origin:
    return Origin(name, exchange, f"[{exchange}]", f"[{exchange}]", host)


def down(at: float, feed: Origin, reason: Reason = Reason.EOF) -> Failed:
    return Failed(at=at, origin=feed, session=1, reason=reason, detail="", connected=True)


def up(at: float, feed: Origin) -> Live:
    return Live(at=at, origin=feed, session=2)


def gap(at: float, feed: Origin, seconds: float) -> GapReported:
    return GapReported(at=at, origin=feed, reason=Reason.EOF, since=0, until=1, seconds=seconds)


def born(feed: Origin) -> StateChanged:
    return StateChanged(at=0, origin=feed, state=LinkState.CONNECTING, previous=LinkState.IDLE)


@attrs.frozen
class Told:
    """A report, and when it was made."""

    at: float
    report: Report


@attrs.define
class Scene:
    """Feeds under the eyes of an `Incidents`, on a clock of its own."""

    rules: Rules = attrs.field(factory=Rules)
    incidents: Incidents = attrs.field(init=False)
    told: list[Told] = attrs.field(factory=list[Told])
    now: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.incidents = Incidents(self.rules, 0.0)

    def step(self) -> None:
        self.told += [Told(self.now, r) for r in self.incidents.step(self.now, EPOCH + round(self.now * 1e9))]

    def until(self, at: float) -> None:
        turns = 0
        while (wake := self.incidents.wake) <= at:
            self.now = max(self.now, wake)
            self.step()
            turns += 1
            assert turns < 1000, f"it wakes for ever: {wake}"
        self.now = at

    def play(self, events: Iterable[Event], until: float) -> list[Told]:
        """Let the events happen in the order of their times; what was told meanwhile."""
        before = len(self.told)
        for event in sorted(events, key=lambda event: event.at):
            self.until(math.nextafter(event.at, 0.0))  # what happens at the same moment is known before it is judged
            self.now = event.at
            self.incidents.take(event)
            self.step()
        self.until(until)
        return self.told[before:]


def started(feeds: Sequence[Origin], rules: Rules | None = None) -> Scene:
    """A scene whose feeds are all live, and whose start has been told."""
    scene = Scene(rules or Rules())
    told = scene.play([*map(born, feeds), *(up(0.5, feed) for feed in feeds)], BEGIN)
    assert [type(each.report) for each in told if not isinstance(each.report, Beat | Maintenance)] == [Started]
    return scene


def incidents(told: Iterable[Told]) -> list[tuple[float, Phase, Scope, Kind]]:
    return [(e.at, e.report.phase, e.report.scope, e.report.kind) for e in told if isinstance(e.report, Incident)]


def phases(told: Iterable[Told]) -> list[Phase]:
    return [each.report.phase for each in told if isinstance(each.report, Incident)]


A, B = origin("a"), origin("b")
FAR = origin("far", "ws.bithumb.com", "bithumb")

# -- one feed -------------------------------------------------------------------------------------------------------


def test_an_outage_opens_repeats_ever_more_rarely_and_resolves() -> None:
    """A warning is told after its wait, again after growing intervals, and once more with what was lost."""
    scene = started([A, FAR])
    end = BEGIN + 40_000
    told = scene.play([down(BEGIN, A), up(end, A), gap(end + 1, A, 40_001.0)], end + 100)
    first = BEGIN + WARN
    repeats = [first + REPEATS[0], first + sum(REPEATS[:2]), first + sum(REPEATS)]
    expected = [(at, Phase.REPEATED, Scope.FEEDS, Kind.OUTAGE) for at in [*repeats, repeats[-1] + REPEATS[2]]]
    assert incidents(told) == [
        (first, Phase.OPENED, Scope.FEEDS, Kind.OUTAGE),
        *expected,
        (end + SETTLE, Phase.RESOLVED, Scope.FEEDS, Kind.OUTAGE),
    ]
    resolved = told[-1].report
    assert isinstance(resolved, Incident)
    [trouble] = resolved.troubles
    assert (trouble.since, trouble.until, trouble.lost) == (BEGIN, end, 40_001.0)
    assert resolved.severity is Severity.WARNING


def test_a_page_waits_five_seconds() -> None:
    """What somebody has to look into is told after the short wait, once."""
    told = started([A, FAR]).play([down(BEGIN, A, Reason.HTTP_FORBIDDEN)], BEGIN + 100)
    assert incidents(told) == [(BEGIN + PAGE, Phase.OPENED, Scope.FEEDS, Kind.OUTAGE)]
    assert told[0].report.severity is Severity.PAGE


@pytest.mark.parametrize(("reason", "seconds"), [(Reason.EOF, 29.9), (Reason.TLS_EXPIRED, 4.9)])
def test_what_heals_inside_its_wait_is_not_told(reason: Reason, seconds: float) -> None:
    """Nothing is sent for a short interruption."""
    assert started([A, FAR]).play([down(BEGIN, A, reason), up(BEGIN + seconds, A)], BEGIN + 10_000) == []


def test_a_relapse_before_it_is_over_is_the_same_incident() -> None:
    """Coming back for less than the settling time resolves nothing."""
    scene = started([A, FAR])
    told = scene.play([down(BEGIN, A), up(BEGIN + 40, A), down(BEGIN + 43, A), up(BEGIN + 400, A)], BEGIN + 500)
    # the fourth change within ten minutes makes it flapping, which is told instead
    assert phases(told[:1]) == [Phase.OPENED]
    assert not [each for each in incidents(told) if each[0] == BEGIN + 40 + SETTLE]


def test_retries_of_one_interruption_are_one_incident() -> None:
    """Failed dials after the cut add nothing, whatever their cause."""
    events = [down(BEGIN, A), *(down(BEGIN + n, A, Reason.REFUSED) for n in range(1, 200))]
    assert phases(started([A, FAR]).play(events, BEGIN + 300)) == [Phase.OPENED]


def test_a_graver_cause_is_told_again_and_at_once() -> None:
    """A warning that becomes a page is one more message, after the page's wait."""
    scene = started([A, FAR])
    told = scene.play([down(BEGIN, A), down(BEGIN + 35, A, Reason.HTTP_BANNED)], BEGIN + 200)
    assert incidents(told) == [
        (BEGIN + WARN, Phase.OPENED, Scope.FEEDS, Kind.OUTAGE),
        (BEGIN + 35 + PAGE, Phase.GREW, Scope.FEEDS, Kind.OUTAGE),
    ]
    assert [each.report.severity for each in told] == [Severity.WARNING, Severity.PAGE]


def test_a_graver_cause_before_it_is_told_is_told_as_such() -> None:
    """The first message has the cause that counts, and the interruption's real beginning."""
    scene = started([A, FAR])
    [told] = scene.play([down(BEGIN, A), down(BEGIN + 10, A, Reason.HTTP_BANNED)], BEGIN + 200)
    assert told.at == BEGIN + 10 + PAGE
    assert isinstance(told.report, Incident)
    assert [(each.reason, each.since) for each in told.report.troubles] == [(Reason.HTTP_BANNED, BEGIN)]


def test_quarantine_and_giving_up_are_pages() -> None:
    """A way back that is slow, and none at all, are for people."""
    quarantined = Reconnecting(
        at=BEGIN + 1, origin=A, delay=300, attempt=1, way=Way.QUARANTINE, reason=Reason.APP_ERROR
    )
    [told] = started([A, FAR]).play([down(BEGIN, A), quarantined], BEGIN + 100)
    assert (told.at, told.report.severity) == (BEGIN + 1 + PAGE, Severity.PAGE)
    gave_up = StateChanged(at=BEGIN, origin=A, state=LinkState.GAVE_UP, previous=LinkState.BACKOFF)
    [told] = started([A, FAR]).play([down(BEGIN, A), gave_up], BEGIN + 100)
    assert isinstance(told.report, Incident)
    assert (told.at, told.report.troubles[0].gave_up) == (BEGIN + PAGE, True)


def test_a_planned_renewal_and_other_events_are_silent() -> None:
    """Ends of our own making, connects and waits are nobody's business: a healthy day says nothing."""
    feeds = [A, B, FAR]
    day: list[Event] = []
    for hour in range(24):
        for feed in feeds:
            at = BEGIN + 3600 * hour
            day += [
                down(at, feed, Reason.REQUESTED),
                Reconnecting(at=at, origin=feed, delay=0, attempt=1, way=Way.NOW, reason=Reason.REQUESTED),
                Connected(at=at + 1, origin=feed, session=2, seconds=1),
                up(at + 1, feed),
                gap(at + 1, feed, 1.0),
                LegLive(at=at + 1800, origin=feed, session=3),
                Renewed(at=at + 1805, origin=feed, session=3, why="its time has come"),
            ]
    assert started(feeds).play(day, BEGIN + 86_400) == []


def test_a_feed_that_is_closed_is_no_outage() -> None:
    """Who closes a feed need not be told that it is gone."""
    closed = StateChanged(at=BEGIN + 5, origin=A, state=LinkState.STOPPED, previous=LinkState.DOWN)
    assert started([A, FAR]).play([down(BEGIN, A), closed], BEGIN + 1000) == []


# -- folding --------------------------------------------------------------------------------------------------------


def hundred(spread: float, reason: Reason = Reason.EOF) -> tuple[list[Origin], list[Event]]:
    feeds = [origin(f"u{n}") for n in range(100)]
    return feeds, [down(BEGIN + spread * n / 99, feed, reason) for n, feed in enumerate(feeds)]


@pytest.mark.parametrize("reason", [Reason.EOF, Reason.HTTP_FORBIDDEN])
@pytest.mark.parametrize("spread", [0.0, 5.0, 40.0])
def test_a_hundred_feeds_of_one_host(spread: float, reason: Reason) -> None:
    """Lost at once or one after the other: two messages at most, and one when all are back."""
    feeds, lost = hundred(spread, reason)
    scene = started([*feeds, FAR])
    told = scene.play(lost, BEGIN + 300)
    assert 1 <= len(told) <= 2
    last = told[-1].report
    assert isinstance(last, Incident)
    assert last.scope is Scope.HOST
    back = scene.play([up(BEGIN + 300 + n, feed) for n, feed in enumerate(feeds)], BEGIN + 800)
    assert incidents(back) == [(BEGIN + 399 + SETTLE, Phase.RESOLVED, Scope.HOST, Kind.OUTAGE)]
    resolved = back[0].report
    assert isinstance(resolved, Incident)
    assert len(resolved.troubles) == 100


def test_mixed_causes_of_one_host_are_one_outage() -> None:
    """What half of a host's feeds have in common is the host."""
    feeds = [origin(f"u{n}") for n in range(100)]
    reasons = (Reason.EOF, Reason.RESET, Reason.REFUSED, Reason.HTTP_5XX)
    lost = [down(BEGIN + n / 20, feed, reasons[n % 4]) for n, feed in enumerate(feeds)]
    assert len(started([*feeds, FAR]).play(lost, BEGIN + 300)) == 1


@pytest.mark.parametrize("reason", [Reason.PING_TIMEOUT, Reason.DNS_NXDOMAIN])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_twelve_hosts_at_once(spread: float, reason: Reason) -> None:
    """More than half of the hosts are the network: two messages at most, and one when all are back."""
    feeds = [origin(f"f{n}", f"host{n % 12}") for n in range(36)]
    scene = started(feeds)
    told = scene.play([down(BEGIN + spread * n / 36, feed, reason) for n, feed in enumerate(feeds)], BEGIN + 300)
    assert 1 <= len(told) <= 2
    last = told[-1].report
    assert isinstance(last, Incident)
    assert (last.scope, last.hosts) == (Scope.NETWORK, 12)
    back = scene.play([up(BEGIN + 300 + n, feed) for n, feed in enumerate(feeds)], BEGIN + 600)
    assert phases(back) == [Phase.RESOLVED]


def test_separate_causes_are_separate_incidents() -> None:
    """A rejected subscription that lasts for days hides no outage of another feed."""
    feeds = [origin(f"u{n}") for n in range(6)]
    scene = started([*feeds, FAR])
    assert phases(scene.play([down(BEGIN, feeds[0], Reason.SUB_REJECTED)], BEGIN + 200)) == [Phase.OPENED]
    told = scene.play([down(BEGIN + 200, feeds[1]), up(BEGIN + 300, feeds[1])], BEGIN + 400)
    assert phases(told) == [Phase.OPENED, Phase.RESOLVED]


def test_what_joins_later_is_told_after_an_interval() -> None:
    """An incident that grows is told again, a minute after the last message at the soonest."""
    feeds = [origin(f"u{n}") for n in range(9)]
    scene = started([*feeds, FAR])
    told = scene.play([down(BEGIN, feeds[0]), down(BEGIN + 35, feeds[1])], BEGIN + 300)
    assert incidents(told) == [
        (BEGIN + WARN, Phase.OPENED, Scope.FEEDS, Kind.OUTAGE),
        (BEGIN + WARN + INTERVAL, Phase.GREW, Scope.FEEDS, Kind.OUTAGE),
    ]


def test_who_was_told_as_back_is_told_as_lost_again() -> None:
    """While others of the incident are still down: nobody who has read "back meanwhile" expects it to be down."""
    feeds = [origin(f"u{n}") for n in range(9)]
    scene = started([*feeds, FAR])
    events = [down(BEGIN, feeds[0]), down(BEGIN + 35, feeds[1]), up(BEGIN + 80, feeds[0])]
    told = scene.play(events, BEGIN + 300)
    assert phases(told) == [Phase.OPENED, Phase.GREW]
    again = scene.play([down(BEGIN + 380, feeds[0]), up(BEGIN + 1000, feeds[0]), up(BEGIN + 1001, feeds[1])], 2000)
    assert incidents(again) == [
        (BEGIN + 380 + WARN, Phase.GREW, Scope.FEEDS, Kind.OUTAGE),
        (BEGIN + 1001 + SETTLE, Phase.RESOLVED, Scope.FEEDS, Kind.OUTAGE),
    ]


def test_one_that_heals_leaves_the_others_their_whole_wait() -> None:
    """The wait of an interruption is its own, whoever it was folded with."""
    feeds = [origin(f"u{n}") for n in range(9)]
    events = [down(BEGIN, feeds[0]), down(BEGIN + 29, feeds[1]), up(BEGIN + 29.5, feeds[0]), up(BEGIN + 40, feeds[1])]
    assert started([*feeds, FAR]).play(events, BEGIN + 300) == []


# -- flapping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [Reason.EOF, Reason.HTTP_FORBIDDEN])
@pytest.mark.parametrize("period", [5.0, 12.0, 80.0, 140.0])
def test_an_hour_of_flapping(period: float, reason: Reason) -> None:
    """However it comes and goes, an hour of it is at most six messages, the last of which says that it is calm."""
    scene = started([A, B, FAR])
    times = [BEGIN + n * period for n in range(int(3600 / period))]
    told = scene.play(
        [event for at in times for event in (down(at, A, reason), up(at + period / 2, A))], BEGIN + 3600 + 1000
    )
    assert 2 <= len(told) <= 6
    last = told[-1].report
    assert isinstance(last, Incident)
    assert (last.phase, last.kind) == (Phase.RESOLVED, Kind.FLAPPING)
    assert told[-1].at == times[-1] + period / 2 + EDGE_WINDOW


def test_a_flapping_feed_that_stays_down_is_an_outage() -> None:
    """Calm is not well: who has been down for ten minutes is told as such."""
    scene = started([A, B, FAR])
    events: list[Event] = [e for n in range(5) for e in (down(BEGIN + 10 * n, A), up(BEGIN + 10 * n + 5, A))]
    told = scene.play([*events, down(BEGIN + 100, A)], BEGIN + 1000)
    assert [(phase, kind) for _, phase, _, kind in incidents(told)] == [
        (Phase.OPENED, Kind.FLAPPING),
        (Phase.OPENED, Kind.OUTAGE),
    ]
    assert told[1].at == BEGIN + 100 + EDGE_WINDOW


@pytest.mark.parametrize("host", [B.host, "elsewhere.example"])
def test_a_feed_that_is_calm_is_lost_while_another_flaps(host: str) -> None:
    """It flaps no more, so that it is down for good is told like any other outage."""
    other = origin("other", host)
    scene = started([A, other])
    events: list[Event] = [
        e for n in range(3) for f in (A, other) for e in (down(BEGIN + 10 * n, f), up(BEGIN + 10 * n + 5, f))
    ]
    events += [e for n in range(1, 4) for e in (down(BEGIN + 300 * n, other), up(BEGIN + 300 * n + 5, other))]
    lost = BEGIN + 25 + EDGE_WINDOW + 10
    told = scene.play([*events, down(lost, A)], lost + 400)
    outages = [each for each in told if isinstance(each.report, Incident) and each.report.kind is Kind.OUTAGE]
    assert [(each.at, each.report.phase) for each in outages if isinstance(each.report, Incident)] == [
        (lost + WARN, Phase.OPENED)
    ]


def test_a_flapping_host_is_one_note() -> None:
    """A hundred feeds that flap together are told together, and are calm together."""
    feeds = [origin(f"u{n}") for n in range(100)]
    events = [e for n in range(9) for f in feeds for e in (down(BEGIN + 20 * n, f), up(BEGIN + 20 * n + 9, f))]
    told = started([*feeds, FAR]).play(events, BEGIN + 3000)
    assert [(phase, kind) for _, phase, _, kind in incidents(told)] == [
        (Phase.OPENED, Kind.FLAPPING),
        (Phase.RESOLVED, Kind.FLAPPING),
    ]


# -- start ----------------------------------------------------------------------------------------------------------


def test_the_start_is_told_when_all_are_live() -> None:
    """One summary, as soon as every feed is there."""
    scene = Scene()
    [told] = scene.play([born(A), born(B), up(3.0, A), up(9.0, B)], 1000)
    assert isinstance(told.report, Started)
    assert (told.at, told.report.total, told.report.waiting) == (9.0, 2, ())
    assert told.report.severity is Severity.INFO


def test_the_start_is_told_after_a_minute_and_inhibits_what_it_tells() -> None:
    """Who is not live then is named with the cause; its recovery is told, its outage not again."""
    scene = Scene()
    [told] = scene.play([born(A), born(FAR), up(1, A), down(2, FAR, Reason.REFUSED)], 500)
    assert isinstance(told.report, Started)
    assert told.at == START_WAIT
    assert [(each.origin.feed, each.reason) for each in told.report.waiting] == [("far", Reason.REFUSED)]
    back = scene.play([up(600, FAR)], 700)
    assert incidents(back) == [(600 + SETTLE, Phase.RESOLVED, Scope.FEEDS, Kind.OUTAGE)]


def test_a_page_does_not_wait_for_the_start() -> None:
    """A page that falls due brings the summary forward."""
    scene = Scene()
    [told] = scene.play([born(A), born(FAR), up(1, A), down(2, FAR, Reason.HTTP_FORBIDDEN)], 500)
    assert isinstance(told.report, Started)
    assert (told.at, told.report.severity) == (2 + PAGE, Severity.PAGE)


def test_a_restart_in_the_middle_is_one_extra_message() -> None:
    """A process that starts into an outage tells it in its summary, and then only that it is over."""
    feeds = [origin(f"f{n}", f"host{n % 12}") for n in range(36)]
    for reason in (Reason.REFUSED, Reason.DNS_NXDOMAIN):
        scene = Scene()
        events = [*map(born, feeds), *(down(n / 10, feed, reason) for n, feed in enumerate(feeds))]
        told = scene.play([*events, *(up(300 + n, feed) for n, feed in enumerate(feeds))], 800)
        assert [type(each.report) for each in told] == [Started, Incident]


def test_an_unclean_stop_is_told_with_the_start() -> None:
    """The summary says so, as a warning, even where there is no feed."""
    incidents = Incidents(Rules(), 0.0, Before(unclean=(-90.0, -1.0)))
    [report] = incidents.step(START_WAIT, EPOCH)
    assert isinstance(report, Started)
    assert (report.unclean, report.severity) == ((-90.0, -1.0), Severity.WARNING)


# -- rules ----------------------------------------------------------------------------------------------------------


def test_severity_by_reason_and_by_feed() -> None:
    """An operator's word about a cause, or about a feed, outranks ours; the feed's outranks the cause's."""
    rules = Rules(reasons={Reason.EOF: Severity.PAGE, Reason.CRASH: Severity.INFO}, feeds={"b": Severity.INFO})
    others = [FAR, *(origin(f"o{n}") for n in range(4))]
    told = started([A, B, *others], rules).play([down(BEGIN, A), down(BEGIN, B, Reason.CRASH)], BEGIN + 200)
    assert [(each.at, each.report.severity) for each in told] == [
        (BEGIN + PAGE, Severity.PAGE),
        (BEGIN + WARN, Severity.INFO),
    ]
    [crash] = started([A, B, FAR, origin("c")], rules).play([down(BEGIN, A, Reason.CRASH)], BEGIN + 200)
    assert crash.report.severity is Severity.INFO


SEOUL = timezone(timedelta(hours=9))


def test_quiet_hours_hold_warnings_back_but_no_page() -> None:
    """A warning at night comes in the morning, if it still holds; a page comes at once."""
    begins = datetime.fromtimestamp(EPOCH // 10**9, UTC).astimezone(SEOUL)
    text = f"{begins - timedelta(hours=1):%H:%M}-{begins + timedelta(hours=2):%H:%M}"
    rules = Rules(quiet_hours=QuietHours.parse(text, SEOUL))
    [held] = started([A, FAR], rules).play([down(BEGIN, A)], 7500)
    assert 2 * 3600 - 60 <= held.at <= 2 * 3600
    [page] = started([A, FAR], rules).play([down(BEGIN, A, Reason.HTTP_FORBIDDEN)], BEGIN + 600)
    assert page.at == BEGIN + PAGE


def test_a_warning_that_is_over_by_the_morning_is_not_told() -> None:
    """Held back, then healed: nothing."""
    begins = datetime.fromtimestamp(EPOCH // 10**9, UTC)
    rules = Rules(quiet_hours=QuietHours.parse(f"{begins:%H:%M}-{begins + timedelta(hours=2):%H:%M}", UTC))
    assert started([A, FAR], rules).play([down(BEGIN, A), up(BEGIN + 3600, A)], BEGIN + 10_000) == []


@pytest.mark.parametrize(
    ("text", "at", "seconds"),
    [
        ("23:00-07:30", "2026-01-02T23:00:00", 8.5 * 3600),
        ("23:00-07:30", "2026-01-02T07:29:59", 1),
        ("23:00-07:30", "2026-01-02T07:30:00", 0),
        ("23:00-07:30", "2026-01-02T22:59:59", 0),
        ("12:00-13:00", "2026-01-02T12:30:00", 1800),
        ("12:00-13:00", "2026-01-02T13:00:00", 0),
    ],
)
def test_when_quiet_hours_end(text: str, at: str, seconds: float) -> None:
    """They may go over midnight; their end belongs to the day."""
    wall = round(datetime.fromisoformat(at).replace(tzinfo=SEOUL).timestamp()) * 10**9
    assert QuietHours.parse(text, SEOUL).remaining(wall) == seconds


@pytest.mark.parametrize("text", ["", "23-7", "24:00-07:00", "07:00-07:00", "23:00-07:60", "23:00 - 07:00"])
def test_bad_quiet_hours(text: str) -> None:
    """Anything but two different times of day is refused."""
    with pytest.raises(ValueError, match="two times of day"):
        QuietHours.parse(text, UTC)


def test_lengths_of_time() -> None:
    """A number and a unit; nothing else, and no more than 30 days."""
    assert [length(text) for text in ("90s", "30m", "2h", "1d")] == [90, 1800, 7200, 86_400]
    for text in ("", "0h", "2", "h", "-1h", "31d", "1.5h", "2 h"):
        with pytest.raises(ValueError, match="like 90s"):
            length(text)


def test_a_heartbeat_says_that_all_is_well() -> None:
    """At its interval, with the number of live feeds."""
    scene = started([A, FAR], Rules(heartbeat=600))
    told = [each for each in scene.play([down(BEGIN, A)], 1900) if isinstance(each.report, Beat)]
    assert [each.at for each in told] == [600, 1200, 1800]
    assert [(b.total, b.live) for b in (each.report for each in told) if isinstance(b, Beat)] == [(2, 1)] * 3


# -- maintenance ----------------------------------------------------------------------------------------------------


def window(subject: str, begins: float, ends: float) -> Window:
    return Window(subject, EPOCH + round(begins * 1e9), EPOCH + round(ends * 1e9))


def test_a_window_is_one_note_at_each_end() -> None:
    """Whatever happens inside it is not told, for the feeds that it covers."""
    scene = started([A, B, FAR], Rules(windows=(window("upbit", BEGIN + 10, BEGIN + 5000),)))
    events = [e for n in range(20) for e in (down(BEGIN + 20 + 200 * n, A), up(BEGIN + 120 + 200 * n, A))]
    told = scene.play([*events, down(BEGIN + 50, FAR), up(BEGIN + 100, FAR)], BEGIN + 9000)
    notes = [
        (each.at, each.report.begins, each.report.troubles) for each in told if isinstance(each.report, Maintenance)
    ]
    assert notes == [(BEGIN + 10, True, ()), (BEGIN + 5000, False, ())]
    assert {t.origin.feed for e in told if isinstance(e.report, Incident) for t in e.report.troubles} == {"far"}


def test_what_is_down_at_the_end_of_a_window_is_told() -> None:
    """The closing note names it, and after the usual wait it is an outage with its real beginning."""
    scene = started([A, B, FAR], Rules(windows=(window("a", BEGIN + 10, BEGIN + 1000),)))
    told = scene.play([down(BEGIN, A), up(BEGIN + 1500, A)], BEGIN + 3000)
    kinds = [type(each.report) for each in told]
    assert kinds == [Maintenance, Maintenance, Incident, Incident]
    note, opened = told[1].report, told[2]
    assert isinstance(note, Maintenance)
    assert [each.origin.feed for each in note.troubles] == ["a"]
    assert opened.at == BEGIN + 1000 + WARN
    assert isinstance(opened.report, Incident)
    assert opened.report.troubles[0].since == BEGIN


def test_a_window_takes_its_feeds_out_of_an_incident() -> None:
    """An outage that was told before the window is not repeated in it, and its end is not told."""
    scene = started([A, B, FAR], Rules(windows=(window("upbit", BEGIN + 100, BEGIN + 9000),)))
    told = scene.play([down(BEGIN, A), up(BEGIN + 5000, A)], BEGIN + 10_000)
    assert [type(each.report) for each in told] == [Incident, Maintenance, Maintenance]


def test_a_command_mutes_from_now_on() -> None:
    """A window opened by hand is told at once, is listed, and ends by itself; a second one replaces it."""
    scene = started([A, B, FAR])
    assert scene.incidents.knows("upbit")
    assert scene.incidents.knows("far")
    assert not scene.incidents.knows("okx")
    scene.incidents.mute(window("upbit", BEGIN, BEGIN + 7200))
    scene.step()
    assert [each.subject for each in scene.incidents.muted] == ["upbit"]
    scene.incidents.mute(window("upbit", BEGIN, BEGIN + 100))
    told = scene.play([down(BEGIN + 5, A), up(BEGIN + 95, A)], BEGIN + 9000)
    assert scene.incidents.muted == ()
    assert [(each.at, type(each.report)) for each in told] == [(BEGIN, Maintenance), (BEGIN + 100, Maintenance)]


def test_a_feed_that_is_opened_in_a_window_is_muted_too() -> None:
    """The window covers whatever feed of that exchange there is."""
    scene = started([A, FAR], Rules(windows=(window("upbit", BEGIN, BEGIN + 1000),)))
    late = origin("late")
    told = scene.play([attrs.evolve(born(late), at=BEGIN + 5), down(BEGIN + 6, late), up(BEGIN + 600, late)], 5000)
    assert [type(each.report) for each in told] == [Maintenance]


def test_a_window_that_was_over_before_is_not_told() -> None:
    """A configuration keeps old windows without harm."""
    assert len(started([A], Rules(windows=(window("a", -100, -50),))).told) == 1


# -- concerns -------------------------------------------------------------------------------------------------------


def test_concerns_are_collected_and_then_rationed() -> None:
    """Quiet codes of a host are one message; what follows is collected for ever longer."""
    scene = started([A, B, FAR])
    quiet = [
        Quiet(at=BEGIN + n * 60, origin=A, session=1, channel="trade", code=f"C{n}", seconds=300) for n in range(100)
    ]
    told = scene.play(quiet, BEGIN + 20_000)
    assert [each.at - BEGIN - WARN for each in told] == [0, REPEATS[0], sum(REPEATS[:2]), sum(REPEATS)]
    counts = [len(r.events) + r.more for r in (each.report for each in told) if isinstance(r, Concerns)]
    assert sum(counts) == 100


def test_a_leg_that_comes_back_in_time_is_not_told() -> None:
    """One of two sockets lost is a warning, unless it is back within the wait; and never an incident."""
    scene = started([A, B, FAR])
    told = scene.play(
        [
            LegLost(at=BEGIN, origin=A, session=2, reason=Reason.EOF, detail="", left=1),
            LegLost(at=BEGIN + 1, origin=B, session=2, reason=Reason.EOF, detail="", left=1),
            LegLive(at=BEGIN + 5, origin=A, session=3),
        ],
        BEGIN + 4000,
    )
    [concerns] = [each.report for each in told]
    assert isinstance(concerns, Concerns)
    assert [(event.origin, type(event)) for event in concerns.events] == [(B, LegLost)]
    assert concerns.more == 0


def test_each_kind_of_concern_is_its_own() -> None:
    """An overflow does not hide an unconfirmed subscription; a feed that is down has other worries."""
    scene = started([A, B, FAR])
    told = scene.play(
        [
            Overflowed(at=BEGIN, origin=A, policy="block", depth=3),
            Unconfirmed(at=BEGIN, origin=A, session=1, channels=("trade",)),
            down(BEGIN, B),
            Overflowed(at=BEGIN + 1, origin=B, policy="block", depth=3),
            up(BEGIN + 2, B),
        ],
        BEGIN + 100,
    )
    assert [type(r.events[0]) for r in (each.report for each in told) if isinstance(r, Concerns)] == [
        Overflowed,
        Unconfirmed,
    ]
    assert len(told) == 2


# -- properties -----------------------------------------------------------------------------------------------------


def naive(edges: Sequence[float], end: float) -> list[tuple[float, Phase, Kind]]:
    """What is told about one feed that goes and comes at ``edges`` by turns, worked out tick by tick."""
    told: list[tuple[float, Phase, Kind]] = []
    is_down = flapping = outage_told = flap_told = False
    since, back, begun, last, repeats, last_told = 0.0, 0.0, 0.0, -math.inf, 0, 0.0
    recent: list[float] = []
    pending = list(edges)
    for tick in range(math.floor(end) + 1):
        at = float(tick)
        if pending and pending[0] <= at:
            pending.pop(0)
            is_down, last = not is_down, at
            recent = [*recent, at][-EDGES:]
            since, back = (at, back) if is_down else (since, at)
            if not flapping and len(recent) == EDGES and recent[0] > at - EDGE_WINDOW:
                flapping, begun, outage_told, flap_told = True, at, False, False
        if flapping and at >= last + EDGE_WINDOW:
            flapping, recent = False, []
            if is_down:
                outage_told, repeats, last_told = True, 0, at
                told.append((at, Phase.OPENED, Kind.OUTAGE))
            elif flap_told:
                told.append((at, Phase.RESOLVED, Kind.FLAPPING))
        if flapping and not flap_told and at >= begun + WARN:
            flap_told = True
            told.append((at, Phase.OPENED, Kind.FLAPPING))
        if flapping:
            continue
        if is_down and not outage_told and at >= since + WARN:
            outage_told, repeats, last_told = True, 0, at
            told.append((at, Phase.OPENED, Kind.OUTAGE))
        elif is_down and outage_told and at >= last_told + REPEATS[min(repeats, 2)]:
            repeats, last_told = repeats + 1, at
            told.append((at, Phase.REPEATED, Kind.OUTAGE))
        elif not is_down and outage_told and at >= back + SETTLE:
            outage_told = False
            told.append((at, Phase.RESOLVED, Kind.OUTAGE))
    return told


@given(st.lists(st.integers(1, 1500), max_size=16))
@settings(deadline=None, max_examples=60)
def test_one_feed_against_a_naive_model(steps: list[int]) -> None:
    """Whatever a feed does, what is told of it is what a tick-by-tick model works out."""
    edges: list[float] = []
    at = BEGIN
    for step in steps:
        at += step
        edges.append(at)
    end = at + 2000.5
    events = [down(e, A) if n % 2 == 0 else up(e, A) for n, e in enumerate(edges)]
    # enough other feeds that neither host nor network is in question
    others = [origin(f"o{n}") for n in range(5)]
    told = started([A, *others, FAR]).play(events, end)
    assert [(at, phase, kind) for at, phase, _, kind in incidents(told)] == naive(edges, end)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Origin], list[Event], float]:
    """Feeds over several hosts, and what happens to them; at the end all are well."""
    feeds = [origin(f"f{n}", f"host{draw(st.integers(0, 3))}") for n in range(draw(st.integers(1, 8)))]
    reasons = st.sampled_from([Reason.EOF, Reason.REFUSED, Reason.HTTP_FORBIDDEN, Reason.SUB_REJECTED])
    at, events = BEGIN, list[Event]()
    for _ in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0.0, 0.5, 3.0, 6.0, 31.0, 70.0, 500.0, 1000.0]))
        feed = draw(st.sampled_from(feeds))
        events.append(draw(st.one_of(reasons.map(lambda r, f=feed, t=at: down(t, f, r)), st.just(up(at, feed)))))
    return feeds, [*events, *(up(at + 1, feed) for feed in feeds)], at + 1


@given(histories())
@settings(deadline=None, max_examples=150)
def test_many_feeds(history: tuple[list[Origin], list[Event], float]) -> None:
    """What lasts is told, what was told is resolved, nothing is told of what is well, and silence follows."""
    feeds, events, healed = history
    scene = started(feeds)
    told = scene.play(events, healed + 3 * EDGE_WINDOW)
    opened: set[str] = set()
    for each in told:
        assert isinstance(each.report, Incident)
        hurt = {trouble.origin.feed for trouble in each.report.troubles if trouble.until is None}
        if each.report.phase is Phase.RESOLVED:
            assert not hurt
            assert opened
        else:
            assert hurt
        opened |= {trouble.origin.feed for trouble in each.report.troubles}
    assert scene.incidents.wake == math.inf
    assert scene.incidents._folding._folds == []  # pyright: ignore[reportPrivateUsage]
    # an interruption without an end that outlasts every wait is told, by whatever message
    for feed in feeds:
        spans = spells([event for event in events if event in mine(events, feed)])
        lasting = [since for since, until in spans if until - since > EDGE_WINDOW + INTERVAL + WARN]
        assert not lasting or feed.feed in opened


def mine(events: Sequence[Event], feed: Origin) -> list[Event]:
    return [event for event in events if isinstance(event, Failed | Live) and event.origin == feed]


def spells(events: Sequence[Event]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    since: float | None = None
    for event in events:
        if isinstance(event, Failed) and since is None:
            since = event.at
        elif isinstance(event, Live) and since is not None:
            found.append((since, event.at))
            since = None
    return found
