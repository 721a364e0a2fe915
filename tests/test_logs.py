"""The log: a line for each change of state, rarer after the tenth attempt, and nobody's control characters."""

import json
import logging
import random
from typing import Any

import attrs
import pytest

from actors.errors import Reason, Way
from actors.events import (
    ChannelTrouble,
    ChildExited,
    ChildUnstopped,
    CodeRejected,
    Connected,
    Disconnected,
    Ending,
    Event,
    Failed,
    GapReported,
    IntensityExceeded,
    LinkState,
    Live,
    Noticed,
    Notified,
    Origin,
    Overflowed,
    Paused,
    Probed,
    Quiet,
    Reconnecting,
    Resubscribed,
    StateChanged,
    SubscriberFailed,
    Unconfirmed,
)
from actors.stats import ConnectorStats
from supervisors.standalone.logs import Journal

ORIGIN = Origin("up", "upbit", "[업비트]", "[Upbit]", "api.upbit.com")
WALL = 1_700_000_000_000_000_000


def journal(**options: Any) -> tuple[Journal, list[dict[str, Any]]]:
    """A journal and the lines that it writes, as JSON."""
    lines: list[dict[str, Any]] = []
    stats = {"up": ConnectorStats(ORIGIN, incarnation=4)}
    made = Journal(
        lambda line: lines.append(json.loads(line)), terminal=False, stats=stats, wall=lambda: WALL, **options
    )
    return made, lines


def attempt(at: float) -> list[Event]:
    """The events of one failed attempt."""
    about: Any = {"at": at, "origin": ORIGIN}
    return [
        StateChanged(**about, state=LinkState.CONNECTING, previous=LinkState.BACKOFF),
        StateChanged(**about, state=LinkState.DOWN, previous=LinkState.CONNECTING),
        Failed(**about, session=0, reason=Reason.REFUSED, detail="nobody listens", connected=False),
        StateChanged(**about, state=LinkState.BACKOFF, previous=LinkState.DOWN),
        Reconnecting(**about, delay=1.5, attempt=1, way=Way.BACKOFF, reason=Reason.REFUSED),
    ]


def test_one_line_a_change_of_state() -> None:
    """A session from dial to stop: one line for each state it was in, bound to feed, exchange and incarnation."""
    log, lines = journal()
    about: Any = {"at": 1.0, "origin": ORIGIN}
    for event in (
        *attempt(1.0),
        StateChanged(**about, state=LinkState.CONNECTED, previous=LinkState.CONNECTING),
        Connected(**about, session=1, seconds=1.0),
        StateChanged(**about, state=LinkState.LIVE, previous=LinkState.CONNECTED),
        Live(**about, session=1),
        GapReported(**about, reason=Reason.REFUSED, since=0, until=1, seconds=2.5),
        Disconnected(**about, session=1, reason=Reason.STOPPED, seconds=3.0),
        StateChanged(**about, state=LinkState.STOPPED, previous=LinkState.LIVE),
    ):
        log.hook(event)
    names = ["connecting", "down", "reconnecting", "connected", "live", "recovered", "stopped"]
    assert [line["event"] for line in lines] == names
    assert all((line["feed"], line["exchange"], line["incarnation"]) == ("up", "upbit", 4) for line in lines)
    assert list(lines[1]) == ["time", "level", "event", "feed", "exchange", "incarnation", "reason", "detail"]
    assert lines[0]["time"] == "2023-11-14T22:13:20.000000Z"
    assert (lines[1]["level"], lines[1]["reason"], lines[1]["detail"]) == ("warning", "refused", "nobody listens")
    assert (lines[2]["in_seconds"], lines[5]["gap_seconds"], lines[5]["attempts"]) == (1.5, 2.5, 1)


def test_after_the_tenth_attempt_one_line_every_ten_minutes() -> None:
    """An outage of a day is some 150 lines, each with the count, and the end of it is told at once."""
    log, lines = journal()
    attempts = range(0, 86_400, 60)
    for at in attempts:
        for event in attempt(float(at)):
            log.hook(event)
    first = [line for line in lines if line["event"] != "still down"]
    later = [line for line in lines if line["event"] == "still down"]
    assert len(first) == 3 * 10 + 2  # the eleventh attempt is told until it has failed
    assert len(later) == len(range(660, 86_400, 600)) - 1
    counts = [line["attempts"] for line in later]
    assert counts == list(range(counts[0], counts[0] + 10 * len(counts), 10))
    log.hook(GapReported(at=90_000.0, origin=ORIGIN, reason=Reason.REFUSED, since=0, until=1, seconds=9.0))
    assert (lines[-1]["event"], lines[-1]["attempts"]) == ("recovered", len(attempts))
    before = len(lines)
    for event in attempt(90_001.0):
        log.hook(event)
    assert len(lines) == before + 3


def test_every_other_event_has_its_line_or_none() -> None:
    """Warnings for what a person may want to see, errors for our own bugs, nothing for what repeats itself."""
    log, lines = journal()
    about: Any = {"at": 1.0, "origin": ORIGIN}
    child: Any = {"at": 1.0, "supervisor": "up", "child": "connector", "incarnation": 1}
    expected = {
        "given up": StateChanged(**about, state=LinkState.GAVE_UP, previous=LinkState.DOWN),
        "quarantined": Reconnecting(**about, delay=300, attempt=1, way=Way.QUARANTINE, reason=None),
        "gap": GapReported(**about, reason=Reason.OVERFLOW, since=0, until=1, seconds=1.0),
        "slow consumer": Overflowed(**about, policy="block", depth=3),
        "quiet": Quiet(**about, session=1, channel="trade", code="A", seconds=30.0),
        "unconfirmed": Unconfirmed(**about, session=1, channels=("trade", "book")),
        "code rejected": CodeRejected(**about, session=1, channel="trade", code="A", detail="no such code"),
        "notice": Noticed(**about, session=1, detail="maintenance"),
        "channel trouble": ChannelTrouble(at=1.0, channel="ops", error="no such chat", delay=None),
        "resubscribed": Resubscribed(**about, session=1, channel="trade", code="A"),
        "paused": Paused(at=1.0, seconds=60.0),
        "crashed": ChildExited(**child, ending=Ending.CRASHED, reason=None, error="KeyError()"),
        "too many crashes": IntensityExceeded(**child, crashes=5, seconds=300),
        "does not stop": ChildUnstopped(**child),
        "subscriber failed": SubscriberFailed(at=1.0, subscriber="x", error="boom"),
    }
    for event in expected.values():
        log.hook(event)
    assert [line["event"] for line in lines] == list(expected)
    assert {line["level"] for line in lines[-4:]} == {"error"}
    before = len(lines)
    log.hook(Probed(**about, session=1, answered=True))
    log.hook(Notified(at=1.0, channel="ops", outcome="sent"))
    log.hook(ChildExited(**child, ending=Ending.FAILED, reason=Reason.EOF, error="eof"))
    assert len(lines) == before
    log.hook(ChannelTrouble(at=1.0, channel="ops", error="flood", delay=3.04))
    assert lines[-1]["again_in_seconds"] == 3.0


def test_a_wished_reconnect_is_no_warning() -> None:
    """Who asks for a reconnect is told that it happens, without alarm."""
    log, lines = journal()
    log.hook(Failed(at=1.0, origin=ORIGIN, session=1, reason=Reason.REQUESTED, detail="", connected=True))
    assert lines[0]["level"] == "info"


@pytest.mark.parametrize("terminal", [True, False])
def test_no_text_of_others_can_forge_a_line(terminal: bool) -> None:
    """Control and bidi characters never reach the log, in either form, and a line is one line and bounded."""
    written: list[bytes] = []
    log = Journal(written.append, terminal=terminal, wall=lambda: WALL)
    draw = random.Random(7)
    evil = "\x1b[2J\r\n{}\u202e\x00\x9b" + "".join(chr(draw.randrange(0x20, 0x2FF)) for _ in range(1000))
    log.hook(Noticed(at=1.0, origin=attrs.evolve(ORIGIN, feed="f"), session=1, detail=evil))
    log.alert(evil)
    assert len(written) == 2
    for line in written:
        text = line.decode().rstrip("\n")
        assert not set(text) & set("\r\n\x00\x9b\u202e")
        assert "\x1b[2J" not in text
        assert len(text) < 700


def test_an_alert_is_one_line_in_its_own_language() -> None:
    """The notifier's console becomes a log line, Korean as it is."""
    log, lines = journal()
    log.alert("[업비트] 웹소켓 연결 성공\n피드: up\n")
    assert (lines[0]["event"], lines[0]["text"]) == ("alert", "[업비트] 웹소켓 연결 성공 | 피드: up")


def test_level_and_the_standard_library() -> None:
    """Lines below the level are not written; what a library warns of by `logging` becomes a line."""
    log, lines = journal(level=logging.WARNING)
    log.log.info("no")
    logger = logging.getLogger("a.library")
    with log.bridged():
        logger.warning("took %d s", 3)
        logger.info("no")
    logger.warning("no longer")
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [("took 3 s", "warning", "a.library")]
