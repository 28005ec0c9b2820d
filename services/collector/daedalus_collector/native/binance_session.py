"""Binance on one connection, spot or USDⓈ-M futures: trade, 24hrTicker, diff depth.

Raw streams, subscribed by message; up to 1,024 of them on a spot connection (here at most 200), at most 5 messages a
second (developers.binance.com/docs/binance-spot-api-docs/web-socket-streams, 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from daedalus.config import ExchangeOptions
from daedalus.records import Ticker, Trade
from daedalus_collector.feed import Pair
from daedalus_collector.native.binance_book import BinanceBook, OutOfSequenceError
from daedalus_collector.native.binance_frames import (
    EVENTS,
    DepthUpdate,
    Snapshot,
    TickerFrame,
    TradeFrame,
    decode_event,
    decode_reply,
)
from daedalus_collector.native.binance_snapshots import Snapshots, Wanted
from daedalus_collector.native.session import Link, Request, Session, batched

STREAMS = {"trade": "trade", "ticker": "ticker", "orderbook": "depth@100ms"}


class _Book:
    """A market's order book, and whether its snapshot is on the way."""

    __slots__ = ("book", "market", "pair", "wanted")

    def __init__(self, market: str, pair: Pair, book: BinanceBook) -> None:
        self.market = market
        self.pair = pair
        self.book = book
        self.wanted: Wanted | None = None


class BinanceSession(Session):
    """`ids`: unified symbol → Binance's name."""

    def __init__(
        self,
        link: Link,
        pairs: Sequence[Pair],
        ids: Mapping[str, str],
        depth: int,
        options: ExchangeOptions,
        snapshots: Snapshots,
        *,
        futures: bool,
    ) -> None:
        super().__init__(link)
        self._snapshots = snapshots
        by_channel = {
            channel: {ids[pair.symbol]: pair for pair in pairs if pair.channel == channel} for channel in STREAMS
        }
        self._trades, self._tickers = by_channel["trade"], by_channel["ticker"]
        self._books = {
            id_: _Book(id_, pair, BinanceBook(depth, futures=futures)) for id_, pair in by_channel["orderbook"].items()
        }
        self._handlers: dict[type, Callable[..., bool]] = {
            TradeFrame: self._take_trade,
            TickerFrame: self._take_ticker,
            DepthUpdate: self._take_depth,
        }
        for channel, stream in STREAMS.items():
            of_channel = list(by_channel[channel].values())
            size = options.orderbook_watch_batch_size if channel == "orderbook" else options.watch_batch_size
            for batch in batched(of_channel, size):
                number = len(self.requests) + 1
                streams = [f"{ids[pair.symbol].lower()}@{stream}" for pair in batch]
                message = {"method": "SUBSCRIBE", "params": streams, "id": number}
                self.requests.append(Request(number, msgspec.json.encode(message), batch))

    def take(self, frame: bytes, received_ns: int) -> bool:
        try:
            event = decode_event(frame)
        except msgspec.ValidationError:
            self._reply(frame)
            return False
        return self._handlers[type(event)](event, received_ns)

    def close(self) -> None:
        for book in self._books.values():
            if book.wanted is not None:
                book.wanted.cancelled = True

    # -- the streams

    def _take_trade(self, frame: TradeFrame, received_ns: int) -> bool:
        pair = self._trades.get(frame.market)
        if pair is None:
            self._link.discarded("trade", "not_asked")
            return False
        side = "sell" if frame.buyer_is_maker else "buy"  # the taker's
        trade = Trade(received_ns, frame.time_ms * 1_000, str(frame.id), frame.price, frame.amount, side)  # type: ignore[arg-type]  # a Literal
        self._record(pair, trade)
        return True

    def _take_ticker(self, frame: TickerFrame, received_ns: int) -> bool:
        pair = self._tickers.get(frame.market)
        if pair is None:
            self._link.discarded("ticker", "not_asked")
            return False
        ticker = Ticker(
            received_ns,
            frame.event_ms * 1_000,
            frame.last,
            frame.bid,
            frame.bid_amount,
            frame.ask,
            frame.ask_amount,
            frame.open,
            frame.high,
            frame.low,
            frame.vwap,
            frame.base_volume,
            frame.quote_volume,
        )
        self._record(pair, ticker)
        return True

    def _take_depth(self, update: DepthUpdate, received_ns: int) -> bool:
        book = self._books.get(update.market)
        if book is None:
            self._link.discarded("orderbook", "not_asked")
            return False
        try:
            state = book.book.take(update, received_ns)
        except OutOfSequenceError as error:
            detail = f"{error}; the book is built anew"
            self._link.lost(book.pair, book.book.last_ns, error.kind, detail)
            self._want(book)
            return False
        if state is None:
            return False
        self._record(book.pair, state)
        return True

    # -- snapshots

    def _want(self, book: _Book) -> None:
        if book.wanted is None or book.wanted.done:
            book.wanted = self._snapshots.want(
                book.market, lambda snapshot, received_ns: self._lay(book, snapshot, received_ns)
            )

    def _lay(self, book: _Book, snapshot: Snapshot, received_ns: int) -> bool:
        """False when the snapshot is older than what was buffered."""
        try:
            state = book.book.lay(snapshot, received_ns)
        except OutOfSequenceError as error:
            self._link.lost(book.pair, book.book.last_ns, error.kind, str(error))
            return False
        if state is None:
            return False
        self._link.record(book.pair, state)
        return True

    # -- requests

    def _reply(self, frame: bytes) -> None:
        """Raises msgspec.MsgspecError for what is neither an event nor a reply."""
        reply = decode_reply(frame)
        request = next((sent for sent in self._unanswered if sent.id == reply.id), None)
        if request is not None:
            self._unanswered.remove(request)
        if reply.error is not None:
            self._link.refused(request, f"{reply.error.msg} (code {reply.error.code})")
        elif request is not None:
            request.accepted()
            for book in self._books.values():
                if book.pair in request.pairs:
                    self._want(book)
        elif reply.id is None and (not reply.event or reply.event in EVENTS):
            raise ValueError(f"expected a reply, or an event of {', '.join(EVENTS)} with all its fields")
