"""The durable consumer `sync` on the catalog: made, set back at the start, and looked at."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from daedalus.config import Nats
from daedalus.naming import ALL_ENTRIES, CATALOG_STREAM
from daedalus.streams import ensure_streams
from daedalus_sync.metrics import Metrics
from daedalus_sync.pause import StoppingError, pause

CONSUMER = "sync"
ACK_WAIT_SECONDS = 60.0
"""After a lost delivery the entry comes again; entries under way are renewed three times in that time."""
MAX_ACK_PENDING = 64

_log = structlog.get_logger()


async def ensure_consumer(js: JetStreamContext) -> None:
    """Create it where it is missing: from the first entry of the catalog on."""
    with contextlib.suppress(NotFoundError):
        await js.consumer_info(CATALOG_STREAM, CONSUMER)
        return
    config = ConsumerConfig(
        durable_name=CONSUMER,
        description="segments on their way to S3",
        deliver_policy=DeliverPolicy.ALL,
        filter_subject=ALL_ENTRIES,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        max_ack_pending=MAX_ACK_PENDING,
    )
    await js.add_consumer(CATALOG_STREAM, config)
    _log.info("consumer was created", stream=CATALOG_STREAM, consumer=CONSUMER)


async def set_back(client: Client) -> None:
    """Have what an earlier process was given and did not finish delivered again now, not after ack_wait (server 2.14+)."""
    try:
        await client.request(f"$JS.API.CONSUMER.RESET.{CATALOG_STREAM}.{CONSUMER}", b"", timeout=5)
    except nats.errors.Error as error:
        _log.info("consumer was not set back", error_type=type(error).__name__, wait_seconds=ACK_WAIT_SECONDS)


class Position:
    """Where the consumer stands, as metrics; looked at every few seconds."""

    def __init__(self, js: JetStreamContext, config: Nats, metrics: Metrics, stopping: asyncio.Event) -> None:
        self._js = js
        self._config = config
        self._metrics = metrics
        self._stopping = stopping
        self.caught_up = False
        """Whether every entry was delivered at least once, when it was looked at last."""

    async def run(self, poll_seconds: float) -> None:
        while True:
            try:
                await self.look()
            except (nats.errors.Error, TimeoutError) as error:
                self.caught_up = False
                _log.warning("the consumer's position is not known", error_type=type(error).__name__)
            try:
                await pause(self._stopping, poll_seconds)
            except StoppingError:
                return

    async def look(self) -> None:
        """Set the metrics; a consumer or a stream that somebody deleted is made anew."""
        try:
            info = await self._js.consumer_info(CATALOG_STREAM, CONSUMER)
        except NotFoundError:
            _log.error("the consumer or its stream was deleted", stream=CATALOG_STREAM, consumer=CONSUMER)
            await ensure_streams(self._js, self._config)
            await ensure_consumer(self._js)
            return
        pending = (info.num_pending or 0) + (info.num_ack_pending or 0)
        self._metrics.pending.set(pending)
        self.caught_up = info.num_pending == 0
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        oldest = await self._oldest(floor) if pending else None
        self._metrics.lag.set(0.0 if oldest is None else max(0.0, time.time() - oldest.timestamp()))

    async def _oldest(self, floor: int) -> datetime | None:
        """The time of the first entry above the floor: it is not done, else the floor would be higher."""
        try:
            found = await self._js.get_msg(CATALOG_STREAM, floor + 1, ALL_ENTRIES, next=True)
        except NotFoundError:
            return None
        return found.time
