"""The directories of ready/ that may have something to merge, a series at a time."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from daedalus.errors import PermanentError
from daedalus_writer.compact.choice import Limits, worth_a_look
from daedalus_writer.verify.location import SUFFIXES, entries_below


class PathError(PermanentError):
    """Not a directory that can be compacted."""


class Folder(msgspec.Struct, frozen=True):
    path: str
    """Below ready/."""
    names: list[str]
    """Of the files that may be merged."""

    @property
    def paths(self) -> list[str]:
        """Of those files, below ready/."""
        return [f"{self.path}/{name}" for name in self.names]


def below_ready(paths: Sequence[Path], ready: Path) -> list[Path]:
    """The directories that these mean: the storage root and `raw` mean their ready/. Raises PathError."""
    if not ready.is_dir():
        raise PathError(f"{ready}: expected a directory, found none (storage.root in the configuration?)")
    found = []
    for path in paths:
        if path.resolve() in (ready.parent.resolve(), ready.parent.parent.resolve()):
            found.append(ready)
        elif path.is_dir() and path.resolve().is_relative_to(ready.resolve()):
            found.append(ready / path.resolve().relative_to(ready.resolve()))
        else:
            raise PathError(f"{path}: expected a directory in {ready}, found {'another' if path.exists() else 'none'}")
    return found or [ready]


def series(
    paths: Sequence[Path], ready: Path, limits: Limits, left: Counter[str]
) -> Iterator[tuple[str, list[Folder]]]:
    """(subject of the catalog entries, directories). Raises OSError."""
    for path in paths:
        yield from (
            (subject, [folder for _, folder in group])
            for subject, group in itertools.groupby(_folders(path, ready, limits, left), lambda pair: pair[0])
        )


def _folders(start: Path, ready: Path, limits: Limits, left: Counter[str]) -> Iterator[tuple[str, Folder]]:
    for directory, folders, files in os.walk(start):
        folders.sort()
        names = worth_a_look([name for name in files if name.endswith(SUFFIXES)], limits)
        if names and folders:
            left["lie beside directories"] += len(names)
        elif names:
            path = Path(directory).relative_to(ready)
            yield entries_below(path.parts), Folder(str(path), names)
