"""Which `watch` calls record the symbols that were asked for: bulk where the exchange has it, else one for each. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from daedalus.config import ExchangeOptions
from daedalus_collector import quirks
from daedalus_collector.feed import Pair


class Methods(msgspec.Struct, frozen=True):
    """ccxt's names of a channel's methods; the keys of `exchange.has` are camelCase."""

    bulk_has: str
    bulk: str
    single_has: str
    single: str


METHODS = {
    "orderbook": Methods(
        "watchOrderBookForSymbols", "watch_order_book_for_symbols", "watchOrderBook", "watch_order_book"
    ),
    "trade": Methods("watchTradesForSymbols", "watch_trades_for_symbols", "watchTrades", "watch_trades"),
    "ticker": Methods("watchTickers", "watch_tickers", "watchTicker", "watch_ticker"),
    "bidask": Methods("watchBidsAsks", "watch_bids_asks", "watchBidsAsks", ""),  # takes several symbols only
    "ohlcv": Methods("watchOHLCVForSymbols", "watch_ohlcv_for_symbols", "watchOHLCV", "watch_ohlcv"),
    "funding": Methods("watchFundingRates", "watch_funding_rates", "watchFundingRate", "watch_funding_rate"),
    "markprice": Methods("watchMarkPrices", "watch_mark_prices", "watchMarkPrice", "watch_mark_price"),
    "liquidation": Methods(
        "watchLiquidationsForSymbols", "watch_liquidations_for_symbols", "watchLiquidations", "watch_liquidations"
    ),
}


class WatchCall(msgspec.Struct, frozen=True):
    """One subscription: `call()` is what to keep calling, `ask` the coroutine function of symbols behind it."""

    channel: str
    symbols: tuple[str, ...]
    ask: Callable[[list[str]], Any]

    def call(self) -> Any:
        return self.ask(list(self.symbols))

    def halves(self) -> list[WatchCall]:
        """Of a bulk call."""
        middle = len(self.symbols) // 2
        return [WatchCall(self.channel, part, self.ask) for part in (self.symbols[:middle], self.symbols[middle:])]

    @property
    def pairs(self) -> frozenset[Pair]:
        return frozenset(Pair(self.channel, symbol) for symbol in self.symbols)


class Plan(msgspec.Struct):
    calls: list[WatchCall] = []
    refused: dict[Pair, str] = {}
    """What cannot be recorded → why, and what to do."""


def plan(
    exchange: Any,
    exchange_id: str,
    asked: Mapping[str, list[str]],
    options: ExchangeOptions,
    depth: int,
    timeframe: str = "1m",
) -> Plan:
    """`exchange`: a ccxt.pro exchange whose markets are loaded. `asked`: channel → unified symbols. `timeframe`: of
    candles.
    """
    made = Plan()
    for channel, symbols in asked.items():
        known = []
        for symbol in symbols:
            if symbol in exchange.markets:
                known.append(symbol)
            else:
                made.refused[Pair(channel, symbol)] = _unknown(exchange_id, symbol, exchange.markets)
        methods = METHODS[channel]
        size = options.orderbook_watch_batch_size if channel == "orderbook" else options.watch_batch_size
        size = min(size, quirks.BULK_SIZE.get(exchange_id, size))
        reason = _refusal(exchange, exchange_id, channel)
        arguments = _arguments(exchange_id, channel, depth)
        if reason is not None:
            made.refused.update({Pair(channel, symbol): reason for symbol in known})
        elif exchange.has.get(methods.bulk_has) is True and (exchange_id, channel) not in quirks.ONE_BY_ONE:
            ask = _bulk(exchange, exchange_id, channel, arguments, timeframe)
            for group in _alike(exchange, known):
                made.calls += [WatchCall(channel, batch, ask) for batch in _batched(group, size)]
        else:
            ask = _single(exchange, channel, arguments, timeframe)
            made.calls += [WatchCall(channel, (symbol,), ask) for symbol in known]
    return made


def _refusal(exchange: Any, exchange_id: str, channel: str) -> str | None:
    """Why the exchange cannot record that channel, and what to do."""
    methods = METHODS[channel]
    if not exchange.has.get(methods.single_has) and exchange.has.get(methods.bulk_has) is not True:
        return f"{exchange_id} streams no {channel} ({methods.single_has}): remove it from the configuration"
    if (exchange_id, channel) in quirks.UNREADABLE:
        return f"{quirks.UNREADABLE[exchange_id, channel]}: remove {methods.single_has} from the configuration"
    return None


def _bulk(
    exchange: Any, exchange_id: str, channel: str, arguments: Mapping[str, Any], timeframe: str
) -> Callable[[list[str]], Any]:
    special = quirks.BULK_CALLS.get((exchange_id, channel))
    if special is not None:
        return lambda symbols: special(exchange, symbols)
    method = getattr(exchange, METHODS[channel].bulk)
    if channel == "ohlcv":
        return lambda symbols: method([[symbol, timeframe] for symbol in symbols], **arguments)
    return lambda symbols: method(symbols, **arguments)


def _single(exchange: Any, channel: str, arguments: Mapping[str, Any], timeframe: str) -> Callable[[list[str]], Any]:
    method = getattr(exchange, METHODS[channel].single)
    if channel == "ohlcv":
        return lambda symbols: method(symbols[0], timeframe, **arguments)
    return lambda symbols: method(symbols[0], **arguments)


def _arguments(exchange_id: str, channel: str, depth: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"params": dict(quirks.PARAMS.get((exchange_id, channel), {}))}
    if channel == "orderbook" and (limit := quirks.book_limit(exchange_id, depth)) is not None:
        arguments["limit"] = limit
    return arguments


def _alike(exchange: Any, symbols: list[str]) -> list[list[str]]:
    """Symbols that may stand in one bulk call: ccxt refuses spot and swap, linear and inverse side by side."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for symbol in symbols:
        market = exchange.markets[symbol]
        kind = (market.get("type"), market.get("linear"), market.get("inverse"))
        groups.setdefault(kind, []).append(symbol)
    return list(groups.values())


def _batched(symbols: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(symbols[first : first + size]) for first in range(0, len(symbols), size)]


def _unknown(exchange_id: str, symbol: str, markets: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(symbol, list(markets), 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{exchange_id} has no market {symbol!r}{meant}: correct the configuration"
