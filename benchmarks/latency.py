"""How long a record is on its way: from the moment when its frame left the socket until JetStream had stored its message.

Both are of one machine's clock; the acknowledgement follows the store. The peer publishes every record by itself with
nats-py's `js.publish`, and waits for each acknowledgement: there is no faster way, and none that costs more.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

from daedalus import broker, wire

_RATE = 1_000
_SECONDS = 5.0
_STEP_SECONDS = 0.01


class Latency(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float


def of_records(url: str, since_ns: int) -> Latency:
    """Of every record in the stream that was received after a moment."""
    return asyncio.run(_of_records(url, since_ns))


def of_single_messages(url: str) -> tuple[Latency, float]:
    """The peer's, and the CPU that it takes per record in microseconds."""
    return asyncio.run(_of_single_messages(url))


async def _of_records(url: str, since_ns: int) -> Latency:
    client = await broker.connect(url, "bench")
    jetstream = client.jetstream()
    last = (await jetstream.stream_info("MD-0")).state.last_seq  # its collector goes on
    consumer = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True)
    pull = await jetstream.pull_subscribe("md.>", stream="MD-0", config=consumer)
    found, sequence = [], 0
    while sequence < last:
        for message in await pull.fetch(min(100, last - sequence), timeout=5):
            sequence = message.metadata.sequence.stream
            batch, stored_ns = wire.decode(message.data), message.metadata.timestamp.timestamp() * 1e9
            for part in batch.parts:
                for record in wire.decode_records(batch.channel, part.records):
                    if record.received_ns > since_ns:
                        found.append((stored_ns - record.received_ns) / 1e6)
    await broker.close(client)
    return _latency(found)


async def _of_single_messages(url: str) -> tuple[Latency, float]:
    client = await broker.connect(url, "bench")
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="SINGLE", subjects=["single"]))
    found: list[float] = []

    async def publish() -> None:
        began = time.time_ns()
        await jetstream.publish("single", b"x" * 100)
        found.append((time.time_ns() - began) / 1e6)

    cpu, end = time.process_time(), time.monotonic() + _SECONDS
    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() < end:
            for _ in range(int(_RATE * _STEP_SECONDS)):
                tasks.create_task(publish())
            await asyncio.sleep(_STEP_SECONDS)
    cpu = time.process_time() - cpu
    await jetstream.delete_stream("SINGLE")
    await broker.close(client)
    return _latency(found), cpu / len(found) * 1e6


def _latency(milliseconds: list[float]) -> Latency:
    ordered = sorted(milliseconds)
    assert ordered, "no record is in the stream"
    return Latency(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100])
