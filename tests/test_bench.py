"""The short form of the benchmark: ratios to peers in the same run, so that a slower hot path is noticed."""

import pytest

from tests.bench.report import MEMORY, OURS, SINGLE
from tests.bench.wire import BURSTS, FLAT_OUT, SINGLY, YARDSTICK, Cell, measure, server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_message_costs_a_fraction_of_what_it_did() -> None:
    """The goals with room for a noisy machine; the least of a few rounds, since what others add is not ours."""
    most = {
        Cell(FLAT_OUT): {OURS: 1 / 12, SINGLE: 1 / 8},
        Cell(BURSTS): {OURS: 0.6, SINGLE: 0.8},
        Cell(SINGLY): {OURS: 0.9, SINGLE: 1.0},
    }
    table = measure(most, (OURS, SINGLE, YARDSTICK), 5, lambda line: None)
    for cell, bounds in most.items():
        yardstick = min(table[cell][YARDSTICK].costs)
        for name, bound in bounds.items():
            ratio = min(table[cell][name].costs) / yardstick
            assert ratio <= bound, f"{cell}, {name}: {ratio:.3f} x {YARDSTICK}, {bound:.3f} are allowed"


@pytest.mark.slow
def test_an_idle_connection_stays_small() -> None:
    """A few hundred supervised TLS connections, each with all its clocks."""
    from tests.bench import idle

    with server() as place:
        assert idle.measure("feedwarden, supervised", 300, place).memory <= 1.2 * MEMORY
