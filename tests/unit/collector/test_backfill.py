"""What is fetched for which gap, and what its record says afterwards."""

from __future__ import annotations

from typing import Literal, cast

import msgspec
import pytest

from daedalus import wire
from daedalus.config import Exchange, ExchangeOptions
from daedalus.records import Gap, Trade
from daedalus_collector.backfill import MOST_DISPROVED, MOST_GAPS, MOST_PAGES, UNREACHED, Backfill
from daedalus_collector.continuity import NO_MORE, Continuity
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import Rest
from daedalus_collector.overlap import OTHER_IDS, OTHER_TRADES
from daedalus_collector.recorder import MOST_FALSE_ALARMS, Recorder
from daedalus_collector.stored import Tail
from daedalus_collector.trade_history import HISTORIES, PAGE_TRADES, Missed, numbered
from support.frames import needs, recorded
from unit.collector.test_recorder import TRADES, Recording, trade


class Recovering(Recording):
    """A recording, with a backfill that is not running. `dense`: its trades are numbered."""

    def __init__(self, room: int = 1_000, *, dense: bool = True) -> None:
        super().__init__(room)
        self.recorder = Recorder([TRADES], self.outbox, self.metrics, lambda: self.now_ns, dense=lambda _: dense)
        self.pages: list[list[Trade]] = []
        self.asked: list[int | None] = []
        self.backfill = Backfill("kraken", "", {}, self.ask, self.recorder, self.metrics, lambda: 0.0)
        self.recorder.backfill = self.backfill

    async def ask(self, symbol: str, since_ms: int | None) -> list[Trade]:
        self.asked.append(since_ms)
        return self.pages.pop(0)

    async def fill(self) -> None:
        """Do what waits."""
        while self.backfill.waiting:
            self.backfill._done(await self.backfill._fill(cast("Rest", None), self.backfill._queue[0]))

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
    wanted = recording.backfill._queue[0]
    assert [recording.recorder.recover(wanted, fetched(number)) for number in (2, 3, 3, 4, 6, 7)] == [
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
    assert recording.recorder.recover(recording.backfill._queue[0], fetched(3))
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
    recording.recorder.know_trades("BTC/USD", [trade(10, "1"), trade(20, "5")])
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


SECOND = 10**9


def happened(number: int, *, of: str = "", source: Literal["backfill"] | None = None) -> Trade:
    """Received, or told over REST, in the second of its number."""
    return Trade(number * SECOND, number * SECOND // 1_000, f"{of}{number}", 1.0, float(number), "buy", source)


def told(*numbers: int, of: str = "") -> list[Trade]:
    """By ccxt, over REST."""
    return [happened(number, of=of, source="backfill") for number in numbers]


class Proving(Recovering):
    """One whose ids may mean anything."""

    def __init__(self, room: int = 1_000) -> None:
        super().__init__(room, dense=False)

    def lose(self, *numbers: int, cause: str = "connection_lost") -> None:
        """Trades 1 to 9, a lost connection, then these."""
        for number in range(1, 10):
            self.recorder.record(TRADES, happened(number))
        self.recorder.interrupted([TRADES], 9 * SECOND, cause, "closed")
        for number in numbers:
            self.recorder.record(TRADES, happened(number))

    def batch(self) -> wire.Batch:
        """The trades that came since the last one."""
        self.outbox._close(self.outbox._open["md.0.kraken.trade"])
        return wire.decode(self.outbox.closed.pop().message)

    def fetched(self) -> list[str | None]:
        found = [trade for trade in self.records("trade") if isinstance(trade, Trade)]
        assert len({trade.id for trade in found}) == len(found)
        return [trade.id for trade in found if trade.source == "backfill"]


async def test_what_is_proved_is_recorded_once() -> None:
    """The gap says that nothing is missing; what the stream sends later of it is known."""
    recording = Proving()
    recording.lose(20, 21)
    assert recording.gaps() == []
    recording.pages = [told(*range(5, 22))]
    await recording.fill()
    recording.recorder.record(TRADES, happened(15))
    assert recording.fetched() == [str(number) for number in range(10, 20)]
    [gap] = recording.gaps()
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records) == ("connection_lost", 9 * SECOND, 20 * SECOND, 0)
    assert gap.detail == "closed; recovered 10 trades over REST"
    assert recording.asked == [None]


@pytest.mark.parametrize(
    ("pages", "fetched", "asked", "why"),
    [
        ([told(*range(5, 22), of="r")], 0, [None], OTHER_IDS),
        ([[*told(*range(5, 9)), *told(20, 21)]], 0, [None], OTHER_TRADES),
        ([told(*range(15, 22))] * 2, 5, [None, -1_000], UNREACHED),
        ([told(*range(15, 22)), told(*range(1, 12)), told(*range(13, 22))], 7, [None, -1_000, 11_000], "left some out"),
        ([told(*range(15, 22)), told(*range(1, 12)), told(*range(11, 22))], 10, [None, -1_000, 11_000], ""),
        ([told(*range(5, 12)), told(*range(8, 22))], 10, [None, None], ""),
        ([told(*range(5, 20)), told(*range(8, 22))], 10, [None, None], ""),
        ([told(*range(5, 12))] * MOST_PAGES, 2, [None] * MOST_PAGES, "pages is the limit"),
    ],
    ids=[
        "other ids",
        "joined",
        "not so far back",
        "a hole between",
        "from a time on",
        "REST is behind",
        "by a trade",
        "far behind",
    ],
)
async def test_what_a_gap_says_of_its_trades(
    pages: list[list[Trade]], fetched: int, asked: list[int | None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many were recovered, and why it is not known whether these are all."""
    monkeypatch.setattr("daedalus_collector.backfill.AGAIN_SECONDS", 0.0)
    recording = Proving()
    recording.lose(20, 21)
    recording.pages = list(pages)
    await recording.fill()
    assert recording.asked == asked
    assert len(recording.fetched()) == fetched
    [gap] = recording.gaps()
    assert gap.records == (None if why else 0)
    assert f"closed; recovered {fetched} trades over REST" in gap.detail
    assert why in gap.detail
    assert ("more may be missing" in gap.detail) == bool(why)


async def test_an_exchange_with_other_ids_is_not_asked_for_ever() -> None:
    """Counted each time; its gaps go on to say why."""
    recording = Proving()
    for number in range(MOST_DISPROVED + 2):
        recording.recorder.record(TRADES, happened(10 * number + 1))
        recording.recorder.interrupted([TRADES], (10 * number + 1) * SECOND, "connection_lost", "closed")
        recording.recorder.record(TRADES, happened(10 * number + 5))
        recording.pages = [told(*range(10 * number - 20, 10 * number + 10), of="r")]
        await recording.fill()
    assert len(recording.asked) == recording.metrics.errors["trades_differ"] == MOST_DISPROVED
    assert all("over REST" in gap.detail for gap in recording.gaps())
    assert recording.fetched() == []


async def test_a_quiet_market_has_no_gap_where_rest_proves_it() -> None:
    """Silent, and the next trade is the next one over REST too."""
    recording = Proving()
    recording.lose(20, cause="connection_silent")
    recording.pages = [told(*range(5, 10), 20)]
    await recording.fill()
    assert recording.gaps() == []


async def test_a_trade_that_finds_no_room_is_not_counted() -> None:
    """It stays missing, and nobody says that all were recovered."""
    recording = Proving(room=11)
    recording.lose(20)
    recording.pages = [told(*range(5, 21))]
    await recording.fill()
    assert recording.fetched() == ["10"]
    recording.recorder.tick()
    [gap] = recording.gaps()
    assert (gap.records, "recovered 1 trades" in gap.detail, "no room" in gap.detail) == (None, True, True)


async def test_what_the_outbox_refused_is_no_sign_of_another_stream() -> None:
    """Those trades are missing by our own doing: the proof begins behind them."""
    recording = Proving(room=5)
    for number in range(1, 8):
        recording.recorder.record(TRADES, happened(number))
    assert len(recording.records("trade")) == 5
    recording.outbox.limits = msgspec.structs.replace(recording.outbox.limits, records=1_000)
    for number in (8, 9):
        recording.recorder.record(TRADES, happened(number))
    recording.recorder.interrupted([TRADES], 9 * SECOND, "connection_lost", "closed")
    recording.recorder.record(TRADES, happened(20))
    recording.pages = [told(*range(1, 21))]
    await recording.fill()
    assert recording.fetched() == [str(number) for number in range(10, 20)]
    assert [gap.records for gap in recording.gaps()] == [2, 0]


def test_trades_of_which_nothing_can_be_proved_are_not_waited_for() -> None:
    """No id, no time, or none before the gap: written at once."""
    for strange in (trade(1, "1"), happened(1), msgspec.structs.replace(happened(1), id=None)):
        recording = Proving()
        recording.recorder.record(TRADES, strange)
        recording.recorder.interrupted([TRADES], 1, "connection_lost", "closed")
        recording.recorder.record(TRADES, happened(5))
        assert [gap.records for gap in recording.gaps()] == [None]


async def test_the_trades_of_an_earlier_run_prove_those_of_the_gap_between() -> None:
    """A restart recovers what it missed."""
    recording = Proving()
    recording.recorder.interrupted([TRADES], 9 * SECOND, "collector_down", "closed")
    recording.recorder.know_trades("BTC/USD", [happened(number) for number in range(1, 10)])
    recording.recorder.record(TRADES, happened(20))
    recording.pages = [told(*range(5, 21))]
    await recording.fill()
    assert recording.fetched() == [str(number) for number in range(10, 20)]
    assert [gap.records for gap in recording.gaps()] == [0]


async def test_a_crash_while_a_gap_waits_does_not_lose_it() -> None:
    """What is stored meanwhile says where the gap begins; so does the next run's, until the record itself is on its way."""
    recording = Proving()
    recording.lose(20)
    tail = Tail()
    tail.note(recording.batch())
    assert tail.complete_until_ns("BTC/USD", []) == 9 * SECOND
    recording.pages = [told(*range(5, 21))]
    await recording.fill()
    recording.recorder.tick()
    recording.recorder.record(TRADES, happened(21))
    tail.note(recording.batch())
    assert tail.complete_until_ns("BTC/USD", []) == 9 * SECOND
    assert recording.gaps()
    recording.recorder.tick()
    recording.recorder.record(TRADES, happened(22))
    tail.note(recording.batch())
    assert tail.complete_until_ns("BTC/USD", []) == 22 * SECOND


def test_a_gap_whose_ids_mean_nothing_any_more_says_nothing_of_them() -> None:
    """They had holes of their own meanwhile."""
    recording = Recovering()
    recording.lose(6)
    recording.recorder._series[TRADES].continuity = None
    recording.backfill.stop()
    assert [(gap.records, gap.detail) for gap in recording.gaps()] == [(None, "closed")]


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
