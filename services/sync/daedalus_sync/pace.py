"""The bandwidth cap, shared by all uploads, and the way to cut them short at the end of a stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import BinaryIO, cast

from daedalus_sync.object_store import Object, ObjectStore, StoreError
from daedalus_sync.segment import Segment

BURST_SECONDS = 0.25


class TokenBucket:
    """Bytes that may be sent; takes the time as an argument. A rate of 0 is no limit."""

    def __init__(self, bytes_per_second: float, now: float) -> None:
        self._rate = bytes_per_second
        self._level = bytes_per_second * BURST_SECONDS
        self._filled = now

    def take(self, count: int, now: float) -> float:
        """Take `count` bytes and return how many seconds to wait before sending them."""
        if self._rate <= 0:
            return 0.0
        full = self._rate * BURST_SECONDS
        self._level = min(full, self._level + (now - self._filled) * self._rate) - count
        self._filled = now
        return max(0.0, -self._level / self._rate)


class Pace:
    """The bucket of all workers; after `cut()` every read of a body fails at once."""

    def __init__(self, megabits_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bucket = TokenBucket(megabits_per_second * 1_000_000 / 8, clock())
        self._lock = threading.Lock()
        self._cut = threading.Event()

    def cut(self) -> None:
        self._cut.set()

    def wait_for(self, count: int) -> None:
        """Block until `count` bytes may be sent. Raises StoreError after `cut()`."""
        with self._lock:
            wait = self._bucket.take(count, self._clock())
        if self._cut.wait(wait) if wait > 0 else self._cut.is_set():
            raise StoreError("network", "the upload was cut short: the process stops")


class PacedStore:
    """An object store whose uploads keep the pace."""

    def __init__(self, store: ObjectStore, pace: Pace) -> None:
        self._store = store
        self._pace = pace

    def put_if_absent(self, key: str, body: BinaryIO, segment: Segment) -> bool:
        return self._store.put_if_absent(key, cast("BinaryIO", _PacedFile(body, self._pace)), segment)

    def head(self, key: str) -> Object | None:
        return self._store.head(key)

    def delete(self, key: str) -> None:
        self._store.delete(key)


class _PacedFile:
    """What botocore needs of a body: read, and seek and tell for its own retries."""

    def __init__(self, file: BinaryIO, pace: Pace) -> None:
        self._file = file
        self._pace = pace

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._pace.wait_for(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._pace.wait_for(0)  # a retry after the cut ends here, instead of after botocore's own delays
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
