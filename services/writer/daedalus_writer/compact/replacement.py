"""A directory of ready/ changes places with a new one that has the larger file instead of the small ones: one step for
everybody who opens it by its name.

Whoever listed the old directory finds its files gone, never the same rows twice. It stays for a moment after the step, so
that a listing under way is whole. What a writer publishes meanwhile is in the new one at the step; what it publishes in the
very moment of the step, while the kernel looks for the directory, lands in the old one and is moved over.
"""

from __future__ import annotations

import contextlib
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
_WRITERS = 100
"""More than can be on their way into one directory."""


class ExchangeError(PermanentError):
    """The file system cannot do it."""


def beside(entry: Entry, room: Path) -> Path:
    """Where the new directory is built; after the step the old one lies there."""
    return room / f"{staged_name(entry.path)}.directory"


def build(entry: Entry, room: Path, ready: Path) -> None:
    """Put the new directory together, of links: no byte is copied. Done twice it changes nothing. Raises OSError."""
    new = beside(entry, room)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    os.link(room / staged_name(entry.path), new / Path(entry.path).name)
    _follow(entry, room, ready)
    sync_directory(new)
    sync_directory(room)


def replace(entry: Entry, room: Path, ready: Path) -> set[str]:
    """Let the directories change places; the old one lies in `beside` then. The entry is committed. Returns the names for
    `discard`. Raises OSError.
    """
    old, new = (ready / entry.path).parent, beside(entry, room)
    known = _follow(entry, room, ready)
    exchange(new, old)
    passed("exchanged")
    sync_directory(old.parent)
    sync_directory(room)
    clear(entry, room, ready, known)
    return known


def clear(entry: Entry, room: Path, ready: Path, known: set[str]) -> None:
    """Move what came into the old directory in the moment of the step, then forget the staged file."""
    _move_late(entry, room, ready, known)
    passed("cleared")
    (room / staged_name(entry.path)).unlink()


def finish(entry: Entry, room: Path, ready: Path) -> set[str]:
    """Do what a run that was killed after the commit has left undone. Done twice it changes nothing. Returns the names for
    `discard`. Raises OSError.

    | the larger file is in ready/ | and in `beside` | then `beside` is | and what is left to do is |
    |---|---|---|---|
    | no | yes | the new directory | the step |
    | no | no | not whole, or the old one: the larger file went to S3 since the step | the step, again |
    | yes | | the old one | what came in the moment of the step |

    A file that retention took out of ready/ since the step may come back from the old directory; it goes with the next sweep.
    """
    folder, there = (ready / entry.path).parent, beside(entry, room)
    make_directories(folder, ready)
    known = _gone(entry) | _names(folder)
    if (ready / entry.path).exists():
        clear(entry, room, ready, known)
        return known
    if there.exists() and not (there / Path(entry.path).name).exists():
        _move_late(entry, room, ready, known)
    build(entry, room, ready)
    return replace(entry, room, ready)


def discard(entry: Entry, room: Path, ready: Path, known: set[str]) -> None:
    """Delete the old directory, but nothing that is not known: a writer whose rename began before the step may have ended
    it only now. Raises OSError.
    """
    old = beside(entry, room)
    for times in range(_WRITERS):
        _move_late(entry, room, ready, known)
        for name in known:
            (old / name).unlink(missing_ok=True)
        try:
            old.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or times == _WRITERS - 1:
                raise
        else:
            return


def _gone(entry: Entry) -> set[str]:
    return {replaced.name for replaced in entry.replaces}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _follow(entry: Entry, room: Path, ready: Path) -> set[str]:
    """Let the new directory hold the larger file and what else the old one holds now. Returns the names in both."""
    old, new = (ready / entry.path).parent, beside(entry, room)
    present, linked, own = _names(old), _names(new), {Path(entry.path).name}
    for name in present - _gone(entry) - linked:
        with contextlib.suppress(FileNotFoundError):  # retention has just deleted it
            os.link(old / name, new / name)
    for name in linked - present - own:
        (new / name).unlink()
    return present | own


def _move_late(entry: Entry, room: Path, ready: Path, known: set[str]) -> None:
    old, new = beside(entry, room), (ready / entry.path).parent
    for path in old.iterdir():
        if path.name not in known:
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
