"""Faults that only a kernel can make, in a network of this process's own.

``unshare --net python -m tests.isolated T5`` prints one line of JSON: the reason for which the session or the dial
ended, after how many seconds, and how many messages came in between.
"""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import attrs
import trio

from actors.errors import ConnectorError
from actors.transport import SystemNetwork
from actors.transport.dial import dial
from tests.hostile import QUICK, Inbox, accept, answering, hostile, link_to, nothing_left, text

EXCHANGE = attrs.evolve(QUICK, ping_timeout=1.0, connect_timeout=1.0)


def command(*words: str) -> None:
    subprocess.run(words, check=True)


def dropped(*match: str) -> None:
    command("iptables", "-A", "INPUT", "-p", "tcp", *match, "-j", "DROP")


def to_nowhere(port: int) -> None:
    dropped("--dport", str(port))
    dropped("--sport", str(port))


def one_way(port: int) -> None:
    dropped("--dport", str(port))


def address_gone(port: int) -> None:
    del port
    command("ip", "address", "del", "127.0.0.1/8", "dev", "lo")


async def chatter(stream: trio.abc.Stream) -> None:
    await accept(stream)
    while True:
        await stream.send_all(text("tick"))
        await trio.sleep(0.05)


async def session(sabotage: Callable[[int], None]) -> dict[str, object]:
    """A live session meets the fault; the ping that follows is how it is found out."""
    async with nothing_left(), hostile(chatter) as port, trio.open_nursery() as nursery:
        link = link_to(port, exchange=EXCHANGE)
        await nursery.start(link.run)
        inbox = Inbox(link)
        await inbox.receive()
        sabotage(port)
        began, before = trio.current_time(), len(inbox.batches)
        with suppress(ConnectorError):
            await link.ping()
        seconds, messages = trio.current_time() - began, len(inbox.batches) - before
    assert link.verdict is not None
    return {"reason": link.verdict.reason, "seconds": seconds, "messages": messages}


async def dialled(host: str, port: int) -> dict[str, object]:
    """How a dial fails."""
    began = trio.current_time()
    try:
        stream = await dial(SystemNetwork(), host, port, tls=False, exchange=EXCHANGE)
    except ConnectorError as error:
        return {"reason": error.reason, "seconds": trio.current_time() - began, "messages": 0}
    await stream.aclose()
    return {"reason": None}


async def swallowed_syn() -> dict[str, object]:
    async with nothing_left(), hostile(answering(b"")) as port:
        dropped("--dport", str(port), "--syn")
        return await dialled("127.0.0.1", port)


async def no_route() -> dict[str, object]:
    async with nothing_left():
        return await dialled("192.0.2.1", 443)


async def ports_used_up() -> dict[str, object]:
    async with nothing_left(), hostile(answering(b"")) as port:
        await trio.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("61000 61001", encoding="ascii")
        async with await trio.open_tcp_stream("127.0.0.1", port), await trio.open_tcp_stream("127.0.0.1", port):
            return await dialled("127.0.0.1", port)


ROWS: Mapping[str, Callable[[], Awaitable[dict[str, object]]]] = {
    "D8": no_route,
    "D9": ports_used_up,
    "T2": swallowed_syn,
    "T5": lambda: session(to_nowhere),
    "T6": lambda: session(one_way),
    "T15": lambda: session(address_gone),
}


async def main(row: str) -> None:
    command("ip", "link", "set", "lo", "up")
    print(json.dumps(await ROWS[row]()))  # noqa: T201 - it is read by the test


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
