"""Patterns in place of symbols, as a process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from simulator import Rates, Simulator
from support.eventually import eventually
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/EUR", "SOL/USD")


async def test_listed_symbols_come_in_and_delisted_ones_go_out(tmp_path: Path, nats_server: NatsServer) -> None:
    """Without a restart; what stays has no gap, and a pattern that matches nothing is told."""
    rates = Rates(trades=20, tickers=1, books=1)
    async with Simulator(["kraken"], symbols={"kraken": SYMBOLS}, rates=rates, levels=20) as simulator:
        simulator.list("kraken", "SOL/USD", listed=False)
        settings = {
            "endpoint": simulator.url,
            "channels": {"watchTrades": ["*/USD"], "watchTicker": ["*/GBP"]},
            "options": {"subscription_stagger_ms": 10},
            "symbols_refresh_seconds": 1,
        }
        document = {
            "ingestion": {"reconnect_delay": 0.2},
            "ccxt": {"exchanges": {"kraken": settings}},
            "nats": {"url": nats_server.url},
        }
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        process = Process("collector", config, tmp_path, "--exchange", "kraken")
        process.start()

        def subscribed() -> set[str]:
            return set(simulator.counts().subscriptions["kraken"].get("trade", ()))

        def received(symbol: str) -> int:
            return simulator.count("kraken", "trade", symbol).records

        await eventually(lambda: subscribed() == {"BTC/USD", "ETH/USD"}, "the listed symbols are subscribed")
        await eventually(lambda: received("BTC/USD") > 20, "trades flow")
        assert "no active market of kraken matches ticker */GBP" in process.get("/readyz")
        simulator.list("kraken", "SOL/USD")
        simulator.list("kraken", "BTC/USD", listed=False)
        await eventually(lambda: received("SOL/USD") > 60, "the new symbol is recorded")
        await eventually(lambda: process.metric("daedalus_collector_symbols") == 2, "two are recorded")
        await asyncio.sleep(0.5)
        await simulator.pause()
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        assert {symbol for _, channel, symbol in found if channel == "trade"} == {"BTC/USD", "ETH/USD", "SOL/USD"}
        assert not any(channel == "gap" for _, channel, _ in found)
        assert len(found["kraken", "trade", "ETH/USD"]) == received("ETH/USD")
        assert len(found["kraken", "trade", "SOL/USD"]) == received("SOL/USD")
        assert 0 < len(found["kraken", "trade", "BTC/USD"]) < received("BTC/USD")
