"""What NATS knows of segments: their entries, what is in S3, and up to when everything is committed."""

from __future__ import annotations

from collections.abc import Collection

import nats.js.errors
from nats.aio.client import Client

from daedalus.catalog import Entry, decode_checkpoint, decode_entry, decode_upload
from daedalus.errors import PermanentError
from daedalus.naming import (
    CATALOG_STREAM,
    CHECKPOINT_BUCKET,
    COMPACTED,
    UPLOADS_STREAM,
    shard_entries,
    shard_stream,
)
from daedalus_writer.verify.log_stream import messages

_SYNC = "sync"
"""The durable consumer of `services/sync`."""


class Records:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._js = client.jetstream()

    async def entries(self, subject: str, folders: Collection[str]) -> dict[str, Entry]:
        """Path → entry of all that the catalog has in these directories and that nothing has replaced."""
        found: dict[str, Entry] = {}
        async for message in messages(self._client, CATALOG_STREAM, subject, 0):
            try:
                entry = decode_entry(message.data)
            except PermanentError:
                continue  # `verify` tells
            for path in entry.replaced_paths:
                found.pop(path, None)
            if entry.path.rpartition("/")[0] in folders:
                found[entry.path] = entry
        return found

    async def uploaded(self, subject: str, paths: Collection[str], bucket: str | None) -> set[tuple[str, str]]:
        """(path, SHA-256) of those of these segments that were verified in a bucket; None: in any."""
        found = set()
        below = subject.replace(CATALOG_STREAM.lower(), UPLOADS_STREAM.lower(), 1)
        async for message in messages(self._client, UPLOADS_STREAM, below, 0):
            upload = decode_upload(message.data)
            if upload.path in paths and bucket in (None, upload.bucket):
                found.add((upload.path, upload.sha256))
        return found

    async def committed_until_ns(self, shard: int, now_ns: int) -> int:
        """Everything that the shard's stream stored before this time is committed."""
        try:
            info = await self._js.stream_info(shard_stream(shard))
        except nats.js.errors.NotFoundError:
            return now_ns  # there were more shards once
        try:
            stored = await (await self._js.key_value(CHECKPOINT_BUCKET)).get(str(shard))
        except nats.js.errors.KeyNotFoundError:
            return now_ns if info.state.messages == 0 else 0
        checkpoint = decode_checkpoint(stored.value or b"")
        if checkpoint.epoch != str(info.created):
            return now_ns if info.state.messages == 0 else 0
        return now_ns if checkpoint.sequence >= info.state.last_seq else checkpoint.timestamp_ns

    async def last_merge(self) -> tuple[int, Entry] | None:
        """The last entry that replaced others, and its sequence in the catalog."""
        try:
            last = await self._js.get_last_msg(CATALOG_STREAM, shard_entries(COMPACTED))
        except nats.js.errors.NotFoundError:
            return None
        return last.seq or 0, decode_entry(last.data or b"")

    async def sync_has_done(self, sequence: int) -> bool:
        """Whether sync has acknowledged everything up to this entry of the catalog."""
        try:
            info = await self._js.consumer_info(CATALOG_STREAM, _SYNC)
        except nats.js.errors.NotFoundError:
            return sequence == 0
        return info.ack_floor is not None and info.ack_floor.stream_seq >= sequence
