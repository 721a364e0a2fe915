"""What a session has to tell: each method moves the feed's state and numbers, and emits the one event for it."""

from collections.abc import Callable

import attrs
import trio

from actors.errors import Reason
from actors.events import (
    CodeRejected,
    Connected,
    Disconnected,
    EventHook,
    Failed,
    LinkState,
    Live,
    Noticed,
    Probed,
    Quiet,
    Resubscribed,
    Unconfirmed,
)
from actors.legs import Source
from actors.subscriptions import Topic


@attrs.define(eq=False)
class Telling:
    """One session's voice."""

    feed: Source
    emit: EventHook
    wall: Callable[[], int]
    connected_at: float | None = None
    """When the 101 was there, on trio's clock; None before."""

    def dialling(self) -> None:
        """An incarnation begins."""
        stats = self.feed.stats
        stats.incarnation += 1
        stats.reconnect_count = stats.incarnation - 1
        stats.next_attempt, stats.backoff = None, 0.0
        self.feed.dialling(self.wall(), trio.current_time())
        self.feed.set_state(LinkState.CONNECTING)

    def connected(self) -> None:
        """The 101 is there."""
        now = self.connected_at = trio.current_time()
        stats = self.feed.stats
        self.feed.new_session()
        stats.connection_start_time = self.wall() / 1e9
        self.feed.set_state(LinkState.CONNECTED)
        self.emit(Connected(at=now, origin=stats.origin, session=stats.sessions, seconds=self.feed.silence(now)))

    def live(self) -> None:
        """Every subscription is confirmed; it is told once that is so on every socket of the feed."""
        self.feed.set_state(LinkState.LIVE)
        if self.feed.complete:
            self.emit(Live(at=trio.current_time(), origin=self.feed.stats.origin, session=self.feed.stats.sessions))

    def failed(self, reason: Reason, detail: str) -> None:
        """The verdict has fallen; nothing is closed yet."""
        stats = self.feed.stats
        stats.last_error = f"{reason.value}: {detail}" if detail else reason.value
        now = trio.current_time()
        self.feed.interrupted(reason)
        self.feed.over(self.wall(), now)
        self.feed.set_state(LinkState.DOWN)
        self.emit(
            Failed(
                at=now,
                origin=stats.origin,
                session=stats.sessions,
                reason=reason,
                detail=detail,
                connected=self.connected_at is not None,
            )
        )

    def ended(self, reason: Reason) -> None:
        """The session is over and its socket is closed."""
        now, stats = trio.current_time(), self.feed.stats
        self.feed.over(self.wall(), now)
        if self.connected_at is not None:
            stats.connection_start_time = None
            seconds = now - self.connected_at
            self.emit(Disconnected(at=now, origin=stats.origin, session=stats.sessions, reason=reason, seconds=seconds))
        if reason is Reason.STOPPED:
            self.feed.set_state(LinkState.STOPPED)

    def noticed(self, detail: str) -> None:
        """The exchange said something that is no data."""
        stats = self.feed.stats
        self.emit(Noticed(at=trio.current_time(), origin=stats.origin, session=stats.sessions, detail=detail))

    def probed(self, *, answered: bool) -> None:
        """A probe was sent, or has been answered."""
        stats = self.feed.stats
        self.emit(Probed(at=trio.current_time(), origin=stats.origin, session=stats.sessions, answered=answered))

    def rejected(self, topic: Topic, detail: str) -> None:
        """The exchange will not have this code."""
        channel, code = topic
        stats = self.feed.stats
        self.emit(
            CodeRejected(
                at=trio.current_time(),
                origin=stats.origin,
                session=stats.sessions,
                channel=channel,
                code=code,
                detail=detail,
            )
        )

    def renewed(self, topic: Topic) -> None:
        """This was subscribed to once more."""
        channel, code = topic
        stats = self.feed.stats
        now = trio.current_time()
        self.emit(Resubscribed(at=now, origin=stats.origin, session=stats.sessions, channel=channel, code=code))

    def unconfirmed(self, channels: tuple[str, ...]) -> None:
        """These were not confirmed in time, while others bring data."""
        stats = self.feed.stats
        self.emit(Unconfirmed(at=trio.current_time(), origin=stats.origin, session=stats.sessions, channels=channels))

    def quiet(self, channel: str, code: str, seconds: float) -> None:
        """This code has been silent for longer than it should be."""
        stats = self.feed.stats
        self.emit(
            Quiet(
                at=trio.current_time(),
                origin=stats.origin,
                session=stats.sessions,
                channel=channel,
                code=code,
                seconds=seconds,
            )
        )
