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


def positive(option: str, value: float | None, otherwise: float) -> float:
    """The value of an option, or ``otherwise`` where none was given; BadInput unless it is more than 0."""
    if value is None:
        return otherwise
    if not value > 0:
        raise BadInput(f"{option} must be more than 0: {value:g}")
    return value
