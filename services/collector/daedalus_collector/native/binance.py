"""Binance spot and USDⓈ-M futures, natively: streams, order books from diff depth and REST snapshots.

Addresses and limits: developers.binance.com, spot "WebSocket Streams" and "Limits", USDⓈ-M "WebSocket Market Streams"
(2026-11). Futures streams are split over two paths; which is which is read in ccxt 4.5.90 (`get_future_ws_category`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from daedalus_collector.feed import Pair
from daedalus_collector.native.binance_frames import market_ids
from daedalus_collector.native.binance_session import BinanceSession, SpotQuoteSession
from daedalus_collector.native.binance_snapshots import Snapshots
from daedalus_collector.native.feed import NativeFeed
from daedalus_collector.native.rest import Rest
from daedalus_collector.native.session import Link, Session, batched
from daedalus_collector.quirks import book_limit

MOST_STREAMS = 200
"""On one connection."""
PUBLIC = frozenset({"trade", "orderbook", "bidask"})
"""Of futures."""


class BinanceFeed(NativeFeed):
    """Spot."""

    ID: ClassVar[str] = "binance"
    CHANNELS: ClassVar[frozenset[str]] = frozenset({"trade", "ticker", "orderbook", "bidask", "ohlcv"})
    FUTURES: ClassVar[bool] = False
    REST_URL: ClassVar[str] = "https://api.binance.com/api/v3"
    INFO_QUERY: ClassVar[dict[str, str]] = {"showPermissionSets": "false"}
    """Without them the answer is a third as long."""
    REQUEST_SECONDS: ClassVar[float] = 0.5
    """5 a second are allowed, but one each 250 ms was seen to be closed (1008)."""
    REST_SECONDS: ClassVar[float] = 0.6
    """A snapshot of 1,000 levels costs 50 of 6,000 a minute, one of 5,000 costs 250: the burst is within it, too."""
    REST_BURST: ClassVar[int] = 8
    _snapshots: Snapshots | None = None
    """None while there is nothing to lay them on."""

    async def _markets(self, rest: Rest) -> dict[str, str]:
        return market_ids(await rest.get(f"{self._url(self.REST_URL)}/exchangeInfo", self.INFO_QUERY))

    def _started(self, rest: Rest) -> None:
        if self._only_frames:
            return
        limit = book_limit(self.ID, self._settings.max_orderbook_depth) or 1_000
        if limit > 1_000:
            rest = rest.paced(5 * self.REST_SECONDS, 2)
        self._snapshots = Snapshots(rest, f"{self._url(self.REST_URL)}/depth", limit, self._count_error)

    def _tasks(self) -> list[Coroutine[Any, Any, None]]:
        return [self._snapshots.run()] if self._snapshots is not None else []

    def _planned(self, pairs: Sequence[Pair]) -> list[tuple[str, Sequence[Pair]]]:
        by_url: dict[str, list[Pair]] = {}
        for pair in pairs:
            by_url.setdefault(self._ws_url(pair.channel), []).append(pair)
        return [(url, batch) for url, of_url in by_url.items() for batch in batched(of_url, MOST_STREAMS)]

    def _ws_url(self, _channel: str) -> str:
        return "wss://stream.binance.com:9443/ws"

    def _session(self, link: Link, pairs: Sequence[Pair]) -> Session:
        settings = self._settings
        quotes = not self.FUTURES and any(pair.channel == "bidask" for pair in pairs)
        return (SpotQuoteSession if quotes else BinanceSession)(
            link,
            pairs,
            self.market_ids,
            settings.max_orderbook_depth,
            settings.options,
            self._snapshots,
            futures=self.FUTURES,
            timeframe=settings.ohlcv_timeframe,
        )

    def problems(self) -> dict[str, str]:
        found = super().problems()
        if self._loading is None and self._snapshots is not None:
            found |= {f"orderbook {market}": why for market, why in self._snapshots.problems().items()}
        return found

    def _count_error(self, kind: str) -> None:
        self._metrics.errors[kind] += 1

    @classmethod
    def takes(cls, symbol: str) -> bool:
        return ":" not in symbol


class BinanceUsdmFeed(BinanceFeed):
    """USDⓈ-M futures."""

    ID: ClassVar[str] = "binanceusdm"
    CHANNELS: ClassVar[frozenset[str]] = BinanceFeed.CHANNELS | {"markprice", "funding", "liquidation"}
    FUTURES: ClassVar[bool] = True
    REST_URL: ClassVar[str] = "https://fapi.binance.com/fapi/v1"
    INFO_QUERY: ClassVar[dict[str, str]] = {}
    """A snapshot of 1,000 levels costs 20 of 2,400 a minute."""

    def _ws_url(self, channel: str) -> str:
        return f"wss://fstream.binance.com/{'public' if channel in PUBLIC else 'market'}/ws"

    @classmethod
    def takes(cls, symbol: str) -> bool:
        return ":" in symbol
