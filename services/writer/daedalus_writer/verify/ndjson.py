"""Reads an NDJSON segment whole: it has no footer, so its rows and its path are all that speaks for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any

import msgspec
import pyarrow as pa

from daedalus.naming import token_symbol
from daedalus_writer.layout import Key, partition_values
from daedalus_writer.schema import LEVELS, SCHEMAS
from daedalus_writer.verify.contents import Contents
from daedalus_writer.verify.defect import Defect, expect
from daedalus_writer.verify.ids import Ids
from daedalus_writer.verify.versions import ADDED, columns

_CHUNK_BYTES = 1 << 20
_LONGEST_ROW_BYTES = 16 << 20
"""A book of 10,000 levels is a tenth of this."""

_LEVEL = msgspec.defstruct("Level", [("price", float), ("amount", float)], forbid_unknown_fields=True)
_TYPES: dict[pa.DataType, Any] = {
    pa.string(): str,
    pa.int32(): int,
    pa.int64(): int,
    pa.float64(): float,
    pa.binary(): bytes,
    LEVELS: list[_LEVEL],  # type: ignore[valid-type]  # made at run time, as the rows are
}


def _row_type(channel: str) -> type[Any]:
    """A row of the channel; times are integers. Columns that came later may be absent: nothing tells the version."""
    fields: list[Any] = []
    for field in SCHEMAS[channel]:
        kind = int if pa.types.is_timestamp(field.type) else _TYPES[field.type]
        one = (field.name, kind | NoneType if field.nullable else kind)
        fields.append((*one, None) if (channel, field.name) in ADDED else one)
    return msgspec.defstruct(channel, fields, forbid_unknown_fields=True, gc=False)


_DECODERS = {channel: msgspec.json.Decoder(_row_type(channel)) for channel in SCHEMAS}


def read_ndjson(path: Path, channel: str | None) -> Contents:
    """`channel` None: the names of the first row tell. Raises Defect, OSError, pyarrow.ArrowException."""
    contents: Contents | None = None
    ids = Ids()
    for lines in read_lines(path):
        channel = channel or _channel(lines)
        try:
            rows = _DECODERS[channel].decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Defect(f"rows of the channel {channel}", error) from error
        contents = contents or Contents(_key(channel, rows[0]))
        _check_rows(contents, rows)
        if channel == "trade":
            ids.add(row.id for row in rows)
    if contents is None:
        raise Defect("rows", "none")
    ids.check(lambda: _ids(path))
    return contents


def read_lines(path: Path) -> Iterator[bytes]:
    """Whole lines, about a megabyte of them at a time."""
    rest = b""
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield whole
            if len(rest) > _LONGEST_ROW_BYTES:
                raise Defect(f"a row of at most {_LONGEST_ROW_BYTES:,} bytes", "a longer one")
    if rest:
        raise Defect("the last row to end", f"{rest[:40]!r}")


def _channel(lines: bytes) -> str:
    try:
        names = list(msgspec.json.decode(lines.partition(b"\n")[0], type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Defect("a JSON object in each line", error) from error
    for channel in SCHEMAS:
        if names[: len(columns(channel, 1))] == [field.name for field in columns(channel, 1)]:
            return channel
    raise Defect(f"the columns of one of {', '.join(SCHEMAS)}", ", ".join(names))


def _key(channel: str, row: Any) -> Key:
    try:
        hour = int(datetime(row.year, row.month, row.day, row.hour, tzinfo=UTC).timestamp()) // 3600
        return Key(row.exchange, channel, token_symbol(row.symbol), hour)
    except ValueError as error:
        raise Defect("year, month, day, hour and symbol of a path", error) from error


def _check_rows(contents: Contents, rows: list[Any]) -> None:
    for name, value in partition_values(contents.key).items():
        for row in rows:
            if getattr(row, name) != value:
                expect(f"{name} to be, in every row,", value, getattr(row, name))
    received = [row.received_ns for row in rows]
    contents.add(len(rows), min(received), max(received))
    if contents.key.channel == "gap":
        for row in rows:
            key = (row.exchange, row.symbol, row.channel)
            contents.gaps.add(key, row.cause, row.to_ns - row.from_ns, row.records)


def _ids(path: Path) -> Iterator[str | None]:
    for lines in read_lines(path):
        for row in _DECODERS["trade"].decode_lines(lines):
            yield row.id
