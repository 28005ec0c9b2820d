"""The catalog in memory, for two million entries: each is its path and 100 packed bytes. Pure."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import msgspec

from daedalus.catalog import Entry

_PACKED = struct.Struct(">8sQQqqQQQQ32s?")
"""Of one key and ordered by its first sequence, when sorted: digest of the key, sequences, times received, hour, size, rows,
gaps, SHA-256, seen."""
_DOUBLED_LIMIT = 10_000
_UNREADABLE_LIMIT = 100


class Expected(msgspec.Struct, frozen=True):
    """What the catalog says of a file."""

    key: bytes
    first_sequence: int
    last_sequence: int
    first_received_ns: int
    last_received_ns: int
    hour: int
    size_bytes: int
    rows: int
    gaps: int
    sha256: bytes
    seen: bool

    def overlaps(self, other: Expected) -> bool:
        """Whether the same messages, as far as can be known, are in both.

        After a power cut a stream may use sequences again; then the messages were received later, too.
        """
        return (
            self.key == other.key
            and self.first_sequence <= other.last_sequence
            and other.first_sequence <= self.last_sequence
            and self.first_received_ns <= other.last_received_ns
            and other.first_received_ns <= self.last_received_ns
        )


class Catalog:
    def __init__(self, *, truncated: bool = False) -> None:
        self.truncated = truncated
        """The stream has dropped its first entries: it is bounded."""
        self.first_hour: int | None = None
        """Of the first entry that it still has."""
        self.unreadable: dict[int, str] = {}
        """Sequence → why it is no entry; at most 100."""
        self._entries: dict[str, bytes] = {}
        self._replaced: dict[str, tuple[bytes, str]] = {}
        """Path → what was said of a segment that `compact` has merged into another, and the path of that one."""
        self._replaced_seen: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Raises ValueError or struct.error when a value of it is none that a writer writes."""
        for path in entry.replaced_paths:
            if (packed := self._entries.pop(path, None)) is not None:
                self._replaced[path] = (packed, entry.path)
        if self.first_hour is None and not entry.replaces:
            self.first_hour = entry.hour
        key = f"{entry.shard} {entry.exchange} {entry.channel} {entry.symbol} {entry.hour}"
        self._entries[entry.path] = _PACKED.pack(
            hashlib.blake2b(key.encode(), digest_size=8).digest(),
            entry.first_sequence,
            entry.last_sequence,
            entry.first_received_ns,
            entry.last_received_ns,
            entry.hour,
            entry.size_bytes,
            entry.rows,
            entry.gaps,
            bytes.fromhex(entry.sha256),
            False,
        )

    def add_unreadable(self, sequence: int, why: str) -> None:
        if len(self.unreadable) < _UNREADABLE_LIMIT:
            self.unreadable[sequence] = why

    def get(self, path: str) -> Expected | None:
        """Also of one that was replaced: while `compact` runs it may still lie there."""
        packed = self._entries.get(path) or self._replaced.get(path, (None,))[0]
        return None if packed is None else _unpacked(packed)

    def older_than_all(self, hour: int) -> bool:
        """Whether an entry of this hour may be one that the stream has dropped."""
        return self.truncated and (self.first_hour is None or hour <= self.first_hour)

    def mark_seen(self, path: str) -> None:
        """Its file is there, or where it should be instead."""
        packed = self._entries.get(path)
        if packed is not None:
            self._entries[path] = packed[:-1] + b"\1"
        elif path in self._replaced:
            self._replaced_seen.add(path)

    def unseen(self) -> Iterator[tuple[str, Expected]]:
        for path, packed in self._entries.items():
            if not packed[-1]:
                yield path, _unpacked(packed)

    def seen_beside_larger(self) -> Iterator[tuple[str, str]]:
        """(path, path of the segment that replaced it) where both were seen: the same rows are in both."""
        for path in sorted(self._replaced_seen):
            larger = path
            while larger in self._replaced:
                larger = self._replaced[larger][1]
                if larger in self._replaced_seen or self._entries.get(larger, b"\0")[-1]:
                    yield path, larger
                    break

    def doubled(self) -> dict[str, str]:
        """Path → the path of an earlier segment of the same key in which some of the same messages are; at most 10,000."""
        pairs: dict[bytes, bytes] = {}
        group: list[tuple[bytes, Expected]] = []
        for packed in sorted(self._entries.values()):
            entry = _unpacked(packed)
            group = [
                other for other in group if other[1].key == entry.key and other[1].last_sequence >= entry.first_sequence
            ]
            for other_packed, other in group:
                if entry.overlaps(other) and len(pairs) < _DOUBLED_LIMIT:
                    pairs[packed] = other_packed
            group.append((packed, entry))
        if not pairs:
            return {}
        wanted = {*pairs, *pairs.values()}
        names = {packed: path for path, packed in self._entries.items() if packed in wanted}
        return {names[packed]: names[other] for packed, other in pairs.items()}


def _unpacked(packed: bytes) -> Expected:
    return Expected(*_PACKED.unpack(packed))
