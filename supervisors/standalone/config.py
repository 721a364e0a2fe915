"""The configuration: a TOML file in, feeds and notification channels out, or every mistake in it at once."""

import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

from actors.events import EventHook
from actors.exchange import PORTABLE_CHANNELS, Exchange, Subscription
from actors.exchanges import GENERIC, find
from actors.items import Overflow
from actors.notifier import Notifier
from actors.transport import Network, ProxyNetwork, SystemNetwork
from actors.transport.proxy import from_environment
from supervisors.feed_plan import FeedPlan
from supervisors.renewal import RenewAt, check_legs
from supervisors.standalone.alerts import Alerts, Out, read_alerts
from supervisors.standalone.mistakes import BadInput, nearest
from supervisors.standalone.secrets import Secrets
from supervisors.standalone.values import SETTABLE, applied, at_url, checked, network, structure

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""The largest file that is read."""

Codes = tuple[str, ...]
Schema = Mapping[str, Any]
"""The keys that a table may have, with their types."""

_TOP: Schema = {
    "feed": dict[str, Any],
    "defaults": dict[str, Any],
    "notify": dict[str, Any],
    "web": dict[str, Any],
    "messages": dict[str, Any],
    "state_dir": str,
    "ip_budget": float,
}
_FOR_ALL: Schema = {
    "set": dict[str, Any],
    "overflow": Literal["drop_oldest", "block", "fail"],
    "ca_file": str,
    "proxy": str,
    "source": str | Codes,
    "legs": int,
    "renew_at": str,
}
_FEED: Schema = {
    "on": str,
    **dict.fromkeys(PORTABLE_CHANNELS, Codes),
    "channels": dict[str, Codes],
    "send": Codes,
    "url": str,
    **_FOR_ALL,
}
_WEB: Schema = {"port": int, "host": str}
_MESSAGES: Schema = {"stdout": bool}

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@attrs.frozen
class Web:
    """Where the status page is served: on loopback only."""

    port: int
    host: str = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Config:
    """What a file says, checked; :func:`~supervisors.open_feeds` takes it."""

    feeds: Sequence[FeedPlan]
    alerts: Alerts = attrs.field(factory=Alerts)
    """Who is told what."""
    console: Out | None = None
    """Where console channels write; None: standard error."""
    spool: Path | None = None
    """The file that keeps alerts until they have arrived; None keeps them in memory only."""
    bans: Path | None = None
    """The file in which bans outlive the process; None forgets them."""
    ip_budget: float = 1.0
    """This process's share of what an exchange publishes for one address."""
    web: Web | None = None
    state_dir: Path | None = None
    messages: bool = False
    """Whether the script writes the messages of all feeds to standard output."""

    def notifier(self, emit: EventHook) -> Notifier | None:
        """A notifier with the configured channels, or None if there are none."""
        alerts, out = self.alerts, self.console or sys.stderr
        if not alerts.routes:
            return None
        return Notifier(
            [make(out) for make in alerts.routes],
            emit=emit,
            rules=alerts.rules,
            ping=alerts.ping,
            zone=alerts.zone,
            spool=self.spool,
        )


def load_config(path: str | os.PathLike[str], *, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration; relative paths in it start at its own folder.

    Args:
        path: A TOML file of at most 1 MiB.
        environment: What ``${env:NAME}`` reads.

    Raises:
        BadInput: one line for each mistake.
    """
    reader = _Reader(Path(path), environment)
    config = reader.config(_parsed(Path(path)))
    if reader.mistakes:
        raise BadInput(*reader.mistakes)
    return config


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise BadInput(f"{path}: larger than {MAX_BYTES} bytes, which no configuration is")
        return tomllib.loads(raw.decode())
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: is not TOML: {error}") from None


class _Reader:
    """Reads the tables of one file, and goes on after a mistake."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.mistakes: list[str] = []
        self._folder = path.parent
        self._environment = environment
        self._secrets = Secrets(environment, self._path)
        self._direct: dict[tuple[Path | None, str], SystemNetwork] = {}
        # what the reader of [notify] borrows
        self.table, self.attempt, self.path = self._table, self._try, self._path

    def config(self, document: dict[str, Any]) -> Config:
        top = self._table(document, _TOP, "")
        defaults = self._shared(top.get("defaults", {}), "defaults.")
        if not document.get("feed"):
            self.mistakes.append('feed: missing; a feed is a table like [feed.upbit-krw] with on = "upbit" in it')
        feeds = [self._feed(name, table, defaults) for name, table in self._tables(top.get("feed", {}), "feed.")]
        return Config(
            feeds=[feed for feed in feeds if feed is not None],
            alerts=self._alerts(
                top.get("notify", {}), {each.name: each.exchange.code for each in feeds if each is not None}
            ),
            web=self._web(top["web"]) if "web" in top else None,
            state_dir=self._path(top["state_dir"]) if "state_dir" in top else None,
            ip_budget=self._ip_budget(top.get("ip_budget", 1.0)),
            messages=self._table(top.get("messages", {}), _MESSAGES, "messages.").get("stdout", False),
        )

    # -- feeds

    def _shared(self, raw: dict[str, Any], place: str) -> dict[str, Any]:
        """What may stand in ``[defaults]`` too, as arguments of a plan, and under ``set`` the fields."""
        table = self._table(raw, _FOR_ALL, place)
        found: dict[str, Any] = {}
        found["set"], mistakes = checked(table.get("set", {}), f"{place}set.")
        self.mistakes += mistakes
        if "overflow" in table:
            found["overflow"] = Overflow(table["overflow"])
        if "ca_file" in table:
            found["ca_file"] = self._path(table["ca_file"])
            self._try(f"{place}ca_file", self._network, found["ca_file"], "")
        if "source" in table:
            found["source"] = table["source"]
            for source in table["source"]:
                self._try(f"{place}source", self._network, None, source)
        if "legs" in table:
            found["legs"] = table["legs"]
            self._try(f"{place}legs", check_legs, table["legs"])
        if "renew_at" in table:
            found["renew_at"] = self._try(f"{place}renew_at", RenewAt.parse, table["renew_at"]) or ""
        if "proxy" in table:
            found["proxy"] = self._try(f"{place}proxy", self._proxy, table["proxy"])
        return found

    def _network(self, ca_file: Path | None, source: str) -> SystemNetwork:
        """One for all feeds that trust the same and come from the same address, so that they share its look-ups."""
        if (ca_file, source) not in self._direct:
            self._direct[ca_file, source] = network(ca_file, source)
        return self._direct[ca_file, source]

    def _proxy(self, text: str) -> str:
        """``none``, ``env``, or the URL of a proxy."""
        if text in ("none", "env"):
            return text
        if "@" in text:
            raise ValueError('credentials must not stand in the file; write the whole URL as "${env:NAME}"')
        url = self._secrets.read(text).reveal() if text.startswith("${") else text
        ProxyNetwork(self._network(None, ""), url)
        return url

    def _ways(
        self, ca_file: Path | None, sources: Sequence[str], proxy: str, host: str
    ) -> Network | tuple[Network, ...] | None:
        """The networks of one feed's legs; None for that of all the others."""
        url = from_environment(self._environment, host) if proxy == "env" else proxy
        through = url not in (None, "none")
        direct = [self._network(ca_file, source) for source in sources or ("",)]
        ways: list[Network] = [ProxyNetwork(way, url) for way in direct] if through and url else [*direct]
        if len(ways) > 1:
            return tuple(ways)
        return ways[0] if through or ca_file or sources else None

    def _feed(self, name: str, raw: dict[str, Any], defaults: dict[str, Any]) -> FeedPlan | None:
        before, place = len(self.mistakes), f"feed.{name}."
        own = self._table(
            {key: value for key, value in raw.items() if key not in _FOR_ALL}, _FEED, place, required=("on",)
        )
        shared = self._shared({key: value for key, value in raw.items() if key in _FOR_ALL}, place)
        fields = {**defaults["set"], **shared["set"]}
        exchange = self._exchange(own, fields, place)
        if exchange is not None and exchange.channels and not raw.keys() & {*PORTABLE_CHANNELS, "channels", "send"}:
            self.mistakes.append(f"{place[:-1]}: subscribes to nothing; give it trade, book, ticker or channels")
        subscriptions = () if exchange is None else self._subscriptions(exchange, own, place)
        if exchange is None or len(self.mistakes) > before:
            return None
        arguments = {**defaults, **shared, "exchange": exchange, "subscriptions": subscriptions, "name": name}
        del arguments["set"]
        usual = {"ca_file": None, "source": (), "proxy": "none"}
        way = [arguments.pop(key, otherwise) for key, otherwise in usual.items()]
        arguments["network"] = self._try(f"{place}proxy", self._ways, *way, exchange.host)
        plan = self._try(place[:-1], FeedPlan, **arguments)
        if plan is not None:
            self._try(f"{place}overflow", plan.overflow.check, exchange)
        return plan

    def _exchange(self, table: dict[str, Any], fields: dict[str, Any], place: str) -> Exchange | None:
        if "on" not in table:
            return None
        exchange = self._try(f"{place}on", find, table["on"])
        if exchange is None:
            return None
        if "url" in table:
            exchange = self._try("", at_url, exchange, table["url"], f"{place}url") or exchange
        elif exchange.code == GENERIC.code and "ws_url" not in fields:
            self.mistakes.append(f"{place}url: missing; {GENERIC.code} needs the WebSocket URL")
        exchange = attrs.evolve(exchange, on_open=(*exchange.on_open, *table.get("send", ())))
        return self._try("", applied, exchange, fields, f"{place}set") or exchange

    def _subscriptions(self, exchange: Exchange, table: dict[str, Any], place: str) -> tuple[Subscription, ...]:
        wanted = [(f"{place}{word}", word, table[word]) for word in PORTABLE_CHANNELS if word in table]
        channels: dict[str, Codes] = table.get("channels", {})
        wanted += [(f"{place}channels.{word}", word, codes) for word, codes in channels.items()]
        for where, word, codes in wanted:
            self._try(where, exchange.native, [Subscription(word, codes)])
        return tuple(Subscription(word, codes) for _, word, codes in wanted)

    # -- the rest

    def _alerts(self, notify: dict[str, Any], feeds: dict[str, str]) -> Alerts:
        return read_alerts(notify, self, self._secrets, feeds)

    def _ip_budget(self, share: float) -> float:
        if not 0 < share <= 1:
            self.mistakes.append(f"ip_budget: expected this process's share, above 0 up to 1: {share:g}")
        return share

    def _web(self, raw: dict[str, Any]) -> Web | None:
        table = self._table(raw, _WEB, "web.", required=("port",))
        if not 0 <= table.get("port", 0) <= 65_535:
            self.mistakes.append("web.port: expected a TCP port, 0 for any free one")
        if table.get("host", _LOOPBACK[0]) not in _LOOPBACK:
            self.mistakes.append(f"web.host: the page is served on loopback only, as {' or '.join(_LOOPBACK)}")
        return Web(**table) if "port" in table else None

    def _path(self, text: str) -> Path:
        return self._folder / Path(text).expanduser()

    # -- tables

    def _tables(self, raw: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The tables in a table of tables; anything else in it is a mistake."""
        for name, value in raw.items():
            table = self._try("", structure, value, dict[str, Any], f"{place}{name}")
            if table is not None:
                yield name, table

    def _table(
        self, raw: dict[str, Any], schema: Schema, place: str, *, required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The values of a table that are as the schema wants them; the others become mistakes."""
        good: dict[str, Any] = {}
        for key, value in raw.items():
            if key not in schema:
                misplaced = key in SETTABLE and "set" in schema
                hint = "; it goes under set" if misplaced else nearest(key, schema)
                self.mistakes.append(f"{place}{key}: unknown key{hint}")
            elif (found := self._try("", structure, value, schema[key], f"{place}{key}")) is not None:
                good[key] = found
        self.mistakes += [f"{place}{key}: missing" for key in required if key not in raw]
        return good

    def _try(self, place: str, make: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
        """What ``make`` makes of the arguments, or None and a mistake at ``place``."""
        try:
            return make(*arguments, **named)
        except BadInput as error:
            self.mistakes += error.lines
        except (ValueError, TypeError) as error:
            self.mistakes.append(f"{place}: {error}")
        return None
