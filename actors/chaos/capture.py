"""A recorded session of a real exchange, played by a server: the same frames of the same types, in the same time.

The format is one JSON object a line: ``{"t":…,"event":"open","url":…}``, ``{"t":…,"from":"client","text":…}`` and
``{"t":…,"from":"server",…}`` with one of ``text``, ``binary_text`` (a binary frame of UTF-8) and ``binary_b64``; ``t``
is in seconds.
"""

import base64
import json
import math
import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import attrs
import trio

from actors.chaos.conversation import Conversation
from actors.chaos.ledger import Role, Shape, What
from actors.chaos.link import Link
from actors.chaos.server import Server
from actors.chaos.venues.binance import acknowledge
from actors.exchange import Exchange

BURST = 64
"""Frames handed over flat out before other tasks have their turn."""

ACKS: Mapping[str, Callable[[str], str | None]] = {"binance": acknowledge}
"""How an exchange acknowledges a subscription, by its code, where it does; None where the frame is none."""


@attrs.frozen
class Recorded:
    """A frame from the exchange, ``after`` so many seconds from the beginning; str is a text frame."""

    after: float
    data: str | bytes


@attrs.frozen
class Capture:
    """A recorded session."""

    frames: tuple[Recorded, ...]
    awaits_client: bool
    """Whether time begins with the client's first frame; else with the upgrade."""


def read_capture(source: str | os.PathLike[str] | Iterable[str]) -> Capture:
    """The session in a file, or in lines of one.

    Raises:
        ValueError: a line is malformed; the message names the file and the line.
        OSError: the file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        name, lines = os.fspath(source), Path(source).read_text("utf-8").split("\n")
    else:
        name, lines = "capture", source
    frames: list[tuple[float, str | bytes]] = []
    begun: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kind, at, data = _entry(json.loads(line))
        except (ValueError, RecursionError) as error:
            msg = f"{name}:{number}: not a line of a capture: {error}"
            raise ValueError(msg) from None
        begun.setdefault(kind, at)
        if kind == "server":
            frames.append((at, data))
    zero = begun.get("client", begun.get("open", begun.get("server", 0.0)))
    recorded = tuple(Recorded(max(0.0, at - zero), data) for at, data in frames)
    return Capture(recorded, awaits_client="client" in begun)


class CapturePlayer(Server):
    """Plays a capture on one timeline to whoever listens, on any path, and stays open after the last frame.

    Time begins once: with the first upgrade, or, where the capture has frames of its client, with the first frame that
    a client sends. A connection listens from that same moment of its own. A frame that falls due while nobody listens
    stands in the ledger as lost. Subscriptions are acknowledged if the exchange acknowledges them, and all else that
    clients say is ignored. In the ledger, ``number`` counts the capture's frames from 1.

    Args:
        source: The file, or its lines; see :func:`read_capture`, also for what is raised.
        exchange: Whose acks to send; None sends none.
        speed: 2 plays twice as fast as it was recorded; None flat out.
        port: The TCP port, 0 for any free one; None listens on none.
        tls: A server context with a certificate; None speaks plain TCP.
        keep: The most entries that the ledger keeps.
        wall: Nanoseconds UTC.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[str],
        *,
        exchange: Exchange | None = None,
        speed: float | None = 1.0,
        port: int | None = 0,
        tls: ssl.SSLContext | None = None,
        keep: int = 200_000,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        if speed is not None and not speed > 0:
            msg = f"speed must be more than 0, or None for flat out: {speed!r}"
            raise ValueError(msg)
        super().__init__(port=port, tls=tls, keep=keep, wall=wall)
        self.capture = read_capture(source)
        self.played = trio.Event()
        """Set once the last frame is due."""
        self._speed = speed
        self._acknowledge = None if exchange is None else ACKS.get(exchange.code)
        self._begun = trio.Event()
        self._audience: dict[Link, None] = {}

    def converse(self, link: Link) -> Conversation:
        """A listener."""
        return _Listener(link, self)

    async def work(self) -> NoReturn:
        """The timeline."""
        await self._begun.wait()
        begun = trio.current_time()
        for number, frame in enumerate(self.capture.frames, 1):
            if self._speed is not None:
                await trio.sleep_until(begun + frame.after / self._speed)
            elif number % BURST == 0:
                await trio.lowlevel.checkpoint()
                for link in tuple(self._audience):
                    await link.room()
            self._play(number, frame.data)
        self.played.set()
        await trio.sleep_forever()

    def join(self, link: Link) -> None:
        """From now on ``link`` is played to."""
        self._audience[link] = None
        self._begun.set()

    def leave(self, link: Link) -> None:
        """No longer."""
        self._audience.pop(link, None)

    def answer(self, data: str | bytes) -> str | None:
        """The ack that a client's frame is owed."""
        return self._acknowledge(data) if self._acknowledge is not None and isinstance(data, str) else None

    def _play(self, number: int, data: str | bytes) -> None:
        audience = tuple(self._audience)
        for link in audience:
            link.send(data, Role.DATA, number=number)
        if not audience:
            shape = Shape.TEXT if isinstance(data, str) else Shape.BINARY
            self.ledger.write(What.LOST, data=data, shape=shape, role=Role.DATA, number=number)


class _Listener(Conversation):
    def __init__(self, link: Link, player: CapturePlayer) -> None:
        super().__init__(link)
        self._player = player

    def opened(self) -> None:
        if not self._player.capture.awaits_client:
            self._player.join(self.link)

    def received(self, data: str | bytes) -> None:
        ack = self._player.answer(data)
        if ack is not None:
            self.link.send(ack)
        self._player.join(self.link)

    def closed(self) -> None:
        self._player.leave(self.link)


def _entry(line: Any) -> tuple[str, float, str | bytes]:
    """``open``, ``client`` or ``server``, the time, and the frame; ValueError says what is wrong."""
    match line:
        case {"t": int() | float() as at, "event": "open"} if math.isfinite(at):
            return "open", at, ""
        case {"t": int() | float() as at, "from": "client" | "server" as origin} if math.isfinite(at):
            return origin, at, _data(cast("dict[str, Any]", line))
        case _:
            raise ValueError('it must have "t" in seconds, and "event":"open" or "from":"client" or "server"')


def _data(fields: dict[str, Any]) -> str | bytes:
    match {key: fields[key] for key in ("text", "binary_text", "binary_b64") if key in fields}:
        case {"text": str(text), **rest} if not rest:
            return text
        case {"binary_text": str(text), **rest} if not rest:
            return text.encode()
        case {"binary_b64": str(text), **rest} if not rest:
            return base64.b64decode(text, validate=True)
        case _:
            raise ValueError("it must have one string of 'text', 'binary_text' and 'binary_b64'")
