"""Paths, file names, numbers."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daedalus.config import PARTITION_COLUMNS
from daedalus_writer.layout import (
    Folders,
    Key,
    directory,
    file_name,
    free_number,
    hour_of,
    merged_name,
    partition_values,
)

KEY = Key("coinbaseadvanced", "orderbook", "BTC/USD", 491_918)
"""2026-02-12T14Z."""


def test_path_is_the_documented_one() -> None:
    """The layout is that of the description, with unpadded numbers."""
    assert str(directory(KEY, PARTITION_COLUMNS) / file_name(KEY, 1, "parquet")) == (
        "ccxt/orderbook/exchange=coinbaseadvanced/symbol=BTC-USD/year=2026/month=2/day=12/hour=14/segment_20260212T14_00001.parquet"
    )


def test_partition_columns_can_be_left_out() -> None:
    """Any ordered part of the columns makes a path; the values are the rows' own."""
    assert directory(KEY, ["exchange", "day"]) == Path("ccxt/orderbook/exchange=coinbaseadvanced/day=12")
    assert directory(KEY, []) == Path("ccxt/orderbook")
    assert partition_values(KEY)["symbol"] == "BTC-USD"


@given(st.lists(st.integers(1, 300)), st.integers(1, 8), st.data())
def test_numbers_are_free_and_never_those_of_another_shard(taken: list[int], shards: int, data: st.DataObject) -> None:
    """A number is above all taken ones, and tells its shard."""
    shard = data.draw(st.integers(0, shards - 1))
    names = [file_name(KEY, number, "parquet") for number in taken]
    number = free_number([*names, "", "README", "segment_x_1.parquet"], shard, shards)
    assert number > max(taken, default=0)
    assert number - max(taken, default=0) <= shards or number == shard + 1
    assert (number - 1) % shards == shard


def test_one_shard_counts_from_one() -> None:
    """With one shard, the default, segments are 00001, 00002, …"""
    assert free_number([], 0, 1) == 1
    assert free_number(["segment_20260212T14_00001.parquet"], 0, 1) == 2


def test_merged_name_says_what_it_was_made_of() -> None:
    """The name spans the numbers of all, also of a file that was merged before, and numbers go on above it."""
    names = [file_name(KEY, 3, "parquet"), "segment_20260212T14_00001-00002.parquet", file_name(KEY, 7, "parquet")]
    merged = merged_name(names)
    assert merged == "segment_20260212T14_00001-00007.parquet"
    assert merged_name([file_name(KEY, 1, "ndjson.zst")] * 2) == "segment_20260212T14_00001-00001.ndjson.zst"
    assert free_number([merged], 0, 1) == 8
    assert [hour_of(name) for name in (merged, names[0], "README")] == [KEY.hour, KEY.hour, None]


def test_rooms_of_a_shard(tmp_path: Path) -> None:
    """A run of a writer has a room of its own for a shard, and finds those of the runs before it, of that shard only."""
    for shard, boot in ((1, "old"), (1, "older"), (11, "old"), (1, "new")):
        Folders(tmp_path, shard, boot).create()
    assert sorted(room.name for room in Folders(tmp_path, 1, "new").earlier_rooms()) == ["shard-1.old", "shard-1.older"]


def test_spools_of_dead_runs_go_before_anything_is_made(tmp_path: Path) -> None:
    """What a dead run has left may be what fills the disk: its spools go first, its files wait for recovery, and a run that
    came later than we did is left alone."""
    dead = tmp_path / "raw" / "active" / "shard-0.dead"
    dead.mkdir(parents=True)
    for name in ("20260212T14.spool", "one.segment_20260212T14_00001.parquet"):
        (dead / name).touch()
    folders = Folders(tmp_path, 0, "ours")
    successor = Folders(tmp_path, 0, "successor")
    successor.create()
    (successor.room / "20260212T14.spool").touch()
    folders.create()
    assert [path.name for path in dead.iterdir()] == ["one.segment_20260212T14_00001.parquet"]
    assert [path.name for path in successor.room.iterdir()] == ["20260212T14.spool"]
