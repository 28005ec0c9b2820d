"""The disk under the simulation: real files below a root in memory, and what of them a power cut would leave.

The writer's modules get `SimulatedOs` in the place of `os`. What is fsynced through it is remembered: the content of a
file, the names in a directory. After a power cut each of these is there; what was not synced is there or not, each thing
for itself; but a file that was renamed is in one place or in the other.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

Tree = dict[str, bytes | None]
"""Path below the root → content; None: a directory."""


class Disk:
    """`before` is called before each call that changes or syncs something: where a process can be killed."""

    def __init__(self, root: Path, random: Random, before: Callable[[str], None], *, remembers: bool) -> None:
        """`remembers`: there will be a power cut."""
        self.root = root
        self.full = False
        self.before = before
        self._random = random
        self._remembers = remembers
        self._open: set[int] = set()
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        """Of a synced directory: name → inode, and whether it is a directory."""

    # --- what SimulatedOs calls

    def opened(self, descriptor: int) -> None:
        self._open.add(descriptor)

    def closed(self, descriptor: int) -> None:
        self._open.discard(descriptor)

    def refuse_when_full(self) -> None:
        """Raises OSError."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def synced(self, descriptor: int) -> None:
        if not self._remembers:
            return
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(descriptor) as entries:
                self._names[status.st_ino] = {one.name: (one.inode(), one.is_dir()) for one in entries}
        else:
            self._contents[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    # --- a killed process

    def tree(self) -> Tree:
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
        }

    def restore(self, tree: Tree) -> None:
        """Undo what happened since `tree` was taken. Files that are as they were are left alone: they may be open."""
        present = self.tree()
        for path in reversed(list(present)):
            if path not in tree:
                (self.root / path).rmdir() if present[path] is None else (self.root / path).unlink()
        for path, content in tree.items():
            if content is None:
                (self.root / path).mkdir(exist_ok=True)
            elif present.get(path) != content:
                (self.root / path).write_bytes(content)

    def close(self) -> None:
        """Close what dead processes have left open."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    # --- a power cut

    def cut_power(self) -> None:
        """Leave what a machine may find on its disk when it starts again."""
        durable = self._durable()
        was = self.tree()
        present = {path: (self.root / path).stat().st_ino for path in was}
        folders = {inode for inode, is_folder in durable.values() if is_folder}
        tree = Tree()
        for inode in dict.fromkeys([*(durable[path][0] for path in sorted(durable)), *present.values()]):
            synced = [path for path, (found, _) in durable.items() if found == inode]
            now = [path for path, found in present.items() if found == inode]
            if not (synced and now) and self._random.random() < 0.5:
                continue  # made, or deleted: the disk does not know of it yet
            path = now[0] if now and now[0] in synced else self._random.choice([*synced, *now])
            is_folder = inode in folders or any(was[one] is None for one in now)
            tree[path] = None if is_folder else self._content(inode, (was[now[0]] if now else None) or b"")
        self._write(tree)

    def _durable(self) -> dict[str, tuple[int, bool]]:
        """What is reached from the root by names that were synced: path → inode, and whether it is a directory."""
        found = {}
        todo = [("", self.root.stat().st_ino)]
        while todo:
            folder, inode = todo.pop()
            for name, (child, is_folder) in self._names.get(inode, {}).items():
                path = f"{folder}/{name}" if folder else name
                found[path] = (child, is_folder)
                if is_folder:
                    todo.append((path, child))
        return found

    def _content(self, inode: int, present: bytes) -> bytes:
        synced = self._contents.get(inode)
        if synced is not None:
            return synced
        return present[: self._random.choice((0, len(present) // 2, len(present)))]

    def _write(self, tree: Tree) -> None:
        self.close()
        empty = Tree()
        self.restore(empty)
        for path in [path for path, content in tree.items() if content is None]:
            (self.root / path).mkdir(parents=True, exist_ok=True)
        for path, content in tree.items():
            if content is not None:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                (self.root / path).write_bytes(content)
        self._contents.clear()
        self._names.clear()
        self.sync_all()  # what a disk has after a start is on the disk

    def sync_all(self) -> None:
        if self._remembers:
            for path in (self.root, *self.root.rglob("*")):
                descriptor = os.open(path, os.O_RDONLY)
                self.synced(descriptor)
                os.close(descriptor)


class SimulatedOs:
    """`os` as the writer's modules see it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        self._disk.before("open")
        descriptor = os.open(path, flags, mode)
        self._disk.opened(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self._disk.closed(descriptor)
        os.close(descriptor)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self._disk.before("pwrite")
        self._disk.refuse_when_full()
        return os.pwrite(descriptor, data, offset)

    def fsync(self, descriptor: int) -> None:
        self._disk.before("fsync")
        self._disk.refuse_when_full()
        self._disk.synced(descriptor)

    def sync(self) -> None:
        self._disk.before("sync")
        self._disk.sync_all()
