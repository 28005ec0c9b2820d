"""What went through: the live line of rates, and the table that a demo ends with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import nats
import pyarrow.parquet as pq
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from daedalus.naming import shard_stream
from daedalus.wire import decode
from local.pipeline import Pipeline

Figures = Counter[tuple[str, str]]
"""(exchange, channel) → records."""

CHANNELS = ("trade", "ticker", "orderbook")


class LiveLine:
    """Rates per stage since the last look."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._seen: dict[str, float] = {}
        self._at = time.monotonic()

    def text(self) -> str:
        pipeline, now = self._pipeline, time.monotonic()
        collectors = pipeline.collectors
        totals = {
            "received": sum(one.metric("daedalus_collector_received_records_total") for one in collectors),
            "in JetStream": sum(one.metric("daedalus_collector_sent_records_total") for one in collectors),
            "read by writer": pipeline.writer.metric("daedalus_writer_received_records_total"),
        }
        seconds = max(now - self._at, 0.1)
        rates = [
            f"{stage} {max(0.0, total - self._seen.get(stage, 0.0)) / seconds:,.0f}/s"
            for stage, total in totals.items()
        ]
        self._seen, self._at = totals, now
        committed = pipeline.writer.metric("daedalus_writer_sent_records_total")
        gaps = sum(one.metric("daedalus_collector_gaps_total") for one in collectors)
        ready = sum(process.ready() for process in pipeline.processes)
        return (
            f"{' ▸ '.join(rates)} ▸ in Parquet {committed:,.0f} │ open segments "
            f"{pipeline.writer.metric('daedalus_writer_open_segments'):,.0f} │ gaps {gaps:,.0f} │ "
            f"ready {ready}/{len(pipeline.processes)}"
        )


async def in_jetstream(pipeline: Pipeline) -> Figures:
    """Count the records in the streams themselves, message by message."""
    found: Figures = Counter()
    client = await nats.connect(pipeline.nats.url)
    js = client.jetstream()
    for shard in range(pipeline.config.nats.shards):
        left = (await js.stream_info(shard_stream(shard))).state.messages
        if not left:
            continue
        subscription = await js.subscribe(
            f"md.{shard}.>",
            stream=shard_stream(shard),
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE),
        )
        for _ in range(left):
            batch = decode((await subscription.next_msg(timeout=10)).data)
            found[batch.exchange, batch.channel] += sum(part.count for part in batch.parts)
        await subscription.unsubscribe()
    await client.close()
    return found


def in_parquet(root: Path) -> Figures:
    """Count the rows of the segments in ready/, from their footers."""
    found: Figures = Counter()
    for path in (root / "raw" / "ready").rglob("*.parquet"):
        metadata = pq.read_metadata(path)
        said = metadata.metadata
        found[said[b"daedalus.exchange"].decode(), said[b"daedalus.channel"].decode()] += metadata.num_rows
    return found


def table(columns: Mapping[str, Figures]) -> tuple[str, int]:
    """One line per exchange and channel, `lost` = first column less last one; returns the text and the sum of lost."""
    keys = sorted({key for figures in columns.values() for key in figures if key[1] in CHANNELS})
    first, *_, last = columns.values()
    lines = [f"{'exchange':<18}{'channel':<11}" + "".join(f"{title:>22}" for title in columns) + f"{'lost':>8}"]
    for exchange, channel in [*keys, ("", "")]:
        values = [
            figures[exchange, channel] if exchange else sum(figures[key] for key in keys)
            for figures in columns.values()
        ]
        lost = first[exchange, channel] - last[exchange, channel] if exchange else values[0] - values[-1]
        lines.append(
            f"{exchange or 'all':<18}{channel:<11}" + "".join(f"{value:>22,}" for value in values) + f"{lost:>8,}"
        )
    doubled_or_lost = sum(abs(first[key] - last[key]) for key in keys)
    return "\n".join(lines), doubled_or_lost


def how_to_query(root: Path) -> str:
    """Where the files are, and the first query; a test runs it."""
    ready = root / "raw" / "ready"
    if not any(ready.rglob("*.parquet")):
        return f"No segment was committed yet below {ready}."
    return f"""Segments are in {ready}. The last price of each market, with DuckDB (pip install duckdb):

  python -c "import duckdb; duckdb.sql(\\"{query(root)}\\").show()"
"""


def query(root: Path) -> str:
    return (
        "SELECT exchange, symbol, count(*) AS trades, arg_max(price, received_ns) AS last_price "
        f"FROM read_parquet('{root / 'raw' / 'ready'}/ccxt/trade/**/*.parquet', hive_partitioning = true) "
        "GROUP BY ALL ORDER BY ALL"
    )
