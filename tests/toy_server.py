"""The server of the toy exchanges: one class, told which of the five lives it lives."""

from collections.abc import Callable
from typing import Any

import trio

from actors.chaos import Server
from actors.chaos.conversation import Conversation
from actors.chaos.ledger import Role, Shape
from actors.chaos.link import Link
from actors.exchange import json_object
from tests.scenes import wall
from tests.toys import compact


class ToyConversation(Conversation):
    """Acks, one data frame a second, and a strict watch on the heartbeat of its life."""

    def __init__(self, link: Link, life: int) -> None:
        super().__init__(link)
        self.life = life
        self.number = 0
        self.alive_at = trio.current_time()
        self.token = 0

    def opened(self) -> None:
        self.link.later(1, self._data)
        if self.life in (3, 4):
            self.link.later(30, self._ping)
        else:
            self.link.later(60, self._idle)

    def received(self, data: str | bytes) -> None:
        match json_object(data):
            case {"op": "subscribe", "channel": "nothing"}:
                self.link.send(compact(op="refused", channel="nothing", why="no such channel"))
            case {"op": "subscribe", "channel": channel}:
                self.link.send(compact(op="subscribed", channel=channel))
            case {"op": "ping", "n": n} if self.life == 2:
                self.alive_at = trio.current_time()
                self.link.send(compact(op="pong", n=n), Role.HEARTBEAT)
            case _ if data == f'"toy::pong::{self.token}"':
                self.alive_at = trio.current_time()
            case _:
                pass

    def control(self, shape: Shape, payload: bytes) -> None:
        if (self.life in (1, 5) and shape is Shape.PING) or (self.life == 3 and shape is Shape.PONG):
            self.alive_at = trio.current_time()

    def _data(self) -> None:
        self.number += 1
        frame = compact(channel="trade", code="BTC-KRW", n=self.number)
        self.link.send(frame, Role.DATA, channel="trade", code="BTC-KRW", number=self.number)
        self.link.later(1, self._data)

    def _ping(self) -> None:
        self.token += 1
        if self.life == 3:
            self.link.ping(str(self.token).encode())
        else:
            self.link.send(f'"toy::ping::{self.token}"', Role.HEARTBEAT)
        asked = trio.current_time()
        self.link.later(10, lambda: self._judge(asked))
        self.link.later(30, self._ping)

    def _judge(self, asked: float) -> None:
        if self.alive_at < asked:
            self.link.close(1000)

    def _idle(self) -> None:
        if trio.current_time() - self.alive_at >= 60:
            self.link.cut()
        else:
            self.link.later(1, self._idle)


class ToyServer(Server):
    """A toy exchange in memory."""

    def __init__(self, life: int, converse: Callable[[Link], Conversation] | None = None) -> None:
        super().__init__(port=None, wall=wall)
        self.life = life
        self._converse = converse

    def converse(self, link: Link) -> Conversation:
        return ToyConversation(link, self.life) if self._converse is None else self._converse(link)


def said(server: Server, op: str) -> list[dict[str, Any]]:
    """What clients sent of an operation."""
    frames = [json_object(entry.data) for entry in server.ledger if entry.what == "received"]
    return [frame for frame in frames if frame.get("op") == op]
