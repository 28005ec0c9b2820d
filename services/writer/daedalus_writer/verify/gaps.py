"""Sums of gap records. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

GapKey = tuple[str, str, str]
"""(exchange, symbol as in the path, channel)"""


class GapSum(msgspec.Struct):
    gaps: int = 0
    duration_ns: int = 0
    records: int = 0
    """Missing records, over the gaps that know."""
    unknown: int = 0
    """Gaps that do not know how many records are missing."""
    causes: Counter[str] = msgspec.field(default_factory=Counter)


class Gaps:
    """The sums of every exchange, symbol and channel."""

    def __init__(self) -> None:
        self.sums: dict[GapKey, GapSum] = {}

    def add(self, key: GapKey, cause: str, duration_ns: int, records: int | None) -> None:
        """Count one gap."""
        one = self.sums.setdefault(key, GapSum())
        one.gaps += 1
        one.duration_ns += duration_ns
        one.records += records or 0
        one.unknown += records is None
        one.causes[cause] += 1

    def merge(self, other: Gaps) -> None:
        """Count all that another one has counted."""
        for key, its in other.sums.items():
            one = self.sums.setdefault(key, GapSum())
            one.gaps += its.gaps
            one.duration_ns += its.duration_ns
            one.records += its.records
            one.unknown += its.unknown
            one.causes.update(its.causes)

    @property
    def count(self) -> int:
        return sum(one.gaps for one in self.sums.values())
