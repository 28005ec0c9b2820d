"""Recorded frames of Binance through the whole collector: what the exchange said is what JetStream holds."""

from __future__ import annotations

import asyncio
import os
from array import array
from pathlib import Path

import msgspec
import pytest
import yaml

from daedalus.records import OrderBook, Trade
from simulator import Recording, Simulator
from support.eventually import eventually
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded

CHECKOUT = Path(__file__).parents[3]
FRAMES = Path(os.environ.get("DAEDALUS_FRAMES", CHECKOUT.parent / "shared" / "frames"))
RECORDING = FRAMES / "binance-spot-btcusdt-20240808.gz"
TRADES = 9_757
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


def said() -> tuple[list[Trade], OrderBook, int]:
    """Every trade, the last order book, and the number of its states, from the file and nothing else."""
    trades, deltas, snapshot = [], [], None
    for frame in Recording(RECORDING):
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


@pytest.mark.skipif(not RECORDING.exists(), reason=f"no recorded frames at {RECORDING}: set DAEDALUS_FRAMES")
async def test_every_recorded_trade_and_book_arrives_as_it_was(tmp_path: Path, nats_server: NatsServer) -> None:
    """9,757 trades exactly once, with id, price, amount, side and time; the last book is the snapshot plus the diffs."""
    trades, book, states = said()
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
