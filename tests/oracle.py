"""The server's ledger against what a consumer got, message by message, however many sockets brought it."""

from collections import Counter
from typing import Any

from actors.chaos import Role, SimulatedExchange, What
from actors.exchange import Exchange
from actors.items import Message
from tests.scenes import Seen


def compare(exchange: Exchange, sim: SimulatedExchange, seen: Seen, until: float) -> tuple[list[int], list[Any]]:
    """When what was said before ``until`` and never delivered was said, and what was delivered more often than said."""
    assert sim.ledger.forgotten == 0
    said: dict[tuple[str, str, int], tuple[Any, float, int]] = {}
    for entry in sim.ledger:
        if entry.role is Role.DATA and entry.number and entry.what in (What.SENT, What.LOST):
            mark = exchange.mark(entry.data)
            assert mark is not None
            known = (mark.key, mark.identity)
            said.setdefault((entry.channel, entry.code, entry.number), (known, entry.at, entry.wall))
    marks = [mark for message in seen.messages if (mark := exchange.mark(message.data)) is not None]
    left = Counter((mark.key, mark.identity) for mark in marks)
    lost: list[int] = []
    # of messages that are alike, those that a gap accounts for are the lost ones
    for known, at, when in sorted(said.values(), key=lambda one: any(g.since <= one[2] <= g.until for g in seen.gaps)):
        if left[known]:
            left[known] -= 1
        elif at < until:
            lost.append(when)
    truth = Counter(known for known, _, _ in said.values())
    fresh = Counter((mark.key, mark.identity) for mark in marks if not mark.snapshot)
    return lost, [known for known in fresh if fresh[known] > truth[known]]


def in_order(exchange: Exchange, messages: list[Message]) -> bool:
    """Whether no message of a code came after a later one."""
    tops: dict[Any, int] = {}
    for message in messages:
        mark = exchange.mark(message.data)
        if mark is None or mark.order is None:
            continue
        if mark.order < tops.get(mark.key, 0):
            return False
        tops[mark.key] = mark.order
    return True


def uncovered(lost: list[int], seen: Seen) -> list[int]:
    """The losses that lie in no gap."""
    return [at for at in lost if not any(gap.since <= at <= gap.until for gap in seen.gaps)]
