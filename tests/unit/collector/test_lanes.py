"""Feeds side by side: what is recorded changes while they run. Time is an argument."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry

from daedalus.records import RawFrame, Record, Trade
from daedalus_collector import lanes as module
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.lanes import Lanes
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import RestError

BTC, ETH, BOOK = Pair("trade", "BTC/USD"), Pair("trade", "ETH/USD"), Pair("orderbook", "BTC/USD")


class FakeFeed:
    """Records what it is told to."""

    def __init__(self, pairs: frozenset[Pair], sink: Sink) -> None:
        self.pairs, self.sink = pairs, sink
        self.market_ids: dict[str, str] = {}
        self.loaded = asyncio.Event()
        self.closed = False
        self.states = Counter(starting=len(pairs))

    async def run(self) -> None:
        await asyncio.Event().wait()

    def drain(self) -> None: ...

    async def close(self) -> None:
        self.closed = True

    def problems(self) -> dict[str, str]:
        return {}

    def subscriptions(self) -> Counter[str]:
        return self.states

    def connections(self) -> int:
        return 1

    def frames(self) -> int:
        return 10

    def deliver(self, pair: Pair, number: int) -> None:
        self.sink.record(pair, Trade(number, None, str(number), 1.0, 1.0, None))


class Stage:
    """Lanes of fake feeds, and what came out."""

    def __init__(self) -> None:
        self.feeds: list[FakeFeed] = []
        self.recorded: list[tuple[Pair, int]] = []
        self.gaps: list[Pair] = []
        self.first: list[tuple[Pair, int]] = []
        self.metrics = Metrics(CollectorRegistry(), "kraken")
        self.lanes = Lanes(self.make, self, self.metrics)
        self.lanes.on_first = lambda pair, ns: self.first.append((pair, ns))
        self.frames: list[RawFrame] = []
        self.lost: list[str] = []
        self.ended: list[str] = []
        self.lanes.frame_sink = self
        self.lanes.on_ended = self.ended.extend

    def make(self, pairs: frozenset[Pair], sink: Sink) -> FakeFeed:
        self.feeds.append(FakeFeed(pairs, sink))
        return self.feeds[-1]

    def record(self, pair: Pair, record: Record) -> None:
        self.recorded.append((pair, record.received_ns))

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        self.gaps += pairs

    def frame(self, frame: RawFrame) -> None:
        self.frames.append(frame)

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None:
        self.lost.append(connection)

    async def tidy(self, seconds: float) -> None:
        """`seconds` after the last change."""
        await self.lanes._tidy(self.lanes._assigned + seconds)  # its clock


async def test_what_is_not_wanted_any_more_is_dropped_at_once_and_comes_back() -> None:
    """Its records are counted and not recorded; taken again it is recorded from its next record on, by the same feed."""
    stage = Stage()
    stage.lanes.assign([BTC, ETH])
    [feed] = stage.feeds
    feed.deliver(BTC, 1)
    feed.deliver(ETH, 2)
    stage.lanes.assign([BTC])
    feed.deliver(ETH, 3)
    feed.sink.interrupted([BTC, ETH], 3, "connection_lost", "")
    stage.lanes.assign([BTC, ETH])
    feed.deliver(ETH, 4)
    assert stage.recorded == [(BTC, 1), (ETH, 2), (ETH, 4)]
    assert stage.first == [(BTC, 1), (ETH, 2), (ETH, 4)]
    assert stage.metrics.discarded["trade", "other_replica"] == 1
    assert stage.gaps == [BTC]
    assert len(stage.feeds) == 1


async def test_a_lane_that_lost_pairs_is_replaced_without_a_break() -> None:
    """The old feed ends only when the new one has delivered every pair; of a book only one feed's states count."""
    stage = Stage()
    stage.lanes.assign([BTC, BOOK, ETH])
    old = stage.feeds[0]
    for pair in (BTC, BOOK, ETH):
        old.deliver(pair, 1)
    stage.lanes.assign([BTC, BOOK])
    await stage.tidy(module.SETTLE_SECONDS - 1)
    assert len(stage.feeds) == 1, "changes come in company"
    await stage.tidy(module.SETTLE_SECONDS)
    new = stage.feeds[1]
    assert new.pairs == {BTC, BOOK}
    stage.recorded.clear()
    old.deliver(BOOK, 2)
    new.deliver(BOOK, 3)
    old.deliver(BOOK, 4)
    new.deliver(BOOK, 5)
    old.deliver(BTC, 6)
    await stage.tidy(100)
    assert not old.closed, "the new feed has no trade yet"
    assert stage.lanes.carries(BTC)
    new.deliver(BTC, 7)
    old.deliver(BTC, 8)
    old.sink.interrupted([BTC, BOOK], 8, "connection_lost", "")
    await stage.tidy(200)
    assert not old.closed, "a trade may be on its way"
    await stage.tidy(200 + module.OVERLAP_SECONDS)
    closed = [feed.closed for feed in stage.feeds]
    assert closed == [True, False]
    assert stage.recorded == [(BOOK, 2), (BOOK, 3), (BOOK, 5), (BTC, 6), (BTC, 7), (BTC, 8)]
    assert stage.gaps == []
    assert stage.lanes.frames() == 20
    await stage.tidy(10_000)
    assert len(stage.feeds) == 2


async def test_a_quiet_market_goes_to_the_new_lane_when_it_is_active() -> None:
    """Nothing comes, so nothing can be waited for."""
    stage = Stage()
    stage.lanes.assign([BTC])
    [feed] = stage.feeds
    await stage.tidy(1)
    assert not stage.lanes.carries(BTC)
    feed.states = Counter(active=1)
    await stage.tidy(2)
    assert not stage.lanes.carries(BTC)
    await stage.tidy(2 + module.QUIET_SECONDS)
    assert stage.lanes.carries(BTC)
    assert [pair for pair, _ in stage.first] == [BTC]


async def test_an_interruption_before_the_first_record_counts_only_here() -> None:
    """Not while another replica carries the pair."""
    stage = Stage()
    stage.lanes.assign([BTC, ETH])
    stage.lanes.elsewhere = lambda pair: pair == ETH
    stage.feeds[0].sink.interrupted([BTC, ETH], 1, "connection_lost", "")
    assert stage.gaps == [BTC]


async def test_many_lanes_become_one() -> None:
    """Each change adds a feed; above the bound all are replaced."""
    stage = Stage()
    pairs = [Pair("trade", f"C{number}/USD") for number in range(module.MOST_LANES + 1)]
    for number in range(len(pairs)):
        stage.lanes.assign(pairs[: number + 1])
        stage.feeds[-1].deliver(pairs[number], number)
    await stage.tidy(module.SETTLE_SECONDS)
    assert stage.feeds[-1].pairs == set(pairs)
    for pair in pairs:
        stage.feeds[-1].deliver(pair, 100)
    await stage.tidy(20)
    await stage.tidy(30)
    assert [feed.closed for feed in stage.feeds] == [True] * len(pairs) + [False]


class FetchingFeed(FakeFeed):
    async def trades(self, symbol: str, since_ms: int | None) -> list[Trade]:
        return [Trade(since_ms or 0, None, symbol, 1.0, 1.0, None)]


async def test_trades_are_fetched_by_the_feed_whose_records_count() -> None:
    """Where there is none, or it cannot, that is an answer that did not come."""
    stage = Stage()
    stage.lanes.assign([BTC, ETH])
    with pytest.raises(RestError):
        await stage.lanes.trades("BTC/USD", 7)
    stage.feeds[0].deliver(BTC, 1)
    with pytest.raises(RestError):
        await stage.lanes.trades("BTC/USD", 7)
    stage.lanes._lanes[0].feed = FetchingFeed(frozenset(), stage)
    assert [(trade.id, trade.received_ns) for trade in await stage.lanes.trades("BTC/USD", 7)] == [("BTC/USD", 7)]


async def test_frames_of_all_lanes_are_recorded_side_by_side() -> None:
    """They are no pair that one lane takes over from another; who ends without a successor for a lost connection says so."""
    stage = Stage()
    stage.lanes.assign([BTC])
    stage.lanes.assign([BTC, ETH])
    first, second = (lane.feed.sink for lane in stage.lanes._lanes)  # type: ignore[attr-defined]  # FakeFeed's
    for number in range(3):
        first.frame(RawFrame(number, "run.0.0", number, b"a"))
        second.frame(RawFrame(number, "run.1.0", number, b"b"))
    first.frames_lost("run.0.0", 2, "connection_lost", "")
    first.frames_lost("run.0.1", 2, "connection_lost", "")
    assert [frame.frame for frame in stage.frames] == [b"a", b"b"] * 3
    assert stage.lost == ["run.0.0", "run.0.1"]
    stage.feeds[1].deliver(BTC, 1)
    await stage.lanes._end(stage.lanes._lanes[0])
    assert stage.ended == ["run.0.1"]
