"""``feedwarden mute``: no alert about a feed, or an exchange's feeds, for a while."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from actors.notifier.hours import length, local
from supervisors.feeds import Feeds
from supervisors.standalone.control import ask, state_dir
from supervisors.standalone.lines import iso
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.words import SAID


def muting(feeds: Feeds) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """What the running process answers to ``mute``."""

    def mute(subject: str, seconds: float) -> dict[str, Any]:
        if feeds.notifier is None:
            return {"refused": "no notification channel is configured"}
        notifier, language = feeds.notifier, feeds.notifier.language
        try:
            window = notifier.mute(subject, float(seconds))
        except LookupError:
            return {"refused": SAID["no_feed"][language].format(subject=subject)}
        except ValueError:
            return {"refused": SAID["no_incidents"][language]}
        until = f"{local(window.ends, notifier.zone):%Y-%m-%d %H:%M:%S %Z}"
        said = SAID["muted"][language].format(subject=window.subject, until=until)
        return {"subject": window.subject, "until": iso(window.ends), "said": said}

    return {"mute": mute}


def mute(subject: str, text: str, folder: Path | None) -> str:
    """Ask the running process; returns what it has done, in words.

    Raises:
        BadInput: a length of time that is none, or a process that refuses.
        NotRunning: no process answers.
    """
    try:
        seconds = length(text)
    except ValueError as error:
        raise BadInput(f"{text}: {error}") from None
    answer = trio.run(lambda: ask(state_dir(folder, None, os.environ), "mute", subject=subject, seconds=seconds))
    if "said" not in answer:
        raise BadInput(str(answer.get("refused") or answer.get("error")))
    return str(answer["said"])
