"""Reads CATALOG and UPLOADS, once and in order, up to what was there at the beginning."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from daedalus import broker
from daedalus.catalog import decode_entry, decode_upload
from daedalus.config import Ingestion
from daedalus.errors import PermanentError, TransientError
from daedalus.naming import ALL_ENTRIES, CATALOG_STREAM, UPLOADS_STREAM
from daedalus_writer.reader import InterruptedReadError, Message, Reader
from daedalus_writer.verify.catalog import Catalog

_CONNECT_SECONDS = 5.0
_SILENT_SECONDS = 30.0
_ATTEMPTS = 3
_PULL = Ingestion(pull_batch=4_000, pull_max_bytes=8_000_000)
_AWAY = (OSError, TimeoutError, nats.errors.Error, nats.js.errors.Error, TransientError)


async def read_catalog(
    url: str, subject: str = ALL_ENTRIES, catalog: Catalog | None = None, behind: int = 0
) -> tuple[Catalog, int]:
    """The entries of a subject behind a sequence of the catalog, added to `catalog`; and the last sequence.

    Raises TransientError when not all of them can be read.
    """
    try:
        client = await connected(url)
        try:
            state = (await client.jetstream().stream_info(CATALOG_STREAM)).state
            catalog = Catalog(truncated=state.first_seq > 1) if catalog is None else catalog
            async for message in messages(client, CATALOG_STREAM, subject, behind):
                behind = message.sequence
                try:
                    catalog.add(decode_entry(message.data))
                except (PermanentError, ValueError, struct.error) as error:
                    catalog.add_unreadable(behind, str(error))
        finally:
            await broker.close(client)
    except _AWAY as error:
        raise TransientError(f"{url}: expected the stream {CATALOG_STREAM}, found {_told(error)}") from error
    return catalog, behind


async def mark_uploaded(url: str, catalog: Catalog) -> None:
    """Mark what was verified in S3 as seen: retention may have deleted it here. Raises TransientError, PermanentError."""
    try:
        client = await connected(url)
        try:
            async for message in messages(client, UPLOADS_STREAM, f"{UPLOADS_STREAM.lower()}.>", 0):
                upload = decode_upload(message.data)
                entry = catalog.get(upload.path)
                if entry is not None and entry.sha256.hex() == upload.sha256:
                    catalog.mark_seen(upload.path)
        finally:
            await broker.close(client)
    except _AWAY as error:
        raise TransientError(f"{url}: expected the stream {UPLOADS_STREAM}, found {_told(error)}") from error


async def connected(url: str) -> Client:
    async with asyncio.timeout(_CONNECT_SECONDS):
        return await broker.connect(url, "writer-verify", reconnect=False)


async def messages(client: Client, stream: str, subjects: str, behind: int) -> AsyncIterator[Message]:
    """Raises InterruptedReadError when reading was interrupted three times."""
    for attempt in range(_ATTEMPTS):
        try:
            async for message in _read(client, stream, subjects, behind):
                yield message
                behind = message.sequence
        except InterruptedReadError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


async def _read(client: Client, stream: str, subjects: str, behind: int) -> AsyncIterator[Message]:
    """What waits in the stream now. Raises InterruptedReadError."""
    reader = Reader(client, stream, _PULL)
    start = {"deliver_policy": "by_start_sequence", "opt_start_seq": behind + 1, "filter_subject": subjects}
    try:
        left, heard = await reader.open(start), time.monotonic()
        while left > 0:
            messages = await reader.read(_SILENT_SECONDS)
            for message in messages:
                yield message
                left = min(left - 1, message.pending)
            heard = time.monotonic() if messages else heard
            if time.monotonic() - heard > _SILENT_SECONDS:
                raise InterruptedReadError(f"{stream}: {left} messages did not come")
    finally:
        await reader.close()


def _told(error: BaseException) -> str:
    return str(error) or ("no answer" if isinstance(error, TimeoutError) else type(error).__name__)
