"""The messages before a place in a shard's stream: what a writer that starts there should remember."""

from __future__ import annotations

import asyncio

import structlog
from nats.aio.client import Client

from daedalus.config import Ingestion
from daedalus.naming import shard_stream
from daedalus_writer.reader import InterruptedReadError, Message, Reader
from daedalus_writer.segment import Position

SEQUENCES = 500
"""Of all channels at the default linger a minute."""
_SECONDS = 10.0
_WAIT_SECONDS = 1.0

_log = structlog.get_logger()


async def recent(nats: Client, shard: int, position: Position, ingestion: Ingestion) -> list[Message]:
    """Up to `SEQUENCES` messages, the last one at `position`; fewer, or none, where the stream has not got them or
    JetStream does not answer: then a symbol that was moving at that moment may have a row twice.
    """
    if position.sequence == 0:
        return []
    found: list[Message] = []
    reader = Reader(nats, shard_stream(shard), ingestion)
    first = max(1, position.sequence - SEQUENCES + 1)
    try:
        async with asyncio.timeout(_SECONDS):
            pending = await reader.open({"deliver_policy": "by_start_sequence", "opt_start_seq": first})
            while pending > 0:
                for message in await reader.read(_WAIT_SECONDS):
                    pending = message.pending
                    if message.sequence > position.sequence:
                        return found
                    found.append(message)
                if found and found[-1].sequence == position.sequence:
                    break
    except (InterruptedReadError, TimeoutError) as error:
        _log.warning("earlier messages were not read", shard=shard, error_type=type(error).__name__)
    finally:
        await reader.close()
    return found
