"""How everything is, as one document; and the page that serves it, on loopback, to people and to monitoring.

The server is hypercorn. It sends under a shield without a deadline, so a client that stops reading would keep it from
ever stopping; the socket's TCP_USER_TIMEOUT is what ends such a connection (Linux).
"""

import importlib.metadata
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] - typed in part
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.events import LinkState
from actors.metrics import CONTENT_TYPE
from actors.stats import ConnectorStats
from supervisors.feeds import Feeds
from supervisors.standalone.config import Web
from supervisors.standalone.lines import iso, line
from supervisors.standalone.mistakes import BadInput

READ_TIMEOUT = 5
"""Seconds for a client to say what it wants, and between two requests."""
SEND_TIMEOUT = 3.0
"""Seconds after which a client that does not read is hung up on."""
MAX_HEADER = 8192
MAX_REQUESTS = 32
"""Requests that are answered at the same time."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Status:
    """Says how everything is.

    Args:
        feeds: What is looked at.
        demo: Whether the data are simulated.
        wall: Nanoseconds UTC.
    """

    def __init__(self, feeds: Feeds, *, demo: bool = False, wall: Callable[[], int] = time.time_ns) -> None:
        self.feeds = feeds
        self.demo = demo
        self.stopping = False
        self._began = wall()
        self._started = trio.current_time()

    def document(self) -> dict[str, Any]:
        """Everything that ``/status.json`` and ``feedwarden status`` show. It holds no URL, chat or token."""
        now = trio.current_time()  # the wall clock may have been set meanwhile
        feeds = [_shown(feed.stats, feed.silence(now)) for feed in self.feeds]
        notifier = self.feeds.notifier
        return {
            "version": importlib.metadata.version("feedwarden"),
            "pid": os.getpid(),
            "demo": self.demo,
            "began": iso(self._began),
            "uptime_seconds": round(now - self._started, 3),
            "stopping": self.stopping,
            "live": all(feed["state"] == LinkState.LIVE for feed in feeds),
            "feeds": feeds,
            "notifications_queued": {} if notifier is None else notifier.queued,
            "muted": []
            if notifier is None
            else [
                {"subject": window.subject, "since": iso(window.begins), "until": iso(window.ends)}
                for window in notifier.muted
            ],
        }


def _shown(stats: ConnectorStats, silence: float) -> dict[str, Any]:
    last = stats.last_message_time
    return {
        "feed": stats.origin.feed,
        "exchange": stats.origin.exchange,
        "state": stats.state.value,
        "shown_state": stats.shown_state,
        "gate_position": stats.gate_position or None,
        "incarnation": stats.incarnation,
        "session": stats.sessions,
        "connected_since": _moment(stats.connection_start_time),
        "messages": stats.messages,
        "bytes": stats.bytes,
        "last_message": _moment(last),
        "last_message_age_seconds": None if last is None else round(silence, 3),
        "reconnects": stats.reconnect_count,
        "gaps": stats.gaps,
        "overflowed": stats.overflowed,
        "waiting": stats.depth,
        "next_attempt": _moment(stats.next_attempt),
        "last_error": stats.last_error,
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else iso(round(seconds * 1e9))


class Page:
    """The status page; the port is taken at once, requests are answered while it runs.

    Args:
        web: Where.

    Raises:
        BadInput: the port cannot be had.
    """

    def __init__(self, web: Web) -> None:
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SEND_TIMEOUT * 1000))
            self._socket.bind((web.host, web.port))
        except OSError as error:
            self._socket.close()
            raise BadInput(f"web.port: {web.host}:{web.port} cannot be had: {error.strerror}") from None
        self.host = web.host
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    async def run(self, status: Status, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ``started`` once requests are answered."""
        config = HypercornConfig()
        config.bind = [f"fd://{self._socket.detach()}"]
        config.errorlog = config.accesslog = None
        config.h11_max_incomplete_size = MAX_HEADER
        config.keep_alive_timeout = config.read_timeout = READ_TIMEOUT
        config.graceful_timeout = 1.0
        config.include_server_header = False
        app: Any = _Guard(_application(status))  # starlette and hypercorn name ASGI's types differently
        await serve(app, config, mode="asgi", task_status=task_status)


def _application(status: Status) -> Starlette:
    def page(answer: Callable[[], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            del request
            await trio.lowlevel.checkpoint()
            return answer()

        return endpoint

    def ready() -> Response:
        # an exchange's outage must not take us out of service: we are ready while we are there to reconnect
        return _text("stopping\n", 503) if status.stopping else _text("ready\n")

    answers: dict[str, Callable[[], Response]] = {
        "/livez": lambda: _text("alive\n"),
        "/readyz": ready,
        "/metrics": lambda: Response(status.feeds.metrics.render(), media_type=CONTENT_TYPE, headers=_HEADERS),
        "/status.json": lambda: Response(line(status.document()), media_type="application/json", headers=_HEADERS),
    }
    return Starlette(routes=[Route(path, page(answer), methods=["GET"]) for path, answer in answers.items()])


def _text(text: str, code: int = 200) -> Response:
    return Response(text, code, media_type="text/plain", headers=_HEADERS)


class _Guard:
    """Lets in what asks for this machine by its own name (a page of somebody else's cannot), and not too much of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        app = self._app
        if not _is_loopback(scope):
            app = _text("this page is for this machine only: ask for it as localhost\n", 421)
        elif self._open >= MAX_REQUESTS:
            app = _text("too many requests at once\n", 503)
        self._open += 1
        try:
            await app(scope, receive, send)
        finally:
            self._open -= 1


def _is_loopback(scope: Scope) -> bool:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1:
        return False
    host = hosts[0].lower()
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name if port.isdecimal() else host) in ("localhost", "127.0.0.1", "[::1]")
