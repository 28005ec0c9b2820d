from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from daedalus.records import Record, Ticker, Trade
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.record_mapper import RecordMapper

TRADE: dict[str, Any] = {"id": "1", "timestamp": 5, "price": 2.0, "amount": 3.0, "side": "buy"}
TICKER: dict[str, Any] = dict.fromkeys(
    (
        "last",
        "bid",
        "bidVolume",
        "ask",
        "askVolume",
        "open",
        "high",
        "low",
        "vwap",
        "baseVolume",
        "quoteVolume",
        "timestamp",
    )
)


class Sink:
    def __init__(self) -> None:
        self.records: list[tuple[Pair, Record]] = []

    def record(self, pair: Pair, record: Record) -> None:
        self.records.append((pair, record))

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None: ...


def mapper(exchange_id: str, *pairs: Pair) -> tuple[RecordMapper, Sink, Metrics]:
    sink, metrics = Sink(), Metrics(CollectorRegistry(), exchange_id)
    return RecordMapper(exchange_id, pairs, 10, sink, metrics), sink, metrics


def test_a_result_goes_to_its_pair() -> None:
    """By channel and symbol."""
    mapping, sink, _ = mapper("kraken", Pair("trade", "BTC/USD"), Pair("ticker", "BTC/USD"))
    assert mapping.take("trade", TRADE | {"symbol": "BTC/USD"}, 7)
    assert sink.records == [(Pair("trade", "BTC/USD"), Trade(7, 5_000, "1", 2.0, 3.0, "buy"))]


def test_what_nobody_asked_for_is_counted_and_left() -> None:
    """Some exchanges send every symbol."""
    mapping, sink, metrics = mapper("kraken", Pair("trade", "BTC/USD"))
    assert not mapping.take("trade", TRADE | {"symbol": "ETH/USD"}, 7)
    assert sink.records == []
    assert metrics.discarded["trade", "not_asked"] == 1


def test_coinbases_usd_is_what_was_asked_for_as_usdc() -> None:
    """Filed under the symbol of the configuration; USD has it when both were asked for."""
    mapping, sink, _ = mapper("coinbase", Pair("trade", "BTC/USDC"))
    assert mapping.take("trade", TRADE | {"symbol": "BTC/USD"}, 7)
    assert sink.records[0][0] == Pair("trade", "BTC/USDC")
    both, sink, _ = mapper("coinbase", Pair("trade", "BTC/USDC"), Pair("trade", "BTC/USD"))
    both.take("trade", TRADE | {"symbol": "BTC/USD"}, 7)
    assert sink.records[0][0] == Pair("trade", "BTC/USD")


def test_a_result_that_is_no_record_is_counted_and_left() -> None:
    """A trade without a price, a ticker whose time is no time: never an exception in ccxt's loop."""
    mapping, sink, metrics = mapper("kraken", Pair("trade", "BTC/USD"), Pair("ticker", "BTC/USD"))
    assert not mapping.take("trade", TRADE | {"symbol": "BTC/USD", "price": None}, 7)
    assert not mapping.take("ticker", TICKER | {"symbol": "BTC/USD", "info": {"timestamp": "soon"}}, 7)
    assert sink.records == []
    assert metrics.discarded == {("trade", "unmapped"): 1, ("ticker", "unmapped"): 1}


def test_a_ticker_has_the_time_of_its_frame() -> None:
    """Kraken's, which ccxt leaves out."""
    mapping, sink, _ = mapper("kraken", Pair("ticker", "BTC/USD"))
    mapping.take("ticker", TICKER | {"symbol": "BTC/USD", "info": {"timestamp": "1970-01-01T00:00:01.000002Z"}}, 7)
    record = sink.records[0][1]
    assert isinstance(record, Ticker)
    assert record.timestamp_us == 1_000_002
