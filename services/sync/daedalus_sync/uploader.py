"""Uploads with bounded workers: tried again until verified and recorded, in the loop's time, not in the threads'."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from daedalus_sync.back_off import delay_seconds
from daedalus_sync.condition import Condition
from daedalus_sync.metrics import Metrics
from daedalus_sync.object_store import ObjectStore, SegmentError, StoreError
from daedalus_sync.pause import StoppingError, pause
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.segment import Segment
from daedalus_sync.upload import upload, withdraw
from daedalus_sync.upload_log import UploadLog

_log = structlog.get_logger()


class Uploader:
    """The one way of a segment into S3, whoever asks for it."""

    def __init__(
        self,
        store: ObjectStore,
        log: UploadLog,
        ready: ReadyFolder,
        workers: int,
        *,
        condition: Condition,
        metrics: Metrics,
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._log = log
        self._ready = ready
        self._condition = condition
        self._metrics = metrics
        self._stopping = stopping
        self._slots = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, "upload")

    @property
    def stopping(self) -> asyncio.Event:
        return self._stopping

    def is_done(self, segment: Segment) -> bool:
        """Whether this very segment was uploaded before."""
        return self._log.uploaded.has(segment.path, segment.sha256)

    async def upload(self, segment: Segment) -> None:
        """Return when the segment is verified in S3 and in UPLOADS, and what it replaces is no more in S3.

        What the store does not do now is tried again for ever. Raises SegmentError, StoppingError.
        """
        async with self._slots:
            started = time.monotonic()
            file, key = self._ready.file(segment.path), self._log.key(segment.path)
            stored = await self._until_done(segment.path, lambda: upload(self._store, key, segment, file))
            self._metrics.upload_seconds.observe(time.monotonic() - started)
            await self._log.record(segment, time.time_ns())
            for path, sha256 in segment.replaces:
                await self._withdraw(path, sha256)
        self._metrics.sent.inc()
        self._metrics.sent_bytes.inc(segment.size_bytes if stored else 0)
        _log.debug("segment was uploaded", path=segment.path, size_bytes=segment.size_bytes, stored=stored)

    async def _withdraw(self, path: str, sha256: str) -> None:
        key = self._log.key(path)
        if not await self._until_done(path, lambda: withdraw(self._store, key, sha256)):
            _log.error("object of a replaced segment was kept: it is another one", key=key)

    async def _until_done(self, path: str, work: Callable[[], bool]) -> bool:
        loop, attempt = asyncio.get_running_loop(), 0
        while True:
            if self._stopping.is_set():
                raise StoppingError("the process stops")
            try:
                done = await loop.run_in_executor(self._threads, work)
            except StoreError as error:
                self._metrics.errors.labels(error.kind).inc()
                self._condition.failed(str(error), time.monotonic(), refused=error.refused)
                delay = delay_seconds(attempt, random.random(), refused=error.refused)
                _log.warning("upload failed", error=str(error), error_type=error.kind, retry_seconds=round(delay, 1))
            else:
                self._condition.worked(path)
                return done
            await pause(self._stopping, delay)
            attempt += 1

    def give_up(self, path: str, error: SegmentError) -> None:
        """Show that a segment needs a person; its file stays where it is."""
        self._metrics.errors.labels(error.kind).inc()
        self._metrics.discarded.labels(error.kind).inc()
        if self._condition.segment_failed(path, str(error)):
            _log.error("segment cannot be uploaded", error=str(error), error_type=error.kind, path=path)
