"""The larger file: written in active/, read back, durable. Nothing else knows of it before its entry is in the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from daedalus.catalog import SCHEMA_VERSION, Entry, Replaced
from daedalus.config import Ingestion
from daedalus.errors import PermanentError
from daedalus.naming import staged_name
from daedalus_writer.compact.rows import LINE, merged, source
from daedalus_writer.layout import merged_name
from daedalus_writer.segment_file import NdjsonSegment, ParquetSegment, SegmentWriter, finish
from daedalus_writer.steps import passed
from daedalus_writer.verify.contents import Contents
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.ndjson import read_ndjson
from daedalus_writer.verify.parquet import read_parquet


class MergeError(PermanentError):
    """These segments cannot become one; they stay as they are."""


class _Lines(NdjsonSegment):
    """NDJSON rows that are lines already."""

    def write(self, batch: pa.RecordBatch) -> None:
        self._stream.write(b"".join(batch[LINE].to_pylist()))


def merge(entries: Sequence[Entry], ready: Path, room: Path, ingestion: Ingestion, writer: str) -> Entry:
    """Write one file of these segments of one key, and return its entry. In a thread.

    Raises MergeError when a segment is damaged, or FileNotFoundError when one was deleted; then no file is left.
    """
    for entry in entries:
        _check(entry, ready / entry.path)
    path = str(Path(entries[0].path).parent / merged_name([Path(entry.path).name for entry in entries]))
    staged = room / staged_name(path)
    facts = _facts(entries, writer)
    passed("merging")
    try:
        form = ParquetSegment if entries[0].format == "parquet" else _Lines
        file: SegmentWriter = form(staged, entries[0].channel, ingestion)
        for batch in merged([source(entry, ready / entry.path) for entry in entries]):
            file.write(batch)
        file.close({f"daedalus.{name}": str(value) for name, value in facts.items()})
        size_bytes, sha256 = finish(staged)
        _read_back(staged, facts)
    except (Defect, pa.ArrowException, msgspec.DecodeError) as error:
        staged.unlink(missing_ok=True)
        raise MergeError(f"{path}: {error}") from error
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    replaces = [_replaced(entry) for entry in entries]
    told = {"path": path, "size_bytes": size_bytes, "sha256": sha256, "replaces": replaces}
    return msgspec.convert({**facts, **told}, Entry)


def _replaced(entry: Entry) -> dict[str, str | int]:
    replaced = Replaced(
        name=Path(entry.path).name,
        sha256=entry.sha256,
        first_sequence=entry.first_sequence,
        last_sequence=entry.last_sequence,
    )
    return msgspec.structs.asdict(replaced)


def _check(entry: Entry, path: Path) -> None:
    """A damaged segment is never made part of a sound one."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.sha256:
        raise MergeError(f"{entry.path}: expected SHA-256 {entry.sha256} of its commit, found {found}")


def _facts(entries: Sequence[Entry], writer: str) -> dict[str, str | int]:
    """What the footer says; the entry says the same, as `commit.Sealer` does it."""
    last = entries[-1]
    return {
        "exchange": last.exchange,
        "channel": last.channel,
        "symbol": last.symbol,
        "market_id": last.market_id,
        "hour": last.hour,
        "rows": sum(entry.rows for entry in entries),
        "format": last.format,
        "schema_version": SCHEMA_VERSION,
        "shard": last.shard,
        "first_sequence": min(entry.first_sequence for entry in entries),
        "last_sequence": max(entry.last_sequence for entry in entries),
        "last_timestamp_ns": last.last_timestamp_ns,
        "first_received_ns": min(entry.first_received_ns for entry in entries),
        "last_received_ns": max(entry.last_received_ns for entry in entries),
        "gaps": sum(entry.gaps for entry in entries),
        "writer": writer,
    }


def _read_back(staged: Path, facts: dict[str, str | int]) -> None:
    """Every page and every row, because the originals go. Raises Defect, also for a trade that is in two of them."""
    contents: Contents = (
        read_parquet(staged) if facts["format"] == "parquet" else read_ndjson(staged, str(facts["channel"]))
    )
    found = (contents.rows, contents.first_received_ns, contents.last_received_ns)
    expected = tuple(facts[name] for name in ("rows", "first_received_ns", "last_received_ns"))
    if found != expected:
        raise Defect(f"rows, first and last receive time {expected}", found)
