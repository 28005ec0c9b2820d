"""Reads a Parquet segment whole: footer, every page with its checksum, every row. Memory: about one row group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daedalus.catalog import SCHEMA_VERSION
from daedalus_writer.layout import partition_values
from daedalus_writer.verify.contents import Contents, Footer, read_footer
from daedalus_writer.verify.defect import Defect, expect
from daedalus_writer.verify.ids import Ids
from daedalus_writer.verify.versions import check_schema

_BATCH_ROWS = 4_096
_CONSTANT_TEXT = ("exchange", "symbol")


def read_parquet(path: Path) -> Contents:
    """Raises Defect, OSError, pyarrow.ArrowException."""
    metadata = pq.read_metadata(path)
    footer = read_footer(metadata.metadata)
    check_schema(footer.channel, footer.schema_version, SCHEMA_VERSION, metadata.schema.to_arrow_schema())
    expect("the rows that daedalus.rows tells:", footer.rows, metadata.num_rows)
    options = {"metadata": metadata, "read_dictionary": _CONSTANT_TEXT, "page_checksum_verification": True}
    with pq.ParquetFile(path, **options) as file:
        contents, ids = Contents(footer.key), Ids()
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            _check_batch(contents, batch)
            if footer.channel == "trade":
                ids.add(batch.column("id").to_pylist())
        _check_footer(footer, contents)
        ids.check(lambda: _ids(file))
    contents.gaps_about = footer.gaps
    return contents


def _check_batch(contents: Contents, batch: pa.RecordBatch) -> None:
    """Columns that must not be null cannot be: the schema was compared."""
    for name, value in partition_values(contents.key).items():
        column = batch.column(name)
        present = column.unique().to_pylist() if isinstance(value, str) else list(pc.min_max(column).as_py().values())
        for other in present:
            expect(f"{name} to be, in every row,", value, other)
    received = pc.min_max(batch.column("received_ns"))
    contents.add(batch.num_rows, received["min"].as_py(), received["max"].as_py())
    if contents.key.channel == "gap":
        _add_gaps(contents, batch)


def _add_gaps(contents: Contents, batch: pa.RecordBatch) -> None:
    names = ("exchange", "symbol", "channel", "cause", "from_ns", "to_ns", "records")
    for exchange, symbol, channel, cause, from_ns, to_ns, records in zip(
        *(batch.column(name).to_pylist() for name in names), strict=True
    ):
        contents.gaps.add((exchange, symbol, channel), cause, to_ns - from_ns, records)


def _check_footer(footer: Footer, contents: Contents) -> None:
    expect("rows:", footer.rows, contents.rows)
    expect("daedalus.format", "parquet", footer.format)
    for name in ("first_received_ns", "last_received_ns"):
        expect(f"daedalus.{name} to be, as in the rows,", getattr(contents, name), getattr(footer, name))
    if not 0 < footer.first_sequence <= footer.last_sequence:
        raise Defect("daedalus.first_sequence not above last_sequence", (footer.first_sequence, footer.last_sequence))
    if footer.rows == 0:
        raise Defect("rows", "none")


def _ids(file: pq.ParquetFile) -> Iterator[str | None]:
    for batch in file.iter_batches(_BATCH_ROWS, columns=["id"], use_threads=False):
        yield from batch.column(0).to_pylist()
