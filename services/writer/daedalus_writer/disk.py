"""The disk, as the writer uses it: in bounded threads, and patient when it is full."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from daedalus.errors import FencedError
from daedalus_writer.metrics import Metrics

T = TypeVar("T")

RETRY_SECONDS = 2.0
_PATIENT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})

_log = structlog.get_logger()


class Disk:
    """Runs disk work in threads. Work must leave nothing behind when it fails: it is done again."""

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._metrics = metrics
        self.problem: str | None = None
        """Why the disk takes nothing at the moment."""

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work, and as long as the disk is full or failing, try again every 2 s. Meanwhile nobody pulls from
        the stream, so nothing is lost and memory does not grow.
        """
        while True:
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except OSError as error:
                if error.errno not in _PATIENT:
                    raise
                self.problem = f"{error.strerror}: free space on the disk of storage.root; nothing is lost meanwhile"
                self._metrics.errors.labels("disk").inc()
                _log.error("disk refused a write", error=error.strerror, path=error.filename)  # told, and tried again
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.problem = None
                return result

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Room:
    """The disk, as one run of a shard's writer uses it: a successor empties its folder."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self.folder = folder

    async def run(self, work: Callable[[], T]) -> T:
        """Do disk work, patiently. Raises FencedError when a successor has emptied our folder."""
        try:
            return await self._disk.run(work)
        except FileNotFoundError as error:
            if self.folder.is_dir():
                raise
            raise FencedError(f"{self.folder}: expected our room, found none: another writer has the shard") from error
