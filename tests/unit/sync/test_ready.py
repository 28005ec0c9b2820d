"""Walking ready/."""

from __future__ import annotations

import os
from pathlib import Path

from daedalus_sync.ready import ReadyFolder
from support.segments import path_of, write


def test_oldest(tmp_path: Path) -> None:
    """The oldest segments of those wanted, oldest first, and nothing that is no segment."""
    for number, modified in [(1, 300.0), (2, 100.0), (3, 200.0), (4, 50.0)]:
        os.utime(write(tmp_path, path_of(number), b"x"), (modified, modified))
    write(tmp_path, "ccxt/trade/notes.txt", b"x")
    ready = ReadyFolder(tmp_path)
    found = ready.oldest(lambda file: file.path != path_of(4), 2)
    assert [(file.path, file.modified) for file in found] == [(path_of(2), 100.0), (path_of(3), 200.0)]


def test_nothing_there_yet(tmp_path: Path) -> None:
    """A folder that does not exist is empty."""
    assert list(ReadyFolder(tmp_path).segments()) == []


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """A link is neither a segment nor a folder to walk."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "segment_1.parquet").write_bytes(b"x")
    ready = ReadyFolder(tmp_path)
    ready.root.mkdir(parents=True)
    (ready.root / "folder").symlink_to(outside)
    (ready.root / "segment_2.parquet").symlink_to(outside / "segment_1.parquet")
    assert list(ready.segments()) == []


def test_empty_folders(tmp_path: Path) -> None:
    """Only empty folders that have not changed since the time given go."""
    file = write(tmp_path, path_of(1), b"x")
    ready = ReadyFolder(tmp_path)
    empty = ready.root / "ccxt" / "old"
    empty.mkdir()
    for folder in (empty, file.parent):
        os.utime(folder, (1000.0, 1000.0))
    assert ready.remove_empty_folders(1000.0) == 0
    assert ready.remove_empty_folders(1001.0) == 1
    assert not empty.exists()
    assert file.exists()
