"""The simulated exchange: a server, the rules of a venue, and a market that moves."""

import random
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from actors.chaos.board import Board, Venue
from actors.chaos.conversation import Conversation
from actors.chaos.link import Link
from actors.chaos.market import Market
from actors.chaos.server import Server

MAX_RATE = 100_000.0
"""Messages a second of one topic that are not beyond all reason."""


class SimulatedExchange(Server):
    """An exchange on loopback that speaks the documented rules of a venue, with data that changes, and takes faults.

    Args:
        venue: Whose rules: ``UpbitVenue()``, ``BithumbVenue()``, ``BinanceVenue()`` or ``SimulatedVenue()``.
        codes: The codes it lists, in the venue's spelling; None for the venue's own few.
        quiet: Codes it lists besides, of which nothing is said but the snapshot.
        rate: Messages a second of each channel and code that is not quiet, on average.
        port: The TCP port, 0 for any free one; None listens on none (:class:`~actors.chaos.memory.MemoryNetwork`).
        tls: A server context with a certificate; None speaks plain TCP.
        keep: The most entries that the ledger keeps.
        random: Source of all randomness.
        wall: Nanoseconds UTC.

    Raises:
        ValueError: ``rate`` or ``keep`` is out of bounds.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        codes: Sequence[str] | None = None,
        quiet: Sequence[str] = (),
        rate: float = 10.0,
        port: int | None = 0,
        tls: ssl.SSLContext | None = None,
        keep: int = 200_000,
        random: random.Random | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        if not 0 <= rate <= MAX_RATE:
            msg = f"rate must be at least 0 and at most {MAX_RATE:g} messages a second: {rate!r}"
            raise ValueError(msg)
        super().__init__(
            path=venue.path, port=port, tls=tls, connect_limit=venue.connects, keep=keep, random=random, wall=wall
        )
        self.venue = venue
        self.codes = tuple(dict.fromkeys((*(venue.codes if codes is None else codes), *quiet)))
        self.quiet = frozenset(quiet)
        self.market = Market(self.codes, self.random, wall)
        self.board = Board(
            venue=venue,
            market=self.market,
            ledger=self.ledger,
            random=self.random,
            wall=wall,
            rate=rate,
            quiet=self.quiet,
        )

    def converse(self, link: Link) -> Conversation:
        """A conversation under the venue's rules."""
        return self.venue.follower(link, self.board)

    def judge(self, link: Link) -> int:
        """The venue's verdict."""
        return self.venue.judge(link.path)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The venue's own."""
        return list(self.venue.headers)

    def lose(self, code: str) -> None:
        """Forget every subscription to this code, while all connections live: only subscribing again brings it back."""
        self._write_fault(f"lose {code}")
        self.board.lose(code)

    def hush(self, code: str) -> None:
        """Let the market of this code stand still for good: nothing of it but snapshots."""
        self._write_fault(f"hush {code}")
        self.board.hush(code)

    async def work(self) -> None:
        """Say what is due."""
        await self.board.run()


@asynccontextmanager
async def simulated_exchange(
    venue: Venue,
    *,
    codes: Sequence[str] | None = None,
    quiet: Sequence[str] = (),
    rate: float = 10.0,
    port: int | None = 0,
    tls: ssl.SSLContext | None = None,
    keep: int = 200_000,
    random: random.Random | None = None,
    wall: Callable[[], int] = time.time_ns,
) -> AsyncGenerator[SimulatedExchange]:
    """A :class:`SimulatedExchange` that serves while the body runs: ``async with simulated_exchange(...) as sim``."""
    sim = SimulatedExchange(
        venue, codes=codes, quiet=quiet, rate=rate, port=port, tls=tls, keep=keep, random=random, wall=wall
    )
    async with sim.serving():
        yield sim
