"""Trade ids without holes, and what is missing of them."""

from __future__ import annotations

import pytest

from daedalus_collector.continuity import EXPLAINED_NS, LARGEST_HOLE, PATIENCE_NS, Continuity, Hole, number_of


def seen(*numbers: int, at_ns: int = 10) -> Continuity:
    continuity = Continuity()
    for number in numbers:
        continuity.add(number, at_ns)
    return continuity


def test_a_jump_is_an_alarm_after_a_while() -> None:
    """Exactly the ids that did not come, once, and not before a late trade had its time."""
    continuity = seen(1, 2)
    continuity.add(6, 20)
    assert continuity.alarms(20 + PATIENCE_NS - 1) == []
    assert continuity.alarms(20 + PATIENCE_NS) == [Hole(3, 5, 10, 20, explained=False)]
    assert continuity.alarms(20 + PATIENCE_NS) == []
    assert continuity.within(0, 100) == [Hole(3, 5, 10, 20, explained=True)], "it can still be filled"


def test_trades_of_a_frame_newest_first_are_no_alarm() -> None:
    """As Coinbase sends them; nor are trades that come again, or another numbering."""
    assert seen(1, 5, 4, 3, 2, 6, 4).alarms(10 + PATIENCE_NS) == []
    assert seen(10, 8, 9, 10).holes == []
    assert seen(1, 3 + LARGEST_HOLE).holes == []


def test_a_late_trade_splits_a_hole() -> None:
    """What is left on both sides is still missing."""
    continuity = seen(1, 10)
    continuity.add(5, 20)
    assert [(hole.first, hole.last) for hole in continuity.holes] == [(2, 4), (6, 9)]
    assert continuity.misses(4)
    assert not continuity.misses(5)
    assert sum(hole.size for hole in continuity.within(3, 7)) == 4


@pytest.mark.parametrize(("after_ns", "alarms"), [(0, 0), (EXPLAINED_NS, 0), (EXPLAINED_NS + 1, 1)])
def test_what_a_gap_tells_is_no_alarm(after_ns: int, alarms: int) -> None:
    """A jump across a reconnect belongs to its gap; one that comes later does not."""
    continuity = seen(1)
    continuity.explain(2, 100, 100)
    continuity.add(9, 100 + after_ns)
    assert len(continuity.alarms(10**12)) == alarms


def test_forgotten_holes_are_those_of_one_gap() -> None:
    """The next gap's stay."""
    continuity = seen(1, 5, 6, 9)
    continuity.forget(2, 7)
    assert [(hole.first, hole.last) for hole in continuity.holes] == [(7, 8)]


@pytest.mark.parametrize(("id_", "number"), [("17", 17), (None, None), ("a1", None), ("", None), ("٣", None)])
def test_number_of_an_id(id_: str | None, number: int | None) -> None:
    """Only decimal digits are a number."""
    assert number_of(id_) == number
