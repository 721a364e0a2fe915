"""Telling people: the notifier and its channels."""

from actors.notifier.channel import Channel, ChannelError, Language, Undeliverable
from actors.notifier.console import Console
from actors.notifier.notification import Notification, Severity, Topic, guide
from actors.notifier.notifier import Notifier
from actors.notifier.secret import Secret
from actors.notifier.telegram import Telegram
from actors.notifier.wording import render

__all__ = [
    "Channel",
    "ChannelError",
    "Console",
    "Language",
    "Notification",
    "Notifier",
    "Secret",
    "Severity",
    "Telegram",
    "Topic",
    "Undeliverable",
    "guide",
    "render",
]
