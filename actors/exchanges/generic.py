"""Any WebSocket: the URL and what to send on opening are the user's, every frame is data."""

import attrs

from actors.exchange import Exchange
from actors.exchanges._sources import GUIDE, OWN

NO_URL = "wss://no-url-given.invalid/"
"""Stands for the URL that must be given; the name can never be resolved (RFC 6761 §6.4)."""

GENERIC = Exchange(
    code="generic",
    name_ko="[일반]",
    name_en="[Generic]",
    ws_url=NO_URL,
    ping_interval=20,
    ping_timeout=10,
    link_timeout=45,
    message_timeout=60,
    sources={
        **OWN,
        "ws_url": "to be given",
        "heartbeats": "own choice: a control ping, which every WebSocket server must answer (RFC 6455 §5.5.2)",
        "ping_interval": "own choice: below the shortest idle limit known of an exchange, 30 s",
        "ping_timeout": GUIDE,
        "link_timeout": "own choice: a lost pong (20 + 10 s) is noticed first",
        "message_timeout": GUIDE,
        "max_lifetime": "not known",
        "limits.connects": "not known",
        "limits.messages": "not known",
        "limits.subscriptions": "not known",
        "limits.argument_bytes": "not known",
        "limits.sockets": "not known",
    },
)


def generic(url: str, *sends: str) -> Exchange:
    """The exchange at ``url``, which is sent ``sends``, one text frame each, on opening.

    Raises:
        ValueError: ``url`` is not a WebSocket URL.
    """
    return attrs.evolve(GENERIC, ws_url=url, on_open=sends)
