"""What is shipped: wheel and sdist are built and opened, and a bare install is tried."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
NAME = f"feedwarden-{VERSION}"
PACKAGES = ("actors", "supervisors")


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this environment's Python settings in it."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def sources(*folders: str) -> set[str]:
    """The files of a checkout's folders that are no by-product of running or building."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "_build"} & set(path.parts)
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built as a release would be."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel's path."""
    return built / f"{NAME}-py3-none-any.whl"


def test_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    """Every source of the two packages, typed, plus the metadata with licence and entry point."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = {
        f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert names == sources(*PACKAGES) | info
    assert {PurePosixPath(name).suffix for name in names - info} == {".py", ".typed"}
    assert {"actors/py.typed", "supervisors/py.typed"} <= names


def test_wheel_metadata_names_script_licence_and_extras(wheel: Path) -> None:
    """The metadata say what `pip install feedwarden` promises."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{NAME}.dist-info/METADATA").decode()
        scripts = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert scripts.split() == [
        *("[console_scripts]", "feedwarden", "=", "supervisors.standalone.__main__:main"),
        *("[pytest11]", "actors.chaos.pytest_plugin", "=", "actors.chaos.pytest_plugin"),
    ]
    for line in ("Requires-Python: >=3.11", "License-Expression: MIT", "Provides-Extra: standalone"):
        assert line in metadata.splitlines()


def test_sdist_holds_what_a_packager_needs_and_nothing_else(built: Path) -> None:
    """Sources, tests, docs and the project's own papers; hatchling adds PKG-INFO and .gitignore by itself."""
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = {member.name.removeprefix(f"{NAME}/") for member in archive.getmembers() if member.isfile()}
    papers = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml"}
    assert names == sources(*PACKAGES, "tests", "docs") | papers | {"PKG-INFO", ".gitignore"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bare_install_imports_and_says_what_the_script_needs(wheel: Path, tmp_path: Path) -> None:
    """Without extras both packages import, and the script names the one pip line that is missing and exits 2."""
    venv = tmp_path / "venv"
    made = run(sys.executable, "-m", "venv", venv)
    assert made.returncode == 0, made.stderr
    installed = run(venv / "bin/python", "-m", "pip", "install", "--quiet", wheel)
    assert installed.returncode == 0, installed.stderr

    imported = run(venv / "bin/python", "-W", "error", "-c", "import actors, supervisors", cwd=tmp_path)
    assert (imported.returncode, imported.stderr) == (0, "")
    for script in ([venv / "bin/feedwarden"], [venv / "bin/python", "-m", "supervisors"]):
        for argument in ("--version", "run"):
            done = run(*script, argument, cwd=tmp_path)
            assert done.returncode == 2, done.stderr
            assert done.stdout == ""
            assert done.stderr.splitlines() == [
                "feedwarden: the script needs its extra; install it with: pip install 'feedwarden[standalone]'"
            ]
