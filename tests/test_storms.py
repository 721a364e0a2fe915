"""Storms: many feeds and hosts lost at once or one after the other, and how few messages that may be."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import Reason
from actors.events import Origin
from actors.notifier.folds import FRESH, INTERVAL, SETTLE
from actors.notifier.notification import Severity
from actors.notifier.reports import Incident, Kind, Phase, Scope
from tests.test_incidents import BEGIN, FAR, PAGE, WARN, A, B, Told, down, incidents, origin, phases, started, up

TIMEOUTS = (Reason.CONNECT_TIMEOUT, Reason.PING_TIMEOUT, Reason.DNS_TIMEOUT, Reason.TLS_TIMEOUT)


def hosts(count: int, feeds: int, *, lapped: bool = False) -> list[Origin]:
    """So many feeds of each host, in the order in which they are lost: host by host, or one of each by turns."""
    pairs = [(host, feed) for host in range(count) for feed in range(feeds)]
    if lapped:
        pairs.sort(key=lambda pair: pair[1])
    return [origin(f"h{host}-{feed}", f"host{host}") for host, feed in pairs]


def reports(told: Sequence[Told]) -> list[Incident]:
    return [each.report for each in told if isinstance(each.report, Incident)]


@pytest.mark.parametrize("lapped", [False, True])
@pytest.mark.parametrize("reasons", [(Reason.DNS_NXDOMAIN,), (Reason.HTTP_FORBIDDEN,), (Reason.EOF,), TIMEOUTS])
@pytest.mark.parametrize("spread", [0.0, 3.0, 10.0, 20.0, 40.0, 60.0, 90.0, 120.0])
def test_twelve_hosts_one_after_the_other(spread: float, reasons: Sequence[Reason], lapped: bool) -> None:
    """The first host, that there are more, the network: three messages at most, and one when all are back."""
    feeds = hosts(12, 3, lapped=lapped)
    scene = started(feeds)
    lost = [down(BEGIN + spread * n / 35, feed, reasons[n % len(reasons)]) for n, feed in enumerate(feeds)]
    told = scene.play(lost, BEGIN + 600)
    assert told[0].at == BEGIN + (PAGE if reasons[0] in (Reason.DNS_NXDOMAIN, Reason.HTTP_FORBIDDEN) else WARN)
    assert 1 <= len(told) <= (2 if spread <= 3 else 3)
    last = reports(told)[-1]
    assert last.scope in (Scope.HOSTS, Scope.NETWORK)
    assert 2 * len({each.origin.host for each in last.troubles}) > last.hosts == 12
    back = scene.play([up(BEGIN + 600 + spread * n / 35, feed) for n, feed in enumerate(feeds)], BEGIN + 900)
    assert phases(back) == [Phase.RESOLVED]
    assert len(reports(back)[0].troubles) == 36


@pytest.mark.parametrize(("reason", "scope"), [(Reason.TLS_EXPIRED, Scope.HOSTS), (Reason.CRASH, Scope.HOST)])
def test_a_second_host_waits_for_nobody(reason: Reason, scope: Scope) -> None:
    """Its page is told after its own wait: with the first host's where the cause may be one, else by itself."""
    others = hosts(5, 1)
    told = started([A, *others]).play(
        [down(BEGIN, A, Reason.DNS_NXDOMAIN), down(BEGIN + 20, others[0], reason)], BEGIN + 300
    )
    expected = [(BEGIN + PAGE, Phase.OPENED, Scope.FEEDS), (BEGIN + 20 + PAGE, Phase.OPENED, scope)]
    assert [(at, phase) for at, phase, _, _ in incidents(told)] == [each[:2] for each in expected]
    assert reports(told)[1].scope in (scope, Scope.FEEDS)


def test_hosts_lost_long_after_each_other_are_two_incidents() -> None:
    """What happens two minutes later is another story, with an end of its own."""
    others = hosts(5, 1)
    late = BEGIN + WARN + FRESH + 1
    told = started([A, B, *others]).play(
        [down(BEGIN, A), down(late - WARN, others[0]), up(late + 60, A), up(late + 90, others[0])], late + 200
    )
    assert [(at, phase) for at, phase, _, _ in incidents(told)] == [
        (BEGIN + WARN, Phase.OPENED),
        (late, Phase.OPENED),
        (late + 60 + SETTLE, Phase.RESOLVED),
        (late + 90 + SETTLE, Phase.RESOLVED),
    ]


def test_an_outage_that_spreads_is_told_ever_more_rarely() -> None:
    """Host after host for half an hour: the intervals double, and end with the first of the repetitions."""
    feeds = hosts(60, 1)
    told = started(feeds).play(
        [down(BEGIN + 50 * n, feed, Reason.DNS_NXDOMAIN) for n, feed in enumerate(feeds[:30])], BEGIN + 1800
    )
    times = [each.at - BEGIN for each in told]
    assert times == [5, 55, 55 + 60, 55 + 180, 55 + 420, 55 + 900]


def test_what_else_breaks_at_a_host_that_was_named() -> None:
    """More of its feeds are taken in for the same trouble; a cause of another kind is an incident of its own."""
    feeds = hosts(8, 4)
    lost = [
        down(BEGIN, feeds[0]),
        down(BEGIN, feeds[4]),
        down(BEGIN + 200, feeds[1]),
        down(BEGIN + 200, feeds[5], Reason.SUB_REJECTED),
    ]
    told = started(feeds).play(lost, BEGIN + 400)
    assert incidents(told) == [
        (BEGIN + WARN, Phase.OPENED, Scope.HOSTS, Kind.OUTAGE),
        (BEGIN + 200 + PAGE, Phase.OPENED, Scope.FEEDS, Kind.OUTAGE),
    ]


def test_a_second_cause_at_a_host_is_part_of_the_incident() -> None:
    """What may have the same cause is told with it, as it spreads, and is over with it."""
    feeds = [origin(f"u{n}") for n in range(9)]
    lost = [down(BEGIN, feeds[0]), down(BEGIN + 20, feeds[1], Reason.REFUSED), down(BEGIN + 60, feeds[2], Reason.RESET)]
    told = started([*feeds, FAR]).play([*lost, *(up(BEGIN + 200 + n, feeds[n]) for n in range(3))], BEGIN + 900)
    assert [(at, phase) for at, phase, _, _ in incidents(told)] == [
        (BEGIN + WARN, Phase.OPENED),
        (BEGIN + WARN + INTERVAL, Phase.GREW),
        (BEGIN + 202 + SETTLE, Phase.RESOLVED),
    ]
    assert [len(report.troubles) for report in reports(told)] == [2, 3, 3]


def test_another_cause_much_later_is_an_incident_of_its_own() -> None:
    """One that lasts for hours hides no recovery of another."""
    feeds = [origin(f"u{n}") for n in range(9)]
    late = BEGIN + WARN + FRESH + 1
    lost = [down(BEGIN, feeds[0]), down(late, feeds[1], Reason.REFUSED), up(late + 60, feeds[1])]
    told = started([*feeds, FAR]).play(lost, late + 100)
    assert phases(told) == [Phase.OPENED, Phase.OPENED, Phase.RESOLVED]


def test_a_graver_cause_is_told_once_for_all() -> None:
    """A hundred feeds that are banned one after the other, when they dial again, are one more message."""
    feeds = [origin(f"u{n}") for n in range(100)]
    lost = [down(BEGIN, feed) for feed in feeds]
    banned = [down(BEGIN + 40 + n, feed, Reason.HTTP_BANNED) for n, feed in enumerate(feeds)]
    told = started([*feeds, FAR]).play([*lost, *banned, *(up(BEGIN + 300, feed) for feed in feeds)], BEGIN + 400)
    assert [(at, phase) for at, phase, _, _ in incidents(told)] == [
        (BEGIN + WARN, Phase.OPENED),
        (BEGIN + 40 + PAGE, Phase.GREW),
        (BEGIN + 300 + SETTLE, Phase.RESOLVED),
    ]
    assert [report.severity for report in reports(told)] == [Severity.WARNING, Severity.PAGE, Severity.PAGE]


def test_a_part_that_is_back_is_told_with_the_repetition() -> None:
    """Who has come back before all have is no message; who is lost again meanwhile is none either."""
    feeds = [origin(f"u{n}") for n in range(10)]
    scene = started([*feeds, FAR])
    events = [*(down(BEGIN, feed, Reason.CRASH) for feed in feeds), *(up(BEGIN + 100, feed) for feed in feeds[1:])]
    told = scene.play([*events, down(BEGIN + 200, feeds[1])], BEGIN + 1000)
    assert phases(told) == [Phase.OPENED, Phase.REPEATED]
    hurt = [each.origin for each in reports(told)[1].troubles if each.until is None]
    assert hurt == feeds[:2]
    told = scene.play([up(BEGIN + 1000, feed) for feed in feeds[:2]], BEGIN + 1100)
    # a page it was, and whoever was paged is told that it is over
    assert [(report.phase, report.severity) for report in reports(told)] == [(Phase.RESOLVED, Severity.PAGE)]


def test_hosts_that_flap_together_are_one_note() -> None:
    """A bad line is told as such, once, and that it is calm."""
    feeds = hosts(12, 1)
    events = [
        event
        for lap in range(12)
        for n, feed in enumerate(feeds[:5])
        for event in (down(BEGIN + 20 * lap + n, feed), up(BEGIN + 20 * lap + n + 9, feed))
    ]
    told = started(feeds).play(events, BEGIN + 3000)
    assert [(phase, kind) for _, phase, _, kind in incidents(told)] == [
        (Phase.OPENED, Kind.FLAPPING),
        (Phase.OPENED, Kind.FLAPPING),
        (Phase.RESOLVED, Kind.FLAPPING),
    ]


@st.composite
def storms(draw: st.DrawFn) -> tuple[list[Origin], dict[Origin, tuple[float, Reason]]]:
    """Feeds of some hosts, and when and why some of them are lost, all within two minutes."""
    feeds = hosts(draw(st.integers(1, 12)), draw(st.integers(1, 5)))
    why = st.sampled_from([*TIMEOUTS, Reason.EOF, Reason.DNS_NXDOMAIN, Reason.TLS_EXPIRED])
    lost = draw(st.dictionaries(st.sampled_from(feeds), st.tuples(st.floats(0, FRESH), why), min_size=1))
    return feeds, lost


@given(storms())
@settings(deadline=None, max_examples=100)
def test_any_storm_of_two_minutes(storm: tuple[list[Origin], dict[Origin, tuple[float, Reason]]]) -> None:
    """Whoever is lost when, for causes that may be one: four messages at most, in time, and no host forgotten."""
    feeds, lost = storm
    # one more host, so that no loss of a single one is the network's
    scene = started([*feeds, FAR])
    told = scene.play([down(BEGIN + at, feed, reason) for feed, (at, reason) in lost.items()], BEGIN + 800)
    assert 1 <= len(told) <= 4
    named = {each.origin.host for report in reports(told) for each in report.troubles}
    assert reports(told)[-1].scope is Scope.NETWORK or named == {feed.host for feed in lost}
    assert told[0].at <= BEGIN + min(at for at, _ in lost.values()) + WARN
    pages = [at for at, reason in lost.values() if reason in (Reason.DNS_NXDOMAIN, Reason.TLS_EXPIRED)]
    severities = [each.at for each, report in zip(told, reports(told), strict=True) if report.severity is Severity.PAGE]
    assert not pages or severities[0] <= BEGIN + min(pages) + PAGE
