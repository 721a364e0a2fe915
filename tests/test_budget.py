"""The gate as feeds meet it: places in the line, sockets at one time, bans, and the address we come from."""

import random
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import SIMULATED, SimulatedExchange, SimulatedVenue, UpbitVenue, What, simulated_exchange
from actors.errors import ConnectorError, Reason
from actors.events import Connected, EventHook
from actors.exchange import Limits, Rate
from actors.exchanges import UPBIT
from actors.transport import SystemNetwork
from actors.transport.dial import dial
from supervisors import open_feeds
from tests.scenes import scene, wall
from tests.script import TLS, network


def simulated(venue: Any) -> SimulatedExchange:
    return SimulatedExchange(venue, port=None, wall=wall, rate=1.0, random=random.Random(7))


@attrs.frozen
class Configured:
    """A configuration that only keeps bans."""

    bans: Path
    feeds: tuple[Any, ...] = ()
    ip_budget: float = 1.0

    def notifier(self, emit: EventHook) -> None:
        del emit


async def test_a_feed_that_waits_at_the_gate_shows_its_place(autojump_clock: trio.testing.MockClock) -> None:
    """Of forty feeds of one host five dial at once; the others stand in line, and see how far they are."""
    async with scene({UPBIT.host: simulated(UpbitVenue())}) as (feeds, _, seen):
        opened = [feeds.open(UPBIT, trade="KRW-BTC") for _ in range(40)]
        await trio.sleep(0.5)
        # half of what Upbit publishes, five a second, passes at once
        shown = sorted((feed.stats.shown_state for feed in opened), key=lambda text: (len(text), text))
        assert shown.count("live") == 2
        assert [f"gate, {place}" in shown for place in ("1st", "2nd", "3rd", "11th", "22nd", "38th")] == [True] * 6
        assert b'feedwarden_gate_waiting{host="api.upbit.com",source=""} 38.0' in feeds.metrics.render()
        await trio.sleep(60)
        assert {feed.stats.shown_state for feed in opened} == {"live"}
        assert b'feedwarden_gate_passes_total{host="api.upbit.com",source=""} 40.0' in feeds.metrics.render()
    dials = [event.at for event in seen.of(Connected)]
    assert all(later - earlier >= 5 for earlier, later in zip(dials, dials[5:], strict=False))
    assert feeds.gate.states()[UPBIT.host, ""].inside == 0


async def test_never_more_sockets_than_the_exchange_takes(autojump_clock: trio.testing.MockClock) -> None:
    """A socket's place is free for another only when it is really closed, also where closing takes its time."""
    sim = simulated(SimulatedVenue())
    narrow = attrs.evolve(SIMULATED, limits=Limits(gate=Rate(100, 1.0), sockets=3))
    async with scene({SIMULATED.host: sim}) as (feeds, _, _seen):
        opened = [feeds.open(narrow, trade="BTC-USD") for _ in range(5)]
        await trio.sleep(10)
        assert sim.ledger.open == 3
        assert sorted(feed.stats.shown_state for feed in opened) == ["gate, 1st", "gate, 2nd", "live", "live", "live"]
        live = next(feed for feed in opened if feed.stats.shown_state == "live")
        sim.ignore_close()
        await feeds.close(live.name)
        await trio.sleep(1)
        assert sim.ledger.open == 3
        assert sim.ledger.most_open == 3


def written(path: Path) -> bool:
    """Whether the file is there."""
    return path.exists()


async def test_a_ban_holds_over_a_restart(tmp_path: Path) -> None:
    """The next process waits as long as the host has asked for, and says until when."""
    async with simulated_exchange(UpbitVenue(), codes=["KRW-BTC"], tls=TLS) as sim:
        sim.reject(418, retry_after=100)
        exchange = attrs.evolve(UPBIT, ws_url=sim.url)
        for attempts in (1, 0):
            before = len([entry for entry in sim.ledger if entry.what is What.REJECTED])
            config = Configured(tmp_path / "bans.json")
            async with open_feeds(config, network=network()) as feeds:
                feed = feeds.open(exchange, trade="KRW-BTC")
                with trio.fail_after(10):
                    while not (written(config.bans) and feeds.gate.states()):  # noqa: ASYNC110 - the disk tells nobody
                        await trio.sleep(0.02)
                await trio.sleep(0.2)
                assert 95 < feeds.gate.states()["127.0.0.1", ""].closed <= 100
                if not attempts:
                    assert feed.stats.shown_state == "gate, 1st"
            rejected = [entry for entry in sim.ledger if entry.what is What.REJECTED]
            assert len(rejected) - before == attempts


async def test_the_address_that_we_come_from() -> None:
    """The server sees the one that was asked for; only its own family is dialled; an address not ours is refused."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    exchange = attrs.evolve(UPBIT, connect_timeout=2.0)
    async with listeners[0]:
        stream = await dial(SystemNetwork(source="127.0.0.2"), "127.0.0.1", port, tls=False, exchange=exchange)
        async with stream, await listeners[0].accept() as accepted:
            assert accepted.socket.getpeername()[0] == "127.0.0.2"
        with pytest.raises(ConnectorError, match=r"no address of the family of the source 127\.0\.0\.2"):
            await dial(SystemNetwork(source="127.0.0.2"), "::1", port, tls=False, exchange=exchange)
    with pytest.raises(ValueError, match=r"source 192\.0\.2\.1 is no address of this machine: Cannot assign"):
        SystemNetwork(source="192.0.2.1")
    with pytest.raises(ValueError, match="source must be an IP address of this machine: 'eth0'"):
        SystemNetwork(source="eth0")


async def test_an_address_that_is_ours_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost lease is told as such, not as a lack of ports."""
    ours = SystemNetwork(source="127.0.0.2")
    monkeypatch.setattr(ours, "source", "192.0.2.1")
    with pytest.raises(ConnectorError, match=r"192\.0\.2\.1 is no address of this machine any more") as caught:
        await dial(ours, "127.0.0.1", 9, tls=False, exchange=UPBIT)
    assert caught.value.reason is Reason.NET_UNREACHABLE
