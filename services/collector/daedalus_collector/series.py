"""What the recorder knows of one pair, and how it knows which trades of a gap are missing."""

from __future__ import annotations

from collections.abc import Iterable

from daedalus.records import Gap, Trade
from daedalus_collector.continuity import Continuity, Hole, number_of
from daedalus_collector.deduplication import RecentIds
from daedalus_collector.outbox import Line
from daedalus_collector.overlap import Overlap, Stretch

Missing = int | Overlap
"""By what a gap's missing trades are known: the first of their ids where these have no holes, else what was recorded around it."""


class Series:
    """`dense`: the exchange numbers the trades without holes."""

    __slots__ = ("continuity", "false_alarms", "held", "ids", "line", "stretch")

    def __init__(self, line: Line, *, dense: bool) -> None:
        self.line = line
        self.ids = RecentIds() if line.channel == "trade" else None
        self.continuity = Continuity() if dense and line.channel == "trade" else None
        self.stretch = Stretch()
        """Stays empty where ids have no holes."""
        self.held: list[Missing] = []
        """Of each gap that waits for its backfill."""
        self.false_alarms = 0
        """In a row: ids that the exchange does not know over REST either."""

    def know(self, trades: Iterable[Trade], *, ours: bool) -> None:
        """What was recorded before; `ours`: the gap that is open now begins behind it."""
        for trade in trades:
            if self.ids is not None and trade.id is not None:
                self.ids.add(trade.id)
            if ours and (number := number_of(trade.id)) is not None and self.continuity is not None:
                self.continuity.add(number, trade.received_ns)
            if ours and trade.source is None:
                self.add(trade)

    def add(self, trade: Trade) -> None:
        """The trade is recorded, as it came."""
        if self.continuity is None and trade.id is not None and trade.timestamp_us is not None:
            self.stretch.add(trade)

    def close(self, gap: Gap) -> Missing | None:
        """A gap ends with the record that comes now. None: nobody can say what is missing."""
        if self.continuity is None:
            before = [trade for trade in self.stretch.last if trade.received_ns <= gap.from_ns]
            self.stretch = Stretch()
            return Overlap(before, self.stretch, self.ids.__contains__) if before and self.ids is not None else None
        if self.continuity.next is None:
            return None
        first = self.continuity.next
        if gap.cause == "collector_down":
            first = min([first, *(hole.first for hole in self.continuity.holes)])
        self.continuity.explain(first, gap.from_ns, gap.to_ns)
        return first

    def hold(self, missing: Missing, gap: Gap) -> None:
        """The gap waits; whatever is stored meanwhile says so."""
        self.held.append(missing)
        self.line.gap_ns = self.line.gap_ns or gap.from_ns

    def lacks(self, trade: Trade, missing: Missing) -> bool:
        """Whether a fetched trade is one of those, and was not recorded meanwhile."""
        if self.ids is None or trade.id is None or missing not in self.held:
            return False
        if isinstance(missing, Overlap):
            return trade.id not in self.ids
        number = number_of(trade.id)
        return number is not None and self.continuity is not None and self.continuity.misses(number)

    def recovered(self, trade: Trade) -> None:
        """A fetched trade is recorded."""
        if self.ids is not None and trade.id is not None:
            self.ids.add(trade.id)
        if self.continuity is not None and (number := number_of(trade.id)) is not None:
            self.continuity.add(number, trade.received_ns)

    def holes(self, first: int) -> list[Hole]:
        """What is missing of the gap that begins with the id `first`."""
        return [] if self.continuity is None else self.continuity.within(first, self._end(first))

    def forget_holes(self, first: int) -> None:
        """What is missing of that gap is written down and will not come."""
        if self.continuity is not None:
            self.continuity.forget(first, self._end(first))

    def _end(self, first: int) -> float:
        """Where the next gap's trades begin."""
        later = (other for other in self.held if isinstance(other, int) and other > first)
        return min(later, default=float("inf"))
