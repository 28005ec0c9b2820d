"""A feed on the simulator, without JetStream: what it records is kept in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry

from daedalus import wire
from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.records import Gap, Record
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Feed, Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits
from daedalus_collector.recorder import Recorder
from simulator import Simulator
from support.eventually import eventually


class Recorded:
    """A recorder with its outbox, and what has come out of it so far."""

    def __init__(self, pairs: Iterable[Pair], metrics: Metrics) -> None:
        limits = OutboxLimits(
            batch_records=1_000, batch_bytes=64_000, linger_ns=10**9, records=1_000_000, bytes=500_000_000
        )
        self._outbox = Outbox(metrics.exchange, "test", "boot", limits)
        self.recorder = Recorder(pairs, self._outbox, metrics)
        self._records: dict[Pair, list[Record]] = {}

    def records(self, channel: str, symbol: str) -> list[Record]:
        self._outbox.close_all()
        while self._outbox.closed:
            batch = self._outbox.closed.popleft()
            for part in wire.decode(batch.message).parts:
                kept = self._records.setdefault(Pair(batch.channel, part.symbol), [])
                kept += wire.decode_records(batch.channel, part.records)
        return self._records.get(Pair(channel, symbol), [])

    def gaps(self, symbol: str) -> list[Gap]:
        return [record for record in self.records("gap", symbol) if isinstance(record, Gap)]


F = TypeVar("F", bound=Feed)


class Running(NamedTuple, Generic[F]):
    feed: F
    recorded: Recorded
    metrics: Metrics


RunningFeed = Running[CcxtFeed]


SYMBOLS = {"binance": ("BTC/USDT", "ETH/USDT"), "coinbase": ("BTC/USD", "ETH/USD"), "kraken": ("BTC/USD", "ETH/USD")}


def settings(
    simulator: Simulator,
    symbols: Iterable[str],
    *,
    channels: Iterable[str] = ("ticker", "trade", "orderbook"),
    **more: object,
) -> Exchange:
    asked = list(symbols)
    return Exchange(
        channels=Channels(
            ticker=asked if "ticker" in channels else [],
            trade=asked if "trade" in channels else [],
            orderbook=asked if "orderbook" in channels else [],
        ),
        endpoint=simulator.url,
        options=ExchangeOptions(subscription_stagger_ms=20),
        max_orderbook_depth=10,
        **more,  # type: ignore[arg-type]  # keys of Exchange
    )


Make = Callable[[Ingestion, Recorder, Metrics], F]


@contextlib.asynccontextmanager
async def running_feed(
    name: str, exchange: Exchange, ingestion: Ingestion | None, make: Make[F]
) -> AsyncIterator[Running[F]]:
    """Run a feed for as long as the block lasts; an error of the feed fails the block."""
    metrics = Metrics(CollectorRegistry(), name)
    pairs = [Pair(channel, symbol) for channel, symbols in exchange.channels.symbols().items() for symbol in symbols]
    recorded = Recorded(pairs, metrics)
    feed = make(ingestion or Ingestion(reconnect_delay=0.2), recorded.recorder, metrics)
    task = asyncio.create_task(feed.run())
    try:
        yield Running(feed, recorded, metrics)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        await feed.close()


def running(
    name: str, exchange: Exchange, ingestion: Ingestion | None = None
) -> contextlib.AbstractAsyncContextManager[RunningFeed]:
    """Run the ccxt feed of an exchange."""

    def make(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> CcxtFeed:
        feed = CcxtFeed(name, exchange, ingestion, {}, recorder, metrics)
        feed.exchange.enableRateLimit = False  # Kraken's one request a second
        return feed

    return running_feed(name, exchange, ingestion, make)


async def subscribed(
    simulator: Simulator, exchange: str, channels: Iterable[str] = ("ticker", "trade", "orderbook")
) -> None:
    """Wait until every symbol of every channel is subscribed."""

    def done() -> bool:
        asked = simulator.counts().subscriptions[exchange]
        return all(set(asked.get(channel, ())) >= set(SYMBOLS[exchange]) for channel in channels)

    await eventually(done, f"{exchange} is subscribed")
