"""Where a server's frames begin and end (pure). RFC 6455 section 5.2; payloads are never looked into."""

import attrs

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_OPCODES = frozenset({0, TEXT, BINARY, CLOSE, PING, PONG})


@attrs.frozen
class Piece:
    """Bytes of one frame: a control frame as a whole, or as much of a data frame as is there."""

    data: bytes
    opcode: int
    first: bool
    """Whether the frame's header is in it."""
    header: int = 0
    """Bytes of the header, where ``first``."""

    @property
    def payload(self) -> bytes:
        """What follows the header."""
        return self.data[self.header :]


class Frames:
    """Cuts the bytes of a server into frames.

    A form that no client may accept – reserved bits or opcodes, masks, control frames in fragments or longer than 125
    bytes – ends the cutting: from there on everything is one endless piece, for the protocol machine to refuse.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._opcode = 0
        self._owed: float = 0
        """Bytes of the present data frame that are still to come; infinite once the stream is odd."""

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._held += data

    def take(self) -> Piece | None:
        """The next piece, or None until more is fed."""
        if self._owed:
            return self._cut(min(self._owed, len(self._held)), first=False, header=0)
        held = self._held
        if len(held) < 2:
            return None
        self._opcode = held[0] & 0x0F
        if self._is_odd(held[0], held[1]):
            self._owed = float("inf")
            return self.take()
        length = held[1] & 0x7F
        header = {126: 4, 127: 10}.get(length, 2)
        if len(held) < header:
            return None
        if header > 2:
            length = int.from_bytes(held[2:header])
        if self._opcode >= CLOSE and len(held) < header + length:
            return None
        self._owed = header + length
        return self._cut(min(self._owed, len(held)), first=True, header=header)

    def _cut(self, size: float, *, first: bool, header: int) -> Piece | None:
        if not self._held:
            return None
        data = bytes(self._held[: int(size)])
        del self._held[: int(size)]
        self._owed -= len(data)
        return Piece(data, self._opcode, first, header)

    @staticmethod
    def _is_odd(start: int, second: int) -> bool:
        opcode = start & 0x0F
        broken_control = opcode >= CLOSE and (not start & 0x80 or second > 125)
        return bool(start & 0x70) or bool(second & 0x80) or opcode not in _OPCODES or broken_control
