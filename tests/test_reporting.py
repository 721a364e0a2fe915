"""The words of style incidents: complete in both languages, the guide's line first, nothing foreign uncleaned."""

import string
from collections.abc import Iterator

import attrs
import pytest

from actors.errors import Reason
from actors.events import CodeRejected, LegLost, NoOverlap, Origin, Overflowed, Quiet, Unconfirmed
from actors.notifier import Language, Severity
from actors.notifier.reporting import SHOWN, tell
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
    Stopped,
    Storage,
    Trial,
    Trouble,
)
from actors.notifier.words import LINES

UPBIT = Origin("upbit-krw", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")
GOPAX = Origin("gopax-krw", "gopax", "[고팍스]", "[Gopax]", "ws.gopax.co.kr")


def moment(at: float) -> str:
    return f"T{at:g}"


def text(report: Report, language: Language = Language.KO, now: float = 1000.0) -> str:
    return tell(report, language, moment, now)


def trouble(reason: Reason = Reason.EOF, origin: Origin = UPBIT, until: float | None = None) -> Trouble:
    return Trouble(origin=origin, reason=reason, since=100.0, until=until)


def many(count: int, until: float | None = None) -> tuple[Trouble, ...]:
    reasons = (Reason.EOF, Reason.EOF, Reason.HTTP_FORBIDDEN)
    return tuple(
        trouble(reasons[n % 3], Origin(f"f{n}", "upbit", "[업비트]", "[Upbit]", f"h{n % 2}"), until)
        for n in range(count)
    )


def incident(
    *troubles: Trouble,
    phase: Phase = Phase.OPENED,
    scope: Scope = Scope.FEEDS,
    kind: Kind = Kind.OUTAGE,
    severity: Severity = Severity.WARNING,
) -> Incident:
    return Incident(
        severity=severity, kind=kind, scope=scope, phase=phase, troubles=troubles, total=len(troubles), hosts=2
    )


def reports() -> Iterator[Report]:
    for phase in Phase:
        for scope in Scope:
            for kind in Kind:
                for count in (1, 2, 30):
                    until = 400.0 if phase is Phase.RESOLVED else None
                    for severity in (Severity.WARNING, Severity.PAGE):
                        yield incident(*many(count, until), phase=phase, scope=scope, kind=kind, severity=severity)
    for reason in Reason:
        yield incident(trouble(reason))
        yield Started(at=0, severity=Severity.WARNING, total=2, waiting=(trouble(reason),))
    yield incident(Trouble(origin=UPBIT, reason=Reason.EOF, since=1, gave_up=True), severity=Severity.PAGE)
    for lost in (Trouble(origin=UPBIT, reason=Reason.EOF, since=1, until=9, lost=8.5),):
        yield incident(lost, phase=Phase.RESOLVED)
        yield incident(lost, trouble(until=5), phase=Phase.RESOLVED)
    yield Started(at=0, severity=Severity.INFO, total=40, waiting=())
    yield Started(at=0, severity=Severity.INFO, total=40, waiting=many(3), unclean=(10.0, 20.0))
    yield incident(trouble(), trouble(until=400.0), scope=Scope.HOST, phase=Phase.REPEATED)
    for unclean, crashes in ((None, 1), ((10.0, 20.0), 1), ((10.0, 20.0), 3)):
        start = Started(at=20, severity=Severity.WARNING, total=40, waiting=many(3), unclean=unclean, crashes=crashes)
        yield Stopped(severity=Severity.INFO, total=3, down=1, seconds=7000, started=start)
        yield attrs.evolve(incident(trouble()), started=start)
        yield attrs.evolve(incident(trouble(until=30)), phase=Phase.RESOLVED, started=start)
    yield Stopped(severity=Severity.INFO, total=3, down=1, seconds=7000, goes_on=True)
    yield Stopped(severity=Severity.INFO, total=3, down=0, seconds=7000)
    yield Maintenance(severity=Severity.INFO, subject="upbit", begins=True, until=900)
    yield Maintenance(severity=Severity.INFO, subject="upbit", begins=False, until=900)
    yield Maintenance(severity=Severity.INFO, subject="upbit", begins=False, until=900, troubles=many(2))
    yield Beat(severity=Severity.INFO, total=3, live=2)
    yield Storage(severity=Severity.PAGE, detail="disk is full")
    yield Storage(severity=Severity.INFO, detail="")
    yield Trial(severity=Severity.INFO)
    for event in (
        Overflowed(at=0, origin=UPBIT, policy="block", depth=5),
        Quiet(at=0, origin=UPBIT, session=1, channel="trade", code="KRW-BTC", seconds=300),
        Unconfirmed(at=0, origin=UPBIT, session=1, channels=("trade", "book")),
        CodeRejected(at=0, origin=UPBIT, session=1, channel="trade", code="KRW-NO", detail="no such code"),
        LegLost(at=0, origin=UPBIT, session=1, reason=Reason.EOF, detail="", left=1),
        NoOverlap(at=0, origin=UPBIT, why="a test"),
    ):
        yield Concerns(severity=Severity.WARNING, events=(event,), more=3)


@pytest.mark.parametrize("language", Language)
def test_every_report_can_be_told(language: Language) -> None:
    """No text leaves a field open, says None, or has an empty line."""
    for report in reports():
        for line in text(report, language).split("\n"):
            assert line.strip(), report
            assert "{" not in line, report
            assert "None" not in line, report


def test_every_line_of_the_style_is_used() -> None:
    """The table holds no line that no report brings up."""
    written = "\n".join(text(report, Language.EN) for report in reports())
    own = list(LINES)[list(LINES).index("one_lost") :]
    for key in own:
        longest = max((part for part, *_ in string.Formatter().parse(LINES[key][Language.EN])), key=len)
        assert longest.strip() in written, key


def test_an_outage_in_korean() -> None:
    """The guide's line, which feed, since when, the cause, what happens by itself, and what to do."""
    assert text(incident(trouble(Reason.HTTP_BANNED), severity=Severity.PAGE)) == (
        "[업비트] 웹소켓 연결 오류: IP 차단 (HTTP 418)\n"
        "피드: upbit-krw (api.upbit.com)\n"
        "시작: T100\n"
        "원인: IP 차단 (HTTP 418)\n"
        "재시도만으로는 풀리지 않을 수 있어 천천히 다시 시도합니다\n"
        "할 일: 같은 IP의 다른 프로그램까지 연결 수를 줄이세요"
    )
    assert text(incident(trouble(Reason.MESSAGE_TIMEOUT))).startswith("[업비트] 웹소켓 메시지 타임아웃\n")


def test_what_the_system_does_is_not_what_the_reader_thinks_of_it() -> None:
    """A cut that an operator wants to be paged for is retried as fast as any other, and the text says so."""
    paged = text(incident(trouble(Reason.EOF), severity=Severity.PAGE), Language.EN)
    warned = text(incident(trouble(Reason.HTTP_FORBIDDEN), severity=Severity.WARNING), Language.EN)
    assert ("retries are slow" in paged, "retries are slow" in warned) == (False, True)


def test_a_recovery_in_korean() -> None:
    """How long, from when to when, and what is missing."""
    lost = Trouble(origin=UPBIT, reason=Reason.EOF, since=100, until=292, lost=193.2)
    assert text(incident(lost, phase=Phase.RESOLVED)) == (
        "[업비트] 웹소켓 연결 복구\n"
        "피드: upbit-krw (api.upbit.com)\n"
        "중단: 3분 12초 (T100 ~ T292)\n"
        "데이터 공백: 3분 13초"
    )


def test_a_whole_host_in_english() -> None:
    """How many of how many, no more names than can be read, the causes by number."""
    words = text(incident(*many(30), scope=Scope.HOST), Language.EN).split("\n")
    assert words[0] == "[Upbit] WebSocket outage of the whole host: 30 of 30 feeds lost"
    assert words[1] == f"feeds: {', '.join(f'f{n}' for n in range(SHOWN))} and 20 more"
    assert words[3].startswith("causes: the server cut the connection without a close frame (20), ")


def test_a_wide_outage_is_told_as_far_as_it_reaches_now() -> None:
    """Once most are back it is no longer the host, or the network; who is back is named."""
    first = [
        text(incident(*many(4), scope=scope), Language.EN).split("\n")[0] for scope in (Scope.HOSTS, Scope.NETWORK)
    ]
    assert first == [
        "[Upbit] WebSocket connections lost: 2 of 2 hosts, 4 of 4 feeds",
        "[Network] WebSocket outage: 2 of 2 hosts, 4 of 4 feeds lost",
    ]
    for scope in (Scope.HOST, Scope.HOSTS, Scope.NETWORK):
        left = incident(trouble(), *many(4, until=400.0), scope=scope, phase=Phase.REPEATED)
        words = text(left, Language.EN).split("\n")
        assert words[0] == "[Upbit] WebSocket connection lost (still, for 15 min)"
        assert words[4] == "back meanwhile: f0, f1, f2, f3"


def test_the_start_in_the_words_of_the_issue() -> None:
    """Who is not there stands in the first line, with the cause."""
    report = Started(at=0, severity=Severity.WARNING, total=40, waiting=(trouble(Reason.REFUSED, GOPAX),))
    first = text(report).split("\n")[0]
    assert first == "40개 피드 중 39개 연결 성공, gopax-krw 대기: 서버가 연결을 거부함"
    connecting = Started(at=0, severity=Severity.WARNING, total=40, waiting=(trouble(Reason.STOPPED, GOPAX),))
    assert text(connecting) == "40개 피드 중 39개 연결 성공, gopax-krw 대기: 연결 중"
    assert text(Started(at=0, severity=Severity.INFO, total=40, waiting=())) == "40개 피드 모두 연결 성공"


def test_foreign_text_is_cleaned() -> None:
    """Names and details bring no control character and no bidi override into a message."""
    evil = "a\x1b[31m\u202eb"
    reports = [
        Storage(severity=Severity.PAGE, detail=evil),
        Maintenance(severity=Severity.INFO, subject=evil, begins=True, until=0),
        incident(trouble(origin=Origin(evil, "x", "[x]", "[x]", evil))),
        Concerns(
            severity=Severity.WARNING,
            events=(Unconfirmed(at=0, origin=UPBIT, session=1, channels=(evil,)),),
            more=0,
        ),
    ]
    for report in reports:
        assert "\x1b" not in text(report)
        assert "\u202e" not in text(report)
