"""Files of several schema versions, read together: version 2 has one more nullable column of trades, behind the others."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from daedalus.records import Trade
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.schema import SCHEMAS
from support.batches import HOUR
from support.sealed import Sealed

DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"


@pytest.fixture(params=["newer behind", "newer before"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Fifty trades of version 1 in hour 11 and fifty of version 2 in another hour, in both orders: readers take the
    schema of the file that they find first.
    """
    sealed = Sealed(tmp_path)
    older = sealed.segment(hour=HOUR)
    table = pq.read_table(older, partitioning=None).drop_columns(["source"])
    metadata = {name: value for name, value in pq.read_metadata(older).metadata.items() if name != b"ARROW:schema"}
    pq.write_table(table.replace_schema_metadata(metadata | {b"daedalus.schema_version": b"1"}), older)
    hour = HOUR + (1 if request.param == "newer behind" else -1)
    numbers = range(50, 100)
    trades = [Trade(hour * NS_PER_HOUR, None, str(number), 1.0, 2.0, "buy", "backfill") for number in numbers]
    sealed.segment(hour=hour, records=trades)
    return sealed.ready / "ccxt" / "trade"


def test_duckdb(root: Path) -> None:
    """union_by_name fills the column with null, and partitions still prune."""
    trades = f"read_parquet('{root}/**/*.parquet', hive_partitioning = true, union_by_name = true)"
    told = duckdb.execute(f"SELECT count(*), count(source), sum(id::int) FROM {trades}").fetchall()
    assert told == [(100, 50, sum(range(100)))]
    old = duckdb.execute(f"SELECT count(*), count(source) FROM {trades} WHERE hour = 11").fetchall()
    assert old == [(50, 0)]


def test_polars(root: Path) -> None:
    """The newest file's schema, with missing columns inserted as null."""
    newest = max(root.rglob("*.parquet"), key=lambda path: len(pl.read_parquet_schema(path)))
    schema = pl.read_parquet_schema(newest)
    trades = pl.scan_parquet(root, hive_partitioning=True, schema=schema, missing_columns="insert").collect()
    assert (trades.height, trades["source"].null_count()) == (100, 50)
    assert trades.filter(hour=11)["source"].null_count() == 50
    assert list(schema) == SCHEMAS["trade"].names


def test_queries_that_name_their_columns_go_on(root: Path) -> None:
    """Whoever asks for known columns only is not touched by new ones."""
    sql = f"SELECT sum(id::int) FROM read_parquet('{root}/**/*.parquet', hive_partitioning = true) WHERE side = 'buy'"
    [(total,)] = duckdb.execute(sql).fetchall()
    frame = pl.scan_parquet(root, hive_partitioning=True, extra_columns="ignore")
    assert frame.filter(side="buy").select(pl.col("id").cast(pl.Int64).sum()).collect().item() == total
    table = ds.dataset(root, partitioning="hive").to_table(columns=["id"], filter=ds.field("side") == "buy")
    assert sum(map(int, table["id"].to_pylist())) == total


def test_pyarrow(root: Path) -> None:
    """A dataset takes the schema that it is given; unify_schemas makes it of all files."""
    files = sorted(root.rglob("*.parquet"))
    schema = pa.unify_schemas([pq.read_schema(file) for file in files])
    trades = ds.dataset(root, schema=schema, partitioning="hive").to_table()
    assert (trades.num_rows, trades["source"].null_count) == (100, 50)
    assert trades.column_names == SCHEMAS["trade"].names
    assert ds.dataset(root, schema=schema, partitioning="hive").to_table(filter=ds.field("hour") == 11).num_rows == 50


def test_document_says_how() -> None:
    """The options that these tests use are those that docs/data.md names."""
    section = DOCUMENT.read_text().split("## Files of several versions\n", 1)[1].split("\n## ", 1)[0]
    for option in (
        "union_by_name = true",
        'missing_columns="insert"',
        'extra_columns="ignore"',
        "schema=schema",
        "pa.unify_schemas",
    ):
        assert option in section
