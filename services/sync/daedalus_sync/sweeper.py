"""Carries retention out: a file goes only after the store said, just before, that it has the very bytes that lie here."""

from __future__ import annotations

import asyncio
import time

import structlog

from daedalus.config import Storage
from daedalus_sync.condition import Condition
from daedalus_sync.metrics import Metrics
from daedalus_sync.object_store import ObjectStore, StoreError
from daedalus_sync.pause import StoppingError, pause
from daedalus_sync.ready import LocalFile, ReadyFolder
from daedalus_sync.retention import MIN_AGE_SECONDS, Policy, choose, excess_bytes, youngest_to_delete
from daedalus_sync.segment import from_file
from daedalus_sync.upload import digest, proves
from daedalus_sync.upload_log import UploadLog

LOOK_SECONDS = 60.0
AGE_SECONDS = 600.0
"""Between two walks for age, or while nothing is left to delete; the disk itself is looked at every minute."""
KEPT_SECONDS = 3_600.0
"""After this, files that could not be proved are tried again."""
PASS_SEGMENTS = 1_000

_log = structlog.get_logger()


class Sweeper:
    def __init__(
        self,
        store: ObjectStore,
        log: UploadLog,
        ready: ReadyFolder,
        storage: Storage,
        *,
        condition: Condition,
        metrics: Metrics,
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._log = log
        self._ready = ready
        self._policy = Policy(storage.retain_days, storage.disk_watermark_percent)
        self._condition = condition
        self._metrics = metrics
        self._stopping = stopping
        self._kept: set[str] = set()
        self._kept_since = 0.0
        self._aged = 0.0

    async def run(self) -> None:
        """Until the stop."""
        try:
            while True:
                try:
                    more = await self.sweep(time.time())
                except (StoreError, OSError) as error:
                    _log.warning("retention was put off", error=str(error), error_type=type(error).__name__)
                    more = False
                await pause(self._stopping, 0.1 if more else LOOK_SECONDS)
        except StoppingError:
            return

    async def sweep(self, now: float) -> bool:
        """One pass; True when there may be more to delete at once. Raises StoreError, OSError, StoppingError."""
        excess = await asyncio.to_thread(self._excess)
        if excess == 0:
            self._condition.disk = None
            if self._policy.retain_days == 0:
                return False
        if (excess == 0 or self._condition.disk is not None) and now - self._aged < AGE_SECONDS:
            return False
        if now - self._kept_since > KEPT_SECONDS:
            self._kept, self._kept_since = set(), now
        before = youngest_to_delete(self._policy, now, excess)
        files = await asyncio.to_thread(self._ready.oldest, lambda file: self._may_go(file, before), PASS_SEGMENTS)
        chosen = choose(files, self._policy, now, excess)
        deleted = 0
        for file in chosen:
            if self._stopping.is_set():
                raise StoppingError("the process stops")
            deleted += await asyncio.to_thread(self._delete, file)
        self._metrics.kept.set(len(self._kept))
        if deleted:
            _log.info("segments were deleted here", segments=deleted, verified_in="S3")
        more = len(chosen) == PASS_SEGMENTS
        if not more:
            self._aged = now
            await asyncio.to_thread(self._ready.remove_empty_folders, now - MIN_AGE_SECONDS)
        self._tell_disk(excess, deleted)
        return more

    def _excess(self) -> int:
        used, total = self._ready.disk()
        self._metrics.disk_used.set(used / total)
        return excess_bytes(used, total, self._policy.watermark_percent)

    def _may_go(self, file: LocalFile, before: float) -> bool:
        return file.modified < before and file.path in self._log.uploaded and file.path not in self._kept

    def _delete(self, file: LocalFile) -> bool:
        """Prove and unlink. Returns whether it went."""
        local = self._ready.file(file.path)
        try:
            segment = from_file(file.path, file.size_bytes, digest(local, "sha256"), 1)
        except FileNotFoundError:
            return False
        found = self._store.head(self._log.key(file.path))
        if found is None or not proves(found, segment, local):
            self._kept.add(file.path)
            why = "not there" if found is None else "another size or checksum"
            _log.error("segment was kept: the store could not prove it", path=file.path, found=why)
            return False
        local.unlink()
        self._metrics.deleted.inc()
        return True

    def _tell_disk(self, excess: int, deleted: int) -> None:
        if excess == 0 or deleted:
            self._condition.disk = None
            return
        self._condition.disk = (
            f"the disk is {excess} bytes above its watermark ({self._policy.watermark_percent} %), and no verified "
            f"segment older than {MIN_AGE_SECONDS / 3600:.0f} h is left to delete: make room, or add storage"
        )
