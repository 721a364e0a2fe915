"""OTP's supervisor_SUITE: commands over a child's life, and what can be seen of it."""

import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.actor import NO_CONTEXT, Context
from actors.registry import Name, NameTaken, Registry
from supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildKind,
    ChildSpec,
    ChildState,
    NotFound,
    Restart,
    Running,
    StartFailed,
    Strategy,
    Supervisor,
    Unsupported,
)
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Doll, Puppet, after, fail, finish, live, settle, spec

CRASH = RuntimeError("crash")


async def test_child_adm(autojump_clock: Clock, otp: Setting) -> None:
    """start, terminate, restart and delete with each of OTP's refusals; terminating twice is allowed."""
    doll = Doll()
    top = otp()
    await settle()
    sup = top.supervisor
    assert await sup.start_child(spec(doll)) == "doll"
    with pytest.raises(AlreadyStarted):
        await sup.start_child(spec(doll))
    with pytest.raises(Running):
        await sup.restart_child("doll")
    with pytest.raises(Running):
        await sup.delete_child("doll")
    await sup.terminate_child("doll")
    await sup.terminate_child("doll")
    assert top.counts == (1, 0, 0, 1)
    with pytest.raises(AlreadyPresent):
        await sup.start_child(spec(doll))
    assert await sup.restart_child("doll") == "doll"
    await sup.terminate_child("doll")
    await sup.delete_child("doll")
    for command in (sup.terminate_child, sup.restart_child, sup.delete_child):
        with pytest.raises(NotFound, match="top has no child 'doll'"):
            await command("doll")
    assert top.counts == (0, 0, 0, 0)


async def test_child_adm_simple(autojump_clock: Clock, otp: Setting) -> None:
    """Instances are terminated by their id, and are gone then; restart and delete are not for them, nor are specs."""
    top = otp(spec(Doll()), strategy="simple_one_for_one")
    await settle()
    sup = top.supervisor
    made = await sup.start_instance()
    assert made.value == "doll"
    with pytest.raises(Unsupported, match="start a new one"):
        await sup.restart_child(made.id)
    with pytest.raises(Unsupported, match="goes when it is terminated"):
        await sup.delete_child(made.id)
    with pytest.raises(Unsupported, match="use start_instance"):
        await sup.start_child(spec(Doll("other")))
    await sup.terminate_child(made.id)
    for gone in (made.id, "foreign"):
        with pytest.raises(NotFound):
            await sup.terminate_child(gone)
    plain = otp()
    await settle()
    with pytest.raises(Unsupported, match="has no template"):
        await plain.supervisor.start_instance()


async def test_already_started_outside_supervisor(autojump_clock: Clock, otp: Setting) -> None:
    """A child whose name somebody serves already does not start, and the error says who that is."""
    names, prices = Registry(), Name[int]("prices", 8)

    async def serve(context: Context) -> None:
        with names.serve(prices, holder="the child"):
            context.started()
            await trio.sleep_forever()

    top = otp()
    await settle()
    with names.serve(prices, holder="somebody else"):
        with pytest.raises(StartFailed, match="'somebody else' serves the name 'prices' already") as caught:
            await top.supervisor.start_child(spec(Puppet(serve)))
        assert isinstance(caught.value.__cause__, NameTaken)
        assert top.ids == []
    await top.supervisor.start_child(spec(Puppet(serve)))
    assert names.holder(prices) == "the child"


async def test_which_children(autojump_clock: Clock, otp: Setting) -> None:
    """which_children shows every child in order, with its state, over its whole life."""
    dolls = [Doll(name) for name in "abc"]
    top = otp(*map(spec, dolls))
    await settle()
    assert top.ids == ["a", "b", "c"]
    await top.supervisor.terminate_child("b")
    await dolls[0].end(CRASH)
    a, b, c = top.supervisor.which_children()
    assert (a.state, a.incarnation, a.next_attempt, a.last_error) == (ChildState.RESTARTING, 1, 1, CRASH)
    assert (b.state, b.next_attempt) == (ChildState.IDLE, None)
    assert c.state is ChildState.UP
    await after(1)
    assert top.supervisor.which_children()[0].incarnation == 2
    await top.supervisor.start_child(spec(Doll("d"), kind="supervisor"))
    await top.supervisor.delete_child("b")
    assert [(each.id, each.kind) for each in top.supervisor.which_children()][-1] == ("d", ChildKind.SUPERVISOR)
    assert top.ids == ["a", "c", "d"]


async def test_which_children_simple_one_for_one(autojump_clock: Clock, otp: Setting) -> None:
    """The same for instances: there while they live or wait, gone when they were terminated."""
    top = otp(spec(Doll()), strategy="simple_one_for_one")
    await settle()
    first, second = [await top.supervisor.start_instance() for _ in range(2)]
    assert top.ids == [first.id, second.id]
    await top.supervisor.terminate_child(first.id)
    assert top.ids == [second.id]
    third = await top.supervisor.start_instance()
    assert top.ids == [second.id, third.id]


async def counted(otp: Setting, kind: ChildKind) -> None:
    def counts(number: int) -> tuple[int, int, int, int]:
        return (1, number, number, 0) if kind is ChildKind.SUPERVISOR else (1, number, 0, number)

    def run(*, task_status: Context = NO_CONTEXT) -> Awaitable[None]:
        if kind is ChildKind.SUPERVISOR:
            return Supervisor("inner").run(task_status=task_status)
        return live(task_status)

    top = otp(ChildSpec(id="child", run=run, kind=kind), strategy="simple_one_for_one")
    await settle()
    for total in (1000, 2000):
        for _ in range(1000):
            await top.supervisor.start_instance()
        assert top.counts == counts(total)
        assert top.counts == counts(total)


async def test_count_children(autojump_clock: Clock, otp: Setting) -> None:
    """A thousand workers and then two thousand are counted, one spec for all; counting again changes nothing."""
    await counted(otp, ChildKind.WORKER)


async def test_count_children_supervisor(autojump_clock: Clock, otp: Setting) -> None:
    """The same for children that are supervisors."""
    await counted(otp, ChildKind.SUPERVISOR)


async def test_count_restarting_children(autojump_clock: Clock, stage: Setting) -> None:
    """Children that wait for their next attempt count as specs and by kind, not as active, until they are back."""
    dolls = [Doll(name) for name in "abc"]
    top = stage(*map(spec, dolls))
    await settle()
    assert top.counts == (3, 3, 0, 3)
    await dolls[0].end(CRASH)
    await dolls[1].end(CRASH)
    assert top.counts == (3, 1, 0, 3)
    await after(1)
    assert top.counts == (3, 3, 0, 3)


class Big:
    """An argument whose end can be seen."""


async def use_up(*arguments: Big, task_status: Context) -> None:
    """Be up without what one was given."""
    del arguments
    task_status.started()
    await trio.sleep_forever()


@pytest.mark.parametrize("strategy", [each for each in Strategy if each is not Strategy.SIMPLE_ONE_FOR_ONE])
@pytest.mark.parametrize("restart", Restart)
async def test_do_not_save_start_parameters_for_temporary_children(
    autojump_clock: Clock, otp: Setting, strategy: Strategy, restart: Restart
) -> None:
    """What a temporary child was started with is not kept by its supervisor, of any strategy; others' is."""

    def make() -> tuple[ChildSpec, "weakref.ref[Big]"]:
        big = Big()

        def run(*, task_status: Context, given: list[Big] = [big]) -> Awaitable[None]:  # noqa: B006 - held by run alone
            return use_up(*given, task_status=task_status)

        return ChildSpec(id="child", run=run, restart=restart), weakref.ref(big)

    top = otp(strategy=strategy)
    await settle()
    child, seen = make()
    await top.supervisor.start_child(child)
    del child
    gc.collect()
    assert (seen() is None) == (restart is Restart.TEMPORARY)
    assert top.state("child") is ChildState.UP
    assert top.supervisor.get_childspec("child").restart is restart


@pytest.mark.parametrize("restart", Restart)
async def test_simple_one_for_one_corruption(autojump_clock: Clock, otp: Setting, restart: Restart) -> None:
    """The arguments of an instance are kept only while it can be restarted: never those of a temporary one."""
    template: Any = use_up
    top = otp(ChildSpec(id="child", run=template, restart=restart), strategy="simple_one_for_one")
    await settle()
    big = Big()
    seen = weakref.ref(big)
    made = await top.supervisor.start_instance(big)
    del big
    gc.collect()
    assert (seen() is None) == (restart is Restart.TEMPORARY)
    await top.supervisor.terminate_child(made.id)
    gc.collect()
    assert seen() is None


ENDS: list[Callable[[Context], Awaitable[None]]] = [finish, fail(CRASH)]


@pytest.mark.parametrize("strategy", [each for each in Strategy if each is not Strategy.SIMPLE_ONE_FOR_ONE])
@pytest.mark.parametrize("act", ENDS)
async def test_do_not_save_child_specs_for_temporary_children(
    autojump_clock: Clock, otp: Setting, strategy: Strategy, act: Callable[[Context], Awaitable[None]]
) -> None:
    """The spec of a temporary child is gone when it has ended or was terminated, those of the others are kept."""
    top = otp(strategy=strategy)
    await settle()
    for restart in Restart:
        puppet = Puppet(act, live, name=restart.value)
        await top.supervisor.start_child(spec(puppet, restart=restart))
        await after(10)
    assert top.ids == ["permanent", "transient"]
    for restart in Restart:
        name = f"{restart.value}-2"
        await top.supervisor.start_child(spec(Puppet(live, name=name), restart=restart))
        await top.supervisor.terminate_child(name)
    assert top.ids == ["permanent", "transient", "permanent-2", "transient-2"]


async def test_tree(autojump_clock: Clock, otp: Setting) -> None:
    """A tree of two levels is counted level by level; restarted, it has its static children again, no dynamic ones."""
    leaves = {name: Doll(name) for name in ("a1", "a2", "b1", "b2")}
    inner = {
        name: Supervisor(name, [spec(leaves[f"{name}1"]), spec(leaves[f"{name}2"])], strategy="one_for_all")
        for name in "ab"
    }
    pool = Supervisor("pool", [spec(Doll("p"))], strategy="simple_one_for_one")
    top = otp(
        *(ChildSpec(id=each.name, run=each.run, kind=ChildKind.SUPERVISOR) for each in (*inner.values(), pool)),
        strategy="one_for_all",
    )
    await settle()
    assert top.counts == (3, 3, 3, 0)
    for _ in range(2):
        await pool.start_instance()
    await inner["a"].start_child(spec(Doll("a3")))
    await leaves["b1"].end(CRASH)
    await after(1)
    assert [len(doll.runs) for doll in leaves.values()] == [1, 1, 2, 2]
    assert pool.count_children().active == 2
    inner["a"].stop()  # it ends, and is permanent: the whole tree starts over
    await after(1)
    assert top.counts == (3, 3, 3, 0)
    assert [len(doll.runs) for doll in leaves.values()] == [2, 2, 3, 3]
    assert [child.id for child in inner["a"].which_children()] == ["a1", "a2"]
    assert pool.count_children().active == 0


async def test_simple_global_supervisor(autojump_clock: Clock, otp: Setting) -> None:
    """A supervisor may end, its worker may crash or end by itself: each time what belongs together is back."""
    worker = Doll("worker")
    inner = Supervisor("inner", [spec(worker)])
    top = otp(ChildSpec(id="inner", run=inner.run, kind=ChildKind.SUPERVISOR))
    await settle()
    await worker.end(CRASH)
    await after(1)
    await worker.end()
    await after(2)
    assert len(worker.runs) == 3
    inner.stop()
    await after(1)
    assert len(worker.runs) == 4
    assert worker.is_up
    assert top.state("inner") is ChildState.UP
