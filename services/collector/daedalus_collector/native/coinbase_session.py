"""Coinbase Advanced Trade on one connection: market_trades, ticker, level2, heartbeats.

One channel in each subscribe message, the first within 5 s; a snapshot comes before its acknowledgement; `sequence_num`
counts every message of the connection; most channels are closed after 60 to 90 s without data unless `heartbeats` is
subscribed (docs.cdp.coinbase.com, "Advanced Trade WebSocket overview" and "channels", 2026-11).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from daedalus.config import ExchangeOptions
from daedalus.records import OrderBook, Side, Ticker, Trade
from daedalus_collector.backoff import Backoff
from daedalus_collector.feed import Pair
from daedalus_collector.native.coinbase_frames import Event, Head, Message, Times, decode_head, decode_message
from daedalus_collector.native.order_book import Level, LocalBook
from daedalus_collector.native.session import Link, Request, SequenceError, Session, batched

CHANNELS = {"trade": "market_trades", "ticker": "ticker", "orderbook": "level2"}
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
RESYNC_SECONDS = 0.25
"""Before a crossed book is subscribed anew; doubles."""


class _Book:
    """A product's order book; `synced` from its snapshot on."""

    __slots__ = ("backoff", "book", "last_ns", "pair", "synced", "synced_ns")

    def __init__(self, pair: Pair, depth: int) -> None:
        self.pair = pair
        self.book = LocalBook(depth)
        self.synced = False
        self.synced_ns = self.last_ns = 0
        self.backoff = Backoff(RESYNC_SECONDS, lambda: random.uniform(0.5, 1))


class CoinbaseSession(Session):
    """`ids`: unified symbol → product id. `token` makes what proves an account, for each message."""

    def __init__(
        self,
        link: Link,
        pairs: Sequence[Pair],
        ids: Mapping[str, str],
        depth: int,
        options: ExchangeOptions,
        token: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(link)
        self._ids = ids
        self._token = token
        self._trades = _answered(pairs, "trade", ids)
        self._tickers = _answered(pairs, "ticker", ids)
        books = {pair: _Book(pair, depth) for pair in pairs if pair.channel == "orderbook"}
        self._books = {id_: books[pair] for id_, pair in _answered(pairs, "orderbook", ids).items()}
        self._times = Times()
        self._next: int | None = None
        self._handlers = {"market_trades": self._take_trades, "ticker": self._take_tickers, "l2_data": self._take_books}
        self.requests.append(self._request({"type": "subscribe", "channel": "heartbeats"}, ()))
        for channel in CHANNELS:
            of_channel = [pair for pair in pairs if pair.channel == channel]
            size = options.orderbook_watch_batch_size if channel == "orderbook" else options.watch_batch_size
            for batch in batched(of_channel, size):
                self.requests.append(self._request(self._message("subscribe", batch), batch))

    def sent(self, request: Request) -> bytes:
        message = super().sent(request)
        return message if self._token is None else b'%s,"jwt":"%s"}' % (message[:-1], self._token().encode())

    def renew(self, pairs: Sequence[Pair]) -> None:
        for channel in CHANNELS:
            if of_channel := [pair for pair in pairs if pair.channel == channel]:
                self._anew(of_channel, 0.0)

    def take(self, frame: bytes, received_ns: int) -> bool:
        message = decode_message(frame)
        self._follow(message.sequence_num)
        handler = self._handlers.get(message.channel)
        if handler is not None:
            return handler(message, received_ns)
        self._answer(message)
        return False

    def skim(self, frame: bytes, received_ns: int) -> bool:  # noqa: ARG002  # the same face
        head = decode_head(frame)
        self._follow(head.sequence_num)
        if head.channel in self._handlers:
            return True
        self._answer(head)
        return False

    def _follow(self, number: int | None) -> None:
        if number is not None:
            if number != self._next and self._next is not None:
                raise SequenceError(f"expected message {self._next}, was {number}")
            self._next = number + 1

    def _answer(self, message: Head) -> None:
        if message.channel == "subscriptions":
            if self._unanswered:
                self._accepted(self._unanswered.popleft())
        elif message.type == "error":
            self._link.refused(self._unanswered.popleft() if self._unanswered else None, message.message)

    # -- the channels

    def _take_trades(self, message: Message, received_ns: int) -> bool:
        microseconds, record, found = self._times.microseconds, self._record, False
        for event in message.events:
            for trade in reversed(event.trades):  # newest first on the wire
                pair = self._trades.get(trade.product_id)
                if pair is None:
                    self._link.discarded("trade", "not_asked")
                    continue
                timestamp_us, side = microseconds(trade.time), SIDES.get(trade.side)
                record(pair, Trade(received_ns, timestamp_us, trade.trade_id, trade.price, trade.size, side))
                found = True
        return found

    def _take_tickers(self, message: Message, received_ns: int) -> bool:
        timestamp_us, found = self._times.microseconds(message.timestamp), False
        for event in message.events:
            for entry in event.tickers:
                pair = self._tickers.get(entry.product_id)
                if pair is None:
                    self._link.discarded("ticker", "not_asked")
                    continue
                ticker = Ticker(
                    received_ns,
                    timestamp_us,
                    _number(entry.price),
                    _number(entry.best_bid),
                    _number(entry.best_bid_quantity),
                    _number(entry.best_ask),
                    _number(entry.best_ask_quantity),
                    None,
                    _number(entry.high_24_h),
                    _number(entry.low_24_h),
                    None,
                    _number(entry.volume_24_h),
                    None,
                )
                self._record(pair, ticker)
                found = True
        return found

    def _take_books(self, message: Message, received_ns: int) -> bool:
        timestamp_us, found = self._times.microseconds(message.timestamp), False
        for event in message.events:
            book = self._books.get(event.product_id)
            if book is None:
                self._link.discarded("orderbook", "not_asked")
                continue
            if event.type == "snapshot":
                book.book.reset()
                book.synced, book.synced_ns = True, received_ns
            elif not book.synced:
                self._link.discarded("orderbook", "no_snapshot")
                continue
            _apply(book.book, event)
            if book.book.crossed:
                self._resync(book, received_ns)
                continue
            book.last_ns = received_ns
            bids, asks = book.book.bids.columns(), book.book.asks.columns()
            self._record(book.pair, OrderBook(received_ns, timestamp_us, None, *bids, *asks))
            found = True
        return found

    # -- requests

    def _resync(self, book: _Book, received_ns: int) -> None:
        """A book that is crossed has missed something: its own gap, and a new snapshot."""
        book.synced = False
        self._link.lost(book.pair, book.last_ns, "crossed_book", "the book is crossed; it is subscribed anew")
        delay = book.backoff.failed((received_ns - book.synced_ns) / 1e9)
        self._anew([book.pair], delay)

    def _anew(self, pairs: Sequence[Pair], after_seconds: float) -> None:
        for kind in ("unsubscribe", "subscribe"):
            self._renew(self._request(self._message(kind, pairs), pairs if kind == "subscribe" else ()), after_seconds)

    def _message(self, kind: str, pairs: Sequence[Pair]) -> dict[str, object]:
        ids = [self._ids[pair.symbol] for pair in pairs]
        return {"type": kind, "product_ids": ids, "channel": CHANNELS[pairs[0].channel]}

    def _request(self, message: Mapping[str, object], pairs: Sequence[Pair]) -> Request:
        return Request(len(self.requests), msgspec.json.encode(message), pairs)


def _answered(pairs: Sequence[Pair], channel: str, ids: Mapping[str, str]) -> dict[str, Pair]:
    """Product id in frames → pair. -USDC products are answered as -USD (Coinbase's documents; seen)."""
    of_channel = {ids[pair.symbol]: pair for pair in pairs if pair.channel == channel}
    for id_, pair in list(of_channel.items()):
        if id_.endswith("-USDC"):
            of_channel.setdefault(id_.removesuffix("C"), pair)
    return of_channel


def _apply(book: LocalBook, event: Event) -> None:
    bids: list[Level] = []
    asks: list[Level] = []
    for update in event.updates:
        (bids if update.side == "bid" else asks).append((update.price_level, update.new_quantity))
    if event.type == "snapshot":
        book.reset(bids, asks)
        return
    book.bids.put(bids)
    book.asks.put(asks)


def _number(text: str) -> float | None:
    return float(text) if text else None
