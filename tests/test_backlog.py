"""What waits for a consumer: the bound is kept, and what is lost is told to the message."""

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backlog import Backlog, Conflate, DropOldest, backlog
from actors.errors import Reason
from actors.exchange import Kind
from actors.exchanges import UPBIT
from actors.items import BLOCK, FAIL, Batch, Down, Gap, Overflow


def by_letter(frame: str | bytes) -> str:
    return str(frame)[:1]


class Filled:
    """A backlog whose batches come a second apart, with what it has told."""

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.now = 0
        self.lost = 0
        self.gaps: list[Gap] = []

    def put(self, *frames: str, kind: Kind = Kind.DATA) -> None:
        self.now += 1
        spill = self.backlog.put(Batch(self.now, frames, 1, kind, float(self.now)), sum(map(len, frames)))
        if spill is not None:
            self.lost += spill.lost
            self.gaps += [spill.gap] if spill.gap is not None else []

    def down(self, *codes: str) -> None:
        self.backlog.add(Down(Reason.EOF, self.now, codes=codes))

    def gap(self, *codes: str) -> None:
        self.backlog.add(Gap(Reason.EOF, self.now, self.now + 1, 1.0, started=float(self.now), codes=codes))

    def take(self) -> list[str | Gap | Down]:
        found: list[str | Gap | Down] = []
        while self.backlog:
            item = self.backlog.take()
            found += map(str, item.frames) if isinstance(item, Batch) else [item]
        return found


def conflating(messages: int = 3, size: int = 1 << 20) -> Filled:
    return Filled(Conflate(Overflow("conflate", messages, size), by_letter))


def dropping(messages: int = 3) -> Filled:
    return Filled(DropOldest(Overflow("drop_oldest", messages)))


def test_conflation_begins_at_the_bound_and_ends_when_all_is_taken() -> None:
    """Below the bound everything is kept; beyond it the newest of each key, behind one gap with the exact number."""
    filled = conflating()
    filled.put("a1", "a2", "b1")
    assert not filled.lost
    filled.put("a3")
    filled.put("b2", "a4")
    assert filled.take() == [Gap(Reason.OVERFLOW, 1, 2, 1.0, True, 4), "b2", "a4"]
    assert filled.lost == 4
    assert [gap.lost for gap in filled.gaps] == [2]
    filled.put("a5", "a6")
    assert filled.take() == ["a5", "a6"]


def test_a_loss_after_the_gap_was_taken_is_a_gap_of_its_own() -> None:
    """What is conflated while the consumer has begun to catch up lies in a second gap."""
    filled = conflating()
    filled.put("a1", "a2", "b1")
    filled.put("c1")
    first = filled.backlog.take()
    assert first == Gap(Reason.OVERFLOW, 1, 1, 0.0, True, 1)
    filled.put("c2")
    second, *rest = filled.take()
    assert second == Gap(Reason.OVERFLOW, 2, 2, 0.0, True, 1)
    assert rest == ["a2", "b1", "c2"]
    assert len(filled.gaps) == 2


def test_more_keys_than_the_bound_has_room_for() -> None:
    """The keys that were longest without news go; bytes count as well as messages, and something is always kept."""
    filled = conflating(messages=2)
    filled.put("a1", "b1")
    filled.put("c1", "a2")
    gap, *rest = filled.take()
    assert isinstance(gap, Gap)
    assert (gap.lost, rest) == (2, ["c1", "a2"])
    heavy = conflating(size=10)
    heavy.put("aaaa", "bbbb")
    heavy.put("c" * 20)
    gap, *rest = heavy.take()
    assert isinstance(gap, Gap)
    assert (gap.lost, rest) == (2, ["c" * 20])


def test_what_was_received_together_is_taken_together() -> None:
    """Also when conflated, messages of one read are one batch."""
    filled = conflating()
    filled.put("a1", "b1")
    filled.put("c1", "a2", "d1")
    filled.backlog.take()
    batch = filled.backlog.take()
    assert isinstance(batch, Batch)
    assert (batch.received, list(batch.frames)) == (2, ["c1", "a2", "d1"])
    assert not filled.backlog.messages
    assert not filled.backlog.bytes


def test_what_is_no_data_is_conflated_by_its_kind() -> None:
    """Acks and heartbeats, where they are delivered, have no key; they neither pile up nor hide data."""
    filled = conflating()
    filled.put("a1", "b1")
    for _ in range(10):
        filled.put("pong", kind=Kind.HEARTBEAT)
    gap, *rest = filled.take()
    assert isinstance(gap, Gap)
    assert (gap.lost, rest) == (9, ["a1", "b1", "pong"])


@pytest.mark.parametrize("make", [conflating, dropping])
def test_an_interruption_that_is_over_is_part_of_the_gap(make: Callable[[], Filled]) -> None:
    """Beyond the bound it is folded into the one gap, which covers both; one that lasts stays told."""
    filled = make()
    filled.put("a1", "a2")
    filled.down("X")
    filled.down("Y")
    filled.gap("X")
    filled.now += 1
    for number in range(3, 9):
        filled.put(f"a{number}")
    items = filled.take()
    gap = items[0]
    assert isinstance(gap, Gap)
    assert (gap.reason, gap.since, gap.certain, gap.lost) == (Reason.OVERFLOW, 1, True, filled.lost)
    assert gap.until >= 2
    assert [item.codes for item in items if isinstance(item, Down)] == [("Y",)]
    assert [item for item in items if isinstance(item, str)][-1] == "a8"


def test_a_later_interruption_of_a_slow_consumer_keeps_its_reason() -> None:
    """In conflation an interruption without a loss of ours is its own gap, certain of nothing."""
    filled = conflating(messages=4)
    filled.put("a1", "b1", "c1", "d1")
    filled.put("a2")
    assert isinstance(filled.backlog.take(), Gap)
    assert isinstance(filled.backlog.take(), Batch)
    filled.down()
    filled.gap()
    filled.put("e1")
    assert filled.take() == [Gap(Reason.EOF, 2, 3, 1.0), "a2", "e1"]


def test_one_batch_beyond_the_bound_loses_nothing() -> None:
    """A batch that alone is more than the bound is kept whole, and an interruption before it stays what it is."""
    filled = dropping(messages=1)
    filled.down()
    filled.gap()
    filled.put("a", "b")
    down, gap, *rest = filled.take()
    assert isinstance(down, Down)
    assert isinstance(gap, Gap)
    assert (gap.reason, gap.certain, rest, filled.gaps) == (Reason.EOF, False, ["a", "b"], [])


def test_every_policy_has_its_backlog() -> None:
    """``block`` and ``fail`` lose nothing; ``conflate`` goes by channel and code unless told otherwise."""
    for policy in (BLOCK, FAIL):
        filled = Filled(backlog(policy, by_letter))
        filled.put(*(str(number) for number in range(100)))
        assert len(filled.take()) == 100
    for key, kept in ((None, ["a2", "b1"]), (len, ["b1"])):
        filled = Filled(backlog(Overflow("conflate", 2, key=key), by_letter))
        filled.put("a1", "a2", "b1")
        assert filled.take()[1:] == kept
    assert isinstance(backlog(Overflow(), UPBIT.describe), DropOldest)


STEPS = st.lists(
    st.one_of(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4), st.sampled_from(["down", "take", "drain"])),
    max_size=50,
)


@given(STEPS, st.integers(1, 6), st.booleans())
def test_nothing_is_lost_that_is_not_told(steps: list[list[str] | str], bound: int, conflate: bool) -> None:
    """In whatever order things come: the bound holds, and each message is taken, or one of those that a gap counts.

    Each key's messages stay in order, what is lost lies within the gap taken before what follows it, and under
    conflation the newest of each key arrives unless there are more keys than room.
    """
    filled = conflating(bound) if conflate else dropping(bound)
    numbers = itertools.count()
    sent: dict[str, int] = {}
    taken: list[str] = []
    spans: list[tuple[int, int]] = []
    counted = 0

    def take() -> None:
        nonlocal counted
        item = filled.backlog.take()
        if isinstance(item, Batch):
            taken.extend(map(str, item.frames))
        elif isinstance(item, Gap):
            assert item.since <= item.until
            assert item.seconds == item.until - item.since
            spans.append((item.since, item.until))
            counted += item.lost or 0

    for step in steps:
        if isinstance(step, list):
            frames = [f"{letter}{next(numbers)}" for letter in step]
            filled.put(*frames)
            sent.update(dict.fromkeys(frames, filled.now))
            assert filled.backlog.messages <= (bound if conflate else max(bound, len(frames)))
        elif step == "down":
            filled.down()
            filled.gap()
            filled.now += 1
        elif filled.backlog:
            take()
            while step == "drain" and filled.backlog:
                take()
    while filled.backlog:
        take()
    missing = set(sent) - set(taken)
    assert max(Counter(taken).values(), default=1) == 1
    assert counted == filled.lost == len(missing)
    assert all(any(since <= sent[frame] <= until for since, until in spans) for frame in missing)
    for letter in "abcd":
        of_one = [frame for frame in taken if frame[0] == letter]
        assert of_one == sorted(of_one, key=lambda frame: int(frame[1:]))
        newest = [frame for frame in sent if frame[0] == letter][-1:]
        if conflate and bound >= 4:
            assert of_one[-1:] == newest
    assert not filled.backlog.messages
    assert not filled.backlog.bytes
