"""The tap: every result that a ccxt.pro exchange parses of its frames, at the moment the frame is handled.

What `watch_*` returns loses data by design: book and ticker states that come while nobody waits are merged, trades beyond
`tradesLimit` are dropped, and of several symbols in one socket read only the first is told
(https://github.com/ccxt/ccxt/issues/23251, #28089, #30220). So the values are taken where the handlers deliver them, in
`Client.resolve`, and the `watch_*` calls only keep subscriptions alive. A handler's exception, which ends ccxt's receive
loop and leaves the socket open and unread, is caught here, and the loop goes on.

This leans on names of ccxt 4.5.90 that are not its public interface: `Client.handle_message`, `create_connection`,
`resolve`, `reject`, `reset`, `futures`, `subscriptions`; `Exchange.client`, `clients`, `watch`, `watch_multiple`,
`on_connected`, `on_error`, `on_close`, `order_book`, `safe_ticker`, `safe_trade`, `safe_liquidation`, `ohlcvs`, `bidsasks`,
`parse8601`, `try_resolve_usdc`, `set_markets`.
ccxt is pinned exactly, and the tests of exact counts fail on a version where one of them changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from aiohttp import WSMsgType
from ccxt.async_support.base.ws.cache import ArrayCache, ArrayCacheByTimestamp
from ccxt.async_support.base.ws.client import Client
from ccxt.async_support.base.ws.order_book import OrderBook
from ccxt.base.errors import BaseError

from daedalus_collector.feed import Pair
from daedalus_collector.raw_frames import Tape

MAX_MESSAGE_BYTES = 64 * 2**20


class Subscriber(Protocol):
    """Who made a `watch` call: learns which connection and which of ccxt's subscription hashes it became."""

    pairs: frozenset[Pair]

    def watched(self, client: TapClient, hashes: list[str]) -> None: ...


class Listener(Protocol):
    """Hears what the tap catches. Must not raise."""

    def on_result(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        """A trade, an order book state, a candle, …: one record of that channel; False when it is not wanted. The book goes
        on changing.
        """

    def on_connected(self, client: TapClient) -> None: ...
    def on_lost(self, client: TapClient, error: object) -> None: ...
    def on_bad_frame(self, client: TapClient, error: Exception) -> None: ...
    def on_error(self, client: TapClient, error: BaseException, message_hash: str | None) -> None: ...


watching: ContextVar[Subscriber | None] = ContextVar("watching", default=None)
"""Whose `watch` call is running."""


class _LargeMessages:
    """An aiohttp session whose WebSockets take larger messages than the 10 MiB of ccxt: Coinbase's first message of a
    book is the whole book, 9.8 MB for 50,000 levels a side, and a connection that cannot take it is lost again and again.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def ws_connect(self, url: str, **arguments: Any) -> Any:
        return self._session.ws_connect(url, **{**arguments, "max_msg_size": MAX_MESSAGE_BYTES})


class TapClient(Client):  # type: ignore[misc]  # ccxt has no types
    """One connection. Times are nanoseconds since 1970."""

    listener: Listener
    pairs: set[Pair]
    """What was subscribed on it."""
    frames = 0
    connected_ns = 0
    first_data_ns = 0
    last_data_ns = 0
    """The last frame that held a record; a heartbeat is not data."""
    abandoned = False
    """It is being closed: what still comes is not looked at."""
    owner: Any
    """The exchange that it is of."""
    tape: Tape | None = None
    """Where its frames are kept as they come."""
    quotes = "ticker"
    """The channel of what ccxt calls a ticker."""
    unparsed = False
    """Its frames are recorded as they come, and nothing is read."""
    cached = "trade"
    """What an `ArrayCache` or a list of the present frame holds."""
    _received_ns = 0
    _in_frame = False

    def adopt(self, listener: Listener, owner: Any) -> None:
        self.listener = listener
        self.owner = owner
        self.pairs = set()
        self._told: dict[int, tuple[object, str | None]] = {}
        self._candle_caches: dict[int, tuple[object, str, str | None]] = {}

    def create_connection(self, session: Any) -> Any:
        return super().create_connection(_LargeMessages(session))

    def handle_message(self, message: Any) -> None:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            super().handle_message(message)
            return
        if self.abandoned:
            return
        self._received_ns = time.time_ns()
        self._in_frame = True
        self.frames += 1
        if self.tape is not None:
            self.tape.record(message.data, self._received_ns)
        if self._told:
            self._told.clear()
        try:
            super().handle_message(message)
        except BaseError as error:  # an error frame of the exchange, such as Coinbase's {"type": "error"}
            self.reject(error)  # which request it answers is not said: whoever waits asks again
        except Exception as error:  # noqa: BLE001  # the edge of the connection: anything a strange frame does to ccxt
            self.listener.on_bad_frame(self, error)
        finally:
            self._in_frame = False

    def resolve(self, result: Any, message_hash: str | None = None) -> Any:
        if not self.abandoned:
            # Results that come outside a frame are built from a REST answer: Binance's first book state.
            received_ns = self._received_ns if self._in_frame else time.time_ns()
            if self._deliver(result, message_hash, received_ns):
                self.last_data_ns = received_ns
                if not self.first_data_ns:
                    self.first_data_ns = received_ns
        return super().resolve(result, message_hash)

    def seen(self) -> None:
        """The present frame is data, and nobody reads it."""
        self.last_data_ns = self._received_ns
        self.first_data_ns = self.first_data_ns or self._received_ns

    def reject(self, result: Any, message_hash: str | None = None) -> Any:
        if self.abandoned or not isinstance(result, BaseException):
            return super().reject(result, message_hash)
        if message_hash is None and not self._in_frame:  # to everybody who waits: the connection is at its end
            self.listener.on_lost(self, result)
            return super().reject(result, message_hash)
        self.listener.on_error(self, result, message_hash)
        for waiting in list(self.futures) if message_hash is None else [message_hash]:
            super().reject(result, waiting)
        return result

    def reset(self, error: Any) -> None:
        """Handlers do this when they give a connection up; ccxt leaves it open, without pings."""
        if not self.abandoned:
            self.listener.on_lost(self, error)
        super().reset(error)

    def _deliver(self, result: Any, message_hash: str | None, received_ns: int) -> bool:
        if isinstance(result, OrderBook):
            if self._was_told(result, message_hash):
                return False
            result.limit()  # otherwise only watch_order_book() does it, and the book grows for ever
            return self.listener.on_result("orderbook", result, received_ns)
        if isinstance(result, ArrayCache):
            trades, channel = list(iter(result)), self.cached
            result.clear()  # all of them are taken now, and a second resolve of the same cache finds none
            told = [self.listener.on_result(channel, trade, received_ns) for trade in trades]
            return any(told)
        if isinstance(result, dict) and result:
            if "last" in result and "bid" in result:
                return self._ticker(result, message_hash, received_ns)
            if "fundingRate" in result:
                return self._once("funding", result, message_hash, received_ns)
            told = [
                self._ticker(entry, message_hash, received_ns)
                if "last" in entry
                else self._once("funding", entry, message_hash, received_ns)
                for entry in result.values()
                if isinstance(entry, dict) and ("last" in entry or "fundingRate" in entry)
            ]
            return any(told)
        return isinstance(result, list) and self._deliver_list(result, message_hash, received_ns)

    def _deliver_list(self, result: list[Any], message_hash: str | None, received_ns: int) -> bool:
        """Candles, alone or as [symbol, timeframe, candles]; [liquidation]."""
        if isinstance(result, ArrayCacheByTimestamp):
            return self._candles(*self._series_of(result), result, received_ns)
        if len(result) == 3 and isinstance(result[2], ArrayCacheByTimestamp):
            symbol, timeframe, candles = result
            return self._candles(symbol, timeframe, candles, received_ns)
        if self.cached != "liquidation":
            return False
        told = [self._once("liquidation", entry, message_hash, received_ns) for entry in result]
        return any(told)

    def _candles(self, symbol: str, timeframe: str | None, cache: Any, received_ns: int) -> bool:
        candles = list(iter(cache))
        cache.clear()  # a state that comes later is one of its own, and the cache does not grow
        told = [
            self.listener.on_result("ohlcv", {"symbol": symbol, "timeframe": timeframe, "candle": candle}, received_ns)
            for candle in candles
        ]
        return any(told)

    def _series_of(self, cache: Any) -> tuple[str, str | None]:
        """Whose candles these are: what most exchanges' handlers resolve does not say it."""
        known = self._candle_caches.get(id(cache))
        if known is None or known[0] is not cache:
            for symbol, caches in self.owner.ohlcvs.items():
                for timeframe, found in caches.items() if isinstance(caches, dict) else [(None, caches)]:
                    self._candle_caches[id(found)] = (found, symbol, timeframe)
            known = self._candle_caches[id(cache)]
        return known[1:]

    def _once(self, channel: str, result: Any, message_hash: str | None, received_ns: int) -> bool:
        return not self._was_told(result, message_hash) and self.listener.on_result(channel, result, received_ns)

    def _ticker(self, ticker: dict[str, Any], message_hash: str | None, received_ns: int) -> bool:
        if message_hash is not None and "bidask" in message_hash.lower():
            return False  # okx resolves each ticker as bids and asks as well
        return not self._was_told(ticker, message_hash) and self.listener.on_result("ticker", ticker, received_ns)

    def _was_told(self, result: object, message_hash: str | None) -> bool:
        """Within one frame handlers resolve one object under several hashes (the symbol's, the batch's, Coinbase's USDC):
        the first hash counts. The same hash again is a second state of the same object.
        """
        first = self._told.setdefault(id(result), (result, message_hash))
        return first[1] != message_hash


class QuoteClient(TapClient):
    """One connection of an exchange that was made for quotes other than tickers: ccxt has one structure for all of them,
    and some handlers deliver one under the other's name, or an order book of one level with it.
    """

    def _deliver(self, result: Any, message_hash: str | None, received_ns: int) -> bool:
        if isinstance(result, OrderBook) or not isinstance(result, dict):
            return False
        quotes = [result] if "last" in result and "bid" in result else list(result.values())
        told = [
            self._once(self.quotes, quote, message_hash, received_ns)
            for quote in quotes
            if isinstance(quote, dict) and "last" in quote and self._is_meant(quote)
        ]
        return any(told)

    def _is_meant(self, quote: dict[str, Any]) -> bool:
        """Derive delivers each ticker beside the best bid and ask that it made of it; Kraken knows tickers only."""
        return self.quotes != "bidask" or self.owner.bidsasks.get(quote["symbol"], quote) is quote
