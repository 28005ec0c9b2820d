"""Which segments become one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from daedalus.catalog import SCHEMA_VERSION, Entry
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.compact.choice import LATE_NS, Known, Limits, choose, worth_a_look
from support.segments import HOUR, entry_of, path_of

OVER = (HOUR + 1) * NS_PER_HOUR
LIMITS = Limits(over_before_ns=OVER, min_files=2, max_bytes=100)


def entry(number: int, **changes: Any) -> Entry:
    """The segment of this number: 40 bytes, after the one before it."""
    own = {"size_bytes": 40, "first_sequence": 10 * number, "last_sequence": 10 * number + 9}
    one = msgspec.structs.replace(entry_of(path_of(number), b""), last_timestamp_ns=number, **own)
    return msgspec.structs.replace(one, **changes)


def numbers(entries: list[Entry], limits: Limits = LIMITS, **changes: Any) -> tuple[list[list[int]], dict[str, int]]:
    """The groups, as the first sequence divided by ten, and what was left."""
    left: Counter[str] = Counter()
    known = Known({one.path for one in entries}, set(), {0: OVER + LATE_NS}, s3=False, merge_uploaded=False)
    groups = choose(entries, limits, msgspec.structs.replace(known, **changes), left)
    return [[one.first_sequence // 10 for one in group] for group in groups], dict(left)


def test_neighbours_up_to_a_size() -> None:
    """Segments stand in the order of the stream, and together they stay below the largest size; one alone stays."""
    assert numbers([entry(3), entry(1), entry(2), entry(5), entry(4)]) == ([[1, 2], [3, 4]], {})
    assert numbers([entry(1, size_bytes=90), entry(2), entry(3)]) == ([[2, 3]], {})
    assert numbers([entry(1), entry(2)], Limits(OVER, 3, 100)) == ([], {})


def test_keys_stay_apart() -> None:
    """What lies in one directory because a partition column was left out is merged by symbol, hour, shard and format."""
    others: list[dict[str, Any]] = [{"symbol": "ETH/USD"}, {"hour": HOUR - 1}, {"shard": 1}, {"format": "ndjson"}]
    entries = [entry(1), entry(2), *(entry(3 + index, **change) for index, change in enumerate(others))]
    found, left = numbers(entries, committed_until_ns={0: OVER + LATE_NS, 1: 0})
    assert (found, left) == ([[1, 2]], {})


@pytest.mark.parametrize(
    ("change", "known", "why"),
    [
        ({}, {"committed_until_ns": {0: OVER + LATE_NS - 1}}, "wait for the writer"),
        ({"schema_version": SCHEMA_VERSION + 1}, {}, "are of a newer version"),
        ({}, {"present": {path_of(1), path_of(2)}}, "belong to others that are not here"),
        ({}, {"uploaded": {(path_of(3), entry(3).sha256)}}, "are in S3"),
        ({}, {"s3": True, "merge_uploaded": True}, "wait for their upload"),
    ],
)
def test_a_key_is_merged_whole_or_left_alone(change: dict[str, Any], known: dict[str, Any], why: str) -> None:
    """One segment that has to wait keeps the others of its key, and it is said why."""
    entries = [entry(1), entry(2), entry(3, **change)]
    found, [reason] = numbers(entries, **known)[0], list(numbers(entries, **known)[1])
    assert found == []
    assert reason.startswith(why)


def test_uploaded_segments_only_on_demand() -> None:
    """With S3 only what was uploaded is merged, and only when it was asked for."""
    uploaded = {(one.path, one.sha256) for one in (entry(1), entry(2))}
    for merge_uploaded, found in ((True, [[1, 2]]), (False, [])):
        groups, _ = numbers([entry(1), entry(2)], uploaded=uploaded, s3=True, merge_uploaded=merge_uploaded)
        assert groups == found


def test_names_tell_what_is_worth_a_look() -> None:
    """Hours that are over, with enough files of one form."""
    names = [
        *(f"segment_20260531T04_{number:05d}.parquet" for number in (1, 2)),
        "segment_20260531T04_00003.ndjson.zst",
        "segment_20260531T03_00001-00007.parquet",
        "segment_20260531T05_00001.parquet",
        "segment_20260531T05_00002.parquet",
        "notes.parquet",
    ]
    assert worth_a_look(names, LIMITS) == names[:2]
    assert worth_a_look(names, Limits(OVER, 3, 100)) == []
