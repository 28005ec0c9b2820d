"""Puts messages into JetStream as a collector does: each with its `Nats-Msg-Id`, acknowledged, a bounded window."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable

from nats.aio.msg import Msg

from benchmarks.load import Load
from daedalus import broker
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from daedalus_collector.outbox import ClosedBatch

WINDOW = 256
"""Messages that wait for their acknowledgement, at the most."""
_STEP_SECONDS = 0.02


class Publisher:
    """A connection to one server. Raises what JetStream refuses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._room = asyncio.Semaphore(WINDOW)
        self.messages = 0

    async def open(self) -> None:
        """Connect, and create the streams."""
        self._client = await broker.connect(self._url, "bench")
        await ensure_streams(self._client.jetstream(), Nats(url=self._url, max_mb=16_000))
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_ack)

    async def close(self) -> None:
        """Wait for every acknowledgement."""
        for _ in range(WINDOW):
            await asyncio.wait_for(self._room.acquire(), 30)
        await broker.close(self._client)

    async def publish(self, batches: Iterable[ClosedBatch]) -> None:
        for batch in batches:
            await self._room.acquire()
            headers = {"Nats-Msg-Id": batch.message_id}
            self.messages += 1
            await self._client.publish(batch.subject, batch.message, f"{self._inbox}.{self.messages}", headers)

    async def _on_ack(self, message: Msg) -> None:
        answer = json.loads(message.data)
        assert "seq" in answer, answer
        assert "duplicate" not in answer, answer
        self._room.release()


async def fill(url: str, load: Load, records: int) -> float:
    """Put this many records into an empty server, as fast as it goes. Returns how many times faster than they came in
    their own, simulated time: the server's clock, which the writer goes by, ran that much slower.
    """
    publisher = Publisher(url)
    await publisher.open()
    began, simulated_ns = time.monotonic(), load.now_ns
    await publisher.publish(load.take(records))
    await publisher.close()
    return (load.now_ns - simulated_ns) / 1e9 / (time.monotonic() - began)


async def pace(url: str, load: Load, stop: asyncio.Event, speed: float = 1.0) -> None:
    """Publish a load live, `speed` of its seconds in each, until told to stop; nothing of it is left lingering."""
    publisher = Publisher(url)
    await publisher.open()
    began, first_ns = time.monotonic(), load.now_ns
    while not stop.is_set():
        await publisher.publish(load.until(first_ns + int((time.monotonic() - began) * speed * 1e9)))
        await asyncio.sleep(_STEP_SECONDS)
    await publisher.publish(load.take(0))
    await publisher.close()
