"""The segments of a shard that take rows: found by what a batch has in common, and then by symbol."""

from __future__ import annotations

from collections.abc import Iterator

from daedalus_writer.segment import Segment

Group = tuple[str, str, int]
"""Exchange, channel, hour."""


class OpenSegments:
    def __init__(self) -> None:
        self._groups: dict[Group, dict[str, Segment]] = {}

    def group(self, group: Group) -> dict[str, Segment]:
        """Symbol → segment; what is put there is open. Not to be kept: an empty group is forgotten."""
        return self._groups.setdefault(group, {})

    def remove(self, segment: Segment) -> None:
        key = segment.key
        group = self._groups[key.exchange, key.channel, key.hour]
        del group[key.symbol]
        if not group:
            del self._groups[key.exchange, key.channel, key.hour]

    def __iter__(self) -> Iterator[Segment]:
        """They may be removed meanwhile."""
        for group in list(self._groups.values()):
            yield from list(group.values())

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))
