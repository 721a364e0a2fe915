"""A feed whose packets the kernel drops: run in a network namespace of its own, as root; prints what it saw.

``unshare --net python -m tests.black_hole``. Nothing outside of the namespace is touched.
"""

import json
import random
import subprocess

import attrs
import trio

from actors.backoff import ReconnectStrategy
from actors.chaos import SIMULATED, SimulatedVenue, simulated_exchange
from actors.chaos.tls import Authority
from actors.events import Event, Failed
from actors.transport import SystemNetwork
from supervisors import open_feeds

DROP = ("-p", "tcp", "-j", "DROP")


async def kernel(*command: str) -> None:
    """Tell the kernel; what it says stands in the error."""
    await trio.run_process(command, capture_stdout=True, capture_stderr=True)


async def watch() -> dict[str, object]:
    """Live, cut off without a word, noticed, and live again when the packets flow again."""
    await kernel("ip", "link", "set", "lo", "up")
    seen: list[Failed] = []
    began = back = 0.0

    def hook(event: Event) -> None:
        if isinstance(event, Failed):
            seen.append(event)

    authority = Authority()
    tls = authority.server_context("127.0.0.1")
    async with (
        simulated_exchange(SimulatedVenue(), tls=tls, rate=20) as exchange,
        open_feeds(network=SystemNetwork(ca_pem=authority.pem), on_event=hook, random=random.Random(1)) as feeds,
    ):
        impatient = attrs.evolve(
            SIMULATED,
            ws_url=exchange.url,
            ping_interval=1.0,
            ping_timeout=2.0,
            health_check_interval=1.0,
            connect_timeout=2.0,
            reconnect=ReconnectStrategy(initial_delay=0.1, max_delay=1.0),
        )
        feed = feeds.open(impatient, trade="BTC-USD")
        await feed.live(10)
        began = trio.current_time()
        await kernel("iptables", "-A", "INPUT", *DROP)
        with trio.fail_after(30):
            while len(seen) < 2:  # noqa: ASYNC110 - a list that a hook fills
                await trio.sleep(0.05)
        await kernel("iptables", "-D", "INPUT", *DROP)
        healed = trio.current_time()
        await feed.live(30)
        back = trio.current_time() - healed
    return {
        "noticed": seen[0].at - began,
        "reasons": [each.reason.value for each in seen[:2]],
        "back": back,
    }


if __name__ == "__main__":
    try:
        print(json.dumps(trio.run(watch)))  # noqa: T201 - the answer to whoever started it
    except* subprocess.CalledProcessError as group:
        for each in group.exceptions:
            print(each, getattr(each, "stderr", b""))  # noqa: T201 - as above
        raise
