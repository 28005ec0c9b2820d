"""ccxt's trade, ticker and order book → records. Pure: the receive time is an argument.

What ccxt calls None stays None; its milliseconds become microseconds; nothing is derived. ccxt's structures:
https://docs.ccxt.com/#/README?id=public-api (2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daedalus.errors import PermanentError
from daedalus.records import OrderBook, Ticker, Trade, levels


class MappingError(PermanentError):
    """A parsed result that is no record, such as a trade without a price."""


def trade_record(trade: Mapping[str, Any], received_ns: int) -> Trade:
    """Raises MappingError when the price or the amount is missing: a protocol change makes ccxt return such."""
    price, amount, side = trade["price"], trade["amount"], trade["side"]
    if price is None or amount is None:
        raise MappingError(f"trade of {trade['symbol']}: expected a price and an amount, was {price!r} and {amount!r}")
    id_, timestamp = trade["id"], trade["timestamp"]
    return Trade(
        received_ns,
        None if timestamp is None else int(timestamp * 1_000),
        None if id_ is None else str(id_),
        float(price),
        float(amount),
        side if side in ("buy", "sell") else None,
    )


def ticker_record(ticker: Mapping[str, Any], received_ns: int, timestamp_us: int | None = None) -> Ticker:
    """`timestamp_us`: the exchange's time where ccxt loses it."""
    if timestamp_us is None and (timestamp := ticker["timestamp"]) is not None:
        timestamp_us = int(timestamp * 1_000)
    return Ticker(
        received_ns,
        timestamp_us,
        ticker["last"],
        ticker["bid"],
        ticker["bidVolume"],
        ticker["ask"],
        ticker["askVolume"],
        ticker["open"],
        ticker["high"],
        ticker["low"],
        ticker["vwap"],
        ticker["baseVolume"],
        ticker["quoteVolume"],
    )


def order_book_record(book: Mapping[str, Any], depth: int, received_ns: int) -> OrderBook:
    """The best `depth` levels of each side."""
    timestamp, nonce = book["timestamp"], book["nonce"]
    return OrderBook(
        received_ns,
        None if timestamp is None else int(timestamp * 1_000),
        None if nonce is None else int(nonce),
        *levels(book["bids"], depth),
        *levels(book["asks"], depth),
    )
