"""Watching a child: told once how it ended, whatever becomes of its supervisor."""

import pytest
import trio

from actors.actor import Mailbox
from actors.errors import leaves
from actors.events import ChildExited, ChildReady, Ending, Event, SubscriberFailed
from supervisors import NotFound, NotRunning, Supervisor
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Doll, Puppet, after, live, lost, settle, spec, stubborn


async def test_a_watcher_is_told_once_how_the_incarnation_ended(autojump_clock: Clock, stage: Setting) -> None:
    """The event comes by the watcher's own mailbox; the next incarnation is another one, watched anew."""
    doll, box = Doll(), Mailbox[ChildExited](4)
    top = stage(spec(doll))
    await settle()
    top.supervisor.watch("doll", box.tell)
    await doll.end(lost())
    await after(1)
    await doll.end()
    ended = await box.receive()
    assert (ended.supervisor, ended.child, ended.incarnation, ended.ending) == ("top", "doll", 1, Ending.FAILED)
    assert ended.error == "eof: gone"
    assert len(box) == 0


async def test_an_actor_watches_its_sibling(autojump_clock: Clock, stage: Setting) -> None:
    """Whoever knows supervisor and id can watch, an actor of the same tree for one."""
    doll, heard = Doll(), list[ChildExited]()
    box = Mailbox[ChildExited](1)

    async def guard(context: object) -> None:
        top.supervisor.watch("doll", box.tell)
        heard.append(await box.receive())
        await trio.sleep_forever()

    top = stage(spec(doll), spec(Puppet(guard, name="guard"), start_timeout=100))
    await settle()
    await doll.end(RuntimeError("crash"))
    assert [(event.ending, event.error) for event in heard] == [(Ending.CRASHED, "RuntimeError: crash")]


async def test_a_watch_can_be_ended(autojump_clock: Clock, stage: Setting) -> None:
    """Who no longer cares is not told; ending a watch twice, or after it was told, does nothing."""
    doll, heard = Doll(), list[Event]()
    top = stage(spec(doll))
    await settle()
    unwatch = top.supervisor.watch("doll", heard.append)
    unwatch()
    unwatch()
    late = top.supervisor.watch("doll", heard.append)
    await doll.end()
    late()
    assert len(heard) == 1


async def test_only_what_runs_can_be_watched(autojump_clock: Clock, stage: Setting) -> None:
    """An unknown child, and one without an incarnation, are refused by type."""
    doll = Doll()
    top = stage(spec(doll))
    await settle()
    with pytest.raises(NotFound):
        top.supervisor.watch("other", print)
    await doll.end(lost())
    with pytest.raises(NotRunning, match="'doll' of top is restarting"):
        top.supervisor.watch("doll", print)


async def test_a_watcher_that_raises_is_one_event(autojump_clock: Clock, stage: Setting) -> None:
    """The others are told all the same, and the supervisor goes on."""
    doll, heard = Doll(), list[Event]()
    top = stage(spec(doll))
    await settle()

    def broken(event: ChildExited) -> None:
        raise ZeroDivisionError

    top.supervisor.watch("doll", broken)
    top.supervisor.watch("doll", heard.append)
    await doll.end()
    await after(1)
    assert len(heard) == 1
    assert [event.subscriber for event in top.of(SubscriberFailed)] == ["a watch on top/doll"]
    assert doll.is_up


async def test_a_straggler_is_told_of_when_it_has_really_ended(autojump_clock: Clock, stage: Setting) -> None:
    """Even in a supervisor that stops: the late end of an unstopped child is told at its own time."""
    heard: list[ChildExited] = []
    top = stage(spec(Puppet(stubborn(50)), shutdown=1.0), spec(Puppet(live, name="other")))
    await settle()
    top.supervisor.watch("puppet", heard.append)
    await top.stop()
    assert [(event.at, event.ending) for event in heard] == [(50, Ending.STOPPED)]


async def test_watchers_hear_of_a_brain_that_breaks(autojump_clock: Clock) -> None:
    """If a supervisor's own code fails, whoever watches one of its children is told that it has ended."""
    heard: list[ChildExited] = []

    def broken(event: Event) -> None:
        if isinstance(event, ChildReady):
            supervisor.watch("puppet", heard.append)
            raise ZeroDivisionError
        if isinstance(event, ChildExited):
            raise ZeroDivisionError

    supervisor = Supervisor("top", [spec(Puppet(live))], emit=broken)
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.run()
    assert {type(leaf) for leaf in leaves(caught.value)} == {ZeroDivisionError}
    assert len(heard) == 1
