"""Where segments are read from: a file, a tree, or a prefix in S3. A walk holds one directory in memory, in S3 one symbol."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import msgspec

from daedalus.errors import PermanentError
from daedalus_writer.verify.location import SUFFIXES, entries_below

_CHUNK_BYTES = 4 << 20


class PlaceError(PermanentError):
    """Nothing can be read there at all."""


class File(msgspec.Struct, frozen=True):
    shown: str
    """Path or URL, as told to people."""
    parts: tuple[str, ...]


class Place(Protocol):
    shown: str
    entries: str
    """The subject of the catalog entries that its files may have."""
    ready: Path | None
    """The ready/ that this is, whole; None: something else, of which nobody knows what should be in it."""

    def files(self) -> Iterator[File]:
        """The segments, in order. Raises OSError."""

    def local(self, file: File) -> AbstractContextManager[Path]:
        """The file on a local disk, for as long as the context is open. Raises OSError."""


class Tree:
    """A local file, or everything below a directory. `active/` beside a `ready/` is left out: nothing in it is finished."""

    def __init__(self, path: Path) -> None:
        """Raises PlaceError."""
        if not path.exists():
            raise PlaceError(f"{path}: expected a file or a directory, found nothing")
        self.shown = str(path)
        roots = [root for root in (path / "raw" / "ready", path / "ready") if root.is_dir()]
        self._path = roots[0] if roots else path
        self.entries = entries_below(self._path.absolute().parts)
        self.ready = self._path if self._path.absolute().name == "ready" and self._path.is_dir() else None

    def files(self) -> Iterator[File]:
        if self._path.is_dir():
            yield from _walk(self._path)
        else:
            yield _file(self._path)

    def local(self, file: File) -> AbstractContextManager[Path]:
        return nullcontext(Path(file.shown))


class Bucket:
    """`s3://bucket/prefix`. Keys come from the environment, as AWS' own tools take them."""

    ready: Path | None = None

    def __init__(self, url: str, endpoint_url: str, region: str) -> None:
        """Raises PlaceError where pyarrow has no S3 client."""
        self.shown = url
        self._root = url.removeprefix("s3://").strip("/")
        self.entries = entries_below(self._root.split("/"))
        if not self._root:
            raise PlaceError(f"{url}: expected s3://bucket/prefix")
        try:
            from pyarrow import fs  # noqa: PLC0415  # 20 MB that only this needs

            options: dict[str, Any] = {"region": region, "connect_timeout": 5, "request_timeout": 30}
            if endpoint_url:
                scheme, _, server = endpoint_url.rpartition("://")
                options |= {"endpoint_override": server, "scheme": scheme or "https"}
            self._s3 = fs.S3FileSystem(retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=5), **options)
            self._selector, self._directory = fs.FileSelector, fs.FileType.Directory
        except ImportError as error:
            raise PlaceError(f"{url}: pyarrow has no S3 client here: install one that has") from error

    def files(self) -> Iterator[File]:
        if self._s3.get_file_info(self._root).is_file:
            yield self._file(self._root)
        else:
            yield from self._below(self._root)

    @contextmanager
    def local(self, file: File) -> Iterator[Path]:
        """Read once into a file of its own: it is looked at twice."""
        with tempfile.NamedTemporaryFile(prefix="daedalus-verify-") as copy:
            with self._s3.open_input_stream(file.shown.removeprefix("s3://")) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    copy.write(chunk)
            copy.flush()
            yield Path(copy.name)

    def _below(self, path: str) -> Iterator[File]:
        """All of a symbol is listed at once: a request for each hour would take far longer."""
        whole = path.rpartition("/")[2].startswith("symbol=")
        found = self._s3.get_file_info(self._selector(path, recursive=whole))
        for info in sorted(found, key=lambda info: info.path):
            if info.type != self._directory:
                if info.path.endswith(SUFFIXES):
                    yield self._file(info.path)
            elif not whole:
                yield from self._below(info.path)

    def _file(self, path: str) -> File:
        return File(f"s3://{path}", tuple(path.split("/")))


def _walk(folder: Path) -> Iterator[File]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except FileNotFoundError:
        return  # retention deletes directories that it has emptied
    beside_ready = ("ready", True) in found
    for name, is_directory in found:
        if not is_directory:
            if name.endswith(SUFFIXES):
                yield _file(folder / name)
        elif not (beside_ready and name == "active"):
            yield from _walk(folder / name)


def _file(path: Path) -> File:
    return File(str(path), path.absolute().parts[1:])
