"""A segment to upload, whether the catalog told of it or it was found in ready/."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from daedalus.catalog import Entry
from daedalus.errors import PermanentError
from daedalus.naming import shard_of, symbol_token, token_symbol

SUFFIX_CONTENT_TYPES = {".parquet": "application/vnd.apache.parquet", ".ndjson.zst": "application/zstd"}
_UNKNOWN = "_"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be in S3: these bytes under this path."""

    path: str
    """Below ready/, and the object's key below the prefix."""
    subject: str
    """Of its entry in UPLOADS."""
    size_bytes: int
    sha256: str
    """Hexadecimal. From the catalog where it has an entry: what the writer committed, not what lies there now."""
    rows: int | None = None
    """None when only the file is known."""
    replaces: tuple[tuple[str, str], ...] = ()
    """(path, SHA-256) of the segments that were merged into this one: their objects go when this one is there."""

    @property
    def content_type(self) -> str:
        return next(kind for suffix, kind in SUFFIX_CONTENT_TYPES.items() if self.path.endswith(suffix))


def from_entry(entry: Entry) -> Segment:
    """The segment of a catalog entry. Raises PermanentError when its path is none of a segment below ready/."""
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts or not is_segment(path.name):
        raise PermanentError(f"catalog entry: expected the path of a segment below ready/, found {entry.path!r}")
    for replaced in entry.replaces:
        if "/" in replaced.name or not is_segment(replaced.name):
            raise PermanentError(f"catalog entry: expected names of segments that it replaces, found {replaced.name!r}")
    return Segment(
        path=entry.path,
        subject=_subject(entry.shard, entry.exchange, entry.channel, symbol_token(entry.symbol)),
        size_bytes=entry.size_bytes,
        sha256=entry.sha256,
        rows=entry.rows,
        replaces=tuple(zip(entry.replaced_paths, (one.sha256 for one in entry.replaces), strict=True)),
    )


def from_file(path: str, size_bytes: int, sha256: str, shards: int) -> Segment:
    """The segment of a file that the catalog no longer knows; what its path does not say becomes `_` in the subject."""
    parts = path.split("/")
    values = dict(part.split("=", 1) for part in parts if "=" in part)
    exchange, token = values.get("exchange", _UNKNOWN), values.get("symbol", _UNKNOWN)
    channel = parts[1] if len(parts) > 2 else _UNKNOWN
    shard = 0 if _UNKNOWN in (exchange, token) else shard_of(exchange, token_symbol(token), shards)
    return Segment(path=path, subject=_subject(shard, exchange, channel, token), size_bytes=size_bytes, sha256=sha256)


def is_segment(name: str) -> bool:
    """Whether a file name is one that the writer gives to segments."""
    return name.startswith("segment_") and name.endswith(tuple(SUFFIX_CONTENT_TYPES))


def _subject(shard: int, exchange: str, channel: str, token: str) -> str:
    return f"uploads.{shard}.{exchange}.{channel}.{token}"
