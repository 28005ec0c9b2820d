"""Kraken's checksum of a book."""

from __future__ import annotations

from daedalus_collector.checksum import book_checksum

ASKS = [
    (45285.2, 0.001), (45286.4, 1.54571953), (45286.6, 1.54571109), (45289.6, 1.54560911), (45290.2, 0.1589066),
    (45291.8, 1.54553491), (45294.7, 0.04454749), (45296.1, 0.3538), (45297.5, 0.09945542), (45299.5, 0.18772827),
]  # fmt: skip
BIDS = [
    (45283.5, 0.1), (45283.4, 1.54582015), (45282.1, 0.1), (45281.0, 0.1), (45280.3, 1.54592586),
    (45279.0, 0.0799), (45277.6, 0.03310103), (45277.5, 0.3), (45277.3, 1.54602737), (45276.6, 0.15445238),
]  # fmt: skip


def test_the_book_of_krakens_guide() -> None:
    """The documented book has the documented checksum; deeper levels do not count, and any other digit does."""
    assert book_checksum(BIDS, ASKS, 1, 8) == 3310070434
    assert book_checksum([*BIDS, (1.0, 1.0)], [*ASKS, (99999.9, 1.0)], 1, 8) == 3310070434
    assert book_checksum([(45283.6, 0.1), *BIDS[1:]], ASKS, 1, 8) != 3310070434
