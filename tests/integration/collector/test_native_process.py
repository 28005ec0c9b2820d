"""The collector as a process with a native feed, from the simulated exchange to JetStream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from simulator import Rates, Simulator
from support.feeds import subscribed
from support.native_feeds import SYMBOLS
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

CHANNELS = ("trade", "ticker", "orderbook")
NAMES = {"coinbase": "coinbaseadvanced", "binance": "binance"}
"""Exchange → the name that it is configured under."""


def configured(directory: Path, nats_server: NatsServer, endpoint: str, name: str, symbols: list[str]) -> Path:
    asked = {"watchTicker": symbols, "watchTrades": symbols, "watchOrderBook": symbols}
    exchange = {"feed": "native", "endpoint": endpoint, "max_orderbook_depth": 10, "channels": asked}
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump({"ccxt": {"exchanges": {name: exchange}}, "nats": {"url": nats_server.url}}))
    return path


@pytest.mark.parametrize("exchange", list(SYMBOLS))
async def test_a_clean_stop_leaves_everything_in_jetstream(
    tmp_path: Path, nats_server: NatsServer, exchange: str
) -> None:
    """Exactly what the exchange sent, under the configured name; ready, with the exchange's own names of its markets."""
    name, symbols = NAMES[exchange], list(SYMBOLS[exchange])
    async with Simulator([exchange], symbols={exchange: symbols}, rates=Rates(40, 20, 40), levels=50) as simulator:
        process = Process(
            "collector",
            configured(tmp_path, nats_server, simulator.url, name, symbols),
            tmp_path,
            "--exchange",
            name,
        )
        process.start()
        await subscribed(simulator, exchange)
        await asyncio.to_thread(process.wait_ready)
        await asyncio.sleep(1)
        await simulator.pause()
        await asyncio.sleep(0.3)
        page = process.get("/metrics")
        assert f'daedalus_collector_subscriptions{{exchange="{name}",state="active"}} 6.0' in page
        assert "daedalus_collector_errors_total{" not in page
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        for channel in CHANNELS:
            for symbol in symbols:
                sent = simulator.count(exchange, channel, symbol).records
                assert len(found[name, channel, symbol]) == sent > 10
        assert set(found) == {(name, channel, symbol) for channel in CHANNELS for symbol in symbols}


async def test_native_without_a_native_feed_ends_with_78(tmp_path: Path, nats_server: NatsServer) -> None:
    """One clear line that says what there is."""
    process = Process(
        "collector", configured(tmp_path, nats_server, "", "kraken", ["BTC/USD"]), tmp_path, "--exchange", "kraken"
    )
    process.start()
    assert await asyncio.to_thread(process.wait, 30) == 78
    (told,) = [line for line in process.told().splitlines() if "'native'" in line]
    assert "ccxt.exchanges.kraken.feed: expected auto or ccxt (native feeds: binance, binanceusdm, coinbase)" in told
