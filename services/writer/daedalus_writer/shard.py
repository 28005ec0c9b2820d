"""One shard: its stream in, its segments out.

read ─▶ intake (rows into open segments) ─▶ flush (memory → spool) ─▶ rotate ─▶ commit, one after the other
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import structlog
from nats.aio.client import Client
from prometheus_client import Counter

from daedalus.catalog import Checkpoint
from daedalus.config import Config
from daedalus.errors import FencedError
from daedalus.naming import shard_stream
from daedalus.records import Gap
from daedalus.wire import WireError, decode, decode_records
from daedalus_writer.commit import Sealer, publish_file
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.disk import Disk
from daedalus_writer.layout import Folders, Key
from daedalus_writer.merging import Merger
from daedalus_writer.metrics import Metrics
from daedalus_writer.reader import InterruptedReadError, Message, Reader
from daedalus_writer.recent import recent
from daedalus_writer.recovery import recover, start_of_reading
from daedalus_writer.rotation import Limits, due, surplus
from daedalus_writer.segment import START, Position, Segment
from daedalus_writer.spool import Spool
from daedalus_writer.steps import passed
from daedalus_writer.trimming import trim

T = TypeVar("T")

_TICK_SECONDS = 0.5
_CHECKPOINT_SECONDS = 1.0
_TRIM_SECONDS = 30.0

_log = structlog.get_logger()


class ShardWriter:
    """Owns a shard from `run` until it is cancelled or stopped."""

    def __init__(self, nats: Client, config: Config, shard: int, instance: str, disk: Disk, metrics: Metrics) -> None:
        """`instance` names the replica; each ShardWriter is a run of its own, with its own room."""
        self._nats = nats
        self._js = nats.jetstream()
        self._config = config
        self._shard = shard
        self._disk = disk
        self._metrics = metrics
        boot = secrets.token_hex(4)
        self._writer = f"{instance}.{boot}"
        self._folders = Folders(Path(config.storage.root), shard, boot)
        self._sealer = Sealer(config, self._folders, shard, self._writer)
        self._limits = Limits.of(config.ingestion)
        self._budget = config.ingestion.memory_budget_mb * 1_000_000 // config.nats.shards
        self._flush_interval_ns = int(config.ingestion.flush_interval_seconds * 1e9)
        self._open: dict[Key, Segment] = {}
        self._counted: dict[tuple[str, str], tuple[Counter, Counter]] = {}
        self._gaps: Tally[Key] = Tally()
        """Gap records about a key, counted into its footer."""
        self._sealing: deque[tuple[Segment, str]] = deque()
        self._to_commit = asyncio.Event()
        self._merger = Merger()
        self._spools: dict[int, Spool] = {}
        self._spool_lock = asyncio.Lock()
        self._buffered = 0
        self._position = START
        self._pending = 0
        self._now_ns = 0
        self._ticked = 0.0
        self._stopping = False
        self._drained = False

    async def run(self, started: asyncio.Event) -> None:
        """Recover, then write until `stop`; then commit what is open and return.

        Raises FencedError when another writer owns the shard.
        """
        self._log = await CommitLog.open(self._js, self._shard, self._writer)
        passed("taken")
        self._folders.create()
        self._recovered = await recover(self._js, self._log, self._folders, self._shard)
        self._position = self._recovered.position
        for path in self._recovered.paths:
            self._sealer.note_used(path)
        await self._remember()
        passed("recovered")
        started.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._commit_loop())
            tasks.create_task(self._checkpoint_loop())
            await self._read_loop()
            self._rotate(self._open.values(), "stop")
            self._drained = True
            self._to_commit.set()
        await self._write_checkpoint()
        await self._on_disk(lambda: shutil.rmtree(self._folders.room))
        _log.info("shard was drained", shard=self._shard, sequence=self._position.sequence)

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
                start, problem = await start_of_reading(self._js, self._shard, self._position)
                if problem is not None:
                    self._recovered.rolled_back |= problem == "stream_rolled_back"
                    self._metrics.errors.labels(problem).inc()
                    _log.error(
                        "stream is not what it was", shard=self._shard, problem=problem, position=str(self._position)
                    )
                self._pending = await reader.open(start)
                while not self._stopping:
                    await self._intake(await reader.read(_TICK_SECONDS))
                    await self._tick()
            except InterruptedReadError as error:
                self._metrics.errors.labels("nats").inc()
                self._pending = max(self._pending, 1)  # nobody knows, until a new reader has asked
                _log.warning("reading was interrupted", shard=self._shard, error=str(error))
                await self._tick()
                await asyncio.sleep(_TICK_SECONDS)
            finally:
                await reader.close()

    async def _intake(self, messages: list[Message]) -> None:
        for message in messages:
            self._now_ns = message.timestamp_ns
            self._pending = message.pending
            try:
                self._take(message)
            except WireError as error:
                self._metrics.errors.labels("invalid_message").inc()
                _log.error(
                    "message could not be read", shard=self._shard, sequence=message.sequence, error=str(error)
                )  # the message says it all
                await self._on_disk(lambda message=message: self._keep_aside(message))  # type: ignore[misc]
            self._position = message.position
            if self._buffered > self._budget:
                await self._flush(self._open.values())

    def _take(self, message: Message) -> None:
        """Lay a message's records into their segments. The message is read whole first: all of it is taken, or nothing.

        Raises WireError.
        """
        batch = decode(message.data)
        parts = [(part, decode_records(batch.channel, part.records)) for part in batch.parts]
        received, discarded = self._counters(batch.exchange, batch.channel)
        at = message.position
        for part, records in parts:
            rows = len(records)
            received.inc(rows)
            key = Key(batch.exchange, batch.channel, part.symbol, batch.hour)
            series = (key.exchange, key.channel, key.symbol)
            merged, kept = self._merger.merged(series, batch.instance, part, records)
            if self._recovered.has(key, at):
                discarded.inc(rows)
                continue
            if kept < rows:
                discarded.inc(rows - kept)
            if kept:
                self._buffered += self._segment(key, part.market_id).append(merged, kept, at, message.timestamp_ns)
                if batch.channel == "gap":
                    self._gaps.update(
                        Key(key.exchange, gap.channel, key.symbol, key.hour) for gap in records if isinstance(gap, Gap)
                    )

    async def _remember(self) -> None:
        """What several collectors recorded before our first message: part of it may come again."""
        for message in await recent(self._nats, self._shard, self._position, self._config.ingestion):
            with contextlib.suppress(WireError):
                batch = decode(message.data)
                for part in batch.parts:
                    records = decode_records(batch.channel, part.records)
                    self._merger.merged((batch.exchange, batch.channel, part.symbol), batch.instance, part, records)

    def _counters(self, exchange: str, channel: str) -> tuple[Counter, Counter]:
        """Of received and of discarded records: looking a labelled counter up costs as much as laying a part away."""
        found = self._counted.get((exchange, channel))
        if found is None:
            labels = (exchange, channel)
            metrics = self._metrics
            found = (metrics.received_records.labels(*labels), metrics.discarded_records.labels(*labels))
            self._counted[labels] = found
        return found

    def _segment(self, key: Key, market_id: str) -> Segment:
        segment = self._open.get(key)
        if segment is None:
            segment = self._open[key] = Segment(key, market_id, self._position, self._now_ns)
        return segment

    def _keep_aside(self, message: Message) -> None:
        """A message that nobody can read is evidence: keep its bytes."""
        folder = self._folders.active.parent / "rejected"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{shard_stream(self._shard)}-{message.sequence}.msgpack").write_bytes(message.data)

    # --- memory → spool → commit

    async def _tick(self) -> None:
        """What time brings about: flushing, rotation, metrics."""
        if time.monotonic() - self._ticked < _TICK_SECONDS:
            return
        self._ticked = time.monotonic()
        if self._pending == 0:
            self._now_ns = time.time_ns()
        before_ns = self._now_ns - self._flush_interval_ns
        await self._flush(
            [one for one in self._open.values() if one.buffered_rows and one.buffered_since_ns <= before_ns]
        )
        for segment in list(self._open.values()):
            reason = due(segment, self._now_ns, self._limits)
            if reason is not None:
                self._rotate([segment], reason)
        self._rotate(surplus(self._open.values(), self._limits), "open_segments")
        shard = str(self._shard)
        self._metrics.open_segments.labels(shard).set(len(self._open))
        self._metrics.sealing_segments.labels(shard).set(len(self._sealing))
        self._metrics.buffered_bytes.labels(shard).set(self._buffered)
        self._metrics.pending_messages.labels(shard).set(self._pending)
        self._metrics.position.labels(shard).set(self._position.sequence)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Do disk work in a thread, patiently. Raises FencedError when a successor has emptied our room."""
        try:
            return await self._disk.run(work)
        except FileNotFoundError as error:
            if self._folders.room.is_dir():
                raise
            raise FencedError(
                f"{self._folders.room}: expected our room, found none: another writer has the shard"
            ) from error

    async def _flush(self, segments: Iterable[Segment]) -> None:
        """Move the rows that wait in memory into the spools of their hours."""
        async with self._spool_lock:
            by_hour: dict[int, list[Segment]] = {}
            for segment in segments:
                if segment.buffered_rows:
                    by_hour.setdefault(segment.key.hour, []).append(segment)
            for hour, group in by_hour.items():
                buffers = [(segment.buffered_rows, bytes(segment.buffer)) for segment in group]
                places = await self._on_disk(lambda hour=hour, buffers=buffers: self._spool(hour).write(buffers))  # type: ignore[misc]
                for segment, (rows, records), (offset, size) in zip(group, buffers, places, strict=True):
                    segment.frames.append(offset)
                    segment.spooled_bytes += size
                    segment.buffered_rows -= rows
                    del segment.buffer[: len(records)]
                    segment.buffered_since_ns = self._now_ns
                    self._buffered -= len(records)
                    self._metrics.spooled_bytes.inc(size)
                passed("spooled")

    def _spool(self, hour: int) -> Spool:
        spool = self._spools.get(hour)
        if spool is None:
            spool = self._spools[hour] = Spool(self._folders.room, hour)
        return spool

    def _rotate(self, segments: Iterable[Segment], reason: str) -> None:
        """Close segments: they wait for their commit, in order; rows that come later begin new ones."""
        for segment in list(segments):
            del self._open[segment.key]
            self._sealing.append((segment, reason))
            self._to_commit.set()

    async def _commit_loop(self) -> None:
        """Commits are one chain per shard: one at a time, in the order of rotation."""
        while self._sealing or not self._drained:
            if not self._sealing:
                self._to_commit.clear()
                await self._to_commit.wait()
                continue
            segment, reason = self._sealing[0]
            await self._commit(segment, reason)
            self._sealing.popleft()
            self._drop_spool(segment.key.hour)

    async def _commit(self, segment: Segment, reason: str) -> None:
        began = time.monotonic()
        await self._flush([segment])
        spool = self._spools[segment.key.hour]
        gaps = segment.rows if segment.key.channel == "gap" else self._gaps.pop(segment.key, 0)
        entry = await self._on_disk(lambda: self._sealer.seal(segment, spool, gaps))
        passed("sealed")
        catalog_sequence = await self._log.append(entry)
        # at once: a checkpoint that is written during the rename must not tell recovery to start behind this entry
        self._recovered.entries.append((catalog_sequence, segment.last))
        passed("entry")
        await self._on_disk(lambda: publish_file(entry, self._folders.room, self._folders.ready))
        passed("published")
        self._metrics.sent_records.labels(entry.exchange, entry.channel).inc(entry.rows)
        self._metrics.sent_segments.labels(reason).inc()
        self._metrics.sent_bytes.inc(entry.size_bytes)
        self._metrics.commit_seconds.observe(time.monotonic() - began)
        _log.debug("segment was committed", path=entry.path, rows=entry.rows, bytes=entry.size_bytes, reason=reason)

    def _drop_spool(self, hour: int) -> None:
        """An hour's spool goes when none of its segments is left."""
        left = [segment.key.hour for segment in self._open.values()] + [
            segment.key.hour for segment, _ in self._sealing
        ]
        if hour not in left:
            spool = self._spools.pop(hour, None)
            if spool is not None:
                spool.delete()

    # --- checkpoint

    async def _checkpoint_loop(self) -> None:
        written, trimmed = None, time.monotonic()
        while not self._drained:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            if (committed := self._committed().sequence) != written:
                await self._write_checkpoint()
                written = committed
            if time.monotonic() - trimmed > _TRIM_SECONDS:
                await trim(self._nats, self._shard, committed, self._config.nats.retain_hours)
                trimmed = time.monotonic()

    def _committed(self) -> Position:
        """Everything up to here is committed: where the oldest open segment began, less one."""
        open_ones = [*self._open.values(), *(segment for segment, _ in self._sealing)]
        return min((segment.before for segment in open_ones), key=self._order, default=self._position)

    def _order(self, position: Position) -> int:
        """What orders messages: the sequence, unless the stream has used sequences again."""
        return position.timestamp_ns if self._recovered.rolled_back else position.sequence

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
