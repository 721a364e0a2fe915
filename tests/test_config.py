"""The configuration: every mistake at once, in its place, with the nearest name; secrets never inside nor shown."""

from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio

from actors.backoff import ReconnectStrategy
from actors.errors import Advice, Way
from actors.events import Event
from actors.exchange import By, Exchange, Form, Heartbeat, Rate, Subscription
from actors.exchanges import BINANCE, GENERIC, UPBIT
from actors.transport import SystemNetwork
from supervisors import open_feeds
from supervisors.renewal import RenewAt
from supervisors.standalone import load_config
from supervisors.standalone.config import MAX_BYTES, Web
from supervisors.standalone.config import load_config as load
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.values import SETTABLE, assignment, at_url, override
from tests.script import ca_file

TOKEN = "123456789:" + "A" * 35
ENVIRONMENT = {"TOKEN": TOKEN, "BAD": "s3cret-that-is-no-token"}

GOOD = """
state_dir = "state"

[defaults]
overflow = "block"
set = { message_timeout = 90, jitter = 0.25 }

[feed.upbit-krw]
on = "upbit"
trade = ["KRW-BTC", "ETH/KRW"]
book = ["KRW-BTC"]
channels = { "candle.1s" = ["KRW-BTC"] }
set = { quiet_after = 30, message_timeout = 45, max_attempts = 7 }
overflow = "fail"

[feed.mine]
on = "generic"
url = "wss://example.com/ws?key=1"
send = ['{"op":"subscribe"}']
ca_file = "ca.pem"

[notify.telegram.ops]
token = "${env:TOKEN}"
chat_id = -100123
language = "en"
style = "guide"

[notify.telegram.more]
token = "${file:token.txt}"
chat_id = "@channel"
base_url = "http://127.0.0.1:1"

[notify.console.here]

[web]
port = 0

[messages]
stdout = true
"""

BAD = """
fed = 1
state_dir = 3
[defaults]
message_timeout = 3
overflow = "blok"
set = { jitte = 1 }
[feed.upbit-krw]
on = "upbit"
trade = ["KRW-BTC", 3]
set = { quiet_aftr = 3, message_timeout = "x", ping_interval = -1, describe = 1, code_case = "UP" }
[feed.b]
on = "binanc"
trad = ["x"]
[feed.g]
on = "generic"
[feed.u]
on = "upbit"
[feed.v]
on = "upbit"
trade = ["K RW"]
channels = { bok = ["KRW-BTC"] }
set = { link_timeout = 2 }
url = "ws://example.com/?key=s3cret"
ca_file = "nope.pem"
["feed"."a b"]
on = "upbit"
trade = ["KRW-BTC"]
[feed.w]
trade = "KRW-BTC"
[notify.telegram.ops]
token = "123456:s3cret"
chat_id = true
[notify.telegram.x]
token = "${env:NOPE}"
chat_id = 3
style = "fancy"
[notify.telegram.y]
token = "${env:BAD}"
chat_id = 3
[notify.telegram.z]
token = "${file:nope.txt}"
[notify.console.y]
language = "fr"
[notify.slack.x]
a = 1
[notify.console]
k = 3
[web]
port = 99999
host = "0.0.0.0"
[messages]
stdout = 1
"""

MISTAKES = """\
fed: unknown key, did you mean 'feed'?
state_dir: expected a string, got a whole number
defaults.message_timeout: unknown key; it goes under set
defaults.overflow: expected one of drop_oldest, block, fail
defaults.set.jitte: unknown field, did you mean 'jitter'?
feed.upbit-krw.trade[1]: expected a string, got a whole number
feed.upbit-krw.set.quiet_aftr: unknown field, did you mean 'quiet_after'?
feed.upbit-krw.set.message_timeout: expected a number, got a string
feed.upbit-krw.set.ping_interval: must be at least 0 and at most 86400: -1
feed.upbit-krw.set.describe: cannot be given in words
feed.upbit-krw.set.code_case: must be in ('upper', 'lower', 'keep') (got 'UP')
feed.b.trad: unknown key, did you mean 'trade'?
feed.b.on: unknown exchange 'binanc': did you mean 'binance'?
feed.g.url: missing; generic needs the WebSocket URL
feed.u: subscribes to nothing; give it trade, book, ticker or channels
feed.v.ca_file: {folder}/nope.pem cannot be read: No such file or directory
feed.v.url: ws:// is unencrypted and goes to this machine only, use wss://: 'ws://example.com/'
feed.v.set: link_timeout must exceed ping_interval + ping_timeout (20 + 10): 2
feed.v.trade: not a code of upbit: 'K RW'
feed.v.channels.bok: unknown channel 'bok' of upbit: did you mean 'book'?
feed.a b: a feed's name is up to 64 letters, digits, '.', '-' and '_': 'a b'
feed.w.trade: expected a list, got a string
feed.w.on: missing
notify.telegram.ops.chat_id: expected a string, got true or false
notify.telegram.ops.token: must not stand in the file; write "${env:NAME}", "${file:PATH}" or "${credential:NAME}"
notify.telegram.x.style: expected one of guide, incidents
notify.telegram.x.token: environment variable NOPE is not set
notify.telegram.y: token must look like 123456789:AAF…, as @BotFather gave it (the value is not shown)
notify.telegram.z.chat_id: missing
notify.telegram.z.token: nope.txt cannot be read: No such file or directory
notify.console.y.language: expected one of ko, en
notify.console.y: there is another channel named 'y'
notify.console.k: expected a table, got a whole number
notify.slack: unknown kind of channel; there are apprise, console, telegram, webhook
web.port: expected a TCP port, 0 for any free one
web.host: the page is served on loopback only, as 127.0.0.1 or ::1 or localhost
messages.stdout: expected true or false, got a whole number"""


def mistakes(text: str, folder: Path) -> list[str]:
    """What is wrong with a configuration, in no order."""
    file = folder / "feedwarden.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load(file, environment=ENVIRONMENT)
    return sorted(caught.value.lines)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """One file with every kind of mistake gives one line for each, and no value that may be a secret."""
    found = mistakes(BAD, tmp_path)
    assert found == sorted(MISTAKES.replace("{folder}", str(tmp_path)).splitlines())
    assert "s3cret" not in str(found)


def test_a_good_file_says_what_it_says(tmp_path: Path) -> None:
    """Feeds, overrides, defaults, channels, page and places come out as they went in."""
    file = tmp_path / "feedwarden.toml"
    file.write_text(GOOD, encoding="utf-8")
    (tmp_path / "token.txt").write_text(f"{TOKEN}\n")
    ca_file(tmp_path)
    config = load(file, environment=ENVIRONMENT)
    upbit, mine = config.feeds
    assert (upbit.name, upbit.overflow.policy, upbit.network) == ("upbit-krw", "fail", None)
    assert upbit.subscriptions == (
        Subscription("trade", ("KRW-BTC", "ETH/KRW")),
        Subscription("book", ("KRW-BTC",)),
        Subscription("candle.1s", ("KRW-BTC",)),
    )
    strategy = ReconnectStrategy(jitter=0.25, max_attempts=7)
    assert upbit.exchange == attrs.evolve(UPBIT, quiet_after=30, message_timeout=45, reconnect=strategy)
    assert upbit.exchange.reconnect == strategy
    assert (mine.exchange.ws_url, mine.exchange.on_open) == ("wss://example.com/ws?key=1", ('{"op":"subscribe"}',))
    assert (mine.exchange.message_timeout, mine.overflow.policy) == (90, "block")
    assert mine.network is not None
    assert config.web == Web(port=0)
    assert config.state_dir == tmp_path / "state"
    assert config.messages
    told: list[Event] = []
    notifier = config.notifier(told.append)
    assert notifier is not None
    assert sorted(notifier.queued) == ["here", "more", "ops"]
    assert TOKEN not in repr(config)


async def test_open_feeds_takes_a_configuration(tmp_path: Path) -> None:
    """The configured feeds are open by their names; without channels there is no notifier."""
    file = tmp_path / "f.toml"
    file.write_text('[feed.a]\non = "generic"\nurl = "ws://127.0.0.1:1/"\n')
    config = load_config(file)
    assert config.notifier(lambda event: None) is None
    async with open_feeds(config) as feeds:
        assert [feed.name for feed in feeds] == ["a"]
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a = ", "is not TOML: Invalid value (at end of document)"),
        (b"\xff", "is not UTF-8 at byte 0"),
        (b"#" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes, which no configuration is"),
        (None, "cannot be read: No such file or directory"),
        (b"", None),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes | None, why: str | None) -> None:
    """What cannot be read, decoded or parsed is one mistake that names the file; an empty file lacks its feeds."""
    file = tmp_path / "f.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(file)
    no_feed = 'feed: missing; a feed is a table like [feed.upbit-krw] with on = "upbit" in it'
    assert caught.value.lines == (f"{file}: {why}" if why else no_feed,)


def test_a_secret_file_that_is_no_text(tmp_path: Path) -> None:
    """A token file that is not UTF-8 is a mistake of its own."""
    (tmp_path / "t").write_bytes(b"\xff")
    text = '[feed.a]\non="upbit"\ntrade=["A"]\n[notify.telegram.t]\ntoken="${file:t}"\nchat_id=1'
    assert mistakes(text, tmp_path) == ["notify.telegram.t.token: t cannot be read: it is not UTF-8"]


# -- set and --set


def overridden(*assignments: str, exchange: Exchange = UPBIT) -> Exchange:
    """The exchange after some ``--set``."""
    return override(exchange, dict(map(assignment, assignments)), "--set ")


def test_set_takes_every_field_of_exchange_and_strategy() -> None:
    """Numbers, texts and structures are written as in TOML; a text needs no quotes."""
    exchange = overridden(
        "message_timeout=30",
        "max_attempts=3",
        "jitter = 1",
        "code_case=lower",
        "name_en='[X]'",
        "on_open=['a', 'b']",
        "limits={gate = {count = 2, seconds = 3}, sockets = 4}",
        'heartbeats=[{by = "client", form = "message", payload = "{}", interval = 7}]',
        'close_codes={1008 = {way = "after", seconds = 60}}',
        "ws_url=wss://example.com/?a=b",
    )
    assert (exchange.message_timeout, exchange.reconnect.max_attempts, exchange.reconnect.jitter) == (30, 3, 1)
    assert (exchange.code_case, exchange.name_en, exchange.on_open) == ("lower", "[X]", ("a", "b"))
    assert (exchange.limits.gate, exchange.limits.sockets) == (Rate(2, 3), 4)
    assert exchange.heartbeats == (Heartbeat(by=By.CLIENT, form=Form.MESSAGE, payload="{}", interval=7),)
    assert exchange.heartbeats[0].form is Form.MESSAGE
    assert exchange.close_codes == {1008: Advice(Way.AFTER, 60)}
    assert exchange.ws_url == "wss://example.com/?a=b"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quiet_aftr=3", "--set quiet_aftr: unknown field, did you mean 'quiet_after'?"),
        ("message_timeout=soon", "--set message_timeout: expected a number, got a string"),
        ("message_timeout=nan", "--set message_timeout: must be at least 0 and at most 86400: nan"),
        ("message_timeout=1\nping_timeout=2", "--set message_timeout: expected a number, got a string"),
        ("max_attempts=1.5", "--set max_attempts: expected a whole number, got a number"),
        ("max_attempts=true", "--set max_attempts: expected a whole number, got true or false"),
        ("on_open=abc", "--set on_open: expected a list, got a string"),
        ("limits=3", "--set limits: expected a table, got a whole number"),
        ("limits={gat=1}", "--set limits.gat: unknown key, did you mean 'gate'?"),
        ("limits={gate={count=0,seconds=1}}", "--set limits.gate: count must be at least 1 and at most 1e+06: 0"),
        ("heartbeats=[{form='control'}]", "--set heartbeats[0].by: missing"),
        ("heartbeats=[{by='me',form='control'}]", "--set heartbeats[0].by: expected one of client, server"),
        ("close_codes={x={way='now'}}", "--set close_codes: the keys are close codes, like 1008"),
        ("close_codes={1={way='soon'}}", "--set close_codes.way: expected one of now, backoff, after, quarantine"),
        ("ws_url=http://x", "--set ws_url: a WebSocket URL looks like wss://host/path: 'http://x'"),
        ("initial_delay=100", "--set: max_delay must be at least initial_delay (100): 60.0"),
        ("reconnect=1", "--set reconnect: cannot be given in words"),
        ("message_timeout=2020-01-01", "--set message_timeout: expected a number, got a date or time"),
        ("no-assignment", "--set takes FIELD=VALUE, like --set message_timeout=30"),
        ("=3", "--set takes FIELD=VALUE, like --set message_timeout=30"),
    ],
)
def test_set_refuses_by_name(text: str, why: str) -> None:
    """An unknown field names the nearest, a wrong value says what is expected."""
    with pytest.raises(BadInput) as caught:
        overridden(text)
    assert caught.value.lines == (why,)


def test_every_settable_field_can_be_set_to_its_own_value() -> None:
    """No field is listed that cannot be given: scalars and texts of every profile survive the round trip."""
    for exchange in (UPBIT, BINANCE):
        for name in SETTABLE:
            value = getattr(exchange, name, None) if hasattr(exchange, name) else getattr(exchange.reconnect, name)
            if isinstance(value, int | float | str):
                again = override(exchange, {name: value}, "")
                assert again == exchange


def test_a_url_of_ones_own_replaces_an_endpoint_too() -> None:
    """Who gives a URL wants to go there, whatever finds the URL otherwise."""

    async def endpoint(_http: object) -> str:
        await trio.lowlevel.checkpoint()
        return "wss://elsewhere.invalid/"

    exchange = at_url(attrs.evolve(GENERIC, endpoint=endpoint), "wss://example.com/", "--url")
    assert (exchange.ws_url, exchange.endpoint) == ("wss://example.com/", None)


NO_PROXY = "feed.a.proxy: a proxy's URL looks like http://host:port or socks5://host:port (it is not shown)"
PROXIED = """
[defaults]
proxy = "${env:PROXY}"
[feed.a]
on = "upbit"
trade = ["KRW-BTC"]
[feed.b]
on = "upbit"
trade = ["KRW-BTC"]
proxy = "none"
[feed.c]
on = "upbit"
trade = ["KRW-BTC"]
proxy = "env"
ca_file = "ca.pem"
[feed.d]
on = "binance"
trade = ["BTC/USDT"]
proxy = "env"
[feed.e]
on = "upbit"
trade = ["KRW-BTC"]
proxy = "http://gate:3128"
"""


def test_proxies(tmp_path: Path) -> None:
    """A proxy for all feeds, another for one, that of the environment where asked, or none; nowhere a password."""
    ca_file(tmp_path)
    (tmp_path / "feeds.toml").write_text(PROXIED, encoding="utf-8")
    environment = {
        "PROXY": "socks5://trader:s3cret@gate:1080",
        "https_proxy": "http://trader:s3cret@other:8080",
        "no_proxy": "binance.com",
    }
    config = load(tmp_path / "feeds.toml", environment=environment)
    assert [repr(plan.network) for plan in config.feeds] == [
        "<ProxyNetwork gate:1080>",
        "None",
        "<ProxyNetwork other:8080>",
        "None",
        "<ProxyNetwork gate:3128>",
    ]
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        (
            "gate:3128",
            "feed.a.proxy: a proxy's URL looks like http://host:port or socks5://host:port (it is not shown)",
        ),
        (
            "http://trader:s3cret@gate:3128",
            'feed.a.proxy: credentials must not stand in the file; write the whole URL as "${env:NAME}"',
        ),
        ("${env:NOPE}", "feed.a.proxy: environment variable NOPE is not set"),
        (
            "${env:BAD}",
            "feed.a.proxy: a proxy's URL looks like http://host:port or socks5://host:port (it is not shown)",
        ),
        ("env", NO_PROXY),
    ],
)
def test_bad_proxies(tmp_path: Path, written: str, mistake: str) -> None:
    """What is no proxy is refused at the start, wherever it is written, and never repeated."""
    file = tmp_path / "feeds.toml"
    file.write_text(f'[feed.a]\non = "upbit"\ntrade = ["KRW-BTC"]\nproxy = "{written}"\n', encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load(file, environment={"BAD": "ftp://x:s3cret@gate:1", "ALL_PROXY": "ftp://x:s3cret@gate:1"})
    assert caught.value.lines == (mistake,)


def test_legs_and_their_renewal(tmp_path: Path) -> None:
    """Sockets side by side, with an address each, and a time of day for them all; what cannot be is refused."""
    file = tmp_path / "feeds.toml"
    table = '[feed.a]\non = "upbit"\ntrade = ["KRW-BTC"]\n'
    two = 'legs = 2\nsource = ["127.0.0.2", "127.0.0.3"]\nrenew_at = "06:00/30m Asia/Seoul"\n'
    file.write_text(table + two, encoding="utf-8")
    [plan] = load(file).feeds
    assert plan.legs == 2
    assert isinstance(plan.network, tuple)
    assert [way.source for way in plan.network] == ["127.0.0.2", "127.0.0.3"]
    assert plan.renew_at == RenewAt(time(6), 30, ZoneInfo("Asia/Seoul"))
    file.write_text(table + 'legs = 9\nsource = [1]\nrenew_at = "6 o\'clock"\n', encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load(file)
    assert [line.partition(":")[0] for line in caught.value.lines] == [
        "feed.a.source[0]",
        "feed.a.legs",
        "feed.a.renew_at",
    ]


def test_addresses_and_shares(tmp_path: Path) -> None:
    """Feeds of one source share a network, others have their own; a share and a source that cannot be are refused."""
    file = tmp_path / "feeds.toml"
    up = '[feed.{}]\non = "upbit"\ntrade = ["KRW-BTC"]\n'
    feeds = up.format("a") + 'source = "127.0.0.2"\n' + up.format("b") + 'source = "127.0.0.2"\n' + up.format("c")
    file.write_text(f"ip_budget = 0.5\n{feeds}", encoding="utf-8")
    config = load(file)
    a, b, c = config.feeds
    assert config.ip_budget == 0.5
    assert isinstance(a.network, SystemNetwork)
    assert a.network is b.network
    assert a.network.source == "127.0.0.2"
    assert c.network is None
    file.write_text(f"ip_budget = 1.5\n{up.format('a')}source = '192.0.2.1'\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load(file)
    assert sorted(caught.value.lines) == [
        "feed.a.source: 192.0.2.1 is no address of this machine: Cannot assign requested address",
        "ip_budget: expected this process's share, above 0 up to 1: 1.5",
    ]
