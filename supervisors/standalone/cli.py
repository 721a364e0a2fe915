"""The command line: what was typed becomes a checked plan, and an outcome an exit code."""

import importlib.metadata
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
import cyclopts
import trio
from cyclopts import App, Parameter

from actors.exchange import Exchange, Subscription
from actors.exchanges import EXCHANGES, GENERIC, find
from actors.items import Overflow
from actors.transport import SystemNetwork
from supervisors.standalone import alerting, playing
from supervisors.standalone.mistakes import BadInput
from supervisors.standalone.mistakes import positive as _positive
from supervisors.standalone.saying import say as _say
from supervisors.standalone.subscriptions import STDIN, subscriptions
from supervisors.standalone.values import applied, assignment, at_url, checked, network

BAD_INPUT = 2
"""The exit code after one clear message."""
NOT_RUNNING = 1
NOT_LIVE = 3

app = App(
    name="feedwarden",
    version=lambda: importlib.metadata.version("feedwarden"),
    help="""Keeps exchange WebSocket feeds alive.

An example:

    feedwarden watch upbit trade KRW-BTC --count 3

Exit codes: 0 done, 1 failed, 2 bad input, 3 less than was asked for;
each command's --help says more.""",
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
    result_action="return_value",
)


app.command(playing.chaos)
app.command(alerting.mute)
app.command(alerting.notify)


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. Bad input is told on standard error, without a traceback."""
    _keep_standard_descriptors()
    try:
        return app(shielded(arguments), exit_on_error=False, print_error=False) or 0
    except cyclopts.CycloptsError as error:
        lines = (f"{error}".strip(), "`feedwarden --help` shows how it is used")
    except BadInput as error:
        lines = error.lines
    except KeyboardInterrupt:  # before there was anything to stop
        return 128 + signal.SIGINT
    for text in lines:
        _say(text, sys.stderr)
    return BAD_INPUT


@app.command(usage="Usage: feedwarden watch EXCHANGE [CHANNEL CODE...] [OPTIONS]")
def watch(
    exchange: str,
    /,
    *words: Annotated[str, Parameter(name="CHANNEL CODE")],
    send: Annotated[tuple[str, ...], Parameter(name="--send")] = (),
    url: str | None = None,
    ca_file: Path | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    for_: Annotated[float | None, Parameter(name="--for")] = None,
    count: int | None = None,
    require: bool = False,
    quiet: bool = False,
    raw: bool = False,
    control: bool = False,
    status: bool = False,
    overflow: Literal["block", "drop_oldest", "fail"] = "block",
) -> int:
    """Keep one feed alive and write it as JSON, one object a line; a summary goes to standard error.

    An example:

        feedwarden watch upbit trade KRW-BTC,KRW-ETH book KRW-BTC --for 60
        feedwarden watch generic --url wss://example.com/ --send '{"op":1}'

    Exit codes:

        0  --count or --for reached, a signal came, or nobody reads any more
        1  the feed was given up, or overflowed under --overflow fail
        2  bad input
        3  with --require: --count was not reached, or nothing came

    Parameters
    ----------
    exchange:
        An exchange of `feedwarden exchanges`, or generic for any WebSocket.
    words:
        Once or more: trade, book, ticker or the exchange's own word for a channel, then codes, BASE/QUOTE or the
        exchange's own. Each may be a list with commas, @FILE with words in it, or - for standard input.
    send:
        A text frame to send on opening, after the subscriptions.
    url:
        Connect here instead of to the exchange's own URL.
    ca_file:
        A PEM file of certificate authorities to trust instead of the system's.
    set_:
        FIELD=VALUE replaces a field of Exchange or ReconnectStrategy, as in message_timeout=30.
    for_:
        Seconds to watch.
    count:
        Messages to watch for.
    require:
        Exit with 3 if too little came.
    quiet:
        Write the summary only, to standard output.
    raw:
        Write every frame as a message, as it was on the wire.
    control:
        Write acks, heartbeats and notices too.
    status:
        Write a line when an interruption begins, too.
    overflow:
        What happens to messages that nobody reads, once 64 MiB of them wait: block stops reading the socket,
        drop_oldest leaves a gap, fail ends the feed.
    """
    from supervisors.standalone.sinks import Sink
    from supervisors.standalone.watch import BUFFER, MESSAGES, Watch
    from supervisors.standalone.watch import watch as run_watch

    profile = _profile(exchange, url, send, set_)
    bounded = Overflow(overflow, MESSAGES, BUFFER)
    try:
        bounded.check(profile)
    except ValueError as error:
        raise BadInput(f"--overflow: {error}") from None
    plan = Watch(
        exchange=profile,
        subscriptions=_subscriptions(profile, words),
        network=None if ca_file is None else _network(ca_file),
        seconds=_positive("--for", for_, math.inf),
        count=None if count is None else int(_positive("--count", count, 0)),
        require=require,
        quiet=quiet,
        raw=raw,
        control=control,
        status=status,
        overflow=bounded,
    )
    return trio.run(lambda: run_watch(plan, out=Sink(1), err=Sink(2)))


@app.command
def run(
    *,
    config: Path | None = None,
    for_: Annotated[float | None, Parameter(name="--for")] = None,
    state_dir: Path | None = None,
) -> int:
    """Keep the feeds of a configuration alive; without one, those of a demo on simulated exchanges.

    On a terminal a live table shows the feeds; elsewhere log lines go to standard error.

    An example:

        feedwarden run --config feedwarden.toml
        feedwarden run --for 20

    Exit codes:

        0   --for reached, or stopped by SIGINT or SIGTERM
        1   every feed was given up
        2   bad input
        70  the clean stop took longer than 10 s
        130, 143  a second SIGINT or SIGTERM ended it at once

    Parameters
    ----------
    config:
        A TOML file; `feedwarden check FILE` names the mistakes in it.
    for_:
        Seconds to run.
    state_dir:
        Where control.sock is, by which `feedwarden status` asks. Default: the configuration's state_dir, else
        $STATE_DIRECTORY, else ~/.local/state/feedwarden.
    """
    from supervisors.standalone.config import load_config
    from supervisors.standalone.control import state_dir as choose
    from supervisors.standalone.demo import refuse_in_service
    from supervisors.standalone.sinks import Sink
    from supervisors.standalone.tree import Plan
    from supervisors.standalone.tree import run as run_plan

    seconds = _positive("--for", for_, math.inf)
    loaded = None if config is None else load_config(config)
    if loaded is None:
        refuse_in_service(os.environ, terminal=any(map(os.isatty, (0, 1, 2))))
    folder = choose(state_dir, loaded.state_dir if loaded else None, os.environ)
    plan = Plan(config=loaded, state_dir=folder, seconds=seconds)
    return trio.run(lambda: run_plan(plan, out=Sink(1), err=Sink(2)))


@app.command
def check(file: Path, /) -> int:
    """Read a configuration and name every mistake in it.

    An example:

        feedwarden check feedwarden.toml

    Exit codes:

        0  no mistake
        2  mistakes, one a line on standard error

    Parameters
    ----------
    file:
        A TOML file.
    """
    from supervisors.standalone.config import load_config

    config = load_config(file)
    _say(f"{file}: no mistake; feeds: {len(config.feeds)}, notification channels: {len(config.alerts.routes)}")
    for warning in config.alerts.warnings:
        _say(f"{file}: {warning}", sys.stderr)
    return 0


@app.command
def status(*, json: bool = False, state_dir: Path | None = None) -> int:
    """Ask a running process how its feeds are.

    An example:

        feedwarden status --json

    Exit codes:

        0  every feed is live
        1  no process answers
        2  bad input
        3  a feed is not live

    Parameters
    ----------
    json:
        Print what /status.json shows.
    state_dir:
        The state directory of the process, if it is not the default one.
    """
    from supervisors.standalone import report
    from supervisors.standalone.control import NotRunning, ask
    from supervisors.standalone.control import state_dir as choose

    try:
        document = trio.run(ask, choose(state_dir, None, os.environ), "status")
    except NotRunning as error:
        _say(f"feedwarden: {error}", sys.stderr)
        return NOT_RUNNING
    _say(report.as_json(document) if json else report.status(document))
    return 0 if document.get("live") else NOT_LIVE


@app.command
def exchanges(id_: Annotated[str | None, Parameter(name="ID")] = None, /, *, json: bool = False) -> int:
    """List the exchanges, or all that is known of one: channels, spelling, heartbeats, clocks and limits with sources.

    An example:

        feedwarden exchanges upbit

    Exit codes:

        0  done
        2  bad input

    Parameters
    ----------
    id_:
        An exchange.
    json:
        Print JSON.
    """
    from supervisors.standalone import report

    try:
        known = EXCHANGES.values() if id_ is None else [find(id_)]
    except ValueError as error:
        raise BadInput(str(error)) from None
    if json:
        facts = [report.facts(exchange) for exchange in known]
        _say(report.as_json(facts if id_ is None else facts[0]))
    else:
        _say(report.overview(known) if id_ is None else report.portrait(*known))
    return 0


def _profile(code: str, url: str | None, sends: Sequence[str], assignments: Sequence[str]) -> Exchange:
    try:
        exchange = find(code)
    except ValueError as error:
        raise BadInput(str(error)) from None
    values, mistakes = checked(dict(map(assignment, assignments)), "--set ")
    if url is not None:
        try:
            exchange = at_url(exchange, url, "--url")
        except BadInput as error:
            mistakes += error.lines
    elif exchange.code == GENERIC.code and "ws_url" not in values:
        mistakes.append(f"{GENERIC.code} needs a URL: --url wss://host/path")
    if mistakes:
        raise BadInput(*mistakes)
    return attrs.evolve(applied(exchange, values, "--set"), on_open=(*exchange.on_open, *sends))


def _subscriptions(exchange: Exchange, words: Sequence[str]) -> tuple[Subscription, ...]:
    wanted = subscriptions(exchange, words)
    if not wanted and exchange.channels and not exchange.on_open:
        raise BadInput(f"nothing to watch: name a channel of {exchange.code} and a code, as in: trade BTC/KRW")
    return wanted


def _network(ca_file: Path) -> SystemNetwork:
    try:
        return network(ca_file)
    except ValueError as error:
        raise BadInput(f"--ca-file: {error}") from None


def shielded(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``-`` spelled as a word: the parser would take it for an option."""
    taken = ("--send", "--set")
    return [
        STDIN if word == "-" and arguments[index - 1 : index] not in ([taken[0]], [taken[1]]) else word
        for index, word in enumerate(arguments)
    ]


def _keep_standard_descriptors() -> None:
    """Open what was closed of 0, 1 and 2: else the next socket gets the number, and our output with it."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
