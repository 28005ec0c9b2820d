"""Every metric of the sync process. received = sent + discarded + what is still under way."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_UPLOAD_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.received = Counter(
            "daedalus_sync_received_segments",
            "Segments taken on, from the catalog or found in ready/",
            registry=registry,
        )
        self.sent = Counter("daedalus_sync_sent_segments", "Segments verified in S3 and recorded", registry=registry)
        self.sent_bytes = Counter("daedalus_sync_sent_bytes", "Bytes of those that were put now", registry=registry)
        self.discarded = Counter(
            "daedalus_sync_discarded_segments", "Segments that were not sent, by cause", ["cause"], registry=registry
        )
        self.errors = Counter("daedalus_sync_errors", "Failed attempts, by kind", ["kind"], registry=registry)
        self.pending = Gauge("daedalus_sync_pending_segments", "Catalog entries not done yet", registry=registry)
        self.lag = Gauge(
            "daedalus_sync_lag_seconds", "Age of the oldest entry not done yet; 0: none", registry=registry
        )
        self.upload_seconds = Histogram(
            "daedalus_sync_upload_seconds", "Put, read back and compare", buckets=_UPLOAD_SECONDS, registry=registry
        )
        self.deleted = Counter("daedalus_sync_deleted_segments", "Local files deleted by retention", registry=registry)
        self.kept = Gauge(
            "daedalus_sync_kept_segments", "Files that retention could not prove, in its last pass", registry=registry
        )
        self.disk_used = Gauge("daedalus_sync_disk_used_ratio", "Use of the disk that holds ready/", registry=registry)
