"""Records on their way to JetStream: encoded at once, in batches, bounded. Pure: no clock, no I/O, never blocks.

A batch collects the records of one subject and one hour of receive time. It closes when it is full (records or bytes),
old (linger) or when the hour changes; closed batches are numbered without holes and wait in order for the publisher. What
counts against the bounds is everything that neither JetStream nor the spill on disk has. Above them a record is refused,
and the caller writes the loss down: gap records have room of their own, so that they still fit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from daedalus import wire
from daedalus.naming import batch_subject, shard_of
from daedalus.records import Record

RESERVED_RECORDS = 10_000
"""For gap records: 150 pairs write 65 gaps each before it is full."""
RESERVED_BYTES = 2_000_000


class OutboxLimits(msgspec.Struct, frozen=True, kw_only=True):
    batch_records: int
    batch_bytes: int
    linger_ns: int
    records: int
    bytes: int


class ClosedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A message for JetStream."""

    counter: int
    shard: int
    channel: str
    subject: str
    message_id: str
    message: bytes
    records: int
    size_bytes: int
    """What it counts against the outbox's bound."""
    opened_ns: int = 0
    """When its first record was received."""
    unsure: bool = False
    """It was sent, and whether JetStream has it is not known."""


class _Part:
    __slots__ = ("batch", "buffer", "count", "line")

    def __init__(self, line: Line, batch: _Batch) -> None:
        self.line = line
        self.batch = batch
        self.buffer = bytearray()
        self.count = 0


class _Batch:
    __slots__ = ("channel", "count", "hour", "opened_ns", "parts", "shard", "size_bytes", "subject")

    def __init__(self, line: Line, hour: int, opened_ns: int) -> None:
        self.subject = line.subject
        self.channel = line.channel
        self.shard = line.shard
        self.hour = hour
        self.opened_ns = opened_ns
        self.count = 0
        self.size_bytes = 0
        self.parts: list[_Part] = []


class Line:
    """One symbol and channel in the outbox: keep it, and hand it to `add`."""

    __slots__ = ("channel", "gap_ns", "market_id", "part", "shard", "subject", "symbol")

    def __init__(self, channel: str, symbol: str, market_id: str, shard: int, subject: str) -> None:
        self.channel = channel
        self.symbol = symbol
        self.market_id = market_id
        self.shard = shard
        self.subject = subject
        self.part: _Part | None = None
        self.gap_ns = 0
        """See `daedalus.wire.Part`."""


class Outbox:
    """`on_change` is called when a batch was begun or closed, and for each record while it is crowded: there may be
    something to do for the publisher.
    """

    def __init__(
        self,
        exchange: str,
        instance: str,
        boot: str,
        limits: OutboxLimits,
        *,
        shards: int = 1,
        subject_by_symbol: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self._many_records, self._many_bytes = limits.records // 2, limits.bytes // 2
        self.records = 0
        self.bytes = 0
        self.closed: deque[ClosedBatch] = deque()
        self.on_change = on_change
        self.boot = boot
        self._exchange, self._instance = exchange, instance
        self._shards, self._subject_by_symbol = shards, subject_by_symbol
        self._open: dict[str, _Batch] = {}
        self._counter = 0

    def line(self, channel: str, symbol: str, market_id: str = "") -> Line:
        shard = shard_of(self._exchange, symbol, self._shards)
        subject = batch_subject(shard, self._exchange, channel, symbol if self._subject_by_symbol else None)
        return Line(channel, symbol, market_id, shard, subject)

    def full(self, channel: str) -> bool:
        limits = self.limits
        if channel == "gap":
            return self.records >= limits.records + RESERVED_RECORDS or self.bytes >= limits.bytes + RESERVED_BYTES
        return self.records >= limits.records or self.bytes >= limits.bytes

    @property
    def crowded(self) -> bool:
        """Half full: time for a spill, while there is room for what comes in meanwhile."""
        return self.records >= self._many_records or self.bytes >= self._many_bytes

    def add(self, line: Line, record: Record) -> bool:
        """Encode a record into the open batch of its subject; False when the outbox is full."""
        if self.records >= self._many_records or self.bytes >= self._many_bytes:
            self.on_change()
            if self.full(line.channel):
                return False
        hour = record.received_ns // wire.NS_PER_HOUR
        part = line.part
        if part is None or part.batch.hour != hour:
            part = self._part(line, hour, record.received_ns)
        buffer = part.buffer
        before = len(buffer)
        wire.append_record(buffer, record)
        size = len(buffer) - before
        batch = part.batch
        if batch.size_bytes + size > self.limits.batch_bytes and batch.count:
            encoded = bytes(buffer[before:])
            del buffer[before:]
            self._close(batch)
            part = self._part(line, hour, record.received_ns)
            part.buffer += encoded
            batch = part.batch
        part.count += 1
        batch.count += 1
        batch.size_bytes += size
        self.records += 1
        self.bytes += size
        if batch.count >= self.limits.batch_records or batch.size_bytes >= self.limits.batch_bytes:
            self._close(batch)
        return True

    def next_due_ns(self) -> int | None:
        """When the oldest open batch has lingered long enough; None when there is none."""
        if not self._open:
            return None
        return min(batch.opened_ns for batch in self._open.values()) + self.limits.linger_ns

    def oldest_ns(self) -> int | None:
        """When the oldest record was received that no publisher has taken yet; None when there is none."""
        waiting = [batch.opened_ns for batch in self._open.values()]
        waiting += [batch.opened_ns for batch in self.closed]
        return min(waiting, default=None)

    def close_due(self, now_ns: int) -> None:
        """Close what has lingered long enough, or comes from the future: then the clock was set back."""
        for batch in list(self._open.values()):
            if now_ns - batch.opened_ns >= self.limits.linger_ns or now_ns < batch.opened_ns:
                self._close(batch)

    def close_all(self) -> None:
        for batch in list(self._open.values()):
            self._close(batch)

    def acknowledged(self, batch: ClosedBatch) -> None:
        """JetStream has it, or the disk: its room is free."""
        self.records -= batch.records
        self.bytes -= batch.size_bytes

    def _part(self, line: Line, hour: int, opened_ns: int) -> _Part:
        batch = self._open.get(line.subject)
        if batch is not None and batch.hour != hour:
            self._close(batch)
            batch = None
        if batch is None:
            batch = self._open[line.subject] = _Batch(line, hour, opened_ns)
            self.on_change()
        elif opened_ns < batch.opened_ns:  # of a connection that was read after another one
            batch.opened_ns = opened_ns
        part = line.part = _Part(line, batch)
        batch.parts.append(part)
        return part

    def _close(self, batch: _Batch) -> None:
        del self._open[batch.subject]
        for part in batch.parts:
            part.line.part = None
        message = wire.Batch(
            wire.VERSION,
            self._exchange,
            batch.channel,
            batch.hour,
            self._instance,
            self.boot,
            self._counter,
            [
                wire.part(part.line.symbol, part.line.market_id, part.count, part.buffer, part.line.gap_ns)
                for part in batch.parts
                if part.count
            ],
        )
        self.closed.append(
            ClosedBatch(
                counter=self._counter,
                shard=batch.shard,
                channel=batch.channel,
                subject=batch.subject,
                message_id=message.message_id,
                message=wire.encode(message),
                records=batch.count,
                size_bytes=batch.size_bytes,
                opened_ns=batch.opened_ns,
            )
        )
        self._counter += 1
        self.on_change()
