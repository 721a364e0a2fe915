"""TLS straight on a socket: at one message per wake-up it costs about half of ``trio.SSLStream``.

``trio.SSLStream`` pumps records through memory buffers, so it runs over any stream; over a plain socket OpenSSL can
read and write the descriptor by itself. Nothing here refers to itself, either: when a session ends, its memory is free.
"""

import errno
import os
import select
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from operator import index

import trio

READ_SIZE = 64 * 1024
"""Bytes that one ``receive_some`` gives at most, if not told."""
WRITE_SIZE = 64 * 1024
"""Bytes that OpenSSL is given at a time: it would encrypt all it gets before anybody else has a turn."""
LARGEST_RECORD = 16 * 1024
"""Bytes of plain text in one record at most (RFC 8446 section 5.1)."""


async def secured(stream: trio.SocketStream, context: ssl.SSLContext, host: str) -> "TLSStream":
    """TLS on a socket's stream, which is used up, the peer proven to be ``host``.

    Raises:
        trio.BrokenResourceError: it failed, the cause an ``ssl.SSLError`` or OSError; the socket is closed.
    """
    raw = socket.socket(fileno=stream.socket.detach())
    raw.setblocking(False)
    error = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        if error:
            cause = OSError(error, os.strerror(error))
            raise trio.BrokenResourceError("the connection broke before the TLS handshake") from cause
        sock = context.wrap_socket(raw, do_handshake_on_connect=False, suppress_ragged_eofs=False, server_hostname=host)
    finally:
        raw.close()  # once it is wrapped, this closes nothing
    tls = TLSStream(sock)
    await tls.handshake()
    return tls


class TLSStream(trio.abc.Stream):
    """A client's end of a TLS connection; :func:`secured` makes it.

    As with HTTPS, an end without ``close_notify`` is an end like any other.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._readable = _Turn(sock, trio.lowlevel.wait_readable)
        self._writable = _Turn(sock, trio.lowlevel.wait_writable)
        self._kernel = select.poll()
        self._kernel.register(sock, select.POLLIN)
        self._receiving = self._sending = False
        self._drained = False
        """Whether OpenSSL holds nothing more: only the kernel can tell when there is."""
        self._over = False
        """Whether the server's side has ended, by :attr:`_failure` if it failed."""
        self._failure: OSError | None = None
        self._unfinished = False
        """Whether a send was interrupted, or is going on."""
        self._closed = False

    async def handshake(self) -> None:
        """Have the peer prove itself and agree on keys.

        Raises:
            trio.BrokenResourceError: it failed; the socket is closed.
        """
        try:
            while (turn := self._shake_hands()) is not None:
                await turn.wait()
        except OSError as error:
            self._close()
            raise trio.BrokenResourceError("the TLS handshake failed") from error
        except BaseException:
            self._close()
            raise

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, as soon as there is something; empty at the end. A cancelled call loses no byte.

        Raises:
            trio.BrokenResourceError: the connection broke, or what came is not the server's.
            trio.ClosedResourceError: the stream was closed here.
            trio.BusyResourceError: another task is receiving.
        """
        size = READ_SIZE if max_bytes is None else index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this TLS stream")
        self._receiving = True
        try:
            waited = self._drained
            if waited:
                self._check_open()
                await self._readable.wait()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
            while not (data := self._read(size)) and not self._over:
                await (self._readable if self._drained else self._writable).wait()
                waited = True
            if not waited:
                # a server that never pauses must let the other tasks run, and a cancel here must not lose what was read
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        finally:
            self._receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; after an interrupted call there can be no other, since half a record may be out.

        Raises:
            trio.BrokenResourceError: the connection broke, or an earlier call was interrupted.
            trio.ClosedResourceError: the stream was closed here.
            trio.BusyResourceError: another task is sending.
        """
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_open()
            if self._unfinished:
                raise trio.BrokenResourceError("an earlier send was left unfinished")
            if data:
                self._unfinished = True
                await self._write(memoryview(data).cast("B"))
                self._unfinished = False
            await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes data; raises as :meth:`send_all` does."""
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self._writable.wait()
        finally:
            self._sending = False

    async def aclose(self) -> None:
        """Close without waiting: ``close_notify`` goes out if the kernel takes it, its answer is of no interest."""
        if not self._closed:
            if not self._unfinished:
                with suppress(OSError, ValueError):
                    self._sock.unwrap()
            self._close()
        await trio.lowlevel.checkpoint()

    def _shake_hands(self) -> "_Turn | None":
        """One step of the handshake; returns what is to be waited for, or None at its end."""
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return self._readable
        except ssl.SSLWantWriteError:
            return self._writable
        return None

    def _read(self, size: int) -> bytes:
        """What can be had without waiting; nothing if that is nothing, or the end.

        Raises:
            trio.BrokenResourceError: it broke, and all that had come before was given.
            trio.ClosedResourceError: it was closed.
        """
        self._check_open()
        pieces: list[bytes] = []
        while size > 0 and not self._over:
            self._drained = False
            try:
                piece = self._sock.recv(min(size, LARGEST_RECORD))
            except ssl.SSLWantReadError:
                self._drained = True
                break
            except ssl.SSLWantWriteError:  # an update of keys is to be answered first
                break
            except OSError as error:
                cause = _as_meant(error, self._sock)
                # with its traceback it would hold this frame, and the frame the stream
                self._failure = None if isinstance(cause, ssl.SSLEOFError) else cause.with_traceback(None)
                self._over = True
                break
            self._over = not piece
            size -= len(piece)
            pieces.append(piece)
            # asked in vain, OpenSSL would take several times as long as the kernel to say so
            if not self._sock.pending() and not self._kernel.poll(0):
                self._drained = True
                break
        if self._failure is not None and not pieces:
            raise trio.BrokenResourceError("the TLS connection broke") from self._failure
        return b"".join(pieces)

    async def _write(self, rest: memoryview) -> None:
        while True:
            try:
                rest = rest[self._sock.send(rest[:WRITE_SIZE]) :]
            except ssl.SSLWantReadError:
                await self._readable.wait()
            except ssl.SSLWantWriteError:
                await self._writable.wait()
            except OSError as error:
                raise trio.BrokenResourceError("the TLS connection broke") from _as_meant(error, self._sock)
            else:
                if not rest:
                    return
                await trio.lowlevel.checkpoint()  # however fast the peer is, the other tasks must run
            self._check_open()

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this TLS stream")
        self._sending = True

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")

    def _close(self) -> None:
        self._closed = True
        trio.lowlevel.notify_closing(self._sock)  # else whoever waits for the descriptor would wait for ever
        self._sock.close()


def _as_meant(error: OSError, sock: ssl.SSLSocket) -> OSError:
    """The error as the system meant it.

    Python before 3.12.3 reports a reset as an end of file (its issue 115627), but without the reason that OpenSSL 3
    gives for one; OpenSSL 1.1 never gives it, and leaves the connection as it is.
    """
    if isinstance(error, ssl.SSLEOFError) and not error.reason:
        try:
            sock.getpeername()
        except OSError:
            return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return error


class _Turn:
    """The wait for one direction of a descriptor: trio allows it to one task, so a second one waits with the first.

    Both directions may be needed for either: a read may have to answer an update of keys.
    """

    def __init__(self, sock: ssl.SSLSocket, wait: Callable[[ssl.SSLSocket], Awaitable[None]]) -> None:
        self._sock = sock
        self._wait = wait
        self._taken = False
        self._others = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        if self._taken:
            await self._others.park()
            return
        self._taken = True
        try:
            await self._wait(self._sock)
        finally:
            self._taken = False
            if self._others:
                self._others.unpark_all()
