"""What a command prints."""

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line to ``stream``, or to standard output; nobody has to read it."""
    out: TextIO | None = sys.stdout if stream is None else stream
    if out is None:  # it was closed before we were started
        return
    try:
        try:
            out.write(f"{text}\n")
        except UnicodeEncodeError:  # a locale without Korean: better escaped than not at all
            out.write(f"{text}\n".encode("ascii", "backslashreplace").decode())
        out.flush()
    except BrokenPipeError:  # the reader has seen enough; the interpreter must not try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
