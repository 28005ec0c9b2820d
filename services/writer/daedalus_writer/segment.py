"""An open segment: what is known of the rows that wait for their file. No I/O."""

from __future__ import annotations

from array import array
from pathlib import Path

from daedalus_writer.layout import Key


class Position:
    """A place in a shard's stream: a sequence, and the server's time of that message, which says whether it is still
    the same message: after a power cut a stream may use sequences again.
    """

    __slots__ = ("sequence", "timestamp_ns")

    def __init__(self, sequence: int, timestamp_ns: int) -> None:
        self.sequence = sequence
        self.timestamp_ns = timestamp_ns

    def __repr__(self) -> str:
        return f"Position({self.sequence}, {self.timestamp_ns})"


START = Position(0, 0)


class Segment:
    """Rows of one key: some still in memory, encoded as they came, the rest in the spool."""

    __slots__ = (
        "before",
        "buffered_bytes",
        "buffered_parts",
        "buffered_rows",
        "buffered_since_ns",
        "first_sequence",
        "frames",
        "key",
        "last",
        "market_id",
        "opened_ns",
        "path",
        "rows",
        "spooled_bytes",
    )

    def __init__(self, key: Key, market_id: str, before: Position, opened_ns: int) -> None:
        self.key = key
        self.market_id = market_id
        self.before = before
        """The last message before this segment's first: where a crash would have to read on from."""
        self.opened_ns = opened_ns
        """On the clock of the stream."""
        self.first_sequence = 0
        self.last = START
        self.rows = 0
        self.buffered_parts: list[bytes] = []
        """The encoded records that are not spooled yet, one after the other."""
        self.buffered_bytes = 0
        self.buffered_rows = 0
        self.buffered_since_ns = 0
        self.frames = array("Q")
        """Offsets of this segment's frames in the spool of its hour."""
        self.spooled_bytes = 0
        self.path: Path | None = None
        """Of its file below ready/, as soon as it has a name."""

    def append(self, encoded: bytes, rows: int, at: Position, now_ns: int) -> int:
        """Take `rows` encoded records. Returns by how many bytes memory grew."""
        if not self.buffered_rows:
            self.buffered_since_ns = now_ns
            if not self.rows:
                self.first_sequence = at.sequence
        size = len(encoded)
        self.buffered_parts.append(encoded)
        self.buffered_bytes += size
        self.buffered_rows += rows
        self.rows += rows
        self.last = at
        return size

    def unload(self, now_ns: int) -> tuple[int, bytes]:
        """Hand over what is in memory: the rows and their records."""
        rows, records = self.buffered_rows, b"".join(self.buffered_parts)
        self.buffered_parts.clear()
        self.buffered_bytes, self.buffered_rows, self.buffered_since_ns = 0, 0, now_ns
        return rows, records

    @property
    def size_bytes(self) -> int:
        """About the size of the file that this would make; an upper bound in practice."""
        return self.spooled_bytes + self.buffered_bytes
