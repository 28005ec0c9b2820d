"""The commit of one segment, in its order:

1. the file is written in the writer's room in active/, with its footer, and fsynced, and its directory too
2. its entry is published to the catalog: **this is the commit**
3. the file is renamed into ready/, and the directory fsynced

A crash before 2 leaves a file without an entry: it is deleted, and the rows are read again from JetStream. A crash
after 2 leaves an entry whose file is still in active/: the rename is finished. Recovery does both.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import msgspec

from daedalus.catalog import SCHEMA_VERSION, Entry
from daedalus.config import Config
from daedalus.naming import staged_name
from daedalus.records import Record
from daedalus.wire import decode_records
from daedalus_writer.columns import record_batch
from daedalus_writer.layout import Folders, directory, file_name, free_number
from daedalus_writer.segment import Segment
from daedalus_writer.segment_file import FORMATS, finish, make_directories, sync_directory
from daedalus_writer.spool import Spool, joined
from daedalus_writer.steps import passed

_REMEMBERED_DIRECTORIES = 10_000
_RECEIVED_NS = attrgetter("received_ns")


class Sealer:
    """Step 1 for one shard: writes segment files, each under a name that was never used before."""

    def __init__(self, config: Config, folders: Folders, shard: int, writer: str) -> None:
        self._config = config
        self._folders = folders
        self._shard = shard
        self._writer = writer
        self._last_names: dict[Path, str] = {}
        """Directory → the last name used in it. The file may have gone to S3 since; its name must not come again."""

    def note_used(self, path: Path) -> None:
        """Remember the path of a committed segment (below ready/)."""
        self._last_names.pop(path.parent, None)
        self._last_names[path.parent] = path.name
        if len(self._last_names) > _REMEMBERED_DIRECTORIES:
            del self._last_names[next(iter(self._last_names))]

    def place(self, segment: Segment) -> Path:
        """In a thread, one segment after the other: give the segment its path below ready/, and make the directory. Two
        that made one at once would each rely on the other for it to be durable.

        Raises OSError.
        """
        folder = directory(segment.key, self._config.ingestion.partition_by)
        taken = [self._last_names.get(folder, "")]
        if (self._folders.ready / folder).is_dir():
            taken += [path.name for path in (self._folders.ready / folder).iterdir()]
        make_directories(self._folders.ready / folder, self._folders.ready)
        number = free_number(taken, self._shard, self._config.nats.shards)
        suffix = FORMATS[self._config.ingestion.raw_format].suffix
        segment.path = folder / file_name(segment.key, number, suffix)
        self.note_used(segment.path)
        return segment.path

    def seal(self, segment: Segment, spool: Spool, gaps: int) -> Entry:
        """In a thread: read the segment's rows back and write its file once. Returns its entry.

        Raises OSError (a full disk, or no room any more) or SpoolError, and then no file is left.
        """
        form = FORMATS[self._config.ingestion.raw_format]
        path = segment.path or self.place(segment)
        staged = self._folders.room / staged_name(str(path))
        received: list[int] = []
        try:
            passed("sealing")
            file = form(staged, segment.key.channel, self._config.ingestion)
            for group in joined(spool.read(segment.frames)):
                file.write(record_batch(segment.key, _decoded(segment.key.channel, group, received)))
            facts = self._facts(segment, gaps, min(received), max(received))
            file.close({f"daedalus.{name}": str(value) for name, value in facts.items()})
            size_bytes, sha256 = finish(staged)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return msgspec.convert({**facts, "path": str(path), "size_bytes": size_bytes, "sha256": sha256}, Entry)

    def _facts(self, segment: Segment, gaps: int, first_ns: int, last_ns: int) -> dict[str, str | int]:
        """What the footer says of the segment; the entry says the same, and what only the closed file can tell."""
        return {
            "exchange": segment.key.exchange,
            "channel": segment.key.channel,
            "symbol": segment.key.symbol,
            "market_id": segment.market_id,
            "hour": segment.key.hour,
            "rows": segment.rows,
            "format": self._config.ingestion.raw_format,
            "schema_version": SCHEMA_VERSION,
            "shard": self._shard,
            "first_sequence": segment.first_sequence,
            "last_sequence": segment.last.sequence,
            "last_timestamp_ns": segment.last.timestamp_ns,
            "first_received_ns": first_ns,
            "last_received_ns": last_ns,
            "gaps": gaps,
            "writer": self._writer,
        }


def _decoded(channel: str, group: list[bytes], received: list[int]) -> Iterator[list[Record]]:
    """The pieces of a row group one at a time; notes in `received` from when until when their records are."""
    for encoded in group:
        records = decode_records(channel, encoded)
        times = list(map(_RECEIVED_NS, records))
        received += (min(times), max(times))
        yield records


def publish_file(entry: Entry, room: Path, ready_folder: Path) -> None:
    """Step 3, in a thread; done twice it changes nothing.

    Raises OSError.
    """
    ready = ready_folder / entry.path
    make_directories(ready.parent, ready_folder)
    try:
        (room / staged_name(entry.path)).rename(ready)
    except FileNotFoundError:
        if not ready.exists():
            raise
    passed("renamed")
    sync_directory(ready.parent)
