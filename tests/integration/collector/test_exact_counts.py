"""Everything that an exchange sends is recorded, at full speed: on a new version of ccxt this is what must not break."""

from __future__ import annotations

import asyncio

import pytest

from daedalus.records import OrderBook, Trade
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import CHANNELS, SYMBOLS, FeedName, Simulated, running, settings, simulated

QUIET = Rates(trades=0, tickers=0, books=0)
LIVELY = Rates(trades=20, tickers=20, books=20)
TRADES, STATES, TICKERS = 5_000, 2_000, 500


async def burst(one: Simulated) -> None:
    """Trades in one burst, book states in bursts of 10."""
    await one.subscribed()
    await one.simulator.burst(one.exchange, "trade", TRADES)
    for _ in range(STATES // 10):
        await one.simulator.burst(one.exchange, "orderbook", 10)
    await one.simulator.burst(one.exchange, "ticker", TICKERS)


def check_contents(one: Simulated) -> None:
    for symbol in one.symbols:
        trades = [record for record in one.run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        ids = [int(trade.id or "") for trade in trades]
        assert ids == sorted(set(ids)), f"each trade once, in order, of {one}"
        assert {trade.side for trade in trades} == {"buy", "sell"}
        states = [record for record in one.run.recorded.records("orderbook", symbol) if isinstance(record, OrderBook)]
        assert [state.received_ns for state in states] == sorted(state.received_ns for state in states)
        for state in states:
            assert 0 < len(state.bid_prices) == len(state.bid_amounts) <= 10 * 8
        distinct = {
            (state.bid_prices, state.bid_amounts, state.ask_prices, state.ask_amounts) for state in states[-100:]
        }
        assert len(distinct) > 50, f"states, not one state repeated, of {one}"
        assert one.run.recorded.gaps(symbol) == []


async def test_bursts_are_recorded_to_the_last_record() -> None:
    """5,000 trades at once, 2,000 book states in bursts of 10, 500 tickers, over two symbols of each exchange: exactly as
    many as were sent, through ccxt and through the native feeds.
    """
    async with simulated(QUIET) as ones:
        await asyncio.gather(*(burst(one) for one in ones))
        for one in ones:
            await eventually(lambda one=one: not one.missing(), f"everything sent is recorded of {one}")  # type: ignore[misc]
            recorded = one.counts()
            for channel, least in (("trade", TRADES), ("orderbook", STATES), ("ticker", TICKERS)):
                assert sum(count for pair, count in recorded.items() if pair.channel == channel) >= least, str(one)
            check_contents(one)
            assert one.run.feed.problems() == {}
            assert one.run.feed.subscriptions()["active"] == len(recorded)
            assert one.run.feed.connections() == one.clients.accepted
            assert not one.run.metrics.errors
            assert not one.run.metrics.discarded


@pytest.mark.parametrize("feed", ["ccxt", "native"])
async def test_deltas_before_the_snapshot_are_laid_on_it(feed: FeedName) -> None:
    """A market that does not stand still for the snapshot: each state after it is one more change, in unbroken order."""
    symbols = {"binance": SYMBOLS["binance"]}
    async with (
        Simulator(["binance"], symbols=symbols, rates=Rates(0, 0, 200), levels=50, early_deltas=True) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"], channels=["orderbook"]), feed=feed) as run,
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


async def test_an_unknown_symbol_is_refused_and_the_rest_recorded() -> None:
    """The problem names what was meant."""
    async with simulated(LIVELY, besides=("BTK",)) as ones:
        for one in ones:
            await one.flows()
            known = one.symbols[0]
            unknown = known.replace("BTC", "BTK")
            assert f"did you mean {known}?" in one.run.feed.problems()[f"trade {unknown}"]
            assert one.run.feed.subscriptions()["refused"] == len(CHANNELS)
            assert one.run.feed.market_ids == {symbol: market_id(one, symbol) for symbol in one.symbols}


def market_id(one: Simulated, symbol: str) -> str:
    """The exchange's own name; Kraken's is that of its REST."""
    if one.exchange == "kraken":
        return {"BTC/USD": "XXBTZUSD", "ETH/USD": "XETHZUSD"}[symbol]
    return symbol.replace("/", "-" if one.exchange in {"coinbase", "okx"} else "")
