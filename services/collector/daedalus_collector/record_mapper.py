"""From what the tap catches to the sink: finds the pair that a result belongs to, makes the record, hands it on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from daedalus.records import Record
from daedalus_collector import quirks
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
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

_log = structlog.get_logger()


class RecordMapper:
    """The results of one exchange. `depth`: levels of an order book that are recorded. `timeframe`: of candles."""

    def __init__(
        self,
        exchange_id: str,
        pairs: Iterable[Pair],
        depth: int,
        sink: Sink,
        metrics: Metrics,
        timeframe: str = "1m",
    ) -> None:
        self._exchange_id = exchange_id
        self._pairs: dict[tuple[str, str], Pair] = {pair: pair for pair in pairs}
        self._depth = depth
        self._sink = sink
        self._metrics = metrics
        self._timeframe = timeframe
        self._quote_time = quirks.QUOTE_TIME.get(exchange_id)
        self._nonce = quirks.BIDASK_NONCE.get(exchange_id)
        self._funding = quirks.FUNDING.get(exchange_id)
        self._executed = quirks.LIQUIDATION_AMOUNT.get(exchange_id)

    def take(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        """Record one result of the tap; False when nobody asked for it or it is none. Never raises."""
        symbol = result["symbol"]
        pair = self._pairs.get((channel, symbol)) or self._other(channel, symbol)
        if pair is None:
            return False
        try:
            record = self._record(channel, result, received_ns)
        except (MappingError, KeyError, TypeError, ValueError) as error:
            self._metrics.discarded[channel, "unmapped"] += 1
            _log.warning("record was not mapped", exchange=self._metrics.exchange, channel=channel, error=str(error))
            return False
        self._sink.record(pair, record)
        return True

    def _record(self, channel: str, result: Mapping[str, Any], received_ns: int) -> Record:
        if channel == "trade":
            return trade_record(result, received_ns)
        if channel == "orderbook":
            return order_book_record(result, self._depth, received_ns)
        if channel == "ohlcv":
            return candle_record(result, received_ns, self._timeframe)
        info = result["info"]
        if channel == "ticker":
            return ticker_record(result, received_ns, None if self._quote_time is None else self._quote_time(info))
        if channel == "funding":
            return funding_record({**result, **self._funding(info)} if self._funding else result, received_ns)
        if channel == "liquidation":
            return liquidation_record(result, received_ns, info[self._executed] if self._executed else None)
        timestamp_us = None if self._quote_time is None else self._quote_time(info)
        if channel == "bidask":
            return bid_ask_record(result, received_ns, timestamp_us, self._nonce(info) if self._nonce else None)
        return mark_price_record(result, received_ns, timestamp_us)

    def _other(self, channel: str, symbol: str) -> Pair | None:
        """The pair under which a symbol was asked for that is not its own; None: nobody asked for it."""
        asked = quirks.asked_symbol(self._exchange_id, symbol)
        pair = None if asked is None else self._pairs.get((channel, asked))
        if pair is None:
            self._metrics.discarded[channel, "not_asked"] += 1
        return pair
