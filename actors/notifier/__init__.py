"""Telling people: the notifier and its channels."""

from actors.notifier.channel import Channel, ChannelError, Language, Letter, Remembering, Undeliverable
from actors.notifier.console import Console
from actors.notifier.heartbeat import Ping
from actors.notifier.hours import QuietHours, Window
from actors.notifier.incidents import Rules
from actors.notifier.notification import Notification, Severity, Style, Topic, guide
from actors.notifier.notifier import Notifier, Route
from actors.notifier.others import Apprise
from actors.notifier.secret import Secret
from actors.notifier.telegram import Pace, Telegram
from actors.notifier.webhook import Webhook
from actors.notifier.wording import render

__all__ = [
    "Apprise",
    "Channel",
    "ChannelError",
    "Console",
    "Language",
    "Letter",
    "Notification",
    "Notifier",
    "Pace",
    "Ping",
    "QuietHours",
    "Remembering",
    "Route",
    "Rules",
    "Secret",
    "Severity",
    "Style",
    "Telegram",
    "Topic",
    "Undeliverable",
    "Webhook",
    "Window",
    "guide",
    "render",
]
