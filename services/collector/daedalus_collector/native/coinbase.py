"""Coinbase Advanced Trade, natively: one connection, checked by its sequence. A key is not needed: market data are public.

Addresses and limits: docs.cdp.coinbase.com, "Advanced Trade WebSocket overview" and "rate limits" (2026-11): 8 messages a
second and address without authentication.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from daedalus.errors import ConfigError
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

    def _identify(self, secrets: Mapping[str, str]) -> None:
        self._token = _tokens(self.name, secrets.get("api_key", ""), secrets.get("api_secret", ""))

    async def _markets(self, rest: Rest) -> dict[str, str]:
        return market_ids(await rest.get(self._url(PRODUCTS_URL), {"product_type": "SPOT"}))

    def _planned(self, pairs: Sequence[Pair]) -> list[tuple[str, Sequence[Pair]]]:
        return [(WS_URL, pairs)] if pairs else []

    def _session(self, link: Link, pairs: Sequence[Pair]) -> Session:
        depth, options = self._settings.max_orderbook_depth, self._settings.options
        return CoinbaseSession(link, pairs, self.market_ids, depth, options, self._token)

    @classmethod
    def takes(cls, symbol: str) -> bool:
        return ":" not in symbol


def _tokens(name: str, key_name: str, secret: str) -> Callable[[], str] | None:
    """What makes a token for each message, where a key is configured."""
    if not (key_name and secret):
        return None
    from daedalus_collector.native.coinbase_jwt import Signer  # noqa: PLC0415  # few have a key: it is 3 MB

    try:
        signer = Signer(key_name, secret)
    except ValueError as error:
        raise ConfigError([f"DAEDALUS_{name.upper()}_API_SECRET: {error}, was something else"]) from None
    return lambda: signer.token(int(time.time()))
