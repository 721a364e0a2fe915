"""Prometheus metrics: one subscriber of events, and a collector that reads the feeds' counts when it is scraped.

Every name begins with ``feedwarden_``. Label values come from closed sets: the names of feeds and notification
channels and source addresses (all from the configuration), exchanges and their hosts, reasons, states and outcomes;
never a URL, a code or a text of somebody else's.
"""

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from actors.errors import Reason
from actors.events import (
    CodeRejected,
    Disconnected,
    Event,
    Failed,
    GapReported,
    LegLost,
    LinkState,
    Notified,
    Paused,
    Reconnecting,
    StateChanged,
)
from actors.stats import ConnectorStats
from actors.transport.gate import GateState, Key

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The media type of what :meth:`Metrics.render` returns."""

_REMEMBERED = 1000
"""Feeds that were forgotten and whose counts are kept, in case one of that name comes back."""

_COUNTERS: tuple[tuple[str, str, Callable[[ConnectorStats], float]], ...] = (
    ("messages", "Data frames received.", lambda stats: stats.messages),
    ("bytes", "Bytes of their payloads.", lambda stats: stats.bytes),
    ("feed_sessions", "Sessions that reached the 101.", lambda stats: stats.sessions),
    ("feed_reconnect_attempts", "Attempts to connect after the first.", lambda stats: stats.reconnect_count),
    ("feed_renewals", "Sessions that a fresh one has taken over from.", lambda stats: stats.renewals),
    ("feed_gaps", "Gaps reported to the consumer.", lambda stats: stats.gaps),
    ("feed_overflowed", "Messages lost because the consumer was too slow.", lambda stats: stats.overflowed),
)

_GAUGES: tuple[tuple[str, str, Callable[[ConnectorStats], float | None]], ...] = (
    (
        "feed_last_message_timestamp_seconds",
        "When the last data frame arrived; absent before the first.",
        lambda stats: stats.last_message_time,
    ),
    (
        "feed_connection_start_timestamp_seconds",
        "When the present session reached the 101; absent while there is none.",
        lambda stats: stats.connection_start_time,
    ),
    (
        "feed_next_attempt_timestamp_seconds",
        "When the next attempt is due; absent while none is.",
        lambda stats: stats.next_attempt,
    ),
    ("feed_backoff_seconds", "The delay before the next attempt; 0 while none is due.", lambda stats: stats.backoff),
    ("feed_buffer_depth", "Messages that wait for the consumer.", lambda stats: stats.depth),
)

_BY_REASON = (
    ("errors", "Sessions and dials that failed."),
    ("disconnects", "Sessions that ended after they had reached the 101."),
    ("reconnects", "Attempts to connect that were scheduled after the first."),
)

_OUTCOMES = ("sent", "failed", "dropped")


@attrs.define
class _Feed:
    stats: ConnectorStats
    state: LinkState
    before: tuple[float, ...]
    """What feeds of this name had counted before, in the order of ``_COUNTERS``."""

    def counts(self) -> tuple[float, ...]:
        return tuple(base + read(self.stats) for base, (_, _, read) in zip(self.before, _COUNTERS, strict=True))


class Metrics(Collector):
    """Everything that is measured, in a registry of its own unless one is given.

    The connector guide's calls live on so: :meth:`update_connection_state` and :meth:`record_error` are called by
    :meth:`hook`, at every change of state and every failure; ``update_message_metrics`` is :meth:`watch`, once a feed
    instead of once a message: its counts are read when somebody asks. A counter never goes down, also where a feed is
    forgotten and another of its name takes its place.

    A feed has one series a state and 14 more. An exchange has one ``errors`` series for each reason from the start, so
    that a rate sees the first one; those of ``disconnects`` and ``reconnects`` appear with the first of their reason.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.demo = False
        """Whether the data are simulated."""
        self._feeds: dict[str, _Feed] = {}
        self._left: dict[str, tuple[float, ...]] = {}
        self._gap_seconds: dict[str, float] = {}
        self._by_reason: dict[str, dict[tuple[str, str], int]] = {name: {} for name, _ in _BY_REASON}
        self._notified: dict[tuple[str, str], int] = {}
        self._pauses, self._paused = 0, 0.0
        self._rejected: dict[str, int] = {}
        self._queued: Callable[[], Mapping[str, int]] = dict
        self._oldest: Callable[[], Mapping[str, float]] = dict
        self._quarantined: Callable[[], Mapping[str, bool]] = dict
        self._gate: Callable[[], Mapping[Key, GateState]] = dict
        self._version = _version()
        self.registry.register(self)

    def watch(self, stats: ConnectorStats) -> None:
        """Show a feed; in the place of one of the same name, whose counts are carried on."""
        feed, exchange = stats.origin.feed, stats.origin.exchange
        old = self._feeds.get(feed)
        if old and old.stats is stats:
            return
        before = old.counts() if old else self._left.pop(feed, (0.0,) * len(_COUNTERS))
        self._feeds[feed] = _Feed(stats, stats.state, before)
        self._rejected.setdefault(exchange, 0)
        for reason in Reason:
            self._by_reason["errors"].setdefault((exchange, reason.value), 0)

    def forget(self, feed: str) -> None:
        """No longer show a feed; nothing happens if there is none of that name."""
        gone = self._feeds.pop(feed, None)
        if gone is None:
            return
        self._left[feed] = gone.counts()
        if len(self._left) > _REMEMBERED:
            oldest = next(iter(self._left))
            del self._left[oldest]
            self._gap_seconds.pop(oldest, None)

    def watch_queues(
        self,
        queued: Callable[[], Mapping[str, int]],
        oldest: Callable[[], Mapping[str, float]] = dict,
        quarantined: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        """Show a notifier's channels by name: how many messages wait, the age of the oldest, who refuses us."""
        self._queued, self._oldest, self._quarantined = queued, oldest, quarantined

    def watch_gate(self, states: Callable[[], Mapping[Key, GateState]]) -> None:
        """Show a gate: how it stands for each host and source address."""
        self._gate = states

    def hook(self, event: Event) -> None:
        """Count an event: an :data:`~actors.events.EventHook`."""
        match event:
            case StateChanged():
                self.update_connection_state(event.origin.feed, event.state)
            case Failed() | LegLost():
                self.record_error(event.origin.exchange, event.reason)
            case Disconnected():
                self._count("disconnects", event.origin.exchange, event.reason)
            case Reconnecting():
                self._count("reconnects", event.origin.exchange, event.reason or Reason.CRASH)
            case GapReported():
                feed = event.origin.feed
                self._gap_seconds[feed] = self._gap_seconds.get(feed, 0.0) + event.seconds
            case CodeRejected():
                exchange = event.origin.exchange
                self._rejected[exchange] = self._rejected.get(exchange, 0) + 1
            case Paused():
                self._pauses, self._paused = self._pauses + 1, self._paused + event.seconds
            case Notified():
                key = (event.channel, event.outcome)
                self._notified[key] = self._notified.get(key, 0) + event.count
            case _:
                pass

    def update_connection_state(self, feed: str, state: LinkState) -> None:
        """Show ``state`` as the feed's one; a feed that is not watched is left alone."""
        if feed in self._feeds:
            self._feeds[feed].state = state

    def record_error(self, exchange: str, reason: Reason) -> None:
        """Count a failure of one of an exchange's feeds."""
        self._count("errors", exchange, reason)

    def render(self) -> bytes:
        """The registry in Prometheus's text format, of media type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now: prometheus_client calls this at each scrape."""
        yield from self._feed_metrics()
        for name, text in _BY_REASON:
            family = CounterMetricFamily(f"feedwarden_{name}", text, labels=("exchange", "reason"))
            for labels, count in list(self._by_reason[name].items()):
                family.add_metric(labels, count)
            yield family
        yield from self._gate_metrics()
        yield from self._notifier_metrics()
        rejected = CounterMetricFamily(
            "feedwarden_codes_rejected", "Codes that an exchange would not have.", labels=("exchange",)
        )
        for exchange, count in list(self._rejected.items()):
            rejected.add_metric((exchange,), count)
        yield rejected
        yield CounterMetricFamily("feedwarden_pauses", "Times this process did not run for a while.", self._pauses)
        yield CounterMetricFamily("feedwarden_paused_seconds", "Length of those pauses.", self._paused)
        yield GaugeMetricFamily("feedwarden_demo", "1 if the data are simulated.", value=int(self.demo))
        build = GaugeMetricFamily("feedwarden_build_info", "The version that runs.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build

    def _feed_metrics(self) -> Iterator[Metric]:
        feeds = list(self._feeds.items())
        states = GaugeMetricFamily("feedwarden_feed_state", "1 for the state that holds.", labels=("feed", "state"))
        info = GaugeMetricFamily("feedwarden_feed_info", "Which exchange a feed is of.", labels=("feed", "exchange"))
        for name, feed in feeds:
            info.add_metric((name, feed.stats.origin.exchange), 1)
            for state in LinkState:
                states.add_metric((name, state.value), int(state is feed.state))
        yield info
        yield states
        counts = [(name, feed.counts()) for name, feed in feeds]
        for index, (metric, text, _) in enumerate(_COUNTERS):
            counter = CounterMetricFamily(f"feedwarden_{metric}", text, labels=("feed",))
            for name, values in counts:
                counter.add_metric((name,), values[index])
            yield counter
        gaps = CounterMetricFamily("feedwarden_feed_gap_seconds", "Length of the reported gaps.", labels=("feed",))
        for name, _ in feeds:
            gaps.add_metric((name,), self._gap_seconds.get(name, 0.0))
        yield gaps
        for metric, text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"feedwarden_{metric}", text, labels=("feed",))
            for name, feed in feeds:
                value = read(feed.stats)
                if value is not None:
                    gauge.add_metric((name,), value)
            yield gauge

    def _gate_metrics(self) -> Iterator[Metric]:
        labels = ("host", "source")
        waiting = GaugeMetricFamily("feedwarden_gate_waiting", "Attempts that wait for a turn to dial.", labels=labels)
        inside = GaugeMetricFamily("feedwarden_gate_sockets", "Attempts and sockets that are through.", labels=labels)
        passes = CounterMetricFamily("feedwarden_gate_passes", "Attempts that have passed the gate.", labels=labels)
        closed = GaugeMetricFamily(
            "feedwarden_gate_closed_seconds",
            "How long nobody is let through, as the host demands.",
            labels=labels,
        )
        for key, state in self._gate().items():
            waiting.add_metric(key, state.waiting)
            inside.add_metric(key, state.inside)
            passes.add_metric(key, state.passes)
            closed.add_metric(key, state.closed)
        yield from (waiting, inside, passes, closed)

    def _notifier_metrics(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily(
            "feedwarden_notifier_queue_depth", "Notifications that wait for their channel.", labels=("channel",)
        )
        for channel, depth in self._queued().items():
            queued.add_metric((channel,), depth)
            for outcome in _OUTCOMES:
                self._notified.setdefault((channel, outcome), 0)
        yield queued
        oldest = GaugeMetricFamily(
            "feedwarden_notifier_oldest_seconds", "Age of the oldest notification that waits.", labels=("channel",)
        )
        for channel, age in self._oldest().items():
            oldest.add_metric((channel,), age)
        yield oldest
        refused = GaugeMetricFamily(
            "feedwarden_notifier_quarantined", "1 if the channel refuses us: see the log.", labels=("channel",)
        )
        for channel, refuses in self._quarantined().items():
            refused.add_metric((channel,), int(refuses))
        yield refused
        notified = CounterMetricFamily(
            "feedwarden_notifications", "Notifications by outcome.", labels=("channel", "outcome")
        )
        for labels, count in list(self._notified.items()):
            notified.add_metric(labels, count)
        yield notified

    def _count(self, name: str, exchange: str, reason: Reason) -> None:
        counts = self._by_reason[name]
        key = (exchange, reason.value)
        counts[key] = counts.get(key, 0) + 1


def _version() -> str:
    try:
        return importlib.metadata.version("feedwarden")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
