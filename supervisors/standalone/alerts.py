"""The tables under ``[notify]``: channels, and what an operator has decided about alerts."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any, Protocol, TextIO, TypeVar
from zoneinfo import ZoneInfo

import attrs

from actors.errors import Reason
from actors.notifier import (
    Apprise,
    Channel,
    Console,
    Language,
    Pace,
    Ping,
    QuietHours,
    Route,
    Rules,
    Secret,
    Severity,
    Style,
    Telegram,
    Webhook,
    Window,
)
from actors.notifier.hours import length
from supervisors.standalone.mistakes import nearest
from supervisors.standalone.secrets import Secrets

T = TypeVar("T")
Out = Callable[[str], object] | TextIO
"""Where a console writes: a function that takes a line, or a stream."""
MakeRoute = Callable[[Out], Route]

_HOW: Mapping[str, Any] = {"style": Style, "language": Language, "least": Severity}
_NET: Mapping[str, Any] = {"ca_file": str, "proxy": str}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "telegram": {"token": str, "chat_id": int | str, "base_url": str, "message_thread_id": int, **_NET, **_HOW},
    "webhook": {"url": str, "key": str, **_NET, **_HOW},
    "apprise": {"url": str, **_HOW},
    "console": _HOW,
}
"""The kinds of channel, with the keys of their tables."""
_REQUIRED: Mapping[str, Sequence[str]] = {
    "telegram": ("token", "chat_id"),
    "webhook": ("url", "key"),
    "apprise": ("url",),
}
_SECRET = ("token", "url", "key", "proxy")
_RULES: Mapping[str, Any] = {
    "zone": str,
    "quiet_hours": str,
    "severity": dict[str, Severity],
    "feed_severity": dict[str, Severity],
    "maintenance": tuple[dict[str, Any], ...],
    "heartbeat": dict[str, Any],
}
_MAINTENANCE: Mapping[str, Any] = {"on": str, "from": datetime, "until": datetime}
_HEARTBEAT: Mapping[str, Any] = {"every": str, "url": str}


class Reading(Protocol):
    """What the reader of a configuration lends to that of its ``[notify]``."""

    mistakes: list[str]

    def table(
        self, raw: dict[str, Any], schema: Mapping[str, Any], place: str, *, required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values of a table that are as the schema wants them; the others become mistakes."""
        ...

    def attempt(self, place: str, make: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
        """What ``make`` makes of the arguments, or None and a mistake at ``place``."""
        ...

    def path(self, text: str) -> Any:
        """A path that starts at the configuration's folder."""
        ...


@attrs.frozen(kw_only=True)
class Alerts:
    """What stands under ``[notify]``."""

    routes: Sequence[MakeRoute] = ()
    rules: Rules = attrs.field(factory=Rules)
    ping: Ping | None = None
    zone: tzinfo = UTC
    warnings: Sequence[str] = ()


def read_alerts(notify: dict[str, Any], reading: Reading, secrets: Secrets, feeds: Mapping[str, str]) -> Alerts:
    """Read the table; mistakes go to the ``reading``.

    Args:
        notify: The table.
        reading: Lent by the configuration's reader.
        secrets: Reads what is secret.
        feeds: The exchange of each feed, by the feed's name.
    """
    return _Alerts(reading, secrets, feeds).read(notify)


class _Alerts:
    def __init__(self, reading: Reading, secrets: Secrets, feeds: Mapping[str, str]) -> None:
        self._in = reading
        self._secrets = secrets
        self._feeds = feeds
        self._pace = Pace()

    def read(self, notify: dict[str, Any]) -> Alerts:
        for name in notify.keys() - KINDS.keys() - _RULES.keys():
            if isinstance(notify[name], dict):
                self._wrong(f"notify.{name}: unknown kind of channel{nearest(name, KINDS)}")
            else:
                self._wrong(f"notify.{name}: unknown key{nearest(name, _RULES)}")
        table = self._in.table({key: notify[key] for key in _RULES if key in notify}, _RULES, "notify.")
        zone = self._in.attempt("notify.zone", _zone, table["zone"]) if "zone" in table else None
        zone = zone or datetime.now().astimezone().tzinfo or UTC
        every, ping = self._heartbeat(table["heartbeat"]) if "heartbeat" in table else (0.0, None)
        rules = Rules(
            reasons=self._severities(table.get("severity", {}), "notify.severity.", [each.value for each in Reason]),
            feeds=self._severities(table.get("feed_severity", {}), "notify.feed_severity.", self._feeds),
            quiet_hours=self._in.attempt("notify.quiet_hours", QuietHours.parse, table["quiet_hours"], zone)
            if "quiet_hours" in table
            else None,
            windows=self._windows(table.get("maintenance", ())),
            heartbeat=0.0 if ping else every,
        )
        routes = self._routes({kind: notify[kind] for kind in KINDS if kind in notify})
        return Alerts(routes=routes, rules=rules, ping=ping, zone=zone, warnings=self._secrets.warnings)

    def _wrong(self, line: str) -> None:
        self._in.mistakes.append(line)

    # -- channels

    def _routes(self, kinds: dict[str, Any]) -> list[MakeRoute]:
        made: dict[str, MakeRoute | None] = {}
        for kind, tables in self._tables(kinds, "notify."):
            for name, table in self._tables(tables, f"notify.{kind}."):
                if name in made:
                    self._wrong(f"notify.{kind}.{name}: there is another channel named {name!r}")
                made[name] = self._route(kind, name, table)
        return [make for make in made.values() if make is not None]

    def _tables(self, raw: dict[str, Any], place: str) -> list[tuple[str, dict[str, Any]]]:
        found = self._in.table(raw, dict.fromkeys(raw, dict[str, Any]), place)
        return list(found.items())

    def _route(self, kind: str, name: str, raw: dict[str, Any]) -> MakeRoute | None:
        place = f"notify.{kind}.{name}"
        before = len(self._in.mistakes)
        table = self._in.table(raw, KINDS[kind], f"{place}.", required=_REQUIRED.get(kind, ()))
        for key in _SECRET:
            if key in table:
                table[key] = self._in.attempt(f"{place}.{key}", self._secrets.read, table[key])
        if "ca_file" in table:
            table["ca_file"] = self._in.path(table["ca_file"])
        how = {"style": table.pop("style", Style.INCIDENTS), "least": table.pop("least", Severity.INFO)}
        if len(self._in.mistakes) > before:
            return None
        if kind == "console":
            return lambda out: Route(Console(out, name=name, **table), **how)
        make: Mapping[str, Callable[..., Channel]] = {
            "telegram": partial(Telegram, pace=self._pace),
            "webhook": Webhook,
            "apprise": Apprise,
        }
        channel = self._in.attempt(place, make[kind], name=name, **table)
        return None if channel is None else lambda _out: Route(channel, **how)

    # -- rules

    def _severities(self, table: dict[str, Severity], place: str, known: Any) -> dict[Any, Severity]:
        for name in table.keys() - set(known):
            self._wrong(f"{place}{name}: unknown{nearest(name, known)}")
        return {name: severity for name, severity in table.items() if name in known}

    def _windows(self, tables: Sequence[dict[str, Any]]) -> tuple[Window, ...]:
        windows: list[Window] = []
        subjects = {*self._feeds, *self._feeds.values()}
        for number, raw in enumerate(tables):
            place = f"notify.maintenance[{number}]"
            table = self._in.table(raw, _MAINTENANCE, f"{place}.", required=tuple(_MAINTENANCE))
            if len(table) < len(_MAINTENANCE):
                continue
            window = self._in.attempt(place, _window, table["on"], table["from"], table["until"])
            if table["on"] not in subjects:
                self._wrong(
                    f"{place}.on: there is no feed and no exchange of this name{nearest(table['on'], subjects)}"
                )
            elif window is not None:
                windows.append(window)
        return tuple(windows)

    def _heartbeat(self, raw: dict[str, Any]) -> tuple[float, Ping | None]:
        table = self._in.table(raw, _HEARTBEAT, "notify.heartbeat.", required=("every",))
        every = self._in.attempt("notify.heartbeat.every", length, table["every"]) if "every" in table else None
        if every is None or "url" not in table:
            return every or 0.0, None
        url: Secret | None = self._in.attempt("notify.heartbeat.url", self._secrets.read, table["url"])
        return every, None if url is None else self._in.attempt("notify.heartbeat.url", Ping, url, every)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError("expected a time zone that this machine's tzdata knows, like Asia/Seoul or UTC") from None


def _window(subject: str, begins: datetime, ends: datetime) -> Window:
    if begins.tzinfo is None or ends.tzinfo is None:
        raise ValueError("from and until need their offset, like 2026-12-01T02:00:00+09:00")
    if not begins < ends:
        raise ValueError("until must come after from")
    nanoseconds = [math.floor(at.timestamp()) * 1_000_000_000 for at in (begins, ends)]
    return Window(subject, *nanoseconds)
