"""Candles that an exchange does not have."""

from __future__ import annotations

from typing import Any

import pytest

from daedalus.config import Channels, Exchange
from daedalus.errors import ConfigError
from daedalus_collector.timeframes import check

FUTURES = "1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M"


def candles(timeframe: Any, symbol: str = "BTC/USDT", **more: Any) -> Exchange:
    return Exchange(channels=Channels(ohlcv=[symbol]), ohlcv_timeframe=timeframe, **more)


@pytest.mark.parametrize(
    ("name", "exchange", "there"),
    [
        ("binanceusdm", candles("1s", "BTC/USDT:USDT"), FUTURES),
        ("binanceusdm", candles("1s", "*/USDT:USDT", feed="ccxt"), FUTURES),
        ("binancecoinm", candles("1s", "BTC/USD:BTC"), FUTURES),
        ("kraken", candles("3m"), "1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w"),
    ],
)
def test_what_is_not_there_is_a_mistake(name: str, exchange: Exchange, there: str) -> None:
    """Native and through ccxt: one line that names the key, what the exchange has, and what was asked for."""
    with pytest.raises(ConfigError) as raised:
        check(name, exchange)
    told = (
        f"ccxt.exchanges.{name}.ohlcv_timeframe: expected what {name} has ({there}), was {exchange.ohlcv_timeframe!r}"
    )
    assert raised.value.mistakes == [told]


@pytest.mark.parametrize(
    ("name", "exchange"),
    [
        ("binance", candles("1s")),
        ("binance", candles("1s", feed="ccxt")),
        ("binanceusdm", candles("1m", "BTC/USDT:USDT")),
        ("binanceusdm", Exchange(channels=Channels(trade=["BTC/USDT:USDT"]), ohlcv_timeframe="1s")),
        ("coinbaseadvanced", candles("6h", "BTC/USD")),
    ],
)
def test_what_is_there_is_not(name: str, exchange: Exchange) -> None:
    """Nor what nobody asked for."""
    check(name, exchange)
