"""The script under a wall clock that is set while it runs.

``python -m tests.stepped SECONDS COMMAND...``: each SIGUSR1 puts the wall clock that this process sees forward by so
many seconds, or back. The machine's own stays as it is, and so it does for those who do not ask Python, as OpenSSL.
"""

import signal
import sys
import time

REAL = time.time_ns


def main(seconds: int, arguments: list[str]) -> int:
    """Run the command; its modules are imported when the clock is in their way already."""
    offset = 0

    def step(number: int, frame: object) -> None:
        nonlocal offset
        del number, frame
        offset += seconds * 1_000_000_000

    signal.signal(signal.SIGUSR1, step)
    time.time_ns = lambda: REAL() + offset
    time.time = lambda: (REAL() + offset) / 1e9

    from supervisors.standalone.cli import main as script

    return script(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
