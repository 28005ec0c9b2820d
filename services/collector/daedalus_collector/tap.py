"""The tap: every parsed trade, ticker and order book state of a ccxt.pro exchange, at the moment its frame is handled.

What `watch_*` returns loses data by design: book and ticker states that come while nobody waits are merged, trades beyond
`tradesLimit` are dropped, and of several symbols in one socket read only the first is told
(https://github.com/ccxt/ccxt/issues/23251, #28089, #30220). So the values are taken where the handlers deliver them, in
`Client.resolve`, and the `watch_*` calls only keep subscriptions alive. A handler's exception, which ends ccxt's receive
loop and leaves the socket open and unread, is caught here, and the loop goes on.

This leans on names of ccxt 4.5.90 that are not its public interface: `Client.handle_message`, `create_connection`,
`resolve`, `reject`, `reset`, `futures`, `subscriptions`; `Exchange.client`, `clients`, `watch`, `watch_multiple`,
`on_connected`, `on_error`, `on_close`, `order_book`, `safe_ticker`, `safe_trade`. ccxt is pinned exactly, and the tests of
exact counts fail on a version where one of them changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from aiohttp import WSMsgType
from ccxt.async_support.base.ws.cache import ArrayCache
from ccxt.async_support.base.ws.client import Client
from ccxt.async_support.base.ws.order_book import OrderBook
from ccxt.base.errors import BaseError

from daedalus_collector.feed import Pair

TICKER_NUMBERS = (
    "bid", "bidVolume", "ask", "askVolume", "high", "low", "open", "close", "last", "vwap", "baseVolume", "quoteVolume",
)  # fmt: skip


MAX_MESSAGE_BYTES = 64 * 2**20


class Subscriber(Protocol):
    """Who made a `watch` call: learns which connection and which of ccxt's subscription hashes it became."""

    pairs: frozenset[Pair]

    def watched(self, client: TapClient, hashes: list[str]) -> None: ...


class Listener(Protocol):
    """Hears what the tap catches. Must not raise."""

    def on_result(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        """A trade, a ticker or an order book state; False when it is not wanted. The book goes on changing."""

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
    _received_ns = 0
    _in_frame = False

    def adopt(self, listener: Listener) -> None:
        self.listener = listener
        self.pairs = set()
        self._told: dict[int, tuple[object, str | None]] = {}

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
        if self._told:
            self._told.clear()
        try:
            super().handle_message(message)
        except BaseError as error:  # an error frame of the exchange, such as Coinbase's {"type": "error"}
            self.listener.on_error(self, error, None)
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
            trades = list(iter(result))
            result.clear()  # all of them are taken now, and a second resolve of the same cache finds none
            told = [self.listener.on_result("trade", trade, received_ns) for trade in trades]
            return any(told)
        if isinstance(result, dict) and result:
            if "last" in result and "bid" in result:
                return self._ticker(result, message_hash, received_ns)
            tickers = [ticker for ticker in result.values() if isinstance(ticker, dict) and "last" in ticker]
            told = [self._ticker(ticker, message_hash, received_ns) for ticker in tickers]
            return any(told)
        return False

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


def tapped(exchange_class: Any, listener: Listener, kept_levels: int = 0, derived: tuple[str, ...] = ()) -> Any:
    """A subclass of a ccxt.pro class whose connections are tapped and whose results are only parsed, not derived.

    `kept_levels`: the least depth at which its books are cut. `derived`: ticker fields that are not the exchange's.
    """

    class Tapped(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def client(self, url: str) -> TapClient:
            known = url in (self.clients or {})
            client: TapClient = super().client(url)
            if not known:
                client.__class__ = TapClient
                client.adopt(listener)
            return client

        def watch(
            self, url: str, message_hash: str, message: Any = None, subscribe_hash: Any = None, subscription: Any = None
        ) -> Any:
            future = super().watch(url, message_hash, message, subscribe_hash, subscription)
            self._watched(url, [subscribe_hash])
            return future

        def watch_multiple(
            self,
            url: str,
            message_hashes: Any,
            message: Any = None,
            subscribe_hashes: Any = None,
            subscription: Any = None,
        ) -> Any:
            future = super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)
            self._watched(url, list(subscribe_hashes or ()))
            return future

        def _watched(self, url: str, hashes: list[str]) -> None:
            if (subscriber := watching.get()) is not None:
                client = self.client(url)
                client.pairs.update(subscriber.pairs)
                subscriber.watched(client, hashes)

        def on_connected(self, client: TapClient, message: Any = None) -> None:
            super().on_connected(client, message)
            client.connected_ns = time.time_ns()
            listener.on_connected(client)

        def on_error(self, client: TapClient, error: Any) -> None:
            if (self.clients or {}).get(client.url) in (client, None):  # not where a new connection has its place
                super().on_error(client, error)  # counts failed dials, keeps a Retry-After
            if not client.abandoned:
                listener.on_lost(client, error)

        def on_close(self, client: TapClient, error: Any) -> None:
            if (self.clients or {}).get(client.url) is client:
                super().on_close(client, error)
            if not client.abandoned:
                listener.on_lost(client, f"closed by the exchange with code {error}")

        def order_book(self, snapshot: Any = None, depth: int | None = None) -> Any:
            return super().order_book(snapshot or {}, max(depth, kept_levels) if depth else depth)

        def safe_ticker(self, ticker: dict[str, Any], _market: Any = None) -> dict[str, Any]:
            return _as_sent(ticker, derived)

        def safe_trade(self, trade: dict[str, Any], _market: Any = None) -> dict[str, Any]:
            for name in ("price", "amount"):
                trade[name] = _number(trade.get(name))
            return trade

    Tapped.__name__ = exchange_class.__name__
    return Tapped


def _as_sent(ticker: dict[str, Any], derived: tuple[str, ...]) -> dict[str, Any]:
    for name in TICKER_NUMBERS:
        ticker[name] = _number(ticker.get(name))
    if ticker["last"] is None:
        ticker["last"] = ticker["close"]
    for name in derived:
        ticker[name] = None
    return ticker


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
