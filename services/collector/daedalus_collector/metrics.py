"""Every metric of the collector.

What is counted for each record or frame is a plain integer here, and becomes a metric when somebody scrapes: a labelled
Prometheus counter costs as much as the rest of a trade's way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "daedalus_collector"
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics(Collector):
    """The counts of one exchange; a key of several labels is a tuple."""

    def __init__(self, registry: CollectorRegistry, exchange: str) -> None:
        self.exchange = exchange
        self.received: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.discarded: Counter[tuple[str, str]] = Counter()
        self.gaps: Counter[tuple[str, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.frames: Callable[[], int] = int
        self.reconnects = 0
        self.backfills = 0
        self.batches = 0
        self.resent_batches = 0
        self.spilled_records = 0
        self.last_data_ns: dict[str, int] = {}
        """Channel → when its last record was received."""
        self.subscriptions: Callable[[], Counter[str]] = Counter
        self.ack_seconds = Histogram(
            f"{PREFIX}_publish_seconds",
            "From a batch's publish to its acknowledgement",
            ["exchange"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        ).labels(exchange)
        self._registry = registry
        registry.register(self)

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A value that is read when somebody scrapes."""
        gauge = Gauge(f"{PREFIX}_{name}", documentation, ["exchange"], registry=self._registry)
        gauge.labels(self.exchange).set_function(read)

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing to run at registration

    def collect(self) -> Iterator[Metric]:
        yield self._by_channel("received_records", "Records that came from the exchange", self.received)
        yield self._by_channel("sent_records", "Records that JetStream acknowledged", self.sent)
        yield self._by_cause("discarded_records", "Records that were not passed on", self.discarded)
        yield self._by_cause("gaps", "Gap records that were written", self.gaps)
        errors = self._counter("errors", "What went wrong", ["kind"])
        for kind, count in sorted(self.errors.items()):
            errors.add_metric([self.exchange, kind], count)
        yield errors
        for name, documentation, count in (
            ("frames", "WebSocket data frames", self.frames()),
            ("reconnects", "Connections that were lost or given up, and dialled again", self.reconnects),
            ("backfills", "Gaps whose trades were asked for over REST", self.backfills),
            ("batches", "Batches that JetStream acknowledged", self.batches),
            ("resent_batches", "Batches that were sent more than once, under the same id", self.resent_batches),
            ("spilled_records", "Records that went to disk, on their way to JetStream", self.spilled_records),
        ):
            family = self._counter(name, documentation, [])
            family.add_metric([self.exchange], count)
            yield family
        ages = GaugeMetricFamily(
            f"{PREFIX}_last_data_age_seconds", "Since the last record of a channel", labels=["exchange", "channel"]
        )
        for channel, last_ns in sorted(self.last_data_ns.items()):
            ages.add_metric([self.exchange, channel], (time.time_ns() - last_ns) / 1e9)
        yield ages
        states = GaugeMetricFamily(
            f"{PREFIX}_subscriptions",
            "Symbols and channels, by the state of their subscription",
            labels=["exchange", "state"],
        )
        for state, count in sorted(self.subscriptions().items()):
            states.add_metric([self.exchange, state], count)
        yield states

    def _counter(self, name: str, documentation: str, labels: list[str]) -> CounterMetricFamily:
        return CounterMetricFamily(f"{PREFIX}_{name}", documentation, labels=["exchange", *labels])

    def _by_channel(self, name: str, documentation: str, counts: Counter[str]) -> CounterMetricFamily:
        family = self._counter(name, documentation, ["channel"])
        for channel, count in sorted(counts.items()):
            family.add_metric([self.exchange, channel], count)
        return family

    def _by_cause(self, name: str, documentation: str, counts: Counter[tuple[str, str]]) -> CounterMetricFamily:
        family = self._counter(name, documentation, ["channel", "cause"])
        for (channel, cause), count in sorted(counts.items()):
            family.add_metric([self.exchange, channel, cause], count)
        return family
