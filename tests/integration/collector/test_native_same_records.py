"""A native feed makes the same records of the same frames as ccxt with the tap does: field by field, one by one."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from aiohttp import WSMessage, WSMsgType
from prometheus_client import CollectorRegistry

from daedalus.config import Channels, Exchange, Ingestion
from daedalus.records import OrderBook, Trade
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.native import binance_frames, coinbase_frames
from support.frames import needs, recorded, simulated
from support.handlers import MARKETS, SYMBOLS, URLS, Kept, ThroughCcxt, ThroughNative
from support.scripts import SCRIPTS, Script

DEPTH = 20


async def both(exchange_id: str, frames: list[tuple[str, bytes]]) -> tuple[Kept, Kept]:
    """The same frames through each; a frame of stream '' is the REST snapshot of the book."""
    through_ccxt, through_native = Kept(), Kept()
    ccxt, native = ThroughCcxt(exchange_id, through_ccxt, DEPTH), ThroughNative(exchange_id, through_native, DEPTH)
    for stream, payload in frames:
        for handler in (ccxt, native):
            if stream:
                handler.take(payload)
            else:
                await handler.lay(payload)
    await ccxt.exchange.close()
    assert not ccxt.metrics.errors
    assert [*native.link.refusals, *native.link.lost_pairs, *native.link.discards] == []
    assert through_ccxt.interruptions == []
    return through_ccxt, through_native


def check_equal(exchange_id: str, ccxt: Kept, native: Kept, counts: dict[str, int]) -> None:
    symbol = SYMBOLS[exchange_id]
    for channel, count in counts.items():
        of_ccxt, of_native = ccxt.said(channel, symbol), native.said(channel, symbol)
        assert len(of_native) == count
        for number, (theirs, ours) in enumerate(zip(of_ccxt, of_native, strict=True)):
            assert ours == theirs, (channel, number)
    assert len(native.records) == len(ccxt.records)


@needs("binance")
async def test_recorded_binance_spot() -> None:
    """9,757 trades and every state of the book from its snapshot on."""
    frames = list(recorded("binance"))
    check_equal("binance", *await both("binance", frames), {"trade": 9_757, "orderbook": states("binance", frames)})


@needs("binanceusdm")
async def test_recorded_binance_futures() -> None:
    """21,313 trades and every state of the book: each change names the one before it."""
    frames = list(recorded("binanceusdm"))
    counts = {"trade": 21_313, "orderbook": states("binanceusdm", frames)}
    check_equal("binanceusdm", *await both("binanceusdm", frames), counts)


@needs("binanceusdm")
async def test_recorded_binance_futures_by_an_independent_reading() -> None:
    """Trades and the last book as plain JSON has them, with dicts for the book."""
    frames = list(recorded("binanceusdm"))
    kept = Kept()
    native = ThroughNative("binanceusdm", kept, DEPTH)
    expected: list[Trade] = []
    early, bids, asks, last, snapshot_id = [], {}, {}, 0, 0  # type: ignore[var-annotated]

    def change(said: dict[str, Any]) -> int:
        for levels, changes in ((bids, said["b"]), (asks, said["a"])):
            levels.update((float(price), float(amount)) for price, amount in changes)
            for price, amount in changes:
                if not float(amount):
                    del levels[float(price)]
        return int(said["u"])

    for stream, payload in frames:
        said = msgspec.json.decode(payload)
        if stream.endswith("@trade"):
            side = "sell" if said["m"] else "buy"
            expected.append(Trade(0, said["T"] * 1_000, str(said["t"]), float(said["p"]), float(said["q"]), side))  # type: ignore[arg-type]
        elif not stream:
            bids, asks = {float(p): float(q) for p, q in said["bids"]}, {float(p): float(q) for p, q in said["asks"]}
            snapshot_id = said["lastUpdateId"]
            for before in early:
                last = change(before) if before["u"] >= snapshot_id else last
        elif not bids:
            early.append(said)
        elif said["u"] >= snapshot_id:
            last = change(said)
        await native.lay(payload) if not stream else native.take(payload)
    assert kept.said("trade", SYMBOLS["binanceusdm"]) == expected
    book = kept.said("orderbook", SYMBOLS["binanceusdm"])[-1]
    assert isinstance(book, OrderBook)
    assert book.nonce == last
    best = sorted(bids.items(), reverse=True)[:DEPTH]
    assert (book.bid_prices, book.bid_amounts) == tuple(
        struct.pack("<20d", *column) for column in zip(*best, strict=True)
    )
    best = sorted(asks.items())[:DEPTH]
    assert (book.ask_prices, book.ask_amounts) == tuple(
        struct.pack("<20d", *column) for column in zip(*best, strict=True)
    )


def states(exchange_id: str, frames: list[tuple[str, bytes]]) -> int:
    """How many states the book has: one for the snapshot, one for each later change."""
    snapshot_id: int = next(msgspec.json.decode(payload)["lastUpdateId"] for stream, payload in frames if not stream)
    at = next(number for number, (stream, _) in enumerate(frames) if not stream)
    later: list[int] = [msgspec.json.decode(payload)["u"] for stream, payload in frames[at:] if "@depth" in stream]
    futures = exchange_id == "binanceusdm"
    return 1 + sum(last_id >= snapshot_id if futures else last_id > snapshot_id for last_id in later)


async def test_simulated_binance_tickers() -> None:
    """24hrTicker, which the recordings have none of."""
    subscribe = [{"method": "SUBSCRIBE", "params": ["btcusdt@ticker", "btcusdt@trade"], "id": 1}]
    frames = await simulated("binance", "BTC/USDT", URLS["binance"], subscribe, ["ticker", "trade"], 500)
    frames = [frame for frame in frames if b'"result"' not in frame]
    check_equal("binance", *await both("binance", [("x", frame) for frame in frames]), {"ticker": 500, "trade": 500})


async def test_simulated_coinbase() -> None:
    """Trades, tickers and books, from their snapshots on."""
    subscribe = [
        {"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD"]}
        for channel in ("market_trades", "ticker", "level2")
    ]
    frames = await simulated(
        "coinbase", "BTC/USD", URLS["coinbase"], subscribe, ["trade", "ticker", "orderbook"], 1_000
    )
    entries = [msgspec.json.decode(frame) for frame in frames]
    counts = {
        "trade": sum(len(e["trades"]) for f in entries for e in f["events"] if f["channel"] == "market_trades"),
        "ticker": 1_001,
        "orderbook": 1_001,
    }
    check_equal("coinbase", *await both("coinbase", [("x", frame) for frame in frames]), counts)


def through_ccxt(exchange_id: str, script: Script) -> tuple[Kept, dict[str, Any]]:
    """Where the records go, and the connection for each channel: quotes have their own."""
    kept = Kept()
    channels = Channels(**{channel: [script.symbol] for channel in script.expected})
    metrics = Metrics(CollectorRegistry(), exchange_id)
    feed = CcxtFeed(exchange_id, Exchange(channels=channels), Ingestion(), {}, kept, metrics)
    exchanges = {channel: feed.quotes.get(channel, feed.exchange) for channel in script.expected}
    for exchange in {id(exchange): exchange for exchange in exchanges.values()}.values():
        exchange.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # load_markets fetches them
        exchange.set_markets([exchange.parse_market(MARKETS[exchange_id])])
    return kept, {channel: exchange.client(URLS[exchange_id]) for channel, exchange in exchanges.items()}


@pytest.mark.parametrize("exchange_id", ["binance", "binanceusdm"])
async def test_scripted_binance(exchange_id: str) -> None:
    """Best bids and asks, candles, mark prices and liquidations; a funding rate, which only the native feed reads, as it was
    said."""
    script = SCRIPTS[exchange_id](200)
    kept, clients = through_ccxt(exchange_id, script)
    through_native = Kept()
    native = ThroughNative(
        exchange_id, through_native, DEPTH, [Pair(channel, script.symbol) for channel in script.expected]
    )
    for stream, payload in script.frames:
        channel = {"bookTicker": "bidask", "kline_1m": "ohlcv", "forceOrder": "liquidation"}.get(stream.split("@")[1])
        clients[channel or "markprice"].handle_message(WSMessage(WSMsgType.TEXT, payload, None))
        native.take(payload.encode())
    for client in clients.values():
        await client.owner.close()
    for channel, records in script.expected.items():
        assert through_native.said(channel, script.symbol) == records
        if channel != "funding":
            assert kept.said(channel, script.symbol) == records


SPECIAL = [
    # ccxt's own example of an empty ticker, a time without a fraction, one with nanoseconds, an unknown side
    '{"channel":"ticker","timestamp":"2024-05-24T18:22:24.546809523Z","sequence_num":1,"events":[{"type":"snapshot","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"","volume_24_h":"","low_24_h":"","high_24_h":"","low_52_w":"","high_52_w":"","price_percent_chg_24_h":""}]}]}',
    '{"channel":"market_trades","client_id":"","timestamp":"2023-02-09T20:19:35.39625135Z","sequence_num":2,"events":[{"type":"snapshot","trades":[{"trade_id":"000000000","product_id":"BTC-USD","price":"1260.01","size":"0.3","side":"BUY","time":"2019-08-14T20:42:27.265Z"}]}]}',
    '{"channel":"market_trades","timestamp":"2023-02-09T20:19:35Z","sequence_num":3,"events":[{"type":"update","trades":[{"trade_id":"2","product_id":"BTC-USD","price":"1260.01","size":"0.3","side":"UNKNOWN_ORDER_SIDE","time":"2019-08-14T20:42:27Z"},{"trade_id":"1","product_id":"BTC-USD","price":"1260.02","size":"3","side":"SELL","time":"2019-08-14T20:42:27.9Z"}]}]}',
    '{"channel":"l2_data","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":4,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"5","new_quantity":"1"}]}]}',
    '{"channel":"l2_data","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":5,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.74","new_quantity":"0.06317902"},{"side":"offer","event_time":"1970-01-01T00:00:00Z","price_level":"21921.75","new_quantity":"0.02"}]},{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2023-02-09T20:32:50Z","price_level":"21921.75","new_quantity":"0.00000000"}]}]}',
    '{"channel":"heartbeats","client_id":"","timestamp":"2023-06-23T20:31:26.122969572Z","sequence_num":6,"events":[{"current_time":"2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105","heartbeat_counter":"3049"}]}',
    '{"channel":"heartbeats","timestamp":"2023-06-23T20:31:26.122969572Z","sequence_num":7,"events":[{"current_time":"2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105","heartbeat_counter":3050}]}',
]  # fmt: skip


async def test_coinbase_frames_that_are_out_of_the_ordinary() -> None:
    """Empty tickers, times of any precision, unknown sides, a change without a snapshot, both forms of a heartbeat."""
    through_ccxt, through_native = Kept(), Kept()
    ccxt, native = ThroughCcxt("coinbase", through_ccxt), ThroughNative("coinbase", through_native)
    for frame in SPECIAL:
        ccxt.take(frame.encode())
        native.take(frame.encode())
    await ccxt.exchange.close()
    check_equal("coinbase", through_ccxt, through_native, {"ticker": 1, "trade": 3, "orderbook": 2})
    assert native.link.discards == [("orderbook", "no_snapshot")]


@pytest.mark.parametrize("exchange_id", ["binance", "binanceusdm", "coinbase"])
async def test_markets_have_ccxts_symbols(exchange_id: str) -> None:
    """Unified symbol and the exchange's own name, also of renamed currencies, dated futures and what looks like them."""
    market = MARKETS[exchange_id]
    if exchange_id == "coinbase":
        assets = (("BTC", "USDC"), ("CGLD", "EUR"), ("XBT", "USD"), ("USDT", "USDC"))
        markets = [
            market | {"product_id": f"{base}-{quote}", "base_currency_id": base, "quote_currency_id": quote}
            for base, quote in assets
        ]
        found = coinbase_frames.market_ids(msgspec.json.encode({"products": markets}))
    else:
        assets = (("BTC", "USDT"), ("YOYO", "BTC"), ("BCHSV", "BNB"), ("BCC", "BTC"))
        markets = [market | {"symbol": base + quote, "baseAsset": base, "quoteAsset": quote} for base, quote in assets]
        if exchange_id == "binanceusdm":
            dated = {"symbol": "BTCUSDT_240329", "contractType": "CURRENT_QUARTER", "deliveryDate": 1711699200000}
            markets += [market | dated, market | {"symbol": "BTCSTUSDT", "baseAsset": "BTCST", "contractType": ""}]
        found = binance_frames.market_ids(msgspec.json.encode({"symbols": markets}))
    exchange = ThroughCcxt(exchange_id, Kept()).exchange
    parsed = [
        exchange.parse_spot_market(one, {}) if exchange_id == "coinbase" else exchange.parse_market(one)
        for one in markets
    ]
    await exchange.close()
    assert found == {one["symbol"]: one["id"] for one in parsed}
