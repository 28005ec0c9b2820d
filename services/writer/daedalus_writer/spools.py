"""The spools of one run of a shard's writer, one for each hour: rows go there from memory, and come back for the commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from daedalus_writer.disk import Room
from daedalus_writer.metrics import Metrics
from daedalus_writer.segment import Segment
from daedalus_writer.spool import Spool
from daedalus_writer.steps import passed


class Spools:
    def __init__(self, room: Room, metrics: Metrics) -> None:
        self._room = room
        self._metrics = metrics
        self._spools: dict[int, Spool] = {}

    def of(self, hour: int) -> Spool:
        """Raises OSError."""
        spool = self._spools.get(hour)
        if spool is None:
            spool = self._spools[hour] = Spool(self._room.folder, hour)
        return spool

    async def flush(self, segments: Iterable[Segment], now_ns: int) -> int:
        """Move the rows that wait in memory into the spools; returns by how many bytes memory shrank. One at a time."""
        by_hour: dict[int, list[Segment]] = {}
        shrunk = 0
        for segment in segments:
            if segment.buffered_rows:
                by_hour.setdefault(segment.key.hour, []).append(segment)
        for hour, group in by_hour.items():
            buffers = [segment.unload(now_ns) for segment in group]
            places = await self._room.run(lambda hour=hour, buffers=buffers: self.of(hour).write(buffers))  # type: ignore[misc]
            for segment, (offset, size) in zip(group, places, strict=True):
                segment.frames.append(offset)
                segment.spooled_bytes += size
                self._metrics.spooled_bytes.inc(size)
            shrunk += sum(len(records) for _, records in buffers)
            passed("spooled")
        return shrunk

    async def keep(self, hours: Collection[int]) -> None:
        """Delete all others."""
        for hour in [hour for hour in self._spools if hour not in hours]:
            await self._room.run(self._spools.pop(hour).delete)
