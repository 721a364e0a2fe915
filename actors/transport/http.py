"""The small HTTP client with which an exchange's endpoint is found."""

import json
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import trio

from actors.errors import BACKOFF, Advice, ConnectorError, Reason
from actors.transport.answers import refusal, retry_after
from actors.transport.dial import reach
from actors.transport.network import Network, is_loopback

if TYPE_CHECKING:
    import httpcore2

CALL_TIMEOUT = 10.0
"""Seconds for a whole call."""
CLOSE_TIMEOUT = 2.0
"""Seconds to close a connection."""
LARGEST_BODY = 1 << 20
"""Bytes of an answer's body."""


class HttpClient:
    """Fetches JSON by the same way as the feed: verified TLS, no redirects, bounded in time and size.

    Implements :class:`actors.exchange.Http`. Use it as an async context manager. Errors are
    ``ConnectorError(Reason.ENDPOINT)`` and never contain a URL's query.

    Args:
        network: The way to the outside: its proxy, its source address, its certificate authorities.
        wall: Now, in nanoseconds UTC; read for a ``Retry-After`` that is a date.
    """

    def __init__(self, network: Network, *, wall: Callable[[], int]) -> None:
        self._network = network
        self._wall = wall
        self._pool: httpcore2.AsyncConnectionPool | None = None

    async def __aenter__(self) -> Self:
        # importing it takes a tenth of a second, in which no ping would be answered
        self._pool = await trio.to_thread.run_sync(_build, self._network)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await pool.aclose()

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
        import httpcore2

        failures = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException)
        place = _place(url)
        try:
            with trio.fail_after(CALL_TIMEOUT):
                return json.loads(await self._fetch(method, url, body, place))
        except trio.TooSlowError as error:
            raise _failed(f"{place} did not answer in {CALL_TIMEOUT:g} s") from error
        except failures as error:
            raise _failed(f"{place} could not be reached: {_why(error)}") from error
        except (ValueError, RecursionError) as error:
            raise _failed(f"{place} answered something that is not JSON") from error

    async def _fetch(self, method: str, url: str, body: Any, place: str) -> bytes:
        import httpcore2

        if self._pool is None:
            raise RuntimeError("the HTTP client is not open: use it in `async with`")
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Host": place, **_HEADERS}
        if content:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        request = httpcore2.Request(method, url, headers=[*headers.items()], content=content)
        response = await self._pool.handle_async_request(request)
        try:
            if not 200 <= response.status < 300:
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                _, advice = refusal(response.status, retry_after(told, self._wall()))
                raise _failed(f"{place} answered {response.status}", advice)
            data = bytearray()
            # the library's generators leave warnings behind unless they end by themselves or by an exception
            with trio.CancelScope() as enough:
                async for chunk in response.aiter_stream():
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


def _build(network: Network) -> "httpcore2.AsyncConnectionPool":
    import httpcore2

    backend = cast("httpcore2.AsyncNetworkBackend", _Backend(network))
    # the context is one that the library wants to have; what secures a stream is the network
    return httpcore2.AsyncConnectionPool(
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), network_backend=backend, max_keepalive_connections=0
    )


class _Backend:
    """What the library calls a network, over ours; deadlines are those of the whole call."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(self, host: str, port: int, **_options: object) -> "_Stream":
        import httpcore2

        try:
            stream, _ = await reach(self._network, host, port)
        except ConnectorError as error:
            raise httpcore2.ConnectError(error.detail) from error
        return _Stream(self._network, stream)


class _Stream:
    """What the library calls a stream, over one of trio's."""

    def __init__(self, network: Network, stream: trio.abc.Stream) -> None:
        self._network = network
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's
        del timeout
        import httpcore2

        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's
        del timeout
        import httpcore2

        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError from error

    async def start_tls(self, *, server_hostname: str, **_options: object) -> "_Stream":
        import httpcore2

        try:
            return _Stream(self._network, await self._network.secure(self._stream, server_hostname))
        except trio.BrokenResourceError as error:
            raise httpcore2.ConnectError from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, _info: str) -> None:
        return None


def _place(url: str) -> str:
    """Host and port of a URL that may be fetched."""
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not secure or not parts.hostname or parts.username is not None or not url.isascii():
        raise ValueError(f"an endpoint's URL looks like https://host/path, in ASCII: {url.partition('?')[0]!r}")
    return parts.netloc


def _failed(text: str, advice: Advice = BACKOFF) -> ConnectorError:
    return ConnectorError(Reason.ENDPOINT, text, advice)


def _why(error: BaseException) -> str:
    """The text nearest to the cause: the library's own errors say nothing about a TLS failure."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause))
        cause = cause.__cause__ or cause.__context__
    return next((text for text in reversed(texts) if text), type(error).__name__)
