"""What follows when an incarnation ends and nobody asked for it (pure).

The error's *advice* says when to come back, the strategy what "later" means, the *class* of the error whether it
counts as a crash.
"""

import random

import attrs

from actors.errors import Escalate, GiveUp, Way
from supervisors.actions import TooManyCrashes
from supervisors.child import Child, Failed, Outcome, Restart, TooMany


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


def after_end(child: Child, outcome: Outcome, now: float, random: random.Random) -> Decision:
    """What is to follow the end of ``child``'s incarnation; counts its crash and draws its delay."""
    if not isinstance(outcome, Failed):
        return _retry(child, random) if child.spec.restart is Restart.PERMANENT else Rest()
    if isinstance(outcome.error, Escalate):
        return Fail(outcome.error)
    if isinstance(outcome.error, GiveUp):
        return Abandon()
    if child.spec.restart is Restart.TEMPORARY:
        return Rest()
    if outcome.crash and child.window.crash(now):
        return _too_many(child, outcome.error)
    return _by_advice(child, outcome, now, random)


def exceeded(child: Child) -> bool:
    """Whether the child has crashed more often than it may."""
    return len(child.window) > child.spec.intensity.crashes


def _too_many(child: Child, error: Exception) -> Decision:
    spec = child.spec
    if spec.too_many is TooMany.QUARANTINE:
        return Retry(spec.quarantine_delay, Way.QUARANTINE)
    if spec.too_many is TooMany.GIVE_UP:
        return Abandon()
    often = f"{len(child.window)} times in {spec.intensity.seconds:g} s"
    failure = TooManyCrashes(f"child {spec.id!r} crashed {often}: {error!r}")
    failure.__cause__ = error
    return Fail(failure)


def _by_advice(child: Child, outcome: Failed, now: float, random: random.Random) -> Decision:
    advice, strategy = outcome.advice, child.strategy
    if advice.way is Way.NOW:
        # an exchange that greets and hangs up would be stormed, were "now" not a reward for health, and rare
        if child.was_healthy and now - child.last_now >= strategy.reset_after:
            child.last_now = now
            return Retry(0.0, Way.NOW)
        return _retry(child, random)
    least = child.spec.quarantine_delay if advice.way is Way.QUARANTINE else advice.seconds
    return _retry(child, random, least, advice.way)


def _retry(child: Child, random: random.Random, least: float = 0.0, way: Way = Way.BACKOFF) -> Decision:
    delay = child.strategy.next_delay(random)
    return Abandon() if delay is None else Retry(max(least, delay), way)
