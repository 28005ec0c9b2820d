"""Coinbase Advanced Trade's frames and REST answers as typed structs; what is not recorded is not decoded.

Shapes: docs.cdp.coinbase.com, "Advanced Trade WebSocket channels" and "List public products" (2026-11), frames of 2026-08.
Older documents have a `client_id` and counters as strings: both are read. Decode with `strict=False`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct


class Update(Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: float
    new_quantity: float
    """The new absolute amount; 0 removes the level."""


class TradeEntry(Struct, gc=False):
    product_id: str
    price: float
    size: float
    trade_id: str | None = None
    side: str = ""
    time: str = ""


class TickerEntry(Struct, gc=False):
    """Text, because it may be empty: seen in `ticker_batch`, 2024-05 (ccxt's own note)."""

    product_id: str = ""
    price: str = ""
    best_bid: str = ""
    best_bid_quantity: str = ""
    best_ask: str = ""
    best_ask_quantity: str = ""
    high_24_h: str = ""
    low_24_h: str = ""
    volume_24_h: str = ""


class Event(Struct, gc=False):
    type: str = ""
    """`snapshot` or `update`."""
    product_id: str = ""
    updates: list[Update] = []
    trades: list[TradeEntry] = []
    tickers: list[TickerEntry] = []


class Head(Struct, gc=False):
    """A message without what it says of markets."""

    channel: str = ""
    sequence_num: int | None = None
    """Counts every message of the connection, acknowledgements and heartbeats too; an error has none."""
    type: str = ""
    """`error`, or nothing."""
    message: str = ""


class Message(Head, gc=False):
    timestamp: str = ""
    events: list[Event] = []


class _Product(Struct):
    product_id: str
    base_currency_id: str = ""
    quote_currency_id: str = ""


class _Products(Struct):
    products: list[_Product]


NAMES = {"XBT": "BTC", "BCHSV": "BSV", "CGLD": "CELO"}
"""What ccxt 4.5.90 calls a currency, where that is not Coinbase's own name (`commonCurrencies`)."""

decode_head = msgspec.json.Decoder(Head, strict=False).decode
decode_message = msgspec.json.Decoder(Message, strict=False).decode


def market_ids(body: bytes) -> dict[str, str]:
    """Unified symbol → product id, of spot products. Raises msgspec.MsgspecError."""
    return {
        f"{NAMES.get(product.base_currency_id, product.base_currency_id)}/"
        f"{NAMES.get(product.quote_currency_id, product.quote_currency_id)}": product.product_id
        for product in msgspec.json.decode(body, type=_Products).products
    }


class Times:
    """RFC 3339 texts → microseconds, cut to whole milliseconds as ccxt does. Remembers the last second it has seen."""

    __slots__ = ("_second", "_second_us")

    def __init__(self) -> None:
        self._second = ""
        self._second_us = 0

    def microseconds(self, text: str) -> int | None:
        """None for an empty text. Raises ValueError for anything else that is no time in UTC."""
        if not text:
            return None
        if text[-1] != "Z" or (len(text) > 20 and text[19] != "."):
            raise ValueError(f"expected a time like 2026-08-12T19:27:48.298771Z, was {text!r}")
        second = text[:19]
        if second != self._second:
            self._second_us = int(datetime.fromisoformat(second).replace(tzinfo=UTC).timestamp()) * 1_000_000
            self._second = second
        return self._second_us + int((text[20:-1] + "000")[:3]) * 1_000
