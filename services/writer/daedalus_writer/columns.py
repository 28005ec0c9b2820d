"""Records into Arrow columns, in bulk: never record by record into dicts. Which columns, says `daedalus_writer.schema`.

First a piece of the records at a time becomes columns of the fields that they travel as, while it is in the processor's
cache: for the rows of a whole group at once that takes twice as long. Then all together become the columns of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from daedalus.records import CHANNELS, Record
from daedalus_writer.layout import Key, partition_values
from daedalus_writer.schema import COLUMNS, LEVELS, PARTITION, RECEIVED, SCHEMAS, TIME, Column


def record_batch(key: Key, pieces: Iterable[Sequence[Record]]) -> pa.RecordBatch:
    """All records of one key as columns, in their order."""
    fields = pa.concat_batches([_fields(key.channel, records) for records in pieces])
    values = partition_values(key)
    partition = [pa.repeat(pa.scalar(values[column.name], column.type), fields.num_rows) for column in PARTITION]  # type: ignore[index]  # names of PARTITION_COLUMNS
    own = [build(fields) for build in _BUILDERS[key.channel]]
    return pa.RecordBatch.from_arrays([*partition, *own], schema=SCHEMAS[key.channel])


def _fields(channel: str, records: Sequence[Record]) -> pa.RecordBatch:
    schema = _FIELDS[channel]
    fields = zip(*map(msgspec.structs.astuple, records), strict=True)
    return pa.RecordBatch.from_arrays(list(map(pa.array, fields, schema.types)), schema=schema)


def _builder(column: Column) -> Callable[[pa.RecordBatch], pa.Array]:
    """Makes one column of the fields of a channel's records."""
    if column.type == LEVELS:
        return lambda fields: _levels(fields[f"{column.source}_prices"], fields[f"{column.source}_amounts"])
    source = column.source or column.name
    if column.type != TIME:
        return lambda fields: fields[source]
    if source.endswith("_ns"):
        return lambda fields: _microseconds(fields[source])
    return lambda fields: fields[source].cast(TIME)


def _levels(prices: pa.Array, amounts: pa.Array) -> pa.Array:
    """One side of all books. Both come as columns of bytes, and what these have in their buffers are the float64."""
    offsets = pa.Array.from_buffers(pa.int32(), len(prices) + 1, [None, prices.buffers()[1]])
    level = pa.StructArray.from_arrays([_doubles(prices), _doubles(amounts)], fields=list(LEVELS.value_type))
    return pa.ListArray.from_arrays(pc.shift_right(offsets, _BYTES_SHIFT), level, type=LEVELS)


def _doubles(sides: pa.Array) -> pa.Array:
    data = sides.buffers()[2]
    return pa.Array.from_buffers(pa.float64(), data.size // 8, [None, data])


def _microseconds(nanoseconds: pa.Array) -> pa.Array:
    """Rounded down; `timestamp[us]` is what every reader understands."""
    return nanoseconds.cast(pa.timestamp("ns", tz="UTC")).cast(TIME, safe=False)


def _fields_schema(channel: str) -> pa.Schema:
    """A record's fields in their order: times are integers, and one side of a book is two columns of bytes."""
    types: dict[str, pa.DataType] = {}
    for column in (*RECEIVED, *COLUMNS[channel]):
        if column.type == LEVELS:
            types |= {f"{column.source}_prices": pa.binary(), f"{column.source}_amounts": pa.binary()}
        else:
            types[column.source or column.name] = pa.int64() if column.type == TIME else column.type
    return pa.schema([(name, types[name]) for name in CHANNELS[channel].__struct_fields__])


_BYTES_SHIFT = pa.scalar(3, pa.int32())
"""From bytes to float64."""
_FIELDS = {channel: _fields_schema(channel) for channel in COLUMNS}
_BUILDERS = {channel: [_builder(column) for column in (*RECEIVED, *own)] for channel, own in COLUMNS.items()}
