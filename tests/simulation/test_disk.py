"""What the simulated disk keeps in a power cut, and what it may lose."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from simulation.disk import Disk, SimulatedOs, Tree


def after_power_cut(root: Path, seed: int, write: Callable[[Path, SimulatedOs], None]) -> Tree:
    root.mkdir()
    disk = Disk(root, Random(seed), lambda _call: None, remembers=True)
    write(root, SimulatedOs(disk))
    disk.cut_power()
    return disk.tree()


def sync(path: Path, files: SimulatedOs) -> None:
    descriptor = files.open(path, os.O_RDONLY)
    files.fsync(descriptor)
    files.close(descriptor)


def outcomes(tmp_path: Path, write: Callable[[Path, SimulatedOs], None]) -> list[Tree]:
    return [after_power_cut(tmp_path / str(seed), seed, write) for seed in range(40)]


def test_synced_is_kept(tmp_path: Path) -> None:
    """A synced file in a synced folder is there, with the content it had when it was synced."""

    def write(root: Path, files: SimulatedOs) -> None:
        (root / "a").mkdir()
        (root / "a" / "file").write_bytes(b"content")
        for path in (root / "a" / "file", root / "a", root):
            sync(path, files)

    assert outcomes(tmp_path, write) == [{"a": None, "a/file": b"content"}] * 40


def test_unsynced_may_be_lost(tmp_path: Path) -> None:
    """A file whose content or name was not synced is whole in one case and damaged or gone in another."""

    def write(root: Path, files: SimulatedOs) -> None:
        (root / "named").write_bytes(b"content")
        sync(root, files)
        (root / "synced").write_bytes(b"content")
        sync(root / "synced", files)

    found = outcomes(tmp_path, write)
    assert {tree["named"] for tree in found} >= {b"", b"content"}
    assert {tree.get("synced") for tree in found} == {None, b"content"}


def test_renamed_is_in_one_place(tmp_path: Path) -> None:
    """A rename that was not synced has happened or not; the file is in exactly one place, and whole."""

    def write(root: Path, files: SimulatedOs) -> None:
        for name in ("room", "ready"):
            (root / name).mkdir()
        (root / "room" / "file").write_bytes(b"content")
        for path in (root / "room" / "file", root / "room", root):
            sync(path, files)
        (root / "room" / "file").rename(root / "ready" / "file")

    places = [
        tuple(path for path, content in tree.items() if content == b"content") for tree in outcomes(tmp_path, write)
    ]
    assert set(places) == {("room/file",), ("ready/file",)}


def test_kill_undoes_the_unwinding(tmp_path: Path) -> None:
    """What a killed process's code still did while it was unwound is undone; open files stay the same files."""
    disk = Disk(tmp_path, Random(1), lambda _call: None, remembers=False)
    (tmp_path / "kept").write_bytes(b"1")
    (tmp_path / "removed").write_bytes(b"2")
    inode = (tmp_path / "kept").stat().st_ino
    tree = disk.tree()
    (tmp_path / "removed").unlink()
    (tmp_path / "folder").mkdir()
    disk.restore(tree)
    assert disk.tree() == {"kept": b"1", "removed": b"2"}
    assert (tmp_path / "kept").stat().st_ino == inode
