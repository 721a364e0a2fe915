"""I13 to I15, I17, I21, I23 and I25: what people, metrics and logs are told."""

import unicodedata
from collections import Counter, defaultdict
from typing import Any

from actors.chaos.history import Noted, Phase, Record, Standing, Taken, Tallied, Told, steady
from actors.chaos.invariants.base import TURN, Invariant
from actors.chaos.ledger import What
from actors.events import Connected, Disconnected, Event, Failed, FeedEvent, LegLost, Live, Notified, Reconnecting
from actors.items import Batch

CONNECTED = "웹소켓 연결 성공"
CLOSED = "웹소켓 연결 종료"
"""The guide's own words, written a second time on purpose."""


class Alerted(Invariant):
    """I13: every connect and disconnect is told at least once, or owned up to as dropped, by the end of the heal phase.

    The simulation has no spool, so nothing is asked of those under way at the stop.
    """

    name = "I13"
    hears = (Connected, Disconnected, Told, Notified, Phase)
    SLACK = 60.0

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._due: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._lost = 0
        self._last = -1e9
        self._healed = False

    def take(self, record: Any) -> str | None:
        """Count both, and compare once all is calm."""
        match record:
            case Connected():
                self._due[CONNECTED] += 1
                self._last = record.at
            case Disconnected():
                self._due[CLOSED] += 1
                self._last = record.at
            case Told(refused=0.0):
                for words in (CONNECTED, CLOSED):
                    self._told[words] += words in record.text.splitlines()[0]
                self._last = record.at
            case Notified(outcome="dropped" | "failed"):
                self._lost += record.count
            case Phase(name="heal"):
                self._healed = True
            case Phase(name="stop") if self._healed and record.at - self._last > 10.0:
                missing = self._due - self._told
                if missing.total() > self._lost:
                    return f"never told: {dict(missing)}, and {self._lost} were said to be lost"
            case _:
                pass
        return None


class Paced(Invariant):
    """I14: a channel that asks for time gets it. The pace of Telegram's own chats is its channel's affair and tests."""

    name = "I14"
    hears = (Told,)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._not_before = 0.0

    def take(self, record: Told) -> str | None:
        """What the channel asked for is the oracle."""
        early = record.at < self._not_before - TURN
        self._not_before = record.at + record.refused if record.refused >= 1 else 0.0
        return f"told at {record.at:.3f}, in the time that the channel has asked for" if early else None


class Readable(Invariant):
    """I15: a text has at most 4096 UTF-16 units and no control character but line ends."""

    name = "I15"
    hears = (Told,)

    def take(self, record: Told) -> str | None:
        """Look at every character."""
        if len(record.text.encode("utf-16-le")) // 2 > 4096:
            return "a text is too long"
        bad = [c for c in record.text if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"]
        return f"a text has a control character: {bad[0]!r}" if bad else None


class AlertsConverge(Invariant):
    """I17: what was told last of a feed that is live again is its connect, not its end."""

    name = "I17"
    hears = (Told, Connected, Disconnected, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._up: dict[str, bool] = {}
        self._said: dict[str, bool] = {}
        self._healed = False
        self._last = -1e9

    def take(self, record: Any) -> str | None:
        """Compare what is with what was said, once all is calm."""
        match record:
            case Connected() | Disconnected():
                self._up[record.origin.feed] = isinstance(record, Connected)
                self._last = record.at
            case Told(refused=0.0):
                head = record.text.splitlines()[0]
                feed = next((name for name in self._up if f"{name} (" in record.text), "")
                if CONNECTED in head or CLOSED in head:
                    self._said[feed] = CONNECTED in head
                self._last = record.at
            case Phase(name="heal"):
                self._healed = True
            case Phase(name="stop") if self._healed and record.at - self._last > 10.0:
                wrong = [feed for feed, up in self._up.items() if self._said.get(feed, not up) != up]
                return f"the last word about {wrong[0]} is not how it stands" if wrong else None
            case _:
                pass
        return None


class MetricsAgree(Invariant):
    """I21: the product's own counters agree with what it has done and what its consumers got."""

    name = "I21"
    hears = (Failed, LegLost, Disconnected, Reconnecting, Taken, Standing, Tallied)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._events: Counter[str] = Counter()
        self._got: Counter[str] = Counter()
        self._counted: dict[str, int] = defaultdict(int)

    def take(self, record: Any) -> str | None:
        """Count for ourselves, and compare at the end."""
        match record:
            case Taken(item=Batch(frames=frames)):
                self._got[record.feed] += len(frames)
            case Standing():
                if record.messages < max(self._counted[record.feed], self._got[record.feed]):
                    return f"{record.feed} counts {record.messages} messages, its consumer got {self._got[record.feed]}"
                self._counted[record.feed] = record.messages
            case Tallied():
                for what in ("errors", "disconnects", "reconnects"):
                    measured = sum(
                        n for name, n in record.samples.items() if name.startswith(f"feedwarden_{what}_total")
                    )
                    if measured != self._events[what]:
                        return f"the metric of {what} says {measured:g}, there were {self._events[what]}"
            case Failed() | LegLost() | Disconnected() | Reconnecting():
                words = {Failed: "errors", LegLost: "errors", Disconnected: "disconnects", Reconnecting: "reconnects"}
                self._events[words[type(record)]] += 1
            case _:
                pass
        return None


class LiveIsTrue(Invariant):
    """I21, of its connects: a session that the product reports was opened by the exchange, by its own ledger."""

    name = "I21"
    hears = (Noted, Connected, Live)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._opened: defaultdict[str, int] = defaultdict(int)
        self._connected: defaultdict[str, int] = defaultdict(int)

    def take(self, record: Any) -> str | None:
        """Compare by host."""
        match record:
            case Noted():
                self._opened[record.host] += record.entry.what is What.OPENED
            case Connected():
                host = record.origin.host
                self._connected[host] += 1
                if self._connected[host] > self._opened[host]:
                    return f"{self._connected[host]} sessions of {host}, it has opened {self._opened[host]}"
            case _:
                pass
        return None


class NoSecrets(Invariant):
    """I23: a secret that stands in every URL stands in nothing that is told, to a person or to a program."""

    name = "I23"
    hears = (Event, Told, Tallied)

    def take(self, record: Event | Record) -> str | None:
        """Look for it in every word; the exchanges' own ledgers may know it."""
        words = f"{record.samples}" if isinstance(record, Tallied) else steady(record)
        return f"a secret stands in {type(record).__name__}" if self.scene.secret in words else None


class FewWords(Invariant):
    """I25: a feed tells at most ten things an attempt, and of a silent market one warning an interval.

    The log itself belongs to the script; it writes at most one line for each of these events.
    """

    name = "I25"
    hears = (FeedEvent,)
    MOST = 60

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._second: dict[str, tuple[int, int]] = {}

    def take(self, record: FeedEvent) -> str | None:
        """Events of one feed within a second."""
        second, count = self._second.get(record.origin.feed, (0, 0))
        count = count + 1 if second == int(record.at) else 1
        self._second[record.origin.feed] = int(record.at), count
        return f"{record.origin.feed} has told {count} things in a second" if count > self.MOST else None
