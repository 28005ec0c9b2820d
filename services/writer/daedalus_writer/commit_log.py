"""The commit log of one shard: its chain in the catalog, and its checkpoint.

A writer that takes a shard says so in the catalog first. That, and each entry, is published with the expected last
sequence over all that the shard has there. So a shard's entries are one chain, and a writer that another one took over
from, however long it slept, is refused from that moment on: FencedError. Only then may the new one touch what the old
one has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg
from nats.js.kv import KeyValue

from daedalus.catalog import Checkpoint, Entry, decode_checkpoint, decode_entry, encode
from daedalus.errors import FencedError, TransientError
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, shard_chain, shard_entries, shard_owner

T = TypeVar("T")

_WRONG_LAST_SEQUENCE = 10071
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_AWAY = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.OutboundBufferLimitError,
    nats.js.errors.NoStreamResponseError,  # of a publish, where other calls get the next one
    nats.js.errors.ServiceUnavailableError,
    nats.js.errors.ServerError,
)

_log = structlog.get_logger()


async def persistently(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Call until JetStream answers. Bounded by the process: a stop has a deadline of its own."""
    attempt = 0
    while True:
        try:
            return await call()
        except _AWAY as error:
            _log.warning("JetStream did not answer", doing=what, error_type=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1


class CommitLog:
    """Made by `open`, which takes the chain: from then on nobody else can append to it, until somebody takes it again."""

    def __init__(self, js: JetStreamContext, bucket: KeyValue, shard: int | str, last_sequence: int) -> None:
        self._js = js
        self._bucket = bucket
        self._shard = shard
        self.last_sequence = last_sequence
        """The end of the shard's chain."""

    @classmethod
    async def open(cls, js: JetStreamContext, shard: int | str, writer: str) -> CommitLog:
        """Take the shard's chain. Two that try at once both succeed, one after the other; the later one has it."""
        bucket = await persistently(lambda: js.key_value(CHECKPOINT_BUCKET), "opening the checkpoints")
        while True:
            last = await persistently(lambda: _last(js, shard_chain(shard)), "reading the end of the catalog")
            log = cls(js, bucket, shard, last.seq or 0 if last else 0)
            try:
                await log._publish(shard_owner(shard), writer.encode())
            except FencedError:
                continue
            return log

    async def append(self, entry: Entry) -> int:
        """Commit an entry; returns its sequence in the catalog.

        Raises FencedError when another writer has taken the shard since.
        """
        await self._publish(entry.subject, encode(entry))
        return self.last_sequence

    async def _publish(self, subject: str, data: bytes) -> None:
        """Append to the chain. Sent twice is stored once: when an answer was lost, the chain's end tells.

        Raises FencedError, or TransientError for what JetStream refuses for another reason.
        """
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(self.last_sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": shard_chain(self._shard),
        }
        try:
            ack = await persistently(
                lambda: self._js.publish(subject, data, headers=headers), "appending to the catalog"
            )
            self.last_sequence = ack.seq
        except nats.js.errors.APIError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:
                raise TransientError(f"catalog: expected {subject} to be stored, found {error}") from error
            last = await persistently(
                lambda: _last(self._js, shard_chain(self._shard)), "reading the end of the catalog"
            )
            if last is None or last.seq is None or (last.subject, last.data) != (subject, data):
                raise FencedError(
                    f"shard {self._shard}: expected catalog sequence {self.last_sequence} to be the last, "
                    f"found {last.seq if last else 'none'}: another writer has taken this shard"
                ) from error
            self.last_sequence = last.seq

    async def entries(self, first_sequence: int, subject: str = "") -> AsyncIterator[tuple[int, Entry]]:
        """The shard's entries, or those of one subject, from a catalog sequence on, up to the present last one, each with
        its sequence.
        """
        subject = subject or shard_entries(self._shard)
        last = await persistently(lambda: _last(self._js, subject), "reading the end of the catalog")
        if last is None or last.seq is None or last.seq < first_sequence:
            return
        subscription = await persistently(
            lambda: self._js.subscribe(
                subject,
                stream=CATALOG_STREAM,
                ordered_consumer=True,
                config=ConsumerConfig(
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=max(first_sequence, 1),
                    ack_policy=AckPolicy.NONE,
                ),
            ),
            "reading the catalog",
        )
        try:
            sequence = 0
            while sequence < last.seq:
                message = await subscription.next_msg(timeout=30)
                sequence = message.metadata.sequence.stream
                yield sequence, decode_entry(message.data)
        finally:
            await subscription.unsubscribe()

    async def checkpoint(self) -> Checkpoint | None:
        try:
            stored = await persistently(lambda: self._bucket.get(str(self._shard)), "reading the checkpoint")
        except nats.js.errors.KeyNotFoundError:
            return None
        return decode_checkpoint(stored.value or b"")

    async def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """A lost checkpoint costs a longer recovery, nothing else; so JetStream being away is no error here."""
        try:
            await self._bucket.put(str(self._shard), encode(checkpoint))
        except _AWAY as error:
            _log.warning("checkpoint was not written", shard=self._shard, error_type=type(error).__name__)


async def _last(js: JetStreamContext, subject: str) -> RawStreamMsg | None:
    try:
        return await js.get_last_msg(CATALOG_STREAM, subject)
    except nats.js.errors.NotFoundError:
        return None
