"""How a supervisor says no: typed refusals with OTP's meaning, and what it fails by (pure)."""


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


class NotRunning(SupervisorError):
    """The child has no incarnation now that could be watched."""


class Restarting(SupervisorError):
    """The child is just being started."""


class Unstopped(SupervisorError):
    """The child did not end within its shutdown time; its task still exists."""


class Stopping(SupervisorError):
    """The supervisor is stopping, or has ended."""


class Overloaded(SupervisorError):
    """Too many callers wait for this supervisor already."""


class StartFailed(SupervisorError):
    """The child ended, or took too long, before it had said ``started()``; the cause is attached."""


class TooManyChildren(SupervisorError):
    """There are ``max_children`` already; those that wait for a restart count."""


class Unsupported(SupervisorError):
    """This kind of supervisor does not know the command; OTP's ``simple_one_for_one``."""


class BadCombination(SupervisorError, ValueError):
    """The settings of a supervisor and of a child contradict each other."""


class TooManyCrashes(Exception):
    """More crashes than an intensity allows, a child's or the supervisor's own: the supervisor has ended.

    The last crash is the cause.
    """
