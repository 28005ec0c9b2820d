"""Closed segments on their way into ready/. A shard's commits are one chain: entries are published one after the other, in
the order in which segments were closed; the files of the next ones are written and fsynced meanwhile.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from daedalus_writer.commit import Sealer, publish_file
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.disk import Room
from daedalus_writer.layout import Folders
from daedalus_writer.metrics import Metrics
from daedalus_writer.recovery import Recovered
from daedalus_writer.segment import Segment
from daedalus_writer.spools import Spools
from daedalus_writer.steps import passed

_AT_ONCE = 4
"""Segments between the beginning of their file and its place in ready/."""

_log = structlog.get_logger()


class CommitQueue:
    def __init__(
        self,
        sealer: Sealer,
        log: CommitLog,
        room: Room,
        folders: Folders,
        spools: Spools,
        recovered: Recovered,
        metrics: Metrics,
        size: int,
    ) -> None:
        """`size`: when so many wait, whoever closes more has to wait."""
        self._sealer = sealer
        self._log = log
        self._room = room
        self._folders = folders
        self._spools = spools
        self._recovered = recovered
        self._metrics = metrics
        self._queue: asyncio.Queue[tuple[Segment, str, int]] = asyncio.Queue(size)
        self.waiting: dict[Segment, None] = {}
        """All that is not in ready/ yet, in the order of closing."""

    async def add(self, segment: Segment, reason: str, gaps: int) -> None:
        """A closed segment, all of it in its spool, about which there are this many gap records."""
        self.waiting[segment] = None
        await self._queue.put((segment, reason, gaps))

    async def drained(self) -> None:
        """Wait until everything is in ready/."""
        await self._queue.join()

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Until it is cancelled: a task in the group for each commit, which raises FencedError when another writer has
        the shard.
        """
        places, before = asyncio.Semaphore(_AT_ONCE), asyncio.Event()
        before.set()
        while True:
            segment, reason, gaps = await self._queue.get()
            await places.acquire()
            await self._room.run(lambda segment=segment: self._sealer.place(segment))  # type: ignore[misc]
            appended = asyncio.Event()
            task = tasks.create_task(self._commit(segment, reason, gaps, before, appended))
            task.add_done_callback(lambda _: places.release())
            before = appended

    async def _commit(
        self, segment: Segment, reason: str, gaps: int, before: asyncio.Event, appended: asyncio.Event
    ) -> None:
        began = time.monotonic()
        spool = self._spools.of(segment.key.hour)
        entry = await self._room.run(lambda: self._sealer.seal(segment, spool, gaps))
        passed("sealed")
        await before.wait()
        catalog_sequence = await self._log.append(entry)
        # at once: a checkpoint that is written during the rename must not tell recovery to start behind this entry
        self._recovered.entries.append((catalog_sequence, segment.last))
        appended.set()
        passed("entry")
        await self._room.run(lambda: publish_file(entry, self._room.folder, self._folders.ready))
        passed("published")
        del self.waiting[segment]
        self._queue.task_done()
        self._metrics.sent_records.labels(entry.exchange, entry.channel).inc(entry.rows)
        self._metrics.sent_segments.labels(reason).inc()
        self._metrics.sent_bytes.inc(entry.size_bytes)
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        _log.debug("segment was committed", path=entry.path, rows=entry.rows, bytes=entry.size_bytes, reason=reason)
