"""The records: what one row of each channel is, in the order in which it travels.

A record is a msgspec struct that is encoded as an array, so the field order is part of the wire format: a new field is
appended, nullable and None by default: then a reader takes the shorter records of before, and an older reader passes over
it, so the wire version stays. Times are integers since 1970-01-01 UTC: `_ns` nanoseconds, `_us`
microseconds. Prices are in quote currency, amounts in base currency (contracts where the market counts contracts).
What an exchange does not say is None; nothing is derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from struct import pack
from typing import Literal

import msgspec

Side = Literal["buy", "sell"]
Source = Literal["backfill"]


class Trade(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One execution. `side` is the taker's as far as ccxt knows it."""

    received_ns: int
    """Local clock when the frame left the socket."""
    timestamp_us: int | None
    """The exchange's time of the trade."""
    id: str | None
    price: float
    amount: float
    side: Side | None
    source: Source | None = None
    """backfill: fetched over REST after a gap, so `received_ns` is that moment; None: live."""


class Ticker(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One price quote; every field except `received_ns` is as the exchange sent it, or None."""

    received_ns: int
    timestamp_us: int | None
    last: float | None
    bid: float | None
    bid_amount: float | None
    ask: float | None
    ask_amount: float | None
    open: float | None
    high: float | None
    low: float | None
    vwap: float | None
    base_volume: float | None
    quote_volume: float | None


class OrderBook(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The best levels after one update, best first. Each side is two columns of little-endian float64: the writer lays
    them into Arrow without looking at a single level.
    """

    received_ns: int
    timestamp_us: int | None
    nonce: int | None
    """The exchange's sequence of this state, where it has one."""
    bid_prices: bytes
    bid_amounts: bytes
    ask_prices: bytes
    ask_amounts: bytes


class BidAsk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The best bid and ask after one change of either."""

    received_ns: int
    timestamp_us: int | None
    nonce: int | None
    """The exchange's sequence of this state, where it has one."""
    bid: float | None
    bid_amount: float | None
    ask: float | None
    ask_amount: float | None


class Candle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One state of a candle: an exchange sends the present one again whenever it changed, so the last state of each counts."""

    received_ns: int
    timestamp_us: int
    """Where the candle begins."""
    timeframe: str
    """ccxt's name of its length, such as `1m`."""
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


class Funding(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The funding rate of a perpetual swap, as a fraction per interval: 0.0001 is 0.01 %."""

    received_ns: int
    timestamp_us: int | None
    rate: float
    due_us: int | None
    """When `rate` is paid."""
    next_rate: float | None
    next_due_us: int | None
    """When `next_rate` is paid."""
    interval: str | None
    """Between two payments, such as `8h`."""


class MarkPrice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a derivative is valued at, and the index of spot prices below it."""

    received_ns: int
    timestamp_us: int | None
    mark_price: float
    index_price: float | None


class Liquidation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One forced order, as far as an exchange tells of them: many tell the largest of each second only."""

    received_ns: int
    timestamp_us: int | None
    price: float
    amount: float
    side: Side | None
    """Of the forced order: `sell` ends a long position."""


class RawFrame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One WebSocket data frame as it came, after the protocol's own decompression."""

    received_ns: int
    connection: str
    """Which connection of which run it came on."""
    number: int
    """Counts the data frames of the connection from 0, without holes."""
    frame: bytes


class Gap(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An interval of one symbol and channel in which records may be missing."""

    received_ns: int
    """When the gap was closed and written down."""
    channel: str
    cause: str
    """One of `CAUSES`."""
    from_ns: int
    """The last moment known to be complete."""
    to_ns: int
    """The first moment known to be complete again."""
    records: int | None
    """How many records are missing, where that is known."""
    detail: str


CAUSES = {
    "collector_down": "the collector was not running",
    "connection_lost": "the connection to the exchange was lost",
    "connection_silent": "the connection was open and delivered nothing, or nothing of this symbol and channel, for much "
    "longer than usual",
    "bad_frame": "a frame could not be read",
    "sequence_gap": "the exchange's sequence jumped",
    "outbox_full": "JetStream was away or full for longer than the outbox, and the spill on disk, could hold; or that disk "
    "lost a file",
}

Record = Trade | Ticker | OrderBook | BidAsk | Candle | Funding | MarkPrice | Liquidation | RawFrame | Gap

CHANNELS: dict[str, type[Record]] = {
    "trade": Trade,
    "ticker": Ticker,
    "orderbook": OrderBook,
    "bidask": BidAsk,
    "ohlcv": Candle,
    "funding": Funding,
    "markprice": MarkPrice,
    "liquidation": Liquidation,
    "raw": RawFrame,
    "gap": Gap,
}
"""Channel name → record type. `gap` is the channel that every other channel's losses are written to."""

EVERY_SYMBOL = "*"
"""The symbol of `raw`: a frame is recorded before anybody reads which market it is about."""


def levels(side: Iterable[Sequence[float]], depth: int) -> tuple[bytes, bytes]:
    """The first `depth` (price, amount, …) levels as two columns of little-endian float64."""
    best = list(islice(side, depth))
    if not best:
        return b"", b""
    prices, amounts, *_ = zip(*best, strict=False)  # twice as fast as a loop over the levels
    form = f"<{len(best)}d"
    return pack(form, *prices), pack(form, *amounts)
