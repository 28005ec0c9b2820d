"""The disk of storage.root."""

from __future__ import annotations

from pathlib import Path

from daedalus_supervisor import disk


def test_disk_is_read(tmp_path: Path) -> None:
    """The use of a disk that exists lies between nothing and all."""
    status = disk.read(tmp_path)
    assert status is not None
    assert 0 < status.used_bytes < status.size_bytes
    assert 0 < status.used_percent <= 100


def test_no_folder_yet(tmp_path: Path) -> None:
    """Before anything was recorded there is no folder, and no figure: another disk's would mislead."""
    assert disk.read(tmp_path / "data") is None
