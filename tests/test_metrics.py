import importlib.metadata

import attrs
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from actors.errors import Reason, Way
from actors.events import (
    CodeRejected,
    Connected,
    Disconnected,
    Failed,
    GapReported,
    LinkState,
    Notified,
    Origin,
    Paused,
    Reconnecting,
    StateChanged,
)
from actors.metrics import CONTENT_TYPE, Metrics
from actors.stats import ConnectorStats

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def origin(feed: str = "upbit", exchange: str = "upbit") -> Origin:
    return Origin(feed, exchange, "[업비트]", "[Upbit]", "api.upbit.com")


def scraped(metrics: Metrics) -> Series:
    """Every series as Prometheus would see it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scraped(metrics).get((f"feedwarden_{name}", frozenset(labels.items())))


def failed(reason: Reason, feed: Origin | None = None) -> Failed:
    return Failed(at=0, origin=feed or origin(), session=1, reason=reason, detail="", connected=True)


# -- feeds ----------------------------------------------------------------------------------------------------------


def test_counts_are_read_when_scraped() -> None:
    """Nothing is called per message: what the stats say at the scrape is what is shown."""
    stats = ConnectorStats(origin())
    metrics = Metrics()
    metrics.watch(stats)
    stats.messages, stats.bytes, stats.waiting, stats.backoff = 1000, 300_000, lambda: 7, 1.5
    stats.sessions, stats.reconnect_count, stats.gaps, stats.overflowed = 3, 4, 2, 5
    stats.last_message_time, stats.connection_start_time, stats.next_attempt = 1.8e9, 1.7e9, 1.9e9
    assert value(metrics, "messages_total", feed="upbit") == 1000
    assert value(metrics, "bytes_total", feed="upbit") == 300_000
    assert value(metrics, "feed_buffer_depth", feed="upbit") == 7
    assert value(metrics, "feed_backoff_seconds", feed="upbit") == 1.5
    assert value(metrics, "feed_sessions_total", feed="upbit") == 3
    assert value(metrics, "feed_reconnect_attempts_total", feed="upbit") == 4
    assert value(metrics, "feed_gaps_total", feed="upbit") == 2
    assert value(metrics, "feed_overflowed_total", feed="upbit") == 5
    assert value(metrics, "feed_last_message_timestamp_seconds", feed="upbit") == 1.8e9
    assert value(metrics, "feed_connection_start_timestamp_seconds", feed="upbit") == 1.7e9
    assert value(metrics, "feed_next_attempt_timestamp_seconds", feed="upbit") == 1.9e9
    assert value(metrics, "feed_info", feed="upbit", exchange="upbit") == 1


def test_times_that_are_not_known_are_absent() -> None:
    """Before the first message there is no last one: a zero would read as 1970."""
    metrics = Metrics()
    metrics.watch(ConnectorStats(origin()))
    for name in ("last_message", "connection_start", "next_attempt"):
        assert value(metrics, f"feed_{name}_timestamp_seconds", feed="upbit") is None


@pytest.mark.parametrize("state", LinkState)
def test_exactly_one_state_holds(state: LinkState) -> None:
    """Each change of state moves the single 1."""
    metrics = Metrics()
    metrics.watch(ConnectorStats(origin()))
    metrics.hook(StateChanged(at=0, origin=origin(), state=state, previous=LinkState.IDLE))
    shown = {other: value(metrics, "feed_state", feed="upbit", state=other.value) for other in LinkState}
    assert shown == {other: float(other is state) for other in LinkState}


def test_a_state_of_an_unknown_feed_is_left_alone() -> None:
    """Only watched feeds are shown."""
    metrics = Metrics()
    metrics.update_connection_state("nobody", LinkState.LIVE)
    assert not any(name == "feedwarden_feed_state" for name, _ in scraped(metrics))


def test_a_forgotten_feed_is_gone() -> None:
    """None of its series stays; forgetting it twice does nothing."""
    metrics = Metrics()
    before = set(scraped(metrics))
    metrics.watch(ConnectorStats(origin(), messages=5))
    metrics.forget("upbit")
    metrics.forget("upbit")
    after = {name for name, _ in set(scraped(metrics)) - before}
    assert after == {"feedwarden_codes_rejected_total", "feedwarden_errors_total"}


@pytest.mark.parametrize("forgotten", [True, False])
def test_counters_never_go_down(forgotten: bool) -> None:
    """A feed that takes the place of one of the same name carries its counts on."""
    metrics = Metrics()
    old = ConnectorStats(origin(), messages=100, gaps=2)
    metrics.watch(old)
    metrics.watch(old)
    metrics.hook(GapReported(at=0, origin=origin(), reason=Reason.EOF, since=0, until=1, seconds=2.5))
    if forgotten:
        metrics.forget("upbit")
    metrics.watch(ConnectorStats(origin(), messages=7))
    assert value(metrics, "messages_total", feed="upbit") == 107
    assert value(metrics, "feed_gaps_total", feed="upbit") == 2
    assert value(metrics, "feed_gap_seconds_total", feed="upbit") == 2.5


def test_the_memory_of_forgotten_feeds_is_bounded() -> None:
    """Of feeds that came and went, the latest thousand are remembered."""
    metrics = Metrics()
    for number in range(1100):
        metrics.watch(ConnectorStats(origin(f"feed-{number}"), messages=3))
        metrics.forget(f"feed-{number}")
    assert len(metrics._left) == 1000  # pyright: ignore[reportPrivateUsage] - the bound is inside
    metrics.watch(ConnectorStats(origin("feed-0"), messages=1))
    metrics.watch(ConnectorStats(origin("feed-1099"), messages=1))
    assert value(metrics, "messages_total", feed="feed-0") == 1
    assert value(metrics, "messages_total", feed="feed-1099") == 4


# -- by exchange and reason -----------------------------------------------------------------------------------------


def test_every_reason_has_an_error_series_from_the_start() -> None:
    """A rate over errors sees the first one, whatever its reason."""
    metrics = Metrics()
    metrics.watch(ConnectorStats(origin()))
    for reason in Reason:
        assert value(metrics, "errors_total", exchange="upbit", reason=reason.value) == 0


def test_failures_ends_and_retries_are_counted_by_reason() -> None:
    """The guide's record_error, and its two sisters."""
    metrics = Metrics()
    metrics.hook(failed(Reason.EOF))
    metrics.record_error("upbit", Reason.EOF)
    metrics.hook(Disconnected(at=0, origin=origin(), session=1, reason=Reason.EOF, seconds=1))
    metrics.hook(Reconnecting(at=0, origin=origin(), delay=1, attempt=1, way=Way.BACKOFF, reason=Reason.EOF))
    metrics.hook(Reconnecting(at=0, origin=origin(), delay=1, attempt=1, way=Way.BACKOFF, reason=None))
    metrics.hook(Connected(at=0, origin=origin(), session=1, seconds=1))
    assert value(metrics, "errors_total", exchange="upbit", reason="eof") == 2
    assert value(metrics, "disconnects_total", exchange="upbit", reason="eof") == 1
    assert value(metrics, "reconnects_total", exchange="upbit", reason="eof") == 1
    assert value(metrics, "reconnects_total", exchange="upbit", reason="crash") == 1


# -- the rest -------------------------------------------------------------------------------------------------------


def test_the_notifiers_queues_and_outcomes() -> None:
    """Queue depths are read at the scrape; every outcome of a known channel exists from the start."""
    metrics = Metrics()
    queued = {"telegram": 3}
    metrics.watch_queues(lambda: queued)
    metrics.hook(Notified(at=0, channel="telegram", outcome="dropped", count=4))
    queued["telegram"] = 5
    assert value(metrics, "notifier_queue_depth", channel="telegram") == 5
    assert value(metrics, "notifications_total", channel="telegram", outcome="dropped") == 4
    assert value(metrics, "notifications_total", channel="telegram", outcome="sent") == 0


def test_the_demo_says_so() -> None:
    """Simulated data are told from real ones by one gauge."""
    metrics = Metrics()
    assert value(metrics, "demo") == 0
    metrics.demo = True
    assert value(metrics, "demo") == 1


def test_the_version_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the installed distribution's, or unknown where the code runs from elsewhere."""
    assert value(Metrics(), "build_info", version=importlib.metadata.version("feedwarden")) == 1

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert value(Metrics(), "build_info", version="unknown") == 1


def test_a_registry_may_be_given() -> None:
    """Embedded, the metrics join the host's registry; two instances otherwise share nothing."""
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry
    assert Metrics().registry is not Metrics().registry
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


def test_the_series_budget() -> None:
    """At most 60 series a feed and 150 a process, with everything that can be known about a feed set."""
    metrics = Metrics()
    exchanges = ("upbit", "bithumb", "binance")
    for exchange in exchanges:
        for number in range(4):
            feed = origin(f"{exchange}-{number}", exchange)
            stats = ConnectorStats(feed, connection_start_time=1, last_message_time=1, next_attempt=1)
            metrics.watch(stats)
            metrics.hook(failed(Reason.EOF, feed))
    metrics.watch_queues(lambda: {"telegram": 0, "console": 0})
    series = scraped(metrics)
    feeds = len(exchanges) * 4
    assert len(series) <= 60 * feeds + 150
    one = [labels for _, labels in series if ("feed", "upbit-0") in labels]
    assert len(one) == len(LinkState) + 14


def test_labels_come_from_closed_sets() -> None:
    """No label but those of the documented sets appears, and no ``_created`` series."""
    metrics = Metrics()
    metrics.watch(ConnectorStats(origin(), last_error="https://user:secret@host"))
    names = {label for _, labels in scraped(metrics) for label, _ in labels}
    assert names == {"feed", "exchange", "reason", "state", "version"}
    assert b"secret" not in metrics.render()
    assert not any(name.endswith("_created") for name, _ in scraped(metrics))


def test_a_scrape_meets_stats_of_any_shape() -> None:
    """Whatever a feed's fields are, the page can be parsed."""
    metrics = Metrics()
    for number, state in enumerate(LinkState):
        metrics.watch(attrs.evolve(ConnectorStats(origin('odd "name"\\\n' + str(number))), state=state))
    assert len([name for name, _ in scraped(metrics) if name == "feedwarden_messages_total"]) == len(LinkState)


def test_pauses_of_the_process_are_counted() -> None:
    """With their length; there are none at the start."""
    metrics = Metrics()
    assert value(metrics, "pauses_total") == value(metrics, "paused_seconds_total") == 0
    metrics.hook(Paused(at=10, seconds=2.5))
    metrics.hook(Paused(at=20, seconds=4))
    assert (value(metrics, "pauses_total"), value(metrics, "paused_seconds_total")) == (2, 6.5)


def test_rejected_codes_are_counted_by_exchange() -> None:
    """From zero, so that a rate sees the first one."""
    metrics = Metrics()
    metrics.watch(ConnectorStats(origin()))
    exchange = origin().exchange
    assert value(metrics, "codes_rejected_total", exchange=exchange) == 0
    metrics.hook(CodeRejected(at=0, origin=origin(), session=1, channel="trade", code="KRW-NO", detail="no such code"))
    assert value(metrics, "codes_rejected_total", exchange=exchange) == 1
