"""Markets of ccxt without what nobody looks at: everything is still found, and by whatever it was found before."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from daedalus.config import Channels, Exchange
from daedalus_collector import loader
from daedalus_collector.ccxt_feed import make_exchange
from daedalus_collector.slimmed import slimmed


def market(exchange_symbol: str, symbol: str, kind: str = "spot") -> dict[str, Any]:
    base, quote = symbol.partition(":")[0].split("/")
    return {
        "id": exchange_symbol, "symbol": symbol, "base": base, "quote": quote, "type": kind,
        "spot": kind == "spot", "swap": kind == "swap", "linear": None, "inverse": None,
        "precision": {"price": 0.01, "amount": 1e-5}, "limits": {"amount": {"min": 1e-5, "max": None}},
        "info": {"symbol": exchange_symbol},
    }  # fmt: skip


MARKETS = [
    market("BTCUSDT", "BTC/USDT"),
    market("BTCUSDT", "BTC/USDT:USDT", "swap"),
    market("ETHUSDT", "ETH/USDT"),
    {**market("LTCUSDT", "LTC/USDT"), "precision": {"price": 1, "amount": 1e-5}},
    {**market("XRPUSDT", "XRP/USDT"), "precision": {"price": 1.0, "amount": 1e-5}},
]
CURRENCIES = {code: {"id": code, "code": code, "info": {"coin": code}, "networks": {}} for code in ("BTC", "ETH")}


def loaded(exchange_class: Any) -> Any:
    exchange = exchange_class()
    exchange.set_markets(copy.deepcopy(MARKETS), copy.deepcopy(CURRENCIES))
    return exchange


@pytest.fixture
def slim() -> Any:
    return loaded(slimmed(loader.load("binance"), {"BTC/USDT"}))


@pytest.fixture
def full() -> Any:
    return loaded(loader.load("binance"))


def test_only_the_exchanges_own_answer_is_missing(slim: Any, full: Any) -> None:
    """Of what nobody asked for; all else is as ccxt has it, to the type of each number."""
    asked = full.markets["BTC/USDT"]["info"]
    for market in full.markets.values():
        market["info"] = {} if market["symbol"] != "BTC/USDT" else market["info"]
    for currency in full.currencies.values():
        currency["info"] = {}
    assert slim.markets["BTC/USDT"]["info"] == asked == {"symbol": "BTCUSDT"}
    assert repr(slim.markets) == repr(full.markets)
    assert all(repr(slim.currencies[code]) == repr(full.currencies[code]) for code in CURRENCIES)
    assert (slim.symbols, slim.ids, slim.codes) == (full.symbols, full.ids, full.codes)


def test_an_id_means_what_it_meant(slim: Any, full: Any) -> None:
    """One that two markets share stays one of two, whether or not anybody asked for both."""
    for exchange in (slim, full):
        assert exchange.safe_symbol("BTCUSDT", None, None, "swap") == "BTC/USDT:USDT"
        assert exchange.safe_symbol("BTCUSDT", None, None, "spot") == "BTC/USDT"
        assert exchange.safe_symbol("ETHUSDT") == "ETH/USDT"
        assert exchange.safe_symbol("NEWUSDT") == "NEWUSDT"


def test_what_is_alike_is_kept_once(slim: Any) -> None:
    """A market found by id is the one found by symbol, and equal limits are the same ones; 1 and 1.0 stay what they are."""
    ether, bitcoin = slim.markets["ETH/USDT"], slim.markets["BTC/USDT"]
    assert slim.markets_by_id["ETHUSDT"][0] is ether
    assert ether["limits"] is bitcoin["limits"]
    assert ether["precision"] is bitcoin["precision"]
    assert slim.markets["LTC/USDT"]["precision"] is not slim.markets["XRP/USDT"]["precision"]


def test_two_ids_of_one_symbol_stay_two() -> None:
    """ccxt finds the last of them by the symbol, and each by its own id."""
    exchange = slimmed(loader.load("binance"), ())()
    exchange.set_markets([market("OLD", "BTC/USDT"), market("NEW", "BTC/USDT")])
    assert exchange.markets["BTC/USDT"]["id"] == exchange.markets_by_id["NEW"][0]["id"] == "NEW"
    assert exchange.markets_by_id["OLD"][0]["id"] == "OLD"


def test_a_feed_keeps_what_its_symbols_say() -> None:
    """Of every channel that was asked for."""
    asked = Exchange(channels=Channels(trade=["BTC/USDT"], orderbook=["ETH/USDT"]))
    exchange: Any = loaded(lambda: make_exchange("binance", asked, {}, None))  # type: ignore[arg-type]  # connects nowhere
    with_info = {symbol for symbol, market in exchange.markets.items() if market["info"]}
    assert with_info == {"BTC/USDT", "ETH/USDT"}
