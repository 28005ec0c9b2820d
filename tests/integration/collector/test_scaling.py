"""Several collectors of one exchange: symbols spread, moved and taken over, from the simulated exchange to Parquet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from daedalus.lease import ranked
from daedalus.naming import symbol_token
from daedalus.records import Gap
from daedalus_writer.segment_file import read_rows
from simulator import Rates, Simulator
from support.eventually import eventually
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded as in_jetstream

BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE")
SYMBOLS = [f"{base}/USD" for base in BASES]
LEASE_SECONDS = 2
CHANNELS = ("trade", "ticker", "orderbook")
LIVELY = Rates(trades=20, tickers=5, books=10)
Row = dict[str, Any]


def configured(directory: Path, server: NatsServer, endpoint: str, exchange: str, redundancy: int) -> Path:
    document = {
        "ingestion": {"reconnect_delay": 0.2, "segment_max_age_seconds": 3, "flush_interval_seconds": 0.2},
        "ccxt": {
            "exchanges": {
                exchange: {
                    "endpoint": endpoint,
                    "max_orderbook_depth": 10,
                    "redundancy": redundancy,
                    "channels": dict.fromkeys(("watchTicker", "watchTrades", "watchOrderBook"), SYMBOLS),
                    "options": {"subscription_stagger_ms": 10},
                }
            }
        },
        "nats": {"url": server.url, "lease_seconds": LEASE_SECONDS},
        "storage": {"root": str(directory)},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


class Replicas:
    """Collectors by name, and the writer."""

    def __init__(self, directory: Path, config: Path, exchange: str) -> None:
        self.running: dict[str, Process] = {}
        self.writer = Process("writer", config, directory)
        self.writer.start()
        self._make: Callable[[str], Process] = lambda name: Process(
            "collector", config, directory, "--exchange", exchange, name=name
        )

    def start(self, *names: str) -> None:
        for name in names:
            self.running[name] = self._make(name)
            self.running[name].start()

    def kill(self, name: str) -> None:
        self.running.pop(name).kill()

    async def stop(self, name: str) -> None:
        process = self.running.pop(name)
        assert await asyncio.to_thread(process.stop) == 0, process.told()

    async def spread(self, redundancy: int = 1) -> dict[str, int]:
        """Wait until every symbol is recorded as often as asked, and by nobody else; replica → its symbols."""
        wanted = Counter(name for symbol in SYMBOLS for name in ranked(list(self.running), symbol)[:redundancy])

        def settled() -> bool:
            have = {name: one.metric("daedalus_collector_symbols") for name, one in self.running.items()}
            return have == {name: wanted[name] for name in self.running}

        await eventually(lambda: asyncio.to_thread(settled), "the symbols are spread")
        for process in self.running.values():
            await asyncio.to_thread(process.wait_ready)
        return dict(wanted)

    async def end(self) -> None:
        for name in list(self.running):
            await self.stop(name)
        await eventually(lambda: self.writer.metric("daedalus_writer_pending_messages") == 0, "the writer has read all")
        assert await asyncio.to_thread(self.writer.stop) == 0, self.writer.told()

    def kill_all(self) -> None:
        for process in [*self.running.values(), self.writer]:
            if process.running:
                process.kill()

    def told(self) -> str:
        return "\n".join(process.told(6000) for process in self.running.values())


async def recorded(
    directory: Path, server: NatsServer, exchange: str, redundancy: int, scene: Callable[[Replicas], Awaitable[None]]
) -> tuple[Simulator, dict[str, list[Row]]]:
    """Run a scene under load, drain; channel → all rows."""
    async with Simulator([exchange], symbols={exchange: SYMBOLS}, rates=LIVELY, levels=30) as simulator:
        config = configured(directory, server, simulator.url, exchange, redundancy)
        replicas = Replicas(directory, config, exchange)
        try:
            await scene(replicas)
            await simulator.pause()
            await asyncio.sleep(0.5)
            await replicas.end()
        finally:
            replicas.kill_all()
    ready = directory / "raw/ready/ccxt"
    return simulator, {
        channel: [row for path in (ready / channel).rglob("*.parquet") for row in read_rows(path)]
        for channel in (*CHANNELS, "gap")
    }


def check_trades(simulator: Simulator, exchange: str, rows: dict[str, list[Row]]) -> None:
    """Every trade that was sent is there once, or was sent within a gap of its symbol."""
    for symbol in SYMBOLS:
        token = symbol_token(symbol)
        found = sorted((row for row in rows["trade"] if row["symbol"] == token), key=lambda row: int(row["id"]))
        numbers = [int(row["id"]) for row in found]
        assert len(numbers) == len(set(numbers)), (symbol, [id_ for id_, n in Counter(numbers).items() if n > 1])
        gaps = [row for row in rows["gap"] if row["symbol"] == token and row["channel"] == "trade"]
        sent = simulator._counts._trade_ids[exchange, symbol]  # which, and not only how many
        ids = {id_ for first, after in zip(sent._first, sent._after, strict=True) for id_ in range(first, after)}
        assert len(ids) > 50
        assert set(numbers) - ids <= set(range(min(ids), max(ids))), "what was not sent was fetched"
        live = [row for row in found if row.get("source") != "backfill"]
        for id_ in ids - set(numbers):
            before_ns = max((row["received_ns"] for row in live if int(row["id"]) < id_), default=0)
            after_ns = min((row["received_ns"] for row in live if int(row["id"]) > id_), default=2**63)
            assert any(gap["from_ns"] <= after_ns and gap["to_ns"] >= before_ns for gap in gaps), (symbol, id_, gaps)


async def test_scaling_up_and_down_under_load(tmp_path: Path, nats_server: NatsServer) -> None:
    """One to three, one killed, one stopped, back to one: only the killed one's symbols have a gap, shorter than the
    lease and 5 s, and every trade is in Parquet once or within it."""

    async def scene(replicas: Replicas) -> None:
        replicas.start("one")
        assert await replicas.spread() == {"one": len(SYMBOLS)}
        replicas.start("two", "three")
        assert min((await replicas.spread()).values()) > 0
        await asyncio.sleep(1)
        replicas.kill("two")
        await replicas.spread()
        await asyncio.sleep(1)
        await replicas.stop("three")
        assert await replicas.spread() == {"one": len(SYMBOLS)}
        await asyncio.sleep(1)

    simulator, rows = await recorded(tmp_path, nats_server, "coinbase", 1, scene)
    check_trades(simulator, "coinbase", rows)
    killed = {symbol_token(symbol) for symbol in SYMBOLS if ranked(["one", "two", "three"], symbol)[0] == "two"}
    assert killed
    gaps = Counter((gap["symbol"], gap["channel"]) for gap in rows["gap"])
    assert gaps == Counter((symbol, channel) for symbol in killed for channel in CHANNELS)
    for gap in rows["gap"]:
        assert gap["cause"] == "collector_down"
        assert 0 < gap["to_ns"] - gap["from_ns"] < 2 * (LEASE_SECONDS + 5) * 1e9


async def test_redundant_replicas_make_one_series(tmp_path: Path, nats_server: NatsServer) -> None:
    """Every symbol on two replicas, one killed and started again: no gap at all, every trade once, no state twice."""

    async def scene(replicas: Replicas) -> None:
        replicas.start("one", "two")
        assert await replicas.spread(2) == {"one": len(SYMBOLS), "two": len(SYMBOLS)}
        await asyncio.sleep(2)
        replicas.kill("two")
        await asyncio.sleep(LEASE_SECONDS + 1)
        replicas.start("two")
        await replicas.spread(2)
        await asyncio.sleep(1)

    simulator, rows = await recorded(tmp_path, nats_server, "kraken", 2, scene)
    assert [f"{gap['symbol']} {gap['channel']} {gap['cause']} {gap['from_at']} {gap['to_at']} {gap['detail']}" for gap in rows["gap"]] == []  # fmt: skip
    check_trades(simulator, "kraken", rows)
    for channel in ("ticker", "orderbook"):
        states = Counter(
            tuple(str(value) for name, value in row.items() if name not in {"received_ns", "received_at", "nonce"})
            for row in rows[channel]
        )
        assert sum(states.values()) > 100
        doubled = sum(states.values()) - len(states)
        assert doubled <= 0.02 * len(states), f"{channel}: {doubled} of {len(states)} states are there twice"


async def test_a_new_symbol_has_no_gap(tmp_path: Path, nats_server: NatsServer) -> None:
    """A symbol that was never recorded misses nothing at its first start; the others, quiet ones too, miss the time
    between."""
    quiet = Rates(trades=0, tickers=5, books=5)
    async with Simulator(["kraken"], symbols={"kraken": SYMBOLS}, rates=quiet, levels=30) as simulator:
        for number in (1, 2):
            config = configured(tmp_path, nats_server, simulator.url, "kraken", 1)
            document = yaml.safe_load(config.read_text())
            document["ccxt"]["exchanges"]["kraken"]["channels"] = {
                "watchTicker": SYMBOLS[:number],
                "watchTrades": SYMBOLS[:number],
            }
            config.write_text(yaml.safe_dump(document))
            process = Process("collector", config, tmp_path, "--exchange", "kraken", name="one")
            process.start()
            await asyncio.to_thread(process.wait_ready)
            await asyncio.sleep(1)
            process.kill()
        found = await in_jetstream(nats_server.url)
    gaps = [record for key, records in found.items() if key[1] == "gap" for record in records]
    assert {key[2] for key in found if key[1] == "gap"} == {SYMBOLS[0]}
    assert {record.channel for record in gaps if isinstance(record, Gap)} == {"ticker", "trade"}
    assert ("kraken", "ticker", SYMBOLS[1]) in found
