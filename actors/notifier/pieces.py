"""Cutting a long text into messages (pure)."""


def split(text: str, limit: int) -> list[str]:
    """``text`` in pieces of at most ``limit`` UTF-16 units, cut at line ends, or inside a line that is too long."""
    pieces: list[str] = []
    piece = ""
    for line in text.split("\n"):
        for part in _chopped(line, limit):
            joined = f"{piece}\n{part}" if piece else part
            if units(joined) <= limit:
                piece = joined
            else:
                pieces.append(piece)
                piece = part
    pieces.append(piece)
    return [piece for piece in pieces if piece.strip()]


def _chopped(line: str, limit: int) -> list[str]:
    raw = line.encode("utf-16-le", "surrogatepass")
    parts: list[str] = []
    while len(raw) > 2 * limit:
        # never between the halves of a surrogate pair
        cut = 2 * limit - (2 if 0xD8 <= raw[2 * limit - 1] <= 0xDB else 0)
        parts.append(raw[:cut].decode("utf-16-le", "surrogatepass"))
        raw = raw[cut:]
    return [*parts, raw.decode("utf-16-le", "surrogatepass")]


def units(text: str) -> int:
    """The length of ``text`` in UTF-16 units, in which Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
