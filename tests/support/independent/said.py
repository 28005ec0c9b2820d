"""What an exchange said, as the records that it should have become, and an order book kept by the simplest means."""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from daedalus.records import BidAsk, OrderBook, Ticker, Trade

DEPTH = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Said:
    """Unified symbol → records in the order of the frames; `received_ns` is 0."""

    def __init__(self) -> None:
        self.trade: dict[str, list[Trade]] = defaultdict(list)
        self.ticker: dict[str, list[Ticker]] = defaultdict(list)
        self.orderbook: dict[str, list[OrderBook]] = defaultdict(list)
        self.bidask: dict[str, list[BidAsk]] = defaultdict(list)


class PlainSide:
    """Price → amount, and the prices in order."""

    def __init__(self) -> None:
        self.amounts: dict[float, float] = {}
        self.prices: list[float] = []

    def put(self, price: float, amount: float) -> None:
        """A new absolute amount; 0 removes the level."""
        if amount:
            if price not in self.amounts:
                insort(self.prices, price)
            self.amounts[price] = amount
        elif price in self.amounts:
            del self.amounts[price]
            del self.prices[bisect_left(self.prices, price)]


class PlainBook:
    def __init__(self) -> None:
        self.bids, self.asks = PlainSide(), PlainSide()

    def put(self, bids: Iterable[Sequence[str]], asks: Iterable[Sequence[str]]) -> None:
        """Levels as [price, amount, …]."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, amount, *_ in levels:
                side.put(float(price), float(amount))

    def state(self, timestamp_us: int | None, nonce: int | None) -> OrderBook:
        best_bids, best_asks = self.bids.prices[: -DEPTH - 1 : -1], self.asks.prices[:DEPTH]
        return OrderBook(
            0,
            timestamp_us,
            nonce,
            _column(best_bids),
            _column([self.bids.amounts[price] for price in best_bids]),
            _column(best_asks),
            _column([self.asks.amounts[price] for price in best_asks]),
        )


def microseconds(text: str) -> int:
    """Of an ISO 8601 time."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def _column(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)
