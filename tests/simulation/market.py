"""What is recorded in a simulation: collectors that publish numbered trades until they are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import msgspec
import nats.errors

from daedalus import wire
from daedalus.naming import batch_subject, shard_of
from daedalus.records import Trade
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.layout import Key
from simulation.client import SimulatedClient

EXCHANGE, CHANNEL = "kraken", "trade"
_PATIENCE_SECONDS = 0.5
_json = msgspec.json.Encoder()


class Batch(msgspec.Struct):
    message_id: str
    subject: str
    data: bytes
    rows: list[tuple[Key, bytes]]
    """(key, record as JSON) of each record."""
    acknowledged: bool = False
    lost: int = 0
    """How many times a power cut took it from the stream, after it was acknowledged or not."""


class Market:
    def __init__(self, random: Random, shards: int, wall_ns: Callable[[], int]) -> None:
        self._random = random
        self._wall_ns = wall_ns
        self.symbols: dict[int, list[str]] = {shard: [] for shard in range(shards)}
        for number in range(3 * shards):
            symbol = f"C{number}/USD"
            self.symbols[shard_of(EXCHANGE, symbol, shards)].append(symbol)
        self.batches: dict[str, Batch] = {}
        self._records = 0

    def batch(self, shard: int) -> Batch:
        """Of one hour: of this one, or of one that is past."""
        received_ns = self._wall_ns() - (NS_PER_HOUR if self._random.random() < 0.1 else 0)
        hour = received_ns // NS_PER_HOUR
        parts, rows = [], []
        for symbol in self._random.sample(
            self.symbols[shard], k=self._random.randint(1, min(2, len(self.symbols[shard])))
        ):
            buffer, count = bytearray(), self._random.randint(1, 2)
            for _ in range(count):
                self._records += 1
                record = Trade(received_ns, None, str(self._records), self._random.random(), 1.0, "buy")
                wire.append_record(buffer, record)
                rows.append((Key(EXCHANGE, CHANNEL, symbol, hour), _json.encode(record)))
            parts.append(wire.part(symbol, symbol, count, buffer))
        counter = len(self.batches)
        batch = wire.Batch(wire.VERSION, EXCHANGE, CHANNEL, hour, "collector", "boot", counter, parts)
        made = Batch(batch.message_id, batch_subject(shard, EXCHANGE, CHANNEL), wire.encode(batch), rows)
        self.batches[made.message_id] = made
        return made


async def collect(client: SimulatedClient, market: Market, shard: int, count: int, random: Random) -> None:
    """Publish batches one after the other, each until it is acknowledged, some of them again for good measure."""
    for _ in range(count):
        await asyncio.sleep(random.expovariate(count / 1.5))
        batch = market.batch(shard)
        await _publish(client, batch)
        if random.random() < 0.1:
            await _publish(client, batch)


async def _publish(client: SimulatedClient, batch: Batch) -> None:
    while True:
        try:
            await client.jetstream().publish(
                batch.subject, batch.data, timeout=_PATIENCE_SECONDS, headers={"Nats-Msg-Id": batch.message_id}
            )
        except nats.errors.Error:
            await asyncio.sleep(0.1)
        else:
            batch.acknowledged = True
            return
