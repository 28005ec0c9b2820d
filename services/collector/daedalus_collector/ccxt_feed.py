"""A feed of any exchange that ccxt.pro streams, through the tap. See `daedalus_collector.feed.Feed`."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import structlog
from ccxt.base.errors import BaseError

from daedalus.config import Exchange, Ingestion
from daedalus.exchanges import ALIASES
from daedalus_collector import loader, quirks
from daedalus_collector.backoff import Backoff
from daedalus_collector.checked_books import checked
from daedalus_collector.connections import Connections
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.pace import Pace
from daedalus_collector.plan import plan
from daedalus_collector.record_mapper import RecordMapper
from daedalus_collector.subscription import Subscription
from daedalus_collector.tap import Listener, TapClient, tapped

TRADES_LIMIT = 10_000
"""Trades of one frame: the tap empties ccxt's caches, so a high limit costs nothing."""
KEEP_ALIVE_MS = 10_000
"""Between pings; a connection without pongs is closed after twice that. ccxt's own are up to 180 s."""

_log = structlog.get_logger()


class CcxtFeed:
    """`name` is the configured name of the exchange, `secrets` its api_key, api_secret and password."""

    def __init__(
        self,
        name: str,
        settings: Exchange,
        ingestion: Ingestion,
        secrets: Mapping[str, str],
        sink: Sink,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.market_ids: dict[str, str] = {}
        self.loaded = asyncio.Event()
        self._exchange_id = ALIASES.get(name, name)
        self._settings = settings
        self._ingestion = ingestion
        self._metrics = metrics
        self._asked = settings.channels.symbols()
        self._subscriptions: list[Subscription] = []
        self._refused: dict[Pair, str] = {}
        self._loading: str | None = "markets are not loaded yet"
        self._pace = Pace(
            settings.options.subscription_stagger_ms / 1_000, settings.options.max_concurrent_subscriptions
        )
        pairs = [Pair(channel, symbol) for channel, symbols in self._asked.items() for symbol in symbols]
        mapper = RecordMapper(self._exchange_id, pairs, settings.max_orderbook_depth, sink, metrics)
        self._connections = Connections(
            mapper, sink, metrics, settings.silence_seconds, self._connection_gone, self._trouble
        )
        self.exchange = make_exchange(self._exchange_id, settings, secrets, self._connections)
        self._connections.exchange = self.exchange

    async def run(self) -> None:
        await self._load_markets()
        options, depth = self._settings.options, self._settings.max_orderbook_depth
        planned = plan(self.exchange, self._exchange_id, self._asked, options, depth)
        self._refused = planned.refused
        for pair, why in self._refused.items():
            self._metrics.errors["refused_subscription"] += 1
            _log.error(
                "subscription was refused", exchange=self.name, channel=pair.channel, symbol=pair.symbol, why=why
            )
        self._subscriptions = [
            Subscription(self.name, call, self._ingestion, self._pace, self._count_error) for call in planned.calls
        ]
        self.loaded.set()
        gc.collect()
        gc.freeze()  # a full collection of ccxt's markets takes 70 to 135 ms
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._connections.watch())
            for subscription in self._subscriptions:
                tasks.create_task(subscription.keep())

    async def close(self) -> None:
        await self._connections.close()

    def problems(self) -> dict[str, str]:
        if self._loading is not None:
            return {"markets": self._loading}
        found = {f"{pair.channel} {pair.symbol}": why for pair, why in self._refused.items()}
        for subscription in self._subscriptions:
            if subscription.problem is not None:
                found[subscription.name] = f"{subscription.state}, {subscription.problem}"
        return found

    def subscriptions(self) -> Counter[str]:
        states: Counter[str] = Counter(starting=0, active=0, waiting=0, refused=len(self._refused), given_up=0)
        for subscription in self._subscriptions:
            states[subscription.state] += len(subscription.pairs)
        return states

    def connections(self) -> int:
        return self._connections.open()

    def frames(self) -> int:
        return self._connections.frames()

    async def _load_markets(self) -> None:
        backoff = Backoff(self._ingestion.reconnect_delay, lambda: random.uniform(0.5, 1))
        while True:
            try:
                markets = await self.exchange.load_markets()
                break
            except (BaseError, OSError, TimeoutError) as error:
                self._loading = f"markets were not loaded, {type(error).__name__}: {str(error)[:200]}"
                self._count_error(type(error).__name__)
                delay = backoff.failed(0.0)
                _log.warning(
                    "markets were not loaded", exchange=self.name, error=str(error)[:200], retry_seconds=round(delay, 1)
                )
                await asyncio.sleep(delay)
        self._loading = None
        asked = {symbol for symbols in self._asked.values() for symbol in symbols}
        self.market_ids.update({symbol: str(markets[symbol]["id"]) for symbol in asked if symbol in markets})
        _log.info("markets were loaded", exchange=self.name, markets=len(markets))

    def _connection_gone(self, client: TapClient, why: str) -> None:
        self._pace.lost(client.url)
        for subscription in self._subscriptions:
            subscription.lost(client, why)

    def _trouble(self) -> None:
        for subscription in self._subscriptions:
            subscription.wake()

    def _count_error(self, kind: str) -> None:
        self._metrics.errors[kind] += 1


def make_exchange(exchange_id: str, settings: Exchange, secrets: Mapping[str, str], listener: Listener) -> Any:
    """A tapped ccxt.pro exchange, as configured; nothing is connected yet."""
    exchange_class = tapped(
        loader.load(exchange_id),
        listener,
        quirks.KEPT_LEVELS.get(exchange_id, 0),
        quirks.DERIVED.get(exchange_id, ()),
    )
    exchange = checked(exchange_class, exchange_id)(
        {
            "enableRateLimit": True,
            "apiKey": secrets.get("api_key", ""),
            "secret": secrets.get("api_secret", ""),
            "password": secrets.get("password", ""),
            "options": {
                "tradesLimit": TRADES_LIMIT,
                **quirks.CONFIG.get(exchange_id, {}),
                **settings.options.ccxt,
            },
        }
    )
    if "ping" not in exchange.streaming:  # one with a ping of its own (kraken, okx, bybit) knows its pace
        exchange.streaming = {**exchange.streaming, "keepAlive": KEEP_ALIVE_MS}
    if settings.endpoint:
        exchange.urls["api"] = localized(exchange.urls["api"], settings.endpoint)
    return exchange
