"""README and docs tell the truth: every example runs as printed, every link leads somewhere, no build warns."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

import supervisors
from actors.chaos import BinanceVenue, BithumbVenue, MemoryNetwork, Server, SimulatedExchange, UpbitVenue
from actors.chaos.tls import Authority
from actors.exchanges import BINANCE, BITHUMB, UPBIT
from docs import house
from tests.coinone import CoinoneServer

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")


@attrs.frozen
class Example:
    """A fenced block of a page: where its first line stands, its language, and why it must not run (empty: it must)."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples(page: Path, text: str) -> Iterator[Example]:
    """The fenced blocks of a page, in order."""
    block: list[str] | None = None
    language, start, reason = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if block is not None:
            if line.strip() == "```":
                yield Example(page, start, language, "\n".join(block) + "\n", reason)
                block, reason = None, ""
            else:
                block.append(line)
        elif fence := re.fullmatch(r"```(\S*)", line):
            block, language, start = [], fence[1], number + 1
        elif line.strip():
            reason = found[1] if (found := NOT_RUN.fullmatch(line)) else ""


ALL = [example for page in PAGES for example in examples(page, page.read_text(encoding="utf-8"))]
PYTHON = [example for example in ALL if example.language == "python" and not example.not_run]
CONSOLE = [example for example in ALL if example.language == "console" and not example.not_run]


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows: TOML blocks whose first line is a comment with the file's name."""
    for example in ALL:
        if example.page == page and example.language == "toml":
            name = example.text.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(example.text, encoding="utf-8")


def test_the_extraction_finds_blocks_and_their_reasons() -> None:
    """A block is found with its line and language; a reason counts for the block right below it only."""
    text = "a\n\n```python\nx\n```\n<!-- not run: why -->\n```console\n$ y\n```\n\n```\nz\n```\n"
    found = [(each.line, each.language, each.text, each.not_run) for each in examples(ROOT / "page.md", text)]
    assert found == [(4, "python", "x\n", ""), (8, "console", "$ y\n", "why"), (12, "", "z\n", "")]


def test_every_block_says_what_it_is() -> None:
    """No example escapes by its language: what is not run is text, configuration, a picture or Sphinx's own."""
    kinds = {"python", "console", "toml", "text", "{toctree}", "{eval-rst}", "{house}"}
    assert not [str(example) for example in ALL if example.language not in kinds]
    assert len(PYTHON) >= 5
    assert len(CONSOLE) >= 5


# -- Python: the network seam answers for the exchange --------------------------------------------------------------

SECONDS = 90.0
"""How long an endless example is left running, on the virtual clock; the servers are cut in the middle."""


def simulated_hosts() -> dict[str, Server]:
    """Every exchange that an example may name, by its host."""
    return {
        UPBIT.host: SimulatedExchange(UpbitVenue(), port=None),
        BITHUMB.host: SimulatedExchange(BithumbVenue(), port=None),
        BINANCE.host: SimulatedExchange(BinanceVenue(), port=None),
        "stream.coinone.co.kr": CoinoneServer(port=None),
    }


async def run_among(servers: dict[str, Server], main: Callable[[], Awaitable[None]]) -> None:
    """Run an example's ``main`` while the servers run, for SECONDS at most."""
    async with trio.open_nursery() as nursery:
        for server in servers.values():
            await nursery.start(server.run)

        async def cut() -> None:
            await trio.sleep(SECONDS / 2)
            for server in servers.values():
                server.cut()

        nursery.start_soon(cut)
        with trio.move_on_after(SECONDS):
            await main()
        nursery.cancel_scope.cancel("the example has been shown")


@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_python_example_runs_as_printed(
    example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A Python block is a whole program that raises nothing, and one with feeds prints what it received."""
    servers, run = simulated_hosts(), trio.run
    write_files(example.page, tmp_path)
    monkeypatch.chdir(tmp_path)

    def run_here(main: Callable[[], Awaitable[None]]) -> None:
        run(run_among, servers, main, clock=trio.testing.MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run_here)
    monkeypatch.setattr(
        supervisors, "open_feeds", functools.partial(supervisors.open_feeds, network=MemoryNetwork(servers))
    )
    program = compile("\n" * (example.line - 1) + example.text, str(example.page), "exec")
    exec(program, {"__name__": "__main__"})  # noqa: S102 - running it is the test
    printed = capsys.readouterr().out
    assert bool(printed) == ("print(" in example.text)
    for word in re.findall(r"case (Down|Gap)\(\):\s+print\(f?\"([^\"{]*)", example.text):
        assert word[1] in printed


# -- commands: `--url` and `--ca-file` are appended -----------------------------------------------------------------

SHIM = """#!{python}
import os, sys
arguments = sys.argv[1:]
if arguments[:1] == ["watch"]:
    if "--url" in arguments:  # one is enough, and two are refused
        at = arguments.index("--url")
        del arguments[at : at + 2]
    arguments += ["--url", os.environ["URL_" + arguments[1].upper()], "--ca-file", os.environ["CA_FILE"]]
os.execv({script!r}, [{script!r}, *arguments])
"""
"""Stands before the script on the PATH, so that the line itself is run untouched."""


@asynccontextmanager
async def listening_venues(authority: Authority) -> AsyncGenerator[dict[str, str]]:
    """The three venues over TLS on loopback; yields the variables that the shim reads."""
    context = authority.server_context("127.0.0.1")
    venues = {"UPBIT": UpbitVenue(), "BITHUMB": BithumbVenue(), "BINANCE": BinanceVenue()}
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(SimulatedExchange(venue, tls=context).serving())
            for name, venue in venues.items()
        }
        urls = {f"URL_{name}": server.url for name, server in servers.items()}
        yield {**urls, "URL_GENERIC": urls["URL_BINANCE"]}


def commands(example: Example) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the output printed below it."""
    found: list[tuple[str, list[str]]] = []
    for line in example.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def seconds(example: Example) -> float:
    """How long a block asks its commands to run."""
    return sum(float(found) for found in re.findall(r"^\$ feedwarden.* --for (\d+)", example.text, re.MULTILINE))


CONSOLE_PARAMETERS = [
    pytest.param(example, id=str(example), marks=[pytest.mark.slow] if seconds(example) >= 4 else [])
    for example in CONSOLE
]


@pytest.mark.parametrize("example", CONSOLE_PARAMETERS)
async def test_console_example_runs_as_printed(example: Example, tmp_path: Path) -> None:
    """Every command of a console block exits 0 and prints lines of the kind shown; make's are looked at, not run."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    shim = tmp_path / "bin" / "feedwarden"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(python=sys.executable, script=str(Path(sys.executable).with_name("feedwarden"))))
    shim.chmod(0o755)
    write_files(example.page, tmp_path)
    async with listening_venues(authority) as urls:
        env = {
            **os.environ,
            **urls,
            "CA_FILE": str(tmp_path / "ca.pem"),
            "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        }
        for command, shown in commands(example):
            # `make test` would run this test again: that make knows the targets and its arguments must do
            made = re.match(r"make\b", command) is not None
            with trio.fail_after(50):
                done = await trio.run_process(
                    ["bash", "-c", f"make -n {command[4:]}" if made else command],
                    cwd=ROOT if made else tmp_path,
                    env=env,
                    check=False,
                    capture_stdout=True,
                    capture_stderr=True,
                )
            assert done.returncode == 0, done.stderr.decode()
            printed = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]
            for line in shown:
                keys = set(json.loads(line))
                assert any(set(json.loads(other)) == keys for other in printed), printed[:1]


# -- the rest of the pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project is a file of the project."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_house_contradicts_nothing_and_can_be_wrong() -> None:
    """The drawing in the architecture page has the floors of the import contracts; a changed one is refused."""
    text = next(example.text for example in ALL if example.language == "{house}")
    layers = house.contracts()
    assert house.differences(house.parse(text), layers) == []
    assert house.differences(house.parse(text.replace("feed:", "fed:")), layers) != []
    assert house.differences({}, layers) != []
    svg = house.draw(house.parse(text))
    assert svg.count("<rect") == 2 + sum(len(floor) for floors in layers.values() for floor in floors)


def test_every_module_has_its_place_in_the_api_pages() -> None:
    """The API pages name each public module of the library once; the script is no API."""
    named = [name for page in PAGES for name in re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))]
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("actors", "supervisors")
        for path in (ROOT / package).rglob("*.py")
    }
    public = {name for name in modules if "._" not in name and "." in name and "standalone" not in name}
    assert sorted(named) == sorted(public)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx, told to treat warnings as errors and dead references as warnings, is content."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "architecture.html").read_text(encoding="utf-8")
