"""Best bids and asks, candles, funding rates, mark prices and liquidations: what an exchange said is what is recorded, each
state once, whichever feed took it."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus_collector import feeds
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.recorder import Recorder
from simulator.recorded_exchange import RecordedExchange
from support.eventually import eventually
from support.feeds import Running, running_feed
from support.scripts import SCRIPTS, Script

FEEDS = [("binance", "native"), ("binanceusdm", "native"), *((exchange_id, "ccxt") for exchange_id in SCRIPTS)]
MISSING = {("binanceusdm", "ccxt"): {"funding"}}
"""What ccxt does not stream."""


async def recorded(exchange_id: str, script: Script, feed: str, channels: set[str]) -> Running[feeds.AnyFeed]:
    """Everything that the script says at full speed."""
    async with RecordedExchange(script.speech, script.rest) as exchange:
        asked = Exchange(
            channels=Channels(**{channel: [script.symbol] for channel in channels}),
            endpoint=exchange.url,
            feed=feed,  # type: ignore[arg-type]  # a Literal
            max_orderbook_depth=10,
            options=ExchangeOptions(subscription_stagger_ms=0, max_concurrent_subscriptions=100),
        )

        def make(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> feeds.AnyFeed:
            made = feeds.make(exchange_id, asked, ingestion, {}, recorder, metrics)
            assert isinstance(made, CcxtFeed) == (feed == "ccxt")
            if isinstance(made, CcxtFeed):
                made.exchange.enableRateLimit = False
            return made

        async with running_feed(exchange_id, asked, None, make) as running:
            wanted = {stream for stream, _ in script.frames}
            await eventually(lambda: exchange.streams >= wanted, f"{wanted} are subscribed, not {exchange.streams}")
            for stream, payload in script.frames:
                await exchange.send(stream, payload.encode())
            await eventually(lambda: running.feed.frames() == exchange.sent, "every frame was read")
    return running


@pytest.mark.parametrize(("exchange_id", "feed"), FEEDS)
async def test_each_state_is_recorded_once_as_it_was_said(exchange_id: str, feed: str) -> None:
    """Field by field, in order, nothing else and no gap; the channels of one exchange beside each other."""
    script = SCRIPTS[exchange_id]()
    channels = script.expected.keys() - MISSING.get((exchange_id, feed), set())
    run = await recorded(exchange_id, script, feed, channels)
    assert run.feed.problems() == {}
    for channel in sorted(channels):
        found = run.recorded.records(*Pair(channel, script.symbol))
        told = [msgspec.structs.replace(record, received_ns=0) for record in found]
        assert told == script.expected[channel], channel
        assert all(record.received_ns for record in found)
    assert run.recorded.gaps(script.symbol) == []
    assert not run.metrics.errors
    assert {channel for channel, count in run.metrics.received.items() if count} == channels


async def test_candles_do_not_pile_up_in_ccxt() -> None:
    """Its cache is empty after each state."""
    run = await recorded("okx", SCRIPTS["okx"](), "ccxt", {"ohlcv", "bidask", "funding", "markprice", "liquidation"})
    assert isinstance(run.feed, CcxtFeed)
    caches = [cache for by_timeframe in run.feed.exchange.ohlcvs.values() for cache in by_timeframe.values()]
    assert [len(cache) for cache in caches] == [0]


async def test_what_an_exchange_does_not_stream_is_refused() -> None:
    """With the reason; the rest is recorded."""
    script = SCRIPTS["binance"]()
    asked = Exchange(
        channels=Channels(ohlcv=[script.symbol], funding=[script.symbol]), feed="ccxt", ohlcv_timeframe="1m"
    )
    async with RecordedExchange(script.speech, script.rest) as exchange:
        asked = msgspec.structs.replace(asked, endpoint=exchange.url)

        def make(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> feeds.AnyFeed:
            return feeds.make("binance", asked, ingestion, {}, recorder, metrics)

        async with running_feed("binance", asked, None, make) as running:
            await eventually(lambda: exchange.streams == {"btcusdt@kline_1m"}, "candles are subscribed")
            assert "binance streams no funding (watchFundingRate)" in running.feed.problems()["funding BTC/USDT"]
