"""The catalog: one entry for each committed segment. An entry in the stream `CATALOG` is the commit.

Entries are JSON, so that `nats stream view CATALOG` shows them to people.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from daedalus.errors import PermanentError
from daedalus.naming import COMPACTED, catalog_subject

T = TypeVar("T")

SCHEMA_VERSION = 2
"""Of the segments' columns; in each footer and entry. 2: trade.source."""


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """A committed segment that is no more: its rows are in a larger one."""

    name: str
    """Of its file, in the directory of the larger one."""
    sha256: str
    first_sequence: int
    last_sequence: int


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One committed segment."""

    path: str
    """Below ready/, and the object key below the prefix."""
    exchange: str
    channel: str
    symbol: str
    """Unified symbol."""
    market_id: str
    hour: int
    """Hours since 1970-01-01 UTC, of every row's receive time."""
    rows: int
    size_bytes: int
    sha256: str
    """Hexadecimal, of the whole file."""
    format: Literal["parquet", "ndjson"]
    schema_version: int
    shard: int
    first_sequence: int
    last_sequence: int
    """The messages of the shard's stream that the rows came in."""
    last_timestamp_ns: int
    """The server's time of the last one: after a power cut a stream uses sequences again, but not times."""
    first_received_ns: int
    last_received_ns: int
    gaps: int
    """Rows of the channel `gap`; 0 in every other channel."""
    writer: str
    """Instance and boot of the writer that committed it."""
    replaces: tuple[Replaced, ...] = ()
    """The segments that `daedalus-writer compact` merged into this one: from this entry on they do not count."""

    @property
    def subject(self) -> str:
        """An entry that replaces others is outside the chain of its shard, which is its writer's alone."""
        return catalog_subject(COMPACTED if self.replaces else self.shard, self.exchange, self.channel, self.symbol)

    @property
    def replaced_paths(self) -> list[str]:
        """Below ready/."""
        folder = self.path.rpartition("/")[0]
        return [f"{folder}/{replaced.name}" for replaced in self.replaces]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One segment that was read back from S3 as present, with the right size and checksum: an entry of `UPLOADS`."""

    path: str
    bucket: str
    key: str
    size_bytes: int
    sha256: str
    verified_ns: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a shard's stream up to `sequence` is committed: where a writer starts reading."""

    epoch: str
    """The stream's creation time; another one means another stream under the same name."""
    sequence: int
    timestamp_ns: int
    """The server's time of that message; 0 with sequence 0."""
    catalog_sequence: int
    """The first catalog entry that may hold a message after `sequence`."""


_encoder = msgspec.json.Encoder()
_entry_decoder = msgspec.json.Decoder(Entry)
_upload_decoder = msgspec.json.Decoder(Upload)
_checkpoint_decoder = msgspec.json.Decoder(Checkpoint)


def encode(entry: Entry | Upload | Checkpoint) -> bytes:
    return _encoder.encode(entry)


def decode_entry(message: bytes) -> Entry:
    """Read a catalog entry; unknown fields of a newer version are passed over. Raises PermanentError."""
    return _decoded(_entry_decoder, message)


def decode_upload(message: bytes) -> Upload:
    """Read an upload entry. Raises PermanentError."""
    return _decoded(_upload_decoder, message)


def decode_checkpoint(message: bytes) -> Checkpoint:
    """Read a checkpoint. Raises PermanentError."""
    return _decoded(_checkpoint_decoder, message)


def _decoded(decoder: msgspec.json.Decoder[T], message: bytes) -> T:
    try:
        return decoder.decode(message)
    except msgspec.DecodeError as error:
        raise PermanentError(f"expected {decoder.type.__name__}, found {message[:80]!r}: {error}") from error
