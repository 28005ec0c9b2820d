"""Sends closed batches to JetStream, in order, each stored once.

The publisher has a connection of its own, without nats-py's reconnect: that one would send what was left in its buffer
before the batches that come earlier. A lost connection, or 5 s without any acknowledgement, ends a session; the next one
sends everything unacknowledged again, oldest first, under the same `Nats-Msg-Id`, and JetStream drops what it has. It
does so for its duplicate window only: an older batch is looked up in the stream before it is sent again.

When the outbox is half full everything in memory moves to the spill on disk, where there is one. What is there is
published first, a file at a time, and what is in memory after it: the order stays.

Acknowledgements come to one wildcard inbox with one callback, no future for each. A refusal (stream full) holds everything
back for a second; batches that were in flight then may be stored before the refused one, so the order on a subject is
that of sending except across a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header

from daedalus import broker
from daedalus_collector import acknowledgement, stored
from daedalus_collector.backoff import Backoff
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import ClosedBatch, Outbox
from daedalus_collector.spill import Spill

WINDOW_BATCHES = 64
WINDOW_BYTES = 4_000_000
ACK_SECONDS = 5.0
REFUSED_SECONDS = 1.0
RECONNECT_SECONDS = 0.25
"""The first delay; it doubles to the cap of `Backoff`, which a recorder's full outbox would not forgive: see `_cap`."""
LONGEST_RECONNECT_SECONDS = 2.0
WINDOW_MARGIN_SECONDS = 10.0
"""How long before the end of the duplicate window a batch counts as too old to be sent again unseen."""
CLOCK_MARGIN = timedelta(seconds=60)
"""How far the server's clock may be ahead of ours."""

_log = structlog.get_logger()


class _Sending:
    """A batch that is not acknowledged."""

    __slots__ = ("batch", "first_sent", "sent", "times")

    def __init__(self, batch: ClosedBatch) -> None:
        self.batch = batch
        self.first_sent: float | None = float("-inf") if batch.unsure else None
        """Monotonic seconds, of the first send whose outcome is unknown; None: certainly not stored."""
        self.sent = 0.0
        self.times = 0


class Publisher:
    """Call `run` in a task; `wake` tells it that the outbox has changed."""

    def __init__(
        self, url: str, outbox: Outbox, spill: Spill, metrics: Metrics, duplicate_window_seconds: float
    ) -> None:
        self._url = url
        self._outbox = outbox
        self._spill = spill
        self._metrics = metrics
        self._stale_seconds = max(1.0, duplicate_window_seconds - WINDOW_MARGIN_SECONDS)
        self._numbers = count()
        self._unacknowledged: OrderedDict[int, _Sending] = OrderedDict()
        """Everything closed in memory; or, while there is a spill, its first file. The key is that of the answer."""
        self._from_disk = False
        self._unsent: deque[int] = deque()
        self._in_flight: dict[int, int] = {}
        self._in_flight_bytes = 0
        self._last_ack = 0.0
        self._refused_until = 0.0
        self._refusal: str | None = None
        self._connected = False
        self._changed = asyncio.Event()
        self._crowded = asyncio.Event()
        self._idle = asyncio.Event()
        self._moving = asyncio.Lock()

    def wake(self) -> None:
        self._changed.set()
        if self._outbox.crowded:
            self._crowded.set()

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    def stored_ns(self, now_ns: int) -> int:
        """Everything that was received before this moment is in JetStream, or was refused and counted."""
        oldest = [sending.batch.opened_ns for sending in self._unacknowledged.values()]
        waiting = (self._outbox.oldest_ns(), self._spill.oldest_ns())
        return min([now_ns, *oldest, *(moment_ns for moment_ns in waiting if moment_ns is not None)])

    def problem(self) -> str | None:
        """Why batches do not get through, or None."""
        if not self._connected:
            return f"no connection to JetStream at {self._url}; {self.unacknowledged} batches wait"
        if self._refusal is not None:
            return f"JetStream refused a batch: {self._refusal}; {self.unacknowledged} batches wait"
        return None

    async def run(self) -> None:
        """Publish for ever, and spill what memory cannot hold."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            tasks.create_task(self._relieve())

    async def _publish(self) -> None:
        delay = Backoff(RECONNECT_SECONDS, lambda: random.uniform(0.5, 1))
        while True:
            began = time.monotonic()
            try:
                connection = await broker.connect(self._url, "collector", reconnect=False)
            except (OSError, nats.errors.Error, TimeoutError) as error:
                _log.warning("JetStream was not reached", error=str(error), error_type=type(error).__name__)
            else:
                try:
                    await self._session(connection)
                except (OSError, nats.errors.Error, TimeoutError) as error:
                    _log.warning("publishing was interrupted", error=str(error), error_type=type(error).__name__)
                finally:
                    self._connected = False
                    await _close(connection)
            seconds = delay.failed(time.monotonic() - began)
            await asyncio.sleep(min(seconds, LONGEST_RECONNECT_SECONDS))

    async def drained(self) -> None:
        """Close every batch and return when all of them are acknowledged; the caller bounds the wait."""
        self._outbox.close_all()
        while self._waits():
            self._idle.clear()
            self.wake()
            await self._idle.wait()

    async def put_away(self) -> None:
        """Move what is in memory to the disk, behind what is there already, until it is full."""
        async with self._moving:
            if not self._spill.accepts():
                return
            if not self._from_disk:
                self._give_back()
            self._outbox.close_all()
            closed = self._outbox.closed
            left = len(closed)
            while left and (moved := await self._spill.put([closed[at] for at in range(left)])):
                for _ in range(moved):
                    self._outbox.acknowledged(closed.popleft())
                left -= moved
        self.wake()

    async def _relieve(self) -> None:
        while True:
            await self._crowded.wait()
            self._crowded.clear()
            if self._outbox.crowded:
                await self.put_away()

    def _waits(self) -> bool:
        return bool(self._unacknowledged or self._outbox.closed or self._spill.files or self._moving.locked())

    async def _session(self, connection: Client) -> None:
        """Send on one connection until it ends; returning or raising promises nothing of what was in flight."""
        inbox = f"{connection.new_inbox()}."

        async def answered(message: Msg) -> None:
            self._answered(int(message.subject[len(inbox) :]), message)

        await connection.subscribe(f"{inbox}*", cb=answered)
        self._connected = True
        self._send_again()
        self._last_ack = time.monotonic()
        while connection.is_connected:
            self._outbox.close_due(time.time_ns())
            await self._take()
            if not self._waits():
                self._idle.set()
            now = time.monotonic()
            if self._in_flight and now - self._last_ack > ACK_SECONDS:
                raise TimeoutError(f"{len(self._in_flight)} batches were not acknowledged in {ACK_SECONDS:.0f} s")
            if now >= self._refused_until:
                await self._send_window(connection, inbox)
            await self._wait()

    async def _send_window(self, connection: Client, inbox: str) -> None:
        while self._unsent and len(self._in_flight) < WINDOW_BATCHES and self._in_flight_bytes < WINDOW_BYTES:
            if not connection.is_connected:
                return
            number = self._unsent[0]
            sending = self._unacknowledged.get(number)
            if sending is None:  # acknowledged late
                self._unsent.popleft()
                continue
            now = time.monotonic()
            if sending.first_sent is not None and now - sending.first_sent > self._stale_seconds:
                await self._look_up(connection, sending.batch.subject)
                continue
            self._unsent.popleft()
            if sending.first_sent is None:
                sending.first_sent = now
            if not self._in_flight:
                self._last_ack = now
            sending.sent = now
            sending.times += 1
            if sending.times == 2:
                self._metrics.resent_batches += 1
            batch = sending.batch
            self._in_flight[number] = len(batch.message)
            self._in_flight_bytes += len(batch.message)
            headers = {Header.MSG_ID.value: batch.message_id}
            await connection.publish(batch.subject, batch.message, f"{inbox}{number}", headers=headers)

    async def _look_up(self, connection: Client, subject: str) -> None:
        """Find out which old batches of a subject were stored; those are done, the others certainly were not."""
        now = time.monotonic()
        old = {
            number: sending
            for number, sending in self._unacknowledged.items()
            if sending.batch.subject == subject
            and sending.first_sent is not None
            and now - sending.first_sent > self._stale_seconds
        }
        since = (
            datetime.fromtimestamp(min(sending.batch.opened_ns for sending in old.values()) / 1e9, UTC) - CLOCK_MARGIN
        )
        shard = next(iter(old.values())).batch.shard
        found = await stored.message_ids(connection.jetstream(), shard, subject, since)
        for number, sending in old.items():
            sending.first_sent = None
            if sending.batch.message_id in found and number in self._unacknowledged:
                self._done(number)
        _log.info("old batches were looked up", subject=subject, batches=len(old), stored=len(found))
        self._last_ack = time.monotonic()
        self.wake()

    def _answered(self, number: int, message: Msg) -> None:
        """JetStream's answer to one batch, or the server's that nobody listens."""
        self._last_ack = now = time.monotonic()
        self._in_flight_bytes -= self._in_flight.pop(number, 0)
        ack = acknowledgement.read(message.data)
        sending = self._unacknowledged.get(number)
        if ack.error is not None:
            self._refusal = f"{ack.error.description} ({ack.error.err_code})"
            self._metrics.errors["refused"] += 1
            if sending is not None:
                sending.first_sent = None  # had it been stored, the answer were `duplicate`
                self._refused_until = now + REFUSED_SECONDS
                self._send_again()
        elif sending is not None:
            self._refusal = None
            self._metrics.ack_seconds.observe(now - sending.sent)
            self._done(number)
        self.wake()

    def _done(self, number: int) -> None:
        batch = self._unacknowledged.pop(number).batch
        self._metrics.batches += 1
        self._metrics.sent[batch.channel] += batch.records
        if not self._from_disk:
            self._outbox.acknowledged(batch)

    async def _take(self) -> None:
        """What is to be sent next: the first file of the spill alone, or everything in memory where there is none."""
        if self._from_disk:
            if self._unacknowledged:
                return
            self._from_disk = False
            await self._spill.drop()
        if self._moving.locked():
            return
        closed = self._outbox.closed
        if self._spill.files:
            batches = await self._spill.oldest()
            self._from_disk = True
        else:
            batches = [closed.popleft() for _ in range(len(closed))]
        for batch, number in zip(batches, self._numbers, strict=False):
            self._unacknowledged[number] = _Sending(batch)
            self._unsent.append(number)

    def _give_back(self) -> None:
        """What came from memory, to the front of the outbox; answers that are still on their way count no more."""
        waiting = [
            msgspec.structs.replace(sending.batch, unsure=sending.first_sent is not None)
            for sending in self._unacknowledged.values()
        ]
        self._outbox.closed.extendleft(reversed(waiting))
        self._unacknowledged.clear()
        self._send_again()

    def _send_again(self) -> None:
        """Everything unacknowledged, oldest first. What is still in flight is answered as a duplicate."""
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._unsent = deque(self._unacknowledged)

    async def _wait(self) -> None:
        """Until something changes, a batch is due, or a second has passed."""
        timeout = 1.0
        if (due_ns := self._outbox.next_due_ns()) is not None:
            timeout = min(timeout, max(0.0, (due_ns - time.time_ns()) / 1e9))
        if (refused := self._refused_until - time.monotonic()) > 0:
            timeout = min(timeout, refused)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):  # wait_for loses a cancellation that comes with the event (3.11)
                await self._changed.wait()
        self._changed.clear()


async def _close(connection: Client) -> None:
    try:
        async with asyncio.timeout(ACK_SECONDS):
            await connection.close()
    except Exception as error:  # noqa: BLE001  # the connection ends here, whatever its state
        _log.debug("connection was not closed in order", error=str(error))
