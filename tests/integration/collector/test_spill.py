"""A collector process that is killed while NATS is away: what it spilled is in the next run's hands."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import yaml

from daedalus.records import Gap, Trade
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import SYMBOLS, subscribed
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

CHANNELS = ("trade", "ticker", "orderbook")
LIVELY = Rates(trades=40, tickers=20, books=40)


def configured(directory: Path, nats_server: NatsServer, endpoint: str) -> Path:
    """Memory for 400 records, and 5 MB of disk."""
    symbols = list(SYMBOLS["binance"])
    document = {
        "ingestion": {"reconnect_delay": 0.2, "queue_maxsize": 400, "outbox_spill_mb": 5},
        "ccxt": {
            "exchanges": {
                "binance": {
                    "endpoint": endpoint,
                    "max_orderbook_depth": 10,
                    "channels": {"watchTicker": symbols, "watchTrades": symbols, "watchOrderBook": symbols},
                    "options": {"subscription_stagger_ms": 10},
                }
            }
        },
        "nats": {"url": nats_server.url},
        "storage": {"root": str(directory)},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def flowing(process: Process) -> None:
    """Wait until it is ready and JetStream takes its records."""
    await asyncio.to_thread(process.wait_ready)
    before = process.metric("daedalus_collector_sent_records_total")
    await eventually(
        lambda: process.metric("daedalus_collector_sent_records_total") > before + 100, "records are acknowledged"
    )


async def test_a_crash_in_an_outage_loses_only_what_was_in_memory(tmp_path: Path, nats_server: NatsServer) -> None:
    """The next start publishes what was spilled, each record once, and its gaps begin where that ends."""
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator:
        config = configured(tmp_path, nats_server, simulator.url)
        process = Process("collector", config, tmp_path, "--exchange", "binance")
        process.start()
        await flowing(process)
        nats_server.kill()
        await eventually(
            lambda: process.metric("daedalus_collector_spilled_records_total") > 300, "records are spilled"
        )
        assert "bytes wait on disk" in process.get("/readyz")
        await simulator.pause()
        await eventually(lambda: process.metric("daedalus_collector_outbox_records") < 200, "memory is not crowded")
        received = process.metric("daedalus_collector_received_records_total")
        discarded = process.metric("daedalus_collector_discarded_records_total")
        in_memory = process.metric("daedalus_collector_outbox_records")
        process.kill()
        crashed_ns = time.time_ns()
        nats_server.start()
        process.start()
        await subscribed(simulator, "binance")
        simulator.resume()
        await flowing(process)
        assert process.metric("daedalus_collector_spill_bytes") == 0
        assert await asyncio.to_thread(process.stop) == 0
    found = await recorded(nats_server.url)
    before: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
    for (_, channel, _), records in found.items():
        times = [record.received_ns for record in records]
        before.get(channel, []).extend(moment for moment in times if moment < crashed_ns)
    assert sum(map(len, before.values())) == received - discarded - in_memory
    for symbol in SYMBOLS["binance"]:
        gaps = [gap for gap in found["binance", "gap", symbol] if isinstance(gap, Gap)]
        assert sorted(gap.channel for gap in gaps) == sorted(CHANNELS), gaps
        assert all(gap.cause == "collector_down" and gap.from_ns == max(before[gap.channel]) for gap in gaps)
        ids = [trade.id for trade in found["binance", "trade", symbol] if isinstance(trade, Trade)]
        assert len(ids) == len(set(ids))
