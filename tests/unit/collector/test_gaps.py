from __future__ import annotations

from itertools import pairwise

from daedalus_collector.feed import Pair
from daedalus_collector.gaps import FIRST_PIECE_NS, LONGEST_PIECE_NS, GapBook

BTC = Pair("trade", "BTC/USD")
ETH = Pair("orderbook", "ETH/USD")


def test_a_gap_lasts_from_the_last_good_moment_to_the_first_good_record() -> None:
    """One interruption of two pairs makes one gap for each, with its own end."""
    book = GapBook()
    assert book.interrupted([BTC, ETH], 100, "connection_lost", "code 1001") == [BTC, ETH]
    gap = book.resumed(BTC, 250)
    assert gap is not None
    assert (gap.received_ns, gap.channel, gap.cause, gap.from_ns, gap.to_ns) == (
        250,
        "trade",
        "connection_lost",
        100,
        250,
    )
    assert (gap.records, gap.detail) == (None, "code 1001")
    other = book.resumed(ETH, 300)
    assert other is not None
    assert other.to_ns == 300
    assert book.resumed(BTC, 400) is None, "it is written once"


def test_what_goes_wrong_within_a_gap_is_part_of_it() -> None:
    """A second interruption keeps the cause of the first, and reaches back where it began earlier."""
    book = GapBook()
    book.interrupted([BTC], 100, "connection_silent", "")
    assert book.interrupted([BTC], 90, "connection_lost", "") == []
    gap = book.resumed(BTC, 500)
    assert gap is not None
    assert (gap.cause, gap.from_ns, gap.to_ns) == ("connection_silent", 90, 500)


def test_a_clock_that_was_set_back_makes_no_negative_gap() -> None:
    """`to` is never before `from`."""
    book = GapBook()
    book.interrupted([BTC], 100, "connection_lost", "")
    gap = book.resumed(BTC, 50)
    assert gap is not None
    assert (gap.from_ns, gap.to_ns) == (100, 100)


def test_refused_records_are_counted_exactly() -> None:
    """From the first to the last refused record, written when one is accepted again."""
    book = GapBook()
    assert book.refused(BTC, 10)
    assert not book.refused(BTC, 20)
    assert not book.refused(BTC, 30)
    gap = book.accepted(BTC, 40)
    assert gap is not None
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records, gap.received_ns) == ("outbox_full", 10, 30, 3, 40)
    assert book.accepted(BTC, 50) is None


def test_a_long_gap_is_written_in_pieces_that_leave_no_hole() -> None:
    """The pieces and the end join up, and the longer it lasts, the rarer they get."""
    book = GapBook()
    book.interrupted([BTC], 0, "connection_lost", "code 1006")
    pieces = []
    now = 1_000
    while now < 40 * FIRST_PIECE_NS:
        pieces += [gap for _, gap in book.pieces(now)]
        now += FIRST_PIECE_NS // 60
    end = book.resumed(BTC, now)
    assert end is not None
    pieces.append(end)
    assert pieces[0].from_ns == 0
    assert all(earlier.to_ns == later.from_ns for earlier, later in pairwise(pieces))
    lengths = [piece.to_ns - piece.from_ns for piece in pieces[:-1]]
    assert lengths == sorted(lengths)
    assert len(lengths) == 6
    assert max(lengths) <= LONGEST_PIECE_NS + FIRST_PIECE_NS // 60


def test_a_stop_ends_what_is_open() -> None:
    """The next start only knows the last record of the channel, so each pair's own gap is written at the stop."""
    book = GapBook()
    book.interrupted([BTC], 100, "connection_lost", "code 1006")
    book.refused(ETH, 150)
    ended = dict(book.stop(200))
    assert (ended[BTC].from_ns, ended[BTC].to_ns) == (100, 200)
    assert ended[BTC].detail == "code 1006; open when the collector stopped"
    assert ended[ETH].records == 1
    assert book.stop(300) == []
