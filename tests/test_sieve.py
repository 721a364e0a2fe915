"""The sieve without a connector: whatever is bad, and however the exchange says so, it is found and nothing else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sieve import ATTEMPTS, HANG_UPS, ILL, Found, Sieve
from actors.subscriptions import Topic


def codes(count: int) -> list[Topic]:
    """As many places."""
    return [("trade", f"S{n}") for n in range(count)]


class Trials:
    """An exchange that refuses a request, or hangs up on it, for a bad code in it."""

    def __init__(
        self,
        listed: list[Topic],
        bad: set[Topic],
        *,
        hangs_up: bool,
        in_place: bool = True,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.sieve = Sieve(attempts)
        self.sieve.in_place = in_place
        self.listed = listed
        self.bad = bad
        self.hangs_up = hangs_up
        self.out: list[Topic] = []
        self.untried: list[Topic] = []
        self.nothing = False
        self.sessions = self.trials = 0

    def take(self, found: Found) -> None:
        """Leave out what is known."""
        self.out += found.bad
        self.untried += found.untried
        gone = {*found.bad, *found.untried}
        self.listed = [topic for topic in self.listed if topic not in gone]
        self.nothing = self.nothing or found.nothing

    def session(self) -> bool:
        """One session; whether it lasts."""
        self.sessions += 1
        asked, had = self.sieve.ask(self.listed, fresh=True), list[Topic]()
        while not self.nothing:
            self.trials += 1
            new = [topic for topic in asked if topic not in had]
            if not self.bad.intersection(new):
                self.take(self.sieve.accepted(asked))
                had = asked
            elif self.hangs_up:
                self.take(self.sieve.hung_up(asked))
                return False
            else:
                self.take(self.sieve.rejected(new, asked))
                if not self.sieve.in_place:
                    return False
            asked = self.sieve.ask(self.listed)
            if set(asked) <= set(had):
                return True
            if not self.sieve.in_place:
                return False
        return False

    def run(self) -> None:
        """Sessions until one lasts."""
        while not self.session() and not self.nothing and self.sessions < 500:
            pass


@pytest.mark.parametrize(("hangs_up", "in_place"), [(False, True), (True, True), (False, False), (True, False)])
@pytest.mark.parametrize("numbers", [(17,), (0, 24, 49), (3, 4, 5)])
def test_bad_codes_of_fifty(numbers: tuple[int, ...], hangs_up: bool, in_place: bool) -> None:
    """They are found, no other is left out, and it takes few trials and fewer sessions."""
    listed = codes(50)
    bad = {listed[n] for n in numbers}
    trials = Trials(listed, bad, hangs_up=hangs_up, in_place=in_place)
    trials.run()
    assert set(trials.out) == bad
    assert trials.listed == [topic for topic in listed if topic not in bad]
    assert trials.untried == []
    assert not trials.sieve.on
    assert trials.trials - trials.sessions <= 14 * len(bad)
    assert trials.sessions <= (trials.trials if not in_place else HANG_UPS + 7 * len(bad) if hangs_up else 1)


def test_a_list_of_good_codes_is_never_halved() -> None:
    """A session that lives ends every suspicion: only hang-ups in a row count."""
    listed = codes(4)
    sieve = Sieve()
    for _ in range(20):
        for _ in range(HANG_UPS - 1):
            assert sieve.hung_up(listed) == Found()
        assert sieve.accepted(listed) == Found()
    assert not sieve.on
    assert sieve.ask(listed) == sieve.ask(listed, fresh=True) == listed


def test_an_exchange_that_hangs_up_on_everybody_for_a_while_costs_no_code() -> None:
    """Singles that were tried before anything was accepted are tried again beside what has been."""
    listed = codes(4)
    trials = Trials(listed, set(listed), hangs_up=True)
    for _ in range(HANG_UPS + 8):
        assert not trials.session()
    assert trials.sieve.on
    trials.bad = set()
    assert trials.session()
    assert not trials.sieve.on
    assert trials.listed == listed
    assert trials.out == trials.untried == []


@pytest.mark.parametrize(("count", "hangs_up"), [(2, False), (20, False), (2, True), (20, True), (50, True)])
def test_where_every_code_is_bad_none_is_named(count: int, hangs_up: bool) -> None:
    """Nothing is accepted: it is said so, within the bound, and the next session asks for everything again."""
    listed = codes(count)
    trials = Trials(listed, set(listed), hangs_up=hangs_up)
    trials.run()
    assert trials.nothing
    assert trials.out == []
    assert trials.sieve.ask(listed, fresh=True) == listed
    assert trials.trials <= 1 + ATTEMPTS + HANG_UPS
    if hangs_up:
        assert trials.sessions >= HANG_UPS + ILL


def test_a_named_code_needs_no_trial() -> None:
    """One that is named beside others is out at once, also while another is looked for."""
    listed = codes(8)
    sieve = Sieve()
    assert sieve.rejected([listed[3]], listed) == Found(bad=(listed[3],))
    assert not sieve.on
    rest = [topic for topic in listed if topic != listed[3]]
    assert sieve.rejected(rest, rest) == Found()
    trial = sieve.ask(rest)
    assert sieve.rejected([trial[0]], trial) == Found(bad=(trial[0],))
    assert sieve.ask([topic for topic in rest if topic != trial[0]]) == trial[1:]


def test_a_single_code_that_is_rejected_is_all_there_is() -> None:
    """Nobody is left who could be accepted."""
    assert Sieve().rejected(codes(1), codes(1)) == Found(nothing=True)


def test_what_is_good_comes_first_on_a_fresh_session() -> None:
    """Unless only a fresh session can ask for more."""
    listed = codes(4)
    sieve = Sieve()
    sieve.rejected(listed, listed)
    assert sieve.ask(listed) == listed[:2]
    sieve.accepted(listed[:2])
    assert sieve.ask(listed) == listed
    assert sieve.ask(listed, fresh=True) == listed[:2]
    sieve.in_place = False
    assert sieve.ask(listed, fresh=True) == listed
    assert sieve.hung_up(listed[:2]) == Found(), "what was cut had been accepted: nothing follows"
    assert sieve.ask(listed) == listed


def test_a_list_that_changes_meanwhile() -> None:
    """What is added is asked for at once, what is removed is no suspect any more."""
    listed = codes(4)
    sieve = Sieve()
    sieve.rejected(listed, listed)
    added = [*listed, ("trade", "NEW")]
    assert sieve.ask(added) == [*listed[:2], added[-1]]
    assert sieve.ask(listed[:2]) == listed[:2]
    sieve.accepted(listed[:2])
    assert not sieve.on


def test_attempts_are_bounded() -> None:
    """What is suspected still when they are used up is left out untried, the smallest parts of it."""
    listed = codes(64)
    trials = Trials(listed, {listed[0], listed[40]}, hangs_up=False, attempts=8)
    trials.run()
    assert trials.out == []
    assert len(trials.untried) == 24
    assert len(trials.listed) == 40
    assert trials.trials == 9


@given(
    count=st.integers(1, 60),
    numbers=st.sets(st.integers(0, 59), max_size=5),
    attempts=st.integers(1, 200),
    hangs_up=st.booleans(),
    in_place=st.booleans(),
)
def test_any_bad_codes(count: int, numbers: set[int], attempts: int, hangs_up: bool, in_place: bool) -> None:
    """Left out as bad is only what is bad, kept only what is good; the trials are bounded; and it always ends."""
    listed = codes(count)
    bad = {listed[n] for n in numbers if n < count}
    trials = Trials(listed, bad, hangs_up=hangs_up, in_place=in_place, attempts=attempts)
    trials.run()
    assert trials.trials <= attempts + HANG_UPS + trials.sessions
    assert set(trials.out) <= bad
    if trials.nothing:
        assert count == len(bad) or attempts < 2 * count
    elif count == 1 and bad:
        assert hangs_up, "a single code is never suspected of a hang-up"
    else:
        assert not bad.intersection(trials.listed)
        assert sorted(itertools.chain(trials.out, trials.listed, trials.untried)) == sorted(listed)
        assert not trials.untried or attempts < 2 * 7 * (len(bad) + 1)
