"""The folder ready/: immutable, complete segments. Blocking: called in threads."""

from __future__ import annotations

import heapq
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from daedalus.naming import staged_name
from daedalus_sync.segment import is_segment


class LocalFile(msgspec.Struct, frozen=True, gc=False):
    path: str
    """Below ready/."""
    size_bytes: int
    modified: float
    """Seconds since 1970: when the writer closed it."""


class ReadyFolder:
    def __init__(self, storage_root: Path) -> None:
        self.root = storage_root / "raw" / "ready"
        self.active = storage_root / "raw" / "active"

    def file(self, path: str) -> Path:
        return self.root / path

    def is_in_active(self, path: str) -> bool:
        """Whether the writer has the segment still: its catalog entry comes before the rename."""
        return any((room / staged_name(path)).exists() for room in self.active.glob("shard-*"))

    def oldest(self, wanted: Callable[[LocalFile], bool], limit: int) -> list[LocalFile]:
        """The `limit` oldest of the segments that are wanted, oldest first, in memory for that many only."""
        return heapq.nsmallest(limit, filter(wanted, self.segments()), key=lambda file: (file.modified, file.path))

    def segments(self) -> Iterator[LocalFile]:
        """Every segment, in no order; what vanishes meanwhile is passed over."""
        folders = [str(self.root)]
        skip = len(str(self.root)) + 1
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif is_segment(entry.name) and entry.is_file(follow_symlinks=False):
                            stat = entry.stat(follow_symlinks=False)
                            yield LocalFile(entry.path[skip:], stat.st_size, stat.st_mtime)
            except FileNotFoundError:
                continue

    def remove_empty_folders(self, unchanged_since: float) -> int:
        """Remove what deletion emptied, and what has not changed since (seconds since 1970); returns how many.

        The age keeps out of the writer's way, which makes a folder and then renames a segment into it.
        """
        removed = 0
        for folder, _, files in os.walk(self.root, topdown=False):
            if files or folder == str(self.root):
                continue
            try:
                if os.stat(folder).st_mtime < unchanged_since:  # noqa: PTH116  # os.walk's own strings
                    os.rmdir(folder)  # noqa: PTH106  # refuses a folder that is not empty
                    removed += 1
            except OSError:
                continue
        return removed

    def disk(self) -> tuple[int, int]:
        """Bytes used, and bytes in all, of its disk, as `df` counts them. Raises OSError."""
        used = shutil.disk_usage(self.root)
        return used.used, used.used + used.free
