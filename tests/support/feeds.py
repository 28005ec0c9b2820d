"""A feed on the simulator, without JetStream: what it records is kept in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from prometheus_client import CollectorRegistry

from daedalus import wire
from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.records import Gap, Record
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Feed, Pair
from daedalus_collector.feeds import AnyFeed, make
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits
from daedalus_collector.recorder import Recorder
from simulator import Fault, Rates, Simulator
from simulator.faults import Kind
from simulator.sockets import Clients
from support.eventually import eventually


class Recorded:
    """A recorder with its outbox, and what has come out of it so far."""

    def __init__(self, pairs: Iterable[Pair], metrics: Metrics, raw: Literal["none", "also", "only"] = "none") -> None:
        limits = OutboxLimits(
            batch_records=1_000, batch_bytes=64_000, linger_ns=10**9, records=1_000_000, bytes=500_000_000
        )
        self._outbox = Outbox(metrics.exchange, "test", "boot", limits)
        self.recorder = Recorder(pairs, self._outbox, metrics, raw=raw)
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


RunningFeed = Running[AnyFeed]
FeedName = Literal["ccxt", "native"]

SYMBOLS = {
    "binance": ("BTC/USDT", "ETH/USDT"),
    "bybit": ("BTC/USDT", "ETH/USDT"),
    "coinbase": ("BTC/USD", "ETH/USD"),
    "kraken": ("BTC/USD", "ETH/USD"),
    "okx": ("BTC/USDT", "ETH/USDT"),
}
"""Of every simulated exchange."""
EXCHANGES: dict[FeedName, tuple[str, ...]] = {"ccxt": tuple(SYMBOLS), "native": ("binance", "coinbase")}
"""What each feed records of them."""
CHANNELS = ("trade", "ticker", "orderbook")


def settings(
    simulator: Simulator,
    symbols: Iterable[str],
    *,
    channels: Iterable[str] = CHANNELS,
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
    recorded = Recorded(pairs, metrics, exchange.raw)
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
    name: str, exchange: Exchange, ingestion: Ingestion | None = None, feed: FeedName = "ccxt"
) -> contextlib.AbstractAsyncContextManager[RunningFeed]:
    """Run a feed of an exchange."""

    def make_one(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> AnyFeed:
        made = make(name, msgspec.structs.replace(exchange, feed=feed), ingestion, {}, recorder, metrics)
        assert isinstance(made, CcxtFeed) == (feed == "ccxt")
        if isinstance(made, CcxtFeed):
            made.exchange.enableRateLimit = False  # Kraken's one request a second
        return made

    return running_feed(name, exchange, ingestion, make_one)


class Simulated(NamedTuple):
    """One exchange through one feed."""

    exchange: str
    feed: FeedName
    simulator: Simulator
    run: RunningFeed

    def __str__(self) -> str:
        return f"{self.exchange} through {self.feed}"

    @property
    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS[self.exchange]

    @property
    def clients(self) -> Clients:
        """The simulator's word on the connections."""
        return self.simulator.counts().connections[self.exchange]

    def counts(self, channels: Iterable[str] = CHANNELS) -> dict[Pair, int]:
        """What was recorded so far."""
        pairs = [Pair(channel, symbol) for channel in channels for symbol in self.symbols]
        return {pair: len(self.run.recorded.records(*pair)) for pair in pairs}

    def missing(self) -> dict[Pair, tuple[int, int]]:
        """Pair → (sent, recorded), where they differ."""
        sent = {pair: self.simulator.count(self.exchange, *pair).records for pair in self.counts()}
        return {pair: (sent[pair], count) for pair, count in self.counts().items() if sent[pair] != count}

    def strike(self, fault: Kind, **more: Any) -> int:
        """How many connections it struck."""
        return self.simulator.fault(Fault(self.exchange, fault, **more))

    async def subscribed(self, channels: Iterable[str] = CHANNELS) -> None:
        await subscribed(self.simulator, self.exchange, channels)

    async def flows(self, channels: Iterable[str] = CHANNELS) -> None:
        """Wait until every symbol and channel has new records."""
        before = self.counts(channels)
        await eventually(
            lambda: all(count > before[pair] + 2 for pair, count in self.counts(channels).items()),
            f"every pair of {self} has new data",
        )


@contextlib.asynccontextmanager
async def simulated(
    rates: Rates,
    *,
    exchanges: Mapping[FeedName, Iterable[str]] = EXCHANGES,
    ingestion: Ingestion | None = None,
    struck: Fault | None = None,
    besides: Iterable[str] = (),
    **more: Any,
) -> AsyncIterator[list[Simulated]]:
    """Exchanges with their feeds, one simulator for each feed; `more` is of `settings`. Nothing is waited for. With `struck`
    that fault, of whatever exchange, befalls each before its feed starts. `besides` are bases that no exchange lists, asked
    for as well.
    """
    async with contextlib.AsyncExitStack() as simulators:
        found, closing = [], []
        try:
            for feed, names in exchanges.items():
                symbols = {name: SYMBOLS[name] for name in names}
                simulator = await simulators.enter_async_context(
                    Simulator(list(symbols), symbols=symbols, rates=rates, levels=50)
                )
                for name in symbols:
                    if struck is not None:
                        simulator.fault(msgspec.structs.replace(struck, exchange=name))
                    asked = [*SYMBOLS[name], *(SYMBOLS[name][0].replace("BTC", base) for base in besides)]
                    feeds = contextlib.AsyncExitStack()
                    closing.append(feeds)
                    exchange = settings(simulator, asked, **more)
                    run = await feeds.enter_async_context(running(name, exchange, ingestion, feed))
                    found.append(Simulated(name, feed, simulator, run))
            yield found
        finally:
            await asyncio.gather(*(feeds.aclose() for feeds in closing))


async def subscribed(simulator: Simulator, exchange: str, channels: Iterable[str] = CHANNELS) -> None:
    """Wait until every symbol of every channel is subscribed."""

    def done() -> bool:
        asked = simulator.counts().subscriptions[exchange]
        return all(set(asked.get(channel, ())) >= set(SYMBOLS[exchange]) for channel in channels)

    await eventually(done, f"{exchange} is subscribed")
