"""Records into Arrow columns, in bulk: never record by record into dicts.

Each schema begins with the partition columns (the same values as in the path) and the receive time, then the channel's
own. What an analyst reads about them is docs/data.md; a test holds the two together.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import msgspec
import pyarrow as pa

from daedalus.records import Record
from daedalus_writer.layout import Key, partition_values

_TIME = pa.timestamp("us", tz="UTC")
LEVELS = pa.list_(
    pa.struct([pa.field("price", pa.float64(), nullable=False), pa.field("amount", pa.float64(), nullable=False)])
)

_PARTITION = [
    pa.field("exchange", pa.string(), nullable=False),
    pa.field("symbol", pa.string(), nullable=False),
    pa.field("year", pa.int32(), nullable=False),
    pa.field("month", pa.int32(), nullable=False),
    pa.field("day", pa.int32(), nullable=False),
    pa.field("hour", pa.int32(), nullable=False),
]
_RECEIVED = [
    pa.field("received_at", _TIME, nullable=False),
    pa.field("received_ns", pa.int64(), nullable=False),
]
_TICKER = (
    "last",
    "bid",
    "bid_amount",
    "ask",
    "ask_amount",
    "open",
    "high",
    "low",
    "vwap",
    "base_volume",
    "quote_volume",
)

_OWN: dict[str, list[pa.Field]] = {
    "trade": [
        pa.field("timestamp", _TIME),
        pa.field("id", pa.string()),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("side", pa.string()),
        pa.field("source", pa.string()),
    ],
    "ticker": [pa.field("timestamp", _TIME), *(pa.field(name, pa.float64()) for name in _TICKER)],
    "orderbook": [
        pa.field("timestamp", _TIME),
        pa.field("nonce", pa.int64()),
        pa.field("bids", LEVELS, nullable=False),
        pa.field("asks", LEVELS, nullable=False),
    ],
    "gap": [
        pa.field("channel", pa.string(), nullable=False),
        pa.field("cause", pa.string(), nullable=False),
        pa.field("from_at", _TIME, nullable=False),
        pa.field("to_at", _TIME, nullable=False),
        pa.field("from_ns", pa.int64(), nullable=False),
        pa.field("to_ns", pa.int64(), nullable=False),
        pa.field("records", pa.int64()),
        pa.field("detail", pa.string(), nullable=False),
    ],
}

SCHEMAS: dict[str, pa.Schema] = {channel: pa.schema([*_PARTITION, *_RECEIVED, *own]) for channel, own in _OWN.items()}
"""Channel → the columns of its files."""


def record_batch(key: Key, records: list[Record]) -> pa.RecordBatch:
    """All records of one key as columns, in their order."""
    schema = SCHEMAS[key.channel]
    values = partition_values(key)
    rows = len(records)
    fields = list(zip(*map(msgspec.structs.astuple, records), strict=True))
    received = pa.array(fields[0], pa.int64())
    columns = [
        *(pa.repeat(pa.scalar(values[field.name], field.type), rows) for field in _PARTITION),
        _microseconds(received),
        received,
        *_BUILDERS[key.channel](fields),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _trade(fields: list[tuple[Any, ...]]) -> list[pa.Array]:
    _, timestamp, identifier, price, amount, side, source = fields
    return [
        pa.array(timestamp, pa.int64()).cast(_TIME),
        pa.array(identifier, pa.string()),
        pa.array(price, pa.float64()),
        pa.array(amount, pa.float64()),
        pa.array(side, pa.string()),
        pa.array(source, pa.string()),
    ]


def _ticker(fields: list[tuple[Any, ...]]) -> list[pa.Array]:
    return [pa.array(fields[1], pa.int64()).cast(_TIME), *(pa.array(field, pa.float64()) for field in fields[2:])]


def _orderbook(fields: list[tuple[Any, ...]]) -> list[pa.Array]:
    _, timestamp, nonce, bid_prices, bid_amounts, ask_prices, ask_amounts = fields
    return [
        pa.array(timestamp, pa.int64()).cast(_TIME),
        pa.array(nonce, pa.int64()),
        _levels(bid_prices, bid_amounts),
        _levels(ask_prices, ask_amounts),
    ]


def _gap(fields: list[tuple[Any, ...]]) -> list[pa.Array]:
    _, channel, cause, from_ns, to_ns, records, detail = fields
    begins, ends = pa.array(from_ns, pa.int64()), pa.array(to_ns, pa.int64())
    return [
        pa.array(channel, pa.string()),
        pa.array(cause, pa.string()),
        _microseconds(begins),
        _microseconds(ends),
        begins,
        ends,
        pa.array(records, pa.int64()),
        pa.array(detail, pa.string()),
    ]


_BUILDERS = {"trade": _trade, "ticker": _ticker, "orderbook": _orderbook, "gap": _gap}


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
    return nanoseconds.cast(pa.timestamp("ns", tz="UTC")).cast(_TIME, safe=False)
