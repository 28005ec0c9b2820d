"""A directory of ready/ changes places with a new one that has the larger file instead of the small ones: one step for
everybody who opens it by its name.

Whoever listed the old directory finds its files gone, never the same rows twice. It stays for a moment after the step, so
that a listing under way is whole. What a writer published into it meanwhile is moved over.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from daedalus.catalog import Entry
from daedalus.errors import PermanentError
from daedalus.naming import staged_name
from daedalus_writer.segment_file import make_directories, sync_directory
from daedalus_writer.steps import passed

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class ExchangeError(PermanentError):
    """The file system cannot do it."""


def beside(entry: Entry, room: Path) -> Path:
    """Where the new directory is built; after the step the old one lies there."""
    return room / f"{staged_name(entry.path)}.directory"


def build(entry: Entry, room: Path, ready: Path) -> None:
    """Put the new directory together, of links: no byte is copied. Done twice it changes nothing. Raises OSError."""
    old, new = (ready / entry.path).parent, beside(entry, room)
    gone = {replaced.name for replaced in entry.replaces}
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for path in old.iterdir():
        if path.name not in gone:
            os.link(path, new / path.name)
    os.link(room / staged_name(entry.path), new / Path(entry.path).name)
    sync_directory(new)
    sync_directory(room)


def replace(entry: Entry, room: Path, ready: Path) -> None:
    """Let the directories change places; the old one lies in `beside` then. The entry is committed. Raises OSError."""
    old, new = (ready / entry.path).parent, beside(entry, room)
    exchange(new, old)
    passed("exchanged")
    sync_directory(old.parent)
    sync_directory(room)
    clear(entry, room, ready)


def clear(entry: Entry, room: Path, ready: Path) -> None:
    """Move what a writer has published into the old directory before the step, then forget the staged file."""
    _move_late(entry, room, ready)
    passed("cleared")
    (room / staged_name(entry.path)).unlink()


def finish(entry: Entry, room: Path, ready: Path) -> None:
    """Do what a run that was killed after the commit has left undone. Done twice it changes nothing. Raises OSError."""
    make_directories((ready / entry.path).parent, ready)
    if (ready / entry.path).exists():
        clear(entry, room, ready)
    else:
        if beside(entry, room).exists():
            _move_late(entry, room, ready)
        build(entry, room, ready)
        replace(entry, room, ready)


def _move_late(entry: Entry, room: Path, ready: Path) -> None:
    old, new = beside(entry, room), (ready / entry.path).parent
    gone = {replaced.name for replaced in entry.replaces} | {Path(entry.path).name}
    for path in old.iterdir():
        if path.name not in gone and not (new / path.name).exists():
            path.rename(new / path.name)
    sync_directory(new)


def check_exchange(room: Path) -> None:
    """Whether the file system can. Raises ExchangeError."""
    one, other = room / "one", room / "other"
    try:
        (one / "file").mkdir(parents=True)
        other.mkdir()
        exchange(one, other)
    except OSError as error:
        raise ExchangeError(
            f"{room.parent}: expected a file system where two directories can change places (ext4, xfs, btrfs, zfs 2.2), "
            f"found: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(one, ignore_errors=True)
        shutil.rmtree(other, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Linux' renameat2 with RENAME_EXCHANGE. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, "the C library has no renameat2")
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
