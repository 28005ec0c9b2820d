"""How a snapshot and the changes of a Binance book are laid on each other."""

from __future__ import annotations

import struct

import pytest

from daedalus.records import OrderBook
from daedalus_collector.native import binance_book
from daedalus_collector.native.binance_book import BinanceBook, OutOfSequenceError
from daedalus_collector.native.binance_frames import DepthUpdate, Snapshot

SNAPSHOT = Snapshot(100, [(10.0, 1.0)], [(11.0, 1.0)])


def spot(first: int, last: int, bid: float = 10.0, amount: float = 2.0) -> DepthUpdate:
    return DepthUpdate("BTCUSDT", last, first, last, [(bid, amount)], [])


def futures(first: int, last: int, previous: int) -> DepthUpdate:
    return DepthUpdate("BTCUSDT", last, first, last, [(10.0, float(last))], [], previous)


def bid_amount(state: OrderBook | None) -> float:
    assert state is not None
    return float(struct.unpack("<d", state.bid_amounts[:8])[0])


def test_spot_changes_wait_for_the_snapshot() -> None:
    """What it holds is dropped, what follows makes one state with it, and then each change one."""
    book = BinanceBook(5, futures=False)
    assert [book.take(spot(90, 99), 1), book.take(spot(100, 101), 2), book.take(spot(102, 103, amount=3.0), 3)] == [
        None
    ] * 3
    state = book.lay(SNAPSHOT, 4)
    assert state is not None
    assert (state.nonce, state.timestamp_us, state.received_ns, bid_amount(state)) == (103, 103_000, 4, 3.0)
    state = book.take(spot(104, 110, amount=4.0), 5)
    assert state is not None
    assert (state.nonce, bid_amount(state), book.last_ns) == (110, 4.0, 5)
    assert book.take(spot(105, 110), 6) is None, "an old change changes nothing"


def test_a_snapshot_alone_is_a_state() -> None:
    """The spot market's has no time."""
    book = BinanceBook(5, futures=False)
    state = book.lay(SNAPSHOT, 4)
    assert state is not None
    assert (state.nonce, state.timestamp_us) == (100, None)


@pytest.mark.parametrize("first", [102, 150])
def test_a_missing_spot_change_is_seen(first: int) -> None:
    """The book waits for another snapshot, and keeps the change that showed it."""
    book = BinanceBook(5, futures=False)
    book.lay(SNAPSHOT, 1)
    with pytest.raises(OutOfSequenceError, match="after 100") as raised:
        book.take(spot(first, first + 2), 2)
    assert raised.value.kind == "sequence_gap"
    assert not book.synced
    assert book.take(spot(first + 3, first + 4, amount=9.0), 3) is None
    assert book.lay(SNAPSHOT, 4) is None, "older than what was buffered: get another"
    state = book.lay(Snapshot(first, [(10.0, 1.0)], []), 5)
    assert state is not None
    assert (state.nonce, bid_amount(state)) == (first + 4, 9.0)


def test_a_hole_in_what_was_buffered_is_seen() -> None:
    """A snapshot cannot mend it, unless it is newer than the hole."""
    book = BinanceBook(5, futures=False)
    book.take(spot(100, 101), 1)
    book.take(spot(110, 111), 2)
    with pytest.raises(OutOfSequenceError):
        book.lay(SNAPSHOT, 3)
    assert book.lay(SNAPSHOT, 4) is None
    assert book.lay(Snapshot(109, [(10.0, 1.0)], []), 5) is not None


def test_futures_changes_name_the_one_before() -> None:
    """The first may hold the snapshot's number; then each names its predecessor, whatever the numbers between."""
    book = BinanceBook(5, futures=True)
    book.take(futures(90, 99, 89), 1)
    book.take(futures(98, 105, 97), 2)
    state = book.lay(Snapshot(100, [(10.0, 1.0)], [(11.0, 1.0)], 77), 3)
    assert state is not None
    assert (state.nonce, bid_amount(state)) == (105, 105.0)
    assert bid_amount(book.take(futures(300, 310, 105), 4)) == 310.0
    with pytest.raises(OutOfSequenceError):
        book.take(futures(311, 320, 309), 5)


def test_a_futures_snapshot_has_a_time() -> None:
    """And a change with the snapshot's own number is applied on it."""
    book = BinanceBook(5, futures=True)
    state = book.lay(Snapshot(100, [(10.0, 1.0)], [], 77), 3)
    assert state is not None
    assert state.timestamp_us == 77_000
    assert bid_amount(book.take(futures(95, 100, 94), 4)) == 100.0


def test_a_crossed_book_is_not_recorded() -> None:
    """It is built anew."""
    book = BinanceBook(5, futures=False)
    book.lay(SNAPSHOT, 1)
    with pytest.raises(OutOfSequenceError, match="crossed") as raised:
        book.take(spot(101, 101, bid=11.0), 2)
    assert raised.value.kind == "crossed_book"
    assert not book.synced


def test_what_waits_for_a_snapshot_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest changes go; a snapshot older than the rest is then refused."""
    monkeypatch.setattr(binance_book, "MOST_BUFFERED", 10)
    book = BinanceBook(5, futures=False)
    for number in range(101, 201):
        book.take(spot(number, number), number)
    assert book.lay(SNAPSHOT, 300) is None
    assert book.lay(Snapshot(190, [(10.0, 1.0)], []), 301) is not None
