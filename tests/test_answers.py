"""What an HTTP status and its Retry-After mean."""

import pytest

from actors.errors import BACKOFF, QUARANTINE, Advice, HandshakeError, Reason, after
from actors.transport.answers import LARGEST_HEAD, LONGEST_BAN, read_answer, refusal, refused, retry_after
from tests.hostile import WALL


@pytest.mark.parametrize(
    ("status", "wait", "reason", "advice"),
    [
        (429, None, Reason.HTTP_429, after(60)),
        (429, 0.0, Reason.HTTP_429, after(0)),
        (418, 3.0, Reason.HTTP_BANNED, after(3)),
        (418, None, Reason.HTTP_BANNED, after(60)),
        (500, None, Reason.HTTP_5XX, BACKOFF),
        (503, 3.0, Reason.HTTP_5XX, after(3)),
        (403, 3.0, Reason.HTTP_FORBIDDEN, QUARANTINE),
        (302, None, Reason.HTTP_REDIRECT, QUARANTINE),
        (410, None, Reason.HTTP_CLIENT, QUARANTINE),
        (204, None, Reason.HTTP_NOT_101, BACKOFF),
        (700, None, Reason.HTTP_NOT_101, BACKOFF),
    ],
)
def test_refusal(status: int, wait: float | None, reason: Reason, advice: Advice) -> None:
    """Each class of status has its reason and way back."""
    assert refusal(status, wait) == (reason, advice)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120.0),
        ("Fri, 15 Jan 2027 08:02:00 -0000", 120.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2199 08:00:00 GMT", LONGEST_BAN),
        ("9" * 400, LONGEST_BAN),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("Fri, 15 Jan 2027 08:02:00 +99999999999999999999", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds and dates are understood, nonsense is not, and no ban is believed to be endless."""
    assert retry_after({"retry-after": value}, WALL) == seconds


def test_no_retry_after() -> None:
    """Without the header there is nothing to obey."""
    assert retry_after({}, WALL) is None


def test_head_in_pieces() -> None:
    """A head is read once it is complete, and its size is known to the byte."""
    head = b"HTTP/1.1 429 Slow down\r\nRetry-After: 5\r\nX-A: b: c\r\n\r\n"
    for size in range(len(head)):
        assert read_answer(head[:size], "host") is None
    answer = read_answer(head + b"body", "host")
    assert answer is not None
    assert (answer.status, answer.size) == (429, len(head))
    assert answer.headers == {"retry-after": "5", "x-a": "b: c"}


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101x\r\n\r\n",
        b"HTTP/1.1" + b"x" * LARGEST_HEAD,
        b"HTTP/1.1 200 " + b"x" * LARGEST_HEAD + b"\r\n\r\n",
    ],
)
def test_garbage(data: bytes) -> None:
    """What cannot become an HTTP/1 head is refused as soon as it shows."""
    with pytest.raises(HandshakeError, match="host") as caught:
        read_answer(data, "host")
    assert caught.value.reason is Reason.HTTP_GARBAGE


def test_redirect_without_location() -> None:
    """A redirect to nowhere is still a redirect."""
    answer = read_answer(b"HTTP/1.1 301 Moved\r\n\r\n", "host")
    assert answer is not None
    error = refused(answer, b"", place="host", wall=WALL, secret="")
    assert (error.reason, error.status) == (Reason.HTTP_REDIRECT, 301)
