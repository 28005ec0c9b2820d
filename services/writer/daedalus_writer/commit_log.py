"""The commit log of one shard: its entries in the catalog, and its checkpoint.

Each entry is published with the expected last sequence over all entries of the shard. So the entries of a shard are one
chain, and a writer that another one took over from, however long it slept, is refused: FencedError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.kv import KeyValue

from daedalus.catalog import Checkpoint, Entry, decode_checkpoint, decode_entry, encode
from daedalus.errors import FencedError, TransientError
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, shard_catalog

T = TypeVar("T")

_WRONG_LAST_SEQUENCE = 10071
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_AWAY = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionClosedError,
    nats.errors.OutboundBufferLimitError,
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
    """Made by `open`, which reads where the chain ends: from then on nobody else may append to it."""

    def __init__(self, js: JetStreamContext, bucket: KeyValue, shard: int, last_sequence: int) -> None:
        self._js = js
        self._bucket = bucket
        self._shard = shard
        self.last_sequence = last_sequence
        """Of the shard's entries in the catalog; 0: none."""

    @classmethod
    async def open(cls, js: JetStreamContext, shard: int) -> CommitLog:
        bucket = await persistently(lambda: js.key_value(CHECKPOINT_BUCKET), "opening the checkpoints")
        last = await persistently(lambda: _last_entry(js, shard), "reading the end of the catalog")
        return cls(js, bucket, shard, last[0] if last else 0)

    async def append(self, entry: Entry) -> int:
        """Commit an entry; returns its sequence in the catalog.

        Safe to be sent twice: when the answer was lost, the chain's end tells whether it was stored.
        Raises FencedError when another writer has committed since.
        """
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(self.last_sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": shard_catalog(self._shard),
        }
        try:
            ack = await persistently(
                lambda: self._js.publish(entry.subject, encode(entry), headers=headers), "committing a segment"
            )
            self.last_sequence = ack.seq
        except nats.js.errors.APIError as error:
            if error.err_code != _WRONG_LAST_SEQUENCE:
                raise TransientError(f"catalog: expected {entry.path} to be stored, found {error}") from error
            last = await persistently(lambda: _last_entry(self._js, self._shard), "reading the end of the catalog")
            if last is None or last[1] != entry:
                raise FencedError(
                    f"shard {self._shard}: expected catalog sequence {self.last_sequence} to be the last, "
                    f"found {last[0] if last else 'none'}: another writer owns this shard"
                ) from error
            self.last_sequence = last[0]
        return self.last_sequence

    async def entries(self, first_sequence: int) -> AsyncIterator[tuple[int, Entry]]:
        """The shard's entries from a catalog sequence on, up to the present last one, each with its sequence."""
        if self.last_sequence < max(first_sequence, 1):
            return
        subscription = await persistently(
            lambda: self._js.subscribe(
                shard_catalog(self._shard),
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
            while True:
                message = await subscription.next_msg(timeout=30)
                sequence = message.metadata.sequence.stream
                yield sequence, decode_entry(message.data)
                if sequence >= self.last_sequence:
                    return
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


async def _last_entry(js: JetStreamContext, shard: int) -> tuple[int, Entry] | None:
    try:
        message = await js.get_last_msg(CATALOG_STREAM, shard_catalog(shard))
    except nats.js.errors.NotFoundError:
        return None
    assert message.seq is not None
    return message.seq, decode_entry(message.data or b"")
