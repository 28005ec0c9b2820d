"""What is in the streams, and what is in the files: the two sides of every comparison."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nats
import nats.errors
import pyarrow.parquet as pq

from daedalus import wire
from daedalus.naming import symbol_token

Identity = tuple[str, str, str, int, str | None]
"""Exchange, channel, symbol token, receive time, and a trade's id."""


async def acknowledged(url: str, stream: str = "MD-0") -> Counter[Identity]:
    """Every record in the stream: what JetStream has acknowledged to a collector."""
    found: Counter[Identity] = Counter()
    client = await nats.connect(url)
    try:
        js = client.jetstream()
        state = (await js.stream_info(stream)).state
        assert state.first_seq <= 1, "the stream was trimmed already"
        for sequence in range(1, state.last_seq + 1):
            message = await js.get_msg(stream, sequence, direct=True)
            batch = wire.decode(message.data or b"")
            for part in batch.parts:
                token = symbol_token(part.symbol)
                for record in wire.decode_records(batch.channel, part.records):
                    found[batch.exchange, batch.channel, token, record.received_ns, getattr(record, "id", None)] += 1
    finally:
        await client.close()
    return found


def in_files(folder: Path) -> Counter[Identity]:
    """Every row below the folder."""
    found: Counter[Identity] = Counter()
    for file in folder.rglob("*.parquet"):
        channel = file.relative_to(folder).parts[1]
        table = pq.ParquetFile(file).read()
        columns = [table[name].to_pylist() for name in ("exchange", "symbol", "received_ns")]
        ids = table["id"].to_pylist() if channel == "trade" else [None] * table.num_rows
        for exchange, symbol, received_ns, identifier in zip(*columns, ids, strict=True):
            found[exchange, channel, symbol, received_ns, identifier] += 1
    return found
