"""Binance's frames and REST answers as typed structs; what is not recorded is not decoded.

Shapes: developers.binance.com, "WebSocket Streams" of spot and "WebSocket Market Streams" of USDⓈ-M futures, and REST
`exchangeInfo` and `depth` (2026-11); frames recorded in 2024-08. Numbers come as strings: decode with `strict=False`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct, field

from daedalus_collector.native.order_book import Level


class TradeFrame(Struct, tag_field="e", tag="trade", gc=False):
    market: str = field(name="s")
    id: int = field(name="t")
    price: float = field(name="p")
    amount: float = field(name="q")
    time_ms: int = field(name="T")
    buyer_is_maker: bool = field(name="m")


class TickerFrame(Struct, tag_field="e", tag="24hrTicker", gc=False):
    """Futures have no best bid and ask in it."""

    market: str = field(name="s")
    event_ms: int = field(name="E")
    last: float | None = field(name="c", default=None)
    bid: float | None = field(name="b", default=None)
    bid_amount: float | None = field(name="B", default=None)
    ask: float | None = field(name="a", default=None)
    ask_amount: float | None = field(name="A", default=None)
    open: float | None = field(name="o", default=None)
    high: float | None = field(name="h", default=None)
    low: float | None = field(name="l", default=None)
    vwap: float | None = field(name="w", default=None)
    base_volume: float | None = field(name="v", default=None)
    quote_volume: float | None = field(name="q", default=None)


class DepthUpdate(Struct, tag_field="e", tag="depthUpdate", gc=False):
    market: str = field(name="s")
    event_ms: int = field(name="E")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    previous_id: int | None = field(name="pu", default=None)
    """`last_id` of the change before; futures only."""


class SpotQuote(Struct, gc=False):
    """bookTicker of the spot market: neither its kind nor a time."""

    market: str = field(name="s")
    nonce: int = field(name="u")
    bid: float = field(name="b")
    bid_amount: float = field(name="B")
    ask: float = field(name="a")
    ask_amount: float = field(name="A")


class QuoteFrame(Struct, tag_field="e", tag="bookTicker", gc=False):
    """Of futures."""

    market: str = field(name="s")
    event_ms: int = field(name="E")
    nonce: int = field(name="u")
    bid: float = field(name="b")
    bid_amount: float = field(name="B")
    ask: float = field(name="a")
    ask_amount: float = field(name="A")


class Kline(Struct, gc=False):
    begin_ms: int = field(name="t")
    open: float = field(name="o")
    high: float = field(name="h")
    low: float = field(name="l")
    close: float = field(name="c")
    volume: float = field(name="v")


class KlineFrame(Struct, tag_field="e", tag="kline", gc=False):
    market: str = field(name="s")
    kline: Kline = field(name="k")


class MarkPriceFrame(Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """Futures only. Dated ones have an empty rate, which is due at 0."""

    market: str = field(name="s")
    event_ms: int = field(name="E")
    mark_price: float = field(name="p")
    index_price: str = field(name="i", default="")
    rate: str = field(name="r", default="")
    due_ms: int = field(name="T", default=0)


class ForcedOrder(Struct, gc=False):
    market: str = field(name="s")
    side: str = field(name="S")
    """`BUY` or `SELL`."""
    average_price: float = field(name="ap")
    executed: float = field(name="z")
    time_ms: int = field(name="T")


class ForceOrderFrame(Struct, tag_field="e", tag="forceOrder", gc=False):
    """Futures only: the largest of each second and market (Binance's documents)."""

    order: ForcedOrder = field(name="o")


class Refusal(Struct):
    code: int = 0
    msg: str = ""


class Reply(Struct):
    """The answer to a SUBSCRIBE, an error that belongs to none (`id` is None), or an event that is not recorded, such as
    `serverShutdown`.
    """

    event: str = field(name="e", default="")
    id: int | str | None = None
    error: Refusal | None = None


class Snapshot(Struct):
    last_update_id: int = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]
    time_ms: int | None = field(name="T", default=None)
    """Futures only."""


class _Market(Struct):
    symbol: str
    base: str = field(name="baseAsset")
    quote: str = field(name="quoteAsset")
    settle: str = field(name="marginAsset", default="")
    contract: str | None = field(name="contractType", default=None)
    """None on the spot market; some perpetuals have an empty one (ccxt's note)."""
    expiry_ms: int = field(name="deliveryDate", default=0)


class _ExchangeInfo(Struct):
    symbols: list[_Market]


NAMES = {"XBT": "BTC", "BCHSV": "BSV", "YOYO": "YOYOW"}
"""What ccxt 4.5.90 calls a currency, where that is not Binance's own name (`commonCurrencies`)."""
NEVER_MS = 4_133_404_800_000
"""The delivery date of a perpetual."""

Event = TradeFrame | TickerFrame | DepthUpdate | QuoteFrame | KlineFrame | MarkPriceFrame | ForceOrderFrame
EVENTS = ("trade", "24hrTicker", "depthUpdate", "bookTicker", "kline", "markPriceUpdate", "forceOrder")

decode_event = msgspec.json.Decoder(Event, strict=False).decode
decode_spot_quote = msgspec.json.Decoder(SpotQuote, strict=False).decode
decode_reply = msgspec.json.Decoder(Reply, strict=False).decode
decode_snapshot = msgspec.json.Decoder(Snapshot, strict=False).decode


def market_ids(body: bytes) -> dict[str, str]:
    """Unified symbol → Binance's name, from `exchangeInfo`. Raises msgspec.MsgspecError."""
    return {_unified(market): market.symbol for market in msgspec.json.decode(body, type=_ExchangeInfo).symbols}


def _unified(market: _Market) -> str:
    symbol = f"{NAMES.get(market.base, market.base)}/{NAMES.get(market.quote, market.quote)}"
    if market.contract is None:
        return symbol
    symbol += f":{NAMES.get(market.settle, market.settle)}"
    if market.contract == "PERPETUAL" or market.expiry_ms == NEVER_MS:
        return symbol
    return f"{symbol}-{datetime.fromtimestamp(market.expiry_ms / 1_000, UTC):%y%m%d}"
