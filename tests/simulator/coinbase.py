"""Coinbase Advanced Trade's WebSocket sessions (advanced-trade-ws.coinbase.com) and public REST paths.

Simulated rules: a subscribe within 5 s or a disconnect; one channel in each subscribe; level2 is answered as l2_data; a
snapshot comes before its acknowledgement; sequence_num counts every message of the connection from 0, acknowledgements
and heartbeats too, but an error has none. Not simulated: rate limits, authentication, the -USDC aliases.
Source: docs.cdp.coinbase.com, "Advanced Trade WebSocket overview", read 2026-11, and recorded sessions of 2026-08.
"""

from collections.abc import Mapping

import msgspec

from simulator import coinbase_frames as frames
from simulator.connection import Connection
from simulator.exchange import Reply
from simulator.fixed import NANOSECONDS
from simulator.frame import Frame
from simulator.market import Market
from simulator.product import Product
from simulator.subscriptions import Subscriptions

SUBSCRIBE_DEADLINE_NS = 5 * NANOSECONDS
HEARTBEAT_NS = NANOSECONDS
PRODUCTS = "api/v3/brokerage/market/products"


class Request(msgspec.Struct):
    type: str
    channel: str = ""
    product_ids: list[str] = []


class Session(msgspec.Struct):
    opened_ns: int
    sequence: int = 0
    subscribed: bool = False
    heartbeats: int = 0
    next_heartbeat_ns: int | None = None


class Coinbase:
    name = "coinbase"
    channels: Mapping[str, str] = {
        "market_trades": "trade",
        "ticker": "ticker",
        "ticker_batch": "ticker",
        "level2": "orderbook",
    }

    def __init__(self, market: Market, subscriptions: Subscriptions) -> None:
        self.market, self.subscriptions = market, subscriptions
        self._products = {frames.product_id(product): product for product in market.products.values()}
        self._sessions: dict[Connection, Session] = {}
        self._decode = msgspec.json.Decoder(Request).decode

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        products = self.market.products.values()
        name, is_trades = path.strip("/").removeprefix(PRODUCTS + "/").partition("/")[::2]
        if is_trades == "ticker" and name in self._products:
            return self._trades(self._products[name], query)
        match path.strip("/"):
            case "api/v3/brokerage/market/products":
                return Reply(frames.products_body(products if query.get("product_type", "SPOT") == "SPOT" else ()))
            case "api/v3/brokerage/time":
                return Reply(msgspec.json.encode({"epochMillis": str(now_ns // 1_000_000)}))
            case "v2/currencies":
                return Reply(frames.currencies_body(products))
            case "v2/currencies/crypto":
                return Reply(frames.crypto_body(products))
            case "v2/exchange-rates":
                return Reply(frames.rates_body(products))
        return None

    def _trades(self, product: Product, query: Mapping[str, str]) -> Reply:
        """The newest first, between the seconds `start` and `end`."""
        start, end = int(query.get("start", "0")) * NANOSECONDS, int(query.get("end", "9999999999")) * NANOSECONDS
        trades = [trade for trade in self.market.history(product.symbol) if start <= trade.time_ns <= end]
        return Reply(frames.trades_body(product, trades[-min(1_000, int(query.get("limit", "100"))) :]))

    def accepts(self, path: str) -> bool:
        return not path.strip("/")

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        self._sessions[connection] = Session(opened_ns=now_ns)

    def closed(self, connection: Connection) -> None:
        self.subscriptions.drop(connection)
        self._sessions.pop(connection, None)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        try:
            request = self._decode(text)
        except msgspec.MsgspecError as error:
            connection.send(Frame(frames.error(f"failed to parse the message: {error}")))
            return
        reason = self._refusal(request, now_ns)
        if reason:
            connection.send(Frame(frames.error(reason)))
            return
        session = self._sessions[connection]
        session.subscribed = True
        wanted = request.type == "subscribe"
        if request.channel == "heartbeats":
            session.next_heartbeat_ns = now_ns + HEARTBEAT_NS if wanted else None
        for product in map(self._products.__getitem__, request.product_ids if request.channel in self.channels else ()):
            if wanted:
                self.subscriptions.add(connection, request.channel, product.symbol)
                self._send_snapshot(connection, request.channel, product, now_ns)
            else:
                self.subscriptions.remove(connection, request.channel, product.symbol)
        self._acknowledge(connection, session, now_ns)

    def _refusal(self, request: Request, now_ns: int) -> str:
        if request.type == "subscribe" and self.subscriptions.refused(now_ns):
            return "rate limit exceeded"
        if request.type not in {"subscribe", "unsubscribe"}:
            return f"unknown message type: {request.type}"
        if request.channel == "heartbeats":
            return ""
        if request.channel not in self.channels:
            return f"channel {request.channel!r} is not supported; one channel per message"
        if not request.product_ids:
            return "product_ids are required for this channel"
        unknown = [name for name in request.product_ids if name not in self._products]
        return f"{unknown[0]} is not a valid product" if unknown else ""

    def _acknowledge(self, connection: Connection, session: Session, now_ns: int) -> None:
        held: dict[str, list[str]] = {}
        for channel, symbol in self.subscriptions.of(connection):
            held.setdefault(channel, []).append(frames.product_id(self.market.products[symbol]))
        if session.next_heartbeat_ns is not None:
            held["heartbeats"] = ["heartbeats"]
        event = msgspec.json.encode({"subscriptions": held}).decode()
        self._send(connection, "subscriptions", event, now_ns)

    def _send_snapshot(self, connection: Connection, channel: str, product: Product, now_ns: int) -> None:
        symbol = product.symbol
        if channel == "level2":
            event = frames.snapshot_event(product, self.market.book(symbol))
            self._send(connection, channel, event, now_ns, symbol)
        elif channel == "market_trades":
            trades = self.market.recent_trades(symbol, now_ns)
            event = frames.trades_event(product, trades, "snapshot")
            self._send(connection, channel, event, now_ns, symbol, tuple(trade.id for trade in trades))
        else:
            ticker = self.market.ticker(symbol, now_ns)
            event = frames.ticker_event(product, ticker, "snapshot", batch=channel == "ticker_batch")
            self._send(connection, channel, event, now_ns, symbol)

    def _send(
        self,
        connection: Connection,
        channel: str,
        event: str,
        now_ns: int,
        symbol: str = "",
        trade_ids: tuple[int, ...] = (),
    ) -> None:
        session = self._sessions[connection]
        wire_channel = "l2_data" if channel == "level2" else channel
        payload = frames.envelope(wire_channel, event, session.sequence, now_ns)
        session.sequence += 1
        connection.send(Frame(payload, self.channels.get(channel, ""), symbol, trade_ids=trade_ids))

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        return False

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        product = self.market.products[symbol]
        if channel == "trade":
            trades = [self.market.trade(symbol, now_ns) for _ in range(self.market.batch_size(symbol))]
            event = frames.trades_event(product, trades, "update")
            ids = tuple(trade.id for trade in trades)
            for connection in self.subscriptions.subscribers("market_trades", symbol):
                self._send(connection, "market_trades", event, now_ns, symbol, ids)
            return len(trades)
        if channel == "orderbook":
            event = frames.update_event(product, self.market.update_book(symbol).changes, now_ns)
            for connection in self.subscriptions.subscribers("level2", symbol):
                self._send(connection, "level2", event, now_ns, symbol)
            return 1
        ticker = self.market.ticker(symbol, now_ns)
        for wire_channel in ("ticker", "ticker_batch"):
            if connections := self.subscriptions.subscribers(wire_channel, symbol):
                event = frames.ticker_event(product, ticker, "update", batch=wire_channel == "ticker_batch")
                for connection in connections:
                    self._send(connection, wire_channel, event, now_ns, symbol)
        return 1

    def beat(self, now_ns: int) -> None:
        for connection, session in list(self._sessions.items()):
            if not session.subscribed and now_ns - session.opened_ns > SUBSCRIBE_DEADLINE_NS:
                connection.close(reason="no subscribe message within 5 s")
            if session.next_heartbeat_ns is not None and now_ns >= session.next_heartbeat_ns:
                session.heartbeats += 1
                session.next_heartbeat_ns = max(session.next_heartbeat_ns + HEARTBEAT_NS, now_ns)
                self._send(connection, "heartbeats", frames.heartbeat_event(session.heartbeats, now_ns), now_ns)

    def error(self, now_ns: int) -> bytes:
        return frames.error("rate limit exceeded")
