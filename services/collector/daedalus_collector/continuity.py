"""Which trades of one symbol are missing, where the exchange numbers them without holes. Pure: time is an argument.

A jump of the id opens a hole; an id within it, late or fetched afterwards, closes it. A hole that is seen when a gap
closes, or at once after it, belongs to that gap. Any other is an alarm when it is still open after `PATIENCE_NS`:
Coinbase sends the trades of a frame newest first, so that a hole of a moment means nothing.
"""

from __future__ import annotations

from typing import NamedTuple

PATIENCE_NS = 2 * 1_000_000_000
EXPLAINED_NS = 400_000_000
"""After a gap closed: less than the backfill waits before it looks at what is missing."""
MOST_HOLES = 100
"""Beyond that the oldest is forgotten: it is in a gap record that is being written, or was."""
NO_MORE = "the exchange has no more"
"""Why trades stay missing: they were asked for, and the answer did not hold them."""
LARGEST_HOLE = 1_000_000
"""A jump further than that is another numbering, not a loss."""


class Hole(NamedTuple):
    """The ids `first` to `last` are missing; they came, or did not, from `from_ns` to `to_ns`."""

    first: int
    last: int
    from_ns: int
    to_ns: int
    explained: bool
    """A gap record tells of it already."""

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Continuity:
    """The ids of one symbol."""

    __slots__ = ("_explained_until_ns", "_last_ns", "holes", "next")

    def __init__(self) -> None:
        self.next: int | None = None
        """The id after the highest one seen; None before the first."""
        self.holes: list[Hole] = []
        self._last_ns = 0
        self._explained_until_ns = 0

    def add(self, number: int, received_ns: int) -> None:
        """A trade with that id is there."""
        expected = self.next
        if expected is not None and number < expected:
            if self.holes:
                self._fill(number)
            return
        if expected is not None and 0 < number - expected <= LARGEST_HOLE:
            explained = received_ns <= self._explained_until_ns
            self.holes.append(Hole(expected, number - 1, self._last_ns, received_ns, explained))
            del self.holes[:-MOST_HOLES]
        self.next = number + 1
        self._last_ns = received_ns

    def misses(self, number: int) -> bool:
        return any(hole.first <= number <= hole.last for hole in self.holes)

    def within(self, first: int, end: float) -> list[Hole]:
        """What is missing from the id `first` to before `end`."""
        return [hole for hole in self.holes if first <= hole.first < end]

    def explain(self, first: int, from_ns: int, now_ns: int) -> None:
        """A gap from `from_ns` on closes now, with the id `first` as its first: what is missing from there until a moment
        after is told by it. An older hole is not.
        """
        self._explained_until_ns = now_ns + EXPLAINED_NS
        self.holes = [
            hole._replace(explained=hole.explained or hole.first >= first or hole.from_ns >= from_ns)
            for hole in self.holes
        ]

    def forget(self, first: int, end: float) -> None:
        """What is missing from the id `first` to before `end` is written down and will not come."""
        self.holes = [hole for hole in self.holes if not first <= hole.first < end]

    def alarms(self, now_ns: int) -> list[Hole]:
        """The holes that nothing explains and nobody filled; each is told once, and is explained from then on."""
        if not self.holes:
            return []
        alarms = [hole for hole in self.holes if not hole.explained and now_ns - hole.to_ns >= PATIENCE_NS]
        if alarms:
            self.holes = [hole._replace(explained=True) if hole in alarms else hole for hole in self.holes]
        return alarms

    def _fill(self, number: int) -> None:
        for at, hole in enumerate(self.holes):
            if hole.first <= number <= hole.last:
                rest = [hole._replace(last=number - 1), hole._replace(first=number + 1)]
                self.holes[at : at + 1] = [piece for piece in rest if piece.size > 0]
                return


def number_of(id_: str | None) -> int | None:
    """The id as a number, or None."""
    return int(id_) if id_ is not None and id_.isascii() and id_.isdecimal() else None
