"""Which feed records an exchange: its own, where there is one, or ccxt's. ccxt is imported only where it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from daedalus.config import METHOD_CHANNELS, Exchange, Ingestion
from daedalus.errors import ConfigError
from daedalus.exchanges import ALIASES
from daedalus.records import Trade
from daedalus_collector.feed import Feed, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.native import FEEDS
from daedalus_collector.raw_frames import RawFrames


class AnyFeed(Feed, Protocol):
    """What the process needs of a feed besides."""

    loaded: asyncio.Event
    """Set when the markets are known."""

    def frames(self) -> int:
        """WebSocket data frames since the start."""


@runtime_checkable
class Fetching(Protocol):
    """A feed that can fetch trades of a while ago."""

    async def trades(self, symbol: str, since_ms: int | None) -> list[Trade]:
        """From then on, or the last ones; all with an id and a time, and marked as fetched. Raises RestError."""


def is_native(name: str, settings: Exchange) -> bool:
    """Whether the exchange of that configured name gets a native feed. Raises ConfigError."""
    feed = FEEDS.get(ALIASES.get(name, name))
    asked = settings.channels.symbols()
    strange: list[str] = []
    if feed is not None:
        strange = [symbol for symbols in asked.values() for symbol in symbols if not feed.takes(symbol)]
        strange += [method for method, channel in METHOD_CHANNELS.items() if channel in asked.keys() - feed.CHANNELS]
    if settings.feed == "native":
        where, there = f"ccxt.exchanges.{name}.feed", ", ".join(sorted(FEEDS))
        if feed is None:
            raise ConfigError([f"{where}: expected auto or ccxt (native feeds: {there}), was 'native'"])
        if strange:
            raise ConfigError([f"{where}: expected auto or ccxt for {strange[0]}, which is not native, was 'native'"])
    return (
        feed is not None
        and not strange
        and settings.feed != "ccxt"
        and not (settings.feed == "auto" and settings.options.ccxt)
    )


def make(
    name: str,
    settings: Exchange,
    ingestion: Ingestion,
    secrets: Mapping[str, str],
    sink: Sink,
    metrics: Metrics,
    raw: RawFrames | None = None,
) -> AnyFeed:
    """The feed of one exchange; nothing is connected yet. `raw`: where frames go as they come, if they are recorded.
    Raises ConfigError.
    """
    if is_native(name, settings):
        return FEEDS[ALIASES.get(name, name)](name, settings, ingestion, secrets, sink, metrics, raw)
    from daedalus_collector.ccxt_feed import CcxtFeed  # noqa: PLC0415  # 13 MB that a native feed does without

    return CcxtFeed(name, settings, ingestion, secrets, sink, metrics, raw)
