"""What paths say."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from daedalus.config import PARTITION_COLUMNS
from daedalus_writer.layout import Key, directory, file_name
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.location import check_location, entries_below, locate, path_in_catalog

KEY = Key("kraken", "trade", "BTC/USDT:USDT", 497_123)
PATH = str(directory(KEY, PARTITION_COLUMNS) / file_name(KEY, 1, "parquet"))


@pytest.mark.parametrize("before", ["", "/data/raw/ready/", "bucket/raw/", "/srv/ccxt/copies/"])
def test_path_of_an_entry_is_found_again(before: str) -> None:
    """Whatever stands before it, the part below ready/ is what the catalog calls the file."""
    location = locate(PurePosixPath(before + PATH).parts)
    assert location.entry_path == PATH
    assert path_in_catalog(location, KEY) == PATH
    check_location(location, KEY)


@pytest.mark.parametrize("columns", [[], ["hour"], ["exchange", "symbol"], list(PARTITION_COLUMNS)])
def test_any_partition_by_is_understood(columns: list[str]) -> None:
    """The directories are those that partition_by has; what is not in the path is not compared."""
    path = str(directory(KEY, columns) / file_name(KEY, 1, "parquet"))  # type: ignore[arg-type]
    location = locate(PurePosixPath("/data/raw/ready", path).parts)
    assert (location.entry_path, location.channel) == (path, "trade")
    check_location(location, KEY)


def test_copy_without_its_directories_is_named_by_its_contents() -> None:
    """A copy that begins below the channel, or that is one file, has the path in the catalog that its rows give it."""
    tail = PATH.split("/", 2)[2]
    for copy in (f"/copy/{tail}", f"/copy/ticker/{tail}", f"/copy/{PATH.rpartition('/')[2]}"):
        location = locate(PurePosixPath(copy).parts)
        assert location.entry_path is None
        assert path_in_catalog(location, KEY) == PATH
        check_location(location, KEY)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ccxt/trade", "ccxt/ticker", "expected a path below the channel trade, found ticker"),
        ("exchange=kraken", "exchange=binance", "expected exchange=kraken in the path, as in the file, found exchange=b"),
        ("symbol=BTC-USDT__USDT", "symbol=BTC-USDT", "expected symbol=BTC-USDT__USDT"),
        ("hour=11", "hour=12", "expected hour=11"),
        ("day=17", "week=3", "expected directories of exchange, symbol, year"),
        ("T11_", "T12_", "expected the hour in the name 20260917T11, found 20260917T12"),
        ("segment_", "part-", "expected a name like segment_"),
    ],
)  # fmt: skip
def test_wrong_place_is_told(old: str, new: str, told: str) -> None:
    """Each part of the path has to say what the rows say."""
    assert old in PATH
    with pytest.raises(Defect, match=told):
        check_location(locate(PurePosixPath(PATH.replace(old, new)).parts), KEY)


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("data/raw/ready", "catalog.*.*.*.*"),
        ("bucket/ccxt", "catalog.*.*.*.*"),
        ("ready/ccxt/trade", "catalog.*.*.trade.*"),
        ("ccxt/exchange=kraken/ready/ccxt/trade/symbol=BTC-USDT__USDT", "catalog.*.*.trade.BTC-USDT__USDT"),
        (PATH, "catalog.*.kraken.trade.BTC-USDT__USDT"),
        ("copy/exchange=kraken/symbol=BTC-USD", "catalog.*.*.*.*"),
        ("ccxt/trade/exchange=>/symbol=a.b", "catalog.*.*.trade.*"),
    ],
)
def test_of_the_catalog_only_what_may_matter(path: str, subject: str) -> None:
    """Where a path names channel, exchange or symbol, the entries of others are not read."""
    assert entries_below(path.split("/")) == subject
