"""The soak: its short form, and that its verdict can be bad."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from tests.soak_verdict import PANELS, Round, chart, complaints

ROOT = Path(__file__).parent.parent
FLAT = [
    Round(
        at=30.0 * n,
        live=100,
        memory=60.0,
        blocks=200_000,
        descriptors=114,
        tasks=906,
        cpu=50.0,
        messages=5000,
        reconnects=400 * n,
    )
    for n in range(1, 21)
]


def bent(name: str, by: float) -> list[Round]:
    """Rounds in which one figure rises by so much from each to the next."""
    return [attrs.evolve(each, **{name: getattr(each, name) + by * n}) for n, each in enumerate(FLAT)]


def test_what_is_flat_passes() -> None:
    """And what falls does."""
    assert complaints(FLAT, 100) == []
    assert complaints(bent("memory", -0.5), 100) == []


@pytest.mark.parametrize(
    ("name", "by", "told"),
    [
        ("memory", 0.3, "memory rose by 4.2 MB, more than 3"),
        ("blocks", 400, "blocks of memory rose by 5600, more than 5400"),
        ("descriptors", 1, "descriptors rose from 119 to 133"),
        ("tasks", 3, "tasks rose from 921 to 963"),
        ("cpu", 2.0, "CPU for a message has grown 1.3"),
        ("live", -1, "94 of 100 feeds were live at 210 s"),
    ],
)
def test_what_rises_is_named(name: str, by: float, told: str) -> None:
    """A leak of each kind fails, and the verdict says which."""
    assert any(each.startswith(told) for each in complaints(bent(name, by), 100)), complaints(bent(name, by), 100)


def test_too_few_rounds_are_no_verdict() -> None:
    """A soak that measured nothing has not passed."""
    assert complaints(FLAT[:3], 100) == ["3 rounds are too few to judge; give it more time"]


def test_the_chart_is_svg() -> None:
    """One line a panel, with a point a round."""
    root = ET.fromstring(chart(FLAT, "a title"))  # noqa: S314 - our own text
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [len(FLAT)] * len(PANELS)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_minute_of_it(tmp_path: Path) -> None:
    """A hundred TLS feeds through every fault a dozen times: nothing grows, by the program's own verdict."""
    command = [sys.executable, "-m", "tests.soak", "60", str(tmp_path / "soak.svg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all as it was at the beginning" in done.stdout
    assert (tmp_path / "soak.svg").exists()
