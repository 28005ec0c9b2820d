"""Counting what was sent."""

import random

from simulator.counts import Count, Counts, IdRanges
from simulator.frame import Frame


def test_id_ranges_tell_new_numbers_from_known_ones_in_any_order() -> None:
    """They agree with a set, and dense numbers take one range."""
    numbers = [*range(100)] * 2
    random.Random(1).shuffle(numbers)
    ranges, known = IdRanges(), set[int]()
    for number in numbers:
        assert ranges.add(number) is (number not in known)
        known.add(number)
        assert len(ranges) == len(known)
    assert ranges._first == [0]


def test_a_trade_counts_once_however_often_it_was_written() -> None:
    """Two trades in one frame are two records; the same in a snapshot after a reconnect are repeats."""
    counts = Counts()
    counts.written("coinbase", Frame(b"", "trade", "BTC/USD", trade_ids=(1, 2)))
    counts.written("coinbase", Frame(b"", "trade", "BTC/USD", trade_ids=(1, 2, 3)))
    assert counts.report(["coinbase"])["coinbase"]["trade"]["BTC/USD"] == Count(frames=2, records=3, repeats=2)


def test_acknowledgements_are_not_counted() -> None:
    """Nor are heartbeats and errors: a frame without a channel is no data."""
    counts = Counts()
    counts.written("kraken", Frame(b"{}"))
    counts.dropped("kraken", Frame(b"{}"))
    assert counts.report(["kraken"]) == {"kraken": {}}


def test_what_was_dropped_is_not_counted_as_sent() -> None:
    """A withheld frame with two trades is one dropped frame and two dropped records."""
    counts = Counts()
    counts.dropped("coinbase", Frame(b"", "trade", "BTC/USD", trade_ids=(1, 2)))
    assert counts.report(["coinbase"])["coinbase"]["trade"]["BTC/USD"] == Count(dropped_frames=1, dropped_records=2)
