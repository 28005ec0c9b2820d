"""The streams that the services share: their limits, and creating them.

MD-<shard>   the records, as batches; bounded, and full means refused: what was accepted is never dropped behind our back
CATALOG      one entry for each committed segment: the commit log
UPLOADS      one entry for each segment that was verified in S3
CHECKPOINTS  a key-value bucket: each shard's checkpoint
LEASES       a key-value bucket whose entries expire: who owns what, who is there
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError, ServiceUnavailableError

from daedalus.config import Nats
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, LEASE_BUCKET, UPLOADS_STREAM, shard_stream

LOG_MAX_MB = 1024
"""Bound of the catalog and of the uploads: 2 million segments, half a year at the reference load."""

_BUCKET_BYTES = 16_000_000

_log = structlog.get_logger()


def stream_configs(config: Nats) -> list[StreamConfig]:
    """Every stream, with explicit limits: JetStream's own defaults are taken from the host, not from the container."""
    shards = [
        StreamConfig(
            name=shard_stream(shard),
            subjects=[f"md.{shard}.>"],
            description="market data, in batches",
            max_bytes=config.max_mb * 1_000_000 // config.shards,
            discard=DiscardPolicy.NEW,
            duplicate_window=config.duplicate_window_seconds,
            storage=StorageType.FILE,
            allow_direct=True,
        )
        for shard in range(config.shards)
    ]
    logs = [
        StreamConfig(
            name=name,
            subjects=[f"{name.lower()}.>"],
            description=description,
            max_bytes=LOG_MAX_MB * 1_000_000,
            discard=DiscardPolicy.OLD,
            duplicate_window=config.duplicate_window_seconds,
            storage=StorageType.FILE,
            allow_direct=True,
        )
        for name, description in [(CATALOG_STREAM, "committed segments"), (UPLOADS_STREAM, "verified objects")]
    ]
    return [*shards, *logs]


def bucket_configs(config: Nats) -> list[KeyValueConfig]:
    """Every key-value bucket."""
    return [
        KeyValueConfig(bucket=CHECKPOINT_BUCKET, history=1, max_bytes=_BUCKET_BYTES),
        KeyValueConfig(bucket=LEASE_BUCKET, history=1, max_bytes=_BUCKET_BYTES, ttl=config.lease_seconds),
    ]


async def ensure_streams(js: JetStreamContext, config: Nats) -> None:
    """Create what is missing and bring limits up to the configuration; safe to call from every service at once.

    Waits for a server that went away, or whose JetStream is not ready yet.
    """
    missing: dict[str, Callable[[], Awaitable[object]]] = {
        **{str(stream.name): partial(_ensure, js, stream) for stream in stream_configs(config)},
        **{bucket.bucket: partial(js.create_key_value, bucket) for bucket in bucket_configs(config)},
    }
    for name, create in missing.items():
        while True:
            try:
                await create()
                break
            except (nats.errors.TimeoutError, nats.errors.NoRespondersError, ServiceUnavailableError) as error:
                _log.warning("JetStream did not answer", stream=name, error_type=type(error).__name__)
                await asyncio.sleep(1.0)


async def _ensure(js: JetStreamContext, stream: StreamConfig) -> None:
    assert stream.name is not None
    try:
        present = (await js.stream_info(stream.name)).config
    except NotFoundError:
        try:
            await js.add_stream(stream)
        except BadRequestError:  # another service created it a moment ago
            await js.stream_info(stream.name)
        return
    wanted = {"max_bytes": stream.max_bytes, "duplicate_window": stream.duplicate_window}
    if any(getattr(present, key) != value for key, value in wanted.items()):
        await js.update_stream(present.evolve(**wanted))
        _log.info("stream limits were changed", stream=stream.name, **wanted)
