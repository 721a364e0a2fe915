"""What waits for one consumer: a bounded queue, and what becomes of it beyond the bound (pure)."""

from collections import OrderedDict, deque
from collections.abc import Iterable

import attrs

from actors.errors import Reason
from actors.exchange import Kind
from actors.items import Batch, Down, Gap, Key, Overflow


@attrs.frozen
class Spill:
    """What a batch too many has led to: messages lost, and the gap for them if it is a new one."""

    lost: int = 0
    gap: Gap | None = None
    failure: str = ""
    """Why the backlog is of no more use."""


KEPT = Spill()
"""Nothing is lost: it is for others to stop reading, or to give up."""


class Backlog:
    """The oldest first, without losses: under ``block`` and ``fail`` it is left to others to keep the bound.

    What is being taken is no longer counted, so beside the bound there is at most the batch in the consumer's hand.
    """

    def __init__(self, overflow: Overflow) -> None:
        self.overflow = overflow
        self.messages = 0
        """Messages that wait."""
        self.bytes = 0
        """Their bytes (characters for text)."""
        self.behind = False
        """Whether it was told that the bound is passed, and not everything has been taken since."""
        self._items: deque[tuple[Batch | Down | Gap, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def full(self) -> bool:
        """Whether it is at its bound."""
        return self.messages >= self.overflow.messages or self.bytes >= self.overflow.bytes

    @property
    def beyond(self) -> bool:
        """Whether it is beyond its bound."""
        return self.messages > self.overflow.messages or self.bytes > self.overflow.bytes

    def add(self, item: Down | Gap) -> None:
        """Put in what is told in band; it counts for nothing."""
        self._items.append((item, 0))

    def put(self, batch: Batch, size: int) -> Spill | None:
        """Put in a batch of so many bytes; returns what follows from the bound, None while it holds."""
        self._items.append((batch, size))
        self.messages += len(batch.frames)
        self.bytes += size
        return self._spill() if self.beyond else None

    def take(self) -> Batch | Down | Gap:
        """The oldest item; IndexError if there is none."""
        item, size = self._items.popleft()
        if isinstance(item, Batch):
            self.messages -= len(item.frames)
            self.bytes -= size
            if not self.messages:
                self.behind = False
        return item

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self.messages = self.bytes = 0

    def _count_out(self, messages: int, size: int) -> None:
        self.messages -= messages
        self.bytes -= size
        if not self.messages:
            self.behind = False

    def _spill(self) -> Spill:
        return KEPT


class DropOldest(Backlog):
    """Turns the oldest messages into one gap at the front, until the rest is within the bound."""

    def _spill(self) -> Spill:
        """Drop all but the newest batch at most; a ``Down`` goes with the ``Gap`` that ends it."""
        items, dropped = self._items, list[Batch | Down | Gap]()
        first, _ = items[0]
        known = isinstance(first, Gap) and first.reason is Reason.OVERFLOW
        newest, _ = items[-1]
        assert isinstance(newest, Batch)  # noqa: S101 - it has just been put in
        lost = 0
        while self.beyond and self.messages > len(newest.frames):
            item, size = items.popleft()
            if isinstance(item, Batch):
                lost += len(item.frames)
                self._count_out(len(item.frames), size)
            dropped.append(item)
        if not lost:
            items.extendleft((item, 0) for item in reversed(dropped))
            return KEPT
        while not isinstance(kept := items[0][0], Batch):
            dropped.append(kept)
            items.popleft()
        gap, lasting = _folded(None, dropped)
        assert gap is not None  # noqa: S101 - a batch is lost
        gap = attrs.evolve(gap, until=kept.received, seconds=kept.at - gap.started)
        items.extendleft((item, 0) for item in (*reversed(lasting), gap))
        return Spill(lost, None if known else gap)


class Conflate(Backlog):
    """Once beyond the bound, and until everything has been taken, keeps the newest message of each key.

    What is lost is one gap before all that is kept. Interruptions that end meanwhile are part of it. Were there more
    keys than the bound has room for, those that were longest without news are lost as well.
    """

    def __init__(self, overflow: Overflow, key: Key) -> None:
        super().__init__(overflow)
        self._key = key
        self._gap: Gap | None = None
        # in conflation: the gap, then these with the empty batch that tells of each, then the items (no batch in them)
        self._newest: OrderedDict[object, tuple[str | bytes, Batch]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._items or self._newest)

    def put(self, batch: Batch, size: int) -> Spill | None:
        """Put in a batch of so many bytes; returns what it makes superfluous, None while all is kept."""
        if not self._newest:
            return super().put(batch, size)
        self.messages += len(batch.frames)
        self.bytes += size
        return self._conflated([batch])

    def take(self) -> Batch | Down | Gap:
        """The oldest item; IndexError if there is none."""
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return gap
        if not self._newest:
            return super().take()
        _, (frame, head) = self._newest.popitem(last=False)
        frames = [frame]
        while self._newest and (oldest := self._newest[next(iter(self._newest))])[1] is head:
            frames.append(oldest[0])
            self._newest.popitem(last=False)
        self._count_out(len(frames), sum(map(len, frames)))
        return attrs.evolve(head, frames=frames)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._newest.clear()
        self._gap = None

    def _spill(self) -> Spill:
        items = [item for item, _ in self._items]
        self._items.clear()
        return self._conflated(items) or KEPT

    def _conflated(self, items: list[Batch | Down | Gap]) -> Spill | None:
        try:
            return self._conflate(items)
        except Exception as error:  # whatever the key raises, which is a function of the user's
            return Spill(failure=f"the key of its policy conflate failed: {error!r}")

    def _conflate(self, items: list[Batch | Down | Gap]) -> Spill | None:
        known = self._gap is not None and self._gap.reason is Reason.OVERFLOW
        lost: list[Batch] = []
        for item in items:
            if isinstance(item, Batch):
                self._gap, lasting = _folded(self._gap, [told for told, _ in self._items])
                self._items = deque((down, 0) for down in lasting)
                lost += self._keep_newest(item)
            else:
                self.add(item)
        while self.beyond and len(self._newest) > 1:
            _, (frame, head) = self._newest.popitem(last=False)
            self._count_out(1, len(frame))
            lost.append(head)
        if not lost:
            return None
        for each in (min(lost, key=_at), max(lost, key=_at)):
            self._gap = _covering(self._gap, each)
        assert self._gap is not None  # noqa: S101 - something is lost
        self._gap = attrs.evolve(self._gap, lost=(self._gap.lost or 0) + len(lost))
        return Spill(len(lost), None if known else self._gap)

    def _keep_newest(self, batch: Batch) -> list[Batch]:
        """Take in a batch; returns for each message that it makes superfluous the empty batch it came in."""
        head = attrs.evolve(batch, frames=())
        lost: list[Batch] = []
        for frame in batch.frames:
            # what is no data (control=True) says nothing about a key
            key = self._key(frame) if batch.kind is Kind.DATA else batch.kind
            old = self._newest.pop(key, None)
            self._newest[key] = frame, head
            if old is not None:
                self._count_out(1, len(old[0]))
                lost.append(old[1])
        return lost


def backlog(overflow: Overflow, key: Key) -> Backlog:
    """The backlog for a policy; ``key`` is what ``conflate`` goes by if the policy names nothing else."""
    if overflow.policy == "drop_oldest":
        return DropOldest(overflow)
    if overflow.policy == "conflate":
        return Conflate(overflow, overflow.key or key)
    return Backlog(overflow)


def _folded(gap: Gap | None, items: Iterable[Batch | Down | Gap]) -> tuple[Gap | None, list[Down]]:
    """A gap in the place of a first one and these items, and the interruptions that last beyond them."""
    lasting: list[Down] = []
    for item in items:
        if isinstance(item, Down):
            lasting.append(item)
        else:
            if isinstance(item, Gap):
                lasting = [down for down in lasting if down.codes != item.codes]
            gap = _covering(gap, item)
    return gap, lasting


def _covering(gap: Gap | None, item: Batch | Gap) -> Gap:
    """The gap that covers this one, if there is one, and a batch that is lost, or a further gap."""
    if isinstance(item, Batch):
        item = Gap(Reason.OVERFLOW, item.received, item.received, 0.0, True, len(item.frames), item.at)
    if gap is None:
        return item
    started = min(gap.started, item.started)
    return Gap(
        Reason.OVERFLOW if Reason.OVERFLOW in (gap.reason, item.reason) else gap.reason,
        min(gap.since, item.since),
        max(gap.until, item.until),
        max(gap.started + gap.seconds, item.started + item.seconds) - started,
        gap.certain or item.certain,
        None if gap.lost is None and item.lost is None else (gap.lost or 0) + (item.lost or 0),
        started,
        gap.codes if gap.codes == item.codes else (),
    )


def _at(batch: Batch) -> float:
    return batch.at
