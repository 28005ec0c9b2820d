"""Uploads what lies in ready/ and no catalog entry will bring: entries that the catalog dropped, that were acknowledged
while storage.backend was local, or that were given up and have been put right since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import structlog
from nats.js import JetStreamContext

from daedalus.catalog import decode_entry
from daedalus.errors import PermanentError
from daedalus.naming import ALL_ENTRIES, CATALOG_STREAM
from daedalus_sync.consumer import Position
from daedalus_sync.follower import Follower
from daedalus_sync.log_stream import messages
from daedalus_sync.metrics import Metrics
from daedalus_sync.object_store import SegmentError
from daedalus_sync.pause import StoppingError, pause
from daedalus_sync.ready import LocalFile, ReadyFolder
from daedalus_sync.segment import Segment, from_entry, from_file
from daedalus_sync.upload import digest
from daedalus_sync.uploaded import UploadedSet
from daedalus_sync.uploader import Uploader

EVERY_SECONDS = 3600.0
SETTLED_SECONDS = 600.0
"""Younger files are left to the catalog, which has the writer's own checksum."""
ROUND_SEGMENTS = 20_000
"""In memory at once, about 15 MB; what is more comes in the next round."""

_log = structlog.get_logger()


class Reconciler:
    def __init__(
        self,
        js: JetStreamContext,
        uploader: Uploader,
        uploaded: UploadedSet,
        ready: ReadyFolder,
        *,
        workers: int,
        shards: int,
        metrics: Metrics,
        stopping: asyncio.Event,
    ) -> None:
        self._js = js
        self._uploader = uploader
        self._uploaded = uploaded
        self._ready = ready
        self._workers = workers
        self._shards = shards
        self._metrics = metrics
        self._stopping = stopping

    async def run(self, position: Position, follower: Follower, settled_seconds: float = SETTLED_SECONDS) -> None:
        """At the start, and then every hour, each time after the catalog is caught up with."""
        try:
            while True:
                while not (position.caught_up and follower.idle):
                    await pause(self._stopping, 1.0)
                more = await self.reconcile(time.time() - settled_seconds)
                await pause(self._stopping, 1.0 if more else EVERY_SECONDS)
        except StoppingError:
            return

    async def reconcile(self, before: float) -> bool:
        """Upload the files closed before a time (seconds since 1970) that are not in UPLOADS; True: there are more.

        Raises StoppingError.
        """
        missing = await asyncio.to_thread(
            self._ready.oldest, lambda file: self._is_missing(file, before), ROUND_SEGMENTS
        )
        if not missing:
            return False
        _log.info("segments were found that are not in S3", segments=len(missing))
        committed = await self._committed({file.path for file in missing})
        done = len(self._uploaded)
        waiting = iter(missing)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work(waiting, committed))
        if self._stopping.is_set():
            raise StoppingError("the process stops")
        return len(missing) == ROUND_SEGMENTS and len(self._uploaded) > done

    def _is_missing(self, file: LocalFile, before: float) -> bool:
        return file.modified < before and file.path not in self._uploaded

    async def _committed(self, paths: set[str]) -> dict[str, Segment]:
        """The catalog's word on these paths, where it still has one: what the writer committed."""
        found = {}
        async for message in messages(self._js, CATALOG_STREAM, ALL_ENTRIES):
            try:
                segment = from_entry(decode_entry(message.data))
            except PermanentError:
                continue  # told when the catalog was followed
            if segment.path in paths:
                found[segment.path] = segment
        return found

    async def _work(self, waiting: Iterator[LocalFile], committed: dict[str, Segment]) -> None:
        for file in waiting:
            if self._stopping.is_set():
                return
            self._metrics.received.inc()
            try:
                segment = committed.get(file.path) or await self._of_file(file)
                await self._uploader.upload(segment)
            except StoppingError:
                return
            except SegmentError as error:
                self._uploader.give_up(file.path, error)

    async def _of_file(self, file: LocalFile) -> Segment:
        try:
            sha256 = await asyncio.to_thread(digest, self._ready.file(file.path), "sha256")
        except OSError as error:
            why = f"{file.path}: expected a readable file, was {error.strerror or error}"
            raise SegmentError("unreadable", why) from error
        return from_file(file.path, file.size_bytes, sha256, self._shards)
