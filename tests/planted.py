"""Bugs planted into the product, one for each invariant: what a checker is worth is shown by what it catches."""

# pyright: reportPrivateUsage=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false

import functools
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from actors.backlog import KEPT, DropOldest
from actors.backoff import ReconnectStrategy
from actors.connector import Connector
from actors.errors import Reason
from actors.events import LinkState, RestartScheduled
from actors.feed import Feed
from actors.items import Gap
from actors.line import Line
from actors.metrics import Metrics
from actors.notifier import notifier
from actors.notifier.courier import Courier
from actors.notifier.folding import Folding
from actors.pinging import Pinging
from actors.telling import Telling
from actors.transport import Gate, Turn, websocket
from supervisors import supervisor as supervising
from supervisors.feeds import Feeds
from supervisors.intensity import Window
from supervisors.restart import Judge
from supervisors.simulation import Simulation
from supervisors.sockets import Sockets

Plant = Callable[[pytest.MonkeyPatch], None]


def around(where: Any, name: str, wrap: Callable[..., Any]) -> Plant:
    """A bug that stands before a method: ``wrap(original, *arguments)``."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        original = getattr(where, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return wrap(original, *args, **kwargs)

        monkeypatch.setattr(where, name, wrapped)

    return plant


async def _leak(_original: Any, _stream: Any) -> None:
    await trio.lowlevel.checkpoint()


def _no_gap(_original: Any, self: Line, wall: int, now: float) -> None:
    del wall, now
    self._interruption = None


def _gap_behind(original: Any, self: Feed, frames: Any, **more: Any) -> None:
    waiting, self._interruption = self._interruption, None
    original(self, frames, **more)
    if waiting is not None:
        self.put(Gap(waiting.reason, waiting.since, more["wall"], 1.0))


def _says_cancelled(original: Any, self: Telling, reason: Reason, detail: str) -> None:
    original(self, reason, "Cancelled()" if reason is Reason.PING_TIMEOUT else detail)


def _twice(original: Any, self: Metrics, exchange: str, reason: Reason) -> None:
    original(self, exchange, reason)
    original(self, exchange, reason)


def _straight_to_live(original: Any, self: Feed, state: LinkState) -> None:
    original(self, state)
    if state is LinkState.CONNECTING:
        self.stats.state = LinkState.CONNECTED
        original(self, LinkState.LIVE)
        self.stats.state = LinkState.CONNECTING


def _with_secret(original: Any, self: Telling, reason: Reason, detail: str) -> None:
    original(self, reason, f"{detail} {self.feed.exchange.ws_url}")


def _chatter(original: Any, self: Telling, reason: Reason, detail: str) -> None:
    original(self, reason, detail)
    for _ in range(100):
        self.noticed("still down")


async def _no_gate(_original: Any, self: Turn) -> None:
    del self
    await trio.lowlevel.checkpoint()


def _dice(_original: Any, self: Feeds, name: str) -> random.Random:
    del self, name
    return random.SystemRandom()


def _one_for_all(_original: Any, self: Feeds, name: str) -> random.Random:
    del name
    return self.__dict__.setdefault("_shared", random.Random(1))


def _by_the_wall(original: Any, self: ReconnectStrategy, random: Any = None) -> float | None:
    delay = original(self, random)
    # a step of the wall clock is felt through whatever reads it
    return delay if delay is None else delay + (STEPPED[-1]._offset != 0) * 0.5


STEPPED: list[Simulation] = []


def _keep_simulation(original: Any, self: Simulation, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    STEPPED.append(self)


def _both(*plants: Plant) -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        for each in plants:
            each(monkeypatch)

    return plant


def _reversed_root(original: Any, self: Any, name: str, children: Any = (), **more: Any) -> None:
    original(self, name, list(reversed(list(children))), **more)


async def _hang(original: Any, self: Any) -> bool:
    if self._ending:
        with trio.CancelScope(shield=True):
            await trio.sleep(15)
    return await original(self)


def _forgets(original: Any, self: Any, queued: Any) -> None:
    if "번째 연결" not in queued.letter.text:
        original(self, queued)


def _last_word_first(original: Any, self: Any, queued: Any) -> None:
    original(self, queued)
    head, feed, *_ = queued.letter.text.splitlines()
    if "연결 종료" in head:
        CLOSED[feed] = queued
    elif "연결 성공" in head and feed in CLOSED:
        original(self, CLOSED[feed])


CLOSED: dict[str, Any] = {}


def _told_wrong(original: Any, self: Sockets, event: Any) -> None:
    original(self, attrs.evolve(event, delay=event.delay * 2) if isinstance(event, RestartScheduled) else event)


def _asks_no_time(original: Any, self: Judge, child: Any, least: float = 0.0, way: Any = None) -> Any:
    del least, way
    return original(self, child)


async def _never_looks(_original: Any, self: Connector) -> None:
    del self
    await trio.sleep_forever()


def _bell(original: Any, *args: Any) -> str:
    return f"{original(*args)}\a"


async def _impatient(original: Any, self: Any, error: Any) -> bool:
    del original, self, error
    await trio.sleep(0.1)
    return True


async def _no_ping(_original: Any, self: Pinging, rule: Any) -> None:
    del self, rule
    await trio.lowlevel.checkpoint()


def _ends_itself(original: Any, self: Telling, reason: Reason) -> None:
    original(self, reason)
    if reason is Reason.EOF:
        for each in STEPPED[-1]._feeds[:1]:
            supervisor = OPENED[each.name].supervisor
            supervisor.stop()


OPENED: dict[str, Any] = {}


def _remember(original: Any, self: Feeds, feed: Feed, network: Any) -> None:
    original(self, feed, network)
    OPENED.update(self._opened)


def _forever(original: Any, self: ReconnectStrategy, random: Any = None) -> float | None:
    delay = original(self, random)
    return 100_000.0 if self.attempts >= 2 else delay


async def _leaks_at_the_stop(original: Any, stream: Any) -> None:
    if STEPPED[-1].digests:  # every feed has been told to stop
        await trio.lowlevel.checkpoint()
    else:
        await original(stream)


def _never_over(original: Any, self: Any, queued: Any) -> None:
    if "연결 복구" not in queued.letter.text:
        original(self, queued)


def _nags(original: Any, self: Folding, fold: Any) -> None:
    original(self, fold)
    fold.due = min(fold.due, trio.current_time() + 5)


BUGS: dict[str, Plant] = {
    "I1": around(websocket.trio, "aclose_forcefully", _leak),
    "I2": around(Sockets, "decided", _told_wrong),
    "I3": _both(around(Gate, "close", lambda original, *args: None), around(Judge, "_retry", _asks_no_time)),
    "I4": _both(around(Connector, "health_check", _never_looks), around(Pinging, "keep", _no_ping)),
    "I5": around(Line, "_resume", _no_gap),
    "I6": around(Feed, "push", _gap_behind),
    "I7": around(DropOldest, "_spill", lambda original, *args: KEPT),
    "I8": around(Feeds, "_split", _one_for_all),
    "I9": around(Telling, "failed", _says_cancelled),
    "I10": _both(
        around(Simulation, "__init__", _keep_simulation),
        around(Feeds, "_keep", _remember),
        around(Telling, "ended", _ends_itself),
    ),
    "I11": around(Window, "crash", lambda original, *args: False),
    "I12": around(supervising.Supervisor, "__init__", _reversed_root),
    "I13": around(Courier, "take", _forgets),
    "I13/incidents": around(Courier, "take", lambda original, *args: None),
    "I14": around(Courier, "_wait", _impatient),
    "I15": around(notifier, "render", _bell),
    "I16": around(ReconnectStrategy, "next_delay", _forever),
    "I17": around(Courier, "take", _last_word_first),
    "I17/incidents": around(Courier, "take", _never_over),
    "I18": around(Courier, "_next", _hang),
    "I19": _both(
        around(Simulation, "__init__", _keep_simulation),
        around(websocket.trio, "aclose_forcefully", _leaks_at_the_stop),
    ),
    "I20": _both(
        around(Simulation, "__init__", _keep_simulation), around(ReconnectStrategy, "next_delay", _by_the_wall)
    ),
    "I21": around(Metrics, "record_error", _twice),
    "I22": around(Feed, "set_state", _straight_to_live),
    "I23": around(Telling, "failed", _with_secret),
    "I24": around(Turn, "come", _no_gate),
    "I25": around(Telling, "failed", _chatter),
    "I25/incidents": around(Folding, "_schedule", _nags),
    "I26": around(Feeds, "_split", _dice),
}
"""By the invariant that must catch it, and the style of the channel where it is not the guide's."""
