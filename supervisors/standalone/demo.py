"""The embedded default: three simulated exchanges on loopback, over TLS, with faults on a schedule.

The certificate authority is made in memory when the demo starts, and only the demo's feeds trust it.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from actors.chaos import BinanceVenue, BithumbVenue, Fault, SimulatedExchange, UpbitVenue
from actors.chaos.tls import Authority
from actors.exchange import Exchange, Limits, Rate, Subscription
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.notifier import Console, Route
from actors.transport import SystemNetwork
from supervisors.feed_plan import FeedPlan
from supervisors.standalone.alerts import Alerts
from supervisors.standalone.config import Config
from supervisors.standalone.mistakes import BadInput

NOTICE = "DEMO: simulated exchanges, no real data"

HOST = "127.0.0.1"
KEEP = 10_000
"""Entries of each exchange's ledger: nobody reads it here."""

REPEAT = 90.0
"""Seconds after which the faults begin again."""
FAULTS: Mapping[str, Sequence[Fault]] = {
    "upbit": (Fault(5, "cut"), Fault(65, "silence", {"pongs": False})),
    "bithumb": (Fault(12, "reset"), Fault(28, "silence", {"pongs": False}), Fault(75, "close", {"code": 1001})),
    "binance": (
        Fault(40, "refuse", {"seconds": 8}),
        Fault(40, "cut"),
        Fault(70, "reject", {"status": 429, "retry_after": 5, "times": 1}),
        Fault(70, "cut"),
    ),
}
"""What happens to each exchange; the first recovery can be seen within 10 s."""

_CLOCKS = {"ping_interval": 3, "ping_timeout": 3, "link_timeout": 9, "message_timeout": 15, "health_check_interval": 3}
"""Shorter than the real ones, so that a silence need not be waited for."""


@asynccontextmanager
async def demo() -> AsyncGenerator[Config]:
    """Serve the three exchanges while the body runs; gives the configuration of their feeds."""
    authority = Authority()
    network = SystemNetwork(ca_pem=authority.pem)
    tls = authority.server_context(HOST)
    feeds: list[FeedPlan] = []
    async with trio.open_nursery() as nursery:
        for profile, venue, code in (
            (UPBIT, UpbitVenue(), "BTC/KRW"),
            (BITHUMB, BithumbVenue(), "BTC/KRW"),
            (BINANCE, BinanceVenue(), "BTC/USDT"),
        ):
            server = SimulatedExchange(venue, tls=tls, keep=KEEP)
            await nursery.start(server.run)
            nursery.start_soon(_trouble, server, FAULTS[profile.code])
            subscriptions = (Subscription("trade", (code,)), Subscription("book", (code,)))
            exchange = _simulated(profile, server.port, venue.path)
            feeds.append(FeedPlan(name=exchange.code, exchange=exchange, subscriptions=subscriptions, network=network))
        yield Config(feeds=feeds, alerts=Alerts(routes=[lambda out: Route(Console(out))]))
        nursery.cancel_scope.cancel("the demo has ended")


def refuse_in_service(environment: Mapping[str, str], *, terminal: bool) -> None:
    """Raise BadInput where a service manager started us: nobody wants a service of made-up prices.

    Terminals of a desktop are started by systemd too, so its INVOCATION_ID counts only where no terminal is.
    """
    systemd = "NOTIFY_SOCKET" in environment or ("INVOCATION_ID" in environment and not terminal)
    for found, manager in ((systemd, "systemd"), ("KUBERNETES_SERVICE_HOST" in environment, "Kubernetes")):
        if found:
            raise BadInput(f"under {manager} there is no demo: give a configuration with --config FILE")


def _simulated(profile: Exchange, port: int, path: str) -> Exchange:
    # all three are one host to the gate that spreads connects
    return attrs.evolve(profile, ws_url=f"wss://{HOST}:{port}{path}", limits=Limits(gate=Rate(10, 5)), **_CLOCKS)


async def _trouble(server: SimulatedExchange, faults: Sequence[Fault]) -> None:
    while True:
        again = trio.current_time() + REPEAT
        await server.play(faults)
        await trio.sleep_until(again)
