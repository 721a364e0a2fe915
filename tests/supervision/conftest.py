"""Stages to order: supervisors in a nursery that is cancelled when the test has ended, under the virtual clock."""

import functools
from collections.abc import Callable

import pytest
import trio
import trio.testing

from supervisors import Intensity
from tests.supervision.stage import Stage

Clock = trio.testing.MockClock
Setting = Callable[..., Stage]
"""Takes specs, and a supervisor's settings by name."""


@pytest.fixture
def stage(autojump_clock: Clock, nursery: trio.Nursery) -> Setting:
    """A supervisor as it is by default."""
    return functools.partial(Stage, nursery)


@pytest.fixture
def otp(stage: Setting) -> Setting:
    """A supervisor under OTP's exact rule: every restart counts, whatever ended the child; two in an hour are borne."""
    return functools.partial(stage, every_restart_counts=True, intensity=Intensity(2, 3600))
