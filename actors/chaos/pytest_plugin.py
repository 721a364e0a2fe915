"""Fixtures for tests of consumers; pytest finds them by itself where feedwarden is installed.

They are factories, so that a test says what it needs, and everything they draw is drawn from the test's seed.
"""

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from actors.chaos import Server, SimulatedExchange
    from actors.chaos.network import VirtualNetwork
    from actors.chaos.plans import Plan


@pytest.fixture
def simulated_exchange() -> "Callable[..., SimulatedExchange]":
    """Makes a :class:`~actors.chaos.exchange.SimulatedExchange` for a virtual network: ``simulated_exchange(venue)``.

    It listens on no port; keyword arguments are the class's own, ``seed`` draws its market.
    """
    from actors.chaos import SimulatedExchange, SimulatedVenue

    def make(venue: Any = None, *, seed: int = 1, **more: Any) -> SimulatedExchange:
        return SimulatedExchange(venue or SimulatedVenue(), port=None, random=_draws(seed), **more)

    return make


@pytest.fixture
def virtual_network() -> "Callable[[Mapping[str, Server]], VirtualNetwork]":
    """Makes a :class:`~actors.chaos.network.VirtualNetwork` before servers: ``virtual_network({host: server})``."""
    from actors.chaos.network import VirtualNetwork

    def make(servers: "Mapping[str, Server]", *, seed: int = 1) -> VirtualNetwork:
        return VirtualNetwork(servers, random=_draws(seed))

    return make


@pytest.fixture
def fault_plan() -> "Callable[..., Plan]":
    """Draws a :class:`~actors.chaos.plans.Plan`: ``fault_plan(seed)``; :func:`actors.chaos.plans.play` plays it."""
    from actors.chaos.plans import draw_plan

    return draw_plan


def _draws(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeating is the point
