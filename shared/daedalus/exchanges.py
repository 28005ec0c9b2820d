"""The exchanges that ccxt 4.5.90 can stream (`ccxt.pro.exchanges`), and the names this project accepts for them.

Kept here as data, so that every service can check a configuration without importing ccxt; a test holds it against ccxt.
"""

from __future__ import annotations

ALIASES = {"coinbaseadvanced": "coinbase"}
"""Configured name → ccxt id. The data are filed under the configured name."""

EXCHANGE_IDS = frozenset(
    """
    alpaca apex aster backpack bequant binance binancecoinm binanceus binanceusdm bingx bitfinex bitget bithumb
    bitopro bitrue bitstamp bittrade bitvavo blockchaincom blofin bullish bybit bybiteu bybitid bydfi cex
    coinbase coinbaseexchange coinbaseinternational coincheck coinone cryptocom deepcoin deribit derive dydx
    extended gate gateeu gemini grvt hashkey hitbtc hollaex htx hyperliquid independentreserve kraken
    krakenfutures kucoin kucoinfutures lbank lighter luno mexc modetrade mudrex myokx nado ndax okx okxus
    onetrading p2b pacifica paradex phemex poloniex polymarket toobit upbit weex whitebit woo woofipro xt
    """.split()  # noqa: SIM905  # 76 lines would say no more
)
