"""Records as columns, and the files that are made of them."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from daedalus.config import PARTITION_COLUMNS, Ingestion
from daedalus.records import (
    CAUSES,
    BidAsk,
    Candle,
    Funding,
    Gap,
    Liquidation,
    MarkPrice,
    OrderBook,
    RawFrame,
    Record,
    Ticker,
    Trade,
    levels,
)
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.columns import record_batch
from daedalus_writer.layout import Key, directory
from daedalus_writer.segment_file import FORMATS, ParquetSegment, finish, read_rows

HOUR = 491_918
BEGIN = HOUR * NS_PER_HOUR
DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"

RECORDS: dict[str, list[Record]] = {
    "trade": [
        Trade(BEGIN + 1_999, 1_770_904_800_000_001, "a-1", 60000.01, 0.1 + 0.2, "buy"),
        Trade(BEGIN + 5, None, None, 1e-9, 5e9, None, "backfill"),
    ],
    "ticker": [Ticker(BEGIN, None, 1.0, None, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, None)],
    "orderbook": [
        OrderBook(BEGIN, 7, 8, *levels([(2.0, 1.0), (1.0, 0.5, 99)], 20), *levels([(3.0, 1.5)], 20)),
        OrderBook(BEGIN + 1, None, None, *levels([], 20), *levels([(4.0, 2.5)] * 30, 20)),
    ],
    "bidask": [BidAsk(BEGIN, 7, 8, 1.0, None, 3.0, 4.0), BidAsk(BEGIN, None, None, None, None, None, None)],
    "ohlcv": [Candle(BEGIN, 60_000_000, "1m", 1.0, 4.0, 0.5, 2.0, 9.5)],
    "funding": [Funding(BEGIN, 7, 1e-4, 8, None, None, "8h")],
    "markprice": [MarkPrice(BEGIN, 7, 1.5, None)],
    "liquidation": [Liquidation(BEGIN, 7, 1.5, 2.5, "sell")],
    "raw": [RawFrame(BEGIN, "a-1", 0, b'{"e":"trade"}'), RawFrame(BEGIN, "a-1", 1, b"\x1f\x8b\xff")],
    "gap": [Gap(BEGIN + 9, "trade", "connection_lost", BEGIN, BEGIN + 9, None, "closed"), Gap(BEGIN, "ticker", "outbox_full", 1, 2, 3, "")],
}  # fmt: skip


def written(tmp_path: Path, channel: str, form: str = "parquet", symbol: str = "BTC/USD") -> Path:
    key = Key("kraken", channel, symbol, HOUR)
    place = tmp_path / directory(key, PARTITION_COLUMNS)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"segment.{FORMATS[form].suffix}"
    file = FORMATS[form](path, channel, Ingestion())
    file.write(record_batch(key, [RECORDS[channel]]))
    file.close({"daedalus.symbol": symbol})
    return path


def test_every_value_arrives_in_its_column(tmp_path: Path) -> None:
    """A record's fields are in the columns of their names, times are UTC, None is null, floats are exact."""
    first, second = read_rows(written(tmp_path, "trade"))
    assert {name: first[name] for name in PARTITION_COLUMNS} == {
        "exchange": "kraken", "symbol": "BTC-USD", "year": 2026, "month": 2, "day": 12, "hour": 14,
    }  # fmt: skip
    assert first["received_ns"] == BEGIN + 1_999
    assert first["received_at"] == datetime(2026, 2, 12, 14, 0, 0, 1, tzinfo=UTC)  # rounded down to microseconds
    assert first["timestamp"] == datetime(2026, 2, 12, 14, 0, 0, 1, tzinfo=UTC)
    assert (first["id"], first["price"], first["amount"], first["side"]) == ("a-1", 60000.01, 0.1 + 0.2, "buy")
    assert (second["id"], second["timestamp"], second["side"], second["price"]) == (None, None, None, 1e-9)
    assert (first["source"], second["source"]) == (None, "backfill")
    [ticker] = read_rows(written(tmp_path, "ticker"))
    assert [ticker[name] for name in ("last", "bid", "bid_amount", "quote_volume")] == [1.0, None, 2.0, None]
    full, empty = read_rows(written(tmp_path, "orderbook"))
    assert full["bids"] == [{"price": 2.0, "amount": 1.0}, {"price": 1.0, "amount": 0.5}]
    assert full["asks"] == [{"price": 3.0, "amount": 1.5}]
    assert (empty["bids"], len(empty["asks"]), empty["nonce"]) == ([], 20, None)
    [candle] = read_rows(written(tmp_path, "ohlcv"))
    assert candle["timestamp"] == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert [candle[name] for name in ("timeframe", "open", "high", "low", "close", "volume")] == [
        "1m",
        1.0,
        4.0,
        0.5,
        2.0,
        9.5,
    ]
    assert [row["frame"] for row in read_rows(written(tmp_path, "raw"))] == [b'{"e":"trade"}', b"\x1f\x8b\xff"]
    gap, counted = read_rows(written(tmp_path, "gap"))
    assert (gap["cause"], gap["records"], gap["from_ns"], counted["records"]) == ("connection_lost", None, BEGIN, 3)


@pytest.mark.parametrize("channel", RECORDS)
def test_pieces_are_one_batch(channel: str) -> None:
    """In how many pieces its records come changes nothing, and neither do books that are empty."""
    key = Key("kraken", channel, "BTC/USD", HOUR)
    records = RECORDS[channel] * 3 + [OrderBook(BEGIN, None, None, b"", b"", b"", b"")] * (channel == "orderbook")
    whole = record_batch(key, [records])
    whole.validate(full=True)
    assert record_batch(key, [[record] for record in records]).equals(whole)
    assert whole.slice(0, len(RECORDS[channel])).to_pylist() == record_batch(key, [RECORDS[channel]]).to_pylist()


@pytest.mark.parametrize("channel", RECORDS)
def test_ndjson_says_the_same(tmp_path: Path, channel: str) -> None:
    """The NDJSON form has the same rows; its times are integers in microseconds, its bytes base64."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def as_json(value: object) -> object:
        if isinstance(value, datetime):
            return int((value - epoch).total_seconds() * 1e6)
        return b64encode(value).decode() if isinstance(value, bytes) else value

    parquet = [{name: as_json(value) for name, value in row.items()} for row in read_rows(written(tmp_path, channel))]
    assert list(read_rows(written(tmp_path, channel, "ndjson"))) == parquet


def test_readers_agree(tmp_path: Path) -> None:
    """DuckDB, Polars and pyarrow read the tree with its Hive partitions, and find a symbol whatever is in its name."""
    symbols = {"BTC/USD": "BTC-USD", "BTC/USDT:USDT": "BTC-USDT__USDT", "BTC/USD:BTC-261225": "BTC-USD__BTC_-261225"}
    for symbol in symbols:
        written(tmp_path, "trade", symbol=symbol)
    root = tmp_path / "ccxt" / "trade"
    for token in symbols.values():
        sql = f"SELECT count(*), any_value(hour) FROM read_parquet('{root}/**/*.parquet', hive_partitioning = true) WHERE symbol = '{token}' AND hour = 14"
        assert duckdb.execute(sql).fetchall() == [(2, 14)]
        assert pl.scan_parquet(root, hive_partitioning=True).filter(symbol=token, hour=14).collect().height == 2
        wanted = (ds.field("symbol") == token) & (ds.field("hour") == 14)
        assert ds.dataset(root, partitioning="hive").to_table(filter=wanted).num_rows == 2


def test_parquet_has_the_measured_settings(tmp_path: Path) -> None:
    """zstd, one row group, delta-encoded integers, plain doubles, page checksums that catch a flipped bit."""
    path = written(tmp_path, "trade")
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "DELTA_BINARY_PACKED" in columns["received_ns"].encodings
    assert set(columns["price"].encodings) <= {"PLAIN", "RLE"}
    assert "DELTA_BYTE_ARRAY" in columns["id"].encodings
    assert columns["price"].statistics.max == 60000.01
    data = bytearray(path.read_bytes())
    data[columns["price"].data_page_offset + columns["price"].total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"CRC|checksum"):
        list(read_rows(path))


def test_each_write_is_a_row_group(tmp_path: Path) -> None:
    """What is written at once is one row group: `joined` makes it large."""
    key = Key("kraken", "trade", "BTC/USD", HOUR)
    file = ParquetSegment(tmp_path / "x.parquet", "trade", Ingestion())
    for rows in (50_000, 10_000):
        file.write(record_batch(key, [[Trade(BEGIN + n, None, str(n), 1.0, 2.0, None) for n in range(rows)]]))
    file.close({})
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [50_000, 10_000]


@pytest.mark.parametrize("compression", ["snappy", "lz4", "zstd"])
def test_every_compression_is_written(tmp_path: Path, compression: str) -> None:
    """Each configurable compression makes a file that reads back."""
    file = ParquetSegment(tmp_path / "x.parquet", "ticker", Ingestion(parquet_compression=compression))  # type: ignore[arg-type]
    file.write(record_batch(Key("kraken", "ticker", "BTC/USD", HOUR), [RECORDS["ticker"]]))
    file.close({})
    assert len(list(read_rows(tmp_path / "x.parquet"))) == 1
    assert finish(tmp_path / "x.parquet")[0] == (tmp_path / "x.parquet").stat().st_size


def test_document_names_every_cause() -> None:
    """docs/data.md has a row for each cause of gaps, and none besides."""
    causes = DOCUMENT.read_text().split("## Causes of gaps\n", 1)[1].split("\n## ", 1)[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", causes, re.MULTILINE)) == CAUSES
