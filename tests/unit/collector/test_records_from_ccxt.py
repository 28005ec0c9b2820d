from __future__ import annotations

from array import array
from typing import Any

import pytest

from daedalus.records import Candle, Funding, Liquidation, MarkPrice, OrderBook, Ticker, Trade
from daedalus_collector.records_from_ccxt import (
    MappingError,
    bid_ask_record,
    candle_record,
    funding_record,
    liquidation_record,
    mark_price_record,
    order_book_record,
    ticker_record,
    trade_record,
)

TRADE: dict[str, Any] = {
    "symbol": "BTC/USD",
    "id": "1069726291",
    "timestamp": 1_786_562_867_532,
    "price": 63310.25,
    "amount": 4.3e-07,
    "side": "buy",
}
TICKER: dict[str, Any] = dict.fromkeys(
    ("last", "bid", "bidVolume", "ask", "askVolume", "open", "high", "low", "vwap", "baseVolume", "quoteVolume")
) | {"symbol": "BTC/USD", "timestamp": None}


def test_a_trade_keeps_what_the_exchange_said() -> None:
    """Milliseconds become microseconds, the rest is as ccxt has it."""
    assert trade_record(TRADE, 7) == Trade(7, 1_786_562_867_532_000, "1069726291", 63310.25, 4.3e-07, "buy")


def test_what_a_trade_lacks_is_none() -> None:
    """No time, no id, no side: None, not zero and not an empty text."""
    bare = TRADE | {"id": None, "timestamp": None, "side": None}
    assert trade_record(bare, 7) == Trade(7, None, None, 63310.25, 4.3e-07, None)


@pytest.mark.parametrize("missing", ["price", "amount"])
def test_a_trade_without_price_or_amount_is_refused(missing: str) -> None:
    """A changed protocol makes ccxt return such; it must not become data."""
    with pytest.raises(MappingError, match="expected a price and an amount"):
        trade_record(TRADE | {missing: None}, 7)


def test_a_ticker_maps_field_by_field() -> None:
    """Each field to its own place, and nothing derived from the others."""
    values = {name: float(number) for number, name in enumerate(TICKER) if name not in ("symbol", "timestamp")}
    record = ticker_record(TICKER | values | {"timestamp": 5}, 7)
    assert record == Ticker(7, 5_000, *[values[name] for name in values])


def test_an_empty_ticker_stays_empty() -> None:
    """What the exchange does not send is None."""
    assert ticker_record(TICKER, 7) == Ticker(7, *[None] * 12)


def test_the_time_of_the_frame_goes_before_ccxts() -> None:
    """Where ccxt tells another time, or none, the frame's is taken."""
    assert ticker_record(TICKER | {"timestamp": 5}, 7, 6_001).timestamp_us == 6_001


def test_an_order_book_is_cut_to_its_depth() -> None:
    """Best first, each side as two columns; further elements of a level (counts, ids) are left out."""
    book = {
        "symbol": "BTC/USD",
        "timestamp": 5,
        "nonce": 42,
        "bids": [[3.0, 1.0, 9], [2.0, 4.0, 9], [1.0, 5.0, 9]],
        "asks": [[4.0, 2.0]],
    }
    record = order_book_record(book, 2, 7)
    assert record == OrderBook(
        7,
        5_000,
        42,
        array("d", [3.0, 2.0]).tobytes(),
        array("d", [1.0, 4.0]).tobytes(),
        array("d", [4.0]).tobytes(),
        array("d", [2.0]).tobytes(),
    )


def test_an_order_book_without_time_and_nonce() -> None:
    """Many exchanges number nothing."""
    record = order_book_record({"timestamp": None, "nonce": None, "bids": [], "asks": []}, 20, 7)
    assert record == OrderBook(7, None, None, b"", b"", b"", b"")


def test_what_is_told_on_the_other_channels_is_kept() -> None:
    """Texts become numbers, milliseconds microseconds; an empty text is None, and an unknown side too."""
    candle = {"symbol": "BTC/USD", "timeframe": None, "candle": [60_000, "1.5", 2, 1, None, "0"]}
    assert candle_record(candle, 7, "5m") == Candle(7, 60_000_000, "5m", 1.5, 2.0, 1.0, None, 0.0)
    funding = {"symbol": "BTC/USD", "fundingRate": "0.0001", "timestamp": 5, "nextFundingRate": "", "interval": "8h"}
    funding_due = {**funding, "fundingTimestamp": 9}
    assert funding_record(funding_due, 7) == Funding(7, 5_000, 0.0001, 9_000, None, None, "8h")
    quote = {"symbol": "BTC/USD", "timestamp": 5, "markPrice": "1.5", "indexPrice": ""}
    assert mark_price_record(quote, 7) == MarkPrice(7, 5_000, 1.5, None)
    assert mark_price_record(quote, 7, 6) == MarkPrice(7, 6, 1.5, None)
    order = {"symbol": "BTC/USD", "timestamp": 5, "price": 1.5, "contracts": 2.0, "side": "close"}
    assert liquidation_record(order, 7) == Liquidation(7, 5_000, 1.5, 2.0, None)
    assert liquidation_record({**order, "side": "sell"}, 7, "3") == Liquidation(7, 5_000, 1.5, 3.0, "sell")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (bid_ask_record, {"bid": None, "ask": None}),
        (funding_record, {"fundingRate": ""}),
        (mark_price_record, {"markPrice": None}),
        (liquidation_record, {"price": None, "contracts": 1.0, "side": "buy"}),
        (lambda told, received_ns: candle_record(told, received_ns, "1m"), {"candle": [None, 1, 1, 1, 1, 1]}),
    ],
)
def test_what_lacks_its_point_is_no_record(make: Any, told: dict[str, Any]) -> None:
    """Such as a protocol change makes ccxt return; the message says of which market."""
    with pytest.raises(MappingError, match="BTC/USD"):
        make({"symbol": "BTC/USD", "timestamp": None, **told}, 7)
