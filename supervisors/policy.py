"""Who is started, stopped and restarted, and when, with what callers may ask for (pure).

The supervisor's brain feeds a :class:`Policy` with what happened (``ready``, ``healthy``, ``exited``, ``late``,
commands), then asks ``step`` what to do and ``wake`` when to ask again. Nothing here waits or does I/O; times are
trio's clock.
"""

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import attrs

from actors.backoff import Chance
from supervisors.actions import Answer
from supervisors.child import RUNNING, Child, ChildInfo, ChildKind, ChildSpec, ChildState, Counts
from supervisors.flags import Flags
from supervisors.lifecycle import Lifecycle, unstopped
from supervisors.refusals import (
    AlreadyPresent,
    AlreadyStarted,
    BadCombination,
    NotFound,
    Restarting,
    Running,
    Stopping,
    SupervisorError,
    TooManyChildren,
    Unsupported,
)


class Policy(Lifecycle):
    """The children of one supervisor, and the commands about them.

    Each command is answered by an :class:`~supervisors.actions.Answer` with its token, now or later.
    """

    def __init__(self, name: str, specs: Iterable[ChildSpec], flags: Flags, random: Chance) -> None:
        super().__init__(name, specs, flags, random)
        self._instances = itertools.count(1)

    def start_child(self, spec: ChildSpec, token: Any) -> None:
        """Add a child and start it; answered with its ``started`` value, or None if it is ignored."""
        refusal = self._refuse_start(spec)
        if refusal is not None:
            self._agenda.refuse(token, refusal)
            return
        child = self._add(spec)
        self._agenda.wait(spec.id, "start", token)
        self._enqueue(child)

    def start_instance(self, args: tuple[Any, ...], token: Any) -> str:
        """Start a child of the template, ``args`` going to its ``run``; returns its id, is answered as a start is."""
        if self.template is None:
            self._agenda.refuse(token, Unsupported(f"{self.name} has no template: start_child takes a spec"))
            return ""
        run = functools.partial(self.template.run, *args)
        spec = attrs.evolve(self.template, id=f"{self.template.id}-{next(self._instances)}", run=run)
        if (refusal := self._refuse_more()) is not None:
            self._agenda.refuse(token, refusal)
        else:
            self._agenda.wait(spec.id, "start", token)
            self._enqueue(self._add(spec))
        return spec.id

    def terminate_child(self, id: str, token: Any, now: float) -> None:  # noqa: A002 - the field's own name
        """Stop a child; answered once it is down, or refused with Unstopped at its deadline."""
        child = self._find(id, token)
        if child is None:
            return
        child.wanted = False
        child.next_attempt = None
        self._agenda.wait(id, "terminate", token)
        if child.state is ChildState.UNSTOPPED:
            self._agenda.answer(child, "terminate", error=unstopped(child))
        elif child.state in RUNNING:
            self._begin_stop(child, now, "terminated")
        else:
            self._rest(child)

    def restart_child(self, id: str, token: Any, now: float) -> None:  # noqa: A002
        """Start a child that is not running, at once and with its strategy reset."""
        child = self._find(id, token)
        if child is None:
            return
        refusal = self._refuse_restart(child)
        if refusal is not None:
            self._agenda.refuse(token, refusal)
            return
        child.wanted = True
        child.next_attempt = now
        child.strategy.reset()
        child.window.clear()
        self._agenda.set_due(child, math.inf)
        self._agenda.wait(id, "start", token)
        self._enqueue(child)

    def delete_child(self, id: str, token: Any) -> None:  # noqa: A002
        """Forget a child that is not running."""
        child = self._find(id, token)
        if child is None:
            return
        if self.template is not None:
            self._agenda.refuse(token, Unsupported(f"an instance of {self.template.id!r} goes when it is terminated"))
        elif self._is_being_started(child):
            self._agenda.refuse(token, Restarting(f"child {id!r} is being started"))
        elif child.state in RUNNING:
            self._agenda.refuse(token, Running(f"child {id!r} is {child.state.value}: terminate it first"))
        else:
            self._rest(child)
            self._forget(child)
            self._agenda.do(Answer(token))

    # -- what can be seen

    def get_childspec(self, id: str) -> ChildSpec:  # noqa: A002
        """The spec of a child, the template for an instance of it; raises NotFound."""
        child = self.find(id)
        return child.spec if self.template is None else self.template

    def which_children(self) -> list[ChildInfo]:
        """Every child, in order, as it stands."""
        return [
            ChildInfo(
                id=child.spec.id,
                kind=child.spec.kind,
                state=child.state,
                incarnation=child.incarnation,
                next_attempt=child.next_attempt,
                last_error=child.error,
            )
            for child in self.children.values()
        ]

    def count_children(self) -> Counts:
        """The numbers of children."""
        supervisors = sum(child.spec.kind is ChildKind.SUPERVISOR for child in self.children.values())
        specs = len(self.children) if self.template is None else 1
        return Counts(specs, self.running, supervisors, len(self.children) - supervisors)

    def find(self, id: str) -> Child:  # noqa: A002
        """The child of that id; raises NotFound."""
        child = self.children.get(id)
        if child is None:
            raise NotFound(f"{self.name} has no child {id!r}")
        return child

    # -- refusals

    def _find(self, id: str, token: Any) -> Child | None:  # noqa: A002
        try:
            return self.find(id)
        except NotFound as error:
            self._agenda.refuse(token, error)
            return None

    def _refuse_start(self, spec: ChildSpec) -> SupervisorError | None:
        present = self.children.get(spec.id)
        if self.template is not None:
            return Unsupported(f"{self.name} starts instances of its template only: use start_instance")
        if present is not None and not self.stopping:
            kind = AlreadyStarted if present.state in RUNNING else AlreadyPresent
            return kind(f"{self.name} has a child {spec.id!r} already: {present.state.value}")
        try:
            self.flags.check(self.name, [spec])
        except BadCombination as error:
            return error
        return self._refuse_more()

    def _refuse_more(self) -> SupervisorError | None:
        if self.stopping:
            return Stopping(f"{self.name} is stopping")
        limit = self.flags.max_children
        if limit is not None and len(self.children) >= limit:
            return TooManyChildren(f"{self.name} has {len(self.children)} children, which is max_children")
        return None

    def _refuse_restart(self, child: Child) -> SupervisorError | None:
        id = child.spec.id  # noqa: A001 - the field's own name
        if self.template is not None:
            return Unsupported(f"an instance of {self.template.id!r} is not restarted by hand: start a new one")
        if self.stopping:
            return Stopping(f"{self.name} is stopping")
        if self._is_being_started(child):
            return Restarting(f"child {id!r} is being started")
        if child.state is ChildState.UNSTOPPED:
            return unstopped(child)
        if child.state in RUNNING:
            return Running(f"child {id!r} is {child.state.value}")
        return None

    @staticmethod
    def _is_being_started(child: Child) -> bool:
        return child.state is ChildState.STARTING or (child.state is ChildState.IDLE and child.queued)
