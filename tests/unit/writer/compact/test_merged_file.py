"""The larger file, made of what a writer has sealed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from daedalus.catalog import SCHEMA_VERSION, Entry
from daedalus.config import Ingestion
from daedalus.naming import staged_name
from daedalus_writer.compact.merged_file import MergeError, merge
from daedalus_writer.schema import SCHEMAS
from daedalus_writer.segment_file import finish, read_rows
from daedalus_writer.verify.contents import read_footer
from support.sealed import Sealed


def merged(sealed: Sealed, level: int = 9) -> tuple[Entry, Path]:
    """The entry and the file."""
    room = sealed.ready.parent / "active" / "room"
    room.mkdir(parents=True, exist_ok=True)
    ingestion = Ingestion(parquet_compression_level=level)
    entry = merge(sealed.entries, sealed.ready, room, ingestion, "compact-test")
    return entry, room / staged_name(entry.path)


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
@pytest.mark.parametrize("channel", ["trade", "orderbook", "gap"])
def test_rows_and_facts_of_all(tmp_path: Path, form: str, channel: str) -> None:
    """The same rows in their order, what the footers said together, and what was replaced."""
    sealed = Sealed(tmp_path, form)
    for number, sequences in enumerate([(1, 5), (6, 9), (12, 20)]):
        sealed.segment(channel, sequences=sequences, first_number=50 * number, gaps=number)
    entry, file = merged(sealed)
    before = [row for one in sealed.entries for row in read_rows(sealed.ready / one.path)]
    assert list(read_rows(file)) == before
    assert (
        Path(entry.path).name == f"segment_20260917T11_00001-00003.{'parquet' if form == 'parquet' else 'ndjson.zst'}"
    )
    assert (entry.rows, entry.gaps) == (150, 150 if channel == "gap" else 3)
    assert (entry.first_sequence, entry.last_sequence) == (1, 20)
    assert (entry.first_received_ns, entry.last_received_ns) == (before[0]["received_ns"], before[-1]["received_ns"])
    assert (entry.size_bytes, entry.sha256) == finish(file)
    assert entry.replaced_paths == [one.path for one in sealed.entries]
    assert [one.sha256 for one in entry.replaces] == [one.sha256 for one in sealed.entries]
    assert entry.subject.startswith("catalog.compacted.kraken.")
    if form == "parquet":
        footer = msgspec.structs.asdict(read_footer(pq.read_metadata(file).metadata))
        assert footer == {name: getattr(entry, name) for name in footer}


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_older_versions_get_the_newer_columns(tmp_path: Path, form: str) -> None:
    """A file of version 1 and one of version 2 become one of version 2, with null where nothing is known."""
    sealed = Sealed(tmp_path, form)
    older = sealed.segment(sequences=(1, 5))
    sealed.segment(sequences=(6, 9), first_number=50)
    if form == "parquet":
        table = pq.read_table(older, partitioning=None).drop_columns(["source"])
        pq.write_table(table, older)
    else:
        import pyarrow as pa

        with pa.CompressedInputStream(pa.OSFile(str(older)), "zstd") as stream:
            text = stream.read().replace(b',"source":null}', b"}")
        with pa.CompressedOutputStream(str(older), "zstd") as stream:
            stream.write(text)
    size_bytes, sha256 = finish(older)
    changes = {"size_bytes": size_bytes, "sha256": sha256, "schema_version": 1}
    sealed.entries[0] = msgspec.structs.replace(sealed.entries[0], **changes)
    entry, file = merged(sealed)
    assert entry.schema_version == SCHEMA_VERSION
    rows = list(read_rows(file))
    assert len(rows) == 100
    assert all(list(row) == SCHEMAS["trade"].names and row["source"] is None for row in rows)


@pytest.mark.parametrize("wrong", ["damaged", "doubled"])
def test_what_is_wrong_stays_as_it_is(tmp_path: Path, wrong: str) -> None:
    """A damaged segment and a trade that is in two of them are told, and no file is left."""
    sealed = Sealed(tmp_path)
    first = sealed.segment(sequences=(1, 5))
    sealed.segment(sequences=(6, 9), first_number=49 if wrong == "doubled" else 50)
    if wrong == "damaged":
        first.write_bytes(first.read_bytes()[:-1] + b"X")
    with pytest.raises(MergeError, match="expected SHA-256" if wrong == "damaged" else "49"):
        merged(sealed)
    assert list((sealed.ready.parent / "active" / "room").iterdir()) == []


def test_level_is_used(tmp_path: Path) -> None:
    """A higher level makes a smaller file of the same rows."""
    sealed = Sealed(tmp_path)
    sealed.segment("orderbook", sequences=(1, 5))
    sealed.segment("orderbook", sequences=(6, 9), first_number=50)
    sizes = [merged(sealed, level)[0].size_bytes for level in (1, 19)]
    assert sizes[0] > sizes[1]
