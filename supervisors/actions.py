"""What a policy can say: typed refusals, and the actions its supervisor carries out (pure)."""

from typing import Any

import attrs

from actors.events import Event
from supervisors.child import Child


class SupervisorError(Exception):
    """A command was refused; the class says why, as OTP's atom of that name does."""


class NotFound(SupervisorError):
    """No child has that id."""


class AlreadyStarted(SupervisorError):
    """A child of that id is running."""


class AlreadyPresent(SupervisorError):
    """A child of that id is there, but not running."""


class Running(SupervisorError):
    """The child is running; terminate it first."""


class Restarting(SupervisorError):
    """The child is just being started."""


class Unstopped(SupervisorError):
    """The child did not end within its shutdown time; its task still exists."""


class Stopping(SupervisorError):
    """The supervisor is stopping, or has ended."""


class StartFailed(SupervisorError):
    """The child ended, or took too long, before it had said ``started()``; the cause is attached."""


class TooManyCrashes(Exception):
    """A child crashed more often than its intensity allows: the supervisor has ended; the last crash is the cause."""


@attrs.frozen
class Start:
    """Start a task for the child's present incarnation."""

    child: Child


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


Action = Start | Drain | Cancel | Emit | Answer | Started
