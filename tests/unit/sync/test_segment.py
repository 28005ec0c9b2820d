"""Segments from catalog entries and from files."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.catalog import Replaced
from daedalus.errors import PermanentError
from daedalus_sync.segment import from_entry, from_file, is_segment
from support.segments import entry_of, path_of


def test_entry_and_file_agree() -> None:
    """A file's path says the same as its catalog entry: subject and path."""
    entry = entry_of(path_of(7), b"data")
    by_entry, by_file = from_entry(entry), from_file(entry.path, 4, entry.sha256, 1)
    assert by_entry.subject == by_file.subject == "uploads.0.kraken.trade.BTC-USD"
    assert msgspec.structs.replace(by_entry, rows=None) == by_file


def test_path_without_columns() -> None:
    """Where partition_by leaves columns out, the subject has `_` for them."""
    assert from_file("ccxt/trade/year=2026/segment_1.parquet", 1, "00", 4).subject == "uploads.0._.trade._"


@pytest.mark.parametrize("path", ["/etc/segment_1.parquet", "a/../../segment_1.parquet", "ccxt/trade/passwd", ""])
def test_path_outside_ready(path: str) -> None:
    """A path that is none of a segment below ready/ is refused."""
    with pytest.raises(PermanentError, match="below ready/"):
        from_entry(msgspec.structs.replace(entry_of(path_of(1), b""), path=path))


def test_replaced_segments() -> None:
    """They lie in the same directory; any other name is refused, for objects are deleted by it."""
    replaced = Replaced(name="segment_1.parquet", sha256="00", first_sequence=1, last_sequence=2)
    entry = msgspec.structs.replace(entry_of(path_of(1), b""), replaces=(replaced,))
    segment = from_entry(entry)
    assert segment.replaces == ((f"{path_of(1).rpartition('/')[0]}/segment_1.parquet", "00"),)
    assert segment.subject == "uploads.0.kraken.trade.BTC-USD"
    for name in ("../segment_1.parquet", "notes.txt", ""):
        wrong = msgspec.structs.replace(replaced, name=name)
        with pytest.raises(PermanentError, match="names of segments"):
            from_entry(msgspec.structs.replace(entry, replaces=(wrong,)))


def test_content_type() -> None:
    """Both formats have their media type."""
    assert from_file("x/segment_1.parquet", 1, "00", 1).content_type == "application/vnd.apache.parquet"
    assert from_file("x/segment_1.ndjson.zst", 1, "00", 1).content_type == "application/zstd"


def test_other_files_are_no_segments() -> None:
    """What the writer does not make is not uploaded."""
    assert is_segment("segment_20260531T04_00001.ndjson.zst")
    assert not any(map(is_segment, ["notes.txt", ".segment_1.parquet", "segment_1.parquet.tmp", "x.parquet"]))
