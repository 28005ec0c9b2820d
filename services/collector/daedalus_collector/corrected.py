"""Where ccxt 4.5.90 handles an exchange's frames wrongly: subclasses that do it by the exchange's protocol.

Found by frames that were recorded at the exchanges; each leans on methods of ccxt/pro/<exchange>.py, read 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ccxt.base.errors import ExchangeError, InvalidNonce

from daedalus_collector.bybit import bybit


def corrected(exchange_class: Any, exchange_id: str) -> Any:
    """A subclass of a ccxt.pro class; the class itself where there is nothing to correct."""
    correct = _CORRECTIONS.get(exchange_id)
    return exchange_class if correct is None else correct(exchange_class)


def _binance(exchange_class: Any) -> Any:
    class Binance(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_order_book_subscription(
            self, client: Any, message: Mapping[str, Any], subscription: Mapping[str, Any]
        ) -> None:
            """Lay the books of a subscription that do not stand on this connection.

            A book that lost a frame is subscribed again with all of its batch, and ccxt then empties the good ones too: what
            came until their new snapshots would be missing, and nothing would say so.
            """
            laid = client.__dict__.setdefault("laid", set())
            symbols = subscription.get("symbols") or [subscription["symbol"]]
            standing = {symbol for symbol in laid if symbol in self.orderbooks and self.orderbooks[symbol]["nonce"]}
            wanted = [symbol for symbol in symbols if symbol not in standing]
            laid.update(wanted)
            super().handle_order_book_subscription(client, message, {**subscription, "symbols": wanted})

    return Binance


def _bitstamp(exchange_class: Any) -> Any:
    class Bitstamp(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def get_cache_index(self, orderbook: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]]) -> int:
            """Which of the changes that came before a REST snapshot are newer; -1: the snapshot is too old.

            ccxt looks for the change of the very microsecond of the snapshot, and where there is none takes all for older.
            """
            nonce, times = orderbook["nonce"], [int(delta["microtimestamp"]) for delta in deltas]
            if not times or nonce < times[0]:
                return -1
            return sum(time <= nonce for time in times)

        def handle_book_delta(self, orderbook: dict[str, Any], delta: Mapping[str, Any]) -> None:
            super().handle_book_delta(orderbook, delta)
            orderbook["timestamp"] = orderbook["nonce"] // 1_000  # ccxt takes the whole second beside it

    return Bitstamp


def _coinbase(exchange_class: Any) -> Any:
    class Coinbase(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_message(self, client: Any, message: Any) -> None:
            """Give a connection up on which messages are missing. All of its messages are numbered, whatever channel they are
            of (docs.cdp.coinbase.com/advanced-trade/docs/ws-overview, "Sequence numbers"); ccxt does not look at it.
            """
            number = message.get("sequence_num")
            if number is not None:
                expected = client.__dict__.get("next_number", number)
                client.__dict__["next_number"] = number + 1
                if number != expected:
                    client.reset(InvalidNonce(f"expected message {expected}, was {number}"))
                    return
            super().handle_message(client, message)

    return Coinbase


def _coinbaseexchange(exchange_class: Any) -> Any:
    class CoinbaseExchange(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_message(self, client: Any, message: Any) -> None:
            # The last trade before a subscription, so of a gap (docs.cdp.coinbase.com/exchange/websocket-feed/channels,
            # "Matches channel"). ccxt passes it over.
            if message.get("type") == "last_match":
                message = {**message, "type": "match"}
            super().handle_message(client, message)

    return CoinbaseExchange


def _okx(exchange_class: Any) -> Any:
    class Okx(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_liquidation(self, client: Any, message: Mapping[str, Any]) -> None:
            # A message may hold several orders of several markets; ccxt reads the first of each market's
            # (okx.com/docs-v5, "Liquidation orders channel": details is an array).
            for entry in message["data"]:
                for detail in entry["details"]:
                    super().handle_liquidation(client, {**message, "data": [{**entry, "details": [detail]}]})

    return Okx


def _kraken(exchange_class: Any) -> Any:
    class Kraken(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def watch_multiple(
            self,
            url: str,
            message_hashes: Any,
            message: Any = None,
            subscribe_hashes: Any = None,
            subscription: Any = None,
        ) -> Any:
            if isinstance(message, dict):  # ccxt keeps it where it subscribes
                subscription = {**(subscription or {}), "req_id": message.get("req_id")}
            return super().watch_multiple(url, message_hashes, message, subscribe_hashes, subscription)

        def handle_error_message(self, client: Any, message: Any) -> bool:
            """A refused subscription fails where it is waited for. ccxt tells the id of the request, for which nobody waits."""
            told = message.get("error")
            if message.get("method") != "subscribe" or told is None:
                return bool(super().handle_error_message(client, message))
            if "already subscribed" not in told.lower():
                asked = [hash_ for hash_, kept in client.subscriptions.items()
                         if isinstance(kept, dict) and kept.get("req_id") == message.get("req_id")]  # fmt: skip
                broad = self.exceptions["ws"]["broad"]
                kind = broad.get(self.find_broadly_matched_key(broad, told), ExchangeError)
                for hash_ in asked:
                    del client.subscriptions[hash_]
                    client.reject(kind(told), hash_)
            return False

    return Kraken


_CORRECTIONS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("binance", "binanceus", "binanceusdm", "binancecoinm"), _binance),
    "bitstamp": _bitstamp,
    **dict.fromkeys(("bybit", "bybiteu", "bybitid"), bybit),
    "coinbase": _coinbase,
    "coinbaseexchange": _coinbaseexchange,
    "kraken": _kraken,
    **dict.fromkeys(("okx", "okxus", "myokx"), _okx),
}
