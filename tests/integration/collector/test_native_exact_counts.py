"""Everything that an exchange sends is recorded by its native feed, at full speed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from daedalus.records import OrderBook, Trade
from daedalus_collector.feed import Pair
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import settings, subscribed
from support.native_feeds import SYMBOLS, RunningFeed, running

QUIET = Rates(trades=0, tickers=0, books=0)
CHANNELS = ("trade", "ticker", "orderbook")


def missing(simulator: Simulator, run: RunningFeed, exchange: str) -> dict[Pair, tuple[int, int]]:
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


async def burst(simulator: Simulator, exchange: str) -> None:
    """5,000 trades, 2,000 book states in bursts of 10, 500 tickers."""
    await subscribed(simulator, exchange)
    await simulator.burst(exchange, "trade", 5_000)
    for _ in range(200):
        await simulator.burst(exchange, "orderbook", 10)
    await simulator.burst(exchange, "ticker", 500)


def check_contents(run: RunningFeed, exchange: str) -> None:
    for symbol in SYMBOLS[exchange]:
        trades = [record for record in run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        ids = [int(trade.id or "") for trade in trades]
        assert ids == sorted(set(ids)), "each trade once, in order"
        assert {trade.side for trade in trades} == {"buy", "sell"}
        states = [record for record in run.recorded.records("orderbook", symbol) if isinstance(record, OrderBook)]
        for state in states:
            assert 0 < len(state.bid_prices) == len(state.bid_amounts) <= 10 * 8
        distinct = {(state.bid_prices, state.bid_amounts, state.ask_amounts) for state in states[-100:]}
        assert len(distinct) > 50, "states, not one state repeated"
        assert run.recorded.gaps(symbol) == []


async def test_bursts_are_recorded_to_the_last_record() -> None:
    """Of both protocols and over two symbols, exactly as many records as were sent; no problem and no error."""
    async with (
        Simulator(list(SYMBOLS), symbols=SYMBOLS, rates=QUIET, levels=50) as simulator,
        contextlib.AsyncExitStack() as feeds,
    ):
        runs = {
            exchange: await feeds.enter_async_context(running(exchange, settings(simulator, symbols)))
            for exchange, symbols in SYMBOLS.items()
        }
        await asyncio.gather(*(burst(simulator, exchange) for exchange in runs))
        for exchange, run in runs.items():
            await eventually(
                lambda run=run, exchange=exchange: not missing(simulator, run, exchange),  # type: ignore[misc]
                f"everything sent by {exchange} is recorded",
            )
            check_contents(run, exchange)
            assert run.feed.problems() == {}
            assert run.feed.subscriptions()["active"] == 6
            assert run.feed.connections() == simulator.counts().connections[exchange].accepted == 1
            assert not run.metrics.errors
            assert not run.metrics.discarded


async def test_deltas_before_the_snapshot_are_laid_on_it() -> None:
    """A market that does not stand still for the snapshot: each state after it is one more change, in unbroken order."""
    async with (
        Simulator(
            ["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=Rates(0, 0, 200), levels=50, early_deltas=True
        ) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"], channels=["orderbook"])) as run,
    ):
        await eventually(
            lambda: all(len(run.recorded.records("orderbook", symbol)) > 100 for symbol in SYMBOLS["binance"]),
            "books flow",
        )
        await simulator.pause()
        for symbol in SYMBOLS["binance"]:
            states = [record for record in run.recorded.records("orderbook", symbol) if isinstance(record, OrderBook)]
            nonces = [state.nonce or 0 for state in states]
            assert nonces == sorted(set(nonces))
            assert run.recorded.gaps(symbol) == []
        assert not run.metrics.errors


@pytest.mark.parametrize("exchange", list(SYMBOLS))
async def test_an_unknown_symbol_is_refused_and_the_rest_recorded(exchange: str) -> None:
    """The problem names what was meant."""
    known = SYMBOLS[exchange][0]
    unknown = known.replace("BTC", "BTK")
    async with (
        Simulator([exchange], symbols={exchange: SYMBOLS[exchange]}, rates=Rates(20, 20, 20), levels=50) as simulator,
        running(exchange, settings(simulator, [known, unknown])) as run,
    ):
        await eventually(lambda: all(run.recorded.records(channel, known) for channel in CHANNELS), "the rest flows")
        assert f"did you mean {known}?" in run.feed.problems()[f"trade {unknown}"]
        assert run.feed.subscriptions()["refused"] == 3
        assert run.feed.market_ids == {known: {"binance": "BTCUSDT", "coinbase": "BTC-USD"}[exchange]}
