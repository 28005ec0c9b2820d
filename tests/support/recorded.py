"""What a collector left in JetStream."""

from __future__ import annotations

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from daedalus import wire
from daedalus.records import Record

Recorded = dict[tuple[str, str, str], list[Record]]
"""(exchange, channel, symbol) → records, in the order of the stream."""


async def batches(url: str, shards: int = 1) -> list[wire.Batch]:
    """Everything that the streams hold, in their order."""
    client = await nats.connect(url)
    js = client.jetstream()
    found = []
    for shard in range(shards):
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True)
        consumer = await js.add_consumer(f"MD-{shard}", config)
        subscription = await js.pull_subscribe_bind(consumer=consumer.name, stream=f"MD-{shard}")
        remaining = consumer.num_pending or 0
        while remaining > 0:
            for message in await subscription.fetch(min(200, remaining), timeout=5):
                remaining -= 1
                found.append(wire.decode(message.data))
    await client.close()
    return found


async def recorded(url: str, shards: int = 1) -> Recorded:
    """The records of everything that the streams hold."""
    found: Recorded = {}
    for batch in await batches(url, shards):
        for part in batch.parts:
            key = (batch.exchange, batch.channel, part.symbol)
            found.setdefault(key, []).extend(wire.decode_records(batch.channel, part.records))
    return found
