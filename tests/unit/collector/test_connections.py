from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from ccxt.base.errors import ChecksumError, ExchangeError, InvalidNonce, NetworkError
from prometheus_client import CollectorRegistry

from daedalus.records import Record
from daedalus_collector.cadence import LEARN_SECONDS, PAIR_FLOOR_SECONDS, PAIR_LEARN_SECONDS
from daedalus_collector.connections import Connections
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.record_mapper import RecordMapper
from daedalus_collector.retry_after import MOST_SECONDS

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
    last_retry_after: float | None = None
    quotes = "ticker"
    tape = None
    unparsed = False
    owner: Any

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
        self.held: list[float] = []
        self.last_ns: dict[Pair, int] = {}
        mapper = RecordMapper("kraken", [BOOK, OTHER, TRADES], 10, self.sink, self.metrics)
        self.connections = Connections(
            mapper,
            self.sink,
            self.metrics,
            SILENCE_SECONDS,
            self.last_ns,
            lambda client, _: self.gone.append(client),
            lambda: self.troubles.append(None),
            self.held.append,
        )
        self.connections.exchanges = [FakeExchange()]

    def client(self, pairs: set[Pair], **times: int) -> Any:
        client = FakeClient(pairs, **times)
        client.owner = self.connections.exchanges[0]
        client.owner.clients[client.url] = client
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
    assert case.connections.exchanges[0].clients == {}
    assert case.metrics.reconnects == 1
    assert case.connections.frames() == 7
    await asyncio.sleep(0)


async def test_a_connection_that_missed_a_message_is_given_up(case: Case) -> None:
    """Nobody knows what was in it: a gap of everything on it, by its cause, and counted."""
    client = case.client({BOOK, TRADES}, connected_ns=1, last_data_ns=5)
    case.connections.on_lost(client, InvalidNonce("expected message 3, was 4"))
    assert case.sink.told == [(frozenset({BOOK, TRADES}), 5, "sequence_gap")]
    assert case.gone == [client]
    assert case.metrics.errors == {"sequence_gap": 1}
    await asyncio.sleep(0)


async def test_before_its_first_data_the_connection_itself_is_the_last_good_moment(case: Case) -> None:
    """And a dial that failed loses nothing that was not lost before."""
    case.connections.on_lost(case.client({TRADES}, connected_ns=3), "code 1006")
    assert case.sink.told == [(frozenset({TRADES}), 3, "connection_lost")]
    case.connections.on_lost(case.client({TRADES}), "refused")
    assert len(case.sink.told) == 1
    await asyncio.sleep(0)


def life(case: Case, client: Any, at: float) -> int:
    """How many seconds until it is given up, looked at once a second from `at` on."""
    for seconds in range(10_000):
        case.connections._judge(client, at + seconds)
        if client.abandoned:
            return seconds
    raise AssertionError("it was never given up")


async def test_a_connection_of_unknown_cadence_is_given_the_configured_time(case: Case) -> None:
    """Then it is silent, and the gap goes from its last data on."""
    client = case.client({TRADES}, connected_ns=1, last_data_ns=10 * SECOND)
    assert life(case, client, 0.0) == SILENCE_SECONDS + 1
    assert case.sink.told == [(frozenset({TRADES}), 10 * SECOND, "connection_silent")]
    assert case.metrics.errors["silent_connection"] == 1
    await asyncio.sleep(0)


async def test_a_busy_connection_is_given_up_in_seconds_and_its_successor_knows(case: Case) -> None:
    """After a minute of steady data 5 s are too long; the next connection there has learned it already, and has 10 s."""
    for dial, seconds in enumerate((5, 10)):
        client = case.client({TRADES}, connected_ns=1)
        for second in range(int(LEARN_SECONDS) + 1):
            client.last_data_ns = (1_000 * dial + second + 1) * SECOND
            case.connections._judge(client, 1_000.0 * dial + second)
        assert not client.abandoned
        assert abs(life(case, client, 1_000.0 * dial + second + 1) - seconds) <= 2
    await asyncio.sleep(0)


async def test_a_market_without_trades_is_dialled_more_and_more_rarely(case: Case) -> None:
    """Each new connection that never delivers is given twice the time, up to sixteen times."""
    lives = [life(case, case.client({TRADES}, connected_ns=SECOND), 10_000.0 * dial) for dial in range(7)]
    assert [round(seconds / SILENCE_SECONDS) for seconds in lives] == [1, 2, 4, 8, 16, 16, 16]
    await asyncio.sleep(0)


async def test_a_pair_that_stopped_is_a_gap_from_its_own_last_record(case: Case) -> None:
    """Its connection is opened anew, because ccxt cannot let go of a part; but not twice in ten minutes."""
    now, dials = 0.0, 0
    for _ in range(2):
        client = case.client({BOOK, OTHER}, connected_ns=1)
        for second in range(int(PAIR_LEARN_SECONDS) + 2 * int(PAIR_FLOOR_SECONDS) + 10):
            now += 1
            client.last_data_ns = case.last_ns[BOOK] = int(now) * SECOND
            if second <= PAIR_LEARN_SECONDS:
                case.last_ns[OTHER] = client.last_data_ns
            case.connections._judge(client, now)
            if client.abandoned:
                break
        dials += client.abandoned
        last_ns = case.last_ns[OTHER]
        assert (frozenset({OTHER}), last_ns, "connection_silent") in case.sink.told
    assert dials == 1
    assert case.metrics.errors["silent_pair"] == 2
    await asyncio.sleep(0)


async def test_a_refused_dial_is_asked_how_long_to_wait(case: Case) -> None:
    """Its Retry-After holds every subscription back, within bounds; ccxt's own wait, which has none, is taken away."""
    answer = SimpleNamespace(status=429, headers={"retry-after": "999999"})
    client = case.client({TRADES})
    client.last_retry_after = 999_999.0
    case.connections.on_lost(client, NetworkError(answer))
    case.connections.on_lost(case.client({TRADES}), NetworkError("code 1006"))
    assert case.held == [MOST_SECONDS]
    assert client.last_retry_after is None
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
    """From its own last record on, other pairs have later ones; of all books of the connection where none is named; any other
    error is no gap."""
    client = case.client({BOOK, OTHER, TRADES}, connected_ns=1, last_data_ns=5)
    case.last_ns[BOOK] = 3
    case.connections.on_error(client, ChecksumError("x"), "orderbook::BTC/USD")
    assert case.sink.told == [(frozenset({BOOK}), 3, "sequence_gap")]
    case.connections.on_error(client, ChecksumError("x"), None)
    case.connections.on_error(client, ExchangeError("x"), None)
    told = {(*pairs, from_ns) for pairs, from_ns, _ in case.sink.told[1:]}
    assert told == {(BOOK, 3), (OTHER, 1)}
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
