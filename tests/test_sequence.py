"""Continuity: a hole in the numbers is found where one is, and nowhere else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.marks import Key, Mark
from actors.sequence import Continuity, Loss, Restating

BOOK: Key = ("book", "A")
TRADE: Key = ("trade", "A")


def book(first: int, last: int, previous: int | None = None, *, snapshot: bool = False) -> Mark:
    """Numbers promised without holes, several a message."""
    return Mark(BOOK, last, last, snapshot, first, last, previous)


def trade(number: int) -> Mark:
    """One number a message, nothing promised."""
    return Mark(TRADE, number, number, first=number, last=number, promised=False, counted=True)


def test_a_session_begins_anywhere() -> None:
    """The first number of each key is as good as any; a new session knows nothing of the old."""
    assert Continuity().take([book(5, 9), trade(3), book(10, 10), trade(4)]) == []
    assert Continuity().take([book(1, 2)]) == []


def test_a_hole_between_ranges_is_certain() -> None:
    """Diff depth: the next ``U`` is the last ``u`` + 1; how many messages are missing is not said."""
    assert Continuity().take([book(1, 3), book(6, 7), book(8, 9)]) == [Loss(BOOK, 4, 6, None, certain=True)]


def test_a_hole_between_counted_messages_has_a_size() -> None:
    """Trades: each number is one; without a promise it is no proof."""
    assert Continuity().take([trade(1), trade(5)]) == [Loss(TRADE, 2, 5, 3, certain=False)]


@pytest.mark.parametrize(
    ("marks", "losses"),
    [
        ([book(1, 3), book(9, 12, 3)], []),
        ([book(1, 3), book(9, 12, 4)], [Loss(BOOK, 3, 4, None, certain=True)]),
        ([book(1, 3), book(2, 2, 3), book(9, 9, 2)], []),
        ([book(1, 3), book(9, 12, 3), book(9, 12, 3)], []),
    ],
    ids=["named", "missing", "begun anew", "repeated"],
)
def test_a_message_that_names_its_predecessor(marks: list[Mark], losses: list[Loss]) -> None:
    """Futures' ``pu``: it alone counts, and may lead to a lower number."""
    assert Continuity().take(marks) == losses


def test_repeats_and_late_messages_change_nothing() -> None:
    """What has been passed is no loss, and neither is what overlaps."""
    assert Continuity().take([book(1, 5), book(1, 5), book(2, 3), book(4, 8), book(9, 9)]) == []


def test_a_snapshot_begins_anew() -> None:
    """After a snapshot the numbers go on from it, wherever that is."""
    continuity = Continuity()
    assert continuity.take([book(1, 5), book(9, 9, snapshot=True), book(10, 10)]) == []
    assert continuity.take([book(1, 1, snapshot=True), book(2, 2)]) == []
    assert continuity.take([book(4, 4)]) == [Loss(BOOK, 3, 4, None, certain=True)]


def test_without_a_number_there_is_nothing_to_find() -> None:
    """Messages without mark or numbers pass."""
    assert Continuity().take([None, Mark(BOOK, 1), Mark(BOOK, 2, 7)]) == []


def test_a_code_that_comes_back_begins_anew() -> None:
    """What was unsubscribed in between is not lost."""
    continuity = Continuity()
    continuity.take([trade(1)])
    continuity.keep([TRADE[1].lower() + ".15"])
    assert continuity.take([trade(3)]) != []
    continuity.keep(["another"])
    assert continuity.take([trade(9)]) == []


def test_one_end_of_the_range_is_enough() -> None:
    """A message that carries but its last number is one of one number."""
    assert Continuity().take([Mark(BOOK, 1, last=1), Mark(BOOK, 2, last=2), Mark(BOOK, 4, last=4)]) == [
        Loss(BOOK, 3, 4, None, certain=True)
    ]


@given(widths=st.lists(st.integers(1, 4), max_size=40), data=st.data())
def test_exactly_the_holes_are_found(widths: list[int], data: st.DataObject) -> None:
    """Whatever is left out between two messages is found once, in batches of any size; nothing else is."""
    ends = list(itertools.accumulate(widths))
    marks = [book(end - width + 1, end) for width, end in zip(widths, ends, strict=True)]
    kept = data.draw(st.lists(st.booleans(), min_size=len(marks), max_size=len(marks)))
    arrived = [mark for mark, keep in zip(marks, kept, strict=True) if keep]
    holes = [
        Loss(BOOK, (before.last or 0) + 1, after.first or 0, None, certain=True)
        for before, after in itertools.pairwise(arrived)
        if after.first != (before.last or 0) + 1
    ]
    cut = data.draw(st.integers(0, len(arrived)))
    continuity = Continuity()
    assert continuity.take(arrived[:cut]) + continuity.take(arrived[cut:]) == holes


def snapshot(code: str, identity: int) -> Mark:
    return Mark(("trade", code), identity, identity, snapshot=True)


def test_snapshots_that_repeat_everything_prove_that_nothing_was_lost() -> None:
    """Each code has to be restated; news before that prove nothing, and what is still open is named."""
    restating = Restating()
    assert not restating.complete
    restating.delivered([Mark(("trade", "A"), 1), Mark(("trade", "B"), 5), Mark(("trade", "A"), 2), None])
    restating.interrupted()
    assert restating.proven([snapshot("A", 1)]) == 0
    assert restating.open == ("A", "B")
    assert restating.proven([snapshot("A", 2), snapshot("B", 4), snapshot("B", 5)]) == 1
    assert restating.open == ("B",)
    assert restating.proven([Mark(("trade", "B"), 5)]) == 0
    assert restating.proven([None]) == 0
    assert not restating.complete
    assert restating.proven([snapshot("A", 2), snapshot("B", 5)]) == 2
    assert restating.complete
