"""`feedwarden chaos`, and the fixtures that pytest finds by itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.chaos.plans import Plan, Step
from supervisors.standalone.cli import main
from tests.planted import BUGS

ROOT = Path(__file__).parent.parent


def test_it_shows_what_was_survived(capsys: pytest.CaptureFixture[str]) -> None:
    """A run of two feeds prints the faults, the states and the invariants, and exits 0."""
    assert main(["chaos", "--seed", "7", "--hours", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "zero violations" in printed
    assert re.search(r"^  net\.reset +\d+$", printed, re.MULTILINE)
    assert re.search(r"^  I5 +[1-9]\d*$", printed, re.MULTILINE)


def test_a_failure_names_seed_plan_and_last_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bug in the product it exits 1, and the plan that it prints shows the bug again."""
    BUGS["I23"](monkeypatch)
    steps = (Step(10.0, "net:feed-1", "slicer", {"bytes": 3, "seconds": 5.0}), Step(20.0, "net:feed-1", "reset"))
    file = tmp_path / "plan.json"
    file.write_text(Plan(seed=3, seconds=120, feeds=1, steps=steps).json(), encoding="utf-8")
    assert main(["chaos", "--plan", str(file)]) == 1
    printed = capsys.readouterr().out
    assert "FAILED: seed 3: I23" in printed
    smallest = Plan.from_json("{" + printed.partition("--plan:\n{")[2].partition("\nthe last events:")[0])
    assert [step.kind for step in smallest.steps] == ["reset"]
    assert "'end'" in printed.partition("the last events:")[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--plan", "nowhere.json"], "nowhere.json"),
        (["--hours", "0"], "--hours must be more than 0"),
        (["--feeds", "-1"], "--feeds must be more than 0"),
    ],
)
def test_bad_input_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert main(["chaos", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_example_finds_the_bug_in_the_naive_consumer(tmp_path: Path) -> None:
    """The example of docs/chaos.md, run by pytest as its reader would: one test fails, the other passes."""
    page = (ROOT / "docs" / "chaos.md").read_text(encoding="utf-8")
    (tmp_path / "test_quotes.py").write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "actors.chaos.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED" in done.stdout
    assert "test_naive" in done.stdout


def test_a_plan_is_drawn_by_a_fixture(tmp_path: Path) -> None:
    """`fault_plan(seed)` is the plan of that seed."""
    (tmp_path / "test_plan.py").write_text(
        "from actors.chaos.plans import draw_plan\n"
        "def test_plan(fault_plan):\n    assert fault_plan(3, seconds=300) == draw_plan(3, seconds=300)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "actors.chaos.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
