"""What a server's HTTP answer says, and what its status means for the way back (pure)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import attrs

from actors.errors import BACKOFF, QUARANTINE, Advice, HandshakeError, Reason, after

LARGEST_HEAD = 16 * 1024
"""Bytes of status line and headers; h11 refuses more as well."""
BODY_READ = 4 * 1024
"""Bytes of a refusal's body that are looked at."""
LONGEST_BAN = 3 * 86_400.0
"""Seconds; no Retry-After is believed beyond it. Binance bans for at most three days (its REST docs, "IP Limits")."""
NO_HEADER = 60.0
"""Seconds to stay away after a 429 or 418 that does not say how long."""


def refusal(status: int, retry_after: float | None) -> tuple[Reason, Advice]:
    """Why a status other than the wanted one was given, and how to come back."""
    if status in (418, 429):  # 418 is Binance's: banned for going on after 429
        reason = Reason.HTTP_429 if status == 429 else Reason.HTTP_BANNED
        return reason, after(NO_HEADER if retry_after is None else retry_after)
    if status in (401, 403, 451):
        return Reason.HTTP_FORBIDDEN, QUARANTINE
    if 300 <= status < 400:
        return Reason.HTTP_REDIRECT, QUARANTINE
    if 400 <= status < 500:
        return Reason.HTTP_CLIENT, QUARANTINE
    if 500 <= status < 600:
        return Reason.HTTP_5XX, BACKOFF if retry_after is None else after(retry_after)
    return Reason.HTTP_NOT_101, BACKOFF


def retry_after(headers: Mapping[str, str], wall: int) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or as a date (RFC 9110 section 10.2.3); None without one.

    Args:
        headers: Names in lower case.
        wall: Now, in nanoseconds UTC.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), LONGEST_BAN)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    now = datetime.fromtimestamp(wall / 1e9, UTC)
    return min(max((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds(), 0.0), LONGEST_BAN)


@attrs.frozen
class Answer:
    """A response's head."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of repeated ones the last."""
    size: int
    """Bytes of the head in what was read."""


def read_answer(data: bytes, place: str) -> Answer | None:
    """The head of the answer that begins with ``data``, or None while more of it is needed.

    Raises:
        HandshakeError: it is not HTTP/1, or longer than :data:`LARGEST_HEAD`.
    """
    if data[:7] != b"HTTP/1."[: len(data)]:
        raise HandshakeError(Reason.HTTP_GARBAGE, f"{place} answered something that is not HTTP: {_text(data[:60])}")
    # h11 ends a head at an empty line even where the carriage returns are missing; so must whoever cuts before it
    end = re.search(rb"\n\r?\n", data)
    if (end.end() if end else len(data)) > LARGEST_HEAD:
        raise HandshakeError(Reason.HTTP_GARBAGE, f"{place} answered with more than {LARGEST_HEAD} bytes of headers")
    if end is None:
        return None
    status_line, *lines = data[: end.start()].splitlines()
    status = re.fullmatch(rb"HTTP/1\.[01] (\d{3})(?: .*)?", status_line)
    if status is None:
        raise HandshakeError(Reason.HTTP_GARBAGE, f"{place} answered {_text(status_line[:60])}")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Answer(int(status[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, end.end())


def refused(answer: Answer, body: bytes, *, place: str, wall: int, secret: str) -> HandshakeError:
    """The error for an answer that is no 101.

    Args:
        answer: Its head.
        body: As much of the body as had come with it.
        place: Host and port, for the text.
        wall: Now, in nanoseconds UTC.
        secret: What must not be repeated: the query of our request.
    """
    wait = retry_after(answer.headers, wall)
    reason, advice = refusal(answer.status, wait)
    words = f"{place} answered {answer.status}"
    if wait is not None:
        words += f", to be left alone for {wait:.0f} s"
    if reason is Reason.HTTP_REDIRECT:
        target = urlsplit(answer.headers.get("location", ""))
        words += f", a redirect (not followed) to {target.scheme}://{target.netloc}{target.path}"
    elif body:
        words += f": {_text(body[:BODY_READ])}"
    if secret:
        words = words.replace(secret, "…")
    return HandshakeError(reason, words, advice, status=answer.status, retry_after=wait)


def _text(data: bytes) -> str:
    return " ".join(data.decode("utf-8", "replace").split())
