"""Children that do not end: by the specs of suture."""

import pytest
import trio

from actors.actor import Context
from actors.events import ChildExited, ChildUnstopped, Straggler
from supervisors import ChildState, Unstopped
from tests.supervision.conftest import Clock, Setting
from tests.supervision.stage import Act, Puppet, after, settle, spec


async def spin(context: Context) -> None:
    """Swallow every cancel and go on at once, for a while: the worst that one can do and still end."""
    context.started()
    spins = 0
    while spins < 2000:
        try:
            await trio.sleep(1)
        except trio.Cancelled:  # noqa: ASYNC103 - swallowing it is the fault that is looked for
            spins += 1


async def hide(context: Context) -> None:
    """Wait behind a shield, in a task of one's own."""
    context.started()
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - what hides is a task below
            nursery.start_soon(trio.sleep, 100)


@pytest.mark.parametrize(("act", "straggler"), [(spin, Straggler.SPINNING), (hide, Straggler.PARKED)])
async def test_suture_hung_service_reported(
    autojump_clock: Clock, stage: Setting, act: Act, straggler: Straggler
) -> None:
    """A child that does not end is reported by name, with whether it is parked or spinning, and its end is an event."""
    puppet = Puppet(act)
    top = stage(spec(puppet, shutdown=0.0 if straggler is Straggler.SPINNING else 3.0))
    await settle()
    await top.stop()
    assert [(event.child, event.straggler) for event in top.of(ChildUnstopped)] == [("puppet", straggler)]
    assert len(top.of(ChildExited)) == 1
    assert top.error is None


async def test_suture_remove_hung_service_with_timeout(autojump_clock: Clock, stage: Setting) -> None:
    """Removing a child that hangs is answered at its deadline; its name stays taken until it has really ended."""
    top = stage(spec(Puppet(hide), shutdown=3.0))
    await settle()
    with pytest.raises(Unstopped, match="its task still exists, parked"):
        await top.supervisor.terminate_child("puppet")
    assert trio.current_time() == 3
    await after(100)
    assert top.state("puppet") is ChildState.IDLE
    await top.supervisor.delete_child("puppet")
