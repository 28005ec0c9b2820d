"""What must hold when everything has come right again."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
import nats.errors
import pyarrow.parquet as pq

from daedalus.catalog import Entry, decode_checkpoint, decode_entry
from daedalus.errors import FencedError, TransientError
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, shard_stream
from daedalus.records import Trade
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.layout import Key
from daedalus_writer.segment_file import read_rows
from simulation import plain_segment
from simulation.market import CHANNEL, EXCHANGE
from simulation.world import World

Rows = list[tuple[Key, bytes]]


def check(world: World) -> None:
    """Raises AssertionError with what is not as it must be."""
    for ending in world.writers.endings:
        _check_ending(ending)
    ready, active = world.root / "raw" / "ready", world.root / "raw" / "active"
    files = {str(path.relative_to(ready)): path for path in sorted(ready.rglob("*")) if path.is_file()}
    left = [str(path.relative_to(active)) for path in active.rglob("*")]
    assert not left, f"expected nothing in active/, found {left}"
    entries = [entry for _, entry in _entries(world)]
    paths = sorted(entry.path for entry in entries)
    without = set(files) - set(paths)
    if any(fault == "clock_forward" for _, fault in world.plan.faults):
        without -= world.lost_entries  # recovery looks for them ten minutes back, by a clock that went on for two hours
    assert not without, f"expected an entry for each file, found none for {sorted(without)}"
    assert paths == sorted(set(paths) & set(files)), (
        f"expected a file for each entry, found {sorted(files)} for {paths}"
    )
    found: Counter[tuple[Key, bytes]] = Counter()
    segments = {path: _rows(file, parquet=world.plan.parquet) for path, file in files.items()}
    for entry in entries:
        _check_segment(entry, files[entry.path], segments[entry.path], parquet=world.plan.parquet)
    for rows in segments.values():
        found.update(rows)
    _check_rows(world, found)
    for shard in range(world.plan.shards):
        _check_checkpoint(world, shard)


def _check_ending(ending: BaseException) -> None:
    """A writer's process may end because it was fenced off, and while it starts because JetStream does not answer; it is
    started again. A full disk it waits for.
    """
    if isinstance(ending, BaseExceptionGroup):
        for one in ending.exceptions:
            _check_ending(one)
    else:
        expected = (FencedError, TransientError, nats.errors.Error)
        assert isinstance(ending, expected), f"expected a writer to end by one of {expected}, found {ending!r}"


def _entries(world: World) -> list[tuple[int, Entry]]:
    """Each with its sequence."""
    messages = world.server.stream(CATALOG_STREAM).messages.values()
    return [(one.sequence, decode_entry(one.data)) for one in messages if not one.subject.endswith(".owner")]


def _check_segment(entry: Entry, path: Path, rows: Rows, *, parquet: bool) -> None:
    """A file is complete, and it, its footer and its entry say the same."""
    data = path.read_bytes()
    assert (entry.size_bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest()), f"{entry.path} is damaged"
    assert entry.rows == len(rows), f"{entry.path}: expected {entry.rows} rows, found {len(rows)}"
    key = Key(entry.exchange, entry.channel, entry.symbol, entry.hour)
    assert {found for found, _ in rows} == {key}, f"{entry.path} has rows of others"
    footer = (pq.read_metadata(path) if parquet else plain_segment.read_metadata(path)).metadata
    for name, value in msgspec.to_builtins(entry).items():
        if name not in ("path", "size_bytes", "sha256"):
            told = footer[f"daedalus.{name}".encode()].decode()
            assert told == str(value), f"{entry.path}: expected {name} {value} in the footer, found {told}"


def _check_rows(world: World, found: Counter[tuple[Key, bytes]]) -> None:
    """Each acknowledged record is there once. What a power cut took from a server that had not synced it may be there,
    because it was committed before, and twice, if its collector had to send it again.
    """
    for batch in world.market.batches.values():
        assert batch.acknowledged
        least, most = 1, 1 + batch.lost
        if batch.lost and not any(
            world.server.stream(shard_stream(shard)).duplicate(batch.message_id) for shard in range(world.plan.shards)
        ):
            least = 0
        for row in batch.rows:
            times = found.pop(row, 0)
            assert least <= times <= most, (
                f"batch {batch.message_id} (lost {batch.lost} times): expected {least} to {most} times, "
                f"found {times} times {row}"
            )
    assert not found, f"expected no other rows, found {list(found)}"


def _check_checkpoint(world: World, shard: int) -> None:
    """What the checkpoint passes over in the catalog is committed for good: no entry there reaches behind it. The last
    checkpoint may be an old one that came late.
    """
    stored = world.server.message(f"KV_{CHECKPOINT_BUCKET}", None, f"$KV.{CHECKPOINT_BUCKET}.{shard}")
    checkpoint = decode_checkpoint(stored.data)
    if world.lost_entries or any(batch.lost for batch in world.market.batches.values()):
        return  # sequences were used again, and say nothing
    for sequence, entry in _entries(world):
        if entry.shard == shard and sequence < checkpoint.catalog_sequence:
            assert entry.last_sequence <= checkpoint.sequence, f"expected {checkpoint} to cover {entry}"


def _rows(path: Path, *, parquet: bool) -> Rows:
    if not parquet:
        return plain_segment.read_records(path)
    found = []
    for row in read_rows(path):
        record = Trade(row["received_ns"], None, row["id"], row["price"], row["amount"], row["side"])
        symbol = str(row["symbol"]).replace("-", "/")
        found.append((Key(EXCHANGE, CHANNEL, symbol, record.received_ns // NS_PER_HOUR), msgspec.json.encode(record)))
    return found
