"""OTP's supervisor_SUITE: how supervisors and children start, and what specs and flags are accepted."""

import itertools
import re
from typing import Any

import attrs
import pytest

from actors.events import ChildRestarted, ChildStarted, SupervisorDown
from supervisors import (
    AutoShutdown,
    BadCombination,
    ChildKind,
    ChildSpec,
    ChildState,
    Intensity,
    NotFound,
    Restart,
    StartFailed,
    Supervisor,
    TooMany,
)
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Doll, Puppet, Stage, after, fail_to_start, ignore, live, settle, spec


async def nothing(*, task_status: object) -> None:
    """An actor that returns at once."""


async def test_sup_start_normal(autojump_clock: Clock, otp: Setting) -> None:
    """A supervisor without children starts, and ends without an error when it is asked to."""
    top = otp()
    await settle()
    assert top.context.at == [0]
    await top.stop()
    assert top.error is None
    assert [type(event) for event in top.log] == [SupervisorDown]


async def test_sup_start_ignore_init(autojump_clock: Clock, otp: Setting) -> None:
    """A supervisor that returns before it has started is ignored by its parent, which goes on."""
    inner = Supervisor("inner")
    inner.stop()
    top = otp(ChildSpec(id="inner", run=inner.run, kind=ChildKind.SUPERVISOR), spec(Doll()))
    await settle()
    assert top.state("inner") is ChildState.IDLE
    assert top.state("doll") is ChildState.UP
    assert top.error is None


async def test_sup_start_ignore_child(autojump_clock: Clock, otp: Setting) -> None:
    """A child that is ignored keeps its spec and has no task; the others start."""
    top = otp()
    await settle()
    assert await top.supervisor.start_child(spec(Puppet(ignore, name="ignored"))) is None
    assert await top.supervisor.start_child(spec(Doll())) == "doll"
    assert top.state("ignored") is ChildState.IDLE
    assert top.counts == (2, 1, 0, 2)


async def test_sup_start_ignore_temporary_child(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary child that is ignored in the first start is not kept."""
    top = otp(spec(Puppet(ignore, name="ignored"), restart="temporary"), spec(Doll()))
    await settle()
    assert top.ids == ["doll"]
    assert top.counts == (1, 1, 0, 1)


async def test_sup_start_ignore_temporary_child_start_child(autojump_clock: Clock, otp: Setting) -> None:
    """The same by start_child."""
    top = otp(spec(Doll()))
    await settle()
    assert await top.supervisor.start_child(spec(Puppet(ignore, name="ignored"), restart="temporary")) is None
    assert top.counts == (1, 1, 0, 1)


async def ignored_instance(otp: Setting, restart: Restart) -> Stage:
    top = otp(spec(Puppet(ignore), restart=restart), strategy="simple_one_for_one")
    await settle()
    assert (await top.supervisor.start_instance()).value is None
    assert top.ids == []
    assert top.counts == (1, 0, 0, 0)
    return top


async def test_sup_start_ignore_temporary_child_start_child_simple(autojump_clock: Clock, otp: Setting) -> None:
    """An ignored instance of a temporary template is not kept."""
    await ignored_instance(otp, Restart.TEMPORARY)


async def test_sup_start_ignore_permanent_child_start_child_simple(autojump_clock: Clock, otp: Setting) -> None:
    """An ignored instance of a permanent template is not kept either, and the supervisor stops without an error."""
    top = await ignored_instance(otp, Restart.PERMANENT)
    await top.stop()
    assert top.error is None


async def test_sup_start_error_return() -> None:
    """Wrong settings are a typed error for whoever makes the supervisor; nothing has run."""
    with pytest.raises(ValueError, match="'one_for_two' is not a valid Strategy"):
        Supervisor("top", strategy="one_for_two")


async def test_sup_start_fail(autojump_clock: Clock, otp: Setting) -> None:
    """A first start that raises comes out of run, once, and nothing is left."""
    first = Doll("first")
    top = otp(spec(first), spec(Puppet(fail_to_start)))
    await top.ended.wait()
    assert isinstance(top.error, StartFailed)
    assert first.ends
    assert top.context.at == []
    assert len([event for event in top.log if isinstance(event, SupervisorDown)]) == 1


async def test_sup_start_child_returns_error(autojump_clock: Clock, otp: Setting) -> None:
    """start_child of a child whose start fails raises, and leaves no spec."""
    top = otp()
    await settle()
    with pytest.raises(StartFailed, match="'puppet' of top did not start: RuntimeError"):
        await top.supervisor.start_child(spec(Puppet(fail_to_start)))
    assert top.ids == []


async def test_sup_start_restart_child_returns_error(autojump_clock: Clock, otp: Setting) -> None:
    """restart_child of a child whose start fails raises; the spec stays, without a task."""
    top = otp(spec(Puppet(live, fail_to_start)))
    await settle()
    await top.supervisor.terminate_child("puppet")
    with pytest.raises(StartFailed):
        await top.supervisor.restart_child("puppet")
    assert top.state("puppet") is ChildState.IDLE
    assert top.counts == (1, 0, 0, 1)


async def test_sup_start_child_returns_error_simple(autojump_clock: Clock, otp: Setting) -> None:
    """The same for an instance: none is left."""
    top = otp(spec(Puppet(fail_to_start)), strategy="simple_one_for_one")
    await settle()
    with pytest.raises(StartFailed):
        await top.supervisor.start_instance()
    assert top.ids == []


async def test_sup_start_map(autojump_clock: Clock, otp: Setting) -> None:
    """Specs have OTP's defaults, and can be read back; an unknown id is not_found."""
    worker = ChildSpec(id="worker", run=Doll().run)
    inner = ChildSpec(id="inner", run=Supervisor("inner").run, kind=ChildKind.SUPERVISOR)
    top = otp(worker, inner)
    await settle()
    assert top.supervisor.get_childspec("worker") is worker
    assert (worker.restart, worker.shutdown, worker.kind) == (Restart.PERMANENT, 5.0, ChildKind.WORKER)
    assert not worker.significant
    assert top.supervisor.get_childspec("inner").shutdown == float("inf")
    with pytest.raises(NotFound, match="top has no child 'other'"):
        top.supervisor.get_childspec("other")


async def test_sup_start_map_simple(autojump_clock: Clock, otp: Setting) -> None:
    """Every instance reports the template's spec; a foreign id is not_found."""
    template = spec(Doll())
    top = otp(template, strategy="simple_one_for_one")
    await settle()
    made = [await top.supervisor.start_instance() for _ in range(2)]
    assert [instance.id for instance in made] == ["doll-1", "doll-2"]
    assert all(top.supervisor.get_childspec(instance.id) is template for instance in made)
    with pytest.raises(NotFound):
        top.supervisor.get_childspec("doll")


def test_sup_start_map_faulty_specs() -> None:
    """A spec without id or run, or with a field that does not exist, cannot be made."""
    for fields in ({"run": nothing}, {"id": "a"}, {"id": "a", "run": nothing, "colour": "red"}):
        with pytest.raises(TypeError, match=r"id|run|colour"):
            ChildSpec(**fields)  # pyright: ignore[reportArgumentType] - that is the test


VALID: dict[str, list[Any]] = {
    "restart": list(Restart),
    "kind": list(ChildKind),
    "shutdown": [0.0, 5.0, float("inf")],
    "too_many": list(TooMany),
    "drain": [0.0, 1.0],
}
INVALID: dict[str, Any] = {
    "id": "",
    "run": "nothing",
    "restart": "always",
    "kind": "manager",
    "shutdown": -1.0,
    "too_many": "panic",
    "drain": -1.0,
    "start_timeout": 0.0,
    "quarantine_delay": 0.0,
}


@pytest.mark.parametrize("field", INVALID)
def test_child_specs(field: str) -> None:
    """Each invalid field is refused and named, every valid combination accepted, and an id given twice refused."""
    good: dict[str, Any] = {"id": "a", "run": nothing}
    with pytest.raises((ValueError, TypeError), match=re.compile(f"{field}|{INVALID[field]}")):
        ChildSpec(**{**good, field: INVALID[field]})
    for values in itertools.product(*VALID.values()):
        ChildSpec(**good, **dict(zip(VALID, values, strict=True)))
    with pytest.raises(ValueError, match="two children of 'top' have the id 'a'"):
        Supervisor("top", [ChildSpec(**good), ChildSpec(**good)])
    for count in (0, 2):
        specs = [ChildSpec(id=str(n), run=nothing) for n in range(count)]
        with pytest.raises(BadCombination, match=f"one spec as its template: {count}"):
            Supervisor("top", specs, strategy="simple_one_for_one")


@pytest.mark.parametrize("mode", AutoShutdown)
@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("significant", [False, True])
async def test_child_specs_map(
    autojump_clock: Clock, otp: Setting, mode: AutoShutdown, restart: Restart, significant: bool
) -> None:
    """Of auto_shutdown, restart and significant, OTP's bad combinations are refused, in a spec and in start_child."""

    def make() -> ChildSpec:
        return ChildSpec(id="a", run=Doll().run, restart=restart, significant=significant)

    if significant and restart is Restart.PERMANENT:
        with pytest.raises(BadCombination, match="significant, but permanent"):
            make()
        return
    top = otp(auto_shutdown=mode)
    await settle()
    if significant and mode is AutoShutdown.NEVER:
        with pytest.raises(BadCombination, match="'a' is significant, but 'top' has auto_shutdown never"):
            Supervisor("top", [make()], auto_shutdown=mode)
        with pytest.raises(BadCombination):
            await top.supervisor.start_child(make())
        assert top.ids == []
    else:
        Supervisor("top", [make()], auto_shutdown=mode)
        await top.supervisor.start_child(make())
        assert top.ids == ["a"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "any"}, "'any' is not a valid Strategy"),
        ({"auto_shutdown": "soon"}, "'soon' is not a valid AutoShutdown"),
        ({"max_children": 0, "dynamic": True}, "max_children"),
        ({"max_children": 3}, "max_children is for dynamic children"),
        ({"dynamic": True, "strategy": "one_for_all"}, "no order, which one_for_all needs"),
        ({"dynamic": True, "auto_shutdown": "any_significant"}, "auto_shutdown needs static children"),
    ],
)
def test_sup_flags(settings: dict[str, Any], words: str) -> None:
    """An invalid strategy, intensity, period, auto_shutdown or limit is refused with the words for it."""
    with pytest.raises(ValueError, match=words):
        Supervisor("top", **settings)
    for crashes, seconds in ((-1, 5), (1, 0), (1, -1)):
        with pytest.raises(ValueError, match=r"crashes|seconds"):
            Intensity(crashes, seconds)
    with pytest.raises(BadCombination, match="has 2 children, but max_children is 1"):
        Supervisor("top", [spec(Doll("a")), spec(Doll("b"))], dynamic=True, max_children=1)


async def test_extra_return(autojump_clock: Clock, otp: Setting) -> None:
    """What a child says in started() comes back from start_child and restart_child; it is restarted all the same."""

    doll = Doll(says=lambda context: {"extra": context.incarnation})
    top = otp()
    await settle()
    assert await top.supervisor.start_child(spec(doll)) == {"extra": 1}
    await doll.end(RuntimeError("crash"))
    await after(1)
    assert top.state("doll") is ChildState.UP
    await top.supervisor.terminate_child("doll")
    assert await top.supervisor.restart_child("doll") == {"extra": 3}


async def test_external_start_no_progress_log(autojump_clock: Clock, otp: Setting) -> None:
    """A start that somebody asked for and an automatic one are different events: started, restarted."""
    doll = Doll()
    top = otp()
    await settle()
    await top.supervisor.start_child(spec(doll))
    await doll.end()
    await after(1)
    assert top.told(ChildStarted) == ["ChildStarted doll", "ChildRestarted doll"]
    assert len([event for event in top.log if isinstance(event, ChildRestarted)]) == 1


def test_specs_are_values() -> None:
    """A spec can be compared and evolved, and never changes."""
    one = ChildSpec(id="a", run=nothing)
    assert attrs.evolve(one, id="b").id == "b"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.id = "c"  # pyright: ignore[reportAttributeAccessIssue] - that is the test
