"""Coinbase Advanced Trade, natively: one connection, checked by its sequence. Without a key: market data are public.

Addresses and limits: docs.cdp.coinbase.com, "Advanced Trade WebSocket overview" and "rate limits" (2026-11): 8 messages a
second and address without authentication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from daedalus_collector.feed import Pair
from daedalus_collector.native.coinbase_frames import market_ids
from daedalus_collector.native.coinbase_session import CHANNELS, CoinbaseSession
from daedalus_collector.native.feed import NativeFeed
from daedalus_collector.native.rest import Rest
from daedalus_collector.native.session import Link, Session

WS_URL = "wss://advanced-trade-ws.coinbase.com"
PRODUCTS_URL = "https://api.coinbase.com/api/v3/brokerage/market/products"


class CoinbaseFeed(NativeFeed):
    CHANNELS: ClassVar[frozenset[str]] = frozenset(CHANNELS)
    REQUEST_SECONDS: ClassVar[float] = 0.2
    REST_SECONDS: ClassVar[float] = 0.5
    REST_BURST: ClassVar[int] = 1

    async def _markets(self, rest: Rest) -> dict[str, str]:
        return market_ids(await rest.get(self._url(PRODUCTS_URL), {"product_type": "SPOT"}))

    def _planned(self, pairs: Sequence[Pair]) -> list[tuple[str, Sequence[Pair]]]:
        return [(WS_URL, pairs)] if pairs else []

    def _session(self, link: Link, pairs: Sequence[Pair]) -> Session:
        return CoinbaseSession(link, pairs, self.market_ids, self._settings.max_orderbook_depth, self._settings.options)

    @classmethod
    def takes(cls, symbol: str) -> bool:
        return ":" not in symbol
