"""Where healthy ends: every threshold of every check."""

from __future__ import annotations

import msgspec

from daedalus.config import Config

OUTBOX_PERCENT = 80.0
STREAM_PERCENT = 80.0
SILENT_SECONDS = 120.0
"""At least; a collector closes a silent connection after `silence_seconds`, and needs time to open it again."""
RECONNECTS = 5
"""In ten minutes, of one collector: its first few are one incident."""
RESTARTS = 2
"""In ten minutes, of one service."""
UPLOAD_STALLED_SECONDS = 300.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    outbox_percent: float = OUTBOX_PERCENT
    stream_percent: float = STREAM_PERCENT
    memory_percent: float = 75.0
    disk_percent: float = 90.0
    unread_seconds: float = 120.0
    uncommitted_seconds: float = 3720.0
    """A segment may be this old before it is committed: that is no lag."""
    silent_seconds: float = SILENT_SECONDS
    reconnects: int = RECONNECTS
    restarts: int = RESTARTS
    open_segments: int = 5_000
    upload_stalled_seconds: float = UPLOAD_STALLED_SECONDS
    uploads: bool = False
    """Segments go to S3."""
    shards: int = 1
    exchanges: tuple[str, ...] = ()
    """Each wants a collector."""
    start_seconds: float = 60.0
    """How long services may take to come up before they are called absent."""

    @classmethod
    def of(cls, config: Config) -> Limits:
        supervisor, exchanges = config.supervisor, config.ccxt.exchanges
        silence = max((exchange.silence_seconds for exchange in exchanges.values()), default=0.0)
        return cls(
            memory_percent=supervisor.memory_warning_percent,
            disk_percent=config.storage.disk_watermark_percent,
            unread_seconds=supervisor.lag_warning_seconds,
            uncommitted_seconds=config.ingestion.segment_max_age_seconds + supervisor.lag_warning_seconds,
            silent_seconds=max(SILENT_SECONDS, 2 * silence),
            open_segments=config.ingestion.max_open_segments,
            uploads=config.storage.backend == "s3",
            shards=config.nats.shards,
            exchanges=tuple(exchanges),
        )
