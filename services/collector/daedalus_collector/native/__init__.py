"""Feeds that speak an exchange's own protocol, without ccxt: a quarter of the CPU, and the exchange's own sequences."""

from __future__ import annotations

from daedalus_collector.native.binance import BinanceFeed, BinanceUsdmFeed
from daedalus_collector.native.coinbase import CoinbaseFeed
from daedalus_collector.native.feed import NativeFeed

__all__ = ["FEEDS", "NativeFeed"]

FEEDS: dict[str, type[NativeFeed]] = {
    "binance": BinanceFeed,
    "binanceusdm": BinanceUsdmFeed,
    "coinbase": CoinbaseFeed,
}
"""ccxt's id of the exchange → its feed."""
