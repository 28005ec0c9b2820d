"""Binance on one connection, spot or USDⓈ-M futures.

Raw streams, subscribed by message; up to 1,024 of them on a spot connection (here at most 200), at most 5 messages a
second (developers.binance.com/docs/binance-spot-api-docs/web-socket-streams, 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from daedalus.config import ExchangeOptions
from daedalus.records import BidAsk, Candle, Funding, Liquidation, MarkPrice, Side, Ticker, Trade
from daedalus_collector.feed import Pair
from daedalus_collector.native.binance_book import BinanceBook, OutOfSequenceError
from daedalus_collector.native.binance_frames import (
    EVENTS,
    DepthUpdate,
    ForceOrderFrame,
    KlineFrame,
    MarkPriceFrame,
    QuoteFrame,
    Snapshot,
    SpotQuote,
    TickerFrame,
    TradeFrame,
    decode_event,
    decode_reply,
    decode_spot_quote,
)
from daedalus_collector.native.binance_snapshots import Snapshots, Wanted
from daedalus_collector.native.session import Link, Request, Session, batched

STREAMS = {
    "trade": "trade",
    "ticker": "ticker",
    "orderbook": "depth@100ms",
    "bidask": "bookTicker",
    "ohlcv": "kline_",
    "markprice": "markPrice@1s",
    "funding": "markPrice@1s",
    "liquidation": "forceOrder",
}
DATA = (b'{"e":', b'{"u":')
"""How an event begins, and a quote of the spot market: an answer begins otherwise."""
SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}


class _Book:
    """A market's order book, and whether its snapshot is on the way."""

    __slots__ = ("book", "market", "pair", "wanted")

    def __init__(self, market: str, pair: Pair, book: BinanceBook) -> None:
        self.market = market
        self.pair = pair
        self.book = book
        self.wanted: Wanted | None = None


class BinanceSession(Session):
    """`ids`: unified symbol → Binance's name. `snapshots`: None where frames are only skimmed. `timeframe`: of candles."""

    def __init__(
        self,
        link: Link,
        pairs: Sequence[Pair],
        ids: Mapping[str, str],
        depth: int,
        options: ExchangeOptions,
        snapshots: Snapshots | None,
        *,
        futures: bool,
        timeframe: str = "1m",
    ) -> None:
        super().__init__(link)
        self._ids = ids
        self._snapshots = snapshots
        self._last_id = 0
        by_channel = {
            channel: {ids[pair.symbol]: pair for pair in pairs if pair.channel == channel} for channel in STREAMS
        }
        self._timeframe = timeframe
        self._trades, self._tickers = by_channel["trade"], by_channel["ticker"]
        self._quotes, self._candles = by_channel["bidask"], by_channel["ohlcv"]
        self._mark_prices, self._fundings = by_channel["markprice"], by_channel["funding"]
        self._liquidations = by_channel["liquidation"]
        self._books = {
            id_: _Book(id_, pair, BinanceBook(depth, futures=futures)) for id_, pair in by_channel["orderbook"].items()
        }
        self._handlers: dict[type, Callable[..., bool]] = {
            TradeFrame: self._take_trade,
            TickerFrame: self._take_ticker,
            DepthUpdate: self._take_depth,
            SpotQuote: self._take_quote,
            QuoteFrame: self._take_quote,
            KlineFrame: self._take_kline,
            MarkPriceFrame: self._take_mark_price,
            ForceOrderFrame: self._take_liquidation,
        }
        by_stream: dict[str, list[Pair]] = {}
        for channel, stream in STREAMS.items():
            by_stream.setdefault(stream, []).extend(by_channel[channel].values())
        for stream, of_stream in by_stream.items():
            of_channel = sorted(of_stream, key=lambda pair: pair.symbol) if stream == "markPrice@1s" else of_stream
            channel = "orderbook" if stream == STREAMS["orderbook"] else ""
            size = options.orderbook_watch_batch_size if channel == "orderbook" else options.watch_batch_size
            for batch in batched(of_channel, size):
                self.requests.append(self._request(batch))

    def renew(self, pairs: Sequence[Pair]) -> None:
        for book in self._books.values():
            if book.pair in pairs:
                book.book.restart()
        self._renew(self._request(pairs))

    def take(self, frame: bytes, received_ns: int) -> bool:
        try:
            event = decode_event(frame)
        except msgspec.ValidationError:
            self._reply(frame)
            return False
        return self._handlers[type(event)](event, received_ns)

    def skim(self, frame: bytes, received_ns: int) -> bool:  # noqa: ARG002  # the same face
        if not self._unanswered or frame.startswith(DATA):
            return True
        self._reply(frame)
        return False

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

    def _take_quote(self, frame: QuoteFrame | SpotQuote, received_ns: int) -> bool:
        pair = self._quotes.get(frame.market)
        if pair is None:
            self._link.discarded("bidask", "not_asked")
            return False
        timestamp_us = frame.event_ms * 1_000 if isinstance(frame, QuoteFrame) else None
        quote = BidAsk(received_ns, timestamp_us, frame.nonce, frame.bid, frame.bid_amount, frame.ask, frame.ask_amount)
        self._record(pair, quote)
        return True

    def _take_kline(self, frame: KlineFrame, received_ns: int) -> bool:
        pair = self._candles.get(frame.market)
        if pair is None:
            self._link.discarded("ohlcv", "not_asked")
            return False
        kline = frame.kline
        candle = Candle(
            received_ns,
            kline.begin_ms * 1_000,
            self._timeframe,
            kline.open,
            kline.high,
            kline.low,
            kline.close,
            kline.volume,
        )
        self._record(pair, candle)
        return True

    def _take_mark_price(self, frame: MarkPriceFrame, received_ns: int) -> bool:
        """One frame is a record of two channels."""
        timestamp_us = frame.event_ms * 1_000
        of_mark, of_funding = self._mark_prices.get(frame.market), self._fundings.get(frame.market)
        if of_mark is not None:
            index_price = float(frame.index_price) if frame.index_price else None
            self._record(of_mark, MarkPrice(received_ns, timestamp_us, frame.mark_price, index_price))
        if of_funding is not None and frame.rate:
            funding = Funding(received_ns, timestamp_us, float(frame.rate), frame.due_ms * 1_000, None, None, None)
            self._record(of_funding, funding)
        if of_mark is None and of_funding is None:
            self._link.discarded("markprice", "not_asked")
            return False
        return True

    def _take_liquidation(self, frame: ForceOrderFrame, received_ns: int) -> bool:
        order = frame.order
        pair = self._liquidations.get(order.market)
        if pair is None:
            self._link.discarded("liquidation", "not_asked")
            return False
        side = SIDES.get(order.side)
        time_us = order.time_ms * 1_000
        self._record(pair, Liquidation(received_ns, time_us, order.average_price, order.executed, side))
        return True

    # -- snapshots

    def _want(self, book: _Book) -> None:
        if self._snapshots is not None and (book.wanted is None or book.wanted.done):
            book.wanted = self._snapshots.want(
                book.market, lambda snapshot, received_ns: self._lay(book, snapshot, received_ns)
            )

    def _lay(self, book: _Book, snapshot: Snapshot, received_ns: int) -> bool:
        """False when the snapshot is older than what was buffered."""
        self._link.drain()
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

    def _request(self, pairs: Sequence[Pair]) -> Request:
        self._last_id += 1
        streams = {f"{self._ids[pair.symbol].lower()}@{self._stream(pair.channel)}": None for pair in pairs}
        message = {"method": "SUBSCRIBE", "params": list(streams), "id": self._last_id}
        return Request(self._last_id, msgspec.json.encode(message), pairs)

    def _stream(self, channel: str) -> str:
        return STREAMS[channel] + (self._timeframe if channel == "ohlcv" else "")

    def _reply(self, frame: bytes) -> None:
        """Raises msgspec.MsgspecError for what is neither an event nor a reply."""
        reply = decode_reply(frame)
        request = next((sent for sent in self._unanswered if sent.id == reply.id), None)
        if request is not None:
            self._unanswered.remove(request)
        if reply.error is not None:
            self._link.refused(request, f"{reply.error.msg} (code {reply.error.code})")
        elif request is not None:
            self._accepted(request)
            for book in self._books.values():
                if book.pair in request.pairs:
                    self._want(book)
        elif reply.id is None and (not reply.event or reply.event in EVENTS):
            raise ValueError(f"expected a reply, or an event of {', '.join(EVENTS)} with all its fields")


class SpotQuoteSession(BinanceSession):
    """With best bids and asks of the spot market, whose frames do not say what they are."""

    def take(self, frame: bytes, received_ns: int) -> bool:
        if frame.startswith(DATA[1]):
            return self._take_quote(decode_spot_quote(frame), received_ns)
        return super().take(frame, received_ns)
