"""What an exchange's frames become, without a socket: through ccxt with the tap, and through the native session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import WSMessage, WSMsgType
from prometheus_client import CollectorRegistry

from daedalus.config import Channels, Exchange, ExchangeOptions, Ingestion
from daedalus.records import Record
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.binance_frames import decode_snapshot
from daedalus_collector.native.binance_session import BinanceSession, SpotQuoteSession
from daedalus_collector.native.binance_snapshots import Lay, Wanted
from daedalus_collector.native.coinbase_session import CoinbaseSession
from daedalus_collector.native.session import Request, Session

MARKETS: dict[str, dict[str, Any]] = {
    "binance": {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []},
    "binanceusdm": {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "filters": [],
    },
    "coinbase": {
        "product_id": "BTC-USD",
        "product_type": "SPOT",
        "base_currency_id": "BTC",
        "quote_currency_id": "USD",
        "trading_disabled": False,
    },
}
"""One market of each, as in its REST answer."""
SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT", "coinbase": "BTC/USD"}
CHANNELS = ("trade", "ticker", "orderbook")
URLS = {
    "binance": "wss://stream.binance.com:9443/ws/0",
    "binanceusdm": "wss://fstream.binance.com/public/ws/0",
    "coinbase": "wss://advanced-trade-ws.coinbase.com",
}


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.records: dict[Pair, list[Record]] = {}
        self.interruptions: list[tuple[tuple[Pair, ...], int, str, str]] = []

    def record(self, pair: Pair, record: Record) -> None:
        self.records.setdefault(pair, []).append(record)

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        self.interruptions.append((tuple(pairs), from_ns, cause, detail))

    def said(self, channel: str, symbol: str) -> list[Record]:
        """Everything about the records but when they were received."""
        return [
            msgspec.structs.replace(record, received_ns=0) for record in self.records.get(Pair(channel, symbol), [])
        ]


class Handler(Protocol):
    def take(self, frame: bytes) -> None: ...

    async def lay(self, snapshot: bytes) -> None:
        """The answer of Binance's REST to the question for a book."""


def settings(exchange_id: str, depth: int) -> Exchange:
    asked = [SYMBOLS[exchange_id]]
    return Exchange(channels=Channels(ticker=asked, trade=asked, orderbook=asked), max_orderbook_depth=depth)


class ThroughCcxt:
    def __init__(self, exchange_id: str, sink: Sink, depth: int = 20) -> None:
        self.metrics = Metrics(CollectorRegistry(), exchange_id)
        feed = CcxtFeed(exchange_id, settings(exchange_id, depth), Ingestion(), {}, sink, self.metrics)
        self.exchange = exchange = feed.exchange
        market, symbol = MARKETS[exchange_id], SYMBOLS[exchange_id]
        exchange.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # load_markets fetches them
        parsed = exchange.parse_spot_market(market, {}) if exchange_id == "coinbase" else exchange.parse_market(market)
        exchange.set_markets([parsed])
        self._client: Any = exchange.client(URLS[exchange_id])
        self._client.pairs.update(Pair(channel, symbol) for channel in CHANNELS)
        self._symbol = symbol
        self._type = "linear" if exchange_id == "binanceusdm" else "spot"
        if exchange_id != "coinbase":
            exchange.orderbooks[symbol] = exchange.order_book({}, 1_000)

    def take(self, frame: bytes) -> None:
        self._client.handle_message(WSMessage(WSMsgType.TEXT, frame.decode(), None))

    async def lay(self, snapshot: bytes) -> None:
        async def answer(*_: object) -> Any:
            response = msgspec.json.decode(snapshot)
            book = self.exchange.parse_order_book(response, self._symbol, response.get("T"))
            book["nonce"] = response["lastUpdateId"]
            return book

        self.exchange.fetch_rest_order_book_safe = answer
        subscription = {"symbol": self._symbol, "type": self._type, "limit": 1_000}
        await self.exchange.fetch_order_book_snapshot(self._client, {}, subscription)


class _Link:
    def __init__(self, sink: Sink) -> None:
        self.record = self.hand_on = sink.record
        self._sink = sink
        self.sent: list[tuple[Request, float]] = []
        self.lost_pairs: list[tuple[Pair, int, str, str]] = []
        self.refusals: list[tuple[Request | None, str]] = []
        self.discards: list[tuple[str, str]] = []

    def drain(self) -> None:
        """Frames are taken as they come."""

    def send(self, request: Request, after_seconds: float = 0.0) -> None:
        self.sent.append((request, after_seconds))

    def lost(self, pair: Pair, from_ns: int, kind: str, detail: str) -> None:
        self.lost_pairs.append((pair, from_ns, kind, detail))

    def refused(self, request: Request | None, why: str) -> None:
        self.refusals.append((request, why))

    def discarded(self, channel: str, cause: str) -> None:
        self.discards.append((channel, cause))


class _Snapshots:
    """In place of REST: what is wanted waits until `lay` is called."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []

    def want(self, market: str, lay: Lay) -> Wanted:
        self.wanted.append(Wanted(market, lay, None))  # type: ignore[arg-type]  # nothing is tried again here
        return self.wanted[-1]


class ThroughNative:
    """`clock_ns` is the receive time of each frame."""

    def __init__(self, exchange_id: str, sink: Sink, depth: int = 20, pairs: Sequence[Pair] | None = None) -> None:
        symbol = SYMBOLS[exchange_id]
        self.link = _Link(sink)
        self.snapshots = _Snapshots()
        pairs = pairs or [Pair(channel, symbol) for channel in CHANNELS]
        self.session: Session
        if exchange_id == "coinbase":
            ids = {pair.symbol: pair.symbol.replace("/", "-") for pair in pairs}
            self.session = CoinbaseSession(self.link, pairs, ids, depth, ExchangeOptions())
        else:
            quotes = exchange_id == "binance" and any(pair.channel == "bidask" for pair in pairs)
            self.session = (SpotQuoteSession if quotes else BinanceSession)(
                self.link,
                pairs,
                {symbol: "BTCUSDT"},
                depth,
                ExchangeOptions(),
                self.snapshots,  # type: ignore[arg-type]  # the same face
                futures=exchange_id == "binanceusdm",
            )
        for request in self.session.requests:
            self.session.sent(request)
        self.clock_ns = time.time_ns

    def take(self, frame: bytes) -> None:
        self.session.take(frame, self.clock_ns())

    async def lay(self, snapshot: bytes) -> None:
        if not self.snapshots.wanted:
            for request in self.session.requests:
                self.take(b'{"result":null,"id":%d}' % request.id)
        wanted = self.snapshots.wanted[-1]
        wanted.done = wanted.lay(decode_snapshot(snapshot), self.clock_ns())
