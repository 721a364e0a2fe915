"""What ``exchanges`` and ``status`` print, for people and as JSON (pure)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from actors.errors import clean
from actors.exchange import Exchange, Heartbeat, Rate

CLOCKS = (
    "ping_interval",
    "ping_timeout",
    "link_timeout",
    "message_timeout",
    "quiet_after",
    "health_check_interval",
    "dns_timeout",
    "connect_timeout",
    "tls_timeout",
    "upgrade_timeout",
    "open_timeout",
    "subscribe_timeout",
    "send_timeout",
    "close_timeout",
    "max_lifetime",
)
"""The fields of ``Exchange`` that are seconds."""
STRATEGY = ("initial_delay", "max_delay", "multiplier", "max_attempts", "jitter", "reset_after")
LIMITS = ("connects", "gate", "sockets", "messages", "subscriptions")


def as_json(value: Any) -> str:
    """JSON for people who read it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def facts(exchange: Exchange) -> dict[str, Any]:
    """All that is known of an exchange, with the sources."""
    source = exchange.sources.get
    limits = {name: _limit(getattr(exchange.limits, name)) for name in LIMITS}
    return {
        "id": exchange.code,
        "name_ko": exchange.name_ko,
        "name_en": exchange.name_en,
        "ws_url": exchange.ws_url,
        "ws_url_source": source("ws_url"),
        "channels": [
            {"name": each.name, "portable": each.portable or None, "snapshot": each.snapshot}
            for each in exchange.channels
        ],
        "spelling": {"BTC/KRW": exchange.spell("BTC/KRW"), "case": exchange.code_case},
        "heartbeats": [heartbeat(exchange, rule) for rule in exchange.heartbeats],
        "heartbeats_source": source("heartbeats"),
        "clocks": {name: {"seconds": getattr(exchange, name), "source": source(name)} for name in CLOCKS},
        "reconnect": {name: getattr(exchange.reconnect, name) for name in STRATEGY},
        "reconnect_source": source("reconnect"),
        "max_message_size": exchange.max_message_size,
        "limits": {name: {"value": limits[name], "source": source(f"limits.{name}")} for name in LIMITS},
    }


def heartbeat(exchange: Exchange, rule: Heartbeat) -> str:
    """A heartbeat rule as a sentence."""
    seconds = exchange.ping_interval if rule.interval is None else rule.interval
    form = "a control ping" if rule.form == "control" else f"the message {rule.text(1)!r}"
    when = " when nothing came" if rule.when_idle else ""
    limit = f"; without it the server hangs up after {rule.limit:g} s" if rule.limit else ""
    return f"the {rule.by} sends {form} every {seconds:g} s{when}{limit}"


def overview(exchanges: Iterable[Exchange]) -> str:
    """One line an exchange."""
    rows = [
        (each.code, ", ".join(c.portable for c in each.channels if c.portable) or "any", each.ws_url, each.name_ko)
        for each in exchanges
    ]
    return _columns([("id", "channels", "url", "name"), *rows])


def portrait(exchange: Exchange) -> str:
    """All that is known of an exchange, for people."""
    known = facts(exchange)
    channels = [
        (each.portable or "", each.name, "snapshot on subscribing" if each.snapshot else "")
        for each in exchange.channels
    ]
    clocks = [(name, f"{each['seconds']:g} s", each["source"] or "") for name, each in known["clocks"].items()]
    limits = [(name, each["value"] or "none", each["source"] or "") for name, each in known["limits"].items()]
    strategy = [(name, f"{value:g}") for name, value in known["reconnect"].items()]
    spelled = f"  BTC/KRW is spelled {exchange.spell('BTC/KRW')}; other codes are native, case: {exchange.code_case}"
    return "\n".join(
        [
            f"{exchange.code} {exchange.name_ko} {exchange.name_en}",
            f"{exchange.ws_url}  ({known['ws_url_source']})",
            *_section("channels (portable, native)", _columns(channels) or "  any: what is sent on opening decides"),
            *_section("codes", spelled),
            *_section("heartbeats", "\n".join(f"  {each}" for each in known["heartbeats"])),
            f"  ({known['heartbeats_source']})",
            *_section("clocks (0 s = off)", _columns(clocks)),
            *_section("reconnecting", _columns(strategy)),
            f"  ({known['reconnect_source']})",
            *_section("limits", _columns(limits)),
        ]
    )


def status(document: Mapping[str, Any]) -> str:
    """The answer of a running process, for people."""
    feeds: list[dict[str, Any]] = document.get("feeds", [])
    head = f"feedwarden {document.get('version')}, pid {document.get('pid')}, up {document.get('uptime_seconds'):g} s"
    if document.get("demo"):
        head += "\nDEMO: simulated exchanges, no real data"
    for window in document.get("muted", []):
        head += f"\nmuted: {clean(window['subject'])} until {window['until']}"
    rows = [
        (
            feed["feed"],
            feed["shown_state"],
            str(feed["incarnation"]),
            str(feed["messages"]),
            "never" if feed["last_message_age_seconds"] is None else f"{feed['last_message_age_seconds']:.1f} s ago",
            feed["next_attempt"] or "",
            clean(feed["last_error"], 80),
        )
        for feed in feeds
    ]
    titles = ("feed", "state", "incarnation", "messages", "last message", "next attempt", "last error")
    return f"{head}\n{_columns([titles, *rows])}"


def _limit(value: Any) -> str | None:
    match value:
        case Rate():
            return f"{value.count} in {value.seconds:g} s"
        case tuple():
            return ", ".join(filter(None, map(_limit, value))) or None  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return str(value) if value else None


def _section(title: str, text: str) -> tuple[str, str, str]:
    return "", title, text


def _columns(rows: Iterable[tuple[str, ...]]) -> str:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
