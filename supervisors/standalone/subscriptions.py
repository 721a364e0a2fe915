"""``[CHANNEL CODE...]`` of a command line, as subscriptions (pure, but for the files that it names)."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from actors.exchange import Exchange, Subscription
from supervisors.standalone.mistakes import BadInput

STDIN = "@-"
"""How ``-`` is spelled behind the command line's parser, which would take it for an option."""


def subscriptions(exchange: Exchange, words: Iterable[str]) -> tuple[Subscription, ...]:
    """Groups of channels and codes: a word that is a channel of the exchange begins the next group.

    Words may be lists with commas, ``@file`` with words in it, or ``-`` for standard input.

    Raises:
        BadInput: unknown channel, bad code, a group without codes, or a file that cannot be read.
    """
    groups: list[tuple[list[str], list[str]]] = []
    for word in _expanded(words):
        if _is_channel(exchange, word):
            if not groups or groups[-1][1]:
                groups.append(([], []))
            groups[-1][0].append(word)
        elif not groups:
            _refuse(exchange, word)
        else:
            groups[-1][1].append(word)
    wanted = tuple(Subscription(channel, codes) for channels, codes in groups for channel in channels)
    try:
        exchange.native(wanted)
    except ValueError as error:
        raise BadInput(str(error)) from None
    return wanted


def _expanded(words: Iterable[str]) -> list[str]:
    expanded: list[str] = []
    for word in words:
        expanded += _contents(word) if word.startswith("@") else [part for part in word.split(",") if part]
    return expanded


def _contents(word: str) -> Sequence[str]:
    name = word[1:]
    try:
        text = sys.stdin.read() if word == STDIN else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{word}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{word}: is not UTF-8") from None
    return text.replace(",", " ").split()


def _is_channel(exchange: Exchange, word: str) -> bool:
    try:
        exchange.channel(word)
    except ValueError:
        return False
    return True


def _refuse(exchange: Exchange, word: str) -> None:
    try:
        exchange.channel(word)
    except ValueError as error:
        raise BadInput(str(error)) from None
