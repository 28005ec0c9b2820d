"""Every metric of the supervisor, made from the last report: a scrape sees one poll whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daedalus_supervisor import checks
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.status import STATES, WEIGHTS, Status

PREFIX = "daedalus_supervisor"
SERVICES = ("collector", "writer", "sync", "supervisor")


class Metrics:
    """What is counted while polling."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.polls = CounterMetric(f"{PREFIX}_polls", "Polls that were made", registry=registry)
        self.received_answers = CounterMetric(
            f"{PREFIX}_received_answers", "Answers to services discovery", registry=registry
        )
        self.discarded_answers = CounterMetric(
            f"{PREFIX}_discarded_answers", "Answers that could not be read, or were too many", registry=registry
        )
        self.errors = CounterMetric(f"{PREFIX}_errors", "Polls that NATS or JetStream failed", registry=registry)


class Reported(Collector):
    """The last report as gauges; the thresholds beside them, so that an alert follows the configuration."""

    def __init__(self, registry: CollectorRegistry, read: Callable[[], Status], limits: Limits) -> None:
        self._read = read
        self._limits = limits
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing to run at registration

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        yield from _services(status)
        yield from _streams(status)
        yield from _shards(status, self._limits)
        if status.disk is not None:
            yield _gauge("disk_used_bytes", "Used on the disk of storage.root", status.disk.used_bytes)
            yield _gauge("disk_free_bytes", "Free to use on it", status.disk.free_bytes)
            yield _gauge("disk_size_bytes", "Its size", status.disk.size_bytes)
        if status.waiting_uploads is not None:
            yield _gauge("waiting_upload_segments", "Not acknowledged by the sync", status.waiting_uploads)
        yield _gauge("healthy", "1 when there is no problem", float(status.healthy))


def _services(status: Status) -> Iterator[Metric]:
    states = Counter((one.service if one.service in SERVICES else "other", one.state) for one in status.services)
    yield _family(
        "services",
        "Processes, by what they do and how they are",
        ("service", "state"),
        [((service, state), states[service, state]) for service in SERVICES for state in STATES],
    )
    found = Counter((problem.check, problem.weight) for problem in status.problems)
    samples = [((check, weight), found[check, weight]) for check in checks.NAMES for weight in WEIGHTS]
    yield _family("problems", "What the checks found", ("check", "weight"), samples)


def _streams(status: Status) -> Iterator[Metric]:
    streams = status.streams
    yield _family("stream_messages", "In the stream", ("stream",), [((one.name,), one.messages) for one in streams])
    yield _family(
        "stream_bytes", "On the server's disk", ("stream",), [((one.name,), one.size_bytes) for one in streams]
    )
    limits = [((one.name,), one.limit_bytes) for one in streams]
    yield _family("stream_limit_bytes", "Its max_bytes; 0: none", ("stream",), limits)


def _shards(status: Status, limits: Limits) -> Iterator[Metric]:
    shards = [((str(one.shard),), one) for one in status.shards]
    for name, documentation, samples in (
        ("unread_messages", "Not handed to a writer yet", [(label, one.unread_messages) for label, one in shards]),
        ("unread_seconds", "Age of the oldest of them", [(label, one.unread_seconds) for label, one in shards]),
        ("uncommitted_messages", "Not in a segment yet", [(label, one.uncommitted_messages) for label, one in shards]),
        (
            "uncommitted_seconds",
            "Age of the oldest of them",
            [(label, one.uncommitted_seconds) for label, one in shards],
        ),
        ("lost_messages", "Gone before their commit", [(label, one.lost_messages) for label, one in shards]),
    ):
        yield _family(name, documentation, ("shard",), samples)
    yield _gauge("unread_limit_seconds", "Above this a writer is behind", limits.unread_seconds)
    yield _gauge("uncommitted_limit_seconds", "Above this commits are late", limits.uncommitted_seconds)


def _family(
    name: str, documentation: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", documentation, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", documentation, value=value)
