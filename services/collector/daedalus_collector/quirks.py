"""Where exchanges, or ccxt 4.5.90's classes for them, differ: data, and small functions of data. Each with its source.

"ccxt" is the class's own source in ccxt/pro/<exchange>.py, read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

BINANCES = ("binance", "binanceus", "binanceusdm", "binancecoinm")
OKXS = ("okx", "okxus", "myokx")

CONFIG: dict[str, dict[str, Any]] = {
    # Only spot markets, or load_markets asks the futures hosts too; `ticker` is 24hrTicker with bid and ask, the default
    # miniTicker has none (ccxt; https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams).
    "binance": {"fetchMarkets": {"types": ["spot"]}, "watchTickers": {"name": "ticker"}},
    "binanceus": {"watchTickers": {"name": "ticker"}},
    "binanceusdm": {"watchTickers": {"name": "ticker"}},
    "binancecoinm": {"watchTickers": {"name": "ticker"}},
}
"""ccxt id → its `options`; `options.ccxt` of config.yaml goes on top."""

BOOK_LIMITS: dict[str, tuple[int, ...]] = {
    # The REST snapshot that the diffs are laid on: what lies beyond it stays unknown until it changes, so never a small
    # one. 1,000 costs 50 of 6,000 request weight a minute, 5,000 costs 250 (Binance's REST documentation, GET /api/v3/depth).
    "binance": (1000, 5000),
    "binanceus": (1000, 5000),
    "binanceusdm": (1000,),
    "binancecoinm": (1000,),
    "kraken": (10, 25, 100, 500, 1000),  # ccxt: any other is NotSupported
    "bybit": (50, 200, 1000),  # ccxt; 1 resets a deeper book of the same symbol
    "kucoin": (20, 50, 100),  # ccxt
    "bitfinex": (25, 100),  # ccxt
    "htx": (5, 20, 150, 400),  # ccxt
}
"""The depths that an exchange streams. Where nothing is written the exchange's own default is taken."""

KEPT_LEVELS: dict[str, int] = dict.fromkeys(("binance", "binanceus", "binanceusdm", "binancecoinm"), 5000)
"""Books built from diffs of the whole book: how much of them is kept. ccxt cuts at the snapshot's depth, and when the
price comes back, what was cut is missing until it changes. (Read in order_book_side.py: limit().)"""

BULK_SIZE: dict[str, int] = {
    "binance": 200,  # ccxt: BadRequest above
    "bybit": 10,  # spot takes 10 topics in one request, ccxt sends them all in one (bybit-exchange.github.io, v5 connect)
    "kucoin": 100,  # ccxt
    "gemini": 1,  # bids and asks: ccxt takes all events of a message for the market of the first
}
"""Symbols in one bulk call, at the most."""

ONE_BY_ONE: frozenset[tuple[str, str]] = frozenset({("gemini", "trade"), ("gemini", "orderbook")})
"""(ccxt id, channel) whose bulk method is not used. Gemini's is the archived multi-market feed, where trades have no time
of their own, and whose first message has the books of all its symbols: ccxt lays them all into the first symbol's, and
never empties it (docs.gemini.com/websocket/market-data/multi-market/about; ccxt: handle_order_book_for_multidata)."""

PARAMS: dict[tuple[str, str], dict[str, Any]] = {
    # Without it Kraken sends no trades of the time before the subscription, so none of a reconnect
    # (https://docs.kraken.com/api/docs/websocket-v2/trade: snapshot, default false).
    ("kraken", "trade"): {"snapshot": True},
}
"""(ccxt id, channel) → what every watch call of it is given."""

FETCHED_TRADES: dict[str, int] = {
    # ccxt cuts it to what the exchange takes, or its comment beside `limit` names this much.
    **dict.fromkeys(
        ("bingx", "bitfinex", "bitget", "bitvavo", "deribit", "gate", "gateeu", "gemini", "hitbtc", "htx"), 1000
    ),
    **dict.fromkeys(("lbank", "poloniex", "xt"), 1000),
    **dict.fromkeys(OKXS, 500),  # okx.com/docs-v5, "GET / Trades": 500 at the most, 100 by default
}
"""How many trades to ask for over REST. Where nothing is written the exchange's own default is taken."""

DERIVED: dict[str, tuple[str, ...]] = {
    "kraken": ("quoteVolume",)  # ccxt multiplies volume and vwap
}
"""Ticker fields that ccxt computes and the exchange does not send: they are None here."""


def _coinbase_tickers(exchange: Any, symbols: list[str]) -> Any:
    # ccxt's watch_tickers takes the channel ticker_batch: every 5 s, without bid and ask
    # (docs.cdp.coinbase.com, Advanced Trade WebSocket channels).
    return exchange.subscribe_multiple("ticker", False, symbols)


BULK_CALLS: dict[tuple[str, str], Callable[[Any, list[str]], Any]] = {("coinbase", "ticker"): _coinbase_tickers}
"""(ccxt id, channel) → a call that takes the place of ccxt's bulk method."""


def _binance_time(info: Mapping[str, Any]) -> int | None:
    event = info.get("E")  # ccxt takes C, the end of the statistics' window
    return None if event is None else int(event) * 1_000


def _kraken_time(info: Mapping[str, Any]) -> int | None:
    told = info.get("timestamp")  # ccxt leaves it out
    return None if told is None else round(datetime.fromisoformat(told).timestamp() * 1_000_000)


QUOTE_TIME: dict[str, Callable[[Mapping[str, Any]], int | None]] = {
    **dict.fromkeys(("binance", "binanceus", "binanceusdm", "binancecoinm"), _binance_time),
    "kraken": _kraken_time,
}
"""The exchange's time of a ticker, a best bid and ask or a mark price, in microseconds, from the frame, where ccxt tells another or none."""


def _binance_nonce(info: Mapping[str, Any]) -> int | None:
    return int(info["u"]) if "u" in info else None  # bookTicker: the order book's update id


def _okx_nonce(info: Mapping[str, Any]) -> int | None:
    return int(info["seqId"]) if "seqId" in info else None  # bbo-tbt


BIDASK_NONCE: dict[str, Callable[[Mapping[str, Any]], int | None]] = {
    **dict.fromkeys(BINANCES, _binance_nonce),
    **dict.fromkeys(OKXS, _okx_nonce),
}
"""The exchange's sequence of a best bid and ask, from the frame: ccxt has no place for it."""


def _okx_funding(info: Mapping[str, Any]) -> dict[str, Any]:
    # ccxt leaves the time out, and makes the interval of the two times.
    return {"timestamp": int(info["ts"]) if info.get("ts") else None, "interval": None}


FUNDING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    **dict.fromkeys(OKXS, _okx_funding),
    # ccxt: the message's own time
    "coinbaseinternational": lambda _: {"fundingTimestamp": None},
}
"""What a funding rate says, from the frame, in place of what ccxt makes of it."""

LIQUIDATION_AMOUNT: dict[str, str] = dict.fromkeys(BINANCES, "z")
"""The field with what was executed in all, at the average price; ccxt takes `l`, the last execution of them."""

UNREADABLE: dict[tuple[str, str], str] = {
    ("ndax", "ohlcv"): "ccxt keeps its candles in a way that shows no single state",
}
"""(ccxt id, channel) → why it is refused although ccxt has it."""


CHECKSUM_DECIMALS: dict[str, tuple[str, str]] = {
    # Of a market's `info`: the decimals of price and quantity in the checksum of a book's ten best levels
    # (https://docs.kraken.com/api/docs/guides/spot-ws-book-v2, read 2026-11-23).
    "kraken": ("pair_decimals", "lot_decimals"),
}
"""Exchanges whose books carry a checksum that is verified here."""


def asked_symbol(exchange_id: str, symbol: str) -> str | None:
    """The symbol that a user may have asked for to get this one: Coinbase answers BTC/USDC as BTC/USD (ccxt:
    try_resolve_usdc).
    """
    return f"{symbol}C" if exchange_id == "coinbase" and symbol.endswith("/USD") else None


def book_limit(exchange_id: str, depth: int) -> int | None:
    """What to ask for to record `depth` levels: the smallest that suffices, else the largest there is."""
    limits = BOOK_LIMITS.get(exchange_id)
    if limits is None:
        return None
    return min((limit for limit in limits if limit >= depth), default=max(limits))
