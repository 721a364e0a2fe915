"""What a policy can say: the actions that its supervisor carries out (pure)."""

from typing import Any

import attrs

from actors.events import Event
from supervisors.child import Child, Runnable
from supervisors.refusals import SupervisorError


@attrs.frozen
class Start:
    """Start a task for the child's present incarnation."""

    child: Child
    run: Runnable


@attrs.frozen
class Drain:
    """Set the incarnation's ``stopping``."""

    child: Child


@attrs.frozen
class Cancel:
    """Cancel the incarnation."""

    child: Child
    why: str


@attrs.frozen
class Observe:
    """Find out what these children do, whose time to stop is spent, and report each by ``Lifecycle.late``."""

    children: tuple[Child, ...]


@attrs.frozen
class Emit:
    """Tell an event."""

    event: Event


@attrs.frozen
class Answer:
    """Answer a waiting command."""

    token: Any
    value: Any = None
    error: SupervisorError | None = None


@attrs.frozen
class Started:
    """The supervisor itself has started: every static child is up."""


Action = Start | Drain | Cancel | Observe | Emit | Answer | Started
