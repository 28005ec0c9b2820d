"""One shard: its stream in, its segments out.

read ─▶ intake (rows into open segments) ─▶ flush (memory → spool) ─▶ rotate ─▶ commit, one after the other
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import structlog
from nats.aio.client import Client

from daedalus.catalog import Checkpoint
from daedalus.config import Config
from daedalus.naming import shard_stream
from daedalus.wire import WireError
from daedalus_writer.commit import Sealer
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.commit_queue import CommitQueue
from daedalus_writer.disk import Disk, Room
from daedalus_writer.intake import Intake
from daedalus_writer.layout import Folders
from daedalus_writer.metrics import Metrics
from daedalus_writer.reader import InterruptedReadError, Message, Reader
from daedalus_writer.recent import recent
from daedalus_writer.recovery import recover, start_of_reading
from daedalus_writer.rotation import Limits, Reason, due, surplus
from daedalus_writer.segment import Position, Segment
from daedalus_writer.spools import Spools
from daedalus_writer.steps import passed
from daedalus_writer.trimming import trim

_POLL_SECONDS = 1.0
"""Between two looks into a stream that had no more; each costs as much as laying ten records away."""
_TICK_SECONDS = 0.5
"""While we catch up; else there is a tick with every look."""
_RETRY_SECONDS = 0.5
_CHECKPOINT_SECONDS = 1.0
_TRIM_SECONDS = 30.0

_log = structlog.get_logger()


class ShardWriter:
    """Owns a shard from `run` until it is cancelled or stopped."""

    def __init__(self, nats: Client, config: Config, shard: int, instance: str, disk: Disk, metrics: Metrics) -> None:
        """`instance` names the replica; each ShardWriter is a run of its own, with its own room."""
        self._nats = nats
        self._config = config
        self._shard = shard
        self._metrics = metrics
        boot = secrets.token_hex(4)
        self._writer = f"{instance}.{boot}"
        self._folders = Folders(Path(config.storage.root), shard, boot)
        self._room = Room(disk, self._folders.room)
        self._spools = Spools(self._room, metrics)
        self._limits = Limits.of(config.ingestion)
        self._budget = config.ingestion.memory_budget_mb * 1_000_000 // config.nats.shards
        self._flush_interval_ns = int(config.ingestion.flush_interval_seconds * 1e9)
        # what is sent again may be in the stream still: a server that was restarted knows no others
        self._retain_seconds = max(config.nats.retain_hours * 3600.0, config.nats.duplicate_window_seconds)
        self._poll_seconds = min(_POLL_SECONDS, config.ingestion.flush_interval_seconds / 2)
        self._buffered = 0
        self._pending = 0
        self._now_ns = 0
        """The stream's clock: the wall's while we are caught up, else the server's time of the last message."""
        self._ticked = 0.0
        self._stopping = False
        self._ended = False

    async def run(self, started: asyncio.Event) -> None:
        """Recover, then write until `stop`; then commit what is open and return.

        Raises FencedError when another writer owns the shard.
        """
        js, config = self._nats.jetstream(), self._config
        self._log = await CommitLog.open(js, self._shard, self._writer)
        passed("taken")
        await self._room.run(self._folders.create)
        self._recovered = await recover(js, self._log, self._folders, self._shard, self._room)
        sealer = Sealer(config, self._folders, self._shard, self._writer)
        for path in self._recovered.paths:
            sealer.note_used(path)
        self._intake = Intake(self._recovered, self._metrics)
        self._intake.remember(await recent(self._nats, self._shard, self._intake.position, config.ingestion))
        self._commits = CommitQueue(
            sealer,
            self._log,
            self._room,
            self._folders,
            self._spools,
            self._recovered,
            self._metrics,
            self._limits.open_segments,
        )
        passed("recovered")
        started.set()
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._commits.run(tasks)), tasks.create_task(self._checkpoint_loop())]
            try:
                await self._read_loop()
                await self._rotate(list(self._intake.open), "stop")
                await self._commits.drained()
            finally:
                self._ended = True
            for task in beside:
                task.cancel()
        await self._write_checkpoint()
        await self._spools.keep(())
        await self._room.run(lambda: shutil.rmtree(self._room.folder))
        _log.info("shard was drained", shard=self._shard, sequence=self._intake.position.sequence)

    def stop(self) -> None:
        self._stopping = True

    def lag_seconds(self) -> float:
        """How old the last message was that was read, while others wait behind it; 0 when none does."""
        return max(0.0, (time.time_ns() - self._now_ns) / 1e9) if self._pending else 0.0

    # --- reading

    async def _read_loop(self) -> None:
        while not self._stopping:
            reader = Reader(self._nats, shard_stream(self._shard), self._config.ingestion)
            try:
                start, problem = await start_of_reading(self._nats.jetstream(), self._shard, self._intake.position)
                if problem is not None:
                    self._recovered.rolled_back |= problem == "stream_rolled_back"
                    self._metrics.errors.labels(problem).inc()
                    _log.error(
                        "stream is not what it was",
                        shard=self._shard,
                        problem=problem,
                        position=str(self._intake.position),
                    )
                self._pending = await reader.open(start)
                while not self._stopping:
                    await self._take(await reader.read(self._poll_seconds))
                    await self._tick()
            except InterruptedReadError as error:
                self._metrics.errors.labels("nats").inc()
                self._pending = max(self._pending, 1)  # nobody knows, until a new reader has asked
                _log.warning("reading was interrupted", shard=self._shard, error=str(error))
                await self._tick()
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await reader.close()

    async def _take(self, messages: list[Message]) -> None:
        for message in messages:
            self._now_ns = message.timestamp_ns
            self._pending = message.pending
            try:
                self._buffered += self._intake.take(message)
            except WireError as error:
                self._metrics.errors.labels("invalid_message").inc()
                _log.error(
                    "message could not be read", shard=self._shard, sequence=message.sequence, error=str(error)
                )  # the message says it all
                await self._room.run(lambda message=message: self._keep_aside(message))  # type: ignore[misc]
            self._intake.position = message.position
            if self._buffered > self._budget:
                await self._flush(self._intake.open)

    def _keep_aside(self, message: Message) -> None:
        """A message that nobody can read is evidence: keep its bytes."""
        folder = self._folders.active.parent / "rejected"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{shard_stream(self._shard)}-{message.sequence}.msgpack").write_bytes(message.data)

    # --- memory → spool → commit

    async def _tick(self) -> None:
        """What time brings about: flushing, rotation, metrics."""
        if self._pending and time.monotonic() - self._ticked < _TICK_SECONDS:
            return
        self._ticked = time.monotonic()
        if self._pending == 0:
            self._now_ns = time.time_ns()
        before_ns = self._now_ns - self._flush_interval_ns
        await self._flush(one for one in self._intake.open if one.buffered_since_ns <= before_ns)
        closing: dict[Reason, list[Segment]] = {}
        for segment in self._intake.open:
            if (reason := due(segment, self._now_ns, self._limits)) is not None:
                closing.setdefault(reason, []).append(segment)
        for why, segments in closing.items():
            await self._rotate(segments, why)
        await self._rotate(surplus(list(self._intake.open), self._limits), "open_segments")
        await self._spools.keep({segment.key.hour for segment in self._unpublished()})
        self._show()

    def _show(self) -> None:
        shard, metrics = str(self._shard), self._metrics
        metrics.open_segments.labels(shard).set(len(self._intake.open))
        metrics.sealing_segments.labels(shard).set(len(self._commits.waiting))
        metrics.buffered_bytes.labels(shard).set(self._buffered)
        metrics.pending_messages.labels(shard).set(self._pending)
        metrics.position.labels(shard).set(self._intake.position.sequence)

    async def _flush(self, segments: Iterable[Segment]) -> None:
        self._buffered -= await self._spools.flush(segments, self._now_ns)

    async def _rotate(self, segments: list[Segment], reason: str) -> None:
        """Close segments: they wait for their commit, in order; rows that come later begin new ones."""
        await self._flush(segments)
        for segment in segments:
            self._intake.open.remove(segment)
            await self._commits.add(segment, reason, self._intake.gaps(segment))

    # --- checkpoint

    def _unpublished(self) -> list[Segment]:
        return [*self._intake.open, *self._commits.waiting]

    def _committed(self) -> Position:
        """Everything up to here is committed: where the oldest open segment began, less one."""
        return min((segment.before for segment in self._unpublished()), key=self._order, default=self._intake.position)

    def _order(self, position: Position) -> int:
        """What orders messages: the sequence, unless the stream has used sequences again."""
        return position.timestamp_ns if self._recovered.rolled_back else position.sequence

    async def _checkpoint_loop(self) -> None:
        written, trimmed = None, time.monotonic()
        while not self._ended:  # and not only until it is cancelled: nats-py can swallow that
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            if (committed := self._committed()).sequence != written:
                await self._write_checkpoint()
                written = committed.sequence
            if time.monotonic() - trimmed > _TRIM_SECONDS:
                await trim(self._nats, self._shard, committed, self._retain_seconds)
                trimmed = time.monotonic()

    async def _write_checkpoint(self) -> None:
        committed = self._committed()
        behind = self._order(committed)
        entries = [entry for entry in self._recovered.entries if self._order(entry[1]) > behind]
        self._recovered.entries = entries
        await self._log.write_checkpoint(
            Checkpoint(
                epoch=self._recovered.epoch,
                sequence=committed.sequence,
                timestamp_ns=committed.timestamp_ns,
                catalog_sequence=entries[0][0] if entries else self._log.last_sequence + 1,
            )
        )
        passed("checkpoint")
        self._metrics.checkpoint.labels(str(self._shard)).set(committed.sequence)
