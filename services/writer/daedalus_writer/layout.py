"""Where segments lie: the Hive directories, and file names that shards can choose without asking each other.

    <root>/raw/ready/ccxt/<channel>/exchange=…/symbol=…/year=…/month=…/day=…/hour=…/segment_20260203T14_00001.parquet
    <root>/raw/active/shard-<shard>.<boot>/<hash>.segment_20260203T14_00001.parquet     until it is committed
    <root>/raw/active/shard-<shard>.<boot>/<YYYYMMDDTHH>.spool

Below active/ each run of a writer has a room of its own for each shard: a writer that was replaced and does not know it
yet cannot touch what its successor writes, and recovery empties the rooms of all earlier runs.

Numbers are unpadded (`hour=7`): readers then take them for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from daedalus.config import PartitionColumn
from daedalus.naming import symbol_token
from daedalus_writer.segment_file import sync_directory

SOURCE = "ccxt"
_NAME = re.compile(r"segment_\d{8}T\d{2}_(?:(\d{5,})-)?(\d{5,})\.[a-z.]+")
"""`segment_20260203T14_00001-00007.parquet` was merged from the numbers 1 to 7."""


class Key(msgspec.Struct, frozen=True, gc=False):
    """What a segment holds: one channel of one symbol of one exchange in one hour of receive time."""

    exchange: str
    channel: str
    symbol: str
    hour: int
    """Hours since 1970-01-01 UTC."""


def hour_start(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)


def partition_values(key: Key) -> dict[PartitionColumn, str | int]:
    """The partition columns and their values, the same in the path and in the rows."""
    start = hour_start(key.hour)
    return {
        "exchange": key.exchange,
        "symbol": symbol_token(key.symbol),
        "year": start.year,
        "month": start.month,
        "day": start.day,
        "hour": start.hour,
    }


def directory(key: Key, partition_by: Sequence[PartitionColumn]) -> Path:
    """The directory of a key below active/ and ready/."""
    values = partition_values(key)
    return Path(SOURCE, key.channel, *(f"{column}={values[column]}" for column in partition_by))


def file_name(key: Key, number: int, suffix: str) -> str:
    return f"segment_{hour_start(key.hour):%Y%m%dT%H}_{number:05d}.{suffix}"


def free_number(taken: Iterable[str], shard: int, shards: int) -> int:
    """The first number above those taken that belongs to this shard.

    Shard i of N uses i + 1, i + 1 + N, i + 1 + 2 N, …: two shards that write into one directory never meet.
    """
    highest = max((found[1] for name in taken if (found := numbers(name)) is not None), default=0)
    first = shard + 1
    return first if highest < first else first + ((highest - first) // shards + 1) * shards


def merged_name(names: Sequence[str]) -> str:
    """The name of a file that takes the place of these, of one key: it was never used, and numbers go on above it."""
    found = [one for name in names if (one := numbers(name)) is not None]
    stem, _, rest = names[0].rpartition("_")
    low, high = min(one[0] for one in found), max(one[1] for one in found)
    return f"{stem}_{low:05d}-{high:05d}.{rest.partition('.')[2]}"


def hour_of(name: str) -> int | None:
    """The hour in the name of a segment; None: it is none."""
    if numbers(name) is None:
        return None
    start = datetime.strptime(name.split("_")[1], "%Y%m%dT%H").replace(tzinfo=UTC)
    return int(start.timestamp()) // 3600


def numbers(name: str) -> tuple[int, int] | None:
    """The first and the last number in the name of a segment; None: it is none."""
    match = _NAME.fullmatch(name)
    return (int(match[1] or match[2]), int(match[2])) if match else None


class Folders:
    """The folders of one shard, in one run of a writer; or of a run of `compact`, for which `compacted` is the shard."""

    def __init__(self, root: Path, shard: int | str, boot: str) -> None:
        self.active = root / "raw" / "active"
        self.ready = root / "raw" / "ready"
        self._shard = shard
        self.room = self.active / f"shard-{shard}.{boot}"
        self._found = set(self.earlier_rooms())

    def create(self) -> None:
        """Make the folders, and their names durable: a file is no more durable than the folders on the way to it. Done twice
        it changes nothing. Raises OSError.

        The spools of the runs before us go first: they may be what the disk is full of, and nobody reads them any more.
        """
        for room in filter(self.is_left, self.earlier_rooms()):
            for spool in room.glob("*.spool"):
                spool.unlink(missing_ok=True)
        for folder in (self.room, self.ready):
            folder.mkdir(parents=True, exist_ok=True)
        raw = self.ready.parent
        for folder in (self.active, raw, raw.parent, raw.parent.parent):
            sync_directory(folder)

    def earlier_rooms(self) -> list[Path]:
        """What earlier runs, dead or replaced, have left of this shard; and the room of a successor."""
        return [room for room in self.active.glob(f"shard-{self._shard}.*") if room != self.room]

    def room_of(self, writer: str) -> Path:
        """The room of another run, by the name of its writer in the catalog: `<instance>.<boot>`."""
        return self.active / f"shard-{self._shard}.{writer.rpartition('.')[2]}"

    def is_left(self, room: Path) -> bool:
        """Whether the room was there before this run took the shard: only then its writer cannot be a successor."""
        return room in self._found
