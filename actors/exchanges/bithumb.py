"""Bithumb (빗썸), public market data of the Korean exchange.

Speaks Upbit's protocol, with options spelled in camelCase (``isOnlyRealtime``; none is sent here), books of 15 levels,
and book times in microseconds. See :mod:`actors.exchanges._upbit_family` for the session.
"""

from actors.exchange import Exchange, Limits, Rate
from actors.exchanges._sources import GUIDE, OWN
from actors.exchanges._upbit_family import CHANNELS, HEARTBEATS, UpbitFamilySession, describe, mark

BITHUMB = Exchange(
    code="bithumb",
    name_ko="[빗썸]",
    name_en="[Bithumb]",
    ws_url="wss://ws-api.bithumb.com/websocket/v1",
    ping_interval=20,
    ping_timeout=10,
    link_timeout=35,
    message_timeout=60,
    channels=CHANNELS,
    code_format="{quote}-{base}",
    code_case="upper",
    heartbeats=HEARTBEATS,
    limits=Limits(connects=Rate(10, 1)),
    make_session=UpbitFamilySession,
    describe=describe,
    mark=mark,
    sources={
        **OWN,
        "ws_url": "apidocs.bithumb.com 기본-정보 (doc, 2026-11-23)",
        "heartbeats": "apidocs.bithumb.com 연결-관리 (doc, 2026-06-30): control ping, or the text PING answered by UP "
        "about every 10 s; two sockets lived on control pings alone for 120 s (wire, 2026-09-23)",
        "ping_interval": "a third of the 60 s after which an idle socket is cut: arbitrage-observatory bithumb profile "
        "(wire, 2026-09-23), 60.0 s, 1006 without a close frame; apidocs.bithumb.com says about 120 s",
        "ping_timeout": f"{GUIDE}; pongs took 134-146 ms (wire, 2026-09-23)",
        "link_timeout": "own choice: a lost pong (20 + 10 s) is noticed first",
        "message_timeout": f"{GUIDE}, with a probe before it falls due",
        "max_lifetime": "none documented, none seen in 120 s (wire, 2026-09-23)",
        "limits.connects": "apidocs.bithumb.com 기본-정보 (doc, 2026-11-23): 10 a second for an address, beyond it "
        "HTTP 429, and persistent abuse blocks the address for 10 min",
        "limits.messages": "not published: UNSURE",
        "limits.subscriptions": "none published; 493 codes on one socket worked (wire, 2026-09-23)",
        "limits.argument_bytes": "none published: UNSURE",
        "limits.sockets": "none published: UNSURE",
    },
)
