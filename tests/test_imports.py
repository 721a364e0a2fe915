"""The import contracts are kept, can be broken, and importing the packages costs what it should."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import actors
import supervisors

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"

BREACHES = {
    "actors": ("actors/errors.py", "import actors.events"),
    "supervisors": ("supervisors/intensity.py", "import supervisors.policy"),
    "storeys": ("actors/feed.py", "import supervisors.policy"),
    "websocket": ("actors/connector.py", "import trio_websocket"),
    "sockets": ("actors/feed.py", "import socket"),
    "prometheus": ("actors/stats.py", "import prometheus_client"),
    "http": ("actors/exchanges/upbit.py", "import httpx2"),
    "pure": ("supervisors/policy.py", "import trio"),
    "extras": ("actors/events.py", "import orjson"),
}
"""For each contract a line that breaks it, and where."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts for the tree in ``folder``."""
    # -P and the folder in front: an editable install must not lead the linter back to this checkout
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {LINT}"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the two packages and of the contracts."""
    for name in ("actors", "supervisors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept(copy: Path) -> None:
    """The tree as it is breaks no import contract."""
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


def test_every_contract_can_be_broken(copy: Path) -> None:
    """A forbidden import is found by the contract that forbids it."""
    assert set(BREACHES) == {contract["id"] for contract in CONTRACTS}
    for path, line in BREACHES.values():
        (copy / path).write_text(f"{line}\n" + (copy / path).read_text(encoding="utf-8"), encoding="utf-8")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    for contract in CONTRACTS:
        assert f"{contract['name']} BROKEN" in done.stdout


def test_import_brings_no_extra_and_no_http_client() -> None:
    """`import actors, supervisors` loads the base dependencies only, the HTTP client not even lazily."""
    code = "import sys, actors, supervisors; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    extras = {"cyclopts", "cattrs", "structlog", "orjson", "rich", "starlette", "hypercorn", "trustme"}
    assert not loaded & (extras | {"httpx2", "httpcore2", "pytest"})


def test_the_http_client_is_imported_inside_functions_only() -> None:
    """No module imports httpx2 at its top level: building a client is paid for by those who alert."""
    for path in (ROOT / "actors").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "httpx2"], path


def test_every_public_name_exists() -> None:
    """`__all__` of the two packages names nothing twice and nothing that is not there."""
    for package in (actors, supervisors):
        assert len(package.__all__) == len(set(package.__all__))
        assert not [name for name in package.__all__ if not hasattr(package, name)]
