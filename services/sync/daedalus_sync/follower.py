"""Follows the catalog with the durable consumer `sync`: an entry is acknowledged when its segment is done."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from daedalus.catalog import decode_entry
from daedalus.errors import PermanentError
from daedalus.naming import CATALOG_STREAM, COMPACTED
from daedalus_sync.back_off import is_gone, missing_delay_seconds
from daedalus_sync.consumer import ACK_WAIT_SECONDS, CONSUMER
from daedalus_sync.log_stream import messages
from daedalus_sync.metrics import Metrics
from daedalus_sync.object_store import SegmentError
from daedalus_sync.pause import StoppingError, pause, unless_stopping
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.segment import Segment, from_entry
from daedalus_sync.uploader import Uploader

_FETCH_SECONDS = 5.0
_ENTRIES_PER_WORKER = 4

_log = structlog.get_logger()


class Follower:
    """With no uploader (storage.backend local) entries are only counted and acknowledged."""

    def __init__(
        self,
        js: JetStreamContext,
        uploader: Uploader | None,
        ready: ReadyFolder,
        workers: int,
        metrics: Metrics,
        stopping: asyncio.Event,
    ) -> None:
        self._js = js
        self._uploader = uploader
        self._ready = ready
        self._limit = workers * _ENTRIES_PER_WORKER
        self._metrics = metrics
        self._stopping = stopping
        self._running: dict[asyncio.Task[None], Msg] = {}
        self._paths: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether no entry is being worked on."""
        return not self._running

    async def run(self) -> None:
        """Until the stop; returns when the entries that were begun are done or left to the next start."""
        subscription = await self._js.pull_subscribe_bind(CONSUMER, CATALOG_STREAM)
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._beat())
            try:
                while True:
                    free = await self._free()
                    for message in await self._fetch(subscription, free):
                        task = group.create_task(self._handle(message))
                        self._running[task] = message
                        task.add_done_callback(self._running.pop)
            except StoppingError:
                pass
            if self._running:
                await asyncio.wait(list(self._running))
            beat.cancel()
        await subscription.unsubscribe()

    async def _free(self) -> int:
        """How many entries may be fetched: waits until it is at least half of the limit."""
        while len(self._running) > self._limit // 2:
            wait = asyncio.wait(list(self._running), return_when=asyncio.FIRST_COMPLETED)
            await unless_stopping(self._stopping, wait)
        return self._limit - len(self._running)

    async def _fetch(self, subscription: JetStreamContext.PullSubscription, count: int) -> list[Msg]:
        try:
            return await unless_stopping(self._stopping, subscription.fetch(count, timeout=_FETCH_SECONDS))
        except (nats.errors.TimeoutError, TimeoutError):
            return []  # nothing new
        except nats.errors.Error as error:
            _log.warning("the catalog could not be read", error=str(error), error_type=type(error).__name__)
            await pause(self._stopping, 1.0)
            return []

    async def _handle(self, message: Msg) -> None:
        if message.metadata.num_delivered == 1:
            self._metrics.received.inc()
        try:
            segment = from_entry(decode_entry(message.data))
        except PermanentError as error:
            self._metrics.errors.labels("invalid").inc()
            self._metrics.discarded.labels("invalid").inc()
            _log.error("catalog entry was passed over", error=str(error), sequence=message.metadata.sequence.stream)
            await _answer(message.term())
            return
        if segment.path in self._paths:
            return  # delivered again while it is worked on
        self._paths.add(segment.path)
        try:
            await self._done(message, segment)
        except StoppingError:
            await _answer(message.nak())
        finally:
            self._paths.discard(segment.path)

    async def _done(self, message: Msg, segment: Segment) -> None:
        if self._uploader is None or (self._uploader.is_done(segment) and not segment.replaces):
            self._metrics.discarded.labels("local" if self._uploader is None else "already_uploaded").inc()
            await _answer(message.ack())
            return
        try:
            await self._uploader.upload(segment)
        except SegmentError as error:
            if error.kind == "missing" and await self._is_replaced(message, segment):
                self._metrics.discarded.labels("replaced").inc()
                await _answer(message.ack())
                return
            age = time.time() - message.metadata.timestamp.timestamp()
            in_active = await asyncio.to_thread(self._ready.is_in_active, segment.path)
            if error.kind == "missing" and not is_gone(age, in_active=in_active):
                await _answer(message.nak(delay=missing_delay_seconds(age)))
                return
            self._uploader.give_up(segment.path, error)
            await _answer(message.term())
        else:
            await _answer(message.ack())

    async def _is_replaced(self, message: Msg, segment: Segment) -> bool:
        """Whether `daedalus-writer compact` has merged this segment into another one since."""
        subject = ".".join(["catalog", COMPACTED, *message.subject.split(".")[2:]])
        async with contextlib.aclosing(messages(self._js, CATALOG_STREAM, subject)) as merged:
            async for later in merged:
                with contextlib.suppress(PermanentError):  # that entry's own delivery tells
                    if segment.path in decode_entry(later.data).replaced_paths:
                        return True
        return False

    async def _beat(self) -> None:
        """Tells the server that entries are still worked on, so that it does not deliver them again."""
        while True:
            await asyncio.sleep(ACK_WAIT_SECONDS / 3)
            for message in list(self._running.values()):
                await _answer(message.in_progress())


async def _answer(publish: Coroutine[Any, Any, None]) -> None:
    """Send an acknowledgement; one that is lost is no harm: the entry is delivered again, and found to be done."""
    try:
        await publish
    except nats.errors.Error as error:
        _log.debug("an acknowledgement was not sent", error_type=type(error).__name__)
