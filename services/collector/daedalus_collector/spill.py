"""Batches on disk, while JetStream is away or full for longer than memory can hold them: oldest first, bounded.

What is here is older than everything in memory, so a crash loses the end of what was received and never its middle, and
the gap of the next start begins where the spill ends. A file holds about `FILE_BYTES` and is fsynced before memory lets
go of them: a power cut takes no more than it would without a spill. It is deleted when all of it is acknowledged.

Each living collector of an exchange has a slot, a folder that it locks; the lock ends with the process, however that ends.
What is in a slot without an owner goes to the next collector that starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
import structlog

from daedalus_collector import spill_file
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import ClosedBatch
from daedalus_collector.spill_file import SpillFile

RETRY_SECONDS = 10.0
"""After an error of the disk."""

_log = structlog.get_logger()


class Spill:
    """`open` first. Files are touched in threads; an error of the disk is told once, counted, and never raised."""

    def __init__(self, folder: Path, limit_bytes: int, metrics: Metrics) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self.files: deque[SpillFile] = deque()
        self.on_lost: Callable[[int, int, str], None] = lambda _from_ns, _to_ns, _why: None
        """Hears from when to when records were received that are in a file that cannot be read."""
        self._folder = folder
        self._metrics = metrics
        self._slot: Path | None = None
        self._locks: list[int] = []
        self._number = 0
        self._full = False
        self._error: str | None = None
        self._retry_at = 0.0

    def open(self) -> None:
        """Take a slot, and what earlier runs left. Blocking. Without a bound no folder is made, and what is there is
        published all the same.
        """
        try:
            for number in count():
                slot = self._folder / str(number)
                if not slot.is_dir() and (self._slot is not None or not self.limit_bytes):
                    break
                slot.mkdir(parents=True, exist_ok=True)
                self._take(slot)
        except OSError as error:
            self._failed(error)
        self.size_bytes = sum(file.size_bytes for file in self.files)
        self._number = max((file.number for file in self.files), default=0)
        if self.files:
            _log.info("spill of an earlier run was found", files=len(self.files), size_bytes=self.size_bytes)

    def close(self) -> None:
        """Leave the slot to others."""
        while self._locks:
            os.close(self._locks.pop())

    def inherits(self) -> bool:
        """Whether something of an earlier run is left."""
        return bool(self.files) and self.files[0].inherited

    def accepts(self) -> bool:
        """Whether `put` is worth trying now."""
        return self.limit_bytes > 0 and self._slot is not None and not self._full and time.monotonic() >= self._retry_at

    def oldest_ns(self) -> int | None:
        """When the oldest record here was received."""
        return self.files[0].from_ns if self.files else None

    def problem(self) -> str | None:
        """What waits here, and what the disk does not take; or None."""
        told = []
        if self._error is not None:
            told.append(f"{self._folder} failed: {self._error}; what memory cannot hold is lost: look at the disk")
        if self.files:
            told.append(f"{self.size_bytes} bytes wait on disk for JetStream (bound {self.limit_bytes})")
        if self._full:
            told.append("the spill is full: raise ingestion.outbox_spill_mb")
        return "; ".join(told) or None

    def inherited(self) -> Iterator[ClosedBatch]:
        """What earlier runs left, oldest first. Blocking."""
        for file in [file for file in self.files if file.inherited]:
            try:
                yield from spill_file.read(file.path.read_bytes())[0]
            except OSError as error:
                _log.warning("spill file was not read", path=str(file.path), error=str(error))

    async def put(self, batches: Sequence[ClosedBatch]) -> int:
        """Write a file; returns how many of the batches, from the first on, are safe in it: 0 when it takes none."""
        if not self.accepts() or self._slot is None:
            return 0
        room = self.limit_bytes - self.size_bytes
        try:
            file, written = await asyncio.to_thread(spill_file.write, self._slot, self._number + 1, batches, room)
        except OSError as error:
            self._failed(error)
            return 0
        self._error = None
        if file is None:
            self._full = True
            _log.warning("spill was full", exchange=self._metrics.exchange, limit_bytes=self.limit_bytes)
            return 0
        if not self.files:
            _log.warning("batches were spilled", exchange=self._metrics.exchange, folder=str(self._slot))
        self._number = file.number
        self.files.append(file)
        self.size_bytes += file.size_bytes
        self._metrics.spilled_records += file.records
        return written

    async def oldest(self) -> list[ClosedBatch]:
        """The batches of the first file; those of an earlier run may be stored already."""
        file = self.files[0]
        try:
            data = await asyncio.to_thread(file.path.read_bytes)
        except OSError as error:
            self._failed(error)
            self._lost(file, str(error))
            return []
        batches, intact = spill_file.read(data)
        if intact < len(data) or len(data) < file.size_bytes:
            self._lost(file, f"damaged at byte {intact} of {file.size_bytes}")
        return [msgspec.structs.replace(batch, unsure=True) for batch in batches] if file.inherited else batches

    async def drop(self) -> None:
        """The first file is published."""
        file = self.files.popleft()
        self.size_bytes -= file.size_bytes
        self._full = False
        try:
            await asyncio.to_thread(file.path.unlink, missing_ok=True)
        except OSError as error:
            self._failed(error)  # the next run looks up what is stored of it
        if not self.files:
            _log.info("spill was emptied", exchange=self._metrics.exchange)

    def _take(self, slot: Path) -> None:
        lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its owner lives
            os.close(lock)
            return
        files = spill_file.left(slot)
        if self._slot is not None and not files:
            os.close(lock)
            return
        self._locks.append(lock)
        self._slot = self._slot or slot
        self.files.extend(files)

    def _failed(self, error: OSError) -> None:
        self._metrics.errors["spill"] += 1
        if self._error is None:
            _log.error("disk of the spill failed", folder=str(self._folder), error=str(error))
        self._error = str(error)
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _lost(self, file: SpillFile, why: str) -> None:
        _log.error("spill file was cut", path=str(file.path), why=why, gap=not file.last)
        if not file.last:
            to_ns = self.files[1].from_ns if len(self.files) > 1 else time.time_ns()
            self.on_lost(file.from_ns, max(file.from_ns, to_ns), f"records on disk were lost: {why}")
