"""I1 to I7, I19 and I24: sockets, dials, silences, losses and buffers."""

from collections import defaultdict, deque
from typing import Any

from actors.chaos.history import Dialled, Hung, Injected, Noted, Phase, Standing, Taken
from actors.chaos.invariants.base import TURN, Invariant
from actors.chaos.ledger import Role, What
from actors.errors import Reason
from actors.events import ChildExited, ChildStarted, Connected, Failed, LinkState, Reconnecting, RestartScheduled
from actors.items import Batch, Down, Gap


class FewSockets(Invariant):
    """I1: a feed has at most one open connection a leg, and one more for each that is renewed, which is soon over.

    How soon is judged before the first fault and after the heal only: a successor that no fault keeps from delivering.
    """

    name = "I1"
    hears = (Dialled, Hung, Injected, Phase, Standing)
    OVERLAP = 60.0

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._open: defaultdict[str, set[int]] = defaultdict(set)
        self._since: dict[str, float] = {}
        """When each feed came to have more than its legs."""
        self._calm: float | None = 0.0
        """Since when no fault is in the way."""
        # those whose time has come are renewed one at a time, and all at once where the exchange announces their end
        self._more = scene.plan.legs if scene.plan.retires else 1

    def take(self, record: Any) -> str | None:
        """Count what the network has opened and closed."""
        match record:
            case Injected():
                self._calm = None
            case Phase(name="heal"):
                self._calm = record.at
            case Dialled() if record.connection:
                self._open[record.feed].add(record.connection)
                return self._judge(record.feed, record.at)
            case Hung():
                self._open[record.feed].discard(record.connection)
                return self._judge(record.feed, record.at)
            case Standing():
                return self._judge(record.feed, record.at)
            case _:
                pass
        return None

    def _judge(self, feed: str, at: float) -> str | None:
        number, legs = len(self._open[feed]), self.scene.plan.legs
        if number <= legs:
            self._since.pop(feed, None)
        elif number > legs + (self._more if self.scene.exchanges[feed].max_lifetime else 0):
            return f"{feed} has {number} connections open"
        elif self._calm is not None and at - max(self._since.setdefault(feed, at), self._calm) > self.OVERLAP:
            return f"{feed} has had {number} connections open for more than {self.OVERLAP:g} s"
        return None


class ComesBack(Invariant):
    """I2: what was scheduled is started when it is due, within a second – unless another leg has its place."""

    name = "I2"
    hears = (RestartScheduled, ChildStarted, ChildExited, Standing, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._due: dict[tuple[str, str], float] = {}
        self._running: defaultdict[str, set[str]] = defaultdict(set)
        self._stopping = False

    def take(self, record: Any) -> str | None:
        """Keep the due times, and look at them when nobody moves."""
        match record:
            case Phase():
                self._stopping = record.name in ("stop", "end")
            case RestartScheduled():
                self._due[record.supervisor, record.child] = record.at + record.delay
            case ChildStarted():
                self._due.pop((record.supervisor, record.child), None)
                self._running[record.supervisor].add(record.child)
            case ChildExited():
                self._running[record.supervisor].discard(record.child)
            case Standing() if not self._stopping:
                for key, due in self._due.items():
                    if record.at > due + 1.0 and not self._replaced(*key, record.at):
                        return f"{key} was due at {due:.3f} and has not been started"
            case _:
                pass
        return None

    def _replaced(self, supervisor: str, child: str, at: float) -> bool:
        """Whether another leg runs or is to: one that is given up for good is not told of."""
        others = [due for (of, name), due in self._due.items() if of == supervisor and name != child]
        return supervisor in self.scene.exchanges and bool(self._running[supervisor] or max(others, default=0.0) > at)


class NotTooEarly(Invariant):
    """I3: no attempt comes before its backoff has passed, nor a dial to a host before the time it has asked for."""

    name = "I3"
    hears = (RestartScheduled, ChildStarted, Dialled, Injected, Failed, Noted)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._due: dict[tuple[str, str], float] = {}
        self._asked: dict[str, float] = {}
        self._shut: dict[str, float] = {}

    def take(self, record: Any) -> str | None:
        """What the plan has told the exchange to ask for is the oracle, not what the product read."""
        match record:
            case RestartScheduled() if record.supervisor in self.scene.exchanges:
                self._due[record.supervisor, record.child] = record.at + record.delay
            case ChildStarted():
                due = self._due.pop((record.supervisor, record.child), 0.0)
                if record.at < due - TURN:
                    return f"{record.supervisor} started its {record.child} at {record.at:.3f}, before {due:.3f}"
            case Injected(kind="reject"):
                self._asked[record.target.partition(":")[2]] = float(record.args.get("retry_after") or 0)
            case Failed(connected=False, reason=Reason.HTTP_429 | Reason.HTTP_BANNED):
                host = record.origin.host
                self._shut[host] = max(self._shut.get(host, 0.0), record.at + self._asked.get(host, 0.0))
            case Dialled(connection=0):
                if record.at < (earliest := self._shut.get(record.host, 0.0)) - TURN:
                    return f"{record.feed} dialled at {record.at:.3f}, before {earliest:.3f}"
            case _:
                pass
        return None


class DeadLinks(Invariant):
    """I4: a silent link is noticed within the exchange's bound, and no link that is alive is called dead."""

    name = "I4"
    hears = (Standing, Failed, Injected, Taken)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._fresh: dict[tuple[str, int], float] = {}
        self._disturbed = -1e9
        self._pauses: dict[str, float] = {}

    def take(self, record: Any) -> str | None:
        """Silence is measured at the network, life at the consumer."""
        match record:
            case Injected():
                until = record.at + float(record.args.get("seconds", 86_400.0))
                self._disturbed = max(self._disturbed, until)
                if record.kind == "pause":
                    self._pauses[record.target.partition(":")[2]] = until
            case Taken(item=Batch() as batch) if record.at > self._pauses.get(record.feed, -1e9) + 1.0:
                # what a pause has held back says nothing of the link, and one link nothing of another
                self._fresh[record.feed, batch.session] = record.at
            case Standing(state=LinkState.CONNECTED | LinkState.LIVE):
                exchange = self.scene.exchanges[record.feed]
                bound = exchange.link_timeout + exchange.close_timeout + 11.0
                if record.silent_for > bound:
                    return f"{record.feed} has heard nothing for {record.silent_for:.1f} s and keeps the link"
            case Failed(reason=Reason.PING_TIMEOUT | Reason.LINK_TIMEOUT | Reason.MESSAGE_TIMEOUT):
                feed, exchange = record.origin.feed, self.scene.exchanges[record.origin.feed]
                age = record.at - self._fresh.get((feed, record.session), -1e9)
                least = {Reason.LINK_TIMEOUT: exchange.link_timeout, Reason.MESSAGE_TIMEOUT: exchange.message_timeout}
                if record.at > self._disturbed + 200 or age < least.get(record.reason, 0.0) - 1:
                    return f"{feed}: {record.reason.value}, but the link was alive ({age:.1f} s ago)"
            case _:
                pass
        return None


class NothingLost(Invariant):
    """I5: every message is delivered once a session or lies behind a gap, and every gap has a cause.

    A message is known by its bytes, which the ledger numbers. Where a number is missing between two messages that the
    consumer took one after the other, a gap must stand between them – unless it was the exchange that kept it back on a
    link that held, which nobody can see from here.
    """

    name = "I5"
    hears = (Noted, Taken, Dialled, Hung, Connected)
    KEPT = 4_000
    RECENT = 8
    """Closed connections of a feed of which any may have kept back what is missing, as those may that are open."""

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._numbers: defaultdict[str, dict[str | bytes, int]] = defaultdict(dict)
        self._early: dict[tuple[str, str | bytes], dict[str, int]] = {}
        """Frames that nobody knows the number of, and who has taken them in which session."""
        self._last: dict[str, tuple[int, int]] = {}
        self._gap: dict[str, bool] = {}
        self._down: dict[str, bool] = {}
        self._open: defaultdict[str, list[int]] = defaultdict(list)
        self._closed: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=self.RECENT))
        self._connection: dict[tuple[str, int], int] = {}
        self._kept_back: defaultdict[tuple[str, int], deque[int]] = defaultdict(lambda: deque(maxlen=self.KEPT))

    def take(self, record: Any) -> str | None:
        """Remember what was produced; compare what was taken with it."""
        match record:
            case Noted():
                self._note(record)
            case Taken():
                return self._item(record)
            case Dialled() if record.connection:
                self._open[record.feed].append(record.connection)
            case Hung():
                self._open[record.feed].remove(record.connection)
                self._closed[record.feed].append(record.connection)
            case Connected():
                feed = record.origin.feed
                self._connection[feed, record.session] = self._open[feed][-1]
            case _:
                pass
        return None

    def _note(self, record: Noted) -> None:
        entry = record.entry
        if entry.role is Role.DATA and entry.number:
            if entry.what is What.LOST:
                self._kept_back[record.host, entry.connection].append(entry.number)
            known = self._numbers[record.host]
            known[entry.data] = entry.number
            if len(known) > self.KEPT:
                del known[next(iter(known))]
            # what goes out piece by piece may be there before its sender knows that it is
            for feed, session in self._early.pop((record.host, entry.data), {}).items():
                self._last[feed] = session, entry.number

    def _item(self, record: Taken) -> str | None:
        match record.item:
            case Gap():
                late = record.item.reason is Reason.SEQ_GAP and record.feed in self.scene.overlapping
                if not self._down.get(record.feed) and record.item.reason is not Reason.OVERFLOW and not late:
                    return f"{record.feed}: a gap without an interruption"
                self._gap[record.feed], self._down[record.feed] = True, False
            case Down():
                self._down[record.feed] = True
            case Batch():
                return self._batch(record.feed, record.item)
        return None

    def _batch(self, feed: str, batch: Batch) -> str | None:
        host = self.scene.exchanges[feed].host
        known = self._numbers[host]
        for frame in batch.frames:
            if (number := known.get(frame)) is None:  # a snapshot, or taken before the ledger has it
                self._early[host, frame] = {**self._early.get((host, frame), {}), feed: batch.session}
                if len(self._early) > self.KEPT:
                    del self._early[next(iter(self._early))]
                continue
            session, last = self._last.get(feed, (batch.session, number - 1))
            gap = self._gap.pop(feed, False)
            self._last[feed] = batch.session, number
            if number <= last and (session == batch.session or feed in self.scene.overlapping):
                return f"{feed}: number {number} after {last} in session {session}"
            if number > last + 1 and not gap and not self._was_kept_back(feed, batch.session, range(last + 1, number)):
                return f"{feed}: {number - last - 1} messages are missing before number {number}, and no gap says so"
        return None

    def _was_kept_back(self, feed: str, session: int, numbers: range) -> bool:
        host = self.scene.exchanges[feed].host
        several = feed in self.scene.overlapping
        connections = [*self._open[feed], *self._closed[feed]] if several else [self._connection[feed, session]]
        return set(numbers) <= {number for each in connections for number in self._kept_back[host, each]}


class InOrder(Invariant):
    """I6: a consumer gets ``Down`` once, its ``Gap`` before the first message after it, and sessions in order.

    Two sockets are heard in turn, so of them it is the messages that are in order (I5).
    """

    name = "I6"
    hears = (Taken,)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._down: dict[str, bool] = {}
        self._session: dict[str, int] = {}

    def take(self, record: Taken) -> str | None:
        """The grammar of what is yielded."""
        feed, item = record.feed, record.item
        down = self._down.get(feed, False)
        self._down[feed] = isinstance(item, Down)
        match item:
            case Down() if down:
                return f"{feed}: down twice"
            case Batch() if down:
                return f"{feed}: a message after a Down, without a Gap"
            case Batch() if item.session < self._session.get(feed, 0) and feed not in self.scene.overlapping:
                return f"{feed}: session {item.session} after {self._session[feed]}"
            case Batch():
                self._session[feed] = item.session
            case _:
                pass
        return None


class Bounded(Invariant):
    """I7: a feed's buffer keeps its bound, and its consumer, however slow, delays the reader by a second at most.

    A way out that takes no bytes is another matter: whoever has to answer a ping waits there.
    """

    name = "I7"
    hears = (Standing, Injected)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._narrow: dict[str, float] = {}

    def take(self, record: Standing | Injected) -> str | None:
        """Look at buffer and socket."""
        if isinstance(record, Injected):
            if record.args.get("towards") in ("both", "out"):
                target, until = record.target.partition(":")[2], record.at + record.args["seconds"]
                self._narrow[target] = max(self._narrow.get(target, -1e9), until)
            return None
        if record.depth > self.scene.buffer:
            return f"{record.feed} keeps {record.depth} messages, its bound is {self.scene.buffer}"
        narrow = record.at < self._narrow.get(record.feed, -1e9) + 1.0
        if record.unread_for > 1.0 and not narrow and record.state in (LinkState.CONNECTED, LinkState.LIVE):
            return f"{record.feed} has left bytes unread for {record.unread_for:.1f} s"
        return None


class NoLeak(Invariant):
    """I19: once all has stopped no connection is open. Tasks cannot outlive the run, and descriptors there are none."""

    name = "I19"
    hears = (Standing, Phase)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._stopping = False

    def take(self, record: Standing | Phase) -> str | None:
        """The look after the stop."""
        if isinstance(record, Phase):
            self._stopping = record.name == "stop"
            return None
        # the one look between "stop" and "end" is made when everything has stopped
        return f"{record.feed} has left {record.open} connections open" if self._stopping and record.open else None


class Gated(Invariant):
    """I24: in no window are more dials made to a host than its gate allows."""

    name = "I24"
    hears = (Dialled,)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._dials: defaultdict[str, deque[float]] = defaultdict(deque)
        self._limits = {exchange.host: exchange.limits for exchange in scene.exchanges.values()}

    def take(self, record: Dialled) -> str | None:
        """Count dials, by the network."""
        if record.connection:
            return None
        limits, dials = self._limits[record.host], self._dials[record.host]
        dials.append(record.at)
        rates = [(limits.gate.count, limits.gate.seconds)]
        if limits.connects is not None:
            rates.append((max(1, limits.connects.count // 2), limits.connects.seconds))
        while dials[0] < record.at - max(seconds for _, seconds in rates):
            dials.popleft()
        for count, seconds in rates:
            recent = sum(at > record.at - seconds + TURN for at in dials)
            if recent > count:
                return f"{recent} dials to {record.host} in {seconds:g} s, the gate allows {count}"
        return None


class OnTime(Invariant):
    """I2 for people: a published next attempt is the one that is made (``Reconnecting`` and the schedule agree)."""

    name = "I2"
    hears = (Reconnecting, RestartScheduled)

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self._scheduled: dict[str, float] = {}

    def take(self, record: Any) -> str | None:
        """Compare the two events."""
        if isinstance(record, RestartScheduled):
            name = record.child if record.supervisor == "feeds" else record.supervisor
            self._scheduled[name] = record.delay
            return None
        feed = record.origin.feed
        told = self._scheduled.get(feed)
        return None if told == record.delay else f"{feed}: told {record.delay}, scheduled {told}"
