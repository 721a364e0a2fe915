"""Texts of style ``guide``: one event becomes one text, in Korean or English (pure).

The first line is the connector guide's own, to the letter; then short lines: which feed, the cause, what happens
next, and what the reader should do where retrying alone will not help.
"""

from actors.errors import Reason, Way, clean
from actors.events import (
    CodeRejected,
    Connected,
    Disconnected,
    Failed,
    LegLost,
    Overflowed,
    Quiet,
    Reconnecting,
    Unconfirmed,
)
from actors.notifier.channel import Language
from actors.notifier.notification import Notification
from actors.notifier.words import ACTIONS, CAUSES, CUTS, LINES


def render(notification: Notification, language: Language) -> str:
    """The whole text of a notification, lines separated by newlines; foreign text in it is cleaned."""
    return "\n".join(_Writer(notification, language).lines())


def missed(count: int, language: Language) -> str:
    """The line that says how many notifications did not get through before this one."""
    return LINES["missed"][language].format(count=count)


def duration(seconds: float, language: Language) -> str:
    """A length of time in words: ``1.4초`` or ``1.4 s``, ``3분 12초`` or ``3 min 12 s``, ``2시간`` or ``2 h``."""
    second, minute, hour, day = ("초", "분", "시간", "일") if language is Language.KO else (" s", " min", " h", " d")
    if seconds < 10:
        return f"{max(seconds, 0):.1f}{second}"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        return _two(whole // 60, minute, whole % 60, second)
    if whole < 86_400:
        return _two(whole // 3600, hour, whole % 3600 // 60, minute)
    return _two(whole // 86_400, day, whole % 86_400 // 3600, hour)


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit} {small}{small_unit}" if small else f"{big}{big_unit}"


class _Writer:
    def __init__(self, notification: Notification, language: Language) -> None:
        self.notification = notification
        self.language = language
        origin = notification.origin
        self.name = origin.name_ko if language is Language.KO else origin.name_en

    def lines(self) -> list[str]:
        event = self.notification.cause
        match event:
            case Connected():
                first, more = self.line("connect"), [self._since_when(event)]
            case Disconnected():
                first = self.line("disconnect")
                more = [self.cause(event.reason), self.line("lasted", seconds=self.seconds(event.seconds))]
            case Reconnecting():
                first, more = self.line("reconnect"), self._what_next(event)
            case Failed():
                first, more = self._what_failed(event)
            case LegLost():
                cause = CAUSES[event.reason][self.language]
                first, more = self.line("error", cause=cause), [self.line("leg_lost", cause=cause, left=event.left)]
            case Overflowed():
                first = self.line("overflowed")
                more = [self.line("buffer", depth=event.depth, policy=event.policy), *self.action(Reason.OVERFLOW)]
            case Unconfirmed():
                first = self.line("unconfirmed")
                more = [self.line("channels", channels=clean(", ".join(event.channels))), self.line("kept")]
            case CodeRejected():
                what = self.line(
                    "rejected_code", channel=clean(event.channel), code=clean(event.code), detail=clean(event.detail)
                )
                first, more = self.line("rejected"), [what, *self.action(Reason.SUB_REJECTED), self.line("kept")]
            case Quiet():
                first, more = self.line("quiet"), [self._which_code(event), self.line("kept")]
            case _:
                first, more = self.line("gave_up"), [self.line("no_more")]
        origin = self.notification.origin
        return [first, self.line("feed", feed=clean(origin.feed), host=clean(origin.host)), *more]

    def line(self, key: str, **fields: object) -> str:
        return LINES[key][self.language].format(name=self.name, **fields)

    def seconds(self, seconds: float) -> str:
        return duration(seconds, self.language)

    def cause(self, reason: Reason) -> str:
        return self.line("cause", cause=CAUSES[reason][self.language])

    def action(self, reason: Reason | None) -> list[str]:
        words = ACTIONS.get(reason) if reason else None
        return [self.line("action", action=words[self.language])] if words else []

    def _since_when(self, event: Connected) -> str:
        seconds = self.seconds(event.seconds)
        if event.session > 1:
            return self.line("outage", session=event.session, seconds=seconds)
        return self.line("took", seconds=seconds)

    def _what_failed(self, event: Failed) -> tuple[str, list[str]]:
        more = [self.line("detail", detail=clean(event.detail))] if event.detail else []
        more += self.action(event.reason)
        if event.reason is Reason.MESSAGE_TIMEOUT:
            return self.line("timeout"), [self.cause(event.reason), *more]
        if event.connected and event.reason in CUTS:
            return self.line("lost"), [self.cause(event.reason), *more]
        return self.line("error", cause=CAUSES[event.reason][self.language]), more

    def _what_next(self, event: Reconnecting) -> list[str]:
        if event.delay > 0:
            lines = [self.line("next", seconds=self.seconds(event.delay), attempt=event.attempt)]
        else:
            lines = [self.line("now", attempt=event.attempt)]
        if event.reason:
            lines.insert(0, self.cause(event.reason))
        if event.way is Way.QUARANTINE:
            lines += [self.line("slow"), *self.action(event.reason)]
        return lines

    def _which_code(self, event: Quiet) -> str:
        seconds = self.seconds(event.seconds)
        return self.line("code", channel=clean(event.channel), code=clean(event.code), seconds=seconds)
