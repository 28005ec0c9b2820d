"""The peer of benchmarks.collector: what one writes with ccxt.pro and its manual, which keeps what `watch_*` returns.

    python -m benchmarks.ccxt_loop EXCHANGE ENDPOINT DEPTH SYMBOL …

One loop per bulk call, one per symbol where Coinbase has no bulk ticker; nothing is stored. It is told by
`benchmarks.collector` how many frames it was sent, and loses states and trades that come between two calls.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.pro

from daedalus_collector.endpoint import localized

TRADES = 50
BOOKS = 20
"""Symbols in one call, as in config.yaml."""


async def keep(call: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await call()


async def main(exchange_id: str, endpoint: str, depth: int, symbols: list[str]) -> None:
    options = (
        {"fetchMarkets": {"types": ["spot"]}, "watchTickers": {"name": "ticker"}} if exchange_id == "binance" else {}
    )
    exchange = getattr(ccxt.pro, exchange_id)({"options": options})
    exchange.urls["api"] = localized(exchange.urls["api"], endpoint)
    await exchange.load_markets()
    calls: list[Callable[[], Awaitable[Any]]] = []
    for first in range(0, len(symbols), TRADES):
        some = symbols[first : first + TRADES]
        calls.append(lambda some=some: exchange.watch_trades_for_symbols(some))  # type: ignore[misc]
        if exchange_id == "binance":
            calls.append(lambda some=some: exchange.watch_tickers(some))  # type: ignore[misc]
        else:
            calls += [lambda symbol=symbol: exchange.watch_ticker(symbol) for symbol in some]  # type: ignore[misc]
    for first in range(0, len(symbols), BOOKS):
        some = symbols[first : first + BOOKS]
        limit = 1_000 if exchange_id == "binance" else depth
        calls.append(lambda some=some, limit=limit: exchange.watch_order_book_for_symbols(some, limit))  # type: ignore[misc]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: sys.exit(0))
    await asyncio.gather(*(keep(call) for call in calls))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
