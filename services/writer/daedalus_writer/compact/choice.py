"""Which segments become one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from daedalus.catalog import SCHEMA_VERSION, Entry
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.layout import Key, hour_of

LATE_NS = 600 * 10**9
"""So long after an hour its last records have come into the stream, outages aside."""


class Limits(msgspec.Struct, frozen=True):
    over_before_ns: int
    """Hours that end later are left alone."""
    min_files: int
    max_bytes: int
    """Of the segments that become one."""


def worth_a_look(names: Iterable[str], limits: Limits) -> list[str]:
    """Of the files in a directory those that may be merged, as far as their names can tell."""
    by_hour: dict[tuple[int, str], list[str]] = {}
    for name in names:
        hour = hour_of(name)
        if hour is not None and (hour + 1) * NS_PER_HOUR <= limits.over_before_ns:
            by_hour.setdefault((hour, name.partition(".")[2]), []).append(name)
    return sorted(name for group in by_hour.values() if len(group) >= limits.min_files for name in group)


class Known(msgspec.Struct, frozen=True):
    """What is known of the segments to choose from."""

    present: Collection[str]
    """Paths of files that are in ready/."""
    uploaded: Collection[tuple[str, str]]
    """(path, SHA-256) of what was verified in S3."""
    committed_until_ns: Mapping[int, int]
    """Shard → everything that its stream stored before then is committed."""
    s3: bool
    """Whether sync uploads to S3 now."""
    merge_uploaded: bool
    """Whether objects may be replaced in S3, too."""


def choose(entries: Iterable[Entry], limits: Limits, known: Known, left: Counter[str]) -> list[list[Entry]]:
    """Groups of segments of one directory, each to become one; a key's segments stand in the order of the stream.

    `entries`: all that the catalog has there. A key is merged whole or left alone: with a hole in it, nobody could tell
    from their sequences which messages are in which segment. Counts the files that are left alone, by reason.
    """
    by_key: dict[tuple[Key, int, str], list[Entry]] = {}
    for entry in entries:
        key = Key(entry.exchange, entry.channel, entry.symbol, entry.hour)
        by_key.setdefault((key, entry.shard, entry.format), []).append(entry)
    groups = []
    for found in by_key.values():
        present = sum(entry.path in known.present for entry in found)
        if present < limits.min_files:
            continue
        why = next((why for entry in found if (why := _why_not(entry, known)) is not None), None)
        if why is not None:
            left[why] += present
        else:
            groups += _filled(sorted(found, key=lambda entry: entry.last_timestamp_ns), limits.max_bytes)
    return groups


def _why_not(entry: Entry, known: Known) -> str | None:
    if (entry.hour + 1) * NS_PER_HOUR + LATE_NS > known.committed_until_ns[entry.shard]:
        return "wait for the writer, which is behind"
    if entry.schema_version > SCHEMA_VERSION:
        return "are of a newer version of this program"
    if entry.path not in known.present:
        return "belong to others that are not here"
    uploaded = (entry.path, entry.sha256) in known.uploaded
    if uploaded and not (known.s3 and known.merge_uploaded):
        return "are in S3 (with storage.backend s3, --uploaded merges them here and there)"
    return "wait for their upload" if known.s3 and not uploaded else None


def _filled(entries: list[Entry], max_bytes: int) -> list[list[Entry]]:
    """Neighbours together, up to a size; what stays alone is large already."""
    groups: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if size + entry.size_bytes > max_bytes and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += entry.size_bytes
    return [group for group in groups if len(group) > 1]
