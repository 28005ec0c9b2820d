"""Which feed an exchange gets."""

from __future__ import annotations

import pytest

from daedalus.config import Channels, Exchange, ExchangeOptions
from daedalus.errors import ConfigError
from daedalus.exchanges import EXCHANGE_IDS
from daedalus_collector.feeds import is_native
from daedalus_collector.native import FEEDS


def asked(*symbols: str, **more: object) -> Exchange:
    return Exchange(channels=Channels(trade=list(symbols)), **more)  # type: ignore[arg-type]  # keys of Exchange


@pytest.mark.parametrize(
    ("name", "exchange", "kind"),
    [
        ("coinbaseadvanced", asked("BTC/USD"), "native"),
        ("binance", asked("BTC/USDT"), "native"),
        ("binanceusdm", asked("BTC/USDT:USDT"), "native"),
        ("kraken", asked("BTC/USD"), "ccxt"),
        ("binance", Exchange(channels=Channels(bidask=["BTC/USDT"], ohlcv=["BTC/USDT"])), "native"),
        (
            "binanceusdm",
            Exchange(channels=Channels(funding=["BTC/USDT:USDT"], liquidation=["BTC/USDT:USDT"])),
            "native",
        ),
        ("binance", Exchange(channels=Channels(trade=["BTC/USDT"], liquidation=["BTC/USDT"])), "ccxt"),
        ("coinbase", Exchange(channels=Channels(ohlcv=["BTC/USD"])), "ccxt"),
        ("coinbase", asked("BTC/USD", feed="ccxt"), "ccxt"),
        ("coinbase", asked("BTC/USD", "BTC/USD:USD"), "ccxt"),
        ("coinbase", asked("BTC/USD", options=ExchangeOptions(ccxt={"a": 1})), "ccxt"),
        ("coinbase", asked("BTC/USD", options=ExchangeOptions(ccxt={"a": 1}), feed="native"), "native"),
    ],
)
def test_auto_is_native_where_that_records_all_of_it(name: str, exchange: Exchange, kind: str) -> None:
    """By ccxt's id behind the configured name; what was asked for wins."""
    assert is_native(name, exchange) == (kind == "native")


@pytest.mark.parametrize(
    ("name", "symbol", "told"),
    [
        (
            "kraken",
            "BTC/USD",
            "ccxt.exchanges.kraken.feed: expected auto or ccxt (native feeds: binance, binanceusdm, coinbase), was 'native'",
        ),
        (
            "binance",
            "BTC/USDT:USDT",
            "ccxt.exchanges.binance.feed: expected auto or ccxt for BTC/USDT:USDT, which is not native, was 'native'",
        ),
    ],
)
def test_native_where_there_is_none_is_a_mistake(name: str, symbol: str, told: str) -> None:
    """One clear line, with what is there."""
    with pytest.raises(ConfigError) as raised:
        is_native(name, asked(symbol, feed="native"))
    assert raised.value.mistakes == [told]


def test_a_channel_that_is_not_native_is_a_mistake_where_native_was_asked_for() -> None:
    """By the key that asks for it."""
    with pytest.raises(ConfigError) as raised:
        is_native("coinbase", Exchange(channels=Channels(trade=["BTC/USD"], ohlcv=["BTC/USD"]), feed="native"))
    told = "ccxt.exchanges.coinbase.feed: expected auto or ccxt for watchOHLCV, which is not native, was 'native'"
    assert raised.value.mistakes == [told]


def test_native_feeds_have_ccxts_ids() -> None:
    """The configuration knows them by these."""
    assert set(FEEDS) <= EXCHANGE_IDS
