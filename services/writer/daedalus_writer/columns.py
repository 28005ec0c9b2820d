"""Records into Arrow columns, in bulk: never record by record into dicts. Which columns, says `daedalus_writer.schema`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import msgspec
import pyarrow as pa

from daedalus.records import CHANNELS, Record
from daedalus_writer.layout import Key, partition_values
from daedalus_writer.schema import COLUMNS, LEVELS, PARTITION, RECEIVED, SCHEMAS, TIME, Column

Fields = Sequence[tuple[Any, ...]]
"""The records' fields, each as a tuple over all records."""


def record_batch(key: Key, records: list[Record]) -> pa.RecordBatch:
    """All records of one key as columns, in their order."""
    values = partition_values(key)
    fields = list(zip(*map(msgspec.structs.astuple, records), strict=True))
    partition = [pa.repeat(pa.scalar(values[column.name], column.type), len(records)) for column in PARTITION]  # type: ignore[index]  # names of PARTITION_COLUMNS
    own = [build(fields) for build in _BUILDERS[key.channel]]
    return pa.RecordBatch.from_arrays([*partition, *own], schema=SCHEMAS[key.channel])


def _builder(channel: str, column: Column) -> Callable[[Fields], pa.Array]:
    """Makes one column of the fields of a channel's records."""
    names = CHANNELS[channel].__struct_fields__
    if column.type == LEVELS:
        prices, amounts = names.index(f"{column.source}_prices"), names.index(f"{column.source}_amounts")
        return lambda fields: _levels(fields[prices], fields[amounts])
    at = names.index(column.source or column.name)
    if column.type != TIME:
        return lambda fields: pa.array(fields[at], column.type)
    if column.source.endswith("_ns"):
        return lambda fields: _microseconds(pa.array(fields[at], pa.int64()))
    return lambda fields: pa.array(fields[at], pa.int64()).cast(TIME)


def _levels(prices: tuple[bytes, ...], amounts: tuple[bytes, ...]) -> pa.Array:
    """One side of all books. Both columns come as float64 already: joined, they are the Arrow buffers."""
    offsets = pa.array(accumulate((len(side) // 8 for side in prices), initial=0), pa.int32())
    level = pa.StructArray.from_arrays([_doubles(prices), _doubles(amounts)], fields=list(LEVELS.value_type))
    return pa.ListArray.from_arrays(offsets, level, type=LEVELS)


def _doubles(sides: tuple[bytes, ...]) -> pa.Array:
    data = pa.py_buffer(b"".join(sides))
    return pa.Array.from_buffers(pa.float64(), data.size // 8, [None, data])


def _microseconds(nanoseconds: pa.Array) -> pa.Array:
    """Rounded down; `timestamp[us]` is what every reader understands."""
    return nanoseconds.cast(pa.timestamp("ns", tz="UTC")).cast(TIME, safe=False)


_BUILDERS = {channel: [_builder(channel, column) for column in (*RECEIVED, *own)] for channel, own in COLUMNS.items()}
