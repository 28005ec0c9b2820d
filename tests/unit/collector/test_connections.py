from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from ccxt.base.errors import ChecksumError, ExchangeError
from prometheus_client import CollectorRegistry

from daedalus.records import Record
from daedalus_collector.connections import Connections
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.record_mapper import RecordMapper

BOOK, OTHER, TRADES = Pair("orderbook", "BTC/USD"), Pair("orderbook", "ETH/USD"), Pair("trade", "BTC/USD")
SECOND = 1_000_000_000
SILENCE_SECONDS = 60


class Interruptions:
    def __init__(self) -> None:
        self.told: list[tuple[frozenset[Pair], int, str]] = []

    def record(self, pair: Pair, record: Record) -> None: ...

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        self.told.append((frozenset(pairs), from_ns, cause))


class FakeClient:
    """What `Connections` looks at."""

    connection = None

    def __init__(self, pairs: set[Pair], *, connected_ns: int = 0, last_data_ns: int = 0) -> None:
        self.pairs, self.url = pairs, "wss://x"
        self.connected_ns, self.first_data_ns, self.last_data_ns = connected_ns, last_data_ns, last_data_ns
        self.abandoned = False
        self.frames = 7
        self.rejected: list[BaseException] = []

    def reject(self, error: BaseException) -> None:
        self.rejected.append(error)

    async def close(self) -> None: ...


class FakeExchange:
    def __init__(self) -> None:
        self.clients: dict[str, Any] = {}


class Case:
    def __init__(self) -> None:
        self.sink = Interruptions()
        self.metrics = Metrics(CollectorRegistry(), "kraken")
        self.gone: list[Any] = []
        self.troubles: list[None] = []
        mapper = RecordMapper("kraken", [BOOK, OTHER, TRADES], 10, self.sink, self.metrics)
        self.connections = Connections(
            mapper,
            self.sink,
            self.metrics,
            SILENCE_SECONDS,
            lambda client, _: self.gone.append(client),
            lambda: self.troubles.append(None),
        )
        self.connections.exchange = FakeExchange()

    def client(self, pairs: set[Pair], **times: int) -> Any:
        client = FakeClient(pairs, **times)
        self.connections.exchange.clients[client.url] = client
        return client


@pytest.fixture
async def case() -> Case:
    return Case()


async def test_a_lost_connection_is_a_gap_from_its_last_data(case: Case) -> None:
    """Once, of everything that was subscribed on it; its waiting calls fail, and it has left its place."""
    client = case.client({BOOK, TRADES}, connected_ns=1, last_data_ns=5)
    case.connections.on_lost(client, "code 1001")
    case.connections.on_lost(client, "code 1006")
    assert case.sink.told == [(frozenset({BOOK, TRADES}), 5, "connection_lost")]
    assert case.gone == [client]
    assert len(client.rejected) == 1
    assert case.connections.exchange.clients == {}
    assert case.metrics.reconnects == 1
    assert case.connections.frames() == 7
    await asyncio.sleep(0)


async def test_before_its_first_data_the_connection_itself_is_the_last_good_moment(case: Case) -> None:
    """And a dial that failed loses nothing that was not lost before."""
    case.connections.on_lost(case.client({TRADES}, connected_ns=3), "code 1006")
    assert case.sink.told == [(frozenset({TRADES}), 3, "connection_lost")]
    case.connections.on_lost(case.client({TRADES}), "refused")
    assert len(case.sink.told) == 1
    await asyncio.sleep(0)


async def test_silence_is_measured_from_the_last_data(case: Case) -> None:
    """At 60 s it is silent, a moment before it is not."""
    client = case.client({TRADES}, connected_ns=1, last_data_ns=10 * SECOND)
    case.connections._judge(client, (10 + SILENCE_SECONDS) * SECOND)
    assert case.sink.told == []
    case.connections._judge(client, (10 + SILENCE_SECONDS) * SECOND + 1)
    assert case.sink.told == [(frozenset({TRADES}), 10 * SECOND, "connection_silent")]
    await asyncio.sleep(0)


async def test_a_market_without_trades_is_dialled_more_and_more_rarely(case: Case) -> None:
    """Each new connection that never delivers is given twice the time, up to sixteen times; data ends the patience."""
    lives = []
    for _ in range(7):
        client = case.client({TRADES}, connected_ns=SECOND)
        seconds = 0
        while not client.abandoned:
            seconds += 1
            case.connections._judge(client, (1 + seconds) * SECOND)
        lives.append(seconds - 1)
    assert [life // SILENCE_SECONDS for life in lives] == [1, 2, 4, 8, 16, 16, 16]
    client = case.client({TRADES}, connected_ns=SECOND, last_data_ns=SECOND)
    case.connections._judge(client, (2 + SILENCE_SECONDS) * SECOND)
    assert client.abandoned
    await asyncio.sleep(0)


async def test_a_bad_frame_ends_a_connection_with_books_but_not_twice_a_minute(case: Case) -> None:
    """A book without a sequence may be wrong for good; but if it is ccxt that cannot read, dialling does not help."""
    first = case.client({BOOK, TRADES}, connected_ns=1, last_data_ns=5)
    case.connections.on_bad_frame(first, ValueError("cut"))
    assert first.abandoned
    second = case.client({BOOK, TRADES}, connected_ns=6, last_data_ns=8)
    case.connections.on_bad_frame(second, ValueError("cut"))
    assert not second.abandoned
    assert case.sink.told == [
        (frozenset({BOOK, TRADES}), 5, "bad_frame"),
        (frozenset({BOOK, TRADES}), 8, "bad_frame"),
    ]
    await asyncio.sleep(0)


async def test_a_checksum_error_is_a_gap_of_the_book_it_names(case: Case) -> None:
    """Of all books of the connection where none is named; any other error is no gap."""
    client = case.client({BOOK, OTHER, TRADES}, connected_ns=1, last_data_ns=5)
    case.connections.on_error(client, ChecksumError("x"), "orderbook::BTC/USD")
    case.connections.on_error(client, ChecksumError("x"), None)
    case.connections.on_error(client, ExchangeError("x"), None)
    assert case.sink.told == [(frozenset({BOOK}), 5, "sequence_gap"), (frozenset({BOOK, OTHER}), 5, "sequence_gap")]
    assert len(case.troubles) == 3
    assert case.metrics.errors == {"ChecksumError": 2, "ExchangeError": 1}
    assert not client.abandoned


async def test_a_book_that_stays_crossed_is_built_anew() -> None:
    """Counted once, recorded all the same, and after a second its connection is opened anew."""
    case = Case()
    client = case.client({BOOK}, connected_ns=1, last_data_ns=5 * SECOND)
    book = {"symbol": "BTC/USD", "bids": [[2.0, 1.0]], "asks": [[1.0, 1.0]], "timestamp": None, "nonce": None}
    for moment_ns in (0, SECOND // 2, SECOND):
        assert case.connections.on_result("orderbook", book, moment_ns)
    assert case.gone == []
    await asyncio.sleep(0)
    assert case.gone == [client]
    assert case.sink.told == [(frozenset({BOOK}), 5 * SECOND, "sequence_gap")]
    assert case.metrics.errors["crossed_book"] == 1
