"""The rows of several segments in the order in which they were received, in the memory of a few batches."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daedalus.catalog import SCHEMA_VERSION, Entry
from daedalus_writer.schema import SCHEMAS
from daedalus_writer.spool import ROW_GROUP_BYTES, ROW_GROUP_ROWS
from daedalus_writer.verify.ndjson import read_lines
from daedalus_writer.verify.versions import columns

_BATCH_ROWS = 4_096
_ARROW_FACTOR = 2
"""A record in Arrow, with its partition columns, is about twice as large as encoded."""
MOST_OPEN = 8
"""Segments that are read at the same time. Those of one key follow each other in the stream: with several collectors each
overlaps with the next one by seconds."""
LINE = "line"


class Source(msgspec.Struct, frozen=True):
    """The rows of one segment."""

    first_received_ns: int
    last_received_ns: int
    batches: Callable[[], Iterator[pa.RecordBatch]]


def source(entry: Entry, path: Path) -> Source:
    """Its batches have the columns of the newest version; those of NDJSON are lines, and when each was received."""
    read = _parquet if entry.format == "parquet" else _ndjson
    return Source(entry.first_received_ns, entry.last_received_ns, lambda: read(entry, path))


def merged(sources: Sequence[Source]) -> Iterator[pa.RecordBatch]:
    """All rows in row groups, by receive time where sources overlap; a source's rows of one moment stay in their order.

    Where more than `MOST_OPEN` overlap at one moment, which no writer makes, the order is not kept between all of them.
    """
    return _row_groups(_interleaved(sources))


def _interleaved(sources: Sequence[Source]) -> Iterator[pa.RecordBatch]:
    waiting = deque(sorted(sources, key=lambda one: one.first_received_ns))
    heads: list[tuple[Iterator[pa.RecordBatch], pa.RecordBatch]] = []
    while waiting or heads:
        while waiting and len(heads) < MOST_OPEN and (not heads or waiting[0].first_received_ns <= _until(heads)):
            reader = waiting.popleft().batches()
            heads += ((reader, batch) for batch in itertools.islice(reader, 1))
        until, parts, left = _until(heads), [], []
        for reader, batch in heads:
            later = pc.index(pc.greater(batch["received_ns"], until), pa.scalar(value=True)).as_py()
            rows = batch.num_rows if later == -1 else later
            parts.append(batch.slice(0, rows))
            rest = batch.slice(rows) if rows < batch.num_rows else next(reader, None)
            left += [] if rest is None else [(reader, rest)]
        heads = left
        together = pa.concat_batches(parts)
        yield together if len(parts) == 1 else together.take(pc.sort_indices(together["received_ns"]))  # it is stable


def _until(heads: list[tuple[Iterator[pa.RecordBatch], pa.RecordBatch]]) -> int:
    """Up to this receive time the batches at hand have all rows of their sources."""
    return min(int(pc.max(batch["received_ns"]).as_py()) for _, batch in heads)


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    parts: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        parts.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= ROW_GROUP_ROWS or size >= _ARROW_FACTOR * ROW_GROUP_BYTES:
            yield pa.concat_batches(parts)
            parts, rows, size = [], 0, 0
    if parts:
        yield pa.concat_batches(parts)


def _parquet(entry: Entry, path: Path) -> Iterator[pa.RecordBatch]:
    schema = SCHEMAS[entry.channel]
    with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            present = set(batch.schema.names)
            arrays = [
                batch[field.name] if field.name in present else pa.nulls(batch.num_rows, field.type) for field in schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Received(msgspec.Struct):
    received_ns: int


_decoder = msgspec.json.Decoder(_Received)


def _ndjson(entry: Entry, path: Path) -> Iterator[pa.RecordBatch]:
    """Lines stay as they are; what came with a later version stands behind everything else."""
    newest, own = columns(entry.channel, SCHEMA_VERSION), columns(entry.channel, entry.schema_version)
    end = "".join(f',"{field.name}":null' for field in newest[len(own) :]).encode() + b"}\n"
    for chunk in read_lines(path):
        lines = chunk.split(b"\n")
        received = [_decoder.decode(line).received_ns for line in lines]
        whole = [line[:-1] + end for line in lines]
        yield pa.RecordBatch.from_arrays([pa.array(received), pa.array(whole, pa.binary())], ["received_ns", LINE])
