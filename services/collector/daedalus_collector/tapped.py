"""A ccxt.pro class on the tap: its connections are `TapClient`s, and its results are parsed and not derived.

What this leans on is in `daedalus_collector.tap`.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from daedalus_collector import quirks
from daedalus_collector.raw_frames import RawFrames
from daedalus_collector.records_from_ccxt import number
from daedalus_collector.tap import Listener, QuoteClient, TapClient, watching

TICKER_NUMBERS = (
    "bid", "bidVolume", "ask", "askVolume", "high", "low", "open", "close", "last", "vwap", "baseVolume", "quoteVolume",
)  # fmt: skip

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
"""What most exchanges send, and Python reads in a tenth of the time that ccxt takes: it was a tenth of each frame."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def tapped(
    exchange_class: Any,
    exchange_id: str,
    listener: Listener,
    quotes: str = "ticker",
    raw: RawFrames | None = None,
) -> Any:
    """A subclass of a ccxt.pro class whose connections are tapped and whose results are only parsed, not derived.

    `quotes`: the channel of what ccxt calls a ticker: ticker, bidask or markprice.
    """
    client_class = TapClient if quotes == "ticker" else type("QuoteClient", (QuoteClient,), {"quotes": quotes})

    class Tapped(_parsing(exchange_class, exchange_id)):  # type: ignore[misc]  # ccxt has no types
        def client(self, url: str) -> TapClient:
            known = url in (self.clients or {})
            client: TapClient = super().client(url)
            if not known:
                client.__class__ = client_class
                client.adopt(listener, self)
                if raw is not None:
                    client.tape, client.unparsed = raw.tape(f"{quotes} {url.partition('?')[0]}"), raw.only
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

    Tapped.__name__ = exchange_class.__name__
    return Tapped


def _parsing(exchange_class: Any, exchange_id: str) -> Any:
    """A subclass that only parses: what ccxt computes from what an exchange says costs a third of the time, and is not data."""
    kept_levels, derived = quirks.KEPT_LEVELS.get(exchange_id, 0), quirks.DERIVED.get(exchange_id, ())

    class Parsing(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def order_book(self, snapshot: Any = None, depth: int | None = None) -> Any:
            return super().order_book(snapshot or {}, max(depth, kept_levels) if depth else depth)

        def safe_ticker(self, ticker: dict[str, Any], _market: Any = None) -> dict[str, Any]:
            return _as_sent(ticker, derived)

        def handle_liquidation(self, client: TapClient, message: Any) -> None:
            client.cached = "liquidation"
            try:
                super().handle_liquidation(client, message)
            finally:
                client.cached = "trade"

        def safe_liquidation(self, liquidation: dict[str, Any], _market: Any = None) -> dict[str, Any]:
            return liquidation

        def safe_trade(self, trade: dict[str, Any], _market: Any = None) -> dict[str, Any]:
            for name in ("price", "amount"):
                trade[name] = number(trade.get(name))
            return trade

        @staticmethod
        def parse8601(timestamp: Any = None) -> int | None:
            if isinstance(timestamp, str) and UTC_TIME.fullmatch(timestamp):
                try:
                    return (datetime.fromisoformat(timestamp) - EPOCH) // MILLISECOND
                except ValueError:
                    return None
            told: int | None = exchange_class.parse8601(timestamp)
            return told

        def try_resolve_usdc(self, client: TapClient, message_hash: str, result: Any) -> None:
            if f"{message_hash}C" in client.futures:  # Coinbase's second name of it; the tap has taken the result
                super().try_resolve_usdc(client, message_hash, result)

    return Parsing


def _as_sent(ticker: dict[str, Any], derived: tuple[str, ...]) -> dict[str, Any]:
    for name in TICKER_NUMBERS:
        ticker[name] = number(ticker.get(name))
    if ticker["last"] is None:
        ticker["last"] = ticker["close"]
    for name in derived:
        ticker[name] = None
    return ticker
