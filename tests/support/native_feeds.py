"""A native feed on the simulator, without JetStream: what it records is kept in memory."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from daedalus.config import Exchange, Ingestion
from daedalus_collector.native import FEEDS, NativeFeed
from support import feeds

SYMBOLS = {name: feeds.SYMBOLS[name] for name in ("binance", "coinbase")}
"""What is simulated of the exchanges that have a native feed."""

RunningFeed = feeds.Running[NativeFeed]


def running(
    name: str, exchange: Exchange, ingestion: Ingestion | None = None
) -> AbstractAsyncContextManager[RunningFeed]:
    """Run the native feed of an exchange."""
    return feeds.running_feed(
        name,
        exchange,
        ingestion,
        lambda ingestion, recorder, metrics: FEEDS[name](name, exchange, ingestion, {}, recorder, metrics),
    )
