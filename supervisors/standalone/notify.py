"""``feedwarden notify test``: one message to each channel, and in plain words what keeps it from arriving."""

import secrets
import sys
import time
from collections.abc import Callable, Mapping

import trio

from actors.notifier import Channel, ChannelError, Letter, Severity, Undeliverable
from actors.notifier.reporting import tell
from actors.notifier.reports import Trial
from supervisors.standalone.config import Config
from supervisors.standalone.mistakes import BadInput, nearest

_NO_NAME = "The host's name cannot be found. Check this machine's DNS, and the spelling of the URL."
ADVICE: Mapping[str, str] = {
    "check the token": "Telegram knows no bot with this token. In Telegram open @BotFather, send /mybots, choose the "
    "bot and `API Token`; put the whole text, like 123456789:AAF..., where the configuration's token points to.",
    "check chat_id": "The bot has never met this chat. Open the bot in Telegram and press Start, or add it to the "
    "group. The chat's number stands at the end of the address, after #, when it is open at web.telegram.org; a "
    "group's begins with a minus.",
    "invite or unblock it": "The chat does not let the bot write. Unblock it, or add it to the group again; in a "
    "channel make it an administrator.",
    "Telegram asks to wait": "Too many messages went to this chat. Wait as long as it says and try again.",
    "Name or service not known": _NO_NAME,
    "No address associated": _NO_NAME,
    "Temporary failure in name resolution": "This machine's DNS does not answer. Check its network connection.",
    "CERTIFICATE_VERIFY_FAILED": "The server's certificate is not trusted: install `ca-certificates`, or name the "
    "authority in ca_file; a company proxy that opens TLS has an authority of its own.",
    "refused": "Nothing listens there. Check the host, the port, and any proxy.",
    "cannot be reached": "The network does not let us through. Where Telegram is blocked, set proxy for this channel.",
    "check base_url": "What answers is not Telegram. Remove base_url, or correct it, and check the proxy.",
    "check its url and key": "The receiver refuses us. Compare the URL and the key with what it expects.",
    "apprise could not": "The URL is not understood, or its service refuses: compare it with apprise's documentation.",
}
"""What to do, by what stands in an error's text; the first that fits."""

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
        say(f"{channel.name}: {trouble}" if trouble else f"{channel.name}: arrived")
        if trouble:
            say(f"  {advice(trouble)}")
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


def advice(trouble: str) -> str:
    """What a person may do about it."""
    fitting = (words for mark, words in ADVICE.items() if mark in trouble)
    return next(fitting, "Nothing here is known to help; the line above is what the other side said.")
