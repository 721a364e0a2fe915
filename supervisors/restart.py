"""What follows when an incarnation ends and nobody asked for it (pure).

The error's *advice* says when to come back, the strategy what "later" means, the *class* of the error whether it
counts as a crash.
"""

import attrs

from actors.backoff import Chance
from actors.errors import Escalate, GiveUp, Way
from supervisors.child import Child, Failed, Outcome, Restart, TooMany
from supervisors.flags import Flags
from supervisors.intensity import Window
from supervisors.refusals import TooManyCrashes


@attrs.frozen
class Rest:
    """Nothing: the child is done."""


@attrs.frozen
class Retry:
    """Another attempt in ``delay`` seconds."""

    delay: float
    way: Way


@attrs.frozen
class Abandon:
    """No other attempt, unless somebody asks for one."""


@attrs.frozen
class Fail:
    """The supervisor itself fails with ``error``."""

    error: Exception


Decision = Rest | Retry | Abandon | Fail


class Judge:
    """Decides what follows an end; keeps the supervisor's own window.

    Args:
        name: The supervisor's name.
        flags: Its settings.
        random: Draws the jitter of every delay.
    """

    def __init__(self, name: str, flags: Flags, random: Chance) -> None:
        self._name = name
        self._flags = flags
        self._random = random
        self._window = Window(flags.intensity)

    def after_end(self, child: Child, outcome: Outcome, now: float) -> tuple[Decision, Window | None]:
        """What is to follow, and the window that overflowed; counts the crash and draws the delay."""
        error = outcome.error if isinstance(outcome, Failed) else None
        if isinstance(error, Escalate):
            return Fail(error), None
        if child.spec.restart is Restart.TEMPORARY or (error is None and child.spec.restart is Restart.TRANSIENT):
            return Rest(), None
        if isinstance(error, GiveUp):
            return Abandon(), None
        crash = isinstance(outcome, Failed) and outcome.crash
        if error is not None and crash and not self._flags.every_restart_counts and child.window.crash(now):
            return self._too_many(child, error), child.window
        decision = self._by_advice(child, outcome, now) if isinstance(outcome, Failed) else self._retry(child)
        if isinstance(decision, Retry) and self._counts(crash) and self._window.crash(now):
            limit = self._flags.intensity
            what = "restarts" if self._flags.every_restart_counts else "crashes"
            times = f"{len(self._window)} {what} in {limit.seconds:g} s"
            return Fail(_caused(f"{self._name} saw {times}, the last of child {child.spec.id!r}", error)), self._window
        return decision, None

    def _counts(self, crash: bool) -> bool:
        return self._flags.every_restart_counts or (crash and not self._flags.unordered)

    def _too_many(self, child: Child, error: Exception) -> Decision:
        spec = child.spec
        if spec.too_many is TooMany.GIVE_UP:
            return Abandon()
        if spec.too_many is TooMany.QUARANTINE or self._flags.unordered:
            return Retry(spec.quarantine_delay, Way.QUARANTINE)
        often = f"{len(child.window)} times in {spec.intensity.seconds:g} s"
        return Fail(_caused(f"child {spec.id!r} crashed {often}", error))

    def _by_advice(self, child: Child, outcome: Failed, now: float) -> Decision:
        advice, strategy = outcome.advice, child.strategy
        if advice.way is Way.NOW:
            # an exchange that greets and hangs up would be stormed, were "now" not a reward for health, and rare
            if child.was_healthy and now - child.last_now >= strategy.reset_after:
                child.last_now = now
                return Retry(0.0, Way.NOW)
            return self._retry(child)
        least = child.spec.quarantine_delay if advice.way is Way.QUARANTINE else advice.seconds
        return self._retry(child, least, advice.way)

    def _retry(self, child: Child, least: float = 0.0, way: Way = Way.BACKOFF) -> Decision:
        delay = child.strategy.next_delay(self._random)
        return Abandon() if delay is None else Retry(max(least, delay), way)


def all_crashed_out(name: str, count: int, error: Exception | None) -> TooManyCrashes:
    """The failure of a supervisor whose dynamic children are all in quarantine for their crashes."""
    return _caused(f"{name}: its children ({count}) are all in quarantine for crashes", error)


def _caused(words: str, error: Exception | None) -> TooManyCrashes:
    failure = TooManyCrashes(words if error is None else f"{words}: {error!r}")
    failure.__cause__ = error
    return failure
