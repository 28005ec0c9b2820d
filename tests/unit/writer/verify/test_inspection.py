"""One file, looked at whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.catalog import SCHEMA_VERSION
from daedalus.records import Trade
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.schema import SCHEMAS
from daedalus_writer.segment_file import read_rows
from daedalus_writer.verify.catalog import Catalog
from daedalus_writer.verify.inspection import Inspector, Result
from daedalus_writer.verify.places import Tree
from daedalus_writer.verify.versions import ADDED
from support.batches import HOUR, MAKE
from support.sealed import Sealed

FORMS = ("parquet", "ndjson")
BEGIN = HOUR * NS_PER_HOUR


def catalog_of(sealed: Sealed) -> Catalog:
    catalog = Catalog()
    for entry in sealed.entries:
        catalog.add(entry)
    return catalog


def inspected(path: Path, catalog: Catalog | None = None) -> Result:
    [result] = Inspector(catalog).results(Tree(path))
    return result


def rewrite(path: Path, table: pa.Table, version: int) -> None:
    """Write other columns under the same metadata, but for the version."""
    metadata = {name: value for name, value in pq.read_metadata(path).metadata.items() if name != b"ARROW:schema"}
    pq.write_table(table.replace_schema_metadata(metadata | {b"daedalus.schema_version": str(version).encode()}), path)


def told(result: Result) -> str:
    return f"{result.defect.kind}: {result.defect}" if result.defect else result.state


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channel", MAKE)
def test_intact_segment_is_complete(tmp_path: Path, channel: str, form: str) -> None:
    """What a writer has sealed is complete, with the catalog and without, in its place and as a copy."""
    sealed = Sealed(tmp_path, form)
    path = sealed.segment(channel)
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    for where in (path, copy):
        for catalog in (None, catalog_of(sealed)):
            result = inspected(where, catalog)
            assert (told(result), result.rows, result.size_bytes) == ("complete", 50, path.stat().st_size)
            assert result.gaps.count == (50 if channel == "gap" else 0)
    assert inspected(copy, catalog_of(sealed)).entry_path == sealed.entries[0].path


@pytest.mark.parametrize("form", FORMS)
def test_gaps_about_a_segment_are_seen(tmp_path: Path, form: str) -> None:
    """A segment that a gap is about is complete with gaps; only the catalog knows it of NDJSON."""
    sealed = Sealed(tmp_path, form)
    path = sealed.segment(gaps=2)
    assert inspected(path, catalog_of(sealed)).state == "gaps"
    assert inspected(path).state == ("gaps" if form == "parquet" else "complete")


Pristine = dict[tuple[str, str], tuple[Path, Catalog]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    """(form, channel) → a segment, and the catalog that has it."""
    made: Pristine = {}
    for form in FORMS:
        sealed = Sealed(tmp_path_factory.mktemp(form), form)
        paths = {channel: sealed.segment(channel) for channel in MAKE}
        made |= {(form, channel): (path, catalog_of(sealed)) for channel, path in paths.items()}
    return made


@settings(max_examples=200)
@given(
    form=st.sampled_from(FORMS),
    channel=st.sampled_from(sorted(MAKE)),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_flipped_bit_is_found(pristine: Pristine, form: str, channel: str, where: float, bit: int) -> None:
    """With the catalog any flipped bit is found. Without, Parquet's own checksums guard the rows: what is not found has
    changed none of them.
    """
    path, catalog = pristine[form, channel]
    original, rows = path.read_bytes(), list(read_rows(path))
    damaged = bytearray(original)
    damaged[int(where * len(original))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        assert told(inspected(path, catalog)).startswith("damaged: expected SHA-256, as the catalog says:")
        if form == "parquet":
            alone = inspected(path)
            assert alone.defect is not None or list(read_rows(path)) == rows
        else:
            inspected(path)
    finally:
        path.write_bytes(original)


def test_footer_without_the_catalog(tmp_path: Path) -> None:
    """No checksum guards the footer: one bit flipped in any third of its bytes is found, or changes no row."""
    path = Sealed(tmp_path).segment()
    original, rows = path.read_bytes(), list(read_rows(path))
    size_bytes = int.from_bytes(original[-8:-4], "little") + 8
    offsets = range(len(original) - size_bytes, len(original), 3)
    found = 0
    for offset in offsets:
        damaged = bytearray(original)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        alone = inspected(path)
        found += alone.defect is not None
        assert alone.defect is not None or list(read_rows(path)) == rows
    assert found > len(offsets) // 4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("left", [0, 3, 100, -1, -9])
def test_truncated_file_is_damaged(tmp_path: Path, form: str, left: int) -> None:
    """A file that lost its end, or all of it, is damaged, with the catalog and without."""
    sealed = Sealed(tmp_path, form)
    path = sealed.segment()
    path.write_bytes(path.read_bytes()[:left])
    assert told(inspected(path)).startswith("damaged: expected ")
    assert told(inspected(path, catalog_of(sealed))).startswith("damaged: expected bytes, as the catalog says: ")


def test_foreign_files_are_damaged(tmp_path: Path) -> None:
    """A Parquet file without our metadata, one that is no Parquet, and a name that is none of ours."""
    pq.write_table(pa.table({"price": [1.0]}), tmp_path / "foreign.parquet")
    (tmp_path / "text.parquet").write_text("not a segment")
    (tmp_path / "notes.txt").touch()
    assert "the metadata daedalus.*, found none: not a segment" in told(inspected(tmp_path / "foreign.parquet"))
    assert "damaged: expected a segment that can be read" in told(inspected(tmp_path / "text.parquet"))
    assert "expected a name that ends with" in told(inspected(tmp_path / "notes.txt"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("old", "new"), [("symbol=BTC-USD", "symbol=ETH-USD"), ("/hour=11/", "/hour=12/")])
def test_file_in_a_wrong_directory_is_damaged(tmp_path: Path, form: str, old: str, new: str) -> None:
    """Rows that contradict their path: a reader that trusts partitions would be misled."""
    sealed = Sealed(tmp_path, form)
    path = sealed.segment()
    moved = Path(str(path).replace(old, new))
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    assert f"expected {old.strip('/')} in the path" in told(inspected(moved, catalog_of(sealed)))


def test_ndjson_of_another_channel_is_damaged(tmp_path: Path) -> None:
    """The names in the rows are those of the channel in the path."""
    path = Sealed(tmp_path, "ndjson").segment("ticker")
    moved = Path(str(path).replace("/ticker/", "/trade/"))
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    assert "expected rows of the channel trade, found Object" in told(inspected(moved))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"price":', '"cost":', "expected rows of the channel trade, found Object contains unknown field `cost`"),
        (
            '"side":',
            '"more":1,"side":',
            "expected rows of the channel trade, found Object contains unknown field `more`",
        ),
        ('"id":"7"', '"id":7', "expected rows of the channel trade, found Expected `str | null`, got `int`"),
        ('"amount":0.001', '"amount":NaN', "expected rows of the channel trade, found JSON is malformed"),
        ('"symbol":"BTC-USD"', '"symbol":"ETH-USD"', "expected symbol=ETH-USD in the path"),
        ('{"exchange":"kraken"', '{"exchange":"binance"', "expected exchange=binance in the path"),
        (
            '"month":9',
            '"month":13',
            "expected year, month, day, hour and symbol of a path, found month must be in 1..12",
        ),
    ],
)
def test_ndjson_row_is_read_strictly(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Names, types and values of every row are looked at."""
    path = Sealed(tmp_path, "ndjson").segment()
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        text = stream.read().decode()
    assert old in text
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(text.replace(old, new).encode())
    assert expected in told(inspected(path))


def test_ndjson_without_its_last_newline_is_damaged(tmp_path: Path) -> None:
    """A last row that does not end may have lost some of its digits."""
    path = Sealed(tmp_path, "ndjson").segment()
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        text = stream.read()
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(text[:-1])
    assert "expected the last row to end" in told(inspected(path))


@pytest.mark.parametrize("form", FORMS)
def test_row_of_another_hour_is_damaged(tmp_path: Path, form: str) -> None:
    """Every row was received within the hour."""
    records = [Trade(BEGIN + offset, None, None, 1.0, 2.0, None) for offset in (0, NS_PER_HOUR)]
    path = Sealed(tmp_path, form).segment(records=records)
    assert "every received_ns within the hour 2026-09-17T11" in told(inspected(path))


@pytest.mark.parametrize("form", FORMS)
def test_trade_that_is_there_twice_is_doubled(tmp_path: Path, form: str) -> None:
    """An id comes once in a file; a trade without one may look like another."""
    ids = ["7", "8", None, None, "7"]
    records = [Trade(BEGIN + number, None, identifier, 1.0, 2.0, None) for number, identifier in enumerate(ids)]
    assert "doubled: expected each id once" in told(inspected(Sealed(tmp_path / "a", form).segment(records=records)))
    assert told(inspected(Sealed(tmp_path / "b", form).segment(records=records[:4]))) == "complete"


def test_catalog_and_file_have_to_agree(tmp_path: Path) -> None:
    """Another checksum, another number of rows, no entry, messages of another segment: each is told."""
    sealed = Sealed(tmp_path)
    path = sealed.segment(sequences=(1, 5))
    [entry] = sealed.entries
    for changes, expected in [
        ({"sha256": "0" * 64}, "damaged: expected SHA-256, as the catalog says: 000"),
        ({"size_bytes": 1}, "damaged: expected bytes, as the catalog says: 1, found "),
        ({"rows": 51}, "damaged: expected the rows of the catalog's entry: 51, found 50"),
        ({"path": "ccxt/other"}, "unknown: expected an entry in the catalog, found none"),
    ]:
        sealed.entries = [msgspec.structs.replace(entry, **changes)]  # type: ignore[arg-type]
        assert told(inspected(path, catalog_of(sealed))).startswith(expected)
    sealed.entries = [entry]
    second = sealed.segment(sequences=(5, 9))
    assert told(inspected(path, catalog_of(sealed))) == "complete"
    assert told(inspected(second, catalog_of(sealed))).startswith(
        "doubled: expected messages that no other segment has"
    )
    old = Catalog(truncated=True)
    old.first_hour = HOUR
    assert (told(inspected(path, old)), inspected(path, old).not_compared) == ("complete", True)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rows", "49", "the rows that daedalus.rows tells: 49, found 50"),
        ("symbol", "ETH/USD", "symbol to be, in every row, ETH-USD, found BTC-USD"),
        ("hour", str(HOUR + 1), "hour to be, in every row, 12, found 11"),
        ("last_received_ns", str(BEGIN), "daedalus.last_received_ns to be, as in the rows,"),
        ("first_received_ns", "x", "the metadata daedalus.* of a segment, found Expected `int`"),
        ("first_sequence", "9", "daedalus.first_sequence not above last_sequence"),
        ("channel", "ticker", "damaged: expected the column last: double, found id: string"),
        ("channel", "trades", "daedalus.channel to be one of trade, ticker"),
        ("format", "ndjson", "daedalus.format parquet, found ndjson"),
        ("writer", None, "missing required field `writer`"),
    ],
)
def test_metadata_has_to_agree_with_the_rows(tmp_path: Path, name: str, value: str | None, expected: str) -> None:
    """A file whose footer says something else than its rows is damaged, each key for itself."""
    path = Sealed(tmp_path).segment()
    table = pq.read_table(path, partitioning=None)
    metadata = dict(pq.read_metadata(path).metadata)
    del metadata[b"ARROW:schema"]
    metadata[f"daedalus.{name}".encode()] = (value or "").encode()
    if value is None:
        del metadata[f"daedalus.{name}".encode()]
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)
    assert expected in told(inspected(path))


@pytest.mark.parametrize("version", [SCHEMA_VERSION, SCHEMA_VERSION + 1])
def test_newer_version_is_read(tmp_path: Path, version: int) -> None:
    """Columns that a newer version has behind ours are no damage, if the version says so and they are nullable."""
    path = Sealed(tmp_path).segment()
    table = pq.read_table(path, partitioning=None)
    rewrite(path, table.append_column("later", pa.nulls(50, pa.string())), version)
    expected = "complete" if version > SCHEMA_VERSION else f"damaged: expected {table.num_columns} columns, as version"
    assert told(inspected(path)).startswith(expected)
    required = pa.field("later", pa.int64(), nullable=False)
    rewrite(path, table.append_column(required, pa.array(range(50))), version)
    assert told(inspected(path)).startswith("damaged: ")


def test_older_version_is_read(tmp_path: Path) -> None:
    """A file of version 1 has the columns of version 1, no more and no fewer; an NDJSON file has no version."""
    path = Sealed(tmp_path / "parquet").segment()
    table = pq.read_table(path, partitioning=None)
    assert table.column_names[-2:] == ["side", "source"]
    rewrite(path, table.drop_columns(["source"]), 1)
    assert told(inspected(path)) == "complete"
    rewrite(path, table.drop_columns(["source"]), 2)
    assert "expected 14 columns, as version 2 has, found 13" in told(inspected(path))
    rewrite(path, table, 1)
    assert "expected 13 columns, as version 1 has, found 14" in told(inspected(path))
    path = Sealed(tmp_path / "ndjson", "ndjson").segment()
    lines = [json.dumps({name: row[name] for name in row if name != "source"}) + "\n" for row in read_rows(path)]
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write("".join(lines).encode())
    copy = shutil.copy(path, tmp_path / path.name)
    assert (told(inspected(path)), told(inspected(Path(copy)))) == ("complete", "complete")


def test_column_that_may_be_null_is_damaged(tmp_path: Path) -> None:
    """Where a value is never absent the file says so itself, so that no reader has to expect a null."""
    path = Sealed(tmp_path).segment()
    table = pq.read_table(path, partitioning=None)
    place = table.schema.get_field_index("price")
    rewrite(path, table.set_column(place, "price", table["price"]), SCHEMA_VERSION)
    assert "expected the column price: double not null, found price: double" in told(inspected(path))


def test_every_version_is_known() -> None:
    """Whoever raises the schema version says here which columns came with it, and they are the last and nullable."""
    assert max(ADDED.values()) == SCHEMA_VERSION
    for channel, schema in SCHEMAS.items():
        versions = [ADDED.get((channel, field.name), 1) for field in schema]
        assert versions == sorted(versions)
        assert all(field.nullable for field, version in zip(schema, versions, strict=True) if version > 1)


def test_file_that_vanishes_is_no_damage(tmp_path: Path) -> None:
    """Retention may delete what was listed a moment ago."""
    tree = Tree(Sealed(tmp_path).segment())
    [file] = tree.files()
    Path(file.shown).unlink()
    assert Inspector(None).result(tree, file).state == "vanished"
