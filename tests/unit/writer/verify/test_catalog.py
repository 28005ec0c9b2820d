"""The catalog in memory."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from daedalus.catalog import Entry, Replaced
from daedalus_writer.verify.catalog import Catalog
from support.segments import HOUR, entry_of


def entry(path: str, **changes: Any) -> Entry:
    return msgspec.structs.replace(entry_of(path, b"content"), **changes)


def catalog_of(*entries: Entry, truncated: bool = False) -> Catalog:
    catalog = Catalog(truncated=truncated)
    for one in entries:
        catalog.add(one)
    return catalog


def test_entry_comes_back_as_it_was() -> None:
    """What is asked of an entry survives the packing."""
    one = entry("a", first_sequence=2**40, last_sequence=2**41, rows=7, gaps=3)
    expected = catalog_of(one).get("a")
    assert expected is not None
    for name in ("size_bytes", "first_sequence", "last_sequence", "rows", "gaps", "hour", "first_received_ns"):
        assert getattr(expected, name) == getattr(one, name)
    assert expected.sha256.hex() == one.sha256
    assert catalog_of(one).get("b") is None


def test_unseen_are_told() -> None:
    """What was seen is not missing; marking what the catalog does not have does nothing."""
    catalog = catalog_of(entry("a"), entry("b"))
    catalog.mark_seen("a")
    catalog.mark_seen("c")
    assert [path for path, _ in catalog.unseen()] == ["b"]


@pytest.mark.parametrize(
    ("changes", "doubled"),
    [
        ({"first_sequence": 11, "last_sequence": 20}, False),
        ({"first_sequence": 10, "last_sequence": 20}, True),
        ({"first_sequence": 1, "last_sequence": 2}, True),
        ({"first_sequence": 10, "symbol": "ETH/USD"}, False),
        ({"first_sequence": 10, "channel": "ticker"}, False),
        ({"first_sequence": 10, "hour": HOUR + 1}, False),
        ({"first_sequence": 10, "shard": 1}, False),
        ({"first_sequence": 10, "first_received_ns": 101, "last_received_ns": 200}, False),
    ],
    ids=["behind", "one message", "inside", "symbol", "channel", "hour", "stream", "sequences used again"],
)
def test_same_messages_in_two_segments(changes: dict[str, Any], *, doubled: bool) -> None:
    """Two segments of one key must not have the same messages; the numbers of a stream that lost its end come again."""
    first = entry("a", first_sequence=1, last_sequence=10, first_received_ns=1, last_received_ns=100)
    second = {"last_sequence": 20, "first_received_ns": 50, "last_received_ns": 200} | changes
    catalog = catalog_of(first, entry("b", first_sequence=second.pop("first_sequence"), **second))
    assert bool(catalog.doubled()) == doubled


def test_every_doubled_segment_is_told() -> None:
    """A long segment is compared with all that come behind it, not only with the next."""
    wide = [(1, 100), (5, 6), (50, 60), (101, 102)]
    catalog = catalog_of(*(entry(f"{a}", first_sequence=a, last_sequence=b) for a, b in wide))
    assert catalog.doubled() == {"5": "1", "50": "1"}


def test_catalog_that_dropped_its_beginning() -> None:
    """Files of hours that the bounded stream may have dropped are not unknown."""
    assert catalog_of(entry("a", hour=5), truncated=True).older_than_all(5)
    assert not catalog_of(entry("a", hour=5), truncated=True).older_than_all(6)
    assert not catalog_of(entry("a", hour=5)).older_than_all(4)


def test_entry_costs_few_bytes() -> None:
    """Two million entries fit into 800 MB."""
    path = "ccxt/trade/exchange=binance/symbol=BTC-USDT__USDT/year=2026/month=11/day=31/hour=14/segment_20261131T14_00001.parquet"
    catalog = catalog_of(entry(path))
    [packed] = catalog._entries.values()
    slot = 8 + 8 + 8 + 8  # of a dict, with the room that it leaves free
    assert sys.getsizeof(path) + sys.getsizeof(packed) + 2 * slot < 400


def larger(path: str, *names: str) -> Entry:
    replaces = tuple(Replaced(name=name, sha256="", first_sequence=1, last_sequence=1) for name in names)
    return entry(path, replaces=replaces, first_sequence=1, last_sequence=99, last_received_ns=99)


def test_replaced_segments_do_not_count() -> None:
    """What was merged into another one is neither missing nor doubled, and is still known while it lies there."""
    first, second = entry("d/1"), entry("d/2", first_sequence=3, last_sequence=4)
    catalog = catalog_of(first, second, larger("d/1-2", "1", "2"))
    assert [path for path, _ in catalog.unseen()] == ["d/1-2"]
    assert catalog.doubled() == {}
    catalog.mark_seen("d/1")
    expected = catalog.get("d/1")
    assert expected is not None
    assert expected.sha256.hex() == first.sha256
    assert list(catalog.seen_beside_larger()) == []


def test_replaced_segment_beside_the_larger_one() -> None:
    """Rows that lie there twice are told, also when the larger one was merged again since."""
    entries = [entry("d/1"), entry("d/2"), larger("d/1-2", "1", "2"), entry("d/3"), larger("d/1-3", "1-2", "3")]
    catalog = catalog_of(*entries)
    for path in ("d/1", "d/1-3"):
        catalog.mark_seen(path)
    assert list(catalog.seen_beside_larger()) == [("d/1", "d/1-3")]
    catalog.mark_seen("d/1-2")
    assert list(catalog.seen_beside_larger()) == [("d/1", "d/1-2"), ("d/1-2", "d/1-3")]
