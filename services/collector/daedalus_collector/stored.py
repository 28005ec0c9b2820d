"""What JetStream holds already: the last records of an earlier run, and which of our batches were stored."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import NotFoundError

from daedalus import wire
from daedalus.naming import shard_stream
from daedalus.records import Trade
from daedalus.wire import WireError

TAIL_SEQUENCES = 500
"""How far back the ids of recorded trades are read at start: of all channels at the default linger a minute, 30 MB at most."""
_FETCH = 200
_FETCH_SECONDS = 5.0

_log = structlog.get_logger()


class Tail(msgspec.Struct, frozen=True):
    """The end of a subject."""

    last_received_ns: int
    trade_ids: dict[str, list[str]]
    """Symbol → the ids of its last trades, oldest first."""


async def tail(js: JetStreamContext, shard: int, subject: str) -> Tail | None:
    """The last records of a subject; None when it holds none that this version can read."""
    stream = shard_stream(shard)
    try:
        last = await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None
    if last.data is None or last.seq is None:
        return None
    try:
        batch = wire.decode(last.data)
        received = [
            record.received_ns for part in batch.parts for record in wire.decode_records(batch.channel, part.records)
        ]
    except WireError as error:
        _log.warning("last batch was not readable", subject=subject, error=str(error))
        return None
    ids: dict[str, list[str]] = {}
    if batch.channel == "trade":
        first = max(1, last.seq - TAIL_SEQUENCES)
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first, filter_subject=subject
        )
        async with contextlib.aclosing(_read(js, stream, config)) as messages:
            async for message in messages:
                _note_trades(message.data, ids)
    return Tail(max(received, default=0), ids)


async def message_ids(js: JetStreamContext, shard: int, subject: str, since: datetime) -> set[str]:
    """The `Nats-Msg-Id` of everything stored on a subject since then, by the server's clock."""
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since, filter_subject=subject, headers_only=True
    )
    async with contextlib.aclosing(_read(js, shard_stream(shard), config)) as messages:
        return {message.headers[Header.MSG_ID] async for message in messages if message.headers}


def _note_trades(message: bytes, ids: dict[str, list[str]]) -> None:
    try:
        for part in wire.decode(message).parts:
            for record in wire.decode_records("trade", part.records):
                if isinstance(record, Trade) and record.id is not None:
                    ids.setdefault(part.symbol, []).append(record.id)
    except WireError as error:
        _log.warning("earlier batch was not readable", error=str(error))


async def _read(js: JetStreamContext, stream: str, config: ConsumerConfig) -> AsyncGenerator[Msg, None]:
    """What the stream holds now of what the consumer is to see; ends there."""
    config = config.evolve(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0)
    consumer = await js.add_consumer(stream, config)
    remaining = consumer.num_pending or 0
    subscription = await js.pull_subscribe_bind(consumer=consumer.name, stream=stream)
    try:
        while remaining > 0:
            messages = await subscription.fetch(min(_FETCH, remaining), timeout=_FETCH_SECONDS)
            remaining -= len(messages)
            for message in messages:
                yield message
    finally:
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()
            await js.delete_consumer(stream, consumer.name)
