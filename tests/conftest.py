"""What holds for every test: property tests have no deadline of their own, and in CI the same examples every time."""

import gc
import os
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.hostile import descriptors

# a shared machine may pause for longer than any example takes; new examples are searched for at the desk, where a
# failing one can be looked at, and not in the run that decides whether a change lands
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


SOCKETS = frozenset(f"test_{name}" for name in ("network", "proxy", "rows", "tap", "tls", "websocket"))
"""The modules whose tests must close what they open without any help from the collector."""


@pytest.fixture(autouse=True)
def nothing_open(request: pytest.FixtureRequest) -> Generator[None]:
    """With the collector off, a test of a socket leaves no descriptor behind; nor can a task outlive its loop."""
    if request.path.stem not in SOCKETS:
        yield
        return
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        yield
        # one of before may have been closed meanwhile, by a thread that an earlier test had to leave to itself
        assert descriptors() - before == set()
    finally:
        gc.enable()


@pytest.fixture
def untraced() -> Generator[None]:
    """No coverage while the test runs: it makes what is measured here several times dearer.

    pytest-cov's own ``no_cover`` does not do: a worker is a subprocess too, and is traced once more as one.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
