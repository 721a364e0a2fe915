"""Cuts what a server sends into whole messages, and into frames that somebody else must judge (pure).

Frames are those of RFC 6455 section 5.2. Nearly all that an exchange sends are messages of one plain frame: they are
taken out here, as many as one read brought, at a twentieth of what the protocol machine needs for them.
"""

import attrs

from actors.errors import Reason

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
RAW = -1
"""Stands for an opcode where bytes are no frame that may be cut."""
_OPCODES = frozenset({0, TEXT, BINARY, CLOSE, PING, PONG})
_PLAIN_TEXT, _PLAIN_BINARY = 0x80 | TEXT, 0x80 | BINARY

MOST_FRAGMENTS = 1000
"""Frames of one message: empty ones would cost time for ever without ever reaching a size."""


@attrs.frozen
class Piece:
    """What the protocol machine must see: a control frame, a fragment of a message, or raw bytes for it to refuse."""

    opcode: int
    data: bytes
    payload: bytes = b""
    fin: bool = True


@attrs.frozen
class Refusal:
    """What we take no more of, and why; nothing can be cut behind it."""

    reason: Reason
    detail: str


Cut = list[str | bytes] | Piece | Refusal
"""Whole messages, in the order in which they came, or what lies between them."""


class Frames:
    """Cuts the bytes of one server, however they arrive.

    Of several pings in one read, among messages and pongs, only the last is given out: its answer stands for all
    (RFC 6455 section 5.5.3). From a form on that no client may accept – reserved bits or opcodes, masks, lengths that
    are not minimal, broken control frames, fragments out of order – everything is raw. Held is at most one frame within
    the limit, and one read.

    Args:
        largest: Bytes of the largest message.
    """

    def __init__(self, largest: int) -> None:
        self.pings = 0
        """Pings that were found, those that are not given out included."""
        self._largest = largest
        self._data = b""
        self._at = 0
        self._waiting: list[bytes] = []
        self._held = 0
        self._need = 1
        """Bytes that must have come before there is something to cut."""
        self._ping: Piece | None = None
        self._fragments = 0
        self._size = 0
        """Bytes of the fragments that were given out of the present message."""
        self._odd = False

    def feed(self, data: bytes) -> None:
        """Add what was received; only after :meth:`take` has returned None."""
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= self._need:
            self._data, self._at = b"".join(self._waiting), 0
            self._waiting.clear()
            self._held = 0

    def take(self) -> Cut | None:
        """The next cut, or None until more is fed."""
        if self._at == len(self._data) and self._ping is None:
            self._data, self._at = b"", 0
            self._need = self._need if self._waiting else 1
            return None
        while True:
            if messages := self._messages():
                return messages
            seen = self._look()
            if self._ping and (not isinstance(seen, Piece) or seen.opcode not in (PING, PONG)):
                ping, self._ping = self._ping, None
                return ping
            if seen is None:
                self._keep()
            if not isinstance(seen, Piece):
                return seen
            self._at += len(seen.data)
            if seen.opcode != PING:
                return self._counted(seen)
            self.pings += 1
            self._ping = seen

    def _messages(self) -> list[str | bytes]:
        """The plain messages from here on, up to anything else."""
        found: list[str | bytes] = []
        if self._fragments or self._odd:
            return found
        data, at, end, largest = self._data, self._at, len(self._data), self._largest
        while at + 2 <= end:
            first, size = data[at], data[at + 1]
            start = at + 2
            if size == 126:
                start = at + 4
                size = int.from_bytes(data[at + 2 : start])
                if size < 126:
                    break
            elif size > 126:
                start = at + 10
                size = int.from_bytes(data[at + 2 : start])
                if data[at + 1] != 127 or size < 65536:
                    break
            stop = start + size
            if stop > end or size > largest:
                break
            if first == _PLAIN_TEXT:
                try:
                    found.append(data[start:stop].decode())
                except UnicodeDecodeError:
                    break
            elif first == _PLAIN_BINARY:
                found.append(data[start:stop])
            else:
                break
            at = stop
        self._at = at
        return found

    def _look(self) -> Piece | Refusal | None:
        """What comes here that is no plain message; None if it is not whole."""
        data, at = self._data, self._at
        held = len(data) - at
        self._need = 1 if self._odd else 2
        if held < self._need:
            return None
        if self._odd or self._is_odd(data[at], data[at + 1]):
            return self._raw()
        size, start = data[at + 1], at + 2
        if size > 125:
            start = at + (4 if size == 126 else 10)
            self._need = start - at
            if held < self._need:
                return None
            size = int.from_bytes(data[at + 2 : start])
            if not (size >= 126 if start == at + 4 else 65536 <= size < 1 << 63):
                return self._raw()
        return self._refusal(data[at], size) or self._frame(start, start + size)

    def _frame(self, start: int, stop: int) -> Piece | None:
        data, at = self._data, self._at
        self._need = stop - at
        if len(data) < stop:
            return None
        first = data[at]
        if first in (_PLAIN_TEXT, _PLAIN_BINARY):
            return Piece(RAW, data[at:stop])  # a whole message, and yet no plain one: its text does not decode
        return Piece(first & 0x0F, data[at:stop], data[start:stop], bool(first & 0x80))

    def _refusal(self, first: int, size: int) -> Refusal | None:
        """Why a frame is not taken, known as soon as its length is declared."""
        if first & 0x0F >= CLOSE:
            return None
        if self._size + size > self._largest:
            return Refusal(Reason.WS_TOO_BIG, f"a message of {self._size + size} bytes, {self._largest} are accepted")
        if self._fragments >= MOST_FRAGMENTS:
            return Refusal(Reason.WS_FRAGMENTS, f"a message in more than {MOST_FRAGMENTS} fragments")
        return None

    def _raw(self) -> Piece:
        self._odd = True
        return Piece(RAW, self._data[self._at :])

    def _is_odd(self, first: int, second: int) -> bool:
        opcode = first & 0x0F
        if first & 0x70 or second & 0x80 or opcode not in _OPCODES:
            return True
        if opcode >= CLOSE:
            return not first & 0x80 or second > 125
        return (opcode == 0) != (self._fragments > 0)

    def _counted(self, piece: Piece) -> Piece:
        if 0 <= piece.opcode < CLOSE:
            self._fragments = 0 if piece.fin else self._fragments + 1
            self._size = 0 if piece.fin else self._size + len(piece.payload)
        return piece

    def _keep(self) -> None:
        rest = self._data[self._at :]
        self._waiting.append(rest)
        self._held = len(rest)
        self._data, self._at = b"", 0
