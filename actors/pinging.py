"""One session's own pings, by the rules of its exchange: when they are due, and how long an answer may take."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.errors import ConnectorError, LivenessError, Reason
from actors.exchange import Exchange, Form, Heartbeat
from actors.pulse import Pulse


@attrs.define(eq=False)
class Pinging:
    """Sends them; an answer that is overdue fails the session."""

    exchange: Exchange
    pulse: Pulse
    send: Callable[[str | bytes], Awaitable[None]]
    ping: Callable[[], Awaitable[None]]
    """Sends a control ping and waits for its pong, however long."""
    last_frame: Callable[[], float]
    """When anything came last."""
    fail: Callable[[ConnectorError], ConnectorError]
    """Takes the verdict; returns the error to raise."""
    _reading: trio.Event = attrs.field(factory=trio.Event)
    _answered: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._reading.set()

    def answered(self) -> None:
        """A heartbeat of the application came."""
        self._answered.set()

    def block(self) -> None:
        """We ourselves stop reading."""
        self._reading = trio.Event()

    def unblock(self) -> None:
        """We read again."""
        self._reading.set()

    async def keep(self, rule: Heartbeat) -> None:
        """Ping by one rule until cancelled; returns if pings are off."""
        interval = rule.interval or self.exchange.ping_interval
        if not interval:
            return
        due = sent = trio.current_time()
        number = 0
        while True:
            await self._reading.wait()
            self.pulse.look()
            now = trio.current_time()
            woke = sent < self.pulse.ended
            if woke or not rule.when_idle or now >= self.last_frame() + interval:
                number += 1
                sent = now
                await self._ping(rule, number)
            due = now + interval if woke else max(due + interval, trio.current_time())
            await self._wait(due, sent)

    async def _wait(self, due: float, sent: float) -> None:
        """Until the next ping is due, or a pause has ended since the last was sent."""
        while sent >= self.pulse.ended and trio.current_time() < due:
            with trio.move_on_at(due):
                await self.pulse.woke.park()

    async def _ping(self, rule: Heartbeat, number: int) -> None:
        if rule.form is Form.CONTROL:
            await self._in_time(self.ping)
            return
        self._answered = trio.Event()
        await self.send(rule.text(number))
        if rule.answered:
            await self._in_time(self._answered.wait)

    async def _in_time(self, answer: Callable[[], Awaitable[object]]) -> None:
        """Wait for an answer; while we ourselves do not read, or do not run at all, its time does not run."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._clock)
            await answer()
            nursery.cancel_scope.cancel("the ping was answered")

    async def _clock(self) -> None:
        seconds = self.exchange.ping_timeout
        while True:
            await self._reading.wait()
            reading, began = self._reading, trio.current_time()  # another event as soon as we have stopped
            while self._reading is reading:
                await trio.sleep_until(max(began, self.pulse.ended) + seconds)
                self.pulse.look()
                await trio.lowlevel.checkpoint()  # what came in this very turn of the loop is still unread
                overdue = trio.current_time() >= max(began, self.pulse.ended) + seconds
                if overdue and self._reading is reading:
                    raise self.fail(LivenessError(Reason.PING_TIMEOUT, f"no answer to a ping for {seconds:g} s"))
