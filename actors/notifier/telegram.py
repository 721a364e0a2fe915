"""A channel that sends by Telegram's Bot API.

Facts are from https://core.telegram.org/bots/api (``sendMessage``, ``ResponseParameters``) and
https://core.telegram.org/bots/faq ("My bot is hitting limits"): one message a second to a chat, 20 a minute to a
group, at most 4,096 characters a message, counted in UTF-16 units.
"""

import json
import math
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from heapq import heappop, heappush, heappushpop
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import attrs
import trio

from actors.errors import BACKOFF, QUARANTINE, after, clean
from actors.notifier.channel import ChannelError, Keep, Language, Letter, Undeliverable
from actors.notifier.pieces import split, units
from actors.notifier.secret import Secret
from actors.notifier.wire import CLOSE_TIMEOUT, Wire, checked_proxy, tls_context

API = "https://api.telegram.org"

LIMIT = 4000
"""UTF-16 units a message: a little below Telegram's 4,096."""
_PER_CHAT = 1.0
_GROUP_COUNT, _GROUP_SECONDS = 20, 60.0
_IN_ALL = 25
_UNSAID_WAIT = 60.0
"""Seconds to wait after a 429 that does not say how long."""
_LONGEST_WAIT = 86_400.0
"""Seconds of a wait that is believed of a note from before, should the wall clock have been set since."""


@attrs.frozen
class Answer:
    """What came back from a call: the HTTP status, its Retry-After if that is a number, and the JSON object, or {}."""

    status: int
    retry_after: float | None
    body: dict[str, Any]

    @property
    def description(self) -> str:
        """Telegram's words for what is wrong."""
        text = self.body.get("description")
        return text if isinstance(text, str) else ""

    def parameter(self, name: str) -> Any:
        """One of Telegram's ``ResponseParameters``, or None."""
        parameters = self.body.get("parameters")
        return parameters.get(name) if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON


@attrs.frozen
class _Note:
    """What the next process must know: times are nanoseconds UTC."""

    calls: list[int] = attrs.field(factory=list[int])
    not_before: int = 0
    chat_id: int | str = 0
    """As it was configured."""
    moved: int = 0
    """What it has become; 0 if it is what it was."""


class Pace:
    """At most 25 calls a second, by all the channels that share it; Telegram's own bound is about 30.

    Each call takes one of 25 places, and leaves it free for the next a second after its end: so the bound holds where
    the calls arrive, however long they take to get there.
    """

    def __init__(self) -> None:
        self._places = trio.CapacityLimiter(_IN_ALL)
        self._free = [-math.inf] * _IN_ALL
        """A heap: from when on the places that no call has are free."""

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Wait for a place, and have it for as long as the call takes."""
        async with self._places:
            free = heappop(self._free)
            try:
                await trio.sleep_until(free)
                yield
            finally:
                heappush(self._free, trio.current_time() + 1.0)

    def called(self, at: float) -> None:
        """Count a call that the process before this one has made."""
        heappushpop(self._free, at + 1.0)


class Telegram:
    """Sends plain text to one chat, at the pace that Telegram asks for.

    The token goes below the HTTP client, straight onto the wire: the client's own URL, log lines and exceptions
    never contain it. Certificates are verified, redirects not followed, proxy variables of the environment ignored.

    Args:
        token: The bot's token, as @BotFather gave it.
        chat_id: A number, negative for a group, or ``@channelname``.
        name: The channel's name.
        language: The reader's language.
        base_url: Where the Bot API is; ``http://`` is accepted for loopback hosts only.
        ca_file: A PEM file of the certificate authorities to trust instead of the system's.
        proxy: ``http://``, ``https://`` or ``socks5://`` URL, with user and password if it needs them.
        message_thread_id: The topic of a group in which to write.
        pace: Shared by the channels of one bot.
        wall: Nanoseconds UTC.

    Raises:
        ValueError: a malformed argument, or a ``ca_file`` that cannot be read; no secret is in the message.
    """

    def __init__(
        self,
        token: Secret,
        chat_id: int | str,
        *,
        name: str = "telegram",
        language: Language = Language.KO,
        base_url: str = API,
        ca_file: str | Path | None = None,
        proxy: Secret | None = None,
        message_thread_id: int | None = None,
        pace: Pace | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.language = language
        self._token = _checked_token(token)
        self._chat_id = self._given_chat = _checked_chat(chat_id)
        self._base_url = _checked_base(base_url)
        self._thread = message_thread_id
        self._wire = Wire(
            "Telegram",
            f"{self._base_url}/bot***/sendMessage",
            secrets=(self._key(),),
            tls=tls_context(ca_file),
            proxy=checked_proxy(proxy),
        )
        self._pace = pace or Pace()
        self._wall = wall
        self._keep: Keep | None = None
        self._answered: deque[float] = deque(maxlen=_GROUP_COUNT)
        """When the latest calls ended."""
        self._not_before = -math.inf

    def split(self, letter: Letter) -> Sequence[str]:
        """The text in pieces of at most 4,000 UTF-16 units, cut at line ends where there are any."""
        return split(letter.text, LIMIT)

    async def send(self, text: str) -> None:
        """Send one piece; waits for its turn first.

        A text that Telegram calls bad is sent once more with nothing but printable characters, then given up. A
        group that has become a supergroup is followed.

        Raises:
            ChannelError: the network, Telegram or its limits do not allow it now, or it refuses token or chat.
            Undeliverable: Telegram will not have this text.
        """
        fields: dict[str, object] = {"text": text, "link_preview_options": {"is_disabled": True}, **_emphasis(text)}
        answer = await self._call(fields)
        moved = answer.parameter("migrate_to_chat_id")
        if answer.status == 400 and isinstance(moved, int) and not isinstance(moved, bool):
            self._chat_id = moved
            await self._note()
            answer = await self._call(fields)
        if answer.status == 400 and not _no_such_chat(answer):
            plain = "\n".join(clean(line, LIMIT) for line in text.split("\n")).strip()
            answer = await self._call({"text": plain}) if plain else answer
        self._judge(answer)

    def resume(self, kept: str | None, keep: Keep) -> None:
        """Go on at the pace, and in the chat, that the process before this one has left; see ``Remembering``."""
        self._keep = keep
        note = _noted(kept)
        now, wall = trio.current_time(), self._wall()
        if note.chat_id == self._chat_id and note.moved:
            self._chat_id = note.moved
        self._answered.extend(now - max((wall - at) / 1e9, 0.0) for at in note.calls)
        if self._answered:
            for at in self._answered:
                self._pace.called(at)
            self._answered[-1] = now  # it may have arrived only now
        self._not_before = now + min(max((note.not_before - wall) / 1e9, 0.0), _LONGEST_WAIT)

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._wire.__aexit__(kind, error, traceback)

    async def _call(self, fields: dict[str, object]) -> Answer:
        await trio.sleep_until(max(self._not_before, self._turn()))
        thread = {} if self._thread is None else {"message_thread_id": self._thread}
        async with self._pace.turn():
            # noted before the call: should the process be killed in it, the next one knows that it was made
            self._answered.append(trio.current_time())
            await self._note()
            try:
                answer = await self._post({"chat_id": self._chat_id, **thread, **fields})
            finally:
                # counted from the end of the call: however long it took to get there, the next one arrives later
                self._answered[-1] = trio.current_time()
        if answer.status == 429 or answer.parameter("retry_after") is not None:
            wait = _seconds(answer.parameter("retry_after"), answer.retry_after)
            # kept here too, so that a restart of the notifier does not break it
            self._not_before = trio.current_time() + wait
            await self._note()
            raise ChannelError(f"Telegram asks to wait {wait:g} s", after(wait))
        return answer

    async def _note(self) -> None:
        """Keep what the next process must know: the pace so far, and where the chat has moved to."""
        if self._keep is None:
            return
        now, wall = trio.current_time(), self._wall()
        calls = [wall + round((at - now) * 1e9) for at in self._answered]
        not_before = wall + round((self._not_before - now) * 1e9) if self._not_before > now else 0
        moved = self._chat_id if isinstance(self._chat_id, int) and self._chat_id != self._given_chat else 0
        await self._keep(json.dumps(attrs.asdict(_Note(calls, not_before, self._given_chat, moved))))

    def _turn(self) -> float:
        """The earliest time for the next call; a channel by name counts as a group."""
        if not self._answered:
            return -math.inf
        turn = self._answered[-1] + _PER_CHAT
        group = isinstance(self._chat_id, str) or self._chat_id < 0
        if group and len(self._answered) == _GROUP_COUNT:
            turn = max(turn, self._answered[0] + _GROUP_SECONDS)
        return turn

    def _judge(self, answer: Answer) -> None:
        status, said = answer.status, clean(answer.description)
        if status == 200 and answer.body.get("ok") is True:
            return
        if status in (401, 404):
            raise ChannelError(f"Telegram does not know the bot (HTTP {status}): check the token", QUARANTINE)
        if status == 403:
            raise ChannelError(f"the bot may not write to the chat ({said}): invite or unblock it", QUARANTINE)
        if status == 400 and _no_such_chat(answer):
            raise ChannelError(f"{said}: check chat_id, and write to the bot or invite it first", QUARANTINE)
        if 300 <= status < 400:
            raise ChannelError(f"the Bot API answers with a redirect (HTTP {status}): check base_url", QUARANTINE)
        if 400 <= status < 500:
            raise Undeliverable(f"Telegram will not have the message (HTTP {status}): {said}")
        if status == 200:
            raise ChannelError("the answer is not the Bot API's: check base_url and any proxy", BACKOFF)
        raise ChannelError(f"Telegram is out of order (HTTP {status}) {said}".rstrip(), BACKOFF)

    async def _post(self, fields: dict[str, object]) -> Answer:
        """One call of the Bot API."""
        # ASCII, so that even half a surrogate pair is a message that Telegram can refuse
        reply = await self._wire.post(json.dumps(fields).encode("ascii"), self._target)
        try:
            # a server's own words may repeat the token
            value = json.loads(reply.body.replace(self._key().encode(), b"***"))
        except (ValueError, RecursionError):
            value = {}
        body: dict[str, Any] = value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON
        return Answer(reply.status, reply.retry_after, body)

    def _target(self) -> bytes:
        return f"{urlsplit(self._base_url).path}/bot{self._token.reveal()}/sendMessage".encode("ascii")

    def _key(self) -> str:
        return self._token.reveal().partition(":")[2]


def _noted(kept: str | None) -> _Note:
    """The note of an earlier process; an empty one if there is none that can be read."""
    try:
        note = _Note(**json.loads(kept or "{}"))
        return _Note([int(at) for at in note.calls], int(note.not_before), note.chat_id, int(note.moved))
    except (ValueError, TypeError, RecursionError):
        return _Note()


def _emphasis(text: str) -> dict[str, object]:
    """The first line in bold, where others follow: an entity, so that no character of a text needs escaping."""
    first, more, _ = text.partition("\n")
    entity = {"type": "bold", "offset": 0, "length": units(first)}
    return {"entities": [entity]} if first.strip() and more else {}


def _seconds(*candidates: Any) -> float:
    for value in candidates:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return float(value)
    return _UNSAID_WAIT


def _no_such_chat(answer: Answer) -> bool:
    return "chat not found" in answer.description.lower()


def _checked_token(token: Secret) -> Secret:
    if not re.fullmatch(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,128}", token.reveal()):
        raise ValueError("token must look like 123456789:AAF…, as @BotFather gave it (the value is not shown)")
    return token


def _checked_chat(chat_id: int | str) -> int | str:
    text = str(chat_id)
    if re.fullmatch(r"-?[0-9]{1,18}", text) and int(text) != 0 and not isinstance(chat_id, bool):
        return int(text)
    if re.fullmatch(r"@[A-Za-z0-9_]{3,64}", text):
        return text
    raise ValueError(f"chat_id must be a number (negative for a group) or @channelname: {chat_id!r}")


def _checked_base(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    here = host in {"localhost", "::1"} or host.startswith("127.")
    fine = parts.scheme == "https" or (parts.scheme == "http" and here)
    odd = parts.username is not None or parts.query or parts.fragment or re.search(r"[^\x21-\x7e]", base_url)
    if not host or not fine or odd:
        raise ValueError(f"base_url must look like {API} (http:// only for this machine), without user or query")
    return base_url.rstrip("/")
