"""Which fetched trades are taken, and which pages are not of the stream."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import pytest

from daedalus.records import Trade
from daedalus_collector.overlap import OTHER_IDS, OTHER_TRADES, Comparison, Overlap, Stretch

SECOND = 1_000_000
EXAMPLES = 1_500


class Told(NamedTuple):
    """A trade as one way tells it, and which executions it is."""

    trade: Trade
    of: frozenset[int]


def told(numbers: Iterable[int], time_us: int, prefix: str = "") -> Told:
    """Several executions joined into one have the id of the last; no two have the same amount."""
    of = sorted(numbers)
    amount = float(sum(2**number for number in of))
    return Told(Trade(0, time_us, f"{prefix}{of[-1]}", 1.0, amount, "buy"), frozenset(of))


def shown(one: Told, *, coarse: bool) -> int:
    """Its time, in whole seconds where that is all there is."""
    time_us = one.trade.timestamp_us or 0
    return time_us // SECOND * SECOND if coarse else time_us


def compared(before: list[Told], after: list[Told], page: Iterable[Told], *, remembered: int = 50) -> Comparison:
    stretch = Stretch()
    for one in after:
        stretch.add(one.trade)
    recorded = {one.trade.id for one in (*before, *after)}
    return Overlap([one.trade for one in before][-remembered:], stretch, recorded.__contains__).compare(
        one.trade for one in page
    )


def ways(random: Random, *, coarse: bool) -> tuple[list[Told], list[Told]]:
    """The same executions as the stream and as REST tell them. Each may make one trade of some of those of one moment,
    but not in whole seconds."""
    stream: list[Told] = []
    rest: list[Told] = []
    number, time_us = 0, 10**15
    for _ in range(random.randint(2, 12)):
        time_us += random.choice((1_000, 300_000, 3_000_000))
        numbers = range(number, number := number + random.randint(1, 3))
        for way, may_join in ((stream, True), (rest, not coarse)):
            joined = may_join and random.random() < 0.3
            way.extend([told(numbers, time_us)] if joined else [told([one], time_us) for one in numbers])
    return stream, [told(one.of, shown(one, coarse=coarse)) for one in rest]


@pytest.mark.parametrize("coarse", [False, True])
def test_nothing_is_taken_twice_or_from_outside_the_gap(coarse: bool) -> None:  # noqa: FBT001  # a case
    """Whatever either way joins, wherever the page ends, however coarse its clock is, and if the stream is behind: what is
    taken is of the gap. Where the two ways tell the same, the page is believed."""
    random, believed = Random(1), 0
    for _ in range(EXAMPLES):
        stream, rest = ways(random, coarse=coarse)
        begin, end, delivered = sorted(random.sample(range(1, len(stream) + 2), 3))
        before, gone, after = stream[:begin], stream[begin : end - 1], stream[end - 1 : delivered - 1]
        first, last = sorted(random.choices(range(len(rest) + 1), k=2))
        while coarse and 0 < last < len(rest) and shown(rest[last], coarse=True) == shown(rest[last - 1], coarse=True):
            last += 1  # what is told of a second is told whole, if it is not the oldest
        page = rest[first:last]
        remembered = len(before) if coarse else random.randint(1, 20)
        found = compared(before, after, random.sample(page, len(page)), remembered=remembered)
        taken = [one for one in page if one.trade in found.missed]
        executions = [number for one in taken for number in one.of]
        lost, recorded = (frozenset[int]().union(*(one.of for one in some)) for some in (gone, [*before, *after]))
        assert len(taken) == len(found.missed)
        assert len(executions) == len(set(executions))
        assert recorded.isdisjoint(executions)
        for one in taken:  # of the moment of the first trade after the gap some may be on their way still
            assert one.of <= lost or shown(one, coarse=False) == shown(after[0], coarse=coarse)
        assert not found.complete or lost.issubset(executions)
        if [one.of for one in stream] == [one.of for one in rest]:
            assert not found.differs
            assert found.complete == ({before[-1].of, after[0].of} <= {one.of for one in page})
            believed += found.complete
    assert believed > EXAMPLES / 100


BEFORE = [told([number], number * SECOND) for number in range(10, 20)]
GONE = [told([number], number * SECOND) for number in range(20, 30)]
AFTER = [told([number], number * SECOND) for number in range(30, 40)]
ALL = [*BEFORE, *GONE, *AFTER]


def test_a_page_from_before_the_gap_to_after_it_is_complete() -> None:
    """What lies between is missed, oldest first."""
    found = compared(BEFORE, AFTER, reversed(ALL[5:]))
    assert found == Comparison("", [one.trade for one in GONE], reaches_back=True, complete=True)


def test_a_page_that_does_not_reach_back_proves_itself_by_what_came_after_the_gap() -> None:
    """The newer trades of the gap are taken, and it stays open whether others are missing."""
    found = compared(BEFORE, AFTER, ALL[15:])
    assert found == Comparison("", [one.trade for one in GONE[5:]], reaches_back=False, complete=False)


def test_a_page_that_ends_within_the_gap_is_not_complete() -> None:
    """Such as the first one from a time on."""
    found = compared(BEFORE, AFTER, ALL[:15])
    assert found == Comparison("", [one.trade for one in GONE[:5]], reaches_back=True, complete=False)


@pytest.mark.parametrize("page", [[], GONE])
def test_without_a_trade_in_common_nothing_is_proved(page: list[Told]) -> None:
    """And nothing taken."""
    assert compared(BEFORE, AFTER, page) == Comparison()


def test_other_ids_are_told() -> None:
    """The page is of the same time and has no trade that was recorded."""
    other = [told(one.of, one.trade.timestamp_us or 0, "rest-") for one in ALL]
    assert compared(BEFORE, AFTER, other) == Comparison(OTHER_IDS)
    assert compared(BEFORE, AFTER, [*other[:10], *ALL[10:]]) == Comparison(OTHER_IDS)


@pytest.mark.parametrize(
    "page",
    [
        [*ALL[:3], *ALL[4:]],
        [*ALL[:25], *ALL[26:]],
        [*ALL[:5], told([99], 14_500_000), *ALL[5:]],
        [*ALL[:5], told([5, 15], 15_000_000), *ALL[6:]],
        [*ALL[:5], told([15], 18_000_000), *ALL[6:]],
    ],
    ids=["lacks one before", "lacks one after", "has one more", "another amount", "another time"],
)  # fmt: skip
def test_a_page_that_is_not_of_the_stream_is_told(page: list[Told]) -> None:
    """One difference is enough."""
    assert compared(BEFORE, AFTER, page) == Comparison(OTHER_TRADES)


def test_whole_seconds_are_precise_enough() -> None:
    """Bitstamp tells no more over REST: what happened in the second of the last trade is taken all the same."""
    stream = [told([number], 300_000 * number) for number in range(10, 40)]
    coarse = [told(one.of, (one.trade.timestamp_us or 0) // SECOND * SECOND) for one in stream]
    found = compared(stream[:10], stream[20:], coarse)
    assert [one.id for one in found.missed] == [one.trade.id for one in stream[10:20]]
    assert found.complete


def test_a_gap_that_an_old_trade_closed() -> None:
    """The stream began with the last trade before the gap: nothing is missing when REST knows no newer one either."""
    assert compared(BEFORE, [], BEFORE) == Comparison("", (), reaches_back=True, complete=True)
    assert compared(BEFORE, [], ALL) == Comparison("", (), reaches_back=True, complete=False)


def test_trades_are_asked_for_from_a_little_before_the_gap() -> None:
    """Twenty trades and two seconds, not all that is remembered."""
    many = [one.trade for one in (told([number], number * SECOND) for number in range(50))]
    assert Overlap(many, Stretch(), lambda _: False).since_ms == 28_000
    assert Overlap(many[:3], Stretch(), lambda _: False).since_ms == -2_000
