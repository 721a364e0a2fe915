"""The pure side of supervision: the transition table, the window, the judgement of groups, and specs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConnectorError, Escalate, GiveUp, Reason
from supervisors import ChildKind, ChildSpec, ChildState, Intensity, Supervisor
from supervisors.child import TRANSITIONS, Child, failed
from supervisors.intensity import Window


async def nothing(*, task_status: object) -> None:
    """An actor that returns at once."""


def child() -> Child:
    return Child.of(ChildSpec(id="a", run=nothing))


@pytest.mark.parametrize("before", ChildState)
@pytest.mark.parametrize("after", ChildState)
def test_every_cell_of_the_transition_table(before: ChildState, after: ChildState) -> None:
    """A legal move succeeds; an illegal one raises and leaves the state unchanged."""
    subject = child()
    subject.state = before
    if after in TRANSITIONS[before]:
        subject.move(after)
        assert subject.state is after
    else:
        with pytest.raises(AssertionError, match=f"no way from {before.value} to {after.value}"):
            subject.move(after)
        assert subject.state is before


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(0, 5), st.floats(1, 50))
def test_the_window_counts_what_lies_in_it(gaps: list[float], most: int, seconds: float) -> None:
    """More than the limit within the window, the newest included, and never otherwise."""
    window, now, times = Window(Intensity(most, seconds)), 0.0, list[float]()
    for gap in gaps:
        now += gap
        times.append(now)
        assert window.crash(now) == (sum(time >= now - seconds for time in times) > most)
    window.clear()
    assert len(window) == 0


def test_the_gravest_of_a_group_is_judged() -> None:
    """A crash above Escalate above GiveUp above a failure from outside; the others are notes."""
    lost, quit_, up, bug = ConnectorError(Reason.EOF), GiveUp("q"), Escalate("u"), KeyError("b")
    order = [bug, up, quit_, lost]
    for n in range(4):
        rest = order[n:]
        outcome = failed(ExceptionGroup("", [ExceptionGroup("", rest[::-1])]))
        assert outcome.error is order[n]
        assert outcome.crash == (n < 3)
    assert len(bug.__notes__) == 3


def test_specs_are_checked() -> None:
    """Wrong fields are refused when the spec is made, doubled ids when the supervisor is."""
    with pytest.raises(ValueError, match="id"):
        ChildSpec(id="", run=nothing)
    with pytest.raises(ValueError, match="'always' is not a valid Restart"):
        ChildSpec(id="a", run=nothing, restart="always")  # pyright: ignore[reportArgumentType] - that is the test
    with pytest.raises(ValueError, match="shutdown"):
        ChildSpec(id="a", run=nothing, shutdown=-1)
    with pytest.raises(ValueError, match="crashes"):
        Intensity(-1, 5)
    with pytest.raises(ValueError, match="two children of 'top' have the id 'a'"):
        Supervisor("top", [ChildSpec(id="a", run=nothing), ChildSpec(id="a", run=nothing)])


def test_defaults_are_otps() -> None:
    """Permanent workers with five seconds, supervisors with all the time they need."""
    spec = ChildSpec(id="a", run=nothing)
    assert (spec.restart.value, spec.kind, spec.shutdown) == ("permanent", ChildKind.WORKER, 5)
    assert ChildSpec(id="a", run=nothing, kind=ChildKind.SUPERVISOR).shutdown == float("inf")
