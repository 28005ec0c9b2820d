"""OKX v5's public WebSocket sessions (ws.okx.com/ws/v5/public) and REST paths, spot only.

``books`` sends a snapshot and then what changed of 400 levels, each update with the seqId of the one before; ``trades`` and
``tickers`` send the last of each at once. To subscribe again what is subscribed is acknowledged, and nothing else.
Sources: www.okx.com/docs-v5/en as quoted in ccxt 4.5.90's pro/okx.py, read 2026-11, and frames recorded in 2022-05.
Not simulated: other depths, the empty update of a quiet book, the 30 s after which an idle connection is closed.
"""

from collections.abc import Mapping

import msgspec

from simulator import okx_frames as frames
from simulator.connection import Connection
from simulator.exchange import Reply
from simulator.frame import Frame
from simulator.market import Market
from simulator.product import Product
from simulator.subscriptions import Subscriptions
from simulator.window import Window

DEPTH = 400
# What the number of a book moves by at an update; 7 to 93 were seen live (docs.rs/crate/tickvault/0.1.1, venue/okx.rs).
STEP = 7
# Over REST: GET /api/v5/market/trades, 100 without a limit.
MOST_TRADES = 500


class Argument(msgspec.Struct):
    channel: str
    inst_id: str = msgspec.field(default="", name="instId")


class Request(msgspec.Struct):
    op: str
    args: list[Argument] = []


class Book(msgspec.Struct):
    """What every subscriber of one book holds."""

    window: Window
    sequence: int


class Okx:
    name = "okx"
    channels: Mapping[str, str] = {"trades": "trade", "tickers": "ticker", "books": "orderbook"}

    def __init__(self, market: Market, subscriptions: Subscriptions) -> None:
        self.market, self.subscriptions = market, subscriptions
        self._products = {frames.market_id(product): product for product in market.products.values()}
        self._books: dict[str, Book] = {}
        self._decode = msgspec.json.Decoder(Request).decode

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        match path.strip("/"):
            case "api/v5/public/instruments":
                listed = self.market.products.values() if query.get("instType") == "SPOT" else ()
                return Reply(frames.instruments(listed, self.market.delisted))
            case "api/v5/market/trades":
                return self._trades(query)
            case "api/v5/public/time":
                return Reply(msgspec.json.encode({"code": "0", "msg": "", "data": [{"ts": str(now_ns // 1_000_000)}]}))
        return None

    def _trades(self, query: Mapping[str, str]) -> Reply:
        product = self._products.get(query.get("instId", ""))
        if product is None:
            return Reply(b'{"code":"51001","data":[],"msg":"Instrument ID doesn\'t exist."}')
        limit = min(MOST_TRADES, int(query.get("limit", "100")))
        return Reply(frames.rest_trades(product, self.market.last_trades(product.symbol, limit)))

    def accepts(self, path: str) -> bool:
        return path.strip("/") == "ws/v5/public"

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        """OKX says nothing before it is asked."""

    def closed(self, connection: Connection) -> None:
        self.subscriptions.drop(connection)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        if text == "ping":
            connection.send(Frame(b"pong", pong=True))
            return
        try:
            request = self._decode(text)
        except msgspec.MsgspecError:
            request = Request("")
        if request.op not in {"subscribe", "unsubscribe"}:
            self._refuse(connection, "60012", f"Illegal request: {text}")
        elif request.op == "subscribe" and self.subscriptions.refused(now_ns):
            self._refuse(connection, "63999", "Internal system error")
        else:
            for argument in request.args:
                self._change(connection, request.op, argument, now_ns)

    def _change(self, connection: Connection, op: str, argument: Argument, now_ns: int) -> None:
        """Each argument is answered for itself."""
        product = self._products.get(argument.inst_id)
        if product is None or argument.channel not in self.channels:
            what = f"channel:{argument.channel},instId:{argument.inst_id}"
            self._refuse(connection, "60018", f"Wrong URL or {what} doesn't exist.")
            return
        told = {"channel": argument.channel, "instId": argument.inst_id}
        connection.send(Frame(frames.acknowledgement(op, told, _id(connection))))
        if op == "unsubscribe":
            self.subscriptions.remove(connection, argument.channel, product.symbol)
        elif (argument.channel, product.symbol) not in self.subscriptions.of(connection):
            self.subscriptions.add(connection, argument.channel, product.symbol)
            self._send_first(connection, argument.channel, product, now_ns)

    def _refuse(self, connection: Connection, code: str, message: str) -> None:
        connection.send(Frame(frames.error(code, message, _id(connection))))

    def _send_first(self, connection: Connection, channel: str, product: Product, now_ns: int) -> None:
        symbol = product.symbol
        if channel == "books":
            book = self._book(symbol)
            payload = frames.book(product, book.window, None, (-1, book.sequence), now_ns)
            connection.send(Frame(payload, "orderbook", symbol))
        elif channel == "trades":
            last = self.market.recent_trades(symbol, now_ns)[-1]
            connection.send(Frame(frames.trade(product, last), "trade", symbol, trade_ids=(last.id,)))
        else:
            ticker = self.market.ticker(symbol, now_ns)
            connection.send(Frame(frames.ticker(product, ticker, now_ns), "ticker", symbol))

    def _book(self, symbol: str) -> Book:
        if symbol not in self._books:
            book = self.market.book(symbol)
            self._books[symbol] = Book(Window(book, DEPTH, tells_all=True), book.update_id)
        return self._books[symbol]

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        return False

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        product = self.market.products[symbol]
        if channel == "trade":
            trade = self.market.trade(symbol, now_ns)
            frame = Frame(frames.trade(product, trade), "trade", symbol, trade_ids=(trade.id,))
            wire_channel = "trades"
        elif channel == "ticker":
            frame = Frame(frames.ticker(product, self.market.ticker(symbol, now_ns), now_ns), "ticker", symbol)
            wire_channel = "tickers"
        else:
            book = self._book(symbol)
            self.market.update_book(symbol)
            changes = book.window.move(self.market.book(symbol))
            if not changes:
                return 0
            previous, book.sequence = book.sequence, book.sequence + STEP
            payload = frames.book(product, book.window, changes, (previous, book.sequence), now_ns)
            frame, wire_channel = Frame(payload, "orderbook", symbol), "books"
        for connection in self.subscriptions.subscribers(wire_channel, symbol):
            connection.send(frame)
        return 1

    def beat(self, now_ns: int) -> None:
        """OKX sends no heartbeats."""

    def error(self, now_ns: int) -> bytes:
        return frames.error("50026", "System error. Try again later", "simulated")


def _id(connection: Connection) -> str:
    return f"{connection.number:08x}"
