"""Segments as a writer seals them, without a server: file in ready/, and the entry that the catalog would have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from daedalus.catalog import Entry
from daedalus.config import Config, Ingestion, Nats, Storage
from daedalus.records import Record
from daedalus.wire import NS_PER_HOUR, append_record
from daedalus_writer.commit import Sealer, publish_file
from daedalus_writer.layout import Folders, Key
from daedalus_writer.segment import START, Position, Segment
from daedalus_writer.spool import Spool
from support.batches import HOUR, MAKE


class Sealed:
    """A storage root, to be filled segment by segment."""

    def __init__(self, root: Path, form: str = "parquet") -> None:
        self.ready = root / "raw" / "ready"
        self.entries: list[Entry] = []
        ingestion = Ingestion(raw_format=form)  # type: ignore[arg-type]  # one of the two
        config = Config(ingestion=ingestion, storage=Storage(root=str(root)), nats=Nats())
        self._folders = Folders(root, 0, "test")
        self._folders.create()
        self._spool = Spool(self._folders.room, HOUR)
        self._sealer = Sealer(config, self._folders, 0, "test")

    def segment(
        self,
        channel: str = "trade",
        *,
        symbol: str = "BTC/USD",
        hour: int = HOUR,
        sequences: tuple[int, int] = (1, 1),
        records: Sequence[Record] | None = None,
        first_number: int = 0,
        gaps: int = 0,
    ) -> Path:
        """Seal one segment of the given records, 50 of `support.batches` unless told, and publish its file."""
        numbers = range(first_number, first_number + 50)
        records = records or [MAKE[channel](number, hour * NS_PER_HOUR + number) for number in numbers]
        segment = Segment(Key("kraken", channel, symbol, hour), "XBTUSD", START, 0)
        buffer = bytearray()
        for record in records:
            append_record(buffer, record)
        segment.append(bytes(buffer), len(records), Position(sequences[0], 10**18), 0)
        segment.last = Position(sequences[1], 10**18)
        [(offset, _)] = self._spool.write([segment.unload(0)])
        segment.frames.append(offset)
        entry = self._sealer.seal(segment, self._spool, len(records) if channel == "gap" else gaps)
        publish_file(entry, self._folders.room, self._folders.ready)
        self.entries.append(entry)
        return self.ready / entry.path
