"""The other end of the wire: a server in a process of its own that sends frames over TLS, flat out or paced.

The path of the request says how: ``/PAUSE/BURST/MESSAGES`` sends so many messages, BURST in each write, PAUSE
milliseconds between two writes; a burst of 0 means as many as fit into 64 KiB.
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
from contextlib import suppress

import trustme

PAYLOAD = b'{"type":"trade","code":"KRW-BTC","trade_price":116539000.0,"trade_volume":0.00129}'.ljust(300)
FRAME = b"\x81\x7e" + struct.pack("!H", len(PAYLOAD)) + PAYLOAD
PER_WRITE = 65_536 // len(FRAME)


def serve(raw: socket.socket, tls: ssl.SSLContext) -> None:
    """One connection, until everything is sent or the client leaves."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), tls.wrap_socket(raw, server_side=True) as stream:
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(65_536)
        wanted = re.match(rb"GET /(\d+)/(\d+)/(\d+) ", head)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head, re.IGNORECASE)
        assert wanted is not None
        assert key is not None
        token = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455
        stream.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
        )
        pause, burst, messages = map(int, wanted.groups())
        time.sleep(0.05)  # the client's own start is not to be measured
        burst = burst or PER_WRITE
        write = FRAME * burst
        due = time.monotonic()
        for _ in range(messages // burst):
            stream.sendall(write)
            if pause:
                due += pause / 1000
                time.sleep(max(0, due - time.monotonic()))
        stream.sendall(FRAME * (messages % burst) + b"\x88\x02\x03\xe8")
        while stream.recv(65_536):
            pass


def main() -> None:
    """Say port and CA, then serve until standard input ends."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)  # pyright: ignore[reportUnknownMemberType]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1], "ca": authority.cert_pem.bytes().decode()}), flush=True)

        def accept() -> None:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0], tls), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
