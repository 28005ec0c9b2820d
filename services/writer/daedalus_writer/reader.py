"""Reads a shard's stream: bounded pull requests on an ephemeral consumer, no acks.

Each request asks for what is there, and for no more: who has caught up is woken by the clock, once for many messages,
and not by every message.

No acknowledgement is held open on the server: the writer's own commit log says what is done. A message counts as
delivered only in order: the consumer's sequence must have no holes, else the reader starts anew after the last one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from daedalus.config import Ingestion
from daedalus.errors import TransientError
from daedalus_writer.segment import Position

_SILENT_SECONDS = 6.0
_INACTIVE_SECONDS = 120
"""A consumer that nobody pulls from for this long is forgotten by the server."""

_log = structlog.get_logger()


class Message(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    timestamp_ns: int
    """The server's."""
    pending: int
    """Messages behind this one in the stream, when it was sent."""
    data: bytes

    @property
    def position(self) -> Position:
        return Position(self.sequence, self.timestamp_ns)


class InterruptedReadError(TransientError):
    """The consumer is gone or out of order: read on from the last message with a new one."""


class Reader:
    """One consumer, from its first message until it is interrupted."""

    def __init__(self, nats: Client, stream: str, ingestion: Ingestion) -> None:
        self._nats = nats
        self._stream = stream
        self._batch = ingestion.pull_batch
        self._max_bytes = ingestion.pull_max_bytes
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._owed = 0
        self._expected = 1
        self._reconnects = nats.stats["reconnects"]
        self._caught_up = False
        self._unanswered_since: float | None = None
        self._failure: str | None = None
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._inbox = ""

    async def open(self, start: dict[str, Any]) -> int:
        """Create the consumer at `start` (JetStream's deliver policy); returns how many messages wait.

        Raises InterruptedReadError when JetStream does not answer.
        """
        config = {
            **start,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE_SECONDS * 1_000_000_000,
        }
        created = await self._request(
            f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
        )
        self._consumer = created["name"]
        self._inbox = self._nats.new_inbox()
        self._subscription = await self._nats.subscribe(
            self._inbox, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )
        pending = int(created.get("num_pending", 0))
        self._caught_up = pending == 0
        return pending

    async def read(self, wait_seconds: float) -> list[Message]:
        """The messages that have arrived; asks for more only when called. When there was nothing left it lets
        `wait_seconds` go by before it asks again, and then returns all that has come meanwhile; it may be nothing.

        Raises InterruptedReadError.
        """
        if self._caught_up and not self._queue and self._failure is None:
            await asyncio.sleep(wait_seconds)
        if not self._nats.is_connected or self._nats.stats["reconnects"] != self._reconnects:
            self._fail("the connection to NATS was lost, and with it what was asked for")
        await self._pull()
        if not self._queue and self._failure is None:
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait_seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._arrived.wait()
            except TimeoutError:
                self._check_silence()
        if self._failure is not None and not self._queue:
            raise InterruptedReadError(f"{self._stream}: {self._failure}")
        messages = list(self._queue)
        self._queue.clear()
        return messages

    async def close(self) -> None:
        if self._subscription is not None and not self._nats.is_closed:
            try:
                await self._subscription.unsubscribe()
                if self._nats.is_connected:
                    await self._nats.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}")
            except nats.errors.Error:
                pass  # the server forgets an idle consumer by itself

    async def _pull(self) -> None:
        """Ask for the next messages while the first half of the last ones is still on its way."""
        if self._owed > self._batch // 2 or self._failure is not None:
            return
        request = {"batch": self._batch, "max_bytes": self._max_bytes, "no_wait": True}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        self._owed += self._batch
        self._caught_up = False
        if self._unanswered_since is None:
            self._unanswered_since = time.monotonic()
        await self._nats.publish(subject, json.dumps(request).encode(), self._inbox)

    def _check_silence(self) -> None:
        """A request is answered, if only by saying that there is nothing; else the server or the network is gone."""
        if self._unanswered_since is None:
            self._owed = 0  # what came into the stream after the request is not in the answer
            return
        silent = time.monotonic() - self._unanswered_since
        if silent > _SILENT_SECONDS:
            self._fail(f"nothing came for {silent:.0f} s, not even that there is nothing")

    async def _on_message(self, message: Msg) -> None:
        self._unanswered_since = None
        if not message.reply or not message.reply.startswith("$JS.ACK"):
            self._on_status(message.headers or {})
            return
        # …<delivered>.<stream sequence>.<consumer sequence>.<timestamp>.<pending>, counted from the end
        tokens = message.reply.rsplit(".", 4)
        if int(tokens[2]) != self._expected:
            self._fail(f"expected message {self._expected} of the consumer, found {tokens[2]}")
        if self._failure is not None:
            return
        self._expected += 1
        self._owed -= 1
        pending = int(tokens[4])
        self._queue.append(Message(int(tokens[1]), int(tokens[3]), pending, message.data))
        if pending == 0:
            self._nothing_left()
        elif len(self._queue) >= self._batch // 2:
            self._arrived.set()

    def _on_status(self, headers: dict[str, str]) -> None:
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == "404":
            self._nothing_left()
        elif status == "408" or "Batch Completed" in description or "MaxBytes" in description:
            self._owed -= int(headers.get("Nats-Pending-Messages", self._owed))
            self._arrived.set()
        else:
            self._fail(f"{status} {description}")

    def _nothing_left(self) -> None:
        """All requests so far are answered."""
        self._owed = 0
        self._caught_up = True
        self._arrived.set()

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._arrived.set()

    async def _request(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._nats.request(f"$JS.API.{api}", json.dumps(body).encode(), timeout=5)
        except nats.errors.Error as error:
            raise InterruptedReadError(
                f"{self._stream}: {api.partition('.MD')[0]} failed: {type(error).__name__}"
            ) from error
        content: dict[str, Any] = json.loads(answer.data)
        if "error" in content:
            raise InterruptedReadError(f"{self._stream}: {content['error'].get('description')}")
        return content
