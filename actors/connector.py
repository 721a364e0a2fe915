"""A connector: the actor that lives for exactly one WebSocket session of one exchange.

It opens the socket, subscribes, relays, and ends: normally after :meth:`Connector.disconnect`, else by raising what
went wrong. Nobody here reconnects anything; its supervisor starts the next incarnation.
"""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import partial
from itertools import chain, groupby

import trio

from actors.actor import NO_CONTEXT, Context
from actors.errors import (
    QUARANTINE,
    ApplicationError,
    ConnectorError,
    GiveUp,
    LivenessError,
    Reason,
    ReconnectRequested,
    Way,
    leaves,
)
from actors.events import EventHook, LinkState
from actors.exchange import DATA, By, Exchange, Frame, Http, Kind, Session
from actors.legs import Source
from actors.liveness import Expired, Liveness, QuietWatch, Task
from actors.pinging import Pinging
from actors.pulse import Pulse
from actors.sequence import Continuity
from actors.stats import ConnectorStats
from actors.subscribing import Subscribing
from actors.subscriptions import codes_of
from actors.telling import Telling
from actors.transport import Gate, HttpClient, Link, Network, find_link

TOO_BIG_TIMES = 3
"""Sessions in a row that ended by a message over the limit, after which the next one is no accident either."""
ERROR_OUTRANKS_CLOSE = 2.0
"""Seconds for which an error message explains the end of the session better than the close code after it: Upbit says
WRONG_FORMAT, then closes with 1000 (docs.upbit.com websocket-error)."""


class Connector:
    """One session of one feed, with the guide's methods; run it once for every incarnation.

    Args:
        feed: Where data, interruptions and the state go; it also knows the exchange and the subscriptions. A part of a
            feed that has several sockets, or one leg of it.
        network: The way to the outside.
        gate: The budget of connection attempts, shared by all connectors of a process.
        emit: The event hook.
        wall: Nanoseconds since 1970, UTC.
        http: Makes the HTTP client for an endpoint that has to be asked for.
        pulse: Knows of pauses of this process; None: one of the connector's own.

    Raises:
        ValueError: the exchange's URL is one that is never dialled (``ws://`` beyond this machine).
    """

    def __init__(
        self,
        feed: Source,
        *,
        network: Network,
        gate: Gate,
        emit: EventHook,
        wall: Callable[[], int] = time.time_ns,
        http: Callable[[], AbstractAsyncContextManager[Http]] | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.name = feed.name
        self.feed = feed
        self.exchange: Exchange = feed.exchange
        self.stats: ConnectorStats = feed.stats
        self._network = network
        self._gate = gate
        self._emit = emit
        self._wall = wall
        self._http = http or partial(HttpClient, network, wall=wall)
        self._own_pulse = pulse is None
        self._pulse = pulse or Pulse(emit)
        self._quiet = QuietWatch(feed.exchange)
        Link(network, self.exchange, self.exchange.ws_url, wall=wall)  # a URL that can never be dialled is refused now
        self._too_big = 0
        self._begin(NO_CONTEXT)

    def _begin(self, context: Context) -> None:
        """What an incarnation starts with."""
        self._context = context
        session = self._session = self.exchange.session(self.feed.asked(fresh=True))
        # where every frame is data, asking of each would be a tenth of what a message costs
        self._classify = None if type(session).classify is Session.classify else session.classify
        tell = self._tell = Telling(self.feed, self._emit, self._wall)
        self._subscribing = Subscribing(
            self.feed, session, self.send_message, tell.rejected, tell.renewed, wall=self._wall
        )
        self._continuity = Continuity() if self.exchange.check_sequence and self.feed.checks_sequence else None
        self._link: Link | None = None
        self._liveness: Liveness | None = None
        self._pauses = 0, 0.0
        self._verdict: ConnectorError | None = None
        self._app_error: tuple[ConnectorError, float] | None = None
        self._healthy = False
        self._asked = trio.Event()
        self._wish: ConnectorError | None = None
        self._pinging = Pinging(
            self.exchange, self._pulse, self.send_message, self._control_ping, lambda: self._last_frame, self._fail
        )
        self._listeners = trio.lowlevel.ParkingLot()
        self._heard: Sequence[str | bytes] = ()

    async def run(self, *, task_status: Context = NO_CONTEXT) -> None:
        """Live for one session.

        Raises:
            ConnectorError: why the session failed, in a group if several things failed at once.
        """
        self._begin(task_status)
        self._tell.dialling()
        task_status.started(self)
        ending = Reason.STOPPED
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, nursery.cancel_scope)
                if self._own_pulse:
                    nursery.start_soon(self._pulse.run)
                await self.connect(nursery)
                nursery.start_soon(self._receive_loop)
                nursery.start_soon(self.health_check)
                nursery.start_soon(self._keep_subscribed)
                for rule in self.exchange.heartbeats:
                    if rule.by is By.CLIENT:
                        nursery.start_soon(self._pinging.keep, rule)
        except BaseException as error:
            ending = _why(error)
            raise
        finally:
            self._ended(ending)

    # -- the guide's methods

    async def connect(self, nursery: trio.Nursery) -> None:
        """Wait at the gate, dial, upgrade and subscribe; the session's tasks live in ``nursery``.

        Raises:
            ConnectorError: by what failed; the verdict is told before anything is closed.
        """
        link: Link | None = None
        try:
            link = await find_link(self._network, self.exchange, wall=self._wall, http=self._http)
            turn = self.stats.turn = self._gate.line_up(link.host, self.exchange.limits, self._network.source)
            await turn.come()
            await nursery.start(link.run)
        except ConnectorError as error:
            if error.advice.way is Way.AFTER and link is not None:
                self._gate.close(link.host, error.advice.seconds, self._network.source)
            raise self._fail(error) from error.__cause__
        self._link = link
        self._is_connected()
        link.deliver_to(self._take)
        await self._subscribing.begin()
        self._alive.subscribed()

    async def disconnect(self) -> None:
        """End the session for good, from within: ``run`` returns normally, and its supervisor does not restart it."""
        self._asked.set()
        await trio.lowlevel.checkpoint()

    async def reconnect(self, why: str = "") -> None:
        """End the session with ReconnectRequested, from within: the supervisor starts the next incarnation."""
        self.reconnect_soon(why)
        await trio.lowlevel.checkpoint()

    def reconnect_soon(self, why: str) -> None:
        """As :meth:`reconnect`, without a wait."""
        self.fail_soon(ReconnectRequested(why))

    def fail_soon(self, error: ConnectorError) -> None:
        """End the session with this verdict, from within and without a wait."""
        self._wish = error
        self._asked.set()

    async def send_message(self, message: str | bytes) -> None:
        """Send one frame.

        Raises:
            ConnectorError: it could not be sent within ``send_timeout``, or the session has ended.
            trio.ClosedResourceError: there is no session.
        """
        link = self._open_link
        self._subscribing.pacer.sent(trio.current_time())
        try:
            await link.send(message)
        except ConnectorError as error:
            raise self._fail(error) from error.__cause__

    async def receive_raw(self) -> Sequence[str | bytes]:
        """The next frames as they come off the wire, all that one read brings; the feed gets them as well.

        What comes while nobody waits here is not kept for it.

        Raises:
            ConnectorError: why the session has ended.
            trio.ClosedResourceError: there is no session.
        """
        link = self._open_link
        if not link.closed:
            await self._listeners.park()
        if link.closed:
            raise self._verdict or await link.ended()
        return self._heard

    async def health_check(self) -> None:
        """Watch the clocks and end the session when one runs out; verdicts fall when they are due."""
        alive = self._alive
        while True:
            self._look_for_a_pause()
            now = trio.current_time()
            match alive.check(now, self._last_frame):
                case Expired(Reason.MESSAGE_TIMEOUT) if self.feed.vouched(now):
                    alive.probe_answered(now)
                    self._tell.probed(answered=True)
                case Expired(reason, detail):
                    seen = self._last_frame
                    await trio.lowlevel.checkpoint()  # what came in this very turn of the loop is still unread
                    await trio.lowlevel.checkpoint()  # and of two verdicts due at once that of the ping says more
                    if self._last_frame == seen:
                        raise self._fail(LivenessError(reason, detail))
                case Task.PROBE:
                    alive.probe_sent()
                    self._tell.probed(answered=False)
                    frames = self._session.probe()
                    for frame in frames:
                        await self.send_message(frame)
                    if not frames:
                        self.feed.doubt()
                case Task.WARN_UNCONFIRMED if self.feed.spared(now):
                    missing = ", ".join(alive.unconfirmed)
                    raise self._fail(LivenessError(Reason.SUB_TIMEOUT, f"data flows, but not confirmed: {missing}"))
                case Task.WARN_UNCONFIRMED:
                    self._tell.unconfirmed(alive.unconfirmed)
                case None:
                    if not alive.blocked:
                        self._look_for_quiet_codes(now)
                    look_again = now + self.exchange.health_check_interval
                    quiet = math.inf if alive.blocked else self._quiet.wake
                    due = min(look_again, alive.wake(self._last_frame), quiet)
                    with trio.move_on_at(due):
                        await self._pulse.woke.park()

    # -- the session's tasks

    async def _obey(self, scope: trio.CancelScope) -> None:
        await self._asked.wait()
        if self._wish is not None:
            raise self._fail(self._wish)
        scope.cancel("disconnect() was called")

    def _look_for_a_pause(self) -> None:
        """Hold nothing against the link that nobody could see."""
        pulse = self._pulse
        pulse.look()
        pauses, lost = self._pauses
        if pulse.pauses > pauses:
            self._pauses = pulse.pauses, pulse.lost
            self._alive.woke(trio.current_time())
            self._quiet.shift(pulse.lost - lost)

    def _look_for_quiet_codes(self, now: float) -> None:
        for channel, code, seconds in self._quiet.check(now):
            self._tell.quiet(channel, code, seconds)
        for topic in self._quiet.out_of_rhythm(now):
            self._subscribing.renew(topic)

    async def _keep_subscribed(self) -> None:
        while True:
            try:
                await self._subscribing.keep(self._changed)
            except ReconnectRequested as error:
                if not self.feed.replace(error.detail):
                    raise self._fail(error) from None

    async def _receive_loop(self) -> None:
        """The link's reader brings the frames to :meth:`_take`; what comes here is the end of it."""
        error = await self._open_link.ended()
        if error.reason is not Reason.STOPPED:
            raise self._fail(self._better_known(error)) from error.__cause__

    def _take(self, batch: list[str | bytes]) -> Awaitable[None] | None:
        """Judge what one read brought and pass it on, without waiting; what remains to be done is returned."""
        now, wall, classify = trio.current_time(), self._wall(), self._classify
        if self._listeners:
            self._heard = batch
            self._listeners.unpark_all()
        self._alive.heard()
        frames = [classify(raw) for raw in batch] if classify is not None else ()
        if self._session.replacing is not None:
            self._subscribing.replaced()
        answers: list[str | bytes] = []
        if frames.count(DATA) == len(frames):  # nearly always
            self._take_data(batch, now, wall)
        else:
            answers = self._take_mixed(batch, frames, now, wall)
        if self.stats.state is not LinkState.LIVE:
            self._check_live()
        return self._after(answers) if answers or self._must_wait else None

    def _take_mixed(
        self, batch: list[str | bytes], frames: Sequence[Frame], now: float, wall: int
    ) -> list[str | bytes]:
        """Pass on each run of data between other frames; returns what is to be answered."""
        self._alive.confirm(tuple(chain.from_iterable(frame.confirms for frame in frames)))
        pairs = zip(batch, frames, strict=True)
        for is_data, run in groupby(pairs, key=lambda pair: pair[1].kind is Kind.DATA):
            if is_data:
                self._take_data([raw for raw, _ in run], now, wall)
                continue
            for raw, frame in run:
                self._take_control(frame, raw, now, wall)
        self._subscribing.heard()
        return [frame.answer for frame in frames if frame.answer is not None]

    def _take_data(self, run: list[str | bytes], now: float, wall: int) -> None:
        self._alive.data(now)
        if self._quiet.on:
            for raw in run:
                self._quiet.data(*self.exchange.describe(raw), now)
        if self._continuity is not None:
            for loss in self._continuity.take(map(self.exchange.mark, run)):
                self.feed.lost(loss, wall, now)
        self.feed.push(run, wall=wall, now=now, session=self.stats.sessions)
        if not self._healthy:
            self._healthy = True
            self._context.healthy()

    def _take_control(self, frame: Frame, raw: str | bytes, now: float, wall: int) -> None:
        self.feed.push_control(raw, frame.kind, wall=wall, now=now, session=self.stats.sessions)
        if frame.renew:
            self.feed.replace(frame.detail)
        if frame.probe and self._alive.probe_answered(now):
            self._tell.probed(answered=True)
        match frame.kind:
            case Kind.HEARTBEAT:
                self._pinging.answered()
            case Kind.REJECTED:
                if (error := self._subscribing.rejected(frame)) is not None:
                    raise self._fail(error)
            case Kind.ERROR:
                advice = frame.advice or ApplicationError(Reason.APP_ERROR).advice
                self._app_error = ApplicationError(Reason.APP_ERROR, frame.detail, advice), now
                self._tell.noticed(f"error: {frame.detail}")
            case Kind.NOTICE | Kind.UNKNOWN:
                self._tell.noticed(f"{frame.kind.value}: {frame.detail}")
            case _:
                pass

    async def _after(self, answers: list[str | bytes]) -> None:
        """What the next read has to wait for: our answers, and under the policy ``block`` the consumer."""
        for answer in answers:
            await self.send_message(answer)
        if self._must_wait:
            # no clock may take our own waiting for the link's silence
            self._alive.block()
            self._pinging.block()
            began = trio.current_time()
            await self.feed.room()
            now = trio.current_time()
            self._alive.unblock(now)
            self._quiet.shift(now - began)
            self._pinging.unblock()

    async def _control_ping(self) -> None:
        self._subscribing.pacer.sent(trio.current_time())
        try:
            await self._open_link.ping(math.inf)  # the clock beside it knows when we ourselves do not read
        except ConnectorError as error:
            raise self._fail(self._better_known(error)) from error.__cause__
        self._alive.heard()
        self._check_live()

    # -- small things

    @property
    def _alive(self) -> Liveness:
        assert self._liveness is not None  # noqa: S101 - set at the 101, before any task that asks
        return self._liveness

    @property
    def _open_link(self) -> Link:
        if self._link is None:
            raise trio.ClosedResourceError(f"{self.name} is not connected")
        return self._link

    @property
    def _must_wait(self) -> bool:
        return self.feed.full

    @property
    def _last_frame(self) -> float:
        return self._open_link.last_received

    def _is_connected(self) -> None:
        """The 101 is there: the clocks start."""
        now, session = trio.current_time(), self._session
        can_probe = type(session).probe is not Session.probe or self.feed.can_doubt
        self._liveness = Liveness(self.exchange, now, pending=session.pending(), can_probe=can_probe)
        self._pauses = self._pulse.pauses, self._pulse.lost
        self._quiet.watch(self.feed.subscriptions, now)
        self._quiet.begin(now)
        self._tell.connected()

    def _changed(self) -> None:
        """The session asks for something else than before."""
        now = trio.current_time()
        self._alive.expect(self._session.pending(), now)
        if self._continuity is not None:
            self._continuity.keep(codes_of(self.feed.subscriptions))
        self._quiet.watch(self.feed.subscriptions, now)

    def _check_live(self) -> None:
        if self._alive.live and self.stats.state is LinkState.CONNECTED:
            self._tell.live()
            self._subscribing.lived()

    def _better_known(self, error: ConnectorError) -> ConnectorError:
        """The exchange's own words of the last moments, where they explain the end better than its close."""
        if self._app_error is not None and trio.current_time() - self._app_error[1] <= ERROR_OUTRANKS_CLOSE:
            return self._app_error[0]
        return error

    def _fail(self, error: ConnectorError) -> ConnectorError:
        """The verdict, told once and before anything is closed; returns the error to raise."""
        if self._verdict is None:
            self._subscribing.replaced(over=True)
            if self._link is not None:
                self.feed.alive_at = self._link.last_received
            self._verdict = self._subscribing.hung_up(error)
            self._too_big = self._too_big + 1 if error.reason is Reason.WS_TOO_BIG else 0
            if self._too_big >= TOO_BIG_TIMES:
                self._verdict.advice = QUARANTINE
            self._tell.failed(self._verdict.reason, self._verdict.detail)
            return self._verdict
        return copy(self._verdict)

    def _ended(self, ending: Reason) -> None:
        """The session's nursery has closed, and with it the socket."""
        if self.stats.turn is not None:
            self.stats.turn.leave()
            self.stats.turn = None
        if self._verdict is None and ending is not Reason.STOPPED:
            slow = ending is Reason.OVERFLOW
            self._tell.failed(ending, "the consumer is too slow" if slow else "a bug of ours, see the child's exit")
        self._tell.ended(self._verdict.reason if self._verdict is not None else ending)
        self._listeners.unpark_all()


def _why(error: BaseException) -> Reason:
    """What an end without a verdict was: our own bug, a full buffer under the policy ``fail``, or a cancel."""
    errors = leaves(error)
    if any(isinstance(leaf, GiveUp) for leaf in errors):
        return Reason.OVERFLOW
    return Reason.CRASH if any(isinstance(leaf, Exception) for leaf in errors) else Reason.STOPPED
