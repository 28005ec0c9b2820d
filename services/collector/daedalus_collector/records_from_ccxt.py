"""ccxt's trade, ticker, order book and so on → records. Pure: the receive time is an argument.

What ccxt calls None stays None; its milliseconds become microseconds; nothing is derived. ccxt's structures:
https://docs.ccxt.com/#/README?id=public-api (2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daedalus.errors import PermanentError
from daedalus.records import BidAsk, Candle, Funding, Liquidation, MarkPrice, OrderBook, Ticker, Trade, levels


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
    return Ticker(
        received_ns,
        _microseconds(ticker["timestamp"]) if timestamp_us is None else timestamp_us,
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


def bid_ask_record(
    quote: Mapping[str, Any], received_ns: int, timestamp_us: int | None = None, nonce: int | None = None
) -> BidAsk:
    """`timestamp_us` and `nonce` where ccxt loses them. Raises MappingError when neither a bid nor an ask is there."""
    if quote["bid"] is None and quote["ask"] is None:
        raise MappingError(f"best bid and ask of {quote['symbol']}: expected one of them, was neither")
    return BidAsk(
        received_ns,
        _microseconds(quote["timestamp"]) if timestamp_us is None else timestamp_us,
        nonce,
        quote["bid"],
        quote["bidVolume"],
        quote["ask"],
        quote["askVolume"],
    )


def candle_record(told: Mapping[str, Any], received_ns: int, timeframe: str) -> Candle:
    """`told`: symbol, timeframe (None: `timeframe` is meant) and candle. Raises MappingError for one that begins nowhere."""
    begin, *values = told["candle"]
    if begin is None:
        raise MappingError(f"candle of {told['symbol']}: expected where it begins, was None")
    open_, high, low, close, volume = (number(value) for value in values[:5])
    return Candle(received_ns, int(begin * 1_000), told["timeframe"] or timeframe, open_, high, low, close, volume)


def funding_record(funding: Mapping[str, Any], received_ns: int) -> Funding:
    """Raises MappingError when there is no rate."""
    rate = number(funding["fundingRate"])
    if rate is None:
        raise MappingError(f"funding of {funding['symbol']}: expected a rate, was {funding['fundingRate']!r}")
    return Funding(
        received_ns,
        _microseconds(funding.get("timestamp")),
        rate,
        _microseconds(funding.get("fundingTimestamp")),
        number(funding.get("nextFundingRate")),
        _microseconds(funding.get("nextFundingTimestamp")),
        funding.get("interval"),
    )


def mark_price_record(quote: Mapping[str, Any], received_ns: int, timestamp_us: int | None = None) -> MarkPrice:
    """`timestamp_us`: the exchange's time where ccxt loses it. Raises MappingError when there is no mark price."""
    mark_price = number(quote.get("markPrice"))
    if mark_price is None:
        raise MappingError(f"mark price of {quote['symbol']}: expected one, was {quote.get('markPrice')!r}")
    if timestamp_us is None:
        timestamp_us = _microseconds(quote["timestamp"])
    return MarkPrice(received_ns, timestamp_us, mark_price, number(quote.get("indexPrice")))


def liquidation_record(liquidation: Mapping[str, Any], received_ns: int, amount: object = None) -> Liquidation:
    """`amount`: what was executed, where ccxt takes another number. Raises MappingError when price or amount is missing."""
    price, executed = number(liquidation["price"]), number(liquidation["contracts"] if amount is None else amount)
    if price is None or executed is None:
        raise MappingError(
            f"liquidation of {liquidation['symbol']}: expected a price and an amount, was {price!r} and {executed!r}"
        )
    side = liquidation["side"]
    timestamp_us = _microseconds(liquidation["timestamp"])
    return Liquidation(received_ns, timestamp_us, price, executed, side if side in ("buy", "sell") else None)


def number(value: Any) -> float | None:
    """What is no number, such as an empty text, is None."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _microseconds(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else int(milliseconds * 1_000)
