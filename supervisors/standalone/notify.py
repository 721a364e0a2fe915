"""``feedwarden notify test``: one message to each channel, and in plain words what keeps it from arriving."""

import secrets
import sys
import time
from collections.abc import Callable

import trio

from actors.notifier import Channel, ChannelError, Language, Letter, Severity, Undeliverable
from actors.notifier.reporting import tell
from actors.notifier.reports import Trial
from supervisors.standalone.config import Config
from supervisors.standalone.mistakes import BadInput, nearest
from supervisors.standalone.words import ADVICE, SAID, UNKNOWN

LIMIT = 60.0
"""Seconds for one channel."""


async def test(config: Config, only: str | None, say: Callable[[str], object]) -> bool:
    """Send a test message to every channel, or to the one named; returns whether all took it.

    Raises:
        BadInput: there is no channel, or none of that name.
    """
    channels = [make(config.console or sys.stderr).channel for make in config.alerts.routes]
    if only is not None:
        known = [channel.name for channel in channels]
        channels = [channel for channel in channels if channel.name == only]
        if not channels:
            raise BadInput(f"--to {only}: no channel has this name{nearest(only, known)}")
    if not channels:
        raise BadInput("no channel is configured; a channel is a table like [notify.telegram.ops]")
    fine = True
    for channel in channels:
        trouble = await _try(channel)
        fine = fine and not trouble
        said = SAID["failed" if trouble else "arrived"][channel.language]
        say(said.format(name=channel.name, trouble=trouble))
        if trouble:
            say(f"  {advice(trouble, channel.language)}")
    return fine


async def _try(channel: Channel) -> str:
    """What is wrong; empty if the message was taken."""
    text = tell(Trial(severity=Severity.INFO), channel.language, str, 0.0)
    letter = Letter(secrets.token_hex(5), Severity.INFO, text, time.time_ns())
    try:
        with trio.fail_after(LIMIT):
            async with channel:
                for piece in channel.split(letter):
                    await channel.send(piece)
    except (ChannelError, Undeliverable) as error:
        return str(error)
    except trio.TooSlowError:
        return f"cannot be reached: nothing within {LIMIT:g} s"
    return ""


def advice(trouble: str, language: Language) -> str:
    """What a person may do about it."""
    fitting = (words for mark, words in ADVICE.items() if mark in trouble)
    return next(fitting, UNKNOWN)[language]
