"""What the path of a segment says of it. Pure; the same for local files and for object keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from daedalus.config import PARTITION_COLUMNS
from daedalus.records import CHANNELS
from daedalus_writer.layout import SOURCE, Key, directory, hour_start, partition_values
from daedalus_writer.verify.defect import Defect, expect

SUFFIXES = (".parquet", ".ndjson.zst")
_NAME = re.compile(r"segment_(\d{8}T\d{2})_(?:\d{5,}-)?\d{5,}\.(?:parquet|ndjson\.zst)")

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class Location(msgspec.Struct, frozen=True):
    name: str
    channel: str | None
    """None: the path does not say, as in a copy that begins below `ccxt/<channel>`."""
    partitions: dict[str, str]
    """Column → value, of the directories `column=value`."""

    @property
    def entry_path(self) -> str | None:
        """The path in the catalog, as far as the path alone can say."""
        if self.channel is None:
            return None
        folders = [f"{column}={value}" for column, value in self.partitions.items()]
        return str(PurePosixPath(SOURCE, self.channel, *folders, self.name))


def locate(parts: Sequence[str]) -> Location:
    """Read the parts of a path, the last of which is the file's name."""
    *folders, name = parts
    begin = len(folders)
    while begin and "=" in folders[begin - 1]:
        begin -= 1
    partitions = dict(folder.split("=", 1) for folder in folders[begin:])
    named = begin >= 2 and folders[begin - 2] == SOURCE and folders[begin - 1] in CHANNELS
    return Location(name, folders[begin - 1] if named else None, partitions)


def entries_below(parts: Sequence[str]) -> str:
    """The subject of all catalog entries that may be of files below a path: the whole catalog takes long to read."""
    channel, values = "*", {"exchange": "*", "symbol": "*"}
    for part, next_part in zip(parts, [*parts[1:], ""], strict=True):
        if part == SOURCE and next_part in CHANNELS:
            channel, values = next_part, {"exchange": "*", "symbol": "*"}
        column, _, value = part.partition("=")
        if channel != "*" and column in values and _TOKEN.fullmatch(value):
            values[column] = value
    return f"catalog.*.{values['exchange']}.{channel}.{values['symbol']}"


def path_in_catalog(location: Location, key: Key) -> str:
    """The path in the catalog of a file that holds `key`, wherever it lies now."""
    columns = [column for column in PARTITION_COLUMNS if column in location.partitions] or PARTITION_COLUMNS
    return location.entry_path or str(directory(key, columns) / location.name)


def check_location(location: Location, key: Key) -> None:
    """Whether a file that holds `key` lies where it belongs. Raises Defect."""
    expect("a path below the channel", key.channel, location.channel or key.channel)
    values = partition_values(key)
    for column, value in location.partitions.items():
        if column not in values:
            raise Defect(f"directories of {', '.join(values)}", f"{column}={value}")
        if str(values[column]) != value:
            raise Defect(f"{column}={values[column]} in the path, as in the file", f"{column}={value}")
    name = _NAME.fullmatch(location.name)
    if name is None:
        raise Defect("a name like segment_20260203T14_00001.parquet", location.name)
    expect("the hour in the name", f"{hour_start(key.hour):%Y%m%dT%H}", name[1])
