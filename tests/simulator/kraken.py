"""Kraken v2's WebSocket sessions (ws.kraken.com/v2) and public REST paths.

Each subscriber of ``book`` sees a window of its depth; an update holds what changed in that window and the checksum of
its ten best levels. A level that leaves the window because better ones came is not reported: the client cuts it off.
Source: docs.kraken.com/api/docs/websocket-v2 (book, trade, ticker) and …/guides/spot-ws-book-v2, read 2026-11.
"""

from collections.abc import Mapping

import msgspec

from simulator import kraken_frames as frames
from simulator.connection import Connection
from simulator.exchange import Reply
from simulator.fixed import NANOSECONDS
from simulator.frame import Frame
from simulator.market import Market
from simulator.subscriptions import Subscriptions
from simulator.window import Window

HEARTBEAT_NS = NANOSECONDS
DEPTHS = (10, 25, 100, 500, 1000)


class Parameters(msgspec.Struct):
    channel: str = ""
    symbol: list[str] = []
    depth: int = 10
    snapshot: bool | None = None


class Request(msgspec.Struct):
    method: str
    params: Parameters = msgspec.field(default_factory=Parameters)
    req_id: int | None = None


class Session(msgspec.Struct):
    next_heartbeat_ns: int = 0
    depths: dict[str, int] = {}


class Kraken:
    name = "kraken"
    channels: Mapping[str, str] = {"trade": "trade", "ticker": "ticker", "book": "orderbook"}

    def __init__(self, market: Market, subscriptions: Subscriptions) -> None:
        self.market, self.subscriptions = market, subscriptions
        self._sessions: dict[Connection, Session] = {}
        self._windows: dict[tuple[str, int], Window] = {}
        self._decode = msgspec.json.Decoder(Request).decode

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        match path.strip("/"):
            case "0/public/AssetPairs":
                return Reply(frames.asset_pairs(self.market.products.values(), self.market.delisted))
            case "0/public/Assets":
                return Reply(frames.assets(self.market.products.values()))
            case "0/public/Trades":
                return self._trades(query)
            case "0/public/SystemStatus":
                return Reply(b'{"error":[],"result":{"status":"online"}}')
            case "0/public/Time":
                return Reply(msgspec.json.encode({"error": [], "result": {"unixtime": now_ns // NANOSECONDS}}))
        return None

    def _trades(self, query: Mapping[str, str]) -> Reply:
        """The oldest first, after `since`, which is in seconds or, when it is large, in nanoseconds."""
        product = next((one for one in self.market.products.values() if frames.pair_id(one) == query.get("pair")), None)
        if product is None:
            return Reply(b'{"error":["EQuery:Unknown asset pair"]}')
        since = int(query.get("since", "0"))
        since_ns = since if since > 10**12 else since * NANOSECONDS
        found = [trade for trade in self.market.history(product.symbol) if trade.time_ns > since_ns]
        return Reply(frames.trades_body(product, found[: min(1_000, int(query.get("count", "1000")))], since_ns))

    def accepts(self, path: str) -> bool:
        return path.strip("/") == "v2"

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        self._sessions[connection] = Session(now_ns + HEARTBEAT_NS)
        connection.send(Frame(frames.status(connection.number)))

    def closed(self, connection: Connection) -> None:
        self.subscriptions.drop(connection)
        self._sessions.pop(connection, None)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        try:
            request = self._decode(text)
        except msgspec.MsgspecError as error:
            connection.send(Frame(frames.error(str(error), "subscribe", None, now_ns)))
            return
        if request.method == "ping":
            connection.send(Frame(frames.pong(request.req_id, now_ns), pong=True))
            return
        reason = self._refusal(request, now_ns)
        if reason:
            connection.send(Frame(frames.error(reason, request.method, request.req_id, now_ns)))
            return
        for symbol in request.params.symbol:
            self._change(connection, request, symbol, now_ns)

    def _refusal(self, request: Request, now_ns: int) -> str:
        wanted = request.params
        if request.method == "subscribe" and self.subscriptions.refused(now_ns):
            return "Exceeded msg rate"
        if request.method not in {"subscribe", "unsubscribe"}:
            return f"Unknown method: {request.method}"
        if wanted.channel not in self.channels:
            return f"Channel not supported: {wanted.channel}"
        if wanted.channel == "book" and wanted.depth not in DEPTHS:
            return "Subscription depth not supported"
        unknown = [symbol for symbol in wanted.symbol if symbol not in self.market.products]
        return f"Currency pair not supported {unknown[0]}" if unknown else ""

    def _change(self, connection: Connection, request: Request, symbol: str, now_ns: int) -> None:
        wanted = request.params
        result: dict[str, object] = {"channel": wanted.channel, "symbol": symbol}
        if wanted.channel == "book":
            result["depth"] = wanted.depth
        if request.method == "unsubscribe":
            self.subscriptions.remove(connection, wanted.channel, symbol)
            connection.send(Frame(frames.acknowledgement(request.method, result, request.req_id, now_ns)))
            return
        # Only trades come without a snapshot unless asked for.
        snapshot = wanted.channel != "trade" if wanted.snapshot is None else wanted.snapshot
        result["snapshot"] = snapshot
        self.subscriptions.add(connection, wanted.channel, symbol)
        connection.send(Frame(frames.acknowledgement(request.method, result, request.req_id, now_ns)))
        if wanted.channel == "book":
            self._sessions[connection].depths[symbol] = wanted.depth
            self._windows[symbol, wanted.depth] = Window(self.market.book(symbol), wanted.depth)
        if snapshot:
            self._send_snapshot(connection, wanted, symbol, now_ns)

    def _send_snapshot(self, connection: Connection, wanted: Parameters, symbol: str, now_ns: int) -> None:
        product = self.market.products[symbol]
        if wanted.channel == "book":
            payload = frames.book(product, self._windows[symbol, wanted.depth], None, now_ns)
            connection.send(Frame(payload, "orderbook", symbol))
        elif wanted.channel == "trade":
            trades = self.market.recent_trades(symbol, now_ns)
            ids = tuple(trade.id for trade in trades)
            connection.send(Frame(frames.trades(product, trades, "snapshot"), "trade", symbol, trade_ids=ids))
        else:
            payload = frames.ticker(product, self.market.ticker(symbol, now_ns), "snapshot", now_ns)
            connection.send(Frame(payload, "ticker", symbol))

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        return False

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        product = self.market.products[symbol]
        if channel == "orderbook":
            return self._fire_book(symbol, now_ns)
        if channel == "trade":
            trades = [self.market.trade(symbol, now_ns) for _ in range(self.market.batch_size(symbol))]
            ids = tuple(trade.id for trade in trades)
            frame = Frame(frames.trades(product, trades, "update"), "trade", symbol, trade_ids=ids)
        else:
            payload = frames.ticker(product, self.market.ticker(symbol, now_ns), "update", now_ns)
            frame = Frame(payload, "ticker", symbol)
        for connection in self.subscriptions.subscribers(channel, symbol):
            connection.send(frame)
        return len(frame.trade_ids) or 1

    def _fire_book(self, symbol: str, now_ns: int) -> int:
        """Every window of the book moves; those where nothing changed stay silent."""
        self.market.update_book(symbol)
        product, book = self.market.products[symbol], self.market.book(symbol)
        subscribed: dict[int, list[Connection]] = {}
        for connection in self.subscriptions.subscribers("book", symbol):
            subscribed.setdefault(self._sessions[connection].depths[symbol], []).append(connection)
        told = 0
        for depth, connections in subscribed.items():
            changes = self._windows[symbol, depth].move(book)
            if changes:
                frame = Frame(frames.book(product, self._windows[symbol, depth], changes, now_ns), "orderbook", symbol)
                for connection in connections:
                    connection.send(frame)
                told = 1
        return told

    def beat(self, now_ns: int) -> None:
        for connection, session in self._sessions.items():
            if now_ns >= session.next_heartbeat_ns:
                session.next_heartbeat_ns = max(session.next_heartbeat_ns + HEARTBEAT_NS, now_ns)
                connection.send(Frame(b'{"channel":"heartbeat"}'))

    def error(self, now_ns: int) -> bytes:
        return frames.error("EGeneral:Internal error", "subscribe", None, now_ns)
