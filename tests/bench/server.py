"""The other end of the wire: a server in a process of its own that sends frames, plain or over TLS, flat out or paced.

The path of the request says how: ``/PAUSE/BURST/MESSAGES/SIZE`` sends so many messages of so many bytes, BURST in each
write, PAUSE milliseconds between two writes; a burst of 0 means as many as fit into 64 KiB. ``/stamped/…`` puts the
time of sending at the end of each message. Behind the last message the connection stays open and silent, but that of
``/cut/…`` is cut, every message of which is stamped too.
"""

import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import trustme

HEAD = b'{"type":"trade","code":"KRW-BTC","trade_price":116539000.0,"trade_volume":0.00129}'
STAMP = 20
"""Digits of a time of sending: nanoseconds on the clock that all processes of this machine share."""
_REQUEST = re.compile(rb"GET (?:/(stamped|cut))?/([\d.]+)/(\d+)/(\d+)/(\d+) ")


def frame(payload: bytes) -> bytes:
    """One whole text frame, as a server sends it."""
    size = len(payload)
    return (struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + payload


def serve(raw: socket.socket, tls: ssl.SSLContext | None) -> None:
    """One connection, until everything is sent or the client leaves."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), raw if tls is None else tls.wrap_socket(raw, server_side=True) as stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += stream.recv(65_536)
        wanted = _REQUEST.match(request)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request, re.IGNORECASE)
        assert wanted is not None
        assert key is not None
        token = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455
        stream.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
        )
        pause, (burst, messages, size) = float(wanted[2]) / 1000, map(int, wanted.groups()[2:])
        if messages:
            if wanted[1] != b"cut":
                time.sleep(0.05)  # the client's own start is not to be measured
            payload = HEAD.ljust(size)[:size]
            if wanted[1]:
                send_stamped(stream.sendall, payload, pause, messages)
            else:
                send(stream.sendall, frame(payload), pause, burst or max(1, 65_536 // size), messages)
            if wanted[1] == b"cut":
                return
        while stream.recv(65_536):
            pass


def send(write: Callable[[bytes], object], one: bytes, pause: float, burst: int, messages: int) -> None:
    """All of them, so many in each write."""
    many = one * burst
    due = time.monotonic()
    for _ in range(messages // burst):
        write(many)
        if pause:
            due += pause
            time.sleep(max(0, due - time.monotonic()))
    write(one * (messages % burst))


def send_stamped(write: Callable[[bytes], object], payload: bytes, pause: float, messages: int) -> None:
    """One in each write, with its time."""
    due = time.monotonic()
    for _ in range(messages):
        write(frame(payload[:-STAMP] + b"%020d" % time.monotonic_ns()))
        due += pause
        time.sleep(max(0, due - time.monotonic()))


def main() -> None:
    """Say the ports and the CA, then serve until standard input ends."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)  # pyright: ignore[reportUnknownMemberType]
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as plain,
        socket.create_server(("127.0.0.1", 0), backlog=1024) as secure,
    ):
        ports = {"ws": plain.getsockname()[1], "wss": secure.getsockname()[1]}
        print(json.dumps({**ports, "ca": authority.cert_pem.bytes().decode()}), flush=True)

        def accept(listener: socket.socket, context: ssl.SSLContext | None) -> None:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0], context), daemon=True).start()

        threading.Thread(target=accept, args=(plain, None), daemon=True).start()
        threading.Thread(target=accept, args=(secure, tls), daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
