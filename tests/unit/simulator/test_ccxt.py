"""ccxt.pro, unchanged but for its addresses, takes the simulator for the real thing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt.pro
import pytest
from ccxt.async_support.base.ws.client import Client

from simulator import Rates, Simulator
from simulator.addresses import rewritten
from support.eventually import eventually

SYMBOLS = {
    "binance": "BTC/USDT",
    "bybit": "BTC/USDT",
    "coinbase": "BTC/USD",
    "kraken": "BTC/USD",
    "okx": "BTC/USDT",
}
STILL = Rates(0, 0, 0)


@asynccontextmanager
async def _exchange(simulator: Simulator, name: str) -> AsyncIterator[Any]:
    exchange = getattr(ccxt.pro, name)({"enableRateLimit": False})
    exchange.urls["api"] = rewritten(exchange.urls["api"], simulator.url)
    try:
        yield exchange
    finally:
        await exchange.close()


@pytest.mark.parametrize("name", SYMBOLS)
async def test_ccxt_loads_markets_and_watches_every_channel(name: str) -> None:
    """Unified symbols, sane prices, and a book that never crosses over 20 states."""
    symbol = SYMBOLS[name]
    async with (
        Simulator([name], markets=20, rates=Rates(50, 50, 50)) as simulator,
        _exchange(simulator, name) as exchange,
    ):
        assert len(await exchange.load_markets()) == 20
        assert symbol in exchange.markets
        trades = await exchange.watch_trades(symbol)
        assert trades[-1]["symbol"] == symbol
        ticker = await exchange.watch_ticker(symbol)
        assert ticker["low"] <= ticker["last"] <= ticker["high"]
        for _ in range(20):
            book = await exchange.watch_order_book(symbol)
            assert book["bids"][0][0] < book["asks"][0][0]
        assert set(simulator.counts().subscriptions[name]) == {"trade", "ticker", "orderbook"}


@pytest.mark.parametrize("name", SYMBOLS)
async def test_ccxt_watches_several_symbols_at_once(name: str) -> None:
    """The bulk methods subscribe every symbol."""
    async with Simulator([name], rates=Rates(50, 50, 50)) as simulator, _exchange(simulator, name) as exchange:
        symbols = sorted(await exchange.load_markets())
        await exchange.watch_trades_for_symbols(symbols)
        await exchange.watch_tickers(symbols)
        await exchange.watch_order_book_for_symbols(symbols)
        assert simulator.counts().subscriptions[name] == dict.fromkeys(("orderbook", "ticker", "trade"), symbols)


@pytest.mark.parametrize(("name", "most"), [("bybit", 60), ("okx", 500)])
async def test_ccxt_fetches_the_trades_that_were_streamed(name: str, most: int) -> None:
    """The same ones, as many as the exchange tells; with other ids where it is told to."""
    symbol = SYMBOLS[name]
    async with Simulator([name], rates=Rates(0, 0, 0)) as simulator, _exchange(simulator, name) as exchange:
        watching = asyncio.create_task(exchange.watch_trades(symbol))
        await eventually(lambda: "trade" in simulator.counts().subscriptions[name], "subscribed")
        await simulator.burst(name, "trade", 600)
        await watching
        streamed = exchange.trades[symbol]
        told = await exchange.fetch_trades(symbol, limit=500)
        assert len(told) == most
        fields = ("id", "timestamp", "price", "amount", "side")
        kept = {trade["id"]: [trade[field] for field in fields] for trade in streamed}
        assert all(kept[trade["id"]] == [trade[field] for field in fields] for trade in told)
        assert int(told[-1]["id"]) == simulator.last_trade_id(name, symbol)
        simulator.renumber(name)
        assert not kept.keys() & {trade["id"] for trade in await exchange.fetch_trades(symbol)}


async def test_ccxt_accepts_the_continuity_of_binance_s_deltas() -> None:
    """After hundreds of deltas its book equals the REST snapshot, to the last nonce."""
    symbol = SYMBOLS["binance"]
    async with Simulator(["binance"], rates=STILL) as simulator, _exchange(simulator, "binance") as exchange:
        await exchange.load_markets()
        await exchange.watch_order_book(symbol)
        await simulator.burst("binance", "orderbook", 500, symbol)
        fresh = await exchange.fetch_order_book(symbol, 1000)
        while exchange.orderbooks[symbol]["nonce"] < fresh["nonce"]:
            await exchange.watch_order_book(symbol)
        held = exchange.orderbooks[symbol]
        assert (held["nonce"], held["bids"], held["asks"]) == (fresh["nonce"], fresh["bids"], fresh["asks"])


@pytest.mark.parametrize("name", SYMBOLS)
async def test_every_record_that_was_counted_reaches_ccxt_s_handlers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of parsed trades and of resolved book states equals the simulator's counts: no more, no less."""
    symbol, parsed, states = SYMBOLS[name], set[str](), 0
    resolve = Client.resolve

    def resolved(client: Any, result: Any, message_hash: str) -> Any:
        nonlocal states
        states += message_hash.startswith(("orderbook", "level2", "books")) and message_hash.endswith(symbol)
        return resolve(client, result, message_hash)

    monkeypatch.setattr(Client, "resolve", resolved)
    async with Simulator([name], rates=STILL) as simulator, _exchange(simulator, name) as exchange:
        parser = "parse_ws_trade" if name == "bybit" else "parse_trade"
        parse_trade = getattr(exchange, parser)

        def parse(trade: Any, market: Any = None) -> Any:
            result = parse_trade(trade, market)
            parsed.add(result["id"])
            return result

        setattr(exchange, parser, parse)
        await exchange.load_markets()
        watching = [asyncio.create_task(watch(symbol)) for watch in (exchange.watch_trades, exchange.watch_order_book)]
        async with asyncio.timeout(60):
            while not {"trade", "orderbook"} <= set(simulator.counts().subscriptions[name]):
                await asyncio.sleep(0.01)
            await simulator.burst(name, "trade", 200, symbol)
            await simulator.burst(name, "orderbook", 200, symbol)
            trades, book = (simulator.count(name, channel, symbol).records for channel in ("trade", "orderbook"))
            while len(parsed) < trades or states < book:
                await asyncio.sleep(0.01)
            await asyncio.gather(*watching)
    assert (len(parsed), states) == (trades, book)
    assert trades >= 200
    assert book == 201
