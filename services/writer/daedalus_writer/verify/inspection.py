"""Looks at one file after the other, in two threads; results come in the order of the files."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa

from daedalus_writer.verify.catalog import Catalog, Expected
from daedalus_writer.verify.contents import Contents
from daedalus_writer.verify.defect import Defect, expect
from daedalus_writer.verify.gaps import Gaps
from daedalus_writer.verify.location import Location, check_location, locate, path_in_catalog
from daedalus_writer.verify.ndjson import read_ndjson
from daedalus_writer.verify.parquet import read_parquet
from daedalus_writer.verify.places import File, Place

THREADS = 2
_WAITING = 4 * THREADS


class Result(msgspec.Struct):
    """What became of one file."""

    place: Place
    file: File
    entry_path: str | None
    """In the catalog, as far as that is known."""
    state: Literal["complete", "gaps", "defect", "vanished"] = "complete"
    """`vanished`: it was deleted since it was listed."""
    defect: Defect | None = None
    not_compared: bool = False
    """Older than the catalog."""
    size_bytes: int = 0
    rows: int = 0
    gaps: Gaps = msgspec.field(default_factory=Gaps)
    """The gap records in it."""


class Inspector:
    """Knows what is expected. `catalog` None: nobody can say what was committed."""

    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._doubled: Mapping[str, str] = catalog.doubled() if catalog is not None else {}

    def results(self, place: Place) -> Iterator[Result]:
        """Raises OSError when the place cannot be listed."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as threads:
            waiting: deque[Future[Result]] = deque()
            for file in place.files():
                waiting.append(threads.submit(self.result, place, file))
                if len(waiting) >= _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def result(self, place: Place, file: File) -> Result:
        location = locate(file.parts)
        result = Result(place, file, location.entry_path)
        try:
            with place.local(file) as path:
                self._inspect(path, location, result)
        except FileNotFoundError:
            result.state = "vanished"
        except Defect as defect:
            result.state, result.defect = "defect", defect
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            result.state, result.defect = "defect", Defect("a segment that can be read", message)
        return result

    def _inspect(self, path: Path, location: Location, result: Result) -> None:
        result.size_bytes = path.stat().st_size
        expected = self._expected(result.entry_path)
        if expected is not None:
            _check_bytes(path, result.size_bytes, expected)
        contents = _read(path, location)
        check_location(location, contents.key)
        result.rows, result.gaps = contents.rows, contents.gaps
        if expected is None and location.entry_path is None:
            result.entry_path = path_in_catalog(location, contents.key)
            expected = self._expected(result.entry_path)
            if expected is not None:
                _check_bytes(path, result.size_bytes, expected)
        if self._catalog is not None:
            self._compare(contents, expected, result)
        gaps_about = contents.gaps_about if expected is None else expected.gaps
        if gaps_about and contents.key.channel != "gap":
            result.state = "gaps"

    def _expected(self, entry_path: str | None) -> Expected | None:
        return None if self._catalog is None or entry_path is None else self._catalog.get(entry_path)

    def _compare(self, contents: Contents, expected: Expected | None, result: Result) -> None:
        """With the catalog: what a checksum cannot say."""
        assert self._catalog is not None
        if expected is None:
            if not self._catalog.older_than_all(contents.key.hour):
                raise Defect("an entry in the catalog", "none", "unknown")
            result.not_compared = True
            return
        expect("the rows of the catalog's entry:", expected.rows, contents.rows)
        other = self._doubled.get(result.entry_path or "")
        if other is not None:
            numbers = f"{expected.first_sequence} to {expected.last_sequence}"
            raise Defect("messages that no other segment has", f"some of {numbers} in {other} too", "doubled")


def _check_bytes(path: Path, size_bytes: int, expected: Expected) -> None:
    expect("bytes, as the catalog says:", expected.size_bytes, size_bytes)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    expect("SHA-256, as the catalog says:", expected.sha256.hex(), digest.hexdigest())


def _read(path: Path, location: Location) -> Contents:
    if location.name.endswith(".parquet"):
        return read_parquet(path)
    if location.name.endswith(".ndjson.zst"):
        return read_ndjson(path, location.channel)
    raise Defect("a name that ends with .parquet or .ndjson.zst", location.name)
