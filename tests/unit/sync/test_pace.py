"""The bandwidth cap."""

from __future__ import annotations

import io

import pytest

from daedalus_sync.object_store import StoreError
from daedalus_sync.pace import Pace, PacedStore, TokenBucket
from daedalus_sync.segment import Segment
from support.memory_store import MemoryStore


def test_rate_is_held() -> None:
    """Over any stretch the bucket gives out its rate, beyond a quarter of a second's burst."""
    bucket, now, sent = TokenBucket(1000.0, 0.0), 0.0, 0
    while now < 60.0:
        now += bucket.take(100, now)
        sent += 100
    assert 60_000 <= sent <= 60_000 + 250 + 100


def test_idle_time_is_not_saved_up() -> None:
    """After an hour of silence a burst is no larger than after a second."""
    bucket = TokenBucket(1000.0, 0.0)
    assert bucket.take(250, 3600.0) == 0.0
    assert bucket.take(1000, 3600.0) == 1.0


def test_no_limit() -> None:
    """A rate of 0 never waits."""
    bucket = TokenBucket(0.0, 0.0)
    assert bucket.take(10**12, 0.0) == 0.0


def test_cut_ends_uploads_at_once() -> None:
    """After the cut a body cannot be read, nor rewound for another attempt."""
    store, pace = MemoryStore(checksums=False), Pace(0.0)
    paced = PacedStore(store, pace)
    segment = Segment(path="segment_1.parquet", subject="s", size_bytes=3, sha256="00")
    assert paced.put_if_absent("a", io.BytesIO(b"abc"), segment)
    pace.cut()
    with pytest.raises(StoreError):
        paced.put_if_absent("b", io.BytesIO(b"abc"), segment)
    assert list(store.objects) == ["a"]
