"""Who is started, stopped and restarted, and when, with what callers may ask for (pure).

The supervisor's brain feeds a :class:`Policy` with what happened (``ready``, ``healthy``, ``exited``, commands),
then asks ``step`` what to do and ``wake`` when to ask again. Nothing here waits or does I/O; times are trio's clock.
"""

import math
from typing import Any

from supervisors.actions import (
    AlreadyPresent,
    AlreadyStarted,
    Answer,
    NotFound,
    Restarting,
    Running,
    Stopping,
)
from supervisors.child import RUNNING, Child, ChildSpec, ChildState
from supervisors.lifecycle import Lifecycle, unstopped


class Policy(Lifecycle):
    """The children of one supervisor, and the commands about them.

    Each command is answered by an :class:`~supervisors.actions.Answer` with its token, now or later.
    """

    def start_child(self, spec: ChildSpec, token: Any) -> None:
        """Add a child and start it; answered with its ``started`` value, or None if it is ignored."""
        present = self.children.get(spec.id)
        if self.stopping:
            self._agenda.refuse(token, Stopping(f"{self.name} is stopping"))
        elif present is not None:
            kind = AlreadyStarted if present.state in RUNNING else AlreadyPresent
            self._agenda.refuse(token, kind(f"{self.name} has a child {spec.id!r} already: {present.state.value}"))
        else:
            child = self.children[spec.id] = Child.of(spec)
            self._agenda.wait(spec.id, "start", token)
            self._queue.append(child)

    def terminate_child(self, id: str, token: Any, now: float) -> None:  # noqa: A002 - the field's own name
        """Stop a child; answered once it is down, or refused with Unstopped at its deadline."""
        child = self._find(id, token)
        if child is None:
            return
        child.wanted = False
        self._agenda.wait(id, "terminate", token)
        if child.state in RUNNING:
            if child.state is ChildState.UNSTOPPED:
                self._agenda.answer(child, "terminate", error=unstopped(child))
            else:
                self._begin_stop(child, now, "terminated")
        else:
            self._rest(child)

    def restart_child(self, id: str, token: Any) -> None:  # noqa: A002
        """Start a child that is not running, at once and with its strategy reset."""
        child = self._find(id, token)
        if child is None:
            return
        if self.stopping:
            self._agenda.refuse(token, Stopping(f"{self.name} is stopping"))
        elif child.state is ChildState.STARTING:
            self._agenda.refuse(token, Restarting(f"child {id!r} is being started"))
        elif child.state is ChildState.UNSTOPPED:
            self._agenda.refuse(token, unstopped(child))
        elif child.state in RUNNING:
            self._agenda.refuse(token, Running(f"child {id!r} is {child.state.value}"))
        else:
            child.wanted = True
            child.strategy.reset()
            child.window.clear()
            self._agenda.set_due(child, math.inf)
            self._agenda.wait(id, "start", token)
            self._queue.append(child)

    def delete_child(self, id: str, token: Any) -> None:  # noqa: A002
        """Forget a child that is not running."""
        child = self._find(id, token)
        if child is None:
            return
        if child.state in RUNNING:
            self._agenda.refuse(token, Running(f"child {id!r} is {child.state.value}: terminate it first"))
        else:
            self._agenda.set_due(child, math.inf)
            self._forget(child)
            self._agenda.do(Answer(token))

    def _find(self, id: str, token: Any) -> Child | None:  # noqa: A002
        child = self.children.get(id)
        if child is None:
            self._agenda.refuse(token, NotFound(f"{self.name} has no child {id!r}"))
        return child
