"""The commands that concern alerts."""

import sys
from pathlib import Path

import trio
from cyclopts import App

from supervisors.standalone.saying import say

NOT_RUNNING = 1
FAILED = 1

notify = App(name="notify", help="Look after notification channels.", result_action="return_value")


def mute(subject: str, duration: str, /, *, state_dir: Path | None = None) -> int:
    """Let a running process send no alert about a feed, or about all feeds of an exchange, for a while.

    An example:

        feedwarden mute upbit 2h

    Exit codes:

        0  muted
        1  no process answers
        2  bad input

    Parameters
    ----------
    subject:
        A feed's name or an exchange's code.
    duration:
        How long: a number and s, m, h or d, at most 30d.
    state_dir:
        The state directory of the process, if it is not the default one.
    """
    from supervisors.standalone.control import NotRunning
    from supervisors.standalone.mute import mute as ask_to_mute

    try:
        say(ask_to_mute(subject, duration, state_dir))
    except NotRunning as error:
        say(f"feedwarden: {error}", sys.stderr)
        return NOT_RUNNING
    return 0


@notify.command(name="test")
def _test(*, to: str | None = None, config: Path = Path("feedwarden.toml")) -> int:
    """Send a test message to every channel, and explain what goes wrong.

    An example:

        feedwarden notify test --to ops

    Exit codes:

        0  every message arrived
        1  one did not
        2  bad input

    Parameters
    ----------
    to:
        Only the channel of this name.
    config:
        The TOML file.
    """
    from supervisors.standalone.config import load_config
    from supervisors.standalone.notify import test as try_channels

    return 0 if trio.run(try_channels, load_config(config), to, say) else FAILED
