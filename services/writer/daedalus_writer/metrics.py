"""The writer's metrics, all of them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        by_channel = ["exchange", "channel"]
        self.received_records = Counter(
            "daedalus_writer_received_records", "Records taken from the streams", by_channel, registry=registry
        )
        self.sent_records = Counter(
            "daedalus_writer_sent_records", "Records in committed segments", by_channel, registry=registry
        )
        self.discarded_records = Counter(
            "daedalus_writer_discarded_records",
            "Records that are written already: read again, or recorded by another collector too",
            by_channel,
            registry=registry,
        )
        self.errors = Counter("daedalus_writer_errors", "What went wrong", ["kind"], registry=registry)
        self.sent_segments = Counter(
            "daedalus_writer_sent_segments", "Segments committed", ["reason"], registry=registry
        )
        self.sent_bytes = Counter("daedalus_writer_sent_bytes", "Bytes of committed segments", registry=registry)
        self.open_segments = Gauge(
            "daedalus_writer_open_segments", "Segments that wait for rows", ["shard"], registry=registry
        )
        self.sealing_segments = Gauge(
            "daedalus_writer_sealing_segments", "Segments that wait for their commit", ["shard"], registry=registry
        )
        self.buffered_bytes = Gauge(
            "daedalus_writer_buffered_bytes", "Encoded rows in memory, not spooled yet", ["shard"], registry=registry
        )
        self.spooled_bytes = Counter("daedalus_writer_spooled_bytes", "Bytes written to the spool", registry=registry)
        self.pending_messages = Gauge(
            "daedalus_writer_pending_messages",
            "Messages of the stream that were not read yet",
            ["shard"],
            registry=registry,
        )
        self.position = Gauge(
            "daedalus_writer_sequence", "The last sequence that was read", ["shard"], registry=registry
        )
        self.checkpoint = Gauge(
            "daedalus_writer_committed_sequence",
            "Everything up to this sequence is committed",
            ["shard"],
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "daedalus_writer_commit_seconds",
            "From the start of sealing to the file in ready/",
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        for kind in ("disk", "nats", "invalid_message", "stream_rolled_back", "sequence_missing"):
            self.errors.labels(kind)
