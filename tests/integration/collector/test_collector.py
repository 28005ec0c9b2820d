"""The collector as a process, from the simulated exchange to JetStream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from daedalus.records import Gap, Trade
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import CHANNELS, SYMBOLS, subscribed
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

LIVELY = Rates(trades=40, tickers=20, books=40)


NAMES = {"coinbase": "coinbaseadvanced"}
"""Exchange → another name that it is configured under."""


def configured(
    directory: Path, nats_server: NatsServer, endpoint: str, exchange: str, feed: str = "auto", **ingestion: object
) -> Path:
    return configured_all(directory, nats_server, endpoint, {exchange: feed}, **ingestion)


def configured_all(
    directory: Path, nats_server: NatsServer, endpoint: str, feeds: Mapping[str, str], **ingestion: object
) -> Path:
    """`feeds`: exchange → its feed."""
    exchanges = {}
    for exchange, feed in feeds.items():
        symbols = list(SYMBOLS[exchange])
        exchanges[NAMES.get(exchange, exchange)] = {
            "endpoint": endpoint,
            "feed": feed,
            "max_orderbook_depth": 10,
            "channels": {"watchTicker": symbols, "watchTrades": symbols, "watchOrderBook": symbols},
            "options": {"subscription_stagger_ms": 10},
        }
    document = {
        "ingestion": {"reconnect_delay": 0.2, **ingestion},
        "ccxt": {"exchanges": exchanges},
        "nats": {"url": nats_server.url},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def collector(config: Path, directory: Path, exchange: str) -> Process:
    return Process("collector", config, directory, "--exchange", NAMES.get(exchange, exchange))


async def flowing(process: Process, records: float = 50) -> None:
    """Wait until it is ready and so many more records were acknowledged."""
    await asyncio.to_thread(process.wait_ready)
    before = process.metric("daedalus_collector_sent_records_total")
    await eventually(
        lambda: process.metric("daedalus_collector_sent_records_total") > before + records, "records are acknowledged"
    )


async def test_a_clean_stop_leaves_everything_in_jetstream(tmp_path: Path, nats_server: NatsServer) -> None:
    """Batches that still linger are sent: what each exchange sent is there, under the configured name, and nothing else."""
    feeds = {"binance": "native", "bybit": "ccxt", "coinbase": "native", "kraken": "auto", "okx": "ccxt"}
    names = {exchange: NAMES.get(exchange, exchange) for exchange in feeds}
    async with Simulator(list(feeds), symbols=SYMBOLS, rates=LIVELY, levels=50) as simulator:
        config = configured_all(tmp_path, nats_server, simulator.url, feeds, batch_linger_milliseconds=5_000)
        processes = {exchange: collector(config, tmp_path, exchange) for exchange in feeds}
        for process in processes.values():
            process.start()
        for exchange, process in processes.items():
            await subscribed(simulator, exchange)
            await asyncio.to_thread(process.wait_ready)
        await asyncio.sleep(0.7)
        await simulator.pause()
        await asyncio.sleep(0.3)
        for exchange, process in processes.items():
            page = process.get("/metrics")
            assert f'daedalus_collector_subscriptions{{exchange="{names[exchange]}",state="active"}} 6.0' in page
            assert "daedalus_collector_errors_total{" not in page, exchange
        stops = [asyncio.to_thread(process.stop) for process in processes.values()]
        assert set(await asyncio.gather(*stops)) == {0}
        found = await recorded(nats_server.url)
        sent = {
            (names[exchange], channel, symbol): simulator.count(exchange, channel, symbol).records
            for exchange in feeds
            for channel in CHANNELS
            for symbol in SYMBOLS[exchange]
        }
        assert {key: len(records) for key, records in found.items()} == sent
        assert min(sent.values()) > 10


@pytest.mark.parametrize("feed", ["ccxt", "native"])
async def test_a_restart_after_a_crash_writes_what_was_missed(
    tmp_path: Path, nats_server: NatsServer, feed: str
) -> None:
    """From the last stored record of the channel to the first new one of each symbol; no trade is doubled."""
    async with Simulator(["coinbase"], symbols={"coinbase": SYMBOLS["coinbase"]}, rates=LIVELY, levels=50) as simulator:
        process = collector(configured(tmp_path, nats_server, simulator.url, "coinbase", feed), tmp_path, "coinbase")
        process.start()
        await flowing(process, 200)
        process.kill()
        crashed_ns = time.time_ns()
        before = await recorded(nats_server.url)
        assert not any(channel == "gap" for _, channel, _ in before), "a first start misses nothing"
        await simulator.pause()  # so that the snapshot after the restart repeats trades of before
        process.start()
        await subscribed(simulator, "coinbase")
        simulator.resume()
        await flowing(process, 200)
        assert process.metric("daedalus_collector_discarded_records_total") > 20
        assert await asyncio.to_thread(process.stop) == 0
        after = await recorded(nats_server.url)
        name = NAMES["coinbase"]
        for symbol in SYMBOLS["coinbase"]:
            gaps = [gap for gap in after[name, "gap", symbol] if isinstance(gap, Gap)]
            assert sorted(gap.channel for gap in gaps) == sorted(CHANNELS)
            for gap in gaps:
                stored = [
                    record.received_ns
                    for (_, channel, _), records in before.items()
                    for record in records
                    if channel == gap.channel
                ]
                new = [record.received_ns for record in after[name, gap.channel, symbol][len(before[name, gap.channel, symbol]) :]]  # fmt: skip
                assert gap.cause == "collector_down"
                assert gap.from_ns == max(stored) < crashed_ns
                assert crashed_ns < gap.to_ns <= min(new)
            ids = [trade.id for trade in after[name, "trade", symbol] if isinstance(trade, Trade)]
            assert len(ids) == len(set(ids)), "the snapshot after the restart repeats nothing"


async def test_a_full_outbox_counts_what_it_refuses(tmp_path: Path, nats_server: NatsServer) -> None:
    """JetStream away for longer than the outbox holds: recorded and counted as missing make together what was sent."""
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator:
        config = configured(tmp_path, nats_server, simulator.url, "binance", "ccxt", queue_maxsize=150)
        process = collector(config, tmp_path, "binance")
        process.start()
        await flowing(process, 100)
        nats_server.kill()
        await eventually(
            lambda: process.metric("daedalus_collector_discarded_records_total") > 100, "the outbox is full"
        )
        ready = process.get("/readyz")
        assert "the outbox is" in ready
        assert "no connection to JetStream" in ready
        nats_server.start()
        await flowing(process, 200)
        await simulator.pause()
        await asyncio.sleep(0.3)
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url)
        missing = 0
        for symbol in SYMBOLS["binance"]:
            for channel in CHANNELS:
                gaps = [
                    gap for gap in found["binance", "gap", symbol] if isinstance(gap, Gap) and gap.channel == channel
                ]
                assert {gap.cause for gap in gaps} <= {"outbox_full"}
                refused = sum(gap.records or 0 for gap in gaps)
                sent = simulator.count("binance", channel, symbol).records
                assert len(found["binance", channel, symbol]) + refused == sent, (channel, symbol)
                missing += refused
                for gap in gaps:
                    inside = [r for r in found["binance", channel, symbol] if gap.from_ns <= r.received_ns <= gap.to_ns]
                    assert inside == [], "the gap holds only refused records"
        assert missing > 100


@pytest.mark.parametrize(
    ("feed", "asked", "told"),
    [
        ("auto", "krakn", "expected one of the configured exchanges (kraken), was 'krakn'"),
        (
            "native",
            "kraken",
            "ccxt.exchanges.kraken.feed: expected auto or ccxt (native feeds: binance, binanceusdm, coinbase), was 'native'",
        ),
        ("ccxt", "kraken", "ccxt.exchanges.kraken.ohlcv_timeframe: expected what kraken has (1m, 5m, 15m, "),
    ],
)
async def test_a_mistake_in_the_configuration_ends_with_78(
    tmp_path: Path, nats_server: NatsServer, feed: str, asked: str, told: str
) -> None:
    """An exchange that is not configured, a native feed or candles that are not there: one clear line that says what there is."""
    config = configured(tmp_path, nats_server, "", "kraken", feed)
    if feed == "ccxt":
        candles = config.read_text().replace("watchTicker:", "watchOHLCV:")
        config.write_text(candles.replace("feed: ccxt", "feed: ccxt\n      ohlcv_timeframe: 3m"))
    process = collector(config, tmp_path, asked)
    process.start()
    assert await asyncio.to_thread(process.wait, 30) == 78
    (line,) = [line for line in process.told().splitlines() if "expected" in line]
    assert told in line


@pytest.mark.parametrize(("by_symbol", "feed"), [(False, "native"), (True, "ccxt")])
async def test_metrics_and_subjects(tmp_path: Path, nats_server: NatsServer, *, by_symbol: bool, feed: str) -> None:
    """Every family is there after a start; received is sent plus discarded plus what waits."""
    async with Simulator(["coinbase"], symbols={"coinbase": SYMBOLS["coinbase"]}, rates=LIVELY, levels=50) as simulator:
        config = configured(tmp_path, nats_server, simulator.url, "coinbase", feed)
        document = yaml.safe_load(config.read_text())
        document["nats"] |= {"subject_by_symbol": by_symbol, "shards": 2}
        config.write_text(yaml.safe_dump(document))
        process = collector(config, tmp_path, "coinbase")
        process.start()
        await flowing(process)
        await simulator.pause()

        def settled() -> bool:
            received = process.metrics("daedalus_collector_received_records_total")
            sent = process.metrics("daedalus_collector_sent_records_total")
            return sum(received.values()) == sum(sent.values()) > 50

        await eventually(settled, "everything received is sent")
        page = process.get("/metrics")
        for name in (
            'daedalus_collector_received_records_total{channel="trade",exchange="coinbaseadvanced"}',
            "daedalus_collector_frames_total",
            "daedalus_collector_reconnects_total",
            "daedalus_collector_outbox_records",
            "daedalus_collector_outbox_bytes",
            "daedalus_collector_unacknowledged_batches",
            "daedalus_collector_publish_seconds_bucket",
            "daedalus_collector_connections",
            'daedalus_collector_subscriptions{exchange="coinbaseadvanced",state="active"} 6.0',
            'daedalus_collector_last_data_age_seconds{channel="trade",exchange="coinbaseadvanced"}',
        ):
            assert name in page
        assert await asyncio.to_thread(process.stop) == 0
        found = await recorded(nats_server.url, shards=2)
        assert {(channel, symbol) for _, channel, symbol in found} == {
            (channel, symbol) for channel in CHANNELS for symbol in SYMBOLS["coinbase"]
        }
