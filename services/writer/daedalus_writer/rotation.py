"""When a segment is due for commit. Pure functions of values and a time.

The time is the stream's: the wall clock while the writer is caught up, else the server's time of the last message. So
an hour that is read again after an outage is cut as it would have been then, and a clock that steps moves nothing but
the moment of the cut.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from daedalus.config import Ingestion
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.segment import Segment

Reason = Literal["hour", "size", "age", "idle", "open_segments"]

HOUR_GRACE_NS = 10_000_000_000
"""A batch lingers up to 5 s and is sent again after 5 s: the last of an hour may come this late."""


class Limits(msgspec.Struct, frozen=True):
    size_bytes: int
    age_ns: int
    idle_ns: int
    open_segments: int

    @staticmethod
    def of(ingestion: Ingestion) -> Limits:
        return Limits(
            size_bytes=ingestion.segment_max_mb * 1_000_000,
            age_ns=int(ingestion.segment_max_age_seconds * 1e9),
            idle_ns=int(ingestion.segment_max_idle_seconds * 1e9),
            open_segments=ingestion.max_open_segments,
        )


def due(segment: Segment, now_ns: int, limits: Limits) -> Reason | None:
    """Why this segment has to be committed now, or None."""
    hour_end_ns = (segment.key.hour + 1) * NS_PER_HOUR
    if now_ns >= max(hour_end_ns, segment.opened_ns) + HOUR_GRACE_NS:
        return "hour"
    if segment.size_bytes >= limits.size_bytes:
        return "size"
    if now_ns >= hour_end_ns:
        return None  # it waits for the last rows of its hour: one file more would be no gain
    if now_ns - segment.opened_ns >= limits.age_ns:
        return "age"
    if now_ns - segment.last.timestamp_ns >= limits.idle_ns:
        return "idle"
    return None


def surplus(segments: Collection[Segment], limits: Limits) -> list[Segment]:
    """The segments above the limit of open ones: those whose last record is the longest ago."""
    if len(segments) <= limits.open_segments:
        return []
    by_last_use = sorted(segments, key=lambda segment: segment.last.sequence)
    return by_last_use[: len(by_last_use) - limits.open_segments]
