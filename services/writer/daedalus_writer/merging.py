"""What two collectors recorded of one symbol, made into one series: each record once. Pure.

Collectors overlap while a symbol moves from one to another, and all the time with `redundancy` above 1. A trade is the
same when its id is; anything else when all of it is but the receive time and the nonce, which some exchanges count for
each connection, and only within a minute: a state may come back. Raw frames and gaps are each collector's own. Of one collector's own records only
trades are compared, and only while there is another: what a single collector sent is what is written.

For a series with one collector the last parts are kept as they came, and nothing is looked at. Promised is no more than
what is remembered: a collector that could not send for longer than `MOST_TRADES` trades of a symbol doubles those before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from daedalus.records import CHANNELS, Record, Trade
from daedalus.wire import append_record, array, decode_records

MOST_TRADES = 5_000
MOST_STATES = 1_000
"""Of anything but trades, for each symbol with several collectors."""
COMPARED = CHANNELS.keys() - {"raw", "gap"}
KEPT_BYTES = {channel: 64_000 if channel == "trade" else 32_000 for channel in COMPARED}
"""Of each symbol with one collector: 500 trades and more."""
SAME_STATE_NS = 60 * 10**9
ALONE_NS = 600 * 10**9
"""After so long without a second collector a series is taken for one's again."""

Series = tuple[str, str, str]
"""Exchange, channel, symbol."""


class _Memory:
    __slots__ = ("instance", "kept", "kept_bytes", "limit_bytes", "mixed_ns", "seen")

    def __init__(self, instance: str, limit_bytes: int) -> None:
        self.instance = instance
        self.limit_bytes = limit_bytes
        self.kept: deque[tuple[int, bytes]] = deque()
        """How many, and the records encoded: the same bytes that wait in an open segment, as long as they do."""
        self.kept_bytes = 0
        self.seen: OrderedDict[object, tuple[str, int]] | None = None
        """What a record is known by → who recorded it first, and when; None while there is one collector."""
        self.mixed_ns = 0

    def keep(self, count: int, encoded: bytes) -> None:
        self.kept.append((count, encoded))
        self.kept_bytes += len(encoded)
        while self.kept_bytes > self.limit_bytes and len(self.kept) > 1:
            self.kept_bytes -= len(self.kept.popleft()[1])


class Merger:
    """The series of one shard."""

    def __init__(self) -> None:
        self._memories: dict[Series, _Memory] = {}

    def merged(self, series: Series, instance: str, encoded: bytes, records: Sequence[Record]) -> tuple[bytes, int]:
        """The encoded records without those that another collector has recorded already, and how many are left."""
        memory = self._memories.get(series)
        if memory is None:
            limit = KEPT_BYTES.get(series[1])
            if limit is None:
                return encoded, len(records)  # gaps: each replica has its own
            memory = self._memories[series] = _Memory(instance, limit)
        if memory.instance == instance and memory.seen is None:
            memory.keep(len(records), encoded)
            return encoded, len(records)
        kept = self._compared(memory, series[1], instance, records)
        if len(kept) == len(records):
            return encoded, len(kept)
        buffer = bytearray()
        for record in kept:
            append_record(buffer, record)
        return bytes(buffer), len(kept)

    def _compared(self, memory: _Memory, channel: str, instance: str, records: Sequence[Record]) -> Sequence[Record]:
        if not records:
            return records
        if memory.seen is None:
            memory.seen = OrderedDict()
            for count, encoded in memory.kept:
                _new(memory.seen, channel, memory.instance, decode_records(channel, array(count, encoded)))
            memory.kept.clear()
            memory.kept_bytes = 0
        now_ns = records[-1].received_ns
        if memory.instance != instance:
            memory.instance, memory.mixed_ns = instance, now_ns
        kept = _new(memory.seen, channel, instance, records)
        if now_ns - memory.mixed_ns > ALONE_NS:
            memory.seen = None
        return kept


def _new(
    seen: OrderedDict[object, tuple[str, int]], channel: str, instance: str, records: Sequence[Record]
) -> list[Record]:
    """The records that are not known from another collector; all are remembered."""
    kept = []
    for record in records:
        known_by = _identity(record)
        if known_by is None:
            kept.append(record)
            continue
        before = seen.get(known_by)
        if before is None:
            same = False
        elif channel == "trade":
            same = True
        else:
            same = before[0] != instance and abs(record.received_ns - before[1]) <= SAME_STATE_NS
        if not same:
            seen[known_by] = (instance, record.received_ns)
            seen.move_to_end(known_by)
            kept.append(record)
    most = MOST_TRADES if channel == "trade" else MOST_STATES
    while len(seen) > most:
        seen.popitem(last=False)
    return kept


def _identity(record: Record) -> object:
    if isinstance(record, Trade):
        return record.id
    return hash(tuple([getattr(record, name) for name in _STATE[type(record)]]))


_STATE = {
    record: [name for name in record.__struct_fields__ if name not in ("received_ns", "nonce")]
    for record in CHANNELS.values()
}
