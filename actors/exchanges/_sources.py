"""Where the figures come from that are ours and the same for every exchange; shown beside the exchange's own."""

GUIDE = "connector guide (연결 코드 작성 가이드), its default"

OWN = {
    "health_check_interval": f"{GUIDE}; here only the longest time between two looks",
    "quiet_after": "own choice: off, since quiet codes are silent for 30-50 s on almost every exchange",
    "dns_timeout": "own choice",
    "connect_timeout": "own choice",
    "tls_timeout": "own choice",
    "upgrade_timeout": "own choice",
    "open_timeout": "own choice, after gRPC's MIN_CONNECT_TIMEOUT of 20 s (connection-backoff.md)",
    "subscribe_timeout": "own choice",
    "send_timeout": "own choice",
    "close_timeout": "own choice",
    "reconnect": f"{GUIDE}, with jitter and a reset after health",
    "limits.gate": "own choice: one attempt a second on average, five at once, and half of what is published",
}
"""Source by field name of ``Exchange``, for the fields that no exchange publishes."""
