"""HTTP for channels: one small client whose secrets go onto the wire and nowhere else."""

import base64
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote, urlsplit

import attrs
import trio

from actors.errors import BACKOFF, clean
from actors.notifier.channel import ChannelError
from actors.notifier.secret import Secret

if TYPE_CHECKING:
    import httpx2

IO_TIMEOUT = 10.0
"""Seconds for each of connect, write and read."""
CALL_TIMEOUT = 25.0
"""Seconds for a whole call, whatever drips in meanwhile."""
CLOSE_TIMEOUT = 2.0
MAX_ANSWER = 64 * 1024

_CLIENT_LOGGERS = ("httpx2", "httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "httpcore2.socks")


@attrs.frozen
class Reply:
    """What came back: the HTTP status, its Retry-After if that is a number of seconds, and up to 64 KiB of body."""

    status: int
    retry_after: float | None
    body: bytes


class Wire:
    """Calls one URL again and again; ``async with`` it.

    The secret part of the URL goes below the HTTP client, straight onto the wire: the client's own URL, log lines and
    exceptions never contain it. Certificates are verified, redirects not followed, proxy variables of the environment
    ignored.

    Args:
        who: Whom it calls, for messages.
        url: The URL with its secret part left out.
        secrets: What must appear in no log line.
        tls: Instead of the system's certificate authorities.
        proxy: An HTTP or SOCKS5 proxy.
    """

    def __init__(
        self,
        who: str,
        url: str,
        *,
        secrets: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
        proxy: Secret | None = None,
    ) -> None:
        self._who = who
        self._url = url
        self._tls = tls
        self._proxy = proxy
        self._filter = Redactor([*secrets, *_proxy_secrets(proxy)])
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        # the import and the first client take some 200 ms: now, rather than when the first alert is due
        import httpx2

        proxy = self._proxy
        self._client = httpx2.AsyncClient(
            verify=self._tls or True,
            proxy=proxy.reveal() if proxy else None,
            timeout=httpx2.Timeout(IO_TIMEOUT),
            headers={"Accept-Encoding": "identity", "User-Agent": "feedwarden"},
            trust_env=False,
            follow_redirects=False,
        )
        # a server may send a secret back, in a Location header say, and the client logs headers at DEBUG
        for logger in _CLIENT_LOGGERS:
            logging.getLogger(logger).addFilter(self._filter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        try:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                if client is not None:
                    await client.aclose()
        finally:
            for logger in _CLIENT_LOGGERS:
                logging.getLogger(logger).removeFilter(self._filter)

    async def post(
        self, content: bytes, target: Callable[[], bytes], headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST a JSON document.

        Args:
            content: The document.
            target: Gives path and query as they go onto the wire, secrets included.
            headers: Further headers.

        Raises:
            ChannelError: no answer; no secret is in it, nor in any frame of its traceback.
        """
        import httpx2

        if self._client is None:
            msg = "send() needs `async with` around it"
            raise RuntimeError(msg)
        trouble = ""
        try:
            with trio.fail_after(CALL_TIMEOUT):
                async with self._client.stream(
                    "POST",
                    self._url,
                    content=content,
                    headers={"Content-Type": "application/json", **(headers or {})},
                    extensions={"target": target()},
                ) as response:
                    return Reply(
                        response.status_code, _number(response.headers.get("Retry-After")), await _read(response)
                    )
        except trio.TooSlowError:
            trouble = f"no complete answer within {CALL_TIMEOUT:g} s"
        except (httpx2.HTTPError, OSError) as error:
            trouble = clean(_in_words(error))
        # outside of the except block: the client's frames hold secrets and must not hang on to this exception
        raise ChannelError(f"{self._who} cannot be reached: {trouble}", BACKOFF)


async def _read(response: "httpx2.Response") -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        # too long an answer is read to its end or the call's deadline, but not kept: left half-way, the client's
        # nested generators would be closed by the garbage collector
        body += chunk[: MAX_ANSWER - len(body)]
    return bytes(body)


class Redactor(logging.Filter):
    """Takes secrets, plain and URL-encoded, out of a library's log records; on its loggers while a channel lives."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        spelled = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}
        self._secrets = sorted(spelled, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without the secrets."""
        text = record.getMessage()
        clear = text
        for secret in self._secrets:
            clear = clear.replace(secret, "***")
        if clear != text:
            record.msg, record.args = clear, None
        return True


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else None


def _in_words(error: BaseException) -> str:
    """The first words in the chain of causes: a failed TLS handshake has an empty text and the truth deep below."""
    link: BaseException | None = error
    while link is not None:
        if str(link):
            return str(link)
        link = link.__cause__ or link.__context__
    return type(error).__name__


def checked_proxy(proxy: Secret | None) -> Secret | None:
    """The proxy, if its URL is one that can be used; ValueError else, which does not repeat it."""
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


def _proxy_secrets(proxy: Secret | None) -> list[str]:
    parts = urlsplit(proxy.reveal()) if proxy else None
    if parts is None or not parts.password:
        return []
    user, password = unquote(parts.username or ""), unquote(parts.password)
    return [parts.password, password, base64.b64encode(f"{user}:{password}".encode()).decode()]


def tls_context(ca_file: str | Path | None) -> ssl.SSLContext | None:
    """TLS with the certificate authorities of a PEM file; ValueError if it cannot be used."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        # ssl.SSLError, for a file that holds no certificate, is an OSError too
        raise ValueError(f"ca_file cannot be used: {ca_file}: {error}") from None


@attrs.frozen
class SecretUrl:
    """A URL whose path and query are nobody's business; only its host may be shown."""

    origin: str
    path: Secret

    @classmethod
    def of(cls, url: Secret, name: str = "url") -> "SecretUrl":
        """Take a URL apart; ValueError for one that cannot be called, which does not repeat it."""
        try:
            parts = urlsplit(url.reveal())
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        here = host in {"localhost", "::1"} or host.startswith("127.")
        fine = parts.scheme == "https" or (parts.scheme == "http" and here)
        odd = parts.username is not None or parts.fragment or re.search(r"[^\x21-\x7e]", url.reveal())
        if not host or not fine or odd:
            raise ValueError(f"{name} must look like https://host/path (http:// only for this machine), without a user")
        place = f"[{host}]" if ":" in host else host
        origin = f"{parts.scheme}://{place}" + (f":{port}" if port else "")
        return cls(origin, Secret((parts.path or "/") + (f"?{parts.query}" if parts.query else "")))

    @property
    def shown(self) -> str:
        """The URL without its secret part."""
        return f"{self.origin}/***"

    def target(self) -> bytes:
        """What goes onto the wire."""
        return self.path.reveal().encode("ascii")
