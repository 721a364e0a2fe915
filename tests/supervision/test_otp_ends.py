"""OTP's supervisor_SUITE: what follows an end, by restart type; and significant children."""

from collections.abc import Awaitable, Callable

import pytest

from actors.actor import Context
from actors.events import ChildExited, Ending
from supervisors import AutoShutdown, BadCombination, ChildKind, ChildSpec, ChildState, Restart, Supervisor
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Doll, Puppet, Stage, after, fail, finish, live, lost, settle, spec

CRASH = RuntimeError("crash")
Act = Callable[[Context], Awaitable[None]]


async def end_of(otp: Setting, restart: Restart, act: Act) -> tuple[int, list[ChildState]]:
    """How often a child has run that ends so, and its state afterwards."""
    puppet = Puppet(act, live)
    top = otp(spec(puppet, restart=restart))
    await after(5)
    return len(puppet.runs), [child.state for child in top.supervisor.which_children()]


async def test_permanent_normal(autojump_clock: Clock, otp: Setting) -> None:
    """A permanent child that ends normally is restarted."""
    assert await end_of(otp, Restart.PERMANENT, finish) == (2, [ChildState.UP])


async def test_transient_normal(autojump_clock: Clock, otp: Setting) -> None:
    """A transient child that ends normally is kept, not running."""
    assert await end_of(otp, Restart.TRANSIENT, finish) == (1, [ChildState.IDLE])


async def test_temporary_normal(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary child that ends normally is removed."""
    assert await end_of(otp, Restart.TEMPORARY, finish) == (1, [])


async def shut_down(otp: Setting, restart: Restart) -> tuple[int, list[ChildState]]:
    """The same for a child that ends because its own work is done after it was asked to: a supervisor that stops."""
    inner = Supervisor("inner")
    puppet = Puppet(lambda context: inner.run(task_status=context), live)
    top = otp(spec(puppet, restart=restart, kind=ChildKind.SUPERVISOR))
    await settle()
    inner.stop()
    await after(5)
    return len(puppet.runs), [child.state for child in top.supervisor.which_children()]


async def test_permanent_shutdown(autojump_clock: Clock, otp: Setting) -> None:
    """A permanent child that shut itself down is restarted."""
    assert await shut_down(otp, Restart.PERMANENT) == (2, [ChildState.UP])


async def test_transient_shutdown(autojump_clock: Clock, otp: Setting) -> None:
    """A transient child that shut itself down is kept, not running."""
    assert await shut_down(otp, Restart.TRANSIENT) == (1, [ChildState.IDLE])


async def test_temporary_shutdown(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary child that shut itself down is removed."""
    assert await shut_down(otp, Restart.TEMPORARY) == (1, [])


async def test_permanent_abnormal(autojump_clock: Clock, otp: Setting) -> None:
    """A permanent child that crashed is restarted."""
    assert await end_of(otp, Restart.PERMANENT, fail(CRASH)) == (2, [ChildState.UP])


async def test_transient_abnormal(autojump_clock: Clock, otp: Setting) -> None:
    """A transient child that crashed is restarted."""
    assert await end_of(otp, Restart.TRANSIENT, fail(CRASH)) == (2, [ChildState.UP])


async def test_temporary_abnormal(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary child that crashed is removed."""
    assert await end_of(otp, Restart.TEMPORARY, fail(CRASH)) == (1, [])


# -- significant children ---------------------------------------------------------------------------------------------

MODES = [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT]


async def insignificant(otp: Setting, restart: Restart) -> None:
    """Children that are not significant never end their supervisor, in any mode, however they end."""
    for mode in AutoShutdown:
        dolls = [Doll(name) for name in "abc"]
        top = otp(*(spec(doll, restart=restart) for doll in dolls), auto_shutdown=mode)
        await settle()
        await dolls[0].end()
        await dolls[1].end(CRASH)
        await top.supervisor.terminate_child("c")
        await after(5)
        assert not top.ended.is_set()


async def test_nonsignificant_temporary(autojump_clock: Clock, otp: Setting) -> None:
    """A temporary child that is not significant never ends its supervisor."""
    await insignificant(otp, Restart.TEMPORARY)


async def test_nonsignificant_transient(autojump_clock: Clock, otp: Setting) -> None:
    """A transient child that is not significant never ends its supervisor."""
    await insignificant(otp, Restart.TRANSIENT)


async def significant(otp: Setting, restart: Restart, mode: AutoShutdown) -> tuple[Stage, list[Doll]]:
    """Two significant children and one that is not, on a stage."""
    dolls = [Doll(name) for name in "abc"]
    specs = [spec(doll, restart=restart, significant=doll.name != "c") for doll in dolls]
    top = otp(*specs, auto_shutdown=mode)
    await settle()
    return top, dolls


@pytest.mark.parametrize("error", [None, CRASH, lost()])
async def test_significant_temporary(autojump_clock: Clock, otp: Setting, error: Exception | None) -> None:
    """any: an end of its own, of whatever kind, ends the supervisor, a terminate does not; all: only the last does."""
    top, dolls = await significant(otp, Restart.TEMPORARY, AutoShutdown.ANY_SIGNIFICANT)
    await top.supervisor.terminate_child("a")
    assert not top.ended.is_set()
    await dolls[1].end(error)
    assert top.ended.is_set()
    assert top.error is None
    assert not dolls[2].is_up

    top, dolls = await significant(otp, Restart.TEMPORARY, AutoShutdown.ALL_SIGNIFICANT)
    await dolls[0].end(error)
    assert not top.ended.is_set()
    await dolls[1].end(error)
    assert top.ended.is_set()
    top, dolls = await significant(otp, Restart.TEMPORARY, AutoShutdown.ALL_SIGNIFICANT)
    await dolls[0].end(error)
    await top.supervisor.terminate_child("b")
    await after(1)
    assert not top.ended.is_set()


async def test_significant_transient(autojump_clock: Clock, otp: Setting) -> None:
    """any and all: only a normal end counts; after a crash the child is restarted, and one that waits is not gone."""
    for mode in MODES:
        top, (a, b, c) = await significant(otp, Restart.TRANSIENT, mode)
        await a.end(CRASH)
        assert not top.ended.is_set()
        if mode is AutoShutdown.ALL_SIGNIFICANT:
            await b.end()
            assert not top.ended.is_set()
        await after(1)
        await a.end()
        assert top.ended.is_set()
        assert top.error is None
        assert not c.is_up


@pytest.mark.parametrize("mode", MODES)
def test_significant_simple(mode: AutoShutdown) -> None:
    """auto_shutdown is refused for a supervisor whose children are instances of a template."""
    with pytest.raises(BadCombination, match="auto_shutdown needs static children"):
        Supervisor("top", [spec(Doll())], strategy="simple_one_for_one", auto_shutdown=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
async def test_significant_bystander(
    autojump_clock: Clock, otp: Setting, mode: AutoShutdown, strategy: str, restart: Restart
) -> None:
    """A significant child that is stopped because of a sibling does not end its supervisor."""
    crasher, bystander = Doll("crasher"), Doll("bystander")
    top = otp(spec(crasher), spec(bystander, restart=restart, significant=True), strategy=strategy, auto_shutdown=mode)
    await settle()
    await crasher.end(CRASH)
    await after(1)
    assert not top.ended.is_set()
    assert crasher.is_up
    assert bystander.is_up == (strategy == "one_for_one" or restart is Restart.TRANSIENT)
    endings = [event.ending for event in top.of(ChildExited) if event.child == "bystander"]
    assert endings == ([] if strategy == "one_for_one" else [Ending.STOPPED])


@pytest.mark.parametrize("chained", [True, False])
async def test_significant_escalation(autojump_clock: Clock, otp: Setting, chained: bool) -> None:
    """A significant worker's end ends its supervisor, and that one's parent if it is significant there, else not."""
    worker, other = Doll("worker"), Doll("other")
    inner = Supervisor(
        "inner",
        [spec(worker, restart="transient", significant=True)],
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    top = otp(
        ChildSpec(id="inner", run=inner.run, kind=ChildKind.SUPERVISOR, restart=Restart.TRANSIENT, significant=chained),
        spec(other),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    await settle()
    await worker.end()
    assert top.ended.is_set() == chained
    assert other.is_up != chained
    assert chained or top.state("inner") is ChildState.IDLE
