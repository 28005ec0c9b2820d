from __future__ import annotations

from typing import Any

from daedalus.config import ExchangeOptions
from daedalus_collector.feed import Pair
from daedalus_collector.plan import plan


class FakeExchange:
    """Has the markets and methods it is given, and notes the calls."""

    def __init__(self, has: dict[str, Any], markets: dict[str, dict[str, Any]]) -> None:
        self.has = has
        self.markets = markets
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda symbols, **arguments: self.calls.append((name, symbols, arguments))


SPOT: dict[str, Any] = {"type": "spot", "linear": None, "inverse": None}
SWAP: dict[str, Any] = {"type": "swap", "linear": True, "inverse": False}
SYMBOLS = [f"C{number}/USD" for number in range(5)]
MARKETS = dict.fromkeys(SYMBOLS, SPOT)


def test_bulk_calls_take_batches() -> None:
    """Five symbols in batches of two are three calls with everything in them once."""
    exchange = FakeExchange({"watchTradesForSymbols": True, "watchTrades": True}, MARKETS)
    made = plan(exchange, "okx", {"trade": SYMBOLS}, ExchangeOptions(watch_batch_size=2), 20)
    for call in made.calls:
        call.call()
    assert [symbols for _, symbols, _ in exchange.calls] == [SYMBOLS[:2], SYMBOLS[2:4], SYMBOLS[4:]]
    assert {name for name, _, _ in exchange.calls} == {"watch_trades_for_symbols"}
    assert {pair for call in made.calls for pair in call.pairs} == {Pair("trade", symbol) for symbol in SYMBOLS}


def test_without_a_bulk_method_each_symbol_has_its_call() -> None:
    """ "emulated" is not bulk."""
    exchange = FakeExchange({"watchOrderBookForSymbols": "emulated", "watchOrderBook": True}, MARKETS)
    made = plan(exchange, "gate", {"orderbook": SYMBOLS[:2]}, ExchangeOptions(), 20)
    for call in made.calls:
        call.call()
    assert exchange.calls == [("watch_order_book", symbol, {"params": {}}) for symbol in SYMBOLS[:2]]


def test_unknown_symbols_are_refused_one_by_one_with_a_hint() -> None:
    """The others of the batch are recorded."""
    exchange = FakeExchange({"watchTickers": True}, MARKETS)
    made = plan(exchange, "okx", {"ticker": ["C1/USD", "C11/USD"]}, ExchangeOptions(), 20)
    assert [call.symbols for call in made.calls] == [("C1/USD",)]
    assert list(made.refused) == [Pair("ticker", "C11/USD")]
    assert "did you mean C1/USD?" in made.refused[Pair("ticker", "C11/USD")]


def test_a_channel_that_the_exchange_lacks_is_refused() -> None:
    """With the reason, and what to do."""
    made = plan(FakeExchange({}, MARKETS), "bitstamp", {"ticker": SYMBOLS[:1]}, ExchangeOptions(), 20)
    assert made.calls == []
    assert made.refused[Pair("ticker", "C0/USD")].startswith("bitstamp streams no ticker")


def test_kinds_of_markets_are_not_mixed() -> None:
    """ccxt refuses spot and swap in one call."""
    markets: dict[str, dict[str, Any]] = {"A/USD": SPOT, "A/USD:USD": SWAP, "B/USD": SPOT}
    exchange = FakeExchange({"watchTickers": True}, markets)
    made = plan(exchange, "okx", {"ticker": list(markets)}, ExchangeOptions(), 20)
    assert [call.symbols for call in made.calls] == [("A/USD", "B/USD"), ("A/USD:USD",)]


def test_quirks_reach_the_calls() -> None:
    """Kraken's trade snapshot and book depth, Coinbase's real ticker channel, bybit's ten topics."""
    has = {"watchTradesForSymbols": True, "watchOrderBookForSymbols": True, "watchTickers": True}
    exchange = FakeExchange(has, MARKETS)
    for call in plan(exchange, "kraken", {"trade": SYMBOLS[:1], "orderbook": SYMBOLS[:1]}, ExchangeOptions(), 20).calls:
        call.call()
    assert [arguments for _, _, arguments in exchange.calls] == [
        {"params": {"snapshot": True}},
        {"params": {}, "limit": 25},
    ]

    class Coinbase(FakeExchange):
        def subscribe_multiple(self, name: str, private: object, symbols: list[str]) -> None:
            self.calls.append((name, symbols, {"private": private}))

    coinbase = Coinbase(has, MARKETS)
    plan(coinbase, "coinbase", {"ticker": SYMBOLS}, ExchangeOptions(), 20).calls[0].call()
    assert coinbase.calls == [("ticker", SYMBOLS, {"private": False})]
    many = {f"C{number}/USD": SPOT for number in range(25)}
    made = plan(FakeExchange(has, many), "bybit", {"orderbook": list(many)}, ExchangeOptions(), 20)
    assert [len(call.symbols) for call in made.calls] == [10, 10, 5]


def test_a_bulk_method_that_mixes_symbols_is_not_used() -> None:
    """Gemini's: each symbol has a call of its own instead, on the protocol with a snapshot where there is the choice."""
    has = {"watchTradesForSymbols": True, "watchTrades": True, "watchBidsAsks": True}
    exchange = FakeExchange(has, MARKETS)
    made = plan(exchange, "gemini", {"trade": SYMBOLS, "bidask": SYMBOLS}, ExchangeOptions(), 20)
    assert [call.symbols for call in made.calls] == [(symbol,) for symbol in SYMBOLS] * 2
    for call in made.calls:
        call.call()
    assert [name for name, *_ in exchange.calls] == ["watch_trades"] * len(SYMBOLS) + ["watch_bids_asks"] * len(SYMBOLS)


def test_candles_are_asked_for_with_their_timeframe() -> None:
    """In bulk as pairs, else one by one."""
    exchange = FakeExchange({"watchOHLCVForSymbols": True, "watchOHLCV": True}, MARKETS)
    made = plan(exchange, "okx", {"ohlcv": SYMBOLS[:2]}, ExchangeOptions(), 20, "5m")
    made.calls[0].call()
    assert exchange.calls == [("watch_ohlcv_for_symbols", [[symbol, "5m"] for symbol in SYMBOLS[:2]], {"params": {}})]

    class OneByOne(FakeExchange):
        def watch_ohlcv(self, symbol: str, timeframe: str, **arguments: Any) -> None:
            self.calls.append((symbol, timeframe, arguments))

    kraken = OneByOne({"watchOHLCV": True}, MARKETS)
    for call in plan(kraken, "kraken", {"ohlcv": SYMBOLS[:2]}, ExchangeOptions(), 20, "5m").calls:
        call.call()
    assert kraken.calls == [(symbol, "5m", {"params": {}}) for symbol in SYMBOLS[:2]]


def test_candles_that_cannot_be_told_apart_are_refused() -> None:
    """Other channels of the exchange are not."""
    exchange = FakeExchange({"watchOHLCV": True, "watchBidsAsks": True}, MARKETS)
    made = plan(exchange, "ndax", {"ohlcv": SYMBOLS[:1], "bidask": SYMBOLS}, ExchangeOptions(), 20)
    assert list(made.refused) == [Pair("ohlcv", "C0/USD")]
    made.calls[0].call()
    assert exchange.calls == [("watch_bids_asks", SYMBOLS, {"params": {}})]
