"""The writer that there is to beat, as its description has it: one asyncio queue, deques of dicts, `Table.from_pylist`, and
an open `ParquetWriter` for each partition. A process of its own that reads the same stream as ours.

    python -m benchmarks.seed_writer --url nats://… --root DIR [--records N] [--clock simulated] [--open-writers N] [--discard]

What the description leaves open was decided in its favour:

- it holds nothing on the server: a pull consumer without acks, so a crash loses its queue, its buffers and every open file
- it is handed whole batches and reads them with the same msgspec decoders as ours; `--discard` measures this part alone
- it flushes every 5 s, or when one partition (not all together) has 1,000 records: ten times fewer, larger row groups
- a book waits as two lists of floats; its levels become dicts when its table is made, not before
- times are integers, not datetime objects; a partition's writer is found by one tuple; directories are made once
- nothing is fsynced, hashed or checked; files are moved by rename
- garbage is collected as seldom as in ours
- a writer that the LRU evicts is closed and its file moved; the next record of its partition begins a new segment
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import signal
import time
from array import array
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from nats.aio.client import Client
from nats.aio.msg import Msg

from daedalus.naming import shard_stream, symbol_token
from daedalus.records import OrderBook, Ticker, Trade
from daedalus.wire import NS_PER_HOUR, decode, decode_records

QUEUE_MAXSIZE = 50_000
BATCH_SIZE = 1_000
FLUSH_INTERVAL_SECONDS = 5.0
SEGMENT_MAX_BYTES = 100_000_000
MAX_OPEN_WRITERS = 350
IO_THREAD_POOL_SIZE = min(32, (os.cpu_count() or 1) * 4)
PULL_MESSAGES = 256

Row = dict[str, Any]
Partition = tuple[str, str, str, int]
"""(channel, exchange, symbol, hour since 1970)"""

_TIME = pa.timestamp("us", tz="UTC")
_LEVELS = pa.list_(pa.struct([("price", pa.float64()), ("amount", pa.float64())]))
_COMMON = [
    *((name, pa.string()) for name in ("exchange", "symbol")),
    *((name, pa.int32()) for name in ("year", "month", "day", "hour")),
    ("received_at", _TIME),
    ("received_ns", pa.int64()),
    ("timestamp", _TIME),
]
_TICKER = Ticker.__struct_fields__[2:]
_TRADE = {"price": pa.float64(), "amount": pa.float64()}
SCHEMAS = {
    "trade": pa.schema([*_COMMON, *((name, _TRADE.get(name, pa.string())) for name in Trade.__struct_fields__[2:])]),
    "ticker": pa.schema([*_COMMON, *((name, pa.float64()) for name in _TICKER)]),
    "orderbook": pa.schema([*_COMMON, ("nonce", pa.int64()), ("bids", _LEVELS), ("asks", _LEVELS)]),
}


class SeedWriter:
    """Queue → partition buffers → open Parquet writers → ready/."""

    def __init__(self, root: Path, *, simulated_clock: bool, open_writers: int) -> None:
        self.queue: asyncio.Queue[tuple[str, str, str, Row]] = asyncio.Queue(QUEUE_MAXSIZE)
        self.written = 0
        self._active, self._ready = root / "raw" / "active", root / "raw" / "ready"
        self._simulated_clock = simulated_clock
        self._open_writers = open_writers
        self._buffers: dict[Partition, deque[Row]] = {}
        self._writers: OrderedDict[Partition, tuple[pq.ParquetWriter, Path]] = OrderedDict()
        self._counters: dict[Partition, int] = {}
        self._io = ThreadPoolExecutor(IO_THREAD_POOL_SIZE, thread_name_prefix="parquet_io")
        self._made: set[Path] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """The writer loop, until it is stopped and the queue is empty; then every file is closed."""
        loop, flushed, full = asyncio.get_running_loop(), 0.0, False
        while not (stopping.is_set() and self.queue.empty()):
            try:
                record = await asyncio.wait_for(self.queue.get(), timeout=0.1)
            except TimeoutError:
                continue
            full = self._buffer(record)
            for _ in range(BATCH_SIZE - 1):
                try:
                    record = self.queue.get_nowait()
                except asyncio.QueueEmpty:
                    break
                full = self._buffer(record) or full
            now = record[3]["received_ns"] / 1e9 if self._simulated_clock else time.monotonic()
            flushed = flushed or now
            if full or now - flushed >= FLUSH_INTERVAL_SECONDS:
                await loop.run_in_executor(self._io, self._flush_all_partitions)
                flushed, full = now, False
        await loop.run_in_executor(self._io, self._flush_all_partitions)
        for partition in list(self._writers):
            self._close(partition)

    def _buffer(self, record: tuple[str, str, str, Row]) -> bool:
        channel, exchange, symbol, row = record
        partition = (channel, exchange, symbol, row["received_ns"] // NS_PER_HOUR)
        buffer = self._buffers.get(partition)
        if buffer is None:
            buffer = self._buffers[partition] = deque()
        buffer.append(row)
        return len(buffer) >= BATCH_SIZE

    def _flush_all_partitions(self) -> None:
        newest = max((partition[3] for partition in self._buffers), default=0)
        for partition in [partition for partition in self._writers if partition[3] < newest]:
            self._close(partition)  # the hour has changed
        for partition, buffer in list(self._buffers.items()):
            if buffer:
                records = [buffer.popleft() for _ in range(len(buffer))]
                self._write(partition, pa.Table.from_pylist(_rows(partition, records), SCHEMAS[partition[0]]))
                self.written += len(records)
            if partition[3] < newest:
                del self._buffers[partition]

    def _write(self, partition: Partition, table: pa.Table) -> None:
        entry = self._writers.get(partition)
        if entry is None:
            while len(self._writers) >= self._open_writers:
                self._close(next(iter(self._writers)))
            entry = self._writers[partition] = self._open(partition, table.schema)
        self._writers.move_to_end(partition)
        writer, path = entry
        writer.write_table(table)
        if path.stat().st_size >= SEGMENT_MAX_BYTES:
            self._close(partition)

    def _open(self, partition: Partition, schema: pa.Schema) -> tuple[pq.ParquetWriter, Path]:
        number = self._counters[partition] = self._counters.get(partition, 0) + 1
        channel, exchange, symbol, hour = partition
        start = datetime.fromtimestamp(hour * 3600, UTC)
        directory = Path(
            "ccxt",
            channel,
            f"exchange={exchange}/symbol={symbol_token(symbol)}",
            f"year={start.year}/month={start.month}/day={start.day}/hour={start.hour}",
        )
        path = self._active / directory / f"segment_{start:%Y%m%dT%H}_{number:05d}.parquet"
        self._make(path.parent)
        return pq.ParquetWriter(path, schema, compression="zstd", compression_level=3), path

    def _close(self, partition: Partition) -> None:
        writer, path = self._writers.pop(partition)
        writer.close()
        ready = self._ready / path.relative_to(self._active)
        self._make(ready.parent)
        shutil.move(path, ready)

    def _make(self, directory: Path) -> None:
        if directory not in self._made:
            directory.mkdir(parents=True, exist_ok=True)
            self._made.add(directory)


def _rows(partition: Partition, records: list[Row]) -> list[Row]:
    """Row dicts, the partition's values extracted once."""
    channel, exchange, symbol, hour = partition
    start = datetime.fromtimestamp(hour * 3600, UTC)
    year, month, day, hour_of_day, token = start.year, start.month, start.day, start.hour, symbol_token(symbol)
    rows = []
    for record in records:
        row = {
            "exchange": exchange,
            "symbol": token,
            "year": year,
            "month": month,
            "day": day,
            "hour": hour_of_day,
            "received_at": record["received_ns"] // 1000,
            **record,
        }
        if channel == "orderbook":
            row["bids"] = [{"price": price, "amount": amount} for price, amount in zip(*record["bids"], strict=True)]
            row["asks"] = [{"price": price, "amount": amount} for price, amount in zip(*record["asks"], strict=True)]
        rows.append(row)
    return rows


def _trade(record: Trade) -> Row:
    return {
        "received_ns": record.received_ns,
        "timestamp": record.timestamp_us,
        "id": record.id,
        "price": record.price,
        "amount": record.amount,
        "side": record.side,
        "source": record.source,
    }


def _ticker(record: Ticker) -> Row:
    row = {"received_ns": record.received_ns, "timestamp": record.timestamp_us}
    for name in _TICKER:
        row[name] = getattr(record, name)
    return row


def _orderbook(record: OrderBook) -> Row:
    return {
        "received_ns": record.received_ns,
        "timestamp": record.timestamp_us,
        "nonce": record.nonce,
        "bids": (array("d", record.bid_prices).tolist(), array("d", record.bid_amounts).tolist()),
        "asks": (array("d", record.ask_prices).tolist(), array("d", record.ask_amounts).tolist()),
    }


_ROWS: dict[str, Any] = {"trade": _trade, "ticker": _ticker, "orderbook": _orderbook}


class Source:
    """The stream, read in bounded pulls, into the writer's queue."""

    def __init__(
        self, client: Client, writer: SeedWriter, stopping: asyncio.Event, *, limit: int, discard: bool
    ) -> None:
        self._client, self._writer, self._discard = client, writer, discard
        self._stopping, self._limit = stopping, limit
        self._owed = 0
        self._records = 0

    async def open(self) -> None:
        stream = shard_stream(0)
        config = {"ack_policy": "none", "deliver_policy": "all", "mem_storage": True, "inactive_threshold": 60 * 10**9}
        body = json.dumps({"stream_name": stream, "config": config}).encode()
        answer = json.loads((await self._client.request(f"$JS.API.CONSUMER.CREATE.{stream}", body, timeout=5)).data)
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{answer['name']}"
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(self._inbox, cb=self._on_message)
        await self._pull()

    async def _pull(self) -> None:
        self._owed += PULL_MESSAGES
        await self._client.publish(self._next, json.dumps({"batch": PULL_MESSAGES}).encode(), self._inbox)

    async def _on_message(self, message: Msg) -> None:
        if not message.reply.startswith("$JS.ACK") or self._stopping.is_set():
            return
        self._owed -= 1
        if self._owed < PULL_MESSAGES // 2:
            await self._pull()
        batch = decode(message.data)
        make, queue = _ROWS[batch.channel], self._writer.queue
        for part in batch.parts:
            records = decode_records(batch.channel, part.records)
            self._records += len(records)
            for record in records:
                item = (batch.channel, batch.exchange, part.symbol, make(record))
                if self._discard:
                    continue
                if queue.full():  # its collector would drop; here it waits
                    await queue.put(item)
                else:
                    queue.put_nowait(item)
        if self._limit and self._records >= self._limit:
            self._stopping.set()


async def serve(arguments: argparse.Namespace) -> None:
    gc.freeze()
    gc.set_threshold(50_000)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    client = Client()
    await client.connect(arguments.url)
    writer = SeedWriter(
        arguments.root, simulated_clock=arguments.clock == "simulated", open_writers=arguments.open_writers
    )
    source = Source(client, writer, stopping, limit=arguments.records, discard=arguments.discard)
    await source.open()
    print("ready", flush=True)
    await writer.run(stopping)
    await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--records", type=int, default=0, help="end when this many were written; 0: never")
    parser.add_argument("--clock", choices=["wall", "simulated"], default="wall", help="what its 5 s are counted on")
    parser.add_argument("--open-writers", type=int, default=MAX_OPEN_WRITERS, help="default: %(default)s")
    parser.add_argument("--discard", action="store_true", help="read, make the dicts, and throw them away")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
