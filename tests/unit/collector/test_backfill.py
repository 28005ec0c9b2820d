"""What is fetched for which gap, and what its record says afterwards."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.config import Exchange, ExchangeOptions
from daedalus.records import Gap, Trade
from daedalus_collector.backfill import MOST_GAPS, Backfill
from daedalus_collector.continuity import NO_MORE, Continuity
from daedalus_collector.metrics import Metrics
from daedalus_collector.recorder import MOST_FALSE_ALARMS, Recorder
from daedalus_collector.trade_history import HISTORIES, PAGE_TRADES, Missed, numbered
from support.frames import needs, recorded
from unit.collector.test_recorder import TRADES, Recording, trade


class Recovering(Recording):
    """A recording whose trades are numbered, with a backfill that is not running."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = Recorder([TRADES], self.outbox, self.metrics, lambda: self.now_ns, dense=lambda _: True)
        self.backfill = Backfill("kraken", "", {}, self.recorder, self.metrics, lambda: 0.0)
        self.recorder.backfill = self.backfill

    def lose(self, *numbers: int, cause: str = "connection_lost") -> None:
        """Trades 1 and 2, a lost connection, then these."""
        self.recorder.record(TRADES, trade(1, "1"))
        self.recorder.record(TRADES, trade(2, "2"))
        self.recorder.interrupted([TRADES], 2, cause, "closed")
        for number in numbers:
            self.recorder.record(TRADES, trade(10, str(number)))


def fetched(number: int) -> Trade:
    return Trade(99, 5_000, str(number), 1.0, 1.0, "buy", "backfill")


def test_a_gap_waits_for_its_backfill_and_counts_what_is_missing() -> None:
    """Only what is missing is recorded, once; the rest is in `records`."""
    recording = Recovering()
    recording.lose(6)
    assert recording.gaps() == []
    assert recording.backfill.waiting == 1
    missed = recording.recorder.missing(TRADES, 3)
    assert missed is not None
    assert (missed.first, missed.last, missed.from_ns, missed.to_ns) == (3, 5, 2, 10)
    assert [recording.recorder.recover(TRADES, fetched(number)) for number in (2, 3, 3, 4, 6, 7)] == [
        False, True, False, True, False, False,
    ]  # fmt: skip
    recording.backfill.stop()
    [gap] = recording.gaps()
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records) == ("connection_lost", 2, 10, 1)
    assert "1 are missing: the collector stopped" in gap.detail
    numbers = [record.id for record in recording.records("trade") if isinstance(record, Trade)]
    assert numbers == ["1", "2", "6", "3", "4"]


@pytest.mark.parametrize(("number", "causes"), [(3, []), (4, ["connection_silent"])])
def test_a_silence_in_which_nothing_was_missed_is_no_gap(number: int, causes: list[str]) -> None:
    """The market was quiet, and the next trade's number proves it."""
    recording = Recovering()
    recording.lose(number, cause="connection_silent")
    recording.backfill.stop()
    assert [gap.cause for gap in recording.gaps()] == causes


def test_two_gaps_of_a_symbol_have_their_own_trades() -> None:
    """The second one's are not counted into the first."""
    recording = Recovering()
    recording.lose(5)
    recording.recorder.interrupted([TRADES], 10, "bad_frame", "cut")
    recording.recorder.record(TRADES, trade(20, "10"))
    recording.backfill.stop()
    assert [(gap.cause, gap.records) for gap in recording.gaps()] == [("connection_lost", 2), ("bad_frame", 4)]


def test_a_trade_that_an_unbroken_connection_lost() -> None:
    """Is found at a tick, and its gap waits for the backfill as well."""
    recording = Recovering()
    for number in (1, 2, 4):
        recording.recorder.record(TRADES, trade(number, str(number)))
    recording.now_ns = 10**10
    recording.recorder.tick()
    assert recording.recorder.recover(TRADES, fetched(3))
    recording.backfill.stop()
    [gap] = recording.gaps()
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records) == ("sequence_gap", 2, 4, 0)


def test_a_gap_does_not_swallow_a_trade_that_was_lost_before_it() -> None:
    """The hole is older than the gap, which tells of its own trades only."""
    recording = Recovering()
    for number in (1, 2, 4):
        recording.recorder.record(TRADES, trade(number, str(number)))
    recording.recorder.interrupted([TRADES], 4, "bad_frame", "cut")
    recording.recorder.record(TRADES, trade(5, "5"))
    recording.now_ns = 10**10
    recording.recorder.tick()
    recording.backfill.stop()
    assert [(gap.cause, gap.from_ns, gap.to_ns, gap.records) for gap in recording.gaps()] == [
        ("bad_frame", 4, 5, 0), ("sequence_gap", 2, 4, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["stop", "forget"])
def test_a_series_that_ends_tells_of_the_trades_that_were_waited_for(end: str) -> None:
    """Two seconds are the time to be late; a stop or another replica comes before, and nobody else would know."""
    recording = Recovering()
    for number in (1, 2, 4):
        recording.recorder.record(TRADES, trade(number, str(number)))
    if end == "stop":
        recording.recorder.stop()
    else:
        recording.recorder.forget([TRADES])
    [gap] = recording.gaps()
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records) == ("sequence_gap", 2, 4, 1)


def test_a_hole_among_stored_trades_belongs_to_the_gap_of_the_start() -> None:
    """A crash kept it from being told: the gap begins where the hole does."""
    recording = Recovering()
    recording.recorder.interrupted([TRADES], 30, "collector_down", "the collector was not running")
    recording.recorder.know_trades("BTC/USD", ["1", "5"], [10, 20])
    recording.recorder.record(TRADES, trade(40, "8"))
    recording.backfill.stop()
    [gap] = recording.gaps()
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records) == ("collector_down", 10, 40, 5)


def test_a_full_queue_writes_the_gap_at_once() -> None:
    """Bounded, and nothing is lost by it."""
    recording = Recovering()
    gap = Gap(1, "trade", "connection_lost", 1, 2, None, "")
    for _ in range(MOST_GAPS):
        assert recording.backfill.offer(TRADES, gap, 1)
    recording.lose(6)
    assert [gap.cause for gap in recording.gaps()] == ["connection_lost"]
    assert recording.backfill.waiting == MOST_GAPS


def test_ids_that_nobody_knows_end_the_alarms() -> None:
    """An exchange whose ids have holes of their own is told once, and not asked for ever."""
    recording = Recovering()
    for number in range(1, 4 * MOST_FALSE_ALARMS, 2):
        recording.now_ns += 10**10
        recording.recorder.record(TRADES, trade(recording.now_ns, str(number)))
        recording.now_ns += 10**10
        recording.recorder.tick()
        while recording.backfill.waiting:
            recording.recorder.recovered(recording.backfill._queue.popleft(), 0, NO_MORE)
    assert [gap.records for gap in recording.gaps()] == [1] * MOST_FALSE_ALARMS
    assert recording.metrics.errors["ids_not_dense"] == 1


class Answers:
    """REST answers in turn, and what was asked."""

    def __init__(self, *bodies: object) -> None:
        self.bodies = list(bodies)
        self.queries: list[dict[str, str]] = []

    async def __call__(self, url: str, query: dict[str, str]) -> bytes:
        self.queries.append({"at": url.rpartition("/")[2], **query})
        return msgspec.json.encode(self.bodies.pop(0))


MISSED = Missed("M", 10, 20, 100_000_000_000, 102_000_000_000)


async def pages(exchange: str, answers: Answers) -> list[list[int]]:
    return [[int(trade.id or 0) for trade in page] async for page in HISTORIES[exchange](answers, MISSED, 7)]


def binance(number: int) -> dict[str, object]:
    return {"id": number, "price": "1.5", "qty": "2.5", "time": 1, "isBuyerMaker": True}


async def test_binance_is_asked_from_an_id_on_where_the_last_thousand_do_not_reach() -> None:
    """And only then."""
    answers = Answers([binance(20), binance(21)], [binance(10), binance(12)], [binance(13), binance(19)])
    assert await pages("binance", answers) == [[20, 21], [10, 12], [13, 19]]
    assert [(query["at"], query.get("fromId")) for query in answers.queries] == [
        ("trades", None), ("historicalTrades", "10"), ("historicalTrades", "13"),
    ]  # fmt: skip
    assert await pages("binance", Answers([binance(10), binance(11)])) == [[10, 11]]


async def test_binance_futures_are_asked_for_the_last_thousand() -> None:
    """Older ones want a key."""
    answers = Answers([binance(12), binance(21)])
    assert await pages("binanceusdm", answers) == [[12, 21]]
    assert [query["at"] for query in answers.queries] == ["trades"]


@pytest.mark.parametrize(
    ("name", "symbol", "dense"),
    [
        ("binance", "BTC/USDT", True),
        ("binance", "BTC/USDT:USDT", False),  # by `options.ccxt`, through the spot class
        ("binanceusdm", "BTC/USDT:USDT", True),
        ("coinbaseadvanced", "BTC/USD", True),
        ("okx", "BTC/USDT", False),
    ],
)
def test_whose_trades_are_numbered(name: str, symbol: str, dense: bool) -> None:  # noqa: FBT001  # a case
    """Only where missed ones can be fetched, and the ids are those of the stream."""
    assert numbered(name, Exchange(), symbol) == dense
    aggregated = Exchange(options=ExchangeOptions(ccxt={"trades": "aggTrade"}))
    assert not numbered(name, aggregated, symbol)


@needs("binanceusdm")
def test_futures_are_numbered_without_holes() -> None:
    """On real frames: the id that follows is the next one, 21,313 times."""
    continuity = Continuity()
    for _, frame in recorded("binanceusdm", ["@trade"]):
        if b'"t":' in frame:
            trade = msgspec.json.decode(frame)
            continuity.add(trade["t"], trade["T"] * 1_000_000)
    assert continuity.holes == []
    assert continuity.next is not None


async def test_coinbase_is_asked_backwards() -> None:
    """A full page ends where the next one begins, to the second."""
    time = "1970-01-01T00:01:41.5Z"
    full = [{"trade_id": str(n), "price": "1", "size": "2", "time": time, "side": "BUY"} for n in range(1_015, 15, -1)]
    answers = Answers({"trades": full}, {"trades": full[:2]})
    assert [len(page) for page in await pages("coinbase", answers)] == [PAGE_TRADES, 2]
    assert [(query["start"], query["end"]) for query in answers.queries] == [("95", "108"), ("95", "102")]


async def test_kraken_is_asked_forwards() -> None:
    """From where the page before ended; a short page is the last."""
    full = [["1.5", "2.5", 100.5, "s", "m", "", number - 985] for number in range(PAGE_TRADES)]
    answers = Answers(
        {"error": [], "result": {"XXBTZUSD": full, "last": "101000000000"}},
        {"error": [], "result": {"XXBTZUSD": full[:2], "last": "101000000001"}},
    )
    assert [len(page) for page in await pages("kraken", answers)] == [PAGE_TRADES, 2]
    assert [query["since"] for query in answers.queries] == ["95000000000", "101000000000"]


@pytest.mark.parametrize("exchange", sorted(HISTORIES))
async def test_an_answer_that_is_none_is_an_error(exchange: str) -> None:
    """Which the backfill tells in the gap record."""
    with pytest.raises(msgspec.MsgspecError):
        await pages(exchange, Answers("what"))


def test_metrics_have_the_backfills() -> None:
    """Requests to the exchange are visible."""
    metrics: Metrics = Recording().metrics
    assert "daedalus_collector_backfills" in {family.name for family in metrics.collect()}
