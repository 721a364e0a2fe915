"""The command line: one clear message for bad input, and exit code 2; help with an example and the exit codes."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.exchanges import EXCHANGES, GENERIC, UPBIT
from supervisors.standalone import __main__ as entry
from supervisors.standalone import cli, report
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.subscriptions import subscriptions
from tests.script import COMMAND, environment

COMMANDS = ("run", "watch", "exchanges", "check", "status")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command inside this process."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("wach", 'Unknown command "wach". Did you mean "watch"?'),
        ("watch", "parameter EXCHANGE requires an argument"),
        ("watch upbt trade KRW-BTC", "unknown exchange 'upbt': did you mean 'upbit'?"),
        ("watch nonsense trade KRW-BTC", "unknown exchange 'nonsense': there are upbit, bithumb, binance, generic"),
        ("watch upbit", "nothing to watch: name a channel of upbit and a code"),
        ("watch upbit trde KRW-BTC", "unknown channel 'trde' of upbit: did you mean 'trade'?"),
        ("watch upbit trade", "channel 'trade' of upbit has no code to subscribe to"),
        ("watch upbit trade a/b/c", "a portable code is BASE/QUOTE, like BTC/KRW: 'a/b/c'"),
        ("watch upbit trade @/nope", "@/nope: cannot be read: No such file or directory"),
        ("watch upbit trade A --url http://x/", "--url: a WebSocket URL looks like wss://host/path: 'http://x/'"),
        ("watch upbit trade A --url ws://example.com/", "ws:// is unencrypted and goes to this machine only"),
        ("watch upbit trade A --ca-file /nope", "--ca-file: /nope cannot be read: No such file or directory"),
        ("watch upbit trade A --ca-file /dev/null", "--ca-file: /dev/null cannot be used: it holds no certificate"),
        ("watch upbit trade A --set quiet_aftr=1", "--set quiet_aftr: unknown field, did you mean 'quiet_after'?"),
        ("watch upbit trade A --set link_timeout=1", "--set: link_timeout must exceed ping_interval + ping_timeout"),
        ("watch upbit trade A --set x", "--set takes FIELD=VALUE"),
        ("watch upbit trade A --for soon", 'Invalid value for --for: unable to convert "soon" into float'),
        ("watch upbit trade A --for -1", "--for must be more than 0: -1"),
        ("watch upbit trade A --for nan", "--for must be more than 0: nan"),
        ("watch upbit trade A --count 0", "--count must be more than 0: 0"),
        ("watch upbit trade A --overflow spill", "--overflow"),
        ("watch upbit trade A --reqire", "Unknown option: --reqire. Did you mean --require?"),
        ("watch generic", "generic needs a URL: --url wss://host/path"),
        ("exchanges upbt", "unknown exchange 'upbt': did you mean 'upbit'?"),
        ("check /nope.toml", "/nope.toml: cannot be read: No such file or directory"),
        ("run --config /nope.toml", "/nope.toml: cannot be read: No such file or directory"),
        ("run --for 0", "--for must be more than 0: 0"),
        ("status --jsn", "Unknown option: --jsn. Did you mean --json?"),
    ],
)
def test_bad_input_is_one_message_and_code_2(capsys: pytest.CaptureFixture[str], command: str, why: str) -> None:
    """Whatever is wrong with the arguments is said on standard error, once and without a traceback."""
    code, out, err = run(capsys, *command.split())
    assert (code, out) == (2, "")
    assert why in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2


def test_several_mistakes_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Who has mistyped three options reads so at once."""
    code, _, err = run(capsys, *["watch", "upbit", "trade", "A", "--set", "a=1", "--set", "jitter=x", "--url", "x"])
    assert code == 2
    assert [line.split(":")[0] for line in err.splitlines()] == ["--set a", "--set jitter", "--url"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each command's help shows how it is used and how it ends."""
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"feedwarden {command}" in out
    assert "An example:" in out
    assert re.search(r"Exit codes:\s+0", out)


def test_help_of_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """The top help lists the commands, with an example and the exit codes."""
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f" {command} " in out for command in COMMANDS)
    assert "An example:" in out
    assert re.search(r"Exit codes:\s+0", out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The installed version, and nothing else."""
    import importlib.metadata

    assert run(capsys, "--version") == (0, importlib.metadata.version("feedwarden") + "\n", "")


# -- exchanges, check, status


def test_exchanges_lists_all_and_shows_one_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    """The list names every exchange; a portrait has channels, spelling, heartbeats, and a source for every clock."""
    code, out, _ = run(capsys, "exchanges")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(EXCHANGES)
    for exchange in EXCHANGES.values():
        code, out, _ = run(capsys, "exchanges", exchange.code)
        assert code == 0
        assert all(name in out for name in report.CLOCKS)
        assert all(channel.name in out for channel in exchange.channels)
        assert "(None)" not in out
    assert "BTC/KRW is spelled KRW-BTC" in run(capsys, "exchanges", "upbit")[1]


def test_exchanges_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object for one exchange, a list for all, and each clock with its source."""
    one = json.loads(run(capsys, "exchanges", "binance", "--json")[1])
    every = json.loads(run(capsys, "exchanges", "--json")[1])
    assert one in every
    assert len(every) == len(EXCHANGES)
    assert all(clock["source"] for exchange in every for clock in exchange["clocks"].values())
    assert one["limits"]["messages"]["value"] == "5 in 1 s"
    assert one["clocks"]["max_lifetime"]["seconds"] == 86_400


def test_check_counts_or_names_the_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A good file is said to be good; in a bad one every mistake is a line that begins with its place."""
    file = tmp_path / "f.toml"
    file.write_text('[feed.a]\non = "upbit"\ntrade = ["KRW-BTC"]\n')
    assert run(capsys, "check", str(file)) == (0, f"{file}: no mistake; feeds: 1, notification channels: 0\n", "")
    file.write_text('[feed.upbit-krw]\non = "upbit"\ntrade = ["KRW-BTC"]\nset = { quiet_aftr = 1, jitter = 9 }\n')
    code, out, err = run(capsys, "check", str(file))
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "feed.upbit-krw.set.quiet_aftr: unknown field, did you mean 'quiet_after'?",
        "feed.upbit-krw.set.jitter: must be at least 0 and at most 1: 9",
    ]


def test_status_without_a_process(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where nothing runs the status says so and where it has looked."""
    code, out, err = run(capsys, "status", "--state-dir", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"feedwarden: no feedwarden runs with the state directory {tmp_path}\n"


# -- channels and codes


def pairs(*words: str) -> list[tuple[str, tuple[str, ...]]]:
    """Channels and codes that Upbit is asked for by these words."""
    return [(each.channel, each.codes) for each in subscriptions(UPBIT, words)]


def test_groups_of_channels_and_codes(tmp_path: Path) -> None:
    """A channel begins a group; lists, files and repeated words come out as if written one by one."""
    assert pairs("trade", "KRW-BTC", "KRW-ETH", "book", "KRW-BTC") == [
        ("trade", ("KRW-BTC", "KRW-ETH")),
        ("book", ("KRW-BTC",)),
    ]
    assert pairs("trade,ticker", "KRW-BTC,BTC/KRW") == [
        ("trade", ("KRW-BTC", "BTC/KRW")),
        ("ticker", ("KRW-BTC", "BTC/KRW")),
    ]
    (tmp_path / "all").write_text("candle.1s\nKRW-BTC, KRW-ETH\n\norderbook\n")
    assert pairs(f"@{tmp_path}/all", "KRW-XRP") == [
        ("candle.1s", ("KRW-BTC", "KRW-ETH")),
        ("orderbook", ("KRW-XRP",)),
    ]
    assert subscriptions(GENERIC, ()) == ()


def test_words_that_are_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no text, and codes before any channel, also from standard input, are refused."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="is not UTF-8"):
        pairs("trade", f"@{tmp_path}/bytes")
    monkeypatch.setattr(sys, "stdin", io.StringIO("KRW-BTC\n"))
    with pytest.raises(BadInput, match="unknown channel 'KRW-BTC' of upbit"):
        pairs("@-")


# -- the entry


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra the script names the pip line; any other missing module is a bug and stays a traceback."""
    monkeypatch.setattr(sys, "argv", ["feedwarden", "--version"])
    for name in ("cyclopts", "hypercorn.trio"):

        def missing(_arguments: object, name: str = name) -> int:
            raise ModuleNotFoundError(name=name)

        monkeypatch.setattr(cli, "main", missing)
        with pytest.raises(SystemExit) as caught:
            entry.main()
        assert caught.value.code == 2
        assert capsys.readouterr().err == (
            "feedwarden: the script needs its extra; install it with: pip install 'feedwarden[standalone]'\n"
        )

    def broken(_arguments: object) -> int:
        raise ModuleNotFoundError(name="actors.nope")

    monkeypatch.setattr(cli, "main", broken)
    with pytest.raises(ModuleNotFoundError):
        entry.main()


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """`feedwarden exchanges upbit | true` says nothing on standard error, and closed descriptors stay ours."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "exchanges", "upbit"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&- 2>&-', "sh", *COMMAND, "exchanges"],
        env=environment(tmp_path),
        timeout=30,
        check=False,
    )
    assert closed.returncode == 0


def test_dash_is_standard_input_but_for_the_values_of_options() -> None:
    """`-` reaches the words as a word; behind --send it is what is to be sent."""
    from supervisors.standalone.subscriptions import STDIN

    shielded = cli.shielded(["watch", "upbit", "trade", "-", "--send", "-", "--set", "-"])
    assert shielded == ["watch", "upbit", "trade", STDIN, "--send", "-", "--set", "-"]
