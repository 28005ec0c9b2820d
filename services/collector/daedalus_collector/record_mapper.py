"""From what the tap catches to the sink: finds the pair that a result belongs to, makes the record, hands it on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from daedalus.records import Record
from daedalus_collector import quirks
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.records_from_ccxt import MappingError, order_book_record, ticker_record, trade_record

_log = structlog.get_logger()


class RecordMapper:
    """The results of one exchange. `depth`: levels of an order book that are recorded."""

    def __init__(self, exchange_id: str, pairs: Iterable[Pair], depth: int, sink: Sink, metrics: Metrics) -> None:
        self._exchange_id = exchange_id
        self._pairs: dict[tuple[str, str], Pair] = {pair: pair for pair in pairs}
        self._depth = depth
        self._sink = sink
        self._metrics = metrics
        self._ticker_time = quirks.TICKER_TIME.get(exchange_id)

    def take(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        """Record one trade, ticker or order book state; False when nobody asked for it or it is none. Never raises."""
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
        timestamp_us = None if self._ticker_time is None else self._ticker_time(result["info"])
        return ticker_record(result, received_ns, timestamp_us)

    def _other(self, channel: str, symbol: str) -> Pair | None:
        """The pair under which a symbol was asked for that is not its own; None: nobody asked for it."""
        asked = quirks.asked_symbol(self._exchange_id, symbol)
        pair = None if asked is None else self._pairs.get((channel, asked))
        if pair is None:
            self._metrics.discarded[channel, "not_asked"] += 1
        return pair
