"""I13, I17 and I25 where the channel hears incidents: few messages, but none that matters is missing."""

import re
from typing import Any

from actors.chaos.history import Phase, Standing, Told
from actors.chaos.invariants.base import Invariant
from actors.errors import Reason
from actors.events import (
    CodeRejected,
    Failed,
    LegLost,
    LinkState,
    Live,
    NoOverlap,
    Overflowed,
    Quiet,
    StateChanged,
    Unconfirmed,
)

WISHED = (Reason.REQUESTED, Reason.STOPPED)
RECOVERED = ("연결 복구", "연결 안정")
BACK = "그사이 복구:"
FLAPPING = "연결 불안정"
WIDE = "전체 장애"
"""The product's own words, written a second time on purpose."""
CALM = 600.0
"""Seconds without a change after which a feed that flaps is told of again."""
PROMPT = 150.0
"""Seconds in which an interruption that lasts is told: its wait, 30, the minute between two messages about one incident
or the first minute after the start, and a channel that is slow."""
NAMED = 10
"""The most feeds that a text names."""


class _Feeds(Invariant):
    """What both of the first two keep: since when each feed is down, and what was said of it last."""

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self.down: dict[str, float] = {}
        self.said: dict[str, str] = {}
        """``down``, ``flapping`` or ``up``."""
        self.named: dict[str, float] = {}
        """When each feed was last told of as down."""
        self.edge: dict[str, float] = {}
        self.wide = False
        """Whether a whole host's or the network's trouble was told and is not over."""

    def note(self, record: Any) -> None:
        """Keep what an event or a text says."""
        match record:
            case Failed() if record.reason not in WISHED:
                if self.down.setdefault(record.origin.feed, record.at) == record.at:
                    self.edge[record.origin.feed] = record.at
            case Live():
                if self.down.pop(record.origin.feed, None) is not None:
                    self.edge[record.origin.feed] = record.at
            case StateChanged(state=LinkState.STOPPED):
                self.down.pop(record.origin.feed, None)
            case Told(refused=0.0):
                self._read(record)
            case _:
                pass

    def _read(self, record: Told) -> None:
        head = record.text.partition("\n")[0]
        self.wide = WIDE in head or (self.wide and "복구" not in head)
        over = any(words in head for words in RECOVERED)
        back = next((line for line in record.text.splitlines() if line.startswith(BACK)), "")
        for feed in self.meant(record.text):
            well = over or re.search(rf"{feed}\b", back) is not None
            self.said[feed] = "up" if well else "flapping" if FLAPPING in head else "down"
            if not well:
                self.named[feed] = record.at

    def meant(self, text: str) -> list[str]:
        """The feeds that a text is about; of a crowd not all are named."""
        feeds = list(self.scene.exchanges)
        if "감시 종료" in text or "주의:" in text:
            return []
        return feeds if len(feeds) > NAMED else [feed for feed in feeds if re.search(rf"{feed}\b", text)]


class TroubleTold(_Feeds):
    """I13: an interruption that lasts is told, unless the feed flaps and that was told, or its whole host's was."""

    name = "I13"
    hears = (CodeRejected, Failed, Live, StateChanged, Told, Standing, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._refused = -1e9
        self._stopping = False

    def take(self, record: Any) -> str | None:
        """Look at each feed every few seconds."""
        self.note(record)
        match record:
            case Told() if record.refused:
                self._refused = record.at + record.refused
            case Phase():
                self._stopping = record.name in ("stop", "end")
            case Standing() if not self._stopping and not self.wide:
                since = self.down.get(record.feed, record.at)
                if self.said.get(record.feed) == "flapping":
                    since = max(since, self.edge[record.feed] + CALM)
                told = self.named.get(record.feed, -1.0) >= self.down.get(record.feed, 0.0)
                if record.at - max(since, self._refused) > PROMPT and not told:
                    return f"{record.feed} has been down since {self.down[record.feed]:.0f}, and nobody was told"
            case _:
                pass
        return None


class TroubleOver(_Feeds):
    """I17: whoever was told that a feed is down is told that it is well again; of a whole host, that all are."""

    name = "I17"
    hears = (Failed, Live, StateChanged, Told, Phase)
    SETTLED = 45.0
    """A change that makes it flap is told 30 s later."""

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._last = -1e9
        self._healed = False

    def take(self, record: Any) -> str | None:
        """Compare once all is calm."""
        if isinstance(record, Phase):
            self._healed = self._healed or record.name == "heal"
            if record.name == "stop" and self._healed and record.at - self._last > self.SETTLED:
                if self.wide and self.down:
                    return None
                wrong = [feed for feed, said in self.said.items() if said == "down" and feed not in self.down]
                return f"{wrong[0]} is well again, and nobody was told" if wrong else None
            return None
        if not isinstance(record, StateChanged):
            self._last = record.at
        self.note(record)
        return None


class FewAlerts(Invariant):
    """I25 for people: no more messages than the incidents are worth.

    The start, the stop, three for each interruption – opened, grown, over –, one for each concern, and the repetitions
    of what lasts, a quarter of an hour apart at the least. A message that is sent again is the same message.
    """

    name = "I25"
    hears = (Failed, LegLost, Live, NoOverlap, Overflowed, Quiet, Unconfirmed, Told)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._down: set[str] = set()
        self._most = 2
        self._marks: set[str] = set()

    def take(self, record: Any) -> str | None:
        """Count both."""
        match record:
            case Failed():
                if record.origin.feed not in self._down:
                    self._down.add(record.origin.feed)
                    self._most += 3
            case Live():
                self._down.discard(record.origin.feed)
            case Told():
                self._marks.add(record.text.rpartition("#")[2])
                allowed = self._most + record.at / 900.0 * len(self.scene.exchanges)
                if len(self._marks) > allowed:
                    return f"{len(self._marks)} messages, {allowed:.0f} are what has happened is worth"
            case _:
                self._most += 1
        return None
