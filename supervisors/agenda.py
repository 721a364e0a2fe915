"""What a supervisor's policy keeps besides its children: deadlines, waiting callers, and the actions to come (pure)."""

import heapq
import math
from typing import Any

from actors.errors import ConnectorError, Reason
from actors.events import ChildEvent, Event
from supervisors.actions import Action, Answer, Emit
from supervisors.child import Child
from supervisors.refusals import SupervisorError


class Agenda:
    """Deadlines in a heap, callers by the child they wait for, actions in order. Times are trio's clock."""

    def __init__(self, supervisor: str) -> None:
        self._supervisor = supervisor
        self._actions: list[Action] = []
        self._timers: list[tuple[float, int, Child]] = []
        self._ticket = 0
        self._waiters: dict[str, list[tuple[str, Any]]] = {}

    def do(self, *actions: Action) -> None:
        """Add actions."""
        self._actions.extend(actions)

    def take(self) -> list[Action]:
        """The actions so far; the list starts over."""
        actions, self._actions = self._actions, []
        return actions

    def tell(self, kind: type[ChildEvent], child: Child, now: float, **fields: Any) -> None:
        """Add an event about a child."""
        event = kind(at=now, supervisor=self._supervisor, child=child.spec.id, incarnation=child.incarnation, **fields)
        self._actions.append(Emit(event))

    def announce(self, event: Event) -> None:
        """Add an event about the supervisor itself."""
        self._actions.append(Emit(event))

    # -- deadlines

    def set_due(self, child: Child, due: float) -> None:
        """The child's one deadline is now ``due``; infinity takes it away."""
        child.due = due
        if due < math.inf:
            self._ticket += 1
            heapq.heappush(self._timers, (due, self._ticket, child))

    def elapsed(self, now: float) -> Child | None:
        """A child whose deadline has passed, its deadline taken away; None if there is none (left)."""
        while self._timers and self._timers[0][0] <= now:
            due, _, child = heapq.heappop(self._timers)
            if child.due == due:
                child.due = math.inf
                return child
        return None

    @property
    def wake(self) -> float:
        """The next deadline; infinity if there is none."""
        while self._timers and self._timers[0][2].due != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    # -- callers

    def wait(self, id: str, what: str, token: Any) -> None:  # noqa: A002 - the field's own name
        """A caller waits until ``what`` has happened to a child."""
        self._waiters.setdefault(id, []).append((what, token))

    def is_waited_for(self, child: Child, what: str) -> bool:
        """Whether somebody waits for ``what`` to happen to the child."""
        return any(waiting == what for waiting, _ in self._waiters.get(child.spec.id, ()))

    def answer(self, child: Child, what: str, value: Any = None, error: SupervisorError | None = None) -> None:
        """Answer all who wait for ``what`` to happen to the child."""
        waiting = self._waiters.pop(child.spec.id, None)
        if waiting is None:
            return
        rest = [waiter for waiter in waiting if waiter[0] != what]
        if rest:
            self._waiters[child.spec.id] = rest
        self.do(*(Answer(token, value, error) for waiter, token in waiting if waiter == what))

    def refuse(self, token: Any, error: SupervisorError) -> None:
        """Answer a caller with an error."""
        self._actions.append(Answer(token, error=error))


def reason_of(error: Exception | None) -> Reason | None:
    """The reason of a failure from outside."""
    return error.reason if isinstance(error, ConnectorError) else None


def words(error: Exception | None) -> str:
    """An error for a person; empty if there is none."""
    if error is None:
        return ""
    return str(error) if isinstance(error, ConnectorError) else f"{type(error).__name__}: {error}"
