"""The compact set of what was uploaded."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus_sync import uploaded
from daedalus_sync.uploaded import UploadedSet


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=25)  # an empty set takes a millisecond to make
@given(st.lists(st.text(max_size=20)), st.text(max_size=20))
def test_is_a_set(paths: list[str], other: str) -> None:
    """It holds what was added and nothing else, each once."""
    known = UploadedSet()
    for path in paths:
        known.add(path, sha256_of(path))
    assert len(known) == len(set(paths))
    assert all(path in known and known.has(path, sha256_of(path)) for path in paths)
    assert (other in known) == (other in paths)


def test_another_checksum_is_another_segment() -> None:
    """A path that was uploaded with other bytes is known, but not this segment."""
    known = UploadedSet()
    known.add("a", sha256_of("a"))
    assert "a" in known
    assert not known.has("a", sha256_of("b"))
    assert not known.has("b", sha256_of("a"))


def test_records_are_not_read_across() -> None:
    """Bytes of two neighbouring records that together look like a key are no hit."""
    known = UploadedSet()
    index, key = uploaded._key("wanted")
    known._buckets[index] += b"\0" * 6 + key + b"\0" * 10
    assert "wanted" not in known
    known.add("wanted", sha256_of("wanted"))
    assert known.has("wanted", sha256_of("wanted"))


def test_memory_per_segment() -> None:
    """A segment costs 12 bytes, so that 2 million fit on a small computer."""
    known = UploadedSet()
    for number in range(20_000):
        known.add(str(number), sha256_of("x"))
    assert sum(map(len, known._buckets)) == 20_000 * 12
