"""Frames as they came: every one, numbered without holes, and enough to read history again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import msgspec
import pytest
import yaml
from aiohttp import WSMessage, WSMsgType
from prometheus_client import CollectorRegistry

from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.records import EVERY_SYMBOL, Gap, RawFrame, Record
from daedalus_collector import feeds
from daedalus_collector.ccxt_feed import CcxtFeed, make_exchange
from daedalus_collector.feed import RAW, Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.raw_frames import RawFrames
from daedalus_collector.record_mapper import RecordMapper
from daedalus_collector.recorder import Recorder
from daedalus_writer.segment_file import read_rows
from simulator import Fault, Rates, Simulator
from simulator.recorded_exchange import RecordedExchange
from support.eventually import eventually
from support.feeds import Running, running_feed
from support.handlers import Kept, ThroughNative
from support.nats import NatsServer
from support.processes import Process
from support.recorded import recorded
from support.scripts import SCRIPTS, Script

Connections = dict[str, list[RawFrame]]


@contextlib.asynccontextmanager
async def running(exchange_id: str, asked: Exchange) -> AsyncIterator[Running[feeds.AnyFeed]]:
    def make(ingestion: Ingestion, recorder: Recorder, metrics: Metrics) -> feeds.AnyFeed:
        raw = RawFrames(recorder, "run", itertools.count(), only=asked.raw == "only")
        made = feeds.make(exchange_id, asked, ingestion, {}, recorder, metrics, raw)
        if isinstance(made, CcxtFeed):
            made.exchange.enableRateLimit = False
        return made

    async with running_feed(exchange_id, asked, None, make) as run:
        yield run


def settings(script: Script, channels: Iterable[str], endpoint: str, feed: str, raw: str) -> Exchange:
    return Exchange(
        channels=Channels(**{channel: [script.symbol] for channel in channels}),
        endpoint=endpoint,
        feed=feed,  # type: ignore[arg-type]  # a Literal
        raw=raw,  # type: ignore[arg-type]  # a Literal
        max_orderbook_depth=10,
        options=ExchangeOptions(subscription_stagger_ms=0, max_concurrent_subscriptions=100),
    )


async def said(
    exchange_id: str, script: Script, channels: Iterable[str], feed: str, raw: str, more: Iterable[str] = ()
) -> tuple[Running[feeds.AnyFeed], int]:
    """Everything that the script says, and `more` to everybody; how many frames that is."""
    async with RecordedExchange(script.speech, script.rest) as exchange:
        async with running(exchange_id, settings(script, channels, exchange.url, feed, raw)) as run:
            await eventually(lambda: exchange.streams >= {stream for stream, _ in script.frames}, "all is subscribed")
            for stream, payload in [*script.frames, *(("", text) for text in more)]:
                await exchange.send(stream, payload.encode())
            await eventually(lambda: run.feed.frames() == exchange.sent, "every frame was read")
        return run, exchange.sent


def connections(run: Running[feeds.AnyFeed]) -> Connections:
    found: Connections = {}
    for frame in run.recorded.records(*RAW):
        assert isinstance(frame, RawFrame)
        found.setdefault(frame.connection, []).append(frame)
    for frames in found.values():
        assert [frame.number for frame in frames] == list(range(len(frames)))
    return found


def frames_of(run: Running[feeds.AnyFeed]) -> list[bytes]:
    return [frame.frame for frames in connections(run).values() for frame in frames]


@pytest.mark.parametrize(("exchange_id", "feed"), [("binance", "native"), ("binance", "ccxt"), ("okx", "ccxt")])
async def test_every_frame_is_recorded_beside_what_is_parsed(exchange_id: str, feed: str) -> None:
    """Acknowledgements too, byte for byte and in the order of each connection."""
    script = SCRIPTS[exchange_id]()
    run, sent = await said(exchange_id, script, script.expected, feed, "also")
    found = frames_of(run)
    assert len(found) == sent
    streams = {stream for stream, _ in script.frames}
    for stream in streams:
        payloads = [payload.encode() for name, payload in script.frames if name == stream]
        of_stream = set(payloads)
        assert [frame for frame in found if frame in of_stream] == payloads
    for channel, records in script.expected.items():
        assert len(run.recorded.records(channel, script.symbol)) == len(records)
    assert not run.recorded.gaps(EVERY_SYMBOL)


async def test_an_unreadable_frame_is_recorded() -> None:
    """As it came, though nothing could be made of it; the parsed pairs have their gap, the frames have none."""
    script, broken = SCRIPTS["binance"](), '{"e":"trade","s":"BTCUS'
    for feed in ("native", "ccxt"):
        run, _ = await said("binance", script, ["bidask", "ohlcv"], feed, "also", [broken])
        assert broken.encode() in frames_of(run)
        assert run.metrics.errors["bad_frame"]
        assert not run.recorded.gaps(EVERY_SYMBOL)


class _Rereading:
    """The tap's listener: what frames become without a connection."""

    def __init__(self, mapper: RecordMapper) -> None:
        self.on_result = mapper.take

    def fails(self, *told: object) -> None:
        raise AssertionError(told)

    on_connected = on_lost = on_bad_frame = on_error = fails


async def reread(run: Running[feeds.AnyFeed], exchange_id: str, pairs: list[Pair]) -> Kept:
    """The recorded frames through ccxt's handlers, each connection on its own."""
    assert isinstance(run.feed, CcxtFeed)
    kept = Kept()
    mapper = RecordMapper(exchange_id, pairs, 10, kept, Metrics(CollectorRegistry(), exchange_id))
    for frames in connections(run).values():
        text = b"".join(frame.frame for frame in frames)
        quotes = "bidask" if b"bbo-tbt" in text else "markprice" if b'"mark-price"' in text else "ticker"
        exchange = make_exchange(exchange_id, Exchange(), {}, _Rereading(mapper), quotes)
        exchange.set_markets_from_exchange(run.feed.exchange)
        client = exchange.client("wss://ws.okx.com:8443/ws/v5/public")
        for frame in frames:
            client.handle_message(WSMessage(WSMsgType.TEXT, frame.frame.decode(), None))
        await exchange.close()
    return kept


@pytest.mark.parametrize("raw", ["also", "only"])
async def test_recorded_frames_read_again_through_ccxt_are_the_same_records(raw: str) -> None:
    """Five channels of OKX, by another mapper later, as after a parser's mistake; recorded beside parsing or without."""
    script = SCRIPTS["okx"]()
    run, _ = await said("okx", script, script.expected, "ccxt", raw)
    kept = await reread(run, "okx", [Pair(channel, script.symbol) for channel in script.expected])
    for channel, records in script.expected.items():
        assert kept.said(channel, script.symbol) == records, channel
        assert len(run.recorded.records(channel, script.symbol)) == (0 if raw == "only" else len(records))


async def test_recorded_frames_read_again_natively_are_the_same_records() -> None:
    """Coinbase's trades, tickers and books, from the snapshots on, to the nanosecond of the receive time; and the frames of a
    connection that was lost are in a gap of their own, which the next connection ends."""
    symbol, channels = "BTC/USD", ("trade", "ticker", "orderbook")
    async with Simulator(["coinbase"], symbols={"coinbase": [symbol]}, rates=Rates(50, 20, 50)) as simulator:
        asked = Exchange(
            channels=Channels(**{channel: [symbol] for channel in channels}), endpoint=simulator.url, raw="also"
        )
        asked = msgspec.structs.replace(asked, max_orderbook_depth=20)
        async with running("coinbase", asked) as run:
            await eventually(lambda: run.metrics.received["orderbook"] > 30, "data flow")
            assert simulator.fault(Fault("coinbase", "close")) == 1
            await eventually(lambda: run.metrics.reconnects == 1, "the connection was lost")
            before = run.metrics.received["orderbook"]
            await eventually(lambda: run.metrics.received["orderbook"] > before + 30, "data flow again")
    found = connections(run)
    assert list(found) == ["run.0.0", "run.0.1"]
    kept = Kept()
    for frames in found.values():
        native = ThroughNative("coinbase", kept, 20)
        for frame in frames:
            native.session.take(frame.frame, frame.received_ns)
    for channel in ("ticker", "orderbook"):
        assert kept.records[Pair(channel, symbol)] == run.recorded.records(channel, symbol)
    trades: dict[object, Record] = {}
    for trade in kept.records[Pair("trade", symbol)]:
        trades.setdefault(getattr(trade, "id", None), trade)  # the last ones come again with the next connection
    assert list(trades.values()) == run.recorded.records("trade", symbol)
    (gap,) = run.recorded.gaps(EVERY_SYMBOL)
    assert (gap.channel, gap.cause) == ("raw", "connection_lost")
    assert gap.detail.startswith("connection run.0.0: ")
    assert gap.from_ns == found["run.0.0"][-1].received_ns
    assert gap.to_ns == found["run.0.1"][0].received_ns


@pytest.mark.parametrize("feed", ["native", "ccxt"])
async def test_only_frames_are_recorded(feed: str) -> None:
    """Nothing is parsed, no gap is written for what is not recorded, and Binance is not asked for a book over REST."""
    script, paths = SCRIPTS["binance"](), []
    depth = '{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":5,"u":6,"b":[["1.5","2.5"]],"a":[]}'
    rest = script.rest

    def asked(path: str, query: Mapping[str, str]) -> bytes | None:
        paths.append(path)
        return rest(path, query)

    script = script._replace(rest=asked, frames=[*script.frames, ("btcusdt@depth@100ms", depth)])
    run, sent = await said("binance", script, ["bidask", "ohlcv", "orderbook"], feed, "only", ['{"e":"trade'])
    assert len(frames_of(run)) == sent
    assert {channel for channel, count in run.metrics.received.items() if count} == {"raw"}
    assert not run.recorded.gaps(EVERY_SYMBOL)
    assert not run.recorded.gaps(script.symbol)
    assert "/api/v3/exchangeInfo" in paths
    assert "/api/v3/depth" not in paths
    assert run.feed.problems() == {}


async def test_frames_of_a_process_are_in_jetstream_and_in_files(tmp_path: Path, nats_server: NatsServer) -> None:
    """Under the symbol of all symbols, through a crash: between the runs there is a gap, and no other channel has anything."""
    async with Simulator(["coinbase"], symbols={"coinbase": ["BTC/USD"]}, rates=Rates(50, 20, 0)) as simulator:
        exchange = {"endpoint": simulator.url, "raw": "only", "channels": {"watchTrades": ["BTC/USD"]}}
        document = {"ccxt": {"exchanges": {"coinbase": exchange}}, "nats": {"url": nats_server.url}}
        document["storage"] = {"root": str(tmp_path / "data")}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        process = Process("collector", config, tmp_path, "--exchange", "coinbase")
        for number in range(2):
            process.start()
            await eventually(
                lambda: process.metric("daedalus_collector_sent_records_total") > 20, "frames are acknowledged"
            )
            if number == 0:
                await asyncio.to_thread(process.kill)
        assert await asyncio.to_thread(process.stop) == 0
    writer = Process("writer", config, tmp_path)
    writer.start()
    found = await recorded(nats_server.url)
    assert {channel for _, channel, _ in found} == {"raw", "gap"}
    frames = [frame for frame in found["coinbase", "raw", EVERY_SYMBOL] if isinstance(frame, RawFrame)]
    runs: dict[str, list[RawFrame]] = {}
    for frame in frames:
        runs.setdefault(frame.connection.partition(".")[0], []).append(frame)
    before, after = runs.values()
    gaps = [gap for gap in found["coinbase", "gap", EVERY_SYMBOL] if isinstance(gap, Gap)]
    (gap,) = (gap for gap in gaps if gap.cause == "collector_down")
    assert {gap.channel for gap in gaps} == {"raw"}
    assert gap.from_ns == before[-1].received_ns
    assert gap.to_ns >= after[0].received_ns, "until every connection is there"
    rows_read = len(frames) + len(gaps)
    await eventually(
        lambda: writer.metric("daedalus_writer_received_records_total") == rows_read, "everything was read"
    )
    assert await asyncio.to_thread(writer.stop) == 0
    ready = tmp_path / "data" / "raw" / "ready" / "ccxt" / "raw" / "exchange=coinbase" / "symbol=_2A"
    rows = [row for path in sorted(ready.rglob("*.parquet")) for row in read_rows(path)]
    told = [(row["received_ns"], row["connection"], row["number"], row["frame"]) for row in rows]
    assert told == [msgspec.structs.astuple(frame) for frame in frames]
