"""A local HTTPS server that behaves as Telegram's Bot API documents, misbehaves on request, and keeps a ledger.

``async with bot_api() as api`` serves on loopback; ``api.url`` and ``api.ca_pem`` are for the client. Each call takes
the next of ``api.script``, or is answered with 200.
"""

import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import h11
import trio
import trustme

TOKEN = "5550001111:AAcanary-Canary_canary0123456789abc"  # noqa: S105 - no bot has it
"""The token that the server knows; a canary, too: it must be found in no output."""
KEY = TOKEN.partition(":")[2]


@attrs.frozen
class Reply:
    """How one call is answered: after ``delay`` seconds, with ``status`` and ``body``; or not at all."""

    status: int = 200
    body: dict[str, Any] | bytes = b'{"ok": true, "result": {}}'
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    reset: bool = False
    """Cut the connection with a reset once the request has been read."""


def refusal(status: int, description: str, **parameters: Any) -> Reply:
    """An error as the Bot API writes it."""
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return Reply(status, body)


@attrs.frozen
class Call:
    """One request as it arrived; ``at`` is trio's time in seconds."""

    at: float
    path: str
    fields: dict[str, Any]
    status: int
    """What it was answered with; 0 if it was not."""

    @property
    def text(self) -> str:
        """The message's text."""
        return self.fields["text"]


@attrs.define
class BotApi:
    """The server: its address, its ledger, and what it is to answer."""

    ca_pem: bytes
    port: int = 0
    ledger: list[Call] = attrs.field(factory=list[Call])
    script: deque[Reply] = attrs.field(factory=deque[Reply])
    judge: Callable[[dict[str, Any]], Reply] = attrs.field(default=lambda fields: Reply())
    """Answers a call's fields once the script is at its end."""
    arrived: trio.Condition = attrs.field(factory=trio.Condition)

    @property
    def url(self) -> str:
        """The ``base_url`` for a client."""
        return f"https://localhost:{self.port}"

    async def calls(self, count: int) -> list[Call]:
        """The first ``count`` calls, once there are so many; TooSlowError after 20 seconds."""
        with trio.fail_after(20):
            async with self.arrived:
                while len(self.ledger) < count:
                    await self.arrived.wait()
        return self.ledger[:count]

    def delivered(self) -> list[str]:
        """The texts that were answered with 200, in order."""
        return [call.text for call in self.ledger if call.status == 200]

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, until the client leaves."""
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._answer_one(connection, stream):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer_one(self, connection: h11.Connection, stream: trio.abc.Stream) -> bool:
        path, body = "", bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                path = event.target.decode()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        fields: dict[str, Any] = json.loads(body)
        reply = self._reply(path, fields)
        await self._note(Call(trio.current_time(), path, fields, 0 if reply.reset else reply.status))
        await trio.sleep(reply.delay)
        if reply.reset:
            below = cast("trio.SSLStream[trio.SocketStream]", stream).transport_stream
            below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = [("Content-Length", str(len(content))), *reply.headers]
        for part in (h11.Response(status_code=reply.status, headers=headers), h11.Data(content), h11.EndOfMessage()):
            await stream.send_all(connection.send(part) or b"")
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _reply(self, path: str, fields: dict[str, Any]) -> Reply:
        if path != f"/bot{TOKEN}/sendMessage":
            return refusal(404, "Not Found")
        return self.script.popleft() if self.script else self.judge(fields)

    async def _note(self, call: Call) -> None:
        async with self.arrived:
            self.ledger.append(call)
            self.arrived.notify_all()


@asynccontextmanager
async def bot_api() -> AsyncGenerator[BotApi]:
    """Serve on a loopback port until the block is left."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL
    api = BotApi(authority.cert_pem.bytes())
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    api.port = cast("trio.SocketListener", listeners[0].transport_listener).socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, api.serve, listeners)
        yield api
        nursery.cancel_scope.cancel()
