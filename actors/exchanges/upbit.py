"""Upbit (업비트), public market data of the Korean exchange.

The server never pings, cuts an idle socket without a close frame, acknowledges nothing, and answers an error by a
message and a Close 1000. See :mod:`actors.exchanges._upbit_family` for the session.
"""

from actors.exchange import Channel, Exchange, Limits, Rate
from actors.exchanges._sources import GUIDE, OWN
from actors.exchanges._upbit_family import CHANNELS, HEARTBEATS, UpbitFamilySession, describe, mark

UPBIT = Exchange(
    code="upbit",
    name_ko="[업비트]",
    name_en="[Upbit]",
    ws_url="wss://api.upbit.com/websocket/v1",
    ping_interval=20,
    ping_timeout=10,
    link_timeout=35,
    message_timeout=60,
    channels=(
        *CHANNELS,
        Channel(name="candle.<unit>", snapshot=True, pattern=r"candle\.(1s|(1|3|5|10|15|30|60|240)m)"),
    ),
    code_format="{quote}-{base}",
    code_case="upper",
    heartbeats=HEARTBEATS,
    limits=Limits(connects=Rate(5, 1), messages=(Rate(5, 1), Rate(100, 60))),
    make_session=UpbitFamilySession,
    describe=describe,
    mark=mark,
    sources={
        **OWN,
        "ws_url": "docs.upbit.com/kr/reference/websocket-guide (doc, 2026-11-23)",
        "heartbeats": "docs.upbit.com/kr/reference/connection (doc): control ping, or the text PING answered by UP "
        "every 10 s; whether a control ping alone keeps the idle timer: UNSURE, so both are sent",
        "ping_interval": "a third of the 60 s after which an idle socket is cut: arbitrage-observatory upbit profile "
        "(wire, 2026-09-23), 60.5-60.7 s, 1006 without a close frame; docs.upbit.com says about 120 s",
        "ping_timeout": f"{GUIDE}; pongs took 163-168 ms (wire, 2026-09-23)",
        "link_timeout": "own choice: a lost pong (20 + 10 s) is noticed first",
        "message_timeout": f"{GUIDE}, with a probe before it falls due",
        "max_lifetime": "none documented, none seen in 115 s (wire, 2026-09-23)",
        "limits.connects": "docs.upbit.com rate limits (doc, 2026-10-07): websocket-connect 5 a second for an address; "
        "with an Origin header 1 in 10 s, so none is sent",
        "limits.messages": "docs.upbit.com rate limits (doc, 2026-10-07): 5 a second and 100 a minute on a connection",
        "limits.subscriptions": "none published; 855 codes in one frame worked (wire, 2026-09-23)",
        "limits.argument_bytes": "none published: UNSURE",
        "limits.sockets": "none published: UNSURE",
    },
)
