"""The columns of every channel: what each means, in which unit, whether it may be null, and how we know.

This table is the only place that says so: the Arrow schemas of the files and docs/schema.md are made from it. A new column
is nullable and stands last in its channel, and `daedalus.catalog.SCHEMA_VERSION` goes up; `verify.versions` knows when it came.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
LEVELS = pa.list_(
    pa.struct([pa.field("price", pa.float64(), nullable=False), pa.field("amount", pa.float64(), nullable=False)])
)

Evidence = Literal["clock", "frames", "simulated", "documented"]
EVIDENCE: dict[Evidence, str] = {
    "clock": "this machine's own clock, names and counters",
    "frames": "recorded frames of real exchanges, decoded a second time by a test and compared value by value",
    "simulated": "frames of a simulator that speaks the exchange's protocol, compared with what it sent",
    "documented": "the exchange's and ccxt's documentation; parsed by ccxt, and not yet compared with a real frame",
}

BASE = "base currency, or contracts where the market counts them"
QUOTE = "quote currency"


class Column(msgspec.Struct, frozen=True):
    name: str
    type: pa.DataType
    meaning: str
    evidence: Evidence
    unit: str = ""
    nullable: bool = True
    source: str = ""
    """The record's field, where it has another name. A column of times takes microseconds (`…_us`) or nanoseconds
    (`…_ns`), and one of levels two fields: `<side>_prices` and `<side>_amounts`.
    """

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, nullable=self.nullable)


def _text(name: str, meaning: str, evidence: Evidence, *, nullable: bool = True) -> Column:
    return Column(name, pa.string(), meaning, evidence, "", nullable)


def _number(name: str, meaning: str, evidence: Evidence, unit: str, *, nullable: bool = True) -> Column:
    return Column(name, pa.float64(), meaning, evidence, unit, nullable)


def _time(meaning: str, evidence: Evidence, name: str = "timestamp", *, nullable: bool = True) -> Column:
    return Column(name, TIME, meaning, evidence, "UTC, microseconds", nullable, f"{name}_us")


def _moment(name: str, meaning: str) -> tuple[Column, Column]:
    """A moment of this machine's clock, as a time and in nanoseconds."""
    return (
        Column(f"{name}_at", TIME, meaning, "clock", "UTC, microseconds, rounded down", False, f"{name}_ns"),
        Column(f"{name}_ns", pa.int64(), "the same", "clock", "nanoseconds since 1970", False),
    )


def _levels(name: str, meaning: str, side: str) -> Column:
    return Column(name, LEVELS, meaning, "frames", f"price in {QUOTE}, amount in {BASE}", False, side)


PARTITION: tuple[Column, ...] = (
    _text("exchange", "the name in config.yaml", "clock", nullable=False),
    _text("symbol", "ccxt's unified symbol in its safe form", "clock", nullable=False),
    *(
        Column(name, pa.int32(), "of the receive time; the same value as in the path", "clock", "UTC", False)
        for name in ("year", "month", "day", "hour")
    ),
)
RECEIVED = _moment("received", "when the frame left the socket")

COLUMNS: dict[str, tuple[Column, ...]] = {
    "trade": (
        _time("the exchange's time of the trade", "frames"),
        _text("id", "the exchange's id; each is recorded once, over reconnects too", "frames"),
        _number("price", "", "frames", QUOTE, nullable=False),
        _number("amount", "", "frames", BASE, nullable=False),
        _text("side", "`buy` or `sell`: the taker's, as far as ccxt knows it", "frames"),
        _text("source", "null: live; `backfill`: missed, and fetched over REST after the gap", "simulated"),
    ),
    "ticker": (
        _time("the exchange's time of the quote", "frames"),
        _number("last", "price of the last trade", "frames", QUOTE),
        _number("bid", "best bid price", "frames", QUOTE),
        _number("bid_amount", "", "frames", BASE),
        _number("ask", "best ask price", "frames", QUOTE),
        _number("ask_amount", "", "frames", BASE),
        _number("open", "price 24 h ago", "frames", QUOTE),
        _number("high", "of 24 h", "frames", QUOTE),
        _number("low", "of 24 h", "frames", QUOTE),
        _number("vwap", "volume-weighted average price of 24 h", "simulated", QUOTE),
        _number("base_volume", "of 24 h", "frames", BASE),
        _number("quote_volume", "of 24 h", "frames", QUOTE),
    ),
    "orderbook": (
        _time("the exchange's time of the update", "frames"),
        Column("nonce", pa.int64(), "the exchange's sequence of this state", "frames"),
        _levels("bids", "highest price first", "bid"),
        _levels("asks", "lowest price first", "ask"),
    ),
    "bidask": (
        _time("the exchange's time of the change", "frames"),
        Column("nonce", pa.int64(), "the exchange's sequence of this state", "frames"),
        _number("bid", "best bid price", "frames", QUOTE),
        _number("bid_amount", "", "frames", BASE),
        _number("ask", "best ask price", "frames", QUOTE),
        _number("ask_amount", "", "frames", BASE),
    ),
    "ohlcv": (
        _time("where the candle begins", "simulated", nullable=False),
        _text("timeframe", "ccxt's name of the candle's length, such as `1m`", "clock", nullable=False),
        _number("open", "first price", "simulated", QUOTE),
        _number("high", "", "simulated", QUOTE),
        _number("low", "", "simulated", QUOTE),
        _number("close", "last price so far", "simulated", QUOTE),
        _number("volume", "so far", "simulated", BASE),
    ),
    "funding": (
        _time("the exchange's time of the message", "simulated"),
        _number("rate", "the rate that is paid at `due`", "simulated", "fraction: 0.0001 is 0.01 %", nullable=False),
        _time("when `rate` is paid", "simulated", "due"),
        _number("next_rate", "the rate after that, where it is told", "simulated", "fraction"),
        _time("when `next_rate` is paid", "simulated", "next_due"),
        _text("interval", "between two payments, such as `8h`", "documented"),
    ),
    "markprice": (
        _time("the exchange's time of the message", "simulated"),
        _number("mark_price", "what positions are valued at", "simulated", QUOTE, nullable=False),
        _number("index_price", "of the spot markets below it", "simulated", QUOTE),
    ),
    "liquidation": (
        _time("the exchange's time of the forced order", "simulated"),
        _number("price", "", "simulated", QUOTE, nullable=False),
        _number("amount", "", "simulated", BASE, nullable=False),
        _text("side", "of the forced order: `sell` ends a long position", "simulated"),
    ),
    "raw": (
        _text("connection", "which connection of which run of a collector", "clock", nullable=False),
        Column("number", pa.int64(), "counts the data frames of a connection, without holes", "clock", "from 0", False),
        Column("frame", pa.binary(), "the frame, byte for byte", "simulated", "bytes", False),
    ),
    "gap": (
        _text("channel", "what may be missing", "clock", nullable=False),
        _text("cause", "see docs/data.md", "clock", nullable=False),
        *(column for name in ("from", "to") for column in _moment(name, "")[:1]),
        *(column for name in ("from", "to") for column in _moment(name, "")[1:]),
        Column("records", pa.int64(), "how many are missing, where known; what was recovered is not", "simulated"),
        _text("detail", "what was seen", "clock", nullable=False),
    ),
}
"""Channel → its own columns; before them stand `PARTITION` and `RECEIVED`."""

SCHEMAS: dict[str, pa.Schema] = {
    channel: pa.schema([column.field for column in (*PARTITION, *RECEIVED, *own)]) for channel, own in COLUMNS.items()
}
"""Channel → the columns of its files."""
