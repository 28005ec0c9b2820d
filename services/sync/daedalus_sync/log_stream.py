"""Reads a log stream (CATALOG, UPLOADS) once, from its first message to the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

_BATCH = 500
_FETCH_SECONDS = 5.0
_INACTIVE_SECONDS = 60.0
_RETRY_SECONDS = 1.0

_log = structlog.get_logger()


async def messages(js: JetStreamContext, stream: str, subjects: str = ">") -> AsyncGenerator[Msg, None]:
    """Every message of these subjects in order, each once; where a connection or a server failed it goes on after the
    last one it had.
    """
    done = 0
    while True:
        try:
            consumer = await js.add_consumer(stream, _from(done + 1, subjects))
            if not consumer.num_pending:
                return
            async with contextlib.aclosing(_read(js, stream, consumer.name)) as delivered:
                async for message in delivered:
                    done = message.metadata.sequence.stream
                    yield message
                    if message.metadata.num_pending == 0:
                        return
        except nats.errors.Error as error:
            _log.warning("reading a stream was interrupted", stream=stream, error_type=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)


def _from(first: int, subjects: str) -> ConsumerConfig:
    """An ephemeral consumer without acknowledgements."""
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        filter_subject=subjects,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=_INACTIVE_SECONDS,
    )


async def _read(js: JetStreamContext, stream: str, consumer: str) -> AsyncGenerator[Msg, None]:
    """What the consumer delivers, until something fails or is lost on the way."""
    subscription = await js.pull_subscribe_bind(consumer, stream)
    expected = 1
    try:
        while True:
            for message in await subscription.fetch(_BATCH, timeout=_FETCH_SECONDS):
                if message.metadata.sequence.consumer != expected:
                    return  # what is between was lost on the way: read again from there
                expected += 1
                yield message
    finally:
        await subscription.unsubscribe()
