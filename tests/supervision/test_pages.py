"""The pages on supervision: the list of cases is the list of tests, and the tree's log is what the tree logs."""

import ast
import functools
import re
from pathlib import Path

import pytest
import trio
import trio.testing

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"


def sentences() -> dict[str, str]:
    """What the tests here say that they assert, by case."""
    found: dict[str, str] = {}
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[node.name.removeprefix("test_")] = " ".join((ast.get_docstring(node) or "").split())
    return found


def test_every_case_in_the_list_is_a_test_with_that_sentence() -> None:
    """A case that is listed is there, says the same, and there are as many as the suites have."""
    text = (DOCS / "supervision-cases.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text.split("Left out:")[0], re.MULTILINE))
    listed |= dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text.split("## Pekko")[1], re.MULTILINE))
    found = sentences()
    assert {name: found.get(name) for name in listed} == listed
    assert len(listed) >= 75 + 20 + 5


def test_the_tree_on_the_page_logs_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of three levels, run on a virtual clock, prints the log that stands below it."""
    text = (DOCS / "otp.md").read_text(encoding="utf-8")
    program, log = re.search(r"```python\n(.*?)```", text, re.DOTALL), re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert program is not None
    assert log is not None
    clock = trio.testing.MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio, "run", functools.partial(trio.run, clock=clock))
    exec(program[1], {"__name__": "__main__"})  # noqa: S102 - running it is the test
    assert capsys.readouterr().out == log[1]
