"""A whole application in a simulation: the real supervisors, connectors, feeds and notifier, before made-up exchanges.

A run has a fault phase, in which a plan is played; a heal phase, in which every feed must come back; and a stop. All
of it happens on a virtual clock, and the same plan is the same run.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import attrs
import trio

from actors.chaos import (
    SIMULATED,
    BinanceVenue,
    BithumbVenue,
    SimulatedExchange,
    SimulatedVenue,
    UpbitVenue,
    determinism,
)
from actors.chaos.board import Venue
from actors.chaos.history import (
    Checker,
    History,
    Injected,
    Phase,
    Standing,
    Taken,
    Tallied,
    Told,
    Violation,
    listening,
)
from actors.chaos.invariants import RECOVERY, Scene, checkers
from actors.chaos.memory import MemoryNetwork
from actors.chaos.network import VirtualNetwork
from actors.chaos.plans import Plan, Step, host
from actors.errors import after
from actors.events import EventHook, LinkState
from actors.exchange import Exchange, Limits
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from actors.feed import Feed
from actors.items import Overflow
from actors.notifier import Notifier, Route, Style
from actors.notifier.channel import ChannelError, Language, Letter
from supervisors.feeds import Feeds, open_feeds

EPOCH = 1_700_000_000_000_000_000
"""What the wall clock says when a simulation begins, nanoseconds UTC."""
CANARY = "canary-4f1c9a"
"""Stands in every URL as a secret would; nothing that is told may hold it."""
LOOK_EVERY = 10.0
"""Seconds between two looks at how every feed stands."""
CALM = 50.0
"""Seconds for which every feed must have been live until the heal phase may end: by then those that flap are told."""
BUFFER = 50
"""Messages that a feed keeps for its consumer."""

_VENUES: Mapping[str, tuple[Callable[..., Venue], Exchange, str]] = {
    "simulated": (SimulatedVenue, attrs.evolve(SIMULATED, limits=Limits()), "BTC/USD"),
    "upbit": (UpbitVenue, UPBIT, "BTC/KRW"),
    "bithumb": (BithumbVenue, BITHUMB, "BTC/KRW"),
    "binance": (BinanceVenue, BINANCE, "BTC/USDT"),
}


@attrs.frozen(kw_only=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    violations: Sequence[Violation]
    digest: str
    """SHA-256 of the event log."""
    digests: Mapping[str, str]
    """The same for each feed alone, up to the stop: how long that takes is decided by all of them."""
    counts: Mapping[str, int]
    """Records by type."""
    judged: Mapping[str, int]
    """Records judged by each invariant."""
    states: Mapping[str, int]
    """How often a feed entered each state, and failed for each reason."""
    tail: Sequence[str]
    """The last records."""
    virtual: float
    """Seconds of virtual time."""
    cpu: float
    """Seconds of CPU time."""


class Alerts:
    """A notification channel that keeps what it is told, and can be out of order."""

    def __init__(self, history: History) -> None:
        self.name = "alerts"
        self.language = Language.KO
        self._history = history
        self._failures = 0
        self._flood = 0.0
        self._slow_until = -math.inf

    def fail(self, times: int) -> None:
        """Refuse the next texts."""
        self._failures = times

    def flood(self, retry_after: float) -> None:
        """Refuse the next text, and say when to come again."""
        self._flood = retry_after

    def slow(self, seconds: float) -> None:
        """Take three seconds for each text, for so long."""
        self._slow_until = trio.current_time() + seconds

    def heal(self) -> None:
        """Be in order again."""
        self._failures, self._flood, self._slow_until = 0, 0.0, -math.inf

    def split(self, letter: Letter) -> Sequence[str]:
        """One piece."""
        return (letter.text,)

    async def send(self, text: str) -> None:
        """Take a text, or raise ChannelError."""
        await trio.sleep(3.0 if trio.current_time() < self._slow_until else 0.05)
        wait, self._flood = self._flood, 0.0
        if wait or self._failures:
            self._failures -= bool(self._failures and not wait)
            self._history.tell(Told(at=trio.current_time(), text=text, refused=wait or 0.001))
            raise ChannelError("out of order, by a fault", *((after(wait),) if wait else ()))
        self._history.tell(Told(at=trio.current_time(), text=text))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


@attrs.frozen
class _Config:
    """No feeds, and one notification channel."""

    route: Route
    draws: random.Random
    wall: Callable[[], int]
    feeds: Sequence[Any] = ()
    ip_budget: float = 1.0
    bans: None = None

    def notifier(self, emit: EventHook) -> Notifier:
        return Notifier([self.route], emit=emit, random=self.draws, wall=self.wall)


class Simulation:
    """One run of one plan; :func:`simulate` is the way in.

    Args:
        plan: What happens.
        watching: The invariants; None for all of them.
    """

    def __init__(self, plan: Plan, watching: Callable[[Scene], Sequence[Checker]] | None = None) -> None:
        self.plan = plan
        self._pairs = {f"feed-{n}": self._pair(n) for n in range(1, plan.feeds + 1)}
        scene = Scene(
            plan=plan,
            exchanges={name: exchange for name, (exchange, _) in self._pairs.items()},
            buffer=BUFFER,
            secret=CANARY,
        )
        self.history = History((watching or checkers)(scene))
        self.states: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        self._offset = 0
        self._alerts = Alerts(self.history)
        self._servers: dict[str, SimulatedExchange] = {}
        self._networks: dict[str, Sequence[VirtualNetwork]] = {}
        """By feed, one for each leg."""
        self._paused: dict[str, float] = {}
        self._feeds: list[Feed] = []

    async def run(self) -> None:
        """Play the plan; the first violation ends the run."""
        self._build()
        async with trio.open_nursery() as nursery:
            for server in self._servers.values():
                await nursery.start(server.run)
            route = Route(self._alerts, Style(self.plan.style))
            config = _Config(route, self._draws("alerts"), self._wall)
            manager = open_feeds(
                config,
                network=MemoryNetwork({}),  # whatever has no way of its own reaches nothing
                wall=self._wall,
                random=self._draws("feeds"),
                on_event=self._on_event,
            )
            async with manager as feeds:
                await self._live_through(feeds)
                self.digests = {name: self.history.digest(name) for name in self._pairs}
                self._phase("stop")
            self._stand()
            self._tally(feeds)
            self._phase("end")
            nursery.cancel_scope.cancel("the simulation has ended")

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _pair(self, number: int) -> tuple[Exchange, Venue]:
        plan = self.plan
        kind = plan.venues[0 if plan.shared else (number - 1) % len(plan.venues)]
        make, profile, _ = _VENUES[kind]
        life = {"max_life": plan.life} if plan.life and kind == "binance" else {}
        venue = make(**plan.switches, **life)
        profile = attrs.evolve(profile, max_lifetime=plan.life or profile.max_lifetime)
        url = f"wss://{host(number, plan.shared)}{venue.path}?token={CANARY}"
        return attrs.evolve(profile, ws_url=url), venue

    def _build(self) -> None:
        for name, (exchange, venue) in self._pairs.items():
            if exchange.host not in self._servers:
                server = SimulatedExchange(
                    venue,
                    port=None,
                    rate=self.plan.rate,
                    keep=1_000,
                    random=self._draws(exchange.host),
                    wall=self._wall,
                )
                server.ledger.hook = listening(self.history, exchange.host)
                self._servers[exchange.host] = server
            ways = [f"net/{name}", *(f"net/{name}/{leg}" for leg in range(2, self.plan.legs + 1))]
            self._networks[name] = [
                VirtualNetwork(self._servers, feed=name, random=self._draws(way), tell=self.history.tell)
                for way in ways
            ]

    async def _live_through(self, feeds: Feeds) -> None:
        for name, (exchange, _) in self._pairs.items():
            code = next(code for _, profile, code in _VENUES.values() if profile.code == exchange.code)
            overflow = Overflow(messages=BUFFER)
            ways = self._networks[name]
            self._feeds.append(
                feeds.open(exchange, trade=code, name=name, network=ways, legs=self.plan.legs, overflow=overflow)
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_at_violation, nursery.cancel_scope)
            for feed in self._feeds:
                nursery.start_soon(self._consume, feed)
            nursery.start_soon(self._look)
            self._phase("fault")
            await self._play(feeds, nursery)
            if self.plan.heal:
                self._heal()
                await self._recover()
            nursery.cancel_scope.cancel("the phases are over")

    async def _play(self, feeds: Feeds, nursery: trio.Nursery) -> None:
        began = trio.current_time()
        for step in sorted(self.plan.steps, key=lambda step: step.at):
            await trio.sleep_until(began + step.at)
            self.history.tell(
                Injected(at=trio.current_time(), target=step.target, kind=step.kind, args=dict(step.args))
            )
            self._inject(step, feeds, nursery)
        await trio.sleep_until(began + self.plan.seconds)

    def _inject(self, step: Step, feeds: Feeds, nursery: trio.Nursery) -> None:
        what, _, name = step.target.partition(":")
        match what, step.kind:
            case "feed", "reconnect":
                nursery.start_soon(feeds.reconnect, name)
            case "feed", "pause":
                self._paused[name] = trio.current_time() + step.args["seconds"]
            case "clock", "step":
                self._offset += round(step.args["by"] * 1e9)
            case _:
                target: Any = self._alerts
                if what != "alerts":
                    target = self._networks[name][0] if what == "net" else self._servers[name]
                getattr(target, step.kind)(**step.args)

    def _heal(self) -> None:
        self._phase("heal")
        for each in (*itertools.chain.from_iterable(self._networks.values()), self._alerts):
            each.heal()
        for server in self._servers.values():
            server.resume()
        self._paused.clear()

    async def _recover(self) -> None:
        """Wait until all feeds have been live for a while, or are overdue."""
        calm_since = math.inf
        limit = trio.current_time() + RECOVERY
        while trio.current_time() < limit:
            await trio.sleep(1.0)
            live = all(feed.stats.state is LinkState.LIVE for feed in self._feeds)
            calm_since = min(calm_since, trio.current_time()) if live else math.inf
            if trio.current_time() - calm_since >= CALM:
                break
        await trio.sleep(self._draws("stop").uniform(0, 10))

    async def _consume(self, feed: Feed) -> None:
        async for item in feed.batches():
            self.history.tell(Taken(at=trio.current_time(), feed=feed.name, item=item))
            while (until := self._paused.get(feed.name, 0.0)) > trio.current_time():
                with trio.move_on_at(until):
                    await trio.sleep(1.0)

    async def _look(self) -> None:
        await trio.sleep(LOOK_EVERY / 2)  # never at the moment when a phase ends
        while True:
            await trio.sleep(LOOK_EVERY)
            self._stand()

    def _stand(self) -> None:
        for feed in self._feeds:
            name, stats, ways = feed.name, feed.stats, self._networks[feed.name]
            self.history.tell(
                Standing(
                    at=trio.current_time(),
                    feed=name,
                    state=stats.state,
                    silent_for=max(way.silent_for for way in ways),
                    unread_for=max(way.unread_for for way in ways),
                    depth=stats.depth,
                    messages=stats.messages,
                    open=sum(way.open for way in ways),
                )
            )

    def _tally(self, feeds: Feeds) -> None:
        samples = {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for metric in feeds.metrics.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
        self.history.tell(Tallied(at=trio.current_time(), samples=samples))

    async def _end_at_violation(self, scope: trio.CancelScope) -> None:
        await self.history.found.wait()
        scope.cancel("an invariant does not hold")

    def _on_event(self, event: Any) -> None:
        self.history.tell(event)
        for mark in (getattr(event, "state", None), getattr(event, "reason", None)):
            if mark is not None:
                self.states[str(mark)] = self.states.get(str(mark), 0) + 1

    def _phase(self, name: str) -> None:
        self.history.tell(Phase(at=trio.current_time(), name=name))

    def _wall(self) -> int:
        return EPOCH + self._offset + round(trio.current_time() * 1e9)

    def _draws(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed}/{name}")  # noqa: S311 - repeating is the point


def simulate(plan: Plan, watching: Callable[[Scene], Sequence[Checker]] | None = None) -> Outcome:
    """Run a plan from beginning to end, outside of any running trio loop.

    An exception that leaves the application is a violation too.
    """
    began = time.process_time()
    simulation = Simulation(plan, watching)
    history = simulation.history
    virtual = [0.0]

    async def main() -> None:
        start = trio.current_time()
        try:
            await simulation.run()
        finally:
            virtual[0] = trio.current_time() - start

    try:
        determinism.run(plan.seed, main)
    except Exception as error:
        # first: whatever else does not hold follows from it
        history.violations.insert(0, Violation("I10", virtual[0], f"the application ended with {error!r}"))
    return Outcome(
        plan=plan,
        violations=tuple(history.violations),
        digest=history.digest(),
        digests=simulation.digests,
        counts=dict(history.counts),
        judged=dict(history.judged),
        states=dict(simulation.states),
        tail=tuple(history.tail),
        virtual=virtual[0],
        cpu=time.process_time() - began,
    )
