"""Whether the trades that an exchange tells over REST are those of its stream, and which of them a gap lacks. Pure.

Few exchanges number trades without holes, and on many a trade has another id over REST, or the stream joins several into
one: what was fetched would be recorded twice. So a page proves itself by the trades that it has in common with those
recorded on either side of the gap: they must be the same in all that they say, and between two of them the page must have
every trade that was recorded, and no other. Only then is what lies between the two sides taken, by the exchange's own time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from daedalus.records import Trade

COMPARED = 50
"""Recorded trades on each side of a gap."""
ASKED = 20
"""So many before the gap are asked for."""
APART_US = 2_000_000
"""Some exchanges tell whole seconds over REST (ccxt: bitstamp, `date`)."""
OTHER_IDS = "the exchange's trades have other ids over REST"
OTHER_TRADES = "the exchange's trades over REST are not those of its stream"


class Stretch:
    """Trades of a symbol that were recorded one after another without a gap: the first and the last."""

    __slots__ = ("first", "last")

    def __init__(self) -> None:
        self.first: list[Trade] = []
        self.last: deque[Trade] = deque(maxlen=COMPARED)

    def add(self, trade: Trade) -> None:
        self.last.append(trade)
        if len(self.first) < COMPARED:
            self.first.append(trade)


class Comparison(NamedTuple):
    """What a page is worth."""

    differs: str = ""
    """Why nothing of it can be used, or ''."""
    missed: Sequence[Trade] = ()
    """Trades of the gap that were not recorded, oldest first."""
    reaches_back: bool = False
    """It has the last trade before the gap."""
    complete: bool = False
    """And the first one after it: nothing else is missing."""


class Overlap:
    """What was recorded around one gap: `before` its beginning, oldest first and not empty, and `after` its end, as it comes.
    `knows`: whether a trade of that id was recorded lately.
    """

    def __init__(self, before: Sequence[Trade], after: Stretch, knows: Callable[[str], bool]) -> None:
        self._before = before
        self._after = after.first
        self._knows = knows

    @property
    def since_ms(self) -> int:
        """From when on trades are to be asked for."""
        return (_time(self._before[-ASKED:][0]) - APART_US) // 1_000

    def compare(self, page: Iterable[Trade]) -> Comparison:
        """`page`: trades that followed each other, all of them with an id and a time, in any order."""
        told = sorted(page, key=_time)
        by_id = {trade.id: trade for trade in told}
        recorded = [*self._before, *self._after]
        known = {trade.id for trade in recorded} | {id_ for id_ in by_id if id_ is not None and self._knows(id_)}
        for side in (self._before, self._after):
            if differs := _difference(side, told, by_id, known):
                return Comparison(differs)
        common = [number for number, trade in enumerate(recorded) if trade.id in by_id]
        if not common:
            return Comparison()
        if _left_out(recorded[common[0] : common[-1] + 1], by_id):
            return Comparison(OTHER_TRADES)
        last, first = self._before[-1], next(iter(self._after), None)
        reaches_back = last.id in by_id
        if first is None:  # the stream told an old trade again, and that closed the gap
            return Comparison("", (), reaches_back, told[-1].id == last.id)
        reaches_on = first.id in by_id
        begins_within = reaches_back or _time(last) < _time(told[0])
        ends_within = reaches_on or _time(told[-1]) + APART_US < _time(first)
        if not (begins_within and ends_within):
            # The page's edge is at the gap's: it may have half of what the stream joined.
            return Comparison("", (), reaches_back)
        from_us, to_us = (_time(by_id.get(edge.id, edge)) for edge in (last, first))
        missed = [trade for trade in told if from_us <= _time(trade) <= to_us and trade.id not in known]
        return Comparison("", missed, reaches_back, reaches_back and reaches_on)


def _difference(
    side: Sequence[Trade], told: Sequence[Trade], by_id: Mapping[str | None, Trade], known: set[str | None]
) -> str:
    """How a page contradicts what was recorded on one side of the gap, or ''."""
    common = [(trade, by_id[trade.id]) for trade in side if trade.id in by_id]
    if not common:
        covered = any(_time(told[0]) + APART_US < _time(trade) < _time(told[-1]) - APART_US for trade in side if told)
        return OTHER_IDS if covered else ""
    if not all(_same(recorded, other) for recorded, other in common):
        return OTHER_TRADES
    times = [_time(other) for _, other in common]
    first, last = min(times), max(times)
    strange = any(first < _time(trade) < last and trade.id not in known for trade in told)
    return OTHER_TRADES if strange else ""


def _left_out(within: Sequence[Trade], by_id: Mapping[str | None, Trade]) -> bool:
    """Whether a page lacks a trade that was recorded between two of its own. Among those of one moment its order may be
    another one, and its edge may divide them.
    """
    edges = {_time(within[0]), _time(within[-1])}
    return any(trade.id not in by_id and _time(trade) not in edges for trade in within)


def _same(recorded: Trade, told: Trade) -> bool:
    return (
        (recorded.price, recorded.amount) == (told.price, told.amount)
        and (recorded.side == told.side or None in (recorded.side, told.side))
        and abs(_time(recorded) - _time(told)) <= APART_US
    )


def _time(trade: Trade) -> int:
    return trade.timestamp_us or 0
