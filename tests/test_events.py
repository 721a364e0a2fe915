"""The one hook, and the cleaning of foreign text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import BACKOFF, NOW, ConnectorError, HandshakeError, Reason, ReconnectRequested, clean, leaves
from actors.events import Event, EventHub, SubscriberFailed, SupervisorDown


def event(n: int) -> Event:
    return SupervisorDown(at=n, supervisor="top", error="")


def test_every_subscriber_hears_everything_in_order() -> None:
    """Subscribers are called in the order in which they came, until they leave."""
    hub, heard = EventHub(), list[tuple[str, float]]()
    for name in ("a", "b"):
        hub.subscribe(name, lambda event, name=name: heard.append((name, event.at)))
    hub.emit(event(1))
    hub.unsubscribe("a")
    hub.unsubscribe("a")
    hub.emit(event(2))
    assert heard == [("a", 1), ("b", 1), ("b", 2)]
    with pytest.raises(ValueError, match="named 'b' already"):
        hub.subscribe("b", lambda event: None)


def test_a_subscriber_that_raises_is_dropped_and_told_once() -> None:
    """The others hear of it, and go on."""
    hub, heard = EventHub(), list[Event]()

    def broken(event: Event) -> None:
        raise ZeroDivisionError(event.at)

    hub.subscribe("broken", broken)
    hub.subscribe("good", heard.append)
    hub.emit(event(1))
    hub.emit(event(2))
    assert heard == [
        SubscriberFailed(at=1, subscriber="broken", error="ZeroDivisionError(1)"),
        event(1),
        event(2),
    ]


@given(st.text(), st.integers(1, 50))
def test_foreign_text_is_made_safe(text: str, limit: int) -> None:
    """No control or bidi character, no line break, never longer than the limit."""
    safe = clean(text, limit)
    assert len(safe) <= limit
    assert safe.isprintable() or all(c.isprintable() or c.isspace() for c in safe)
    assert not set(safe) & set("\n\r\x1b\u202e\u2066\x00\x85")


def test_errors_say_their_reason_and_detail() -> None:
    """A string for people, fields for programs."""
    error = ConnectorError(Reason.EOF, "line\nbreak")
    assert str(error) == "eof: line break"
    assert str(ConnectorError(Reason.EOF)) == "eof"
    assert error.advice is BACKOFF
    assert ReconnectRequested().advice is NOW
    assert HandshakeError(Reason.HTTP_429, status=429, retry_after=3).retry_after == 3


def test_leaves_unpack_every_depth() -> None:
    """A bare error is its own only leaf."""
    first, second = KeyError(1), ValueError(2)
    assert leaves(first) == [first]
    assert leaves(ExceptionGroup("", [first, ExceptionGroup("", [second])])) == [first, second]
