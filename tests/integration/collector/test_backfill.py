"""Missed trades come over REST: from the simulated exchange, through the collector as a process, into JetStream."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import yaml

from daedalus.records import Gap, Record, Trade
from daedalus_collector.overlap import OTHER_IDS
from simulator import Fault, Rates, Simulator
from support.feeds import SYMBOLS
from support.nats import NatsServer
from support.processes import Process
from support.recorded import Recorded, recorded

CALM = Rates(trades=15, tickers=1, books=1)
"""Bybit tells the last 60 trades over REST: four seconds."""
BUSY = Rates(trades=150, tickers=1, books=1)
"""More in two seconds than any exchange sends again by itself."""


def _collector(directory: Path, nats_server: NatsServer, endpoint: str, exchange: str) -> Process:
    channels = {"watchTrades": list(SYMBOLS[exchange])}
    settings = {"endpoint": endpoint, "channels": channels, "options": {"subscription_stagger_ms": 10}}
    document = {
        "ingestion": {"reconnect_delay": 0.2},
        "ccxt": {"exchanges": {exchange: settings}},
        "nats": {"url": nats_server.url},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return Process("collector", path, directory, "--exchange", exchange)


async def _flowing(process: Process, records: float = 100) -> None:
    before = process.metric("daedalus_collector_sent_records_total")
    async with asyncio.timeout(20):
        while process.metric("daedalus_collector_sent_records_total") < before + records:
            await asyncio.sleep(0.05)


async def _gaps_written(process: Process, gaps: int) -> None:
    async with asyncio.timeout(20):
        while process.metric("daedalus_collector_gaps_total") < gaps:
            await asyncio.sleep(0.05)


def _check(found: list[Record], sent_last: int) -> list[Trade]:
    """Every trade once, from the first recorded one to the last of the market; the fetched ones."""
    trades = [trade for trade in found if isinstance(trade, Trade)]
    numbers = sorted(int(trade.id or 0) for trade in trades)
    assert numbers == list(range(numbers[0], sent_last + 1))
    fetched = [trade for trade in trades if trade.source == "backfill"]
    for trade in fetched:
        assert trade.timestamp_us is not None
        assert trade.price > 0
        assert trade.side in ("buy", "sell")
    return fetched


def _gaps(found: Recorded, exchange: str, symbol: str) -> list[Gap]:
    return [gap for gap in found.get((exchange, "gap", symbol), []) if isinstance(gap, Gap)]


def _started(exchanges: list[str], directory: Path, server: NatsServer, endpoint: str) -> dict[str, Process]:
    """A collector of each."""
    processes = {}
    for exchange in exchanges:
        (directory / exchange).mkdir()
        processes[exchange] = _collector(directory / exchange, server, endpoint, exchange)
        processes[exchange].start()
    return processes


async def test_trades_of_a_lost_connection_are_recovered(tmp_path: Path, nats_server: NatsServer) -> None:
    """Two seconds without a connection under load: every trade is there once, and one gap says how many were fetched."""
    exchanges = ["binance", "coinbase", "kraken"]
    symbols = {exchange: SYMBOLS[exchange] for exchange in exchanges}
    async with Simulator(exchanges, symbols=symbols, rates=BUSY, levels=20) as simulator:
        processes = _started(exchanges, tmp_path, nats_server, simulator.url)
        for process in processes.values():
            await asyncio.to_thread(process.wait_ready)
            await _flowing(process)
        for exchange in exchanges:
            simulator.fault(Fault(exchange, "refuse", seconds=2.0))
            assert simulator.fault(Fault(exchange, "close")) > 0
        lost_us = time.time_ns() // 1_000
        await asyncio.sleep(2)
        for exchange, process in processes.items():
            await _flowing(process, 300)
            await _gaps_written(process, len(SYMBOLS[exchange]))
        await simulator.pause()
        await asyncio.sleep(0.3)
        for process in processes.values():
            assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        for exchange, symbol in [(name, symbol) for name in exchanges for symbol in SYMBOLS[name]]:
            fetched = _check(found[exchange, "trade", symbol], simulator.last_trade_id(exchange, symbol))
            assert len(fetched) > 50
            assert all(abs((trade.timestamp_us or 0) - lost_us) < 10_000_000 for trade in fetched)
            [gap] = _gaps(found, exchange, symbol)
            assert gap.cause == "connection_lost"
            assert gap.records == 0
            assert gap.detail.endswith(f"; recovered {len(fetched)} trades over REST")


async def test_trades_whose_ids_have_holes_are_recovered_where_rest_proves_them(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    """Through ccxt: each trade is there once, and the gap says how many were fetched. Then OKX tells other ids over REST:
    nothing is recorded of them, and the gap says why."""
    exchanges = ["bybit", "okx"]
    symbols = {exchange: SYMBOLS[exchange] for exchange in exchanges}
    async with Simulator(exchanges, symbols=symbols, rates=CALM, levels=20) as simulator:
        processes = _started(exchanges, tmp_path, nats_server, simulator.url)
        for process in processes.values():
            await asyncio.to_thread(process.wait_ready)
            await _flowing(process, 40)
        for exchange in exchanges:
            simulator.fault(Fault(exchange, "refuse", seconds=1.0))
            assert simulator.fault(Fault(exchange, "close")) > 0
        for exchange, process in processes.items():
            await _gaps_written(process, len(SYMBOLS[exchange]))
        simulator.renumber("okx")
        known = {symbol: simulator.last_trade_id("okx", symbol) for symbol in SYMBOLS["okx"]}
        simulator.fault(Fault("okx", "refuse", seconds=1.0))
        assert simulator.fault(Fault("okx", "close")) > 0
        await _gaps_written(processes["okx"], 2 * len(SYMBOLS["okx"]))
        await simulator.pause()
        await asyncio.sleep(0.3)
        for process in processes.values():
            assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        for symbol in SYMBOLS["bybit"]:
            fetched = _check(found["bybit", "trade", symbol], simulator.last_trade_id("bybit", symbol))
            [gap] = _gaps(found, "bybit", symbol)
            assert (gap.cause, gap.records, len(fetched) > 5) == ("connection_lost", 0, True)
            assert gap.detail.endswith(f"; recovered {len(fetched)} trades over REST")
        for symbol in SYMBOLS["okx"]:
            trades = [trade for trade in found["okx", "trade", symbol] if isinstance(trade, Trade)]
            fetched = _check([trade for trade in trades if int(trade.id or 0) <= known[symbol]], known[symbol])
            assert len({trade.id for trade in trades}) == len(trades)
            assert len([trade for trade in trades if trade.source == "backfill"]) == len(fetched) > 5
            assert max(int(trade.id or 0) for trade in trades) == simulator.last_trade_id("okx", symbol)
            first, second = _gaps(found, "okx", symbol)
            assert (first.records, second.records) == (0, None)
            assert first.detail.endswith(f"; recovered {len(fetched)} trades over REST")
            assert second.detail.endswith("; recovered 0 trades over REST, more may be missing: " + OTHER_IDS)


async def test_a_crash_during_the_backfill_loses_neither_gap_nor_trades(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    """The next start finds the hole among the stored ids: its gap begins there, and the trades are fetched."""
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=BUSY, levels=20) as simulator:
        process = _collector(tmp_path, nats_server, simulator.url, "binance")
        process.start()
        await asyncio.to_thread(process.wait_ready)
        await _flowing(process)
        lost_ns = time.time_ns()
        simulator.fault(Fault("binance", "freeze", seconds=1.0))
        await asyncio.sleep(1)
        await _flowing(process)  # the trades of a second are missing and no gap is open: an alarm in two seconds
        process.kill()
        before = await recorded(nats_server.url)
        assert all(channel != "gap" for _, channel, _ in before)
        process.start()
        await asyncio.to_thread(process.wait_ready)
        await _flowing(process)
        await _gaps_written(process, len(SYMBOLS["binance"]))
        await simulator.pause()
        await asyncio.sleep(0.3)
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        for symbol in SYMBOLS["binance"]:
            assert _check(found["binance", "trade", symbol], simulator.last_trade_id("binance", symbol))
            [gap] = _gaps(found, "binance", symbol)
            assert gap.cause == "collector_down"
            assert gap.records == 0
            assert gap.from_ns < lost_ns + 200_000_000 < gap.to_ns


async def test_a_trade_that_did_not_come_is_fetched(tmp_path: Path, nats_server: NatsServer) -> None:
    """One frame less on an unbroken connection: a sequence gap of its trade, which is recovered."""
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=BUSY, levels=20) as simulator:
        process = _collector(tmp_path, nats_server, simulator.url, "binance")
        process.start()
        await asyncio.to_thread(process.wait_ready)
        await _flowing(process)
        assert simulator.fault(Fault("binance", "sequence_gap", channel="trade")) > 0
        await _gaps_written(process, 1)
        await simulator.pause()
        await asyncio.sleep(0.3)
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        gaps = [gap for symbol in SYMBOLS["binance"] for gap in _gaps(found, "binance", symbol)]
        assert [gap.cause for gap in gaps] == ["sequence_gap"] * len(gaps)
        fetched = 0
        for symbol in SYMBOLS["binance"]:
            fetched += len(_check(found["binance", "trade", symbol], simulator.last_trade_id("binance", symbol)))
        assert fetched == sum(int(re.findall(r"recovered (\d+)", gap.detail)[0]) for gap in gaps) == len(gaps)
