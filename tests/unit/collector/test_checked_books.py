"""Which books are skipped, and when a snapshot is asked for."""

from __future__ import annotations

from daedalus_collector.checked_books import RESUBSCRIBE_SECONDS, Broken, checked


def test_a_broken_book_waits_for_its_snapshot() -> None:
    """Updates are of no use until then; the snapshot is asked for again when it does not come."""
    broken = Broken()
    assert not broken.skips("A", snapshot=False)
    assert broken.asks("A", 100.0)
    assert broken.skips("A", snapshot=False)
    assert not broken.skips("B", snapshot=False)
    assert not broken.asks("A", 100.0 + RESUBSCRIBE_SECONDS - 0.1)
    assert broken.asks("A", 100.0 + RESUBSCRIBE_SECONDS)
    assert not broken.skips("A", snapshot=True)
    assert not broken.skips("A", snapshot=False)


def test_a_new_connection_begins_anew() -> None:
    """Its first snapshot comes by itself."""
    broken = Broken()
    assert broken.asks("A", 100.0)
    broken.forget()
    assert not broken.skips("A", snapshot=False)


def test_other_exchanges_stay_as_they_are() -> None:
    """Where no checksum is sent, nothing stands in the way."""
    assert checked(dict, "binance") is dict
