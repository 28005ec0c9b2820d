"""The trades of a while ago over REST, of the exchanges whose trade ids are dense and the same there as on the WebSocket.

    binance   GET /api/v3/trades: the last 1,000; GET /api/v3/historicalTrades: from an id on
              (developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints)
    binanceusdm  GET /fapi/v1/trades: the last 1,000; older ones want a key. Of ADL and the insurance fund's trades it tells
              nothing (developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Recent-Trades-List);
              21,313 recorded trades of a day have numbers without holes
    coinbase  GET /api/v3/brokerage/market/products/{id}/ticker: between two seconds, the newest first
              (docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades)
    kraken    GET /0/public/Trades: from a time on, the oldest first (docs.kraken.com/api/docs/rest-api/get-recent-trades)

Read 2026-11-23. It is the same for the native feeds and ccxt's, so it asks by itself and not through either.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from daedalus.config import Exchange
from daedalus.exchanges import ALIASES
from daedalus.records import Trade

PAGE_TRADES = 1_000
OVERLAP_SECONDS = 5
"""Clocks differ."""
NS = 1_000_000_000


class Missed(NamedTuple):
    """Trades to look for: ids `first` to `last`, which happened from `from_ns` to `to_ns` or so."""

    market_id: str
    first: int
    last: int
    from_ns: int
    to_ns: int


class Get(Protocol):
    async def __call__(self, url: str, query: dict[str, str]) -> bytes: ...


Pages = Callable[[Get, Missed, int], AsyncGenerator[list[Trade], None]]
"""(get, missed, received_ns) → pages of trades, until there is nothing more to expect. Raises msgspec.MsgspecError and ValueError."""


class _BinanceTrade(msgspec.Struct):
    id: int
    price: str
    qty: str
    time: int
    buyer_is_maker: bool = msgspec.field(name="isBuyerMaker")


class _CoinbaseTrade(msgspec.Struct):
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class _CoinbasePage(msgspec.Struct):
    trades: list[_CoinbaseTrade]


class _KrakenPage(msgspec.Struct):
    error: list[str] = []
    result: dict[str, Any] = {}


_binance_page = msgspec.json.Decoder(list[_BinanceTrade])
_coinbase_page = msgspec.json.Decoder(_CoinbasePage)
_kraken_page = msgspec.json.Decoder(_KrakenPage)


async def _binance(get: Get, missed: Missed, received_ns: int) -> AsyncGenerator[list[Trade], None]:
    host, query = "https://api.binance.com/api/v3", {"symbol": missed.market_id, "limit": str(PAGE_TRADES)}
    page = _binance_page.decode(await get(f"{host}/trades", query))
    yield [_of_binance(trade, received_ns) for trade in page]
    oldest, cursor = min((trade.id for trade in page), default=missed.first), missed.first
    while cursor < min(oldest, missed.last + 1):
        page = _binance_page.decode(await get(f"{host}/historicalTrades", {**query, "fromId": str(cursor)}))
        if not page:
            return
        yield [_of_binance(trade, received_ns) for trade in page]
        cursor = max(trade.id for trade in page) + 1


async def _binance_futures(get: Get, missed: Missed, received_ns: int) -> AsyncGenerator[list[Trade], None]:
    query = {"symbol": missed.market_id, "limit": str(PAGE_TRADES)}
    page = _binance_page.decode(await get("https://fapi.binance.com/fapi/v1/trades", query))
    yield [_of_binance(trade, received_ns) for trade in page]


def _of_binance(trade: _BinanceTrade, received_ns: int) -> Trade:
    side = "sell" if trade.buyer_is_maker else "buy"
    return _trade(received_ns, trade.time * 1_000, str(trade.id), trade.price, trade.qty, side)


async def _coinbase(get: Get, missed: Missed, received_ns: int) -> AsyncGenerator[list[Trade], None]:
    url = f"https://api.coinbase.com/api/v3/brokerage/market/products/{missed.market_id}/ticker"
    start, end = missed.from_ns // NS - OVERLAP_SECONDS, missed.to_ns // NS + 1 + OVERLAP_SECONDS
    while start < end:
        query = {"limit": str(PAGE_TRADES), "start": str(start), "end": str(end)}
        page = _coinbase_page.decode(await get(url, query)).trades
        trades = [
            _trade(received_ns, _microseconds(one.time), one.trade_id, one.price, one.size, one.side.lower())
            for one in page
        ]
        yield trades
        oldest = min((trade.timestamp_us or 0 for trade in trades), default=0) // 1_000_000 + 1
        if len(page) < PAGE_TRADES or min(int(one.trade_id) for one in page) <= missed.first:
            return
        end = min(end - 1, oldest)


async def _kraken(get: Get, missed: Missed, received_ns: int) -> AsyncGenerator[list[Trade], None]:
    since = missed.from_ns - OVERLAP_SECONDS * NS
    while True:
        query = {"pair": missed.market_id, "since": str(since), "count": str(PAGE_TRADES)}
        page = _kraken_page.decode(await get("https://api.kraken.com/0/public/Trades", query))
        if page.error:
            raise ValueError(f"Kraken said {', '.join(page.error)}")
        rows = [row for name, rows in page.result.items() if name != "last" for row in rows]
        sides = {"b": "buy", "s": "sell"}
        yield [
            _trade(received_ns, round(float(time) * 1_000_000), str(id_), price, volume, sides.get(side))
            for price, volume, time, side, _, _, id_, *_ in rows
        ]
        following = int(page.result.get("last", 0))
        if len(rows) < PAGE_TRADES or max(int(row[6]) for row in rows) >= missed.last or following <= since:
            return
        since = following


def _trade(received_ns: int, time_us: int, id_: str, price: str, amount: str, side: str | None) -> Trade:
    taker: Any = side if side in ("buy", "sell") else None
    return Trade(received_ns, time_us, id_, float(price), float(amount), taker, "backfill")


def _microseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1_000_000)


HISTORIES: dict[str, Pages] = {
    "binance": _binance,
    "binanceusdm": _binance_futures,
    "coinbase": _coinbase,
    "kraken": _kraken,
}
"""ccxt's id of an exchange → its trades over REST. Those of others are fetched by ccxt, see `overlap`."""


def numbered(name: str, settings: Exchange, symbol: str) -> bool:
    """Whether the trades of a symbol are numbered without holes: those that `HISTORIES` is about."""
    others = {"watchTrades", "watchTradesForSymbols", "trades"} & set(settings.options.ccxt)  # such as aggTrades
    return ALIASES.get(name, name) in HISTORIES and not others and (":" in symbol) == (name == "binanceusdm")


PAUSE_SECONDS: dict[str, float] = {
    "binance": 0.5,  # weight 25 of 6,000 a minute
    "binanceusdm": 0.5,  # weight 5 of 2,400 a minute
    "coinbase": 0.25,  # 10 public requests a second and address
    "kraken": 1.0,  # one public request a second and address
}
"""Between two requests."""
