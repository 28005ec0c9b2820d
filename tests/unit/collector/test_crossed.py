"""Crossed books."""

from __future__ import annotations

from daedalus_collector.crossed import PATIENCE_NS, RESYNC_NS, CrossedBooks

FINE, CROSSED = ([[1.0, 5.0]], [[2.0, 5.0]]), ([[2.0, 5.0]], [[2.0, 5.0]])


def test_a_moment_is_counted_and_no_more() -> None:
    """An exchange may tell its sides one after the other; an empty side is not crossed."""
    books = CrossedBooks()
    assert books.judge("A", *CROSSED, 10) == "crossed"
    assert books.judge("A", *CROSSED, 10 + PATIENCE_NS - 1) == "still_crossed"
    assert books.judge("A", *FINE, 20 + PATIENCE_NS) == "fine"
    assert books.judge("A", *CROSSED, 30 + PATIENCE_NS) == "crossed"
    assert books.judge("B", [], CROSSED[1], 30) == "fine"


def test_a_book_that_stays_crossed_is_built_anew_once_a_minute() -> None:
    """Each book by itself."""
    books = CrossedBooks()
    books.judge("A", *CROSSED, 0)
    assert books.judge("A", *CROSSED, PATIENCE_NS) == "stuck"
    assert books.judge("A", *CROSSED, PATIENCE_NS + 1) == "crossed"
    assert books.judge("A", *CROSSED, RESYNC_NS) == "still_crossed"
    assert books.judge("A", *CROSSED, RESYNC_NS + PATIENCE_NS) == "stuck"
    books.judge("B", *CROSSED, 0)
    assert books.judge("B", *CROSSED, PATIENCE_NS) == "stuck"
