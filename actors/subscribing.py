"""Keeping the open session subscribed to what its feed wants, also while that changes or some of it is rejected."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import attrs
import trio

from actors.errors import (
    BACKOFF,
    QUARANTINE,
    ApplicationError,
    ConnectorError,
    Reason,
    ReconnectRequested,
    Way,
)
from actors.exchange import Frame, Session, Subscription
from actors.line import Line
from actors.sieve import Found
from actors.subscriptions import Pacer, Topic, grouped, topics

GATHER = 0.05
"""Seconds in which changes are gathered into one."""
HANGS_UP = frozenset(
    {
        Reason.EOF,
        Reason.RESET,
        Reason.CLOSE_1000,
        Reason.CLOSE_1008,
        Reason.CLOSE_1011,
        Reason.CLOSE_4XXX,
        Reason.CLOSE_OTHER,
        Reason.APP_ERROR,
        Reason.SUB_TIMEOUT,
    }
)
"""Ends by which an exchange may mean that it does not bear a code; a restart or maintenance is none."""


@attrs.define(eq=False)
class Subscribing:
    """One session's subscriptions, sent no faster than the exchange takes messages."""

    line: Line
    session: Session
    send: Callable[[str | bytes], Awaitable[None]]
    left_out: Callable[[Topic, str], None]
    """Told of each code that is asked for no longer, and why."""
    renewed: Callable[[Topic], None]
    """Told of each code that was subscribed to once more."""
    wall: Callable[[], int]
    """Now, in nanoseconds UTC."""
    wanted: tuple[Subscription, ...] = ()
    """What the session is subscribed to, or about to be."""
    pacer: Pacer = attrs.field(init=False)
    _begun: bool = False
    _sent: bool = False
    _refused: bool = False
    """Some of ``wanted`` was rejected, and with it perhaps more of its request."""
    _silent: dict[Topic, None] = attrs.field(factory=dict["Topic", None])
    """What is to be subscribed to once more."""
    _answered: trio.Event = attrs.field(factory=trio.Event)
    """The exchange has taken or rejected ``wanted``; made anew for each change."""
    _replaced: trio.Event | None = None
    """A change that replaces what was there before is over; made anew for each."""
    _since: tuple[int, float] = (0, 0.0)
    """When the last message before it came."""

    def __attrs_post_init__(self) -> None:
        self.wanted = self.session.subscriptions
        self.pacer = Pacer(self.line.exchange.limits.messages)

    async def begin(self) -> None:
        """Send what opens the session."""
        self._begun = True
        for frame in self.session.opened():
            await self._send(frame)
        self._sent = True

    async def keep(self, changed: Callable[[], object]) -> None:
        """Change with the feed until cancelled; ``changed`` is called after each.

        Raises:
            ReconnectRequested: only a fresh session can make the change.
        """
        while True:
            if self.line.sieve.on:
                await self._verdict()
            elif not self._due and not self._silent:
                await self.line.changed.park()
            await trio.sleep(GATHER)
            if self._due:
                async with self.line.turn or nullcontext():
                    await self._change(changed)
            elif self._silent:
                await self._renew()
                changed()

    def renew(self, topic: Topic) -> None:
        """Subscribe to this once more, on the open session; nothing happens where only a fresh one could."""
        self._silent[topic] = None
        self.line.changed.unpark_all()

    # -- what the exchange says to it

    def heard(self) -> None:
        """A frame that is no data has been classified: if it was the last answer owed, all of ``wanted`` is taken."""
        if self._sent and not self.session.pending():
            self._answered.set()

    def lived(self) -> None:
        """The session is live: the exchange has taken what it was opened with."""
        if not self._refused:
            self._answered.set()
            self._leave_out(self.line.sieve.accepted(topics(self.wanted)), "")

    def rejected(self, frame: Frame) -> ConnectorError | None:
        """The exchange rejects a code or several; returns why the session is to end, if it is to."""
        asked = topics(self.wanted)
        suspects = [topic for topic in topics(frame.rejects) if topic in asked] or asked
        error = ApplicationError(Reason.SUB_REJECTED, frame.detail, frame.advice or BACKOFF)
        if len(suspects) > 1 and frame.advice is not None and frame.advice.way is not Way.QUARANTINE:
            return error  # it may be taken later, as it is
        self._refused = True
        self._answered.set()
        self.line.changed.unpark_all()
        if self._leave_out(self.line.sieve.rejected(suspects, asked), frame.detail):
            return None
        return error if len(suspects) == len(topics(self.line.subscriptions)) == 1 else self._nothing(frame.detail)

    def hung_up(self, error: ConnectorError) -> ConnectorError:
        """The session ends by ``error``; returns what to call it, which differs if a code is to blame for it."""
        sieve = self.line.sieve
        if error.reason in HANGS_UP and self._refused:
            return _searching(error, "the exchange rejected a code, then hung up")
        if error.reason not in HANGS_UP or not self._begun or self._answered.is_set():
            return error
        asked = topics(self.wanted)
        found = sieve.hung_up(asked)
        if not self._leave_out(found, "the exchange hangs up when it is asked for"):
            return self._nothing(str(error))
        if not sieve.on and not found.bad:
            return error
        return _searching(error, f"asked for {len(asked)} codes, the exchange hung up: the bad one is looked for")

    def replaced(self, *, over: bool = False) -> None:
        """Something has come during a change that replaces what was there; ``over``: nothing more will.

        Once all that stays was answered, messages of what is not proven to be whole may be missing.
        """
        replacing = self.session.replacing
        if replacing is None or not (replacing.complete or over):
            return
        self.session.replacing = None
        if self._replaced is not None:
            self._replaced.set()
        if replacing.codes:
            self.line.may_miss(self._since, replacing.codes, self.wall(), trio.current_time())

    # -- inside

    @property
    def _due(self) -> bool:
        return self._refused or self.line.asked() != self.wanted

    async def _verdict(self) -> None:
        """Wait for what the exchange says to a trial; where it never confirms anything, its silence is consent."""
        # by one second later than the session's own clock, which ends it if nothing at all has come
        with trio.move_on_after(self.line.exchange.subscribe_timeout + 1.0):
            await self._answered.wait()
        if not self._refused:
            self._leave_out(self.line.sieve.accepted(topics(self.wanted)), "")

    async def _change(self, changed: Callable[[], object]) -> None:
        self._refused = False
        self.wanted = self.line.asked()
        self._answered = trio.Event()
        self._since = self.line.reached
        frames = self.session.change(self.wanted)
        if frames is None:
            self.line.sieve.in_place = False
            raise ReconnectRequested("its subscriptions change, which takes a fresh session")
        self._sent = False
        for frame in frames:
            await self._send(frame)
        self._sent = True
        changed()
        if self.session.replacing is not None:
            self._replaced = trio.Event()
            with trio.move_on_after(self.line.exchange.subscribe_timeout):
                await self._replaced.wait()
            self.replaced(over=True)

    async def _renew(self) -> None:
        silent, self._silent = self._silent, {}
        wanted = topics(self.wanted)
        frames = self.session.again(grouped(topic for topic in wanted if topic not in silent))
        for frame in frames or ():
            await self._send(frame)
        for topic in silent if frames else ():
            self.renewed(topic)

    def _leave_out(self, found: Found, detail: str) -> bool:
        """Go on without what has been found; False if nothing would be left."""
        why = "not tried: the exchange rejects some code without naming it, and looking for it takes too long"
        out = dict.fromkeys(found.bad, detail) | dict.fromkeys(found.untried, why)
        listed = topics(self.line.subscriptions)
        rest = [topic for topic in listed if topic not in out]
        if found.nothing or not rest:
            return False
        if len(rest) < len(listed):
            self.line.subscriptions = grouped(rest)
            for topic in listed:
                if topic in out:
                    self.left_out(topic, out[topic])
        return True

    def _nothing(self, detail: str) -> ConnectorError:
        count = len(topics(self.line.subscriptions))
        return ApplicationError(Reason.SUB_REJECTED, f"none of its {count} codes is accepted: {detail}", QUARANTINE)

    async def _send(self, message: str | bytes) -> None:
        await trio.sleep_until(self.pacer.due(trio.current_time()))
        await self.send(message)


def _searching(error: ConnectorError, detail: str) -> ConnectorError:
    """An end that is nobody's outage. The next session asks for something else, but not sooner than it is told to."""
    return ConnectorError(Reason.REQUESTED, detail, error.advice if error.advice.way is Way.AFTER else BACKOFF)
