"""Enough of Coinone to answer the Korean guide's example: https://docs.coinone.co.kr/reference/public-websocket-1."""

import itertools
import json
from typing import Any

from actors.chaos import Server
from actors.chaos.conversation import Conversation
from actors.chaos.link import Link

EVERY = 1.0
"""Seconds between two trades of a pair."""


class CoinoneServer(Server):
    """Acknowledges each subscription, then trades once a second."""

    def converse(self, link: Link) -> Conversation:
        """One client."""
        return _Client(link)


class _Client(Conversation):
    def opened(self) -> None:
        self._say("CONNECTED", data={"session_id": "1"})

    def received(self, data: str | bytes) -> None:
        request = json.loads(data)
        match request["request_type"]:
            case "PING":
                self._say("PONG")
            case "SUBSCRIBE":
                self._say("SUBSCRIBED", channel=request["channel"], data=request["topic"])
                self._trade(request["topic"], itertools.count(116_460_000, 1_000))
            case other:
                self._say("ERROR", error_code=160010, message=f"Invalid Request: {other}")

    def _trade(self, topic: dict[str, str], prices: "itertools.count[int]") -> None:
        self._say("DATA", channel="TRADE", data={**topic, "price": str(next(prices)), "qty": "0.00483595"})
        self.link.later(EVERY, lambda: self._trade(topic, prices))

    def _say(self, response_type: str, **fields: Any) -> None:
        self.link.send(json.dumps({"response_type": response_type, **fields}))
