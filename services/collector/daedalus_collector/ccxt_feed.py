"""A feed of any exchange that ccxt.pro streams, through the tap. See `daedalus_collector.feed.Feed`."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from ccxt.base.errors import BaseError, DDoSProtection, ExchangeNotAvailable, RateLimitExceeded

from daedalus.config import Exchange, Ingestion
from daedalus.exchanges import ALIASES
from daedalus.records import Trade
from daedalus_collector import loader, quirks
from daedalus_collector.backoff import Backoff
from daedalus_collector.cadence import LastRecords
from daedalus_collector.checked_books import checked
from daedalus_collector.connections import Connections
from daedalus_collector.corrected import corrected
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import RestError
from daedalus_collector.pace import Pace
from daedalus_collector.plan import WatchCall, plan
from daedalus_collector.raw_frames import RawFrames
from daedalus_collector.record_mapper import RecordMapper
from daedalus_collector.records_from_ccxt import trade_record
from daedalus_collector.retry_after import retry_after_seconds
from daedalus_collector.slimmed import slimmed
from daedalus_collector.subscription import Subscription
from daedalus_collector.tap import Listener, TapClient
from daedalus_collector.tapped import tapped
from daedalus_collector.unparsed import unparsed

QUOTES = ("bidask", "markprice")
"""Each has an exchange object of its own, so its own connections: ccxt takes them for tickers. Kraken's bids and asks are
tickers at another pace, Bybit's are an order book of one level that empties a deeper one."""
TRADES_LIMIT = 10_000
"""Trades of one frame: the tap empties ccxt's caches, so a high limit costs nothing."""
KEEP_ALIVE_MS = 10_000
"""Between pings; a connection without pongs is closed after three times that. ccxt's own are up to 180 s."""
STATUSES = {RateLimitExceeded: 429, DDoSProtection: 429, ExchangeNotAvailable: 503}
"""REST's answers that may say how long to wait, as ccxt raises them."""

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
        raw: RawFrames | None = None,
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
        records = LastRecords(sink)
        mapper = RecordMapper(
            self._exchange_id, pairs, settings.max_orderbook_depth, records, metrics, settings.ohlcv_timeframe
        )
        self._connections = Connections(
            mapper,
            sink,
            metrics,
            settings.silence_seconds,
            records.last_ns,
            self._connection_gone,
            self._trouble,
            self._pace.hold,
        )
        self.exchange = make_exchange(self._exchange_id, settings, secrets, self._connections, raw=raw)
        self.quotes = {
            channel: make_exchange(self._exchange_id, settings, secrets, self._connections, channel, raw)
            for channel in QUOTES
            if channel in self._asked
        }
        self._connections.exchanges = [self.exchange, *self.quotes.values()]

    async def run(self) -> None:
        await self._load_markets()
        options, depth, timeframe = (
            self._settings.options,
            self._settings.max_orderbook_depth,
            self._settings.ohlcv_timeframe,
        )
        planned = [
            plan(
                self.quotes.get(channel, self.exchange),
                self._exchange_id,
                {channel: symbols},
                options,
                depth,
                timeframe,
            )
            for channel, symbols in self._asked.items()
        ]
        self._refused = {pair: why for part in planned for pair, why in part.refused.items()}
        for pair, why in self._refused.items():
            self._metrics.errors["refused_subscription"] += 1
            _log.error(
                "subscription was refused", exchange=self.name, channel=pair.channel, symbol=pair.symbol, why=why
            )
        self._subscriptions = [self._subscription(call) for part in planned for call in part.calls]
        self.loaded.set()
        gc.collect()
        gc.freeze()  # a full collection of ccxt's markets takes 70 to 135 ms
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._connections.watch())
            for subscription in self._subscriptions:
                tasks.create_task(self._keep(subscription))

    def drain(self) -> None:
        """Frames are handed on as they come."""

    async def close(self) -> None:
        await self._connections.close()

    async def trades(self, symbol: str, since_ms: int | None) -> list[Trade]:
        """See `daedalus_collector.feeds.Fetching`."""
        if not self.exchange.has.get("fetchTrades"):
            raise RestError("ccxt fetches no trades of this exchange")
        try:
            told = await self.exchange.fetch_trades(symbol, since_ms, quirks.FETCHED_TRADES.get(self._exchange_id))
            now_ns = time.time_ns()
            trades = [msgspec.structs.replace(trade_record(trade, now_ns), source="backfill") for trade in told]
        except Exception as error:  # the edge of the connection: anything a strange answer does to ccxt
            raise RestError(f"{type(error).__name__}: {error}"[:200], self._failed(error)) from error
        return [trade for trade in trades if trade.id is not None and trade.timestamp_us is not None]

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
                delay = max(self._failed(error), backoff.failed(0.0))
                _log.warning(
                    "markets were not loaded", exchange=self.name, error=str(error)[:200], retry_seconds=round(delay, 1)
                )
                await asyncio.sleep(delay)
        self._loading = None
        for exchange in self.quotes.values():
            exchange.set_markets_from_exchange(self.exchange)
            exchange.options = {**self.exchange.options, **exchange.options}  # what load_markets found besides
            exchange.enableRateLimit = self.exchange.enableRateLimit
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

    def _subscription(self, call: WatchCall) -> Subscription:
        return Subscription(self.name, call, self._ingestion, self._pace, self._failed)

    async def _keep(self, subscription: Subscription) -> None:
        """A bulk call that is refused goes on as two halves, and so on until only what is refused is alone."""
        await subscription.keep()
        if subscription.state != "split":
            return
        halves = [self._subscription(call) for call in subscription.call.halves()]
        self._subscriptions.remove(subscription)
        self._subscriptions += halves
        async with asyncio.TaskGroup() as tasks:
            for half in halves:
                tasks.create_task(self._keep(half))

    def _failed(self, error: BaseException) -> float:
        """Count an error; how many seconds the exchange asked to be left alone, and nothing is subscribed meanwhile."""
        self._metrics.errors[type(error).__name__] += 1
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)
        if status is None:
            return 0.0
        seconds = retry_after_seconds(self.exchange.last_response_headers, status)
        self.exchange.last_response_headers = None  # told once
        self._pace.hold(seconds)
        return seconds


def make_exchange(
    exchange_id: str,
    settings: Exchange,
    secrets: Mapping[str, str],
    listener: Listener,
    quotes: str = "ticker",
    raw: RawFrames | None = None,
) -> Any:
    """A tapped ccxt.pro exchange, as configured; nothing is connected yet. `quotes`: see `tapped`."""
    exchange_class = tapped(corrected(loader.load(exchange_id), exchange_id), exchange_id, listener, quotes, raw)
    exchange_class = checked(exchange_class, exchange_id)
    if raw is not None and raw.only:
        exchange_class = unparsed(exchange_class)
    asked = {symbol for symbols in settings.channels.symbols().values() for symbol in symbols}
    exchange = slimmed(exchange_class, asked)(
        {
            "enableRateLimit": True,
            "enableLastHttpResponse": False,  # nobody reads it, and a list of markets is megabytes
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
