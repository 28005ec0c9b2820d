"""Committed files whose entry was lost: a power cut can roll the catalog back (without `sync_interval: always`), but not
ready/, which is fsynced. Such a file gets its entry again from its own footer; else its rows would be read again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from daedalus.catalog import Entry
from daedalus_writer.layout import numbers
from daedalus_writer.segment_file import finish

_DAY = timedelta(days=1)
_DATE_PART = re.compile(r"(year|month|day)=(\d+)")

_log = structlog.get_logger()


def may_have_lost_power(since_ns: int) -> bool:
    """Whether this machine has started since then: only then is it worth to search."""
    return bool(psutil.boot_time() * 1e9 > since_ns)


def orphans(ready: Path, shard: int, since_ns: int, known: Collection[str]) -> list[Entry]:
    """The entries of the shard's files in ready/ that hold messages stored after `since_ns` (the server's time) and are
    not known, in the order of the stream. Directories of days before are not entered; NDJSON files have no footer.
    """
    since = datetime.fromtimestamp(since_ns / 1e9, UTC).date() - _DAY
    found = []
    for path in _files(ready, since):
        first, last = numbers(path.name) or (0, 0)
        if str(path) in known or first != last:  # a file of `compact`, whose entries are another chain
            continue
        try:
            metadata = pq.read_metadata(ready / path).metadata or {}
            facts = {
                name.removeprefix(b"daedalus.").decode(): value.decode()
                for name, value in metadata.items()
                if name.startswith(b"daedalus.")
            }
            if int(facts.get("shard", -1)) != shard or int(facts["last_timestamp_ns"]) <= since_ns:
                continue
            size_bytes, sha256 = finish(ready / path)
            entry = msgspec.convert(
                {**facts, "path": str(path), "size_bytes": size_bytes, "sha256": sha256}, Entry, strict=False
            )
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            _log.error("file in ready/ was not readable", path=str(path), error=str(error))  # the message says it all
            continue
        found.append(entry)
    return sorted(found, key=lambda entry: entry.last_sequence)


def _files(ready: Path, since: date) -> Iterator[Path]:
    folders = [ready]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.is_dir():
                if not _is_before(path.relative_to(ready), since):
                    folders.append(path)
            elif path.suffix == ".parquet":
                yield path.relative_to(ready)


def _is_before(folder: Path, since: date) -> bool:
    """Whether the year, month and day in a folder's path, as far as they are there, lie before a day."""
    parts = {name: int(value) for name, value in _DATE_PART.findall(str(folder))}
    wanted = {"year": since.year, "month": since.month, "day": since.day}
    for name, value in wanted.items():
        if name not in parts:
            return False
        if parts[name] != value:
            return parts[name] < value
    return False
