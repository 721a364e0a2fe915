"""`feedwarden chaos`: a simulation of everything, or a fault proxy before one real server of yours."""

import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import trio
from cyclopts import Parameter

from supervisors.standalone.mistakes import BadInput, positive
from supervisors.standalone.saying import say

PORTS = {"ws": 80, "wss": 443}


def chaos(
    *,
    seed: int = 1,
    plan: Path | None = None,
    hours: float | None = None,
    feeds: int | None = None,
    url: str | None = None,
    for_: Annotated[float | None, Parameter(name="--for")] = None,
) -> int:
    """Simulate feeds under faults on a virtual clock, check the invariants, and show what was survived.

    With --url instead: stand between real clients and a real server on this machine, and play faults on the way.

    An example:

        feedwarden chaos --seed 7 --hours 2 --feeds 3
        feedwarden chaos --url ws://127.0.0.1:9000/ --for 60

    Exit codes:

        0    no invariant was broken; with --url, the time is over
        1    one was: the seed, the smallest plan found and the last events are printed
        2    bad input
        130  Ctrl-C: no invariant was broken until then

    Parameters
    ----------
    seed:
        Draws the plan; later runs take the seeds after it.
    plan:
        A plan as JSON, instead of one drawn from a seed.
    hours:
        Virtual hours of each feed. Default: 1.
    feeds:
        Feeds at one time. Default: 2.
    url:
        A ws:// or wss:// server on loopback. Clients connect to the port that is printed.
    for_:
        Seconds for which the proxy stands before the server. Default: 60.
    """
    if url is not None:
        if not plan is hours is feeds is None:
            raise BadInput("--plan, --hours and --feeds are for simulations; with --url there are --seed and --for")
        return trio.run(_stand_between, url, seed, positive("--for", for_, 60))
    if for_ is not None:
        raise BadInput("--for goes with --url; a simulation has --hours, and they are virtual")
    if plan is not None and not hours is feeds is None:
        raise BadInput("--hours and --feeds go with --seed; a plan says itself how long it is and of how many feeds")
    from supervisors.standalone import chaos as simulations

    wanted = int(positive("--feeds", feeds, 2))
    drawn = simulations.drawn(seed, positive("--hours", hours, 1), wanted)
    plans = drawn if plan is None else iter([simulations.read_plan(plan)])
    code, lines = simulations.report(plans, lambda text: say(text, sys.stderr))
    for line in lines:
        say(line)
    return code


def server_of(url: str) -> tuple[str, int]:
    """Host and port of a server that may be stood before; BadInput for anything that is not on loopback."""
    from actors.chaos.proxy import is_loopback

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput("--url is no URL; a good one is ws://127.0.0.1:9000/") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadInput("--url must begin with ws:// or wss:// and name a host, such as ws://127.0.0.1:9000/")
    if not is_loopback(parts.hostname):
        raise BadInput(
            f"--url must be on this machine, such as ws://127.0.0.1:9000/: {parts.hostname} may be another's, and no "
            "faults are played on what is not yours"
        )
    return parts.hostname, PORTS[parts.scheme] if port is None else port


async def _stand_between(url: str, seed: int, seconds: float) -> int:
    """The proxy, its faults, and a table of them at the end."""
    from actors.chaos.proxy import KINDS, FaultProxy, draw_faults

    host, port = server_of(url)
    faults = draw_faults(seed, seconds)
    proxy = FaultProxy(host, port, random=random.Random(f"{seed}/ways"))  # noqa: S311 - repeating is the point
    injected: Counter[str] = Counter()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as scope:
        async with proxy.serving(), trio.open_nursery() as nursery:
            nursery.start_soon(_end_at_signal, signals, scope)
            began = trio.current_time()
            scope.deadline = began + seconds
            say(f"connect to 127.0.0.1:{proxy.port} instead of {host}:{port}")
            say(f"seed {seed}, ends by itself in {seconds:g} s")
            for step in faults:
                await trio.sleep_until(began + step.at)
                getattr(proxy, step.kind)(**step.args)
                injected[step.kind] += 1
                what = " ".join((step.kind, *(f"{name}={value:g}" for name, value in step.args.items())))
                say(f"{step.at:7.1f} s  {what:<46} connections: {proxy.connections}")
            await trio.sleep_forever()
    say("")
    for kind in KINDS:
        say(f"  {kind:<12}{injected[kind]:>6}")
    say(f"{proxy.accepted} connections were made, {proxy.unreached} of them while {host}:{port} could not be reached")
    if not proxy.accepted:
        say(f"nobody felt any of it: it is 127.0.0.1:{proxy.port} that a client has to connect to")
    return 0


async def _end_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel("asked by a signal")
