"""A channel that sends by Telegram's Bot API.

Facts are from https://core.telegram.org/bots/api (``sendMessage``, ``ResponseParameters``) and
https://core.telegram.org/bots/faq ("My bot is hitting limits"): one message a second to a chat, 20 a minute to a
group, at most 4,096 characters a message, counted in UTF-16 units.
"""

import json
import logging
import math
import re
import ssl
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import attrs
import trio

from actors.errors import BACKOFF, QUARANTINE, after, clean
from actors.notifier.channel import ChannelError, Language, Undeliverable
from actors.notifier.pieces import split
from actors.notifier.secret import Secret

if TYPE_CHECKING:
    import httpx2

API = "https://api.telegram.org"

_LIMIT = 4000
"""UTF-16 units a message: a little below Telegram's 4,096."""
_PER_CHAT = 1.0
_GROUP_COUNT, _GROUP_SECONDS = 20, 60.0
_IO_TIMEOUT = 10.0
"""Seconds for each of connect, write and read."""
_CALL_TIMEOUT = 25.0
"""Seconds for a whole call, whatever drips in meanwhile."""
_CLOSE_TIMEOUT = 2.0
_MAX_ANSWER = 64 * 1024
_UNSAID_WAIT = 60.0
"""Seconds to wait after a 429 that does not say how long."""
_CLIENT_LOGGERS = ("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "httpcore2.socks")


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
    ) -> None:
        self.name = name
        self.language = language
        self._token = _checked_token(token)
        self._chat_id = _checked_chat(chat_id)
        self._base_url = _checked_base(base_url)
        self._tls = _context(ca_file)
        self._proxy = _checked_proxy(proxy)
        self._filter = _Redactor(self._key())
        self._client: httpx2.AsyncClient | None = None
        self._answered: deque[float] = deque(maxlen=_GROUP_COUNT)
        """When the latest calls ended."""
        self._not_before = -math.inf

    def split(self, text: str) -> Sequence[str]:
        """``text`` in pieces of at most 4,000 UTF-16 units, cut at line ends where there are any."""
        return split(text, _LIMIT)

    async def send(self, text: str) -> None:
        """Send one piece; waits for its turn first.

        A text that Telegram calls bad is sent once more with nothing but printable characters, then given up. A
        group that has become a supergroup is followed.

        Raises:
            ChannelError: the network, Telegram or its limits do not allow it now, or it refuses token or chat.
            Undeliverable: Telegram will not have this text.
        """
        fields: dict[str, object] = {"text": text, "link_preview_options": {"is_disabled": True}}
        answer = await self._call(fields)
        moved = answer.parameter("migrate_to_chat_id")
        if answer.status == 400 and isinstance(moved, int) and not isinstance(moved, bool):
            self._chat_id = moved
            answer = await self._call(fields)
        if answer.status == 400 and not _no_such_chat(answer):
            plain = "\n".join(clean(line, _LIMIT) for line in text.split("\n")).strip()
            answer = await self._call({"text": plain}) if plain else answer
        self._judge(answer)

    async def __aenter__(self) -> Self:
        # the import and the first client take some 200 ms: now, rather than when the first alert is due
        import httpx2

        proxy = self._proxy
        self._client = httpx2.AsyncClient(
            verify=self._tls or True,
            proxy=proxy.reveal() if proxy else None,
            timeout=httpx2.Timeout(_IO_TIMEOUT),
            headers={"Accept-Encoding": "identity", "User-Agent": "feedwarden"},
            trust_env=False,
            follow_redirects=False,
        )
        # a server may send the token back, in a Location header say, and the client logs headers at DEBUG
        for logger in _CLIENT_LOGGERS:
            logging.getLogger(logger).addFilter(self._filter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        try:
            with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                if client is not None:
                    await client.aclose()
        finally:
            for logger in _CLIENT_LOGGERS:
                logging.getLogger(logger).removeFilter(self._filter)

    async def _call(self, fields: dict[str, object]) -> Answer:
        await trio.sleep_until(max(self._not_before, self._turn()))
        try:
            answer = await self._post({"chat_id": self._chat_id, **fields})
        finally:
            # counted from the end of the call: however long it took to get there, the next one arrives later
            self._answered.append(trio.current_time())
        if answer.status == 429 or answer.parameter("retry_after") is not None:
            wait = _seconds(answer.parameter("retry_after"), answer.retry_after)
            # kept here too, so that a restart of the notifier does not break it
            self._not_before = trio.current_time() + wait
            raise ChannelError(f"Telegram asks to wait {wait:g} s", after(wait))
        return answer

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
        """One HTTP request; the only place that touches the network."""
        import httpx2

        if self._client is None:
            msg = "send() needs `async with` around it"
            raise RuntimeError(msg)
        trouble = ""
        try:
            with trio.fail_after(_CALL_TIMEOUT):
                async with self._client.stream(
                    "POST",
                    f"{self._base_url}/bot***/sendMessage",
                    # ASCII, so that even half a surrogate pair is a message that Telegram can refuse
                    content=json.dumps(fields).encode("ascii"),
                    headers={"Content-Type": "application/json"},
                    extensions={"target": self._target()},
                ) as response:
                    wait = _number(response.headers.get("Retry-After"))
                    return Answer(response.status_code, wait, await self._read(response))
        except trio.TooSlowError:
            trouble = f"no complete answer within {_CALL_TIMEOUT:g} s"
        except (httpx2.HTTPError, OSError) as error:
            trouble = clean(_in_words(error))
        # outside of the except block: the client's frames hold the token and must not hang on to this exception
        raise ChannelError(f"Telegram cannot be reached: {trouble}", BACKOFF)

    async def _read(self, response: "httpx2.Response") -> dict[str, Any]:
        body = bytearray()
        async for chunk in response.aiter_raw():
            # too long an answer is read to its end or the call's deadline, but not kept: left half-way, the client's
            # nested generators would be closed by the garbage collector
            body += chunk[: _MAX_ANSWER - len(body)]
        try:
            # a server's own words may repeat the token
            value = json.loads(body.replace(self._key().encode(), b"***"))
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON

    def _target(self) -> bytes:
        return f"{urlsplit(self._base_url).path}/bot{self._token.reveal()}/sendMessage".encode("ascii")

    def _key(self) -> str:
        return self._token.reveal().partition(":")[2]


class _Redactor(logging.Filter):
    """Takes the token out of the HTTP client's log records; put on its loggers while a channel lives."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if self._key in text:
            record.msg, record.args = text.replace(self._key, "***"), None
        return True


def _seconds(*candidates: Any) -> float:
    for value in candidates:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return float(value)
    return _UNSAID_WAIT


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else None


def _no_such_chat(answer: Answer) -> bool:
    return "chat not found" in answer.description.lower()


def _in_words(error: BaseException) -> str:
    """The first words in the chain of causes: a failed TLS handshake has an empty text and the truth deep below."""
    link: BaseException | None = error
    while link is not None:
        if str(link):
            return str(link)
        link = link.__cause__ or link.__context__
    return type(error).__name__


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


def _checked_proxy(proxy: Secret | None) -> Secret | None:
    if proxy is None:
        return None
    try:
        parts = urlsplit(proxy.reveal())
        fine = parts.scheme in ("http", "https", "socks5", "socks5h") and parts.hostname and (parts.port or 1)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("proxy must look like http://host:port or socks5://user:password@host:port")
    return proxy


def _context(ca_file: str | Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        # ssl.SSLError, for a file that holds no certificate, is an OSError too
        raise ValueError(f"ca_file cannot be used: {ca_file}: {error}") from None
