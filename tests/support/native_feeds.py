"""A native feed on the simulator, without JetStream: what it records is kept in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from daedalus.config import Exchange, Ingestion
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.native import FEEDS, NativeFeed
from support.feeds import SYMBOLS as ALL_SYMBOLS
from support.feeds import Recorded

SYMBOLS = {name: ALL_SYMBOLS[name] for name in ("binance", "coinbase")}
"""What is simulated of the exchanges that have a native feed."""


class RunningFeed(NamedTuple):
    feed: NativeFeed
    recorded: Recorded
    metrics: Metrics


@contextlib.asynccontextmanager
async def running(name: str, exchange: Exchange, ingestion: Ingestion | None = None) -> AsyncIterator[RunningFeed]:
    """Run a feed for as long as the block lasts; an error of the feed fails the block."""
    metrics = Metrics(CollectorRegistry(), name)
    pairs = [Pair(channel, symbol) for channel, symbols in exchange.channels.symbols().items() for symbol in symbols]
    recorded = Recorded(pairs, metrics)
    feed = FEEDS[name](name, exchange, ingestion or Ingestion(reconnect_delay=0.2), {}, recorded.recorder, metrics)
    task = asyncio.create_task(feed.run())
    try:
        yield RunningFeed(feed, recorded, metrics)
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        await feed.close()
