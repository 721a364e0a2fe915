"""The small HTTP client with which an exchange's endpoint is found."""

import json
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import trio

from actors.errors import BACKOFF, Advice, ConnectorError, Reason
from actors.transport.answers import refusal, retry_after
from actors.transport.network import client_context, is_loopback

if TYPE_CHECKING:
    import os

    import httpx2

CALL_TIMEOUT = 10.0
"""Seconds for a whole call."""
CLOSE_TIMEOUT = 2.0
"""Seconds to close a connection."""
LARGEST_BODY = 1 << 20
"""Bytes of an answer's body."""


class HttpClient:
    """Fetches JSON: verified TLS, no redirects, no proxy from the environment, bounded in time and size.

    Implements :class:`actors.exchange.Http`. Use it as an async context manager. Errors are
    ``ConnectorError(Reason.ENDPOINT)`` and never contain a URL's query.

    Args:
        wall: Now, in nanoseconds UTC; read for a ``Retry-After`` that is a date.
        ca_file: A PEM file of certificate authorities, trusted instead of the system's.

    Raises:
        ValueError: the file cannot be used.
    """

    def __init__(self, *, wall: Callable[[], int], ca_file: "str | os.PathLike[str] | None" = None) -> None:
        self._wall = wall
        self._tls = client_context(ca_file=ca_file)
        # not its AsyncClient, which logs whole URLs, queries included, and follows what a server tells it
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def __aenter__(self) -> Self:
        # importing it takes a tenth of a second, in which no ping would be answered
        self._transport = await trio.to_thread.run_sync(_build, self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await transport.aclose()

    async def get_json(self, url: str) -> Any:
        """The decoded body of a GET.

        Raises:
            ConnectorError: anything but a whole 2xx answer of JSON in time.
            ValueError: the URL is not ``https://`` (or ``http://`` to this machine).
        """
        return await self._call("GET", url, None)

    async def post_json(self, url: str, body: Any = None) -> Any:
        """The decoded body of a POST of JSON; raises as :meth:`get_json` does."""
        return await self._call("POST", url, body)

    async def _call(self, method: str, url: str, body: Any) -> Any:
        import httpx2

        place = _place(url)
        try:
            with trio.fail_after(CALL_TIMEOUT):
                return json.loads(await self._fetch(method, url, body, place))
        except trio.TooSlowError as error:
            raise _failed(f"{place} did not answer in {CALL_TIMEOUT:g} s") from error
        except httpx2.HTTPError as error:
            raise _failed(f"{place} could not be reached: {_why(error)}") from error
        except (ValueError, RecursionError) as error:
            raise _failed(f"{place} answered something that is not JSON") from error

    async def _fetch(self, method: str, url: str, body: Any, place: str) -> bytes:
        import httpx2

        if self._transport is None:
            raise RuntimeError("the HTTP client is not open: use it in `async with`")
        request = httpx2.Request(method, url, headers=_HEADERS, json=body)
        response = await self._transport.handle_async_request(request)
        try:
            if not 200 <= response.status_code < 300:
                headers = {name.lower(): value for name, value in response.headers.items()}
                _, advice = refusal(response.status_code, retry_after(headers, self._wall()))
                raise _failed(f"{place} answered {response.status_code}", advice)
            data = bytearray()
            # the library's generators leave warnings behind unless they end by themselves or by an exception
            with trio.CancelScope() as enough:
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > LARGEST_BODY:
                        enough.cancel()
            if len(data) > LARGEST_BODY:
                raise _failed(f"{place} answered more than {LARGEST_BODY} bytes")
            return bytes(data)
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await response.aclose()


# compressed bodies could grow without bound, so none is asked for
_HEADERS = {"User-Agent": "feedwarden", "Accept": "application/json", "Accept-Encoding": "identity"}


def _build(tls: ssl.SSLContext) -> "httpx2.AsyncHTTPTransport":
    import httpx2

    return httpx2.AsyncHTTPTransport(verify=tls, trust_env=False)


def _place(url: str) -> str:
    """Host and port of a URL that may be fetched."""
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not secure or not parts.hostname or parts.username is not None:
        raise ValueError(f"an endpoint's URL looks like https://host/path: {url.partition('?')[0]!r}")
    return parts.netloc


def _failed(text: str, advice: Advice = BACKOFF) -> ConnectorError:
    return ConnectorError(Reason.ENDPOINT, text, advice)


def _why(error: BaseException) -> str:
    """The text nearest to the cause: httpx2's own errors say nothing about a TLS failure."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause))
        cause = cause.__cause__ or cause.__context__
    return next((text for text in reversed(texts) if text), type(error).__name__)
