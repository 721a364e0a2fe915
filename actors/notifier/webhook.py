"""A channel that posts each message as a signed JSON document to a URL of one's own."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from actors.errors import BACKOFF, QUARANTINE, after
from actors.notifier.channel import ChannelError, Language, Letter, Undeliverable
from actors.notifier.secret import Secret
from actors.notifier.wire import CLOSE_TIMEOUT, SecretUrl, Wire, checked_proxy, tls_context

_UNSAID_WAIT = 60.0
"""Seconds to wait after a 429 that does not say how long."""


class Webhook:
    """POSTs ``{"id": …, "severity": …, "text": …, "made": …}``, ``made`` in seconds since 1970 UTC.

    Every 2xx is a delivery. The header ``X-Feedwarden-Signature`` is ``t=SECONDS,v1=HEX``, HEX being the HMAC-SHA256,
    under the key, of SECONDS, a full stop and the body: who checks it, and the age of SECONDS, knows that the message
    is ours and new. A message may come twice, with the same id.

    Args:
        url: ``https://``, or ``http://`` on this machine; path and query are kept secret.
        key: Signs the messages.
        name: The channel's name.
        language: The reader's language.
        ca_file: A PEM file of the certificate authorities to trust instead of the system's.
        proxy: ``http://``, ``https://`` or ``socks5://`` URL, with user and password if it needs them.
        wall: Nanoseconds UTC.

    Raises:
        ValueError: a malformed argument; no secret is in the message.
    """

    def __init__(
        self,
        url: Secret,
        key: Secret,
        *,
        name: str = "webhook",
        language: Language = Language.KO,
        ca_file: str | Path | None = None,
        proxy: Secret | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.language = language
        self._url = SecretUrl.of(url)
        if len(key.reveal()) < 16:
            raise ValueError("key must have at least 16 characters, as of `openssl rand -hex 32` (it is not shown)")
        self._key = key
        self._wall = wall
        self._wire = Wire(
            "the webhook",
            self._url.shown,
            secrets=(self._url.path.reveal().strip("/"), key.reveal()),
            tls=tls_context(ca_file),
            proxy=checked_proxy(proxy),
        )

    def split(self, letter: Letter) -> Sequence[str]:
        """One document, whatever its length."""
        fields = {"id": letter.id, "severity": letter.severity.value, "text": letter.text, "made": letter.made / 1e9}
        return (json.dumps(fields),)

    async def send(self, text: str) -> None:
        """Post one document.

        Raises:
            ChannelError: the network or the server does not allow it now, or the server refuses us.
            Undeliverable: the server will not have this document.
        """
        reply = await self._wire.post(text.encode(), self._url.target, self._signature(text))
        status = reply.status
        if 200 <= status < 300:
            return
        if status in (429, 503) and (status == 429 or reply.retry_after is not None):
            wait = _UNSAID_WAIT if reply.retry_after is None else reply.retry_after
            raise ChannelError(f"the webhook asks to wait {wait:g} s", after(wait))
        if status in (401, 403, 404, 405, 410) or 300 <= status < 400:
            raise ChannelError(f"the webhook refuses us (HTTP {status}): check its url and key", QUARANTINE)
        if 400 <= status < 500 and status != 408:
            raise Undeliverable(f"the webhook will not have the message (HTTP {status})")
        raise ChannelError(f"the webhook is out of order (HTTP {status})", BACKOFF)

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._wire.__aexit__(kind, error, traceback)

    def _signature(self, text: str) -> dict[str, str]:
        seconds = self._wall() // 1_000_000_000
        return {"X-Feedwarden-Signature": f"t={seconds},v1={signature(self._key, seconds, text.encode())}"}


def signature(key: Secret, seconds: int, body: bytes) -> str:
    """What a receiver works out for itself and compares."""
    return hmac.new(key.reveal().encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
