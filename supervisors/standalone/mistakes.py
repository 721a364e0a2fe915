"""What a person has to correct, said in one line for each mistake (pure)."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """The command line or the configuration cannot be used; ``lines`` says why, one mistake a line."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


def nearest(word: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?``, or the known words if none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1, 0.6)
    return f", did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
