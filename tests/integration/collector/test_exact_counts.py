"""Everything that an exchange sends is recorded, at full speed: on a new version of ccxt this is what must not break."""

from __future__ import annotations

import asyncio
import contextlib

from daedalus.records import OrderBook, Trade
from daedalus_collector.feed import Pair
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import SYMBOLS, RunningFeed, running, settings, subscribed

QUIET = Rates(trades=0, tickers=0, books=0)
CHANNELS = ("trade", "ticker", "orderbook")


def _missing(simulator: Simulator, run: RunningFeed, exchange: str) -> dict[Pair, tuple[int, int]]:
    """Pair → (sent, recorded), where they differ."""
    sent = {
        Pair(channel, symbol): simulator.count(exchange, channel, symbol).records
        for channel in CHANNELS
        for symbol in SYMBOLS[exchange]
    }
    return {
        pair: (count, len(run.recorded.records(*pair)))
        for pair, count in sent.items()
        if count != len(run.recorded.records(*pair))
    }


async def test_bursts_are_recorded_to_the_last_record() -> None:
    """5,000 trades at once, 2,000 book states in bursts of 10, 500 tickers, over two symbols of each exchange: exactly as
    many as were sent.
    """
    async with (
        Simulator(list(SYMBOLS), symbols=SYMBOLS, rates=QUIET, levels=50) as simulator,
        contextlib.AsyncExitStack() as feeds,
    ):
        runs = {
            exchange: await feeds.enter_async_context(running(exchange, settings(simulator, symbols)))
            for exchange, symbols in SYMBOLS.items()
        }
        await asyncio.gather(*(_burst(simulator, exchange) for exchange in runs))
        for exchange, run in runs.items():
            await eventually(
                lambda run=run, exchange=exchange: not _missing(simulator, run, exchange),  # type: ignore[misc]
                f"everything sent by {exchange} is recorded",
            )
            _check_contents(run, exchange)


async def _burst(simulator: Simulator, exchange: str) -> None:
    await subscribed(simulator, exchange)
    await simulator.burst(exchange, "trade", 5_000)
    for _ in range(200):
        await simulator.burst(exchange, "orderbook", 10)
    await simulator.burst(exchange, "ticker", 500)
    assert sum(simulator.count(exchange, "trade", symbol).frames for symbol in SYMBOLS[exchange]) >= 5_000


def _check_contents(run: RunningFeed, exchange: str) -> None:
    for symbol in SYMBOLS[exchange]:
        trades = [record for record in run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        ids = [int(trade.id or "") for trade in trades]
        assert ids == sorted(set(ids)), "each trade once, in order"
        received = [record.received_ns for record in run.recorded.records("orderbook", symbol)]
        assert received == sorted(received)
        for book in run.recorded.records("orderbook", symbol):
            assert isinstance(book, OrderBook)
            assert 0 < len(book.bid_prices) == len(book.bid_amounts) <= 10 * 8
        states = [record for record in run.recorded.records("orderbook", symbol) if isinstance(record, OrderBook)]
        distinct = {
            (state.bid_prices, state.bid_amounts, state.ask_prices, state.ask_amounts) for state in states[-100:]
        }
        assert len(distinct) > 50, "states, not one state repeated"
        assert run.recorded.gaps(symbol) == []
    assert run.feed.problems() == {}
    assert not run.metrics.errors
