"""An exchange of our own for tests with many connectors: plain JSON, and nothing in its way.

``{"op":"subscribe","id":1,"channel":"trade","codes":["BTC-USD"]}`` is answered by ``{"op":"subscribed",…}`` with the
codes that exist, and by a snapshot of each; ``{"op":"probe","id":2}`` by ``{"op":"probed","id":2}``; anything else by
``{"op":"error",…}``. Every frame of data carries ``n``, the running number of its channel and code; a snapshot, that
of the frame it restates.
"""

import json
from collections.abc import Hashable, Sequence
from typing import Any

import attrs

from actors.chaos.board import Board, Follower
from actors.chaos.ledger import Role
from actors.chaos.link import Link
from actors.chaos.market import Quote, Topic
from actors.errors import QUARANTINE, clean
from actors.exchange import DATA, Channel, Exchange, Frame, Kind, Limits, Rate, Session, json_object

CHANNELS = ("trade", "book", "ticker")


@attrs.frozen(kw_only=True)
class SimulatedVenue:
    """The rules: none but those of the module."""

    codes: tuple[str, ...] = ("BTC-USD", "ETH-USD", "XRP-USD")
    path: str = "/"
    connects: Rate | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def judge(self, path: str) -> int:
        """Every path is let in."""
        del path
        return 101

    def follower(self, link: Link, board: Board) -> Follower:
        """A fresh conversation."""
        return SimulatedConversation(link, board)

    def render(self, topic: Topic, quote: Quote, number: int, *, style: Hashable = None, snapshot: bool = False) -> str:
        """A text frame."""
        del style
        frame: dict[str, Any] = {"channel": topic.channel, "code": topic.code, "n": number, "at": quote.at // 1_000_000}
        if topic.channel == "book":
            levels = quote.levels(5)
            frame["asks"] = [[ask, size] for ask, _, size, _ in levels]
            frame["bids"] = [[bid, size] for _, bid, _, size in levels]
        else:
            frame |= {"price": quote.price, "size": quote.size}
        return _json({**frame, "snapshot": True} if snapshot else frame)

    def repeats(self, topic: Topic) -> float:
        """No frame repeats another."""
        del topic
        return 0.0


class SimulatedConversation(Follower):
    """One connection."""

    def received(self, data: str | bytes) -> None:
        """A subscription, a probe, or an error."""
        match json_object(data):
            case {"op": "subscribe", "channel": str(channel), "codes": [*codes], **rest} if channel in CHANNELS:
                known = [code for code in codes if isinstance(code, str) and code in self.board.market]
                self._say(op="subscribed", id=rest.get("id"), channel=channel, codes=known)
                for code in known:
                    topic = Topic(channel, code)
                    self.board.snapshot(self, topic)
                    self.board.follow(self, topic)
            case {"op": "probe", **rest}:
                self._say(op="probed", id=rest.get("id"))
            case request:
                self._say(op="error", id=request.get("id"), message="no such request")

    def _say(self, **message: Any) -> None:
        self.link.send(_json(message), Role.ANSWER)


class SimulatedSession(Session):
    """The client's side of one connection."""

    def subscribe(self) -> Sequence[str | bytes]:
        """One frame a channel, numbered from 1."""
        return [
            _json({"op": "subscribe", "id": number, "channel": wanted.channel, "codes": wanted.codes})
            for number, wanted in enumerate(self.subscriptions, 1)
        ]

    def pending(self) -> frozenset[str]:
        """The channels, each confirmed by its ack."""
        return frozenset(wanted.channel for wanted in self.subscriptions)

    def probe(self) -> Sequence[str | bytes]:
        """A question that is answered with the number 0."""
        return (_json({"op": "probe", "id": 0}),)

    def classify(self, data: str | bytes) -> Frame:
        """Data starts with its channel; all else has an ``op``."""
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if text.startswith('{"channel":"'):
            return DATA
        match json_object(text):
            case {"op": "subscribed", "channel": str(channel)}:
                return Frame(Kind.ACK, confirms=(channel,))
            case {"op": "probed"}:
                return Frame(Kind.CONTROL, probe=True)
            case {"op": "error", "message": message}:
                return Frame(Kind.ERROR, clean(str(message)), advice=QUARANTINE)
            case _:
                return Frame(Kind.UNKNOWN, clean(text, 80))


def describe(data: str | bytes) -> tuple[str, str]:
    """Channel and code of a data frame."""
    match json_object(data):
        case {"channel": str(channel), "code": str(code)}:
            return channel, code
        case _:
            return "", ""


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


SIMULATED = Exchange(
    code="simulated",
    name_ko="[모의]",
    name_en="[Simulated]",
    # the port is the simulated exchange's own: attrs.evolve(SIMULATED, ws_url=sim.url)
    ws_url="ws://127.0.0.1:1/",
    channels=tuple(Channel(name=name, portable=name, snapshot=True) for name in CHANNELS),
    code_format="{base}-{quote}",
    code_case="upper",
    limits=Limits(gate=Rate(10_000, 1)),
    make_session=SimulatedSession,
    describe=describe,
)
