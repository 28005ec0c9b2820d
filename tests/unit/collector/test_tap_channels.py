"""What ccxt's handlers deliver besides trades, tickers and books, exchange by exchange: each once, and as what it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType

from daedalus.config import Exchange
from daedalus_collector.ccxt_feed import make_exchange

MARKET: dict[str, Any] = {
    "id": "BTC-USDT-SWAP", "lowercaseId": "btc-usdt-swap", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT",
    "settle": "USDT", "baseId": "BTC", "quoteId": "USDT", "settleId": "USDT", "active": True, "type": "swap", "spot": False,
    "swap": True, "future": False, "option": False, "contract": True, "margin": False, "linear": True, "inverse": False,
    "contractSize": 0.01, "expiry": None, "expiryDatetime": None, "strike": None, "optionType": None, "limits": {},
    "precision": {"price": 0.01, "amount": 1e-5}, "info": {},
}  # fmt: skip


class Caught:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.results: list[tuple[str, Mapping[str, Any]]] = []

    def on_result(self, channel: str, result: Mapping[str, Any], _received_ns: int) -> bool:
        self.results.append((channel, dict(result)))
        return True

    def fails(self, *told: object) -> None:
        raise AssertionError(told)

    on_connected = on_lost = on_bad_frame = on_error = fails


class Tapping:
    def __init__(self, exchange_id: str, quotes: str = "ticker") -> None:
        self.caught = Caught()
        self.exchange = make_exchange(exchange_id, Exchange(), {}, self.caught, quotes)
        self.exchange.set_markets([MARKET])
        self.client = self.exchange.client("wss://x/ws")

    def frame(self, message: object) -> None:
        self.client.handle_message(WSMessage(WSMsgType.TEXT, json.dumps(message), None))

    @property
    def channels(self) -> list[str]:
        return [channel for channel, _ in self.caught.results]


Make = Callable[..., Tapping]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Tapping] = []

    def one(exchange_id: str, quotes: str = "ticker") -> Tapping:
        made.append(Tapping(exchange_id, quotes))
        return made[-1]

    yield one
    for tapping in made:
        await tapping.exchange.close()


def quote(**more: object) -> dict[str, Any]:
    empty = dict.fromkeys(("last", "bid", "bidVolume", "ask", "askVolume", "timestamp"))
    return {"symbol": "BTC/USDT:USDT", "info": {}, **empty, **more}


OKX_TICKER = {
    "arg": {"channel": "tickers", "instId": "BTC-USDT-SWAP"},
    "data": [
        {"instId": "BTC-USDT-SWAP", "last": "5", "bidPx": "4", "bidSz": "1", "askPx": "6", "askSz": "2", "ts": "7"}
    ],
}


async def test_a_ticker_that_okx_delivers_as_bid_and_ask_too_is_a_ticker(make: Make) -> None:
    """ccxt makes both of one frame; on the connections for best bids and asks the same frame is one of these."""
    tickers, bids_asks = make("okx"), make("okx", "bidask")
    for tapping in (tickers, bids_asks):
        tapping.frame(OKX_TICKER)
    assert tickers.channels == ["ticker"]
    assert bids_asks.channels == ["bidask"]


async def test_a_bid_and_ask_that_comes_beside_its_ticker_is_told_once(make: Make) -> None:
    """Derive's handler delivers the quote and the ticker that it was made of, Nado's one object under four names."""
    derive, nado = make("derive", "bidask"), make("nado", "bidask")
    mine, ticker = quote(bid=1.0), quote(bid=1.0, last=5.0)
    for tapping in (derive, nado):
        tapping.exchange.bidsasks["BTC/USDT:USDT"] = mine
    derive.client.resolve(mine, "bidask:BTC/USDT:USDT")
    derive.client.resolve(ticker, "ticker_slim.BTC.100")
    for name in ("bidask:BTC/USDT:USDT", "ticker:BTC/USDT:USDT"):
        nado.client.resolve(mine, name)
    for name in ("bidask", "ticker"):
        nado.client.resolve({"BTC/USDT:USDT": mine}, name)
    assert [result["bid"] for _, result in derive.caught.results] == [1.0]
    assert nado.channels == ["bidask"]


async def test_a_mark_price_is_not_taken_for_a_ticker(make: Make) -> None:
    """They have connections of their own, and what comes on these are mark prices."""
    told = make("okx", "markprice")
    told.frame({
        "arg": {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
        "data": [{"instId": "BTC-USDT-SWAP", "instType": "SWAP", "markPx": "5.5", "ts": "7"}],
    })  # fmt: skip
    assert [(channel, result["markPrice"]) for channel, result in told.caught.results] == [("markprice", "5.5")]


async def test_a_book_of_one_level_is_no_book_on_a_connection_for_quotes(make: Make) -> None:
    """Bybit's best bid and ask: recorded as a book it would stand in for the deep one."""
    bybit = make("bybit", "bidask")
    book = {"s": "BTC-USDT-SWAP", "b": [["5", "1"]], "a": [["6", "2"]], "u": 1, "seq": 1}
    bybit.frame({"topic": "orderbook.1.BTC-USDT-SWAP", "type": "snapshot", "ts": 7, "data": book})
    assert [(channel, result["bid"], result["ask"]) for channel, result in bybit.caught.results] == [
        ("bidask", 5.0, 6.0)
    ]


async def test_each_state_of_a_candle_is_told_once_and_nothing_is_kept(make: Make) -> None:
    """OKX delivers the candles alone and with their symbol; a symbol is found either way, also where there are two."""
    okx = make("okx")
    okx.exchange.ohlcvs["ETH/USDT"] = {"1m": []}
    for close in ("3", "4"):
        rows = [
            ["60000", "1", "5", "0.5", close, "7", "8", "9", "0"],
            ["120000", "1", "5", "0.5", "2", "7", "8", "9", "0"],
        ]
        okx.frame({"arg": {"channel": "candle1m", "instId": "BTC-USDT-SWAP"}, "data": rows})
    told = [
        (result["symbol"], result["timeframe"], result["candle"][0], result["candle"][4])
        for _, result in okx.caught.results
    ]
    both = [("BTC/USDT:USDT", "1m", 60_000, 3.0), ("BTC/USDT:USDT", "1m", 120_000, 2.0)]
    assert told == [*both, ("BTC/USDT:USDT", "1m", 60_000, 4.0), both[1]]
    assert len(okx.exchange.ohlcvs["BTC/USDT:USDT"]["1m"]) == 0


async def test_every_forced_order_of_a_message_is_told_once(make: Make) -> None:
    """OKX puts several of a market into one entry, of which ccxt reads the first; each is resolved under two names. Nothing is
    computed beside it."""
    okx = make("okx")
    details = [{"bkPx": price, "side": "buy", "sz": "3", "ts": "7"} for price in ("1", "2", "3")]
    entry = {"details": details, "instId": "BTC-USDT-SWAP", "instType": "SWAP"}
    okx.frame({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [entry, entry]})
    assert okx.channels == ["liquidation"] * 6
    assert [result["price"] for _, result in okx.caught.results] == [1.0, 2.0, 3.0] * 2
    assert {result["baseValue"] for _, result in okx.caught.results} == {None}


async def test_liquidations_in_a_cache_are_not_taken_for_trades(make: Make) -> None:
    """Lighter delivers its whole cache."""
    lighter = make("lighter")
    trade = {"trade_id": 5, "market_id": 0, "size": "0.5", "price": "3.5", "timestamp": 7, "is_maker_ask": False}
    lighter.exchange.handle_liquidation(lighter.client, {"channel": "trade:0", "liquidation_trades": [trade]})
    assert lighter.channels == ["liquidation"]


async def test_a_funding_rate_is_told_once_however_it_comes(make: Make) -> None:
    """Alone, under two names, or by symbol."""
    paradex = make("paradex")
    rate = {"symbol": "BTC/USDT:USDT", "fundingRate": 0.1, "info": {}}
    for name in ("funding_data", "funding_data.BTC/USDT:USDT"):
        paradex.client.resolve(rate, name)
    paradex.client.resolve({"BTC/USDT:USDT": {**rate, "fundingRate": 0.2}}, "fundings")
    assert [(channel, result["fundingRate"]) for channel, result in paradex.caught.results] == [
        ("funding", 0.1),
        ("funding", 0.2),
    ]
