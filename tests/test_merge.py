"""Merge: whatever the legs do, everything that one of them brought is delivered once, and in order."""

import itertools
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.marks import Key, Mark
from actors.merge import HELD, LEAST, MOST, SETTLE, WINDOW, Leg, Merge

BOOK: Key = ("book", "A")
TRADE: Key = ("trade", "A")


def book(number: int, *, key: Key = BOOK, snapshot: bool = False) -> Mark:
    """A message of an ordered key."""
    return Mark(key, number, number, snapshot)


def trade(number: int, *, snapshot: bool = False) -> Mark:
    """A message of a key without an order."""
    return Mark(TRADE, number, None, snapshot)


def bring(merge: Merge, leg: Leg, *marks: Mark, now: float = 0.0) -> list[str]:
    """What is delivered when a leg brings these in one batch, each as its number, a snapshot with an ``s``."""
    frames = [f"{mark.identity}{'s' * mark.snapshot}" for mark in marks]
    return [str(frame) for frame in merge.take(leg, frames, marks, now)]


def settled(merge: Merge) -> tuple[Leg, Leg]:
    """Two legs that are believed."""
    legs = merge.join(-SETTLE), merge.join(-SETTLE)
    bring(merge, legs[0])
    return legs


def test_what_nobody_brought_before_passes_untouched() -> None:
    """A batch of news is the list that came in; a batch of repeats is empty."""
    merge = Merge()
    first, second = settled(merge)
    frames = ["a", "b"]
    marks = [book(1), book(2)]
    assert merge.take(first, frames, marks, 0) is frames
    assert merge.take(second, frames, marks, 0) == []
    assert merge.take(first, [], [], 0) == []


def test_rightful_repeats_are_kept() -> None:
    """The k-th occurrence on one leg is the k-th on the other, whichever is ahead."""
    merge = Merge()
    first, second = settled(merge)
    assert bring(merge, first, book(1), book(1)) == ["1", "1"]
    assert bring(merge, second, book(1), book(1), book(1), book(2)) == ["1", "2"]
    assert bring(merge, first, book(1), book(2)) == []


def test_a_repeat_that_is_on_its_way_comes_before_what_follows_it() -> None:
    """A leg that joins between two twins is not believed before the second one has come on the old leg."""
    merge = Merge()
    old = merge.join(0)
    assert bring(merge, old, book(1)) == ["1"]
    new = merge.join(0)
    assert bring(merge, new, book(1, snapshot=True), book(2)) == []
    assert bring(merge, old, book(1)) == ["1"]
    assert bring(merge, old, book(2), book(3)) == ["2", "3"]
    assert bring(merge, new, book(3), book(4)) == ["4"]


def test_a_leg_that_the_others_never_reach_is_alone() -> None:
    """Between what they brought last and where it began something may be lost; a new code says nothing of that."""
    for key, alone in ((BOOK, True), (("book", "new"), False)):
        merge = Merge()
        old = merge.join(0)
        bring(merge, old, book(1))
        new = merge.join(0)
        assert bring(merge, new, book(3, key=key), now=2) == []
        assert bring(merge, old, book(1), now=SETTLE) == (["1"] if alone else ["3", "1"])
        assert not merge.alone
        assert bring(merge, new, book(4, key=key), now=2 + SETTLE) == (["3", "4"] if alone else ["4"])
        assert merge.alone is alone


def test_a_snapshot_of_before_says_nothing_of_a_loss() -> None:
    """It is not known only because nothing was remembered then; what came after it both have brought."""
    merge = Merge()
    old = merge.join(0)
    bring(merge, old, trade(2))
    new = merge.join(0)
    assert bring(merge, new, trade(1, snapshot=True), trade(2), Mark(BOOK, 1, 1, snapshot=True)) == []
    assert merge.leave(old, SETTLE) == ["1s", "1s"]
    assert not merge.alone


@pytest.mark.parametrize(("after", "reached", "alone"), [(2.0, False, True), (0.1, False, False), (2.0, True, False)])
def test_a_leg_that_is_lost_before_it_has_reached_the_next(after: float, reached: bool, alone: bool) -> None:
    """The next is alone, unless its first message is so young that the other may have been about to bring it."""
    merge = Merge()
    old = merge.join(0)
    bring(merge, old, book(1))
    new = merge.join(0)
    bring(merge, new, book(3))
    if reached:
        assert bring(merge, old, book(2), book(3), book(4)) == ["2", "3", "4"]
    assert merge.leave(old, after) == ([] if reached else ["3"])
    assert merge.alone is alone


def test_a_leg_ahead_of_the_others_waits_for_them() -> None:
    """What is on its way on the old leg comes before what the new leg has already."""
    merge = Merge()
    old = merge.join(0)
    assert bring(merge, old, book(1)) == ["1"]
    new = merge.join(0)
    assert bring(merge, new, book(3), book(4)) == []
    assert bring(merge, old, book(2)) == ["2"]
    assert bring(merge, old, book(3)) == ["3"], "a twin of it may follow"
    assert bring(merge, old, book(4)) == ["4"]
    assert bring(merge, new, book(5)) == ["5"]
    assert bring(merge, old, book(5)) == []
    assert merge.late == 0


def test_a_corpse_is_not_waited_for_longer_than_settling_takes() -> None:
    """Where the old leg brings nothing more, the new one is believed after ``SETTLE`` seconds."""
    merge = Merge()
    old = merge.join(0)
    bring(merge, old, book(1))
    new = merge.join(10)
    assert bring(merge, new, book(3), now=10) == []
    assert bring(merge, new, book(4), now=10 + SETTLE) == ["3", "4"]
    assert bring(merge, old, book(2), now=20) == []
    assert merge.late == 1


def test_what_waits_is_let_through_when_the_others_leave() -> None:
    """The end of the last leg that was waited for ends the waiting."""
    merge = Merge()
    old = merge.join(0)
    bring(merge, old, book(1))
    new = merge.join(0)
    assert bring(merge, new, book(3), trade(1, snapshot=True)) == []
    assert sorted(map(str, merge.leave(old, 0))) == ["1s", "3"]
    assert bring(merge, new, book(4)) == ["4"]


def test_what_waits_outlives_its_leg() -> None:
    """What a leg brought and nobody else brought is delivered although that leg is gone first."""
    merge = Merge()
    old = merge.join(0)
    bring(merge, old, book(1))
    new = merge.join(0)
    bring(merge, new, book(3))
    assert merge.leave(new, 0) == ()
    assert bring(merge, old, book(2)) == ["2"]
    assert merge.leave(old, 0) == ["3"]


def test_a_leg_follows_when_it_has_been_there_for_long_enough() -> None:
    """The first leg at once, one that joins after ``SETTLE`` seconds or when it inherits."""
    merge = Merge()
    old = merge.join(0)
    assert merge.follows(old, 0)
    new = merge.join(10)
    assert not merge.follows(new, 9.9 + SETTLE)
    assert merge.follows(new, 10 + SETTLE)
    merge.leave(old, 11)
    assert merge.follows(new, 11)


def test_no_more_waits_than_is_bounded() -> None:
    """A leg with too much waiting is believed at once."""
    merge = Merge()
    merge.join(0)
    new = merge.join(0)
    assert bring(merge, new, *(book(number) for number in range(HELD + 1))) == []
    assert len(bring(merge, new, book(HELD + 1))) == HELD + 2


def test_a_snapshot_is_delivered_only_for_its_news() -> None:
    """The snapshot of a leg that joins is dropped if it restates; asked for, it comes always."""
    for asked in (False, True):
        merge = Merge(snapshots=asked)
        first = merge.join(0)
        assert bring(merge, first, book(1, snapshot=True), trade(7, snapshot=True)) == ["1s", "7s"]
        assert bring(merge, first, book(1), trade(7), book(2), trade(8)) == ["2", "8"]
        second = merge.join(0)
        again = bring(merge, second, book(2, snapshot=True), trade(8, snapshot=True), book(1, snapshot=True))
        assert again == (["2s", "8s", "1s"] if asked else [])


def test_numbers_that_begin_anew() -> None:
    """Lower numbers are believed after all legs were down, and from a leg that goes back by itself."""
    merge = Merge()
    first = merge.join(0)
    bring(merge, first, book(100))
    merge.leave(first, 0)
    first, second = settled(merge)
    assert bring(merge, first, book(51, snapshot=True), book(52)) == ["51s", "52"]
    assert bring(merge, second, book(52), book(53)) == ["53"]
    assert bring(merge, second, book(1)) == ["1"]
    assert bring(merge, first, book(53), book(1), book(2)) == ["2"], "the other leg follows"


def test_messages_without_a_mark_are_told_apart_by_their_bytes() -> None:
    """An exchange without a hook can have legs too."""
    merge = Merge()
    first, second = merge.join(0), merge.join(0)
    frames = [b"a", b"b", b"a"]
    assert merge.take(first, frames, [None] * 3, 0) is frames
    assert merge.take(second, [*frames, b"a"], [None] * 4, 0) == [b"a"]


def test_the_window_is_bounded() -> None:
    """Of one key no more than ``MOST`` are remembered, and old ones beyond ``LEAST`` are forgotten."""
    merge = Merge()
    first, second = merge.join(0), merge.join(0)
    for number in range(MOST + 1):
        bring(merge, first, trade(number), now=1.0)
    assert bring(merge, second, trade(0), now=1.0) == ["0"], "too long ago"
    assert bring(merge, second, trade(2), now=1.0) == []
    bring(merge, first, trade(MOST + 1), now=1.0 + WINDOW)
    assert bring(merge, second, trade(MOST - LEAST), now=2.0 + WINDOW) == [str(MOST - LEAST)]
    assert bring(merge, second, trade(MOST), now=2.0 + WINDOW) == []


def test_of_two_that_began_together_the_one_that_joined_first_goes_first() -> None:
    """It has all the twins; the other may have only the last."""
    merge = Merge()
    old = merge.join(0)
    first = merge.join(0)
    assert bring(merge, first, book(1), book(1)) == []
    second = merge.join(0)
    assert bring(merge, second, book(1, snapshot=True), book(2)) == []
    assert merge.leave(old, 0) == ["1", "1"]
    assert bring(merge, first, book(2)) == ["2"]


def test_what_was_let_through_waits_no_longer() -> None:
    """The bound on what waits is on what waits now."""
    merge = Merge()
    old = merge.join(0)
    new = merge.join(0)
    bring(merge, new, *(book(number) for number in range(HELD)))
    assert bring(merge, old, book(1)) == ["1", *map(str, range(2, HELD))]
    other = ("book", "B")
    assert bring(merge, new, book(1, key=other), book(2, key=other)) == []
    assert bring(merge, new, book(3, key=other)) == []


def test_a_leg_that_is_gone_is_forgotten_with_the_last_that_waits() -> None:
    """Nothing keeps the record of a session alive for longer than what it brought."""
    merge = Merge()
    old = merge.join(0)
    new = merge.join(0)
    bring(merge, new, book(1), book(2))
    merge.leave(new, 0)
    record = weakref.ref(new)
    del new
    assert record() is not None
    assert bring(merge, old, book(2)) == ["2"]
    assert record() is None


def test_numbers_of_before_say_nothing_about_who_is_ahead() -> None:
    """After all legs were down, low numbers of a leg that joins wait for the others as high ones do."""
    merge = Merge()
    first = merge.join(0)
    bring(merge, first, book(100))
    merge.leave(first, 0)
    first, second = merge.join(0), merge.join(0)
    assert bring(merge, second, book(5)) == []
    assert bring(merge, first, book(4)) == ["4"]
    assert bring(merge, first, book(5), book(6)) == ["5", "6"]


def test_another_snapshot_of_the_same_time_is_news_after_an_outage() -> None:
    """The order alone does not tell that it is the same; while the legs live, it need not be told again."""
    other = Mark(BOOK, 999, 1, snapshot=True)
    merge = Merge()
    first = merge.join(0)
    assert bring(merge, first, book(1), other) == ["1"]
    merge.leave(first, 0)
    assert bring(merge, merge.join(0), other) == ["999s"]


# -- a model: one true stream, legs that see a piece of it each, every one at its own pace


@attrs.define
class Line:
    """A leg as the model knows it: what is on its way to us."""

    leg: Leg
    coming: deque[Mark]


class Model:
    """The truth, what was brought, and what was delivered of it."""

    def __init__(self, *, ordered: bool) -> None:
        self.merge = Merge()
        self.now = 0.0
        self.brought: dict[str, Counter[int]] = {}
        self.restated: set[str] = set()
        self.delivered: list[str] = []
        self._ordered = ordered
        self._lines: list[Line] = []
        self._latest: dict[Key, Mark] = {}
        self._numbers = itertools.count(1)

    def emit(self, code: int, times: int) -> None:
        """The exchange says something, ``times`` times."""
        number = next(self._numbers)
        key = ("x", str(code % 3))
        mark = self._latest[key] = Mark(key, number, number if self._ordered else None)
        for line in self._lines:
            line.coming += [mark] * times

    def join(self, _which: int, _most: int) -> None:
        """A leg subscribes, and is answered by snapshots."""
        if len(self._lines) < 4:
            coming = deque(mark._replace(snapshot=True) for mark in self._latest.values())
            self._lines.append(Line(self.merge.join(self.now), coming))

    def leave(self, which: int, _most: int) -> None:
        """A leg is cut; what was on its way is lost."""
        if self._lines:
            line = self._lines.pop(which % len(self._lines))
            self._deliver(self.merge.leave(line.leg, self.now))

    def arrive(self, which: int, most: int) -> None:
        """Some of what is on its way arrives, in order if there is one."""
        if not self._lines:
            return
        line = self._lines[which % len(self._lines)]
        if not self._ordered:
            line.coming.rotate(-which)
        marks = [line.coming.popleft() for _ in range(min(most, len(line.coming)))]
        frames = [f"{mark.key[1]}/{mark.identity}" for mark in marks]
        for frame, mark in zip(frames, marks, strict=True):
            if mark.snapshot:
                self.restated.add(frame)
            else:
                self.brought.setdefault(frame, Counter())[line.leg.number] += 1
        self._deliver(self.merge.take(line.leg, frames, marks, self.now))

    def wait(self, which: int, _most: int) -> None:
        """Time passes, not always enough to settle."""
        self.now += which

    def finish(self) -> None:
        """All legs are cut."""
        while self._lines:
            self.leave(0, 0)

    def _deliver(self, frames: Sequence[str | bytes]) -> None:
        self.delivered += map(str, frames)


Step = tuple[Callable[[Model, int, int], None], int, int]
ACTIONS = [Model.emit, Model.emit, Model.join, Model.leave, Model.arrive, Model.arrive, Model.arrive]


def steps_of(*actions: Callable[[Model, int, int], None]) -> st.SearchStrategy[list[Step]]:
    """Any steps of these kinds."""
    return st.lists(st.tuples(st.sampled_from(actions), st.integers(0, 11), st.integers(1, 3)), max_size=120)


def played(steps: list[Step], *, ordered: bool) -> Model:
    """A model after all steps and the end of all legs."""
    model = Model(ordered=ordered)
    for step, which, most in steps:
        step(model, which, most)
    model.finish()
    return model


def said(model: Model) -> Counter[str]:
    """What the legs brought together: of each message as often as the one that brought it most often."""
    return Counter({frame: max(times.values()) for frame, times in model.brought.items()})


def said_or_restated(model: Model) -> Counter[str]:
    """The same with the snapshots of what was never brought otherwise."""
    return said(model) | Counter(model.restated)


def in_order(model: Model) -> bool:
    """Whether no message came after a later one of its key."""
    by_key = [[int(frame[2:]) for frame in model.delivered if frame[0] == code] for code in "012"]
    return all(numbers == sorted(numbers) for numbers in by_key)


@settings(max_examples=300)
@given(steps=steps_of(*ACTIONS))
def test_ordered_messages_are_delivered_once_and_in_order(steps: list[Step]) -> None:
    """Whatever is cut, joins or lags: all that was brought is delivered as often as it was said, in order."""
    model = played(steps, ordered=True)
    assert Counter(model.delivered) == said_or_restated(model)
    assert in_order(model)
    assert model.merge.late == 0


@settings(max_examples=300)
@given(steps=steps_of(*ACTIONS))
def test_messages_without_an_order_are_delivered_once(steps: list[Step]) -> None:
    """The same where every leg brings its messages in an order of its own."""
    model = played(steps, ordered=False)
    assert Counter(model.delivered) == said_or_restated(model)


@settings(max_examples=300)
@given(steps=steps_of(*ACTIONS, Model.wait))
def test_a_leg_that_lags_too_far_costs_only_what_is_counted(steps: list[Step]) -> None:
    """Where a leg lags further than settling takes, order holds, nothing comes twice, and ``late`` counts the rest."""
    model = played(steps, ordered=True)
    delivered = Counter(model.delivered)
    assert delivered <= said_or_restated(model)
    assert in_order(model)
    assert (said(model) - delivered).total() <= model.merge.late
