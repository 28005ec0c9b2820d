"""The two forms of a segment file: Parquet, and NDJSON in zstd. Written once, from the spool, and fsynced.

The Parquet settings are measured on market data: integers and times delta-encoded, doubles plain (zstd finds the
repeated ladders of order books in plain pages, dictionaries and byte-splitting hide them), 4 MiB pages, checksums.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.config import Ingestion
from daedalus_writer.schema import SCHEMAS

_DICTIONARY = ("exchange", "symbol", "side", "source", "channel", "cause", "timeframe", "interval", "connection")
"""Text with few values; everything else gets the encoding of its type."""


class SegmentWriter(ABC):
    """Writes record batches into a new file. The caller has created the directory."""

    suffix: str

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None: ...

    @abstractmethod
    def close(self, metadata: Mapping[str, str]) -> None:
        """Finish the file, with what is known at the end."""


class ParquetSegment(SegmentWriter):
    suffix = "parquet"

    def __init__(self, path: Path, channel: str, ingestion: Ingestion) -> None:
        schema = SCHEMAS[channel]
        compression = ingestion.parquet_compression
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression=compression,
            compression_level=ingestion.parquet_compression_level if compression == "zstd" else None,
            use_dictionary=[name for name in schema.names if name in _DICTIONARY],
            column_encoding={field.name: encoding for field in schema if (encoding := _encoding(field)) is not None},
            data_page_size=4 << 20,
            write_page_checksum=True,
            write_statistics=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """One row group."""
        self._writer.write_batch(batch, row_group_size=batch.num_rows)

    def close(self, metadata: Mapping[str, str]) -> None:
        self._writer.add_key_value_metadata(dict(metadata))
        self._writer.close()


class NdjsonSegment(SegmentWriter):
    """One JSON object per row; times are integers in microseconds, as `received_ns` is one in nanoseconds; bytes are base64."""

    suffix = "ndjson.zst"

    def __init__(self, path: Path, _channel: str, _ingestion: Ingestion) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.CompressedOutputStream(self._file, "zstd")  # at its default level; it takes no other

    def write(self, batch: pa.RecordBatch) -> None:
        rows = pa.RecordBatch.from_arrays(list(map(_as_json, batch.columns)), names=batch.schema.names).to_pylist()
        self._stream.write("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode())

    def close(self, metadata: Mapping[str, str]) -> None:
        """What Parquet has in its footer stands in the catalog entry only: a line of another form would break readers."""
        del metadata
        self._stream.close()
        self._file.close()


FORMATS: dict[str, type[ParquetSegment | NdjsonSegment]] = {"parquet": ParquetSegment, "ndjson": NdjsonSegment}


def finish(path: Path) -> tuple[int, str]:
    """Make a written file durable; returns its size in bytes and its SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    sync_directory(path.parent)
    return path.stat().st_size, digest.hexdigest()


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path, below: Path) -> None:
    """Create a directory and make it, and each of its new parents down from `below`, durable."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == below:
            break
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of either form, for checks and tests."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
        return
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        for line in stream.read().splitlines():
            yield json.loads(line)


def _as_json(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if pa.types.is_binary(column.type):
        return pa.array([base64.b64encode(value).decode() for value in column.to_pylist()], pa.string())
    return column


def _encoding(field: pa.Field) -> str | None:
    if field.name in _DICTIONARY:
        return None
    if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_string(field.type):
        return "DELTA_BYTE_ARRAY"
    return None
