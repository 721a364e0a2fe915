import string

import pytest

from actors.errors import Reason, Way
from actors.events import (
    CodeRejected,
    Connected,
    Disconnected,
    Event,
    Failed,
    FeedEvent,
    GapReported,
    LegLost,
    LinkState,
    Noticed,
    Origin,
    Overflowed,
    Quiet,
    Reconnecting,
    StateChanged,
    Unconfirmed,
)
from actors.notifier import Language, Severity, Topic, guide, render
from actors.notifier.notification import PAGES, TOLD
from actors.notifier.wording import duration, missed
from actors.notifier.words import ACTIONS, CAUSES, LINES, Words

UPBIT = Origin("upbit-krw", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")

EVENTS: tuple[FeedEvent, ...] = (
    Connected(at=0, origin=UPBIT, session=1, seconds=0.31),
    Connected(at=0, origin=UPBIT, session=3, seconds=72),
    *(Disconnected(at=0, origin=UPBIT, session=1, reason=reason, seconds=192) for reason in Reason),
    *(
        Failed(at=0, origin=UPBIT, session=1, reason=reason, detail="HTTP 403", connected=connected)
        for reason in Reason
        for connected in (True, False)
        if reason not in (Reason.REQUESTED, Reason.STOPPED)
    ),
    *(
        Reconnecting(at=0, origin=UPBIT, delay=1.44, attempt=3, way=way, reason=reason)
        for way in Way
        for reason in (*Reason, None)
    ),
    LegLost(at=0, origin=UPBIT, session=1, reason=Reason.MESSAGE_TIMEOUT, detail="", left=1),
    CodeRejected(at=0, origin=UPBIT, session=1, channel="trade", code="KRW-NO", detail="no such code"),
    StateChanged(at=0, origin=UPBIT, state=LinkState.GAVE_UP, previous=LinkState.BACKOFF),
    Overflowed(at=0, origin=UPBIT, policy="drop_oldest", depth=10_000),
    Unconfirmed(at=0, origin=UPBIT, session=1, channels=("orderbook", "trade")),
    Quiet(at=0, origin=UPBIT, session=1, channel="trade", code="KRW-BTC", seconds=300),
)


def text(event: Event, language: Language = Language.KO) -> str:
    notification = guide(event)
    assert notification is not None
    return render(notification, language)


def failed(reason: Reason, *, connected: bool, detail: str = "") -> Failed:
    return Failed(at=0, origin=UPBIT, session=1, reason=reason, detail=detail, connected=connected)


# -- the table ------------------------------------------------------------------------------------------------------


def test_every_reason_has_words_in_both_languages() -> None:
    """No reason lacks its words, and every failure that needs a person says what to do."""
    assert set(CAUSES) == set(Reason)
    assert set(ACTIONS) >= PAGES
    for table in (CAUSES, ACTIONS, LINES):
        words: Words
        for words in table.values():
            assert set(words) == set(Language)
            assert all(words.values())


def test_both_languages_name_the_same_figures() -> None:
    """A line's fields are the same in Korean and English."""
    for key, words in LINES.items():
        fields = [{field for _, field, _, _ in string.Formatter().parse(line) if field} for line in words.values()]
        assert fields[0] == fields[1], key


def test_every_line_is_used() -> None:
    """The table holds no line that no event brings up."""
    written = "\n".join(text(event, Language.EN) for event in EVENTS)
    written += text(Reconnecting(at=0, origin=UPBIT, delay=0, attempt=1, way=Way.NOW, reason=None), Language.EN)
    written += missed(2, Language.EN)
    guide_style = list(LINES)[: list(LINES).index("one_lost")]  # those of style incidents have a test of their own
    for key in guide_style:
        words = LINES[key]
        longest = max((part for part, *_ in string.Formatter().parse(words[Language.EN])), key=len)
        assert longest.strip() in written, key


@pytest.mark.parametrize("language", Language)
def test_every_event_can_be_told(language: Language) -> None:
    """Each text begins with the exchange in brackets, names the feed, and leaves no field open."""
    begin = "[업비트] 웹소켓" if language is Language.KO else "[Upbit] WebSocket"
    for event in EVENTS:
        lines = text(event, language).split("\n")
        assert lines[0].startswith(begin), event
        assert "upbit-krw" in lines[1], event
        assert len(lines) >= 3, event
        assert not any("{" in line or "None" in line for line in lines), event


# -- the guide's wording --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "first"),
    [
        (EVENTS[0], "[업비트] 웹소켓 연결 성공"),
        (
            Reconnecting(at=0, origin=UPBIT, delay=1, attempt=1, way=Way.BACKOFF, reason=Reason.EOF),
            "[업비트] 웹소켓 재연결 시도",
        ),
        (failed(Reason.MESSAGE_TIMEOUT, connected=True), "[업비트] 웹소켓 메시지 타임아웃"),
        (
            Disconnected(at=0, origin=UPBIT, session=1, reason=Reason.EOF, seconds=5),
            "[업비트] 웹소켓 연결 종료",
        ),
        (failed(Reason.EOF, connected=True), "[업비트] 웹소켓 연결 끊김"),
        (failed(Reason.RESET, connected=True), "[업비트] 웹소켓 연결 끊김"),
        (failed(Reason.CLOSE_1000, connected=True), "[업비트] 웹소켓 연결 끊김"),
        (failed(Reason.PING_TIMEOUT, connected=True), "[업비트] 웹소켓 연결 끊김"),
        (failed(Reason.REFUSED, connected=False), "[업비트] 웹소켓 연결 오류: 서버가 연결을 거부함"),
        (failed(Reason.EOF, connected=False), "[업비트] 웹소켓 연결 오류: 서버가 예고 없이 연결을 끊음"),
        (failed(Reason.SUB_REJECTED, connected=True), "[업비트] 웹소켓 연결 오류: 구독이 거부됨"),
    ],
)
def test_the_guides_lines_to_the_letter(event: FeedEvent, first: str) -> None:
    """The first line is the connector guide's."""
    assert text(event).split("\n")[0] == first


def test_a_whole_message_in_korean() -> None:
    """The guide's line comes first, then the feed, the cause and what is next."""
    event = Reconnecting(at=0, origin=UPBIT, delay=1.44, attempt=3, way=Way.BACKOFF, reason=Reason.MESSAGE_TIMEOUT)
    assert text(event) == (
        "[업비트] 웹소켓 재연결 시도\n"
        "피드: upbit-krw (api.upbit.com)\n"
        "원인: 데이터가 오지 않음\n"
        "다음 시도: 1.4초 후 (3번째)"
    )


def test_a_whole_message_in_english() -> None:
    """The same in English; a quarantine says why retries are slow and what to do."""
    event = Reconnecting(at=0, origin=UPBIT, delay=300, attempt=1, way=Way.QUARANTINE, reason=Reason.HTTP_REDIRECT)
    assert text(event, Language.EN) == (
        "[Upbit] WebSocket reconnecting\n"
        "feed: upbit-krw (api.upbit.com)\n"
        "cause: redirected to another address (HTTP 3xx)\n"
        "next attempt in 5 min (no. 1)\n"
        "retrying alone may not help, so retries are slow\n"
        "to do: look up the new address and set ws_url"
    )


def test_a_servers_words_are_cleaned() -> None:
    """Control and bidi characters in foreign text are gone, and it is bounded."""
    event = failed(Reason.APP_ERROR, connected=True, detail="bad\n\x1b[31m\u202ename" + "x" * 500)
    last = text(event).split("\n")[-1]
    assert last.startswith("상세: bad  [31m name")
    assert len(last) < 220


# -- the style ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        failed(Reason.REQUESTED, connected=True),
        failed(Reason.STOPPED, connected=True),
        StateChanged(at=0, origin=UPBIT, state=LinkState.LIVE, previous=LinkState.CONNECTED),
        GapReported(at=0, origin=UPBIT, reason=Reason.EOF, since=0, until=1, seconds=1),
        Noticed(at=0, origin=UPBIT, session=1, detail="hello"),
    ],
)
def test_what_is_not_told(event: Event) -> None:
    """A wish of our own, a plain change of state and a notice are no alert."""
    assert guide(event) is None


def test_all_told_events_are_listed() -> None:
    """The events that a notifier picks are those from which there are notifications."""
    assert {type(event) for event in EVENTS} == TOLD


def test_topic_and_severity() -> None:
    """The guide's four topics; a page where somebody has to do something."""
    cases: list[tuple[Event, Topic, Severity]] = [
        (EVENTS[0], Topic.CONNECT, Severity.INFO),
        (EVENTS[2], Topic.DISCONNECT, Severity.INFO),
        (failed(Reason.EOF, connected=True), Topic.ERROR, Severity.WARNING),
        (failed(Reason.TLS_EXPIRED, connected=False), Topic.ERROR, Severity.PAGE),
        (EVENTS[-4], Topic.ERROR, Severity.PAGE),
        (EVENTS[-1], Topic.ERROR, Severity.WARNING),
    ]
    for event, topic, severity in cases:
        notification = guide(event)
        assert notification is not None
        assert (notification.event, notification.severity, notification.origin) == (topic, severity, UPBIT)


@pytest.mark.parametrize(
    ("seconds", "ko", "en"),
    [
        (-1, "0.0초", "0.0 s"),
        (1.44, "1.4초", "1.4 s"),
        (59.9, "59초", "59 s"),
        (60, "1분", "1 min"),
        (192, "3분 12초", "3 min 12 s"),
        (7500, "2시간 5분", "2 h 5 min"),
        (90_000, "1일 1시간", "1 d 1 h"),
    ],
)
def test_durations(seconds: float, ko: str, en: str) -> None:
    """Lengths of time have two units at most."""
    assert (duration(seconds, Language.KO), duration(seconds, Language.EN)) == (ko, en)
