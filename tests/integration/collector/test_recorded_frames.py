"""Recorded frames of six exchanges through the whole feed: each record is what an independent reading of the frames has.

Of Binance's spot market all but the trades: they are followed into JetStream and Parquet in test_replay.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.records import Record
from daedalus_collector import feeds
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.metrics import Metrics
from daedalus_collector.recorder import Recorder
from simulator.recorded_exchange import RecordedExchange
from support.eventually import eventually
from support.feeds import Running, running_feed
from support.frames import FRAMES
from support.independent.said import DEPTH
from support.recordings import REST, SOURCES, Replay

CHANNELS = ("trade", "ticker", "orderbook", "bidask")


def settings(replay: Replay, endpoint: str, feed: str) -> Exchange:
    asked = {channel: list(replay.symbols) for channel in CHANNELS if getattr(replay.said, channel)}
    return Exchange(
        channels=Channels(**asked),
        endpoint=endpoint,
        feed=feed,  # type: ignore[arg-type]  # a Literal
        max_orderbook_depth=DEPTH,
        options=ExchangeOptions(subscription_stagger_ms=0, max_concurrent_subscriptions=100),
    )


async def played(exchange_id: str, replay: Replay, feed: str) -> Running[Any]:
    """Everything that the frames became."""
    async with RecordedExchange(replay.speech, replay.rest) as exchange:
        asked = settings(replay, exchange.url, feed)

        def make(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> feeds.AnyFeed:
            made = feeds.make(exchange_id, asked, ingestion, replay.secrets, recorder, metrics)
            assert isinstance(made, CcxtFeed) == (feed == "ccxt")
            if isinstance(made, CcxtFeed):
                made.exchange.enableRateLimit = False
            return made

        for stream, payload in replay.frames:
            if stream == REST:
                exchange.hold(payload.decode())
        async with running_feed(exchange_id, asked, None, make) as running:
            await play(replay, exchange, running)
    return running


async def play(replay: Replay, exchange: RecordedExchange, running: Running[Any]) -> None:
    """In the recorded order: a REST answer comes when all before it was read, and the rest when its book is there."""

    async def read() -> None:
        await eventually(lambda: running.feed.frames() == exchange.sent, "every frame was read")

    async def begun(symbol: str) -> None:
        await eventually(lambda: bool(running.recorded.records("orderbook", symbol)), f"the book of {symbol} has begun")

    wanted = {stream for stream, _ in replay.frames} - {REST, ""}
    await eventually(lambda: exchange.streams >= wanted, "everything is subscribed")
    for number, (stream, payload) in enumerate(replay.frames):
        if stream == REST:
            await read()
            exchange.release(payload.decode())
        else:
            await exchange.send(stream, payload)
        if (symbol := replay.first_books.get(number)) is not None:
            await begun(symbol)
    await read()


def as_ccxt_tells(record: Any) -> Any:
    """ccxt's times are milliseconds; Coinbase Exchange and Bitstamp print microseconds."""
    if record.timestamp_us is None:
        return record
    return msgspec.structs.replace(record, timestamp_us=record.timestamp_us // 1_000 * 1_000)


def check_equal(found: Sequence[Record], expected: Sequence[Record], what: str) -> None:
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
        assert msgspec.structs.replace(ours, received_ns=0) == as_ccxt_tells(theirs), (what, number)
    assert len(found) == len(expected), what
    assert all(before.received_ns <= after.received_ns for before, after in pairwise(found)), what


@pytest.mark.parametrize(
    ("exchange_id", "feed", "counts"),
    [
        ("binance", "ccxt", (0, 0, 925, 7_281)),
        ("binance", "native", (0, 0, 925, 7_281)),
        ("binanceusdm", "ccxt", (1_587, 0, 812, 7_595)),
        ("binanceusdm", "native", (1_587, 0, 812, 7_595)),
        ("coinbaseexchange", "ccxt", (107, 107, 9_729, 0)),
        ("okx", "ccxt", (74, 28, 290, 0)),
        ("bitstamp", "ccxt", (10, 0, 616, 0)),
        ("gemini", "ccxt", (516, 0, 655, 0)),
    ],
)
async def test_what_is_recorded_is_what_the_frames_say(
    exchange_id: str, feed: str, counts: tuple[int, int, int, int]
) -> None:
    """Every trade, every ticker and every state of every order book, one by one; `counts` are theirs. No gap, no error."""
    source = SOURCES[exchange_id]
    if missing := source.missing():
        pytest.skip(f"no recorded frames {', '.join(missing)} in {FRAMES}: set DAEDALUS_FRAMES")
    replay = source.read()
    for channel, count in zip(CHANNELS, counts, strict=True):
        assert sum(map(len, getattr(replay.said, channel).values())) == count, channel
    running = await played(exchange_id, replay, feed)
    for symbol in replay.symbols:
        for channel in CHANNELS:
            expected = getattr(replay.said, channel).get(symbol, [])
            check_equal(running.recorded.records(channel, symbol), expected, f"{channel} {symbol}")
        assert running.recorded.gaps(symbol) == []
    assert not running.metrics.errors
    assert not running.metrics.discarded
