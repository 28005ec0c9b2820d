"""Sends closed batches to JetStream, in order, each stored once.

The publisher has a connection of its own, without nats-py's reconnect: that one would send what was left in its buffer
before the batches that come earlier. A lost connection, or 5 s without any acknowledgement, ends a session; the next one
sends everything unacknowledged again, oldest first, under the same `Nats-Msg-Id`, and JetStream drops what it has. It
does so for its duplicate window only: an older batch is looked up in the stream before it is sent again.

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

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import Header

from daedalus import broker
from daedalus_collector import stored
from daedalus_collector.backoff import Backoff
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import ClosedBatch, Outbox

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


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


class _Sending:
    """A batch that is not acknowledged."""

    __slots__ = ("batch", "first_sent", "first_sent_at", "sent", "times")

    def __init__(self, batch: ClosedBatch) -> None:
        self.batch = batch
        self.first_sent: float | None = None
        """Monotonic seconds, of the first send whose outcome is unknown; None: certainly not stored."""
        self.first_sent_at = datetime.now(UTC)
        self.sent = 0.0
        self.times = 0


_ack_decoder = msgspec.json.Decoder(_Ack)


class Publisher:
    """Call `run` in a task; `wake` tells it that the outbox has changed."""

    def __init__(self, url: str, outbox: Outbox, metrics: Metrics, duplicate_window_seconds: float) -> None:
        self._url = url
        self._outbox = outbox
        self._metrics = metrics
        self._stale_seconds = max(1.0, duplicate_window_seconds - WINDOW_MARGIN_SECONDS)
        self._unacknowledged: OrderedDict[int, _Sending] = OrderedDict()
        self._unsent: deque[int] = deque()
        self._in_flight: dict[int, int] = {}
        self._in_flight_bytes = 0
        self._last_ack = 0.0
        self._refused_until = 0.0
        self._refusal: str | None = None
        self._connected = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()

    def wake(self) -> None:
        self._changed.set()

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    def stored_ns(self, now_ns: int) -> int:
        """Everything that was received before this moment is in JetStream, or was refused and counted."""
        oldest = [sending.batch.opened_ns for sending in self._unacknowledged.values()]
        if (waiting := self._outbox.oldest_ns()) is not None:
            oldest.append(waiting)
        return min([now_ns, *oldest])

    def problem(self) -> str | None:
        """Why batches do not get through, or None."""
        if not self._connected:
            return f"no connection to JetStream at {self._url}; {self.unacknowledged} batches wait"
        if self._refusal is not None:
            return f"JetStream refused a batch: {self._refusal}; {self.unacknowledged} batches wait"
        return None

    async def run(self) -> None:
        """Publish for ever."""
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
        while self._unacknowledged or self._outbox.closed:
            self._idle.clear()
            self.wake()
            await self._idle.wait()

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
            self._take_closed()
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
            counter = self._unsent[0]
            sending = self._unacknowledged.get(counter)
            if sending is None:  # acknowledged late
                self._unsent.popleft()
                continue
            now = time.monotonic()
            if sending.first_sent is not None and now - sending.first_sent > self._stale_seconds:
                await self._look_up(connection, sending.batch.subject)
                continue
            self._unsent.popleft()
            if sending.first_sent is None:
                sending.first_sent, sending.first_sent_at = now, datetime.now(UTC)
            if not self._in_flight:
                self._last_ack = now
            sending.sent = now
            sending.times += 1
            if sending.times == 2:
                self._metrics.resent_batches += 1
            batch = sending.batch
            self._in_flight[counter] = len(batch.message)
            self._in_flight_bytes += len(batch.message)
            headers = {Header.MSG_ID.value: batch.message_id}
            await connection.publish(batch.subject, batch.message, f"{inbox}{counter}", headers=headers)

    async def _look_up(self, connection: Client, subject: str) -> None:
        """Find out which old batches of a subject were stored; those are done, the others certainly were not."""
        now = time.monotonic()
        old = [
            sending
            for sending in self._unacknowledged.values()
            if sending.batch.subject == subject
            and sending.first_sent is not None
            and now - sending.first_sent > self._stale_seconds
        ]
        since = min(sending.first_sent_at for sending in old) - CLOCK_MARGIN
        found = await stored.message_ids(connection.jetstream(), old[0].batch.shard, subject, since)
        for sending in old:
            sending.first_sent = None
            if sending.batch.message_id in found:
                self._done(sending.batch.counter)
        _log.info("old batches were looked up", subject=subject, batches=len(old), stored=len(found))
        self._last_ack = time.monotonic()

    def _answered(self, counter: int, message: Msg) -> None:
        """JetStream's answer to one batch, or the server's that nobody listens."""
        self._last_ack = now = time.monotonic()
        self._in_flight_bytes -= self._in_flight.pop(counter, 0)
        ack = _read_ack(message)
        sending = self._unacknowledged.get(counter)
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
            self._done(counter)
        self.wake()

    def _done(self, counter: int) -> None:
        batch = self._unacknowledged.pop(counter).batch
        self._metrics.batches += 1
        self._metrics.sent[batch.channel] += batch.records
        self._outbox.acknowledged(batch)
        if not self._unacknowledged:
            self._idle.set()

    def _take_closed(self) -> None:
        while self._outbox.closed:
            batch = self._outbox.closed.popleft()
            self._unacknowledged[batch.counter] = _Sending(batch)
            self._unsent.append(batch.counter)

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


def _read_ack(message: Msg) -> _Ack:
    if not message.data:  # no responders: there is no such stream, or JetStream is not ready
        return _Ack(error=_Error(503, 0, "no stream takes this subject"))
    try:
        return _ack_decoder.decode(message.data)
    except msgspec.DecodeError as error:
        return _Ack(error=_Error(0, 0, f"unreadable answer: {error}"))


async def _close(connection: Client) -> None:
    try:
        async with asyncio.timeout(ACK_SECONDS):
            await connection.close()
    except Exception as error:  # noqa: BLE001  # the connection ends here, whatever its state
        _log.debug("connection was not closed in order", error=str(error))
