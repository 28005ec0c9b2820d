"""Segments as a writer commits them: a file in ready/ and its entry in the catalog."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import msgspec
from nats.js import JetStreamContext

from daedalus.catalog import Entry, Upload, decode_upload, encode
from daedalus_sync.log_stream import messages

HOUR = 494_500  # 2026-05-31T04:00Z


def entry_of(path: str, data: bytes, symbol: str = "BTC/USD") -> Entry:
    return Entry(
        path=path,
        exchange="kraken",
        channel="trade",
        symbol=symbol,
        market_id="XBTUSD",
        hour=HOUR,
        rows=100,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        format="parquet",
        schema_version=1,
        shard=0,
        first_sequence=1,
        last_sequence=2,
        last_timestamp_ns=1,
        first_received_ns=1,
        last_received_ns=2,
        gaps=0,
        writer="test",
    )


def path_of(number: int) -> str:
    folder = "ccxt/trade/exchange=kraken/symbol=BTC-USD/year=2026/month=5/day=31/hour=4"
    return f"{folder}/segment_20260531T04_{number:05d}.parquet"


def content(number: int, size_bytes: int = 0) -> bytes:
    """Bytes that differ from segment to segment; 5 to 60 kB unless told."""
    source = random.Random(number)
    return source.randbytes(size_bytes or source.randrange(5_000, 60_000))


def write(root: Path, path: str, data: bytes) -> Path:
    """Put a file into ready/."""
    file = root / "raw" / "ready" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


async def commit(js: JetStreamContext, root: Path, number: int, data: bytes | None = None, **changes: object) -> Entry:
    """File and entry of a segment. `changes` are of the entry."""
    data = content(number) if data is None else data
    entry = msgspec.structs.replace(entry_of(path_of(number), data), **changes)
    write(root, path_of(number), data)
    await js.publish(entry.subject, encode(entry))
    return entry


async def uploads(js: JetStreamContext) -> list[Upload]:
    """Every entry of UPLOADS."""
    return [decode_upload(message.data) async for message in messages(js, "UPLOADS")]


async def acknowledged(js: JetStreamContext) -> bool:
    """Whether sync is done with every entry of the catalog."""
    info = await js.consumer_info("CATALOG", "sync")
    return not info.num_pending and not info.num_ack_pending
