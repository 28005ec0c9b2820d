"""The local order book against a dict that is sorted each time."""

from __future__ import annotations

import struct
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from daedalus_collector.native.order_book import TRIM_SLACK, LocalBook, Side

CHANGES = st.lists(
    st.tuples(st.integers(1, 30).map(lambda tick: tick / 10), st.sampled_from([0.0, 0.5, 1.0, 2.5])), max_size=40
)


def naive(levels: dict[float, float], depth: int, *, bids: bool) -> tuple[bytes, bytes]:
    best = sorted(levels.items(), reverse=bids)[:depth]
    return tuple(struct.pack(f"<{len(best)}d", *column) for column in zip(*best, strict=True)) or (b"", b"")  # type: ignore[return-value]


@given(first=CHANGES, steps=st.lists(CHANGES, max_size=15), sign=st.sampled_from([1, -1]), depth=st.integers(1, 8))
def test_best_levels_after_each_change(
    first: list[tuple[float, float]], steps: list[list[tuple[float, float]]], sign: Literal[1, -1], depth: int
) -> None:
    """Whatever is put, removed or put again, above, within or below what a record shows."""
    side = Side(sign, depth, None)
    side.reset(first)
    levels = {price: amount for price, amount in first if amount}
    assert side.columns() == naive(levels, depth, bids=sign > 0)
    for changes in steps:
        side.put(changes)
        for price, amount in changes:
            levels[price] = amount
            if not amount:
                del levels[price]
        assert side.columns() == naive(levels, depth, bids=sign > 0)
        assert len(side) == len(levels)


def test_what_is_far_from_the_top_is_let_go() -> None:
    """A side keeps as many levels as it was told, and some slack; the best stay."""
    side = Side(1, 2, 100)
    for tick in range(1, 2_000):
        side.put([(float(tick), 1.0)])
        assert len(side) <= 100 + TRIM_SLACK
    assert side.columns() == naive({1998.0: 1.0, 1999.0: 1.0}, 2, bids=True)
    side.put([(float(tick), 0.0) for tick in range(1, 2_000)])
    assert len(side) == 0
    assert side.columns() == (b"", b"")


def test_a_crossed_book_is_seen() -> None:
    """The best bid at or above the best ask; an empty side crosses nothing."""
    book, seen = LocalBook(5), []
    seen.append(book.crossed)
    book.reset([(1.0, 1.0)], [(2.0, 1.0)])
    seen.append(book.crossed)
    book.bids.put([(2.0, 1.0)])
    seen.append(book.crossed)
    book.asks.put([(2.0, 0.0)])
    seen.append(book.crossed)
    assert seen == [False, False, True, False]
