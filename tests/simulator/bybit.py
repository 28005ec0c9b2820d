"""Bybit v5's public WebSocket sessions (stream.bybit.com/v5/public/spot) and REST paths, spot only.

``orderbook.<depth>`` sends a snapshot and then deltas of its depth, numbered by u without holes for each topic;
``orderbook.1`` sends snapshots only. A request takes ten topics, and one bad topic, or one that is subscribed already, refuses them all.
Sources: bybit-exchange.github.io/docs/v5/ws/connect and …/v5/websocket/public, read 2026-11; that u has no holes is said in
…/doc-v3-offline (orderbook) and measured by docs.rs/crate/tickvault/0.1.1 (venue/bybit.rs); that a repeated topic refuses
the whole request was measured in github.com/ccxt/ccxt/issues/30284.
Not simulated: the snapshot that orderbook.1 repeats after 3 s, the restart of a book at u = 1, limits on connections.
"""

from collections.abc import Mapping

import msgspec

from simulator import bybit_frames as frames
from simulator.book import Change
from simulator.connection import Connection
from simulator.exchange import Reply
from simulator.frame import Frame
from simulator.market import Market
from simulator.product import Product
from simulator.subscriptions import Subscriptions
from simulator.window import Window

DEPTHS = (1, 50, 200, 1000)
MOST_TOPICS = 10
# Of spot over REST: GET /v5/market/recent-trade.
MOST_TRADES = 60
# Of a request that is no JSON; Bybit answers it like any other.
ILLEGAL = "error:request expect json"


class Request(msgspec.Struct):
    op: str
    args: list[str] = []
    req_id: str | int | None = None


class Book(msgspec.Struct):
    """What every subscriber of one topic holds."""

    window: Window
    update: int = 1


class Bybit:
    name = "bybit"
    channels: Mapping[str, str] = {
        "publicTrade": "trade",
        "tickers": "ticker",
        **{f"orderbook.{depth}": "orderbook" for depth in DEPTHS},
    }

    def __init__(self, market: Market, subscriptions: Subscriptions) -> None:
        self.market, self.subscriptions = market, subscriptions
        self._products = {frames.market_id(product): product for product in market.products.values()}
        self._books: dict[tuple[str, int], Book] = {}
        self._decode = msgspec.json.Decoder(Request).decode

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        match path.strip("/"):
            case "v5/market/instruments-info":
                category = query.get("category", "")
                listed = self.market.products.values() if category == "spot" else ()
                return Reply(frames.instruments(category, listed, now_ns, self.market.delisted))
            case "v5/market/recent-trade":
                return self._trades(query)
            case "v5/market/time":
                time = {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}
                return Reply(msgspec.json.encode({"retCode": 0, "retMsg": "OK", "result": time}))
        return None

    def _trades(self, query: Mapping[str, str]) -> Reply:
        product = self._products.get(query.get("symbol", ""))
        if product is None or query.get("category") != "spot":
            return Reply(b'{"retCode":10001,"retMsg":"Not supported symbols","result":{},"retExtInfo":{},"time":0}')
        limit = min(MOST_TRADES, int(query.get("limit", MOST_TRADES)))
        return Reply(frames.rest_trades(product, self.market.last_trades(product.symbol, limit)))

    def accepts(self, path: str) -> bool:
        return path.strip("/") == "v5/public/spot"

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        """Bybit says nothing before it is asked."""

    def closed(self, connection: Connection) -> None:
        self.subscriptions.drop(connection)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        try:
            request = self._decode(text)
        except msgspec.MsgspecError:
            self._answer(connection, Request(""), ILLEGAL, success=False)
            return
        if request.op == "ping":
            self._answer(connection, request, "pong", pong=True)
            return
        reason = self._refusal(connection, request, now_ns)
        if reason:
            self._answer(connection, request, reason, success=False)
            return
        self._answer(connection, request, request.op)
        for topic in request.args:
            channel, product = self._parse(topic)
            assert product is not None
            if request.op == "unsubscribe":
                self.subscriptions.remove(connection, channel, product.symbol)
            else:
                self.subscriptions.add(connection, channel, product.symbol)
                self._send_first(connection, channel, product, now_ns)

    def _answer(
        self, connection: Connection, request: Request, ret_msg: str, *, success: bool = True, pong: bool = False
    ) -> None:
        request_id = None if request.req_id is None else str(request.req_id)
        payload = frames.answer(request.op, f"{connection.number:020x}", request_id, ret_msg=ret_msg, success=success)
        connection.send(Frame(payload, pong=pong))

    def _parse(self, topic: str) -> tuple[str, Product | None]:
        channel, _, name = topic.rpartition(".")
        return channel, self._products.get(name)

    def _refusal(self, connection: Connection, request: Request, now_ns: int) -> str:
        if request.op not in {"subscribe", "unsubscribe"}:
            return "error:invalid op"
        if request.op == "subscribe" and self.subscriptions.refused(now_ns):
            return "error:too many requests"
        if len(request.args) > MOST_TOPICS:
            return f"args size >{MOST_TOPICS}"
        for topic in request.args:
            channel, product = self._parse(topic)
            if channel not in self.channels:
                return f"error:handler not found,topic:{topic}"
            if product is None:
                return f"Invalid symbol :[{topic}]"
            if request.op == "subscribe" and (channel, product.symbol) in self.subscriptions.of(connection):
                return f"error:already subscribed,topic:{topic}"
        return ""

    def _send_first(self, connection: Connection, channel: str, product: Product, now_ns: int) -> None:
        """Trades have no first frame."""
        symbol = product.symbol
        if channel == "tickers":
            ticker = self.market.ticker(symbol, now_ns)
            connection.send(Frame(frames.ticker(product, ticker, now_ns), "ticker", symbol))
        elif self.channels[channel] == "orderbook":
            depth = int(channel.partition(".")[2])
            key, book = (symbol, depth), self.market.book(symbol)
            if key not in self._books:
                self._books[key] = Book(Window(book, depth, tells_all=True))
            self._books[key].window.move(book)  # it stood still while nobody was subscribed
            connection.send(self._book_frame(product, depth, None, now_ns))

    def _book_frame(self, product: Product, depth: int, changes: list[Change] | None, now_ns: int) -> Frame:
        book = self._books[product.symbol, depth]
        numbers = book.update, self.market.book(product.symbol).update_id
        payload = frames.book(product, depth, book.window, changes, numbers, now_ns)
        return Frame(payload, "orderbook", product.symbol)

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        return False

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        product = self.market.products[symbol]
        if channel == "orderbook":
            return self._fire_book(product, now_ns)
        if channel == "trade":
            trades = [self.market.trade(symbol, now_ns) for _ in range(self.market.batch_size(symbol))]
            ids = tuple(trade.id for trade in trades)
            wire_channel = "publicTrade"
            frame = Frame(frames.trades(product, trades, now_ns), "trade", symbol, trade_ids=ids)
        else:
            wire_channel = "tickers"
            frame = Frame(frames.ticker(product, self.market.ticker(symbol, now_ns), now_ns), "ticker", symbol)
        for connection in self.subscriptions.subscribers(wire_channel, symbol):
            connection.send(frame)
        return len(frame.trade_ids) or 1

    def _fire_book(self, product: Product, now_ns: int) -> int:
        """Every subscribed depth moves; those where nothing changed stay silent."""
        self.market.update_book(product.symbol)
        told = 0
        for depth in DEPTHS:
            connections = self.subscriptions.subscribers(f"orderbook.{depth}", product.symbol)
            if not connections:
                continue
            book = self._books[product.symbol, depth]
            changes = book.window.move(self.market.book(product.symbol))
            if not changes:
                continue
            book.update += 1
            frame = self._book_frame(product, depth, None if depth == 1 else changes, now_ns)
            for connection in connections:
                connection.send(frame)
            told = 1
        return told

    def beat(self, now_ns: int) -> None:
        """Bybit sends no heartbeats."""

    def error(self, now_ns: int) -> bytes:
        return frames.answer("", "simulated", None, ret_msg="error:system error", success=False)
