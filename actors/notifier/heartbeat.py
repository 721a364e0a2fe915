"""A sign of life for somebody who notices when it stays away."""

import json

import trio

from actors.errors import clean
from actors.events import ChannelTrouble, EventHook
from actors.notifier.channel import ChannelError
from actors.notifier.secret import Secret
from actors.notifier.wire import SecretUrl, Wire

NAME = "heartbeat"


class Ping:
    """Calls a URL of a dead man's switch at an interval; the notifier runs it for as long as it works.

    Args:
        url: ``https://``, or ``http://`` on this machine; path and query are kept secret.
        every: Seconds between two calls.

    Raises:
        ValueError: a malformed URL, which is not repeated.
    """

    def __init__(self, url: Secret, every: float) -> None:
        self._url = SecretUrl.of(url)
        self._every = every
        self._wire = Wire("the heartbeat's URL", self._url.shown, secrets=(self._url.path.reveal().strip("/"),))

    async def run(self, emit: EventHook) -> None:
        """Call until cancelled; a call that fails is told once, as trouble of the channel ``heartbeat``."""
        failing = False
        due = trio.current_time()
        async with self._wire:
            while True:
                trouble = await self._call()
                if trouble and not failing:
                    at = trio.current_time()
                    emit(ChannelTrouble(at=at, channel=NAME, error=trouble, delay=max(due + self._every - at, 0.0)))
                failing = bool(trouble)
                due = max(due + self._every, trio.current_time())
                await trio.sleep_until(due)

    async def _call(self) -> str:
        try:
            reply = await self._wire.post(json.dumps({"alive": True}).encode(), self._url.target)
        except ChannelError as error:
            return clean(str(error))
        return "" if 200 <= reply.status < 300 else f"the heartbeat's URL answers HTTP {reply.status}: check it"
