"""Binance spot's WebSocket sessions (stream.binance.com:9443/ws/<n> and /stream) and public REST paths.

To make book states countable, a symbol's book stands still from a depth subscription until the REST snapshot for it was
served and a moment has passed: a quiet market is legal, and a client then sees the snapshot and every later delta as a
state of its own. ``early_deltas`` turns that off. Not simulated: limits on messages and streams, the 24 h disconnect.
Sources: developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and …/rest-api, read 2026-11.
"""

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from simulator import binance_frames as frames
from simulator.connection import Connection
from simulator.counts import Counts
from simulator.exchange import Reply
from simulator.fixed import NANOSECONDS
from simulator.frame import PING, Frame
from simulator.market import Market
from simulator.product import Product
from simulator.subscriptions import Subscriptions

# Binance pings every 20 s.
PING_NS = 20 * NANOSECONDS
# A client needs this long to parse the snapshot before the first delta.
SETTLE_NS = 300_000_000
# A client that subscribes to depth and never asks for the snapshot holds the book still for this long at most. Under
# its own rate limit ccxt needs 0.5 s for each snapshot of 1,000 levels, and asks for 200 symbols at a time.
SNAPSHOT_WAIT_NS = 120 * NANOSECONDS
DEPTHS = ("depth", "depth@100ms", "depth@1000ms")
TICKERS: Mapping[str, Callable[..., bytes]] = {"ticker": frames.ticker, "miniTicker": frames.mini_ticker}
FUTURES_INFO = ("fapi/v1/exchangeInfo", "dapi/v1/exchangeInfo")


class Request(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[str] = []


class Waiting(msgspec.Struct):
    """Depth subscriptions of one symbol whose REST snapshot is still to come, oldest first, and the end of the calm."""

    connections: deque[tuple[Connection, int]] = msgspec.field(default_factory=deque)
    release_ns: int = 0

    def forget(self, connection: Connection) -> None:
        if self.connections:
            self.connections = deque(entry for entry in self.connections if entry[0] is not connection)


class Binance:
    name = "binance"
    channels: Mapping[str, str] = {
        "trade": "trade",
        "ticker": "ticker",
        "miniTicker": "ticker",
        "bookTicker": "bidask",
        **dict.fromkeys(DEPTHS, "orderbook"),
    }

    def __init__(
        self, market: Market, subscriptions: Subscriptions, counts: Counts, *, early_deltas: bool = False
    ) -> None:
        self.market, self.subscriptions = market, subscriptions
        self._counts, self._early_deltas = counts, early_deltas
        self._products = {frames.market_id(product): product for product in market.products.values()}
        self._combined: dict[Connection, bool] = {}
        self._waiting: dict[str, Waiting] = {symbol: Waiting() for symbol in market.products}
        self._next_ping_ns = 0
        self._decode = msgspec.json.Decoder(Request).decode

    # -- REST

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        path = path.strip("/")
        if path == "api/v3/depth":
            return self._depth(query, now_ns)
        if path in {"api/v3/trades", "api/v3/historicalTrades"}:
            return self._trades(query)
        if path == "api/v3/exchangeInfo":
            return Reply(frames.exchange_info(self.market.products.values(), now_ns))
        if path in FUTURES_INFO:
            return Reply(frames.exchange_info((), now_ns))
        if path == "api/v3/time":
            return Reply(msgspec.json.encode({"serverTime": now_ns // 1_000_000}))
        return Reply(b"{}") if path == "api/v3/ping" else None

    def _depth(self, query: Mapping[str, str], now_ns: int) -> Reply:
        product = self._products.get(query.get("symbol", ""))
        limit = query.get("limit", "100")
        if product is None or not limit.isdigit():
            return Reply(b'{"code":-1121,"msg":"Invalid symbol."}', status=400)
        self.snapshot_served(product.symbol, now_ns)
        return Reply(frames.depth_snapshot(product, self.market.book(product.symbol), int(limit)))

    def _trades(self, query: Mapping[str, str]) -> Reply:
        """The last ones, or with `fromId` those from there on; 1,000 at the most."""
        product = self._products.get(query.get("symbol", ""))
        if product is None:
            return Reply(b'{"code":-1121,"msg":"Invalid symbol."}', status=400)
        limit, trades = min(1_000, int(query.get("limit", "500"))), self.market.history(product.symbol)
        if "fromId" in query:
            first = int(query["fromId"])
            return Reply(frames.rest_trades(product, [trade for trade in trades if trade.id >= first][:limit]))
        return Reply(frames.rest_trades(product, trades[-limit:]))

    def snapshot_served(self, symbol: str, now_ns: int) -> None:
        """The oldest waiting subscription has its snapshot: a book state. The book moves when none waits any more."""
        waiting = self._waiting[symbol]
        if waiting.connections:
            waiting.connections.popleft()
        if any(self.subscriptions.subscribers(depth, symbol) for depth in DEPTHS):
            self._counts.state(self.name, symbol, 1)
        waiting.release_ns = now_ns + SETTLE_NS

    # -- sessions

    def accepts(self, path: str) -> bool:
        return path.strip("/").partition("/")[0] in {"ws", "stream"}

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        first, _, rest = path.strip("/").partition("/")
        self._combined[connection] = first == "stream"
        streams = query.get("streams", "") if first == "stream" else rest
        for stream in streams.split("/"):
            if "@" in stream:
                self._subscribe(connection, stream, now_ns)

    def closed(self, connection: Connection) -> None:
        self.subscriptions.drop(connection)
        self._combined.pop(connection, None)
        for waiting in self._waiting.values():
            waiting.forget(connection)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        try:
            request = self._decode(text)
        except msgspec.MsgspecError as error:
            connection.send(Frame(frames.error(str(error))))
            return
        result: list[str] | None = None
        if request.method == "SUBSCRIBE" and self.subscriptions.refused(now_ns):
            connection.send(Frame(frames.error("too many requests", request.id)))
            return
        if request.method == "SUBSCRIBE":
            for stream in request.params:
                self._subscribe(connection, stream, now_ns)
        elif request.method == "UNSUBSCRIBE":
            for stream in request.params:
                product, channel = self.parse(stream)
                if product is not None:
                    self.subscriptions.remove(connection, channel, product.symbol)
                    self._waiting[product.symbol].forget(connection)
        elif request.method == "LIST_SUBSCRIPTIONS":
            result = [self.stream(channel, symbol) for channel, symbol in self.subscriptions.of(connection)]
        else:
            connection.send(Frame(frames.error(f"unknown method {request.method}", request.id)))
            return
        connection.send(Frame(msgspec.json.encode({"result": result, "id": request.id})))

    def parse(self, stream: str) -> tuple[Product | None, str]:
        name, _, channel = stream.partition("@")
        return self._products.get(name.upper()), channel

    def stream(self, channel: str, symbol: str) -> str:
        return f"{frames.market_id(self.market.products[symbol]).lower()}@{channel}"

    def _subscribe(self, connection: Connection, stream: str, now_ns: int) -> None:
        """A stream that does not exist is accepted and stays silent, as at Binance."""
        product, channel = self.parse(stream)
        if product is None or channel not in self.channels:
            return
        again = connection in self.subscriptions.subscribers(channel, product.symbol)
        self.subscriptions.add(connection, channel, product.symbol)
        if channel in DEPTHS:
            waiting = self._waiting[product.symbol]
            if again and all(connection is not other for other, _ in waiting.connections):
                return  # it had its snapshot, and need not fetch another one
            waiting.forget(connection)  # it subscribes again because its snapshot never came
            waiting.connections.append((connection, now_ns + SNAPSHOT_WAIT_NS))

    def send(self, channel: str, symbol: str, payload: bytes, records: int = 1, trade_ids: tuple[int, ...] = ()) -> int:
        """A raw payload to every subscriber of the stream, in the form of its connection. Returns how many there are."""
        connections = self.subscriptions.subscribers(channel, symbol)
        wrapped = b""
        for connection in connections:
            if self._combined[connection] and not wrapped:
                wrapped = frames.combined(self.stream(channel, symbol), payload)
            text = wrapped if self._combined[connection] else payload
            connection.send(Frame(text, self.channels[channel], symbol, records, trade_ids))
        return len(connections)

    # -- the market

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        if channel != "orderbook" or self._early_deltas:
            return False
        waiting = self._waiting[symbol]
        while waiting.connections and waiting.connections[0][1] <= now_ns:
            waiting.connections.popleft()
        return bool(waiting.connections) or now_ns < waiting.release_ns

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        product = self.market.products[symbol]
        if channel == "trade":
            trade = self.market.trade(symbol, now_ns)
            self.send("trade", symbol, frames.trade(product, trade, now_ns), trade_ids=(trade.id,))
        elif channel == "orderbook":
            payload = frames.depth_update(product, self.market.update_book(symbol), now_ns)
            for depth in DEPTHS:
                self.send(depth, symbol, payload)
        elif channel == "bidask":
            update_id = self.market.book(symbol).update_id
            self.send("bookTicker", symbol, frames.book_ticker(product, self.market.ticker(symbol, now_ns), update_id))
        else:
            ticker = self.market.ticker(symbol, now_ns)
            for wire_channel, payload_of in TICKERS.items():
                if self.subscriptions.subscribers(wire_channel, symbol):
                    self.send(wire_channel, symbol, payload_of(product, ticker, now_ns))
        return 1

    def beat(self, now_ns: int) -> None:
        if now_ns >= self._next_ping_ns:
            self._next_ping_ns = now_ns + PING_NS
            for connection in self._combined:
                connection.send(PING)

    def error(self, now_ns: int) -> bytes:
        return frames.error("simulated")
