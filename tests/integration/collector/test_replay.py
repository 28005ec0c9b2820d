"""Recorded frames of Binance through the whole collector: what the exchange said is what JetStream holds."""

from __future__ import annotations

import asyncio
import os
from array import array
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from daedalus.records import OrderBook, Trade
from daedalus_writer.segment_file import read_rows
from simulator import Recording, Simulator
from support.eventually import eventually
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

CHECKOUT = Path(__file__).parents[3]
FRAMES = Path(os.environ.get("DAEDALUS_FRAMES", CHECKOUT.parent / "shared" / "frames"))
RECORDING = FRAMES / "binance-spot-btcusdt-20240808.gz"
NEXT_DAY = FRAMES / "binance-spot-btcusdt-20240809.gz"
TRADES = 9_757
TRADES_OF_BOTH = TRADES + 10_147
DEPTH = 20


class TradeFrame(msgspec.Struct):
    id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    amount: str = msgspec.field(name="q")
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class Snapshot(msgspec.Struct):
    last_update_id: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Delta(msgspec.Struct):
    last_update_id: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")


def said(*recordings: Path) -> tuple[list[Trade], OrderBook, int]:
    """Every trade, the last order book, and the number of its states, from the files and nothing else."""
    trades, deltas, snapshot = [], [], None
    for frame in chain.from_iterable(map(Recording, recordings)):
        if frame.stream.endswith("@trade"):
            trade = msgspec.json.decode(frame.payload, type=TradeFrame)
            side = "sell" if trade.buyer_is_maker else "buy"
            trades.append(
                Trade(0, trade.time_ms * 1_000, str(trade.id), float(trade.price), float(trade.amount), side)  # type: ignore[arg-type]
            )
        elif "@depth" in frame.stream:
            deltas.append(msgspec.json.decode(frame.payload, type=Delta))
        elif not frame.stream and b"lastUpdateId" in frame.payload:
            snapshot = msgspec.json.decode(frame.payload, type=Snapshot)
    assert snapshot is not None
    bids, asks = ({float(price): float(amount) for price, amount in side} for side in (snapshot.bids, snapshot.asks))
    later = [delta for delta in deltas if delta.last_update_id > snapshot.last_update_id]
    for delta in later:
        for levels, changes in ((bids, delta.bids), (asks, delta.asks)):
            for price, amount in changes:
                levels[float(price)] = float(amount)
                if not float(amount):
                    del levels[float(price)]
    best_bids, best_asks = sorted(bids.items(), reverse=True)[:DEPTH], sorted(asks.items())[:DEPTH]
    columns = (array("d", column).tobytes() for side in (best_bids, best_asks) for column in zip(*side, strict=True))
    return trades, OrderBook(0, None, later[-1].last_update_id, *columns), 1 + len(later)


@pytest.mark.parametrize("feed", ["native", "ccxt"])
@pytest.mark.skipif(not RECORDING.exists(), reason=f"no recorded frames at {RECORDING}: set DAEDALUS_FRAMES")
async def test_every_recorded_trade_and_book_arrives_as_it_was(
    tmp_path: Path, nats_server: NatsServer, feed: str
) -> None:
    """9,757 trades exactly once, with id, price, amount, side and time; the last book is the snapshot plus the diffs."""
    trades, book, states = said(RECORDING)
    assert len(trades) == TRADES
    simulator = Simulator(
        ["binance"],
        symbols={"binance": ["BTC/USDT"]},
        replay=Recording(RECORDING),
        speed="full",
        start_when={"btcusdt@trade", "btcusdt@depth@100ms"},
    )
    async with simulator:
        config = tmp_path / "config.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "ccxt": {
                        "exchanges": {
                            "binance": {
                                "endpoint": simulator.url,
                                "feed": feed,
                                "max_orderbook_depth": DEPTH,
                                "channels": {"watchTrades": ["BTC/USDT"], "watchOrderBook": ["BTC/USDT"]},
                            }
                        }
                    },
                    "nats": {"url": nats_server.url},
                }
            )
        )
        process = Process("collector", config, tmp_path, "--exchange", "binance")
        process.start()
        await asyncio.wait_for(simulator.replay_done.wait(), 60)

        def arrived() -> bool:
            received = process.metrics("daedalus_collector_received_records_total")
            return received.get(("binance", "trade"), 0) >= TRADES and received["binance", "orderbook"] >= states

        await eventually(arrived, "everything was received")
        assert await asyncio.to_thread(process.stop) == 0
    found = await recorded(nats_server.url)
    got = [msgspec.structs.replace(record, received_ns=0) for record in found["binance", "trade", "BTC/USDT"]]
    assert got == trades
    books = found["binance", "orderbook", "BTC/USDT"]
    assert msgspec.structs.replace(books[-1], received_ns=0, timestamp_us=None) == book
    assert len(books) == states
    assert not [key for key in found if key[1] == "gap"]


@pytest.mark.skipif(not NEXT_DAY.exists(), reason=f"no recorded frames at {NEXT_DAY}: set DAEDALUS_FRAMES")
async def test_two_recorded_days_are_in_parquet(tmp_path: Path, nats_server: NatsServer) -> None:
    """Both recordings, which meet at midnight UTC, through exchange, collector, stream and writer: each of 19,904 trades
    is in Parquet once and as the frame has it, the last row of the order book is the book rebuilt from the frames."""
    trades, book, states = said(RECORDING, NEXT_DAY)
    assert len(trades) == TRADES_OF_BOTH
    simulator = Simulator(
        ["binance"],
        symbols={"binance": ["BTC/USDT"]},
        replay=list(chain(Recording(RECORDING), Recording(NEXT_DAY))),
        speed="full",
        start_when={"btcusdt@trade", "btcusdt@depth@100ms"},
    )
    config = tmp_path / "config.yaml"
    async with simulator:
        channels = {"watchTrades": ["BTC/USDT"], "watchOrderBook": ["BTC/USDT"]}
        exchange = {"endpoint": simulator.url, "feed": "ccxt", "max_orderbook_depth": DEPTH, "channels": channels}
        settings = {
            "ccxt": {"exchanges": {"binance": exchange}},
            "nats": {"url": nats_server.url},
            "storage": {"root": str(tmp_path / "data")},
        }
        config.write_text(yaml.safe_dump(settings))
        collector = Process("collector", config, tmp_path, "--exchange", "binance")
        writer = Process("writer", config, tmp_path)
        collector.start()
        writer.start()
        async with asyncio.timeout(90):
            await simulator.replay_done.wait()

        def arrived() -> bool:
            received = collector.metrics("daedalus_collector_received_records_total")
            return received.get(("binance", "trade"), 0) >= len(trades) and received["binance", "orderbook"] >= states

        await eventually(arrived, "everything was received")
        assert await asyncio.to_thread(collector.stop) == 0
    rows = len(trades) + states
    await eventually(lambda: writer.metric("daedalus_writer_received_records_total") >= rows, "everything was read")
    assert await asyncio.to_thread(writer.stop) == 0
    ready = tmp_path / "data" / "raw" / "ready" / "ccxt"
    found = _rows(ready / "trade")
    got = [(row["timestamp"], row["id"], row["price"], row["amount"], row["side"]) for row in found]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert got == [
        (epoch + timedelta(microseconds=trade.timestamp_us or 0), trade.id, trade.price, trade.amount, trade.side)
        for trade in trades
    ]
    books = _rows(ready / "orderbook")
    last = books[-1]
    assert len(books) == states
    assert last["nonce"] == book.nonce
    for side, prices, amounts in (
        ("bids", book.bid_prices, book.bid_amounts),
        ("asks", book.ask_prices, book.ask_amounts),
    ):
        levels = zip(array("d", prices), array("d", amounts), strict=True)
        assert [(level["price"], level["amount"]) for level in last[side]] == list(levels)
    assert not (ready / "gap").exists()


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Of all files, as they were received: an hour may have ended meanwhile, and `hour=10` sorts before `hour=9`."""
    rows = [row for path in sorted(folder.rglob("*.parquet")) for row in read_rows(path)]
    return sorted(rows, key=lambda row: row["received_ns"])
