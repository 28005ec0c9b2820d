"""Feeds side by side, so that what is recorded can change while it runs: a change is a new feed, and the old one ends
only when the new one delivers.

A lane is a feed and its pairs. New symbols get a lane; a lane that lost some of its symbols is replaced by one for the
rest after a while, because few exchanges let go of half a subscription. While two lanes have a pair, the newer one's records count from
its first on, and trades of both, which the recorder knows by their ids. No feed needs to know of it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from daedalus.records import RawFrame, Record, Trade
from daedalus_collector.feed import FrameSink, Pair, Sink
from daedalus_collector.feeds import AnyFeed, Fetching
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import RestError
from daedalus_collector.raw_frames import place_of

MOST_LANES = 4
"""With more than that, all are replaced by one: connections are not for free."""
QUIET_SECONDS = 5.0
"""A pair without a record counts as delivering when its lane has been active for so long: a quiet market."""
SETTLE_SECONDS = 10.0
"""After a change, before lanes with pairs that nobody wants are replaced: changes come in company."""
TIDY_SECONDS = 0.5
OVERLAP_SECONDS = 1.0
"""How long a lane stays after a newer one has taken its last pair: a trade may be on its way on one of them only."""

_log = structlog.get_logger()


class Lane:
    """One feed. Is the feed's `Sink` and its `FrameSink`."""

    def __init__(self, lanes: Lanes, pairs: frozenset[Pair]) -> None:
        self.pairs = pairs
        self.delivered: set[Pair] = set()
        self.feed: AnyFeed
        self.task: asyncio.Task[None] | None = None
        self.quiet = False
        """Active for so long that what has not come is a quiet market."""
        self.spare_since: float | None = None
        self.lost_connections: dict[Pair, str] = {}
        """The last one in each place."""
        self._lanes = lanes
        self._active_since: float | None = None

    def record(self, pair: Pair, record: Record) -> None:
        if pair not in self.delivered and self._lanes.began(self, pair, record.received_ns):
            self.delivered.add(pair)
        self._lanes.record(self, pair, record)

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        self._lanes.interrupted(self, pairs, from_ns, cause, detail)

    def frame(self, frame: RawFrame) -> None:
        self._lanes.frame_sink.frame(frame)  # of every lane: who reads them again can tell

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None:
        self.lost_connections[place_of(connection)] = connection
        self._lanes.frame_sink.frames_lost(connection, from_ns, cause, detail)

    def look(self, now: float) -> None:
        """Once in a while: is all of it active?"""
        states = self.feed.subscriptions()
        still = states["starting"] + states["waiting"]
        ended = states["refused"] + states["given_up"]
        if still or not states["active"] or states["active"] + ended < len(self.pairs):
            self._active_since = None
        else:
            self._active_since = self._active_since or now
        self.quiet = self._active_since is not None and now - self._active_since >= QUIET_SECONDS

    def carries(self, pair: Pair) -> bool:
        return pair in self.delivered or (self.quiet and pair in self.pairs)


class Lanes:
    """Has the face of a feed, and `assign`. `make(pairs, sink)` makes a feed; `on_markets` hears the exchange's names
    (unified symbol → its own) when they are known.
    """

    def __init__(
        self,
        make: Callable[[frozenset[Pair], Lane], AnyFeed],
        sink: Sink,
        metrics: Metrics,
        on_markets: Callable[[dict[str, str]], None] = lambda _: None,
    ) -> None:
        self.market_ids: dict[str, str] = {}
        self.loaded = asyncio.Event()
        self.wanted: frozenset[Pair] = frozenset()
        self._make = make
        self._sink = sink
        self._metrics = metrics
        self.frame_sink: FrameSink
        """Where frames go, where they are recorded; set before the first feed."""
        self.on_ended: Callable[[Iterable[str]], None] = lambda _: None
        """Hears which connections have no successor any more."""
        self.on_first: Callable[[Pair, int], None] = lambda _pair, _ns: None
        """Hears of the first record of a pair, and when a quiet market counts as delivering."""
        self._on_markets = on_markets
        self._lanes: list[Lane] = []
        self._from: dict[Pair, Lane] = {}
        """Whose records count."""
        self._tasks: asyncio.TaskGroup | None = None
        self._past_frames = 0
        self._assigned = 0.0
        self.elsewhere: Callable[[Pair], bool] = lambda _: False
        """Whether another replica carries a pair that has had no record here."""

    # -- what is recorded

    def assign(self, pairs: Iterable[Pair]) -> None:
        """Record these from now on. What is not among them is not recorded any more; what stays has no gap."""
        wanted = frozenset(pairs)
        if wanted == self.wanted:
            return
        self.wanted, self._assigned = wanted, time.monotonic()
        for lane in self._lanes:
            lane.delivered &= wanted  # should a pair come back while its lane lives, it begins anew
        self._from = {pair: lane for pair, lane in self._from.items() if pair in wanted}
        missing = wanted - {pair for lane in self._lanes for pair in lane.pairs}
        if missing:
            self._open(missing)

    def carries(self, pair: Pair) -> bool:
        """Whether it delivers now, or would if there were something."""
        lane = self._from.get(pair)
        return lane is not None and lane.carries(pair)

    async def trades(self, symbol: str, since_ms: int | None) -> list[Trade]:
        """See `daedalus_collector.feeds.Fetching`."""
        lane = self._from.get(Pair("trade", symbol))
        if lane is None or not isinstance(lane.feed, Fetching):
            raise RestError(f"{symbol} is with no feed that fetches trades")
        return await lane.feed.trades(symbol, since_ms)

    # -- a lane's sink

    def began(self, lane: Lane, pair: Pair, received_ns: int) -> bool:
        """A lane has the first record of a pair; False when nobody wants it."""
        if pair not in self.wanted or lane not in self._lanes:
            return False
        if self._newer(lane, pair):
            self._from[pair] = lane
            self.on_first(pair, received_ns)
        return True

    def record(self, lane: Lane, pair: Pair, record: Record) -> None:
        source = self._from.get(pair)
        if source is lane or (source is not None and pair[0] == "trade" and getattr(record, "id", None) is not None):
            self._sink.record(pair, record)
        else:
            self._metrics.received[pair[0]] += 1
            self._metrics.discarded[pair[0], "other_replica" if source is None else "other_connection"] += 1

    def interrupted(self, lane: Lane, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        wanted = [pair for pair in pairs if pair in self.wanted]
        ours = [pair for pair in wanted if self._from.get(pair, lane) is lane and not self._is_elsewhere(pair)]
        if ours:
            self._sink.interrupted(ours, from_ns, cause, detail)

    def _is_elsewhere(self, pair: Pair) -> bool:
        return pair not in self._from and self.elsewhere(pair)

    def _newer(self, lane: Lane, pair: Pair) -> bool:
        present = self._from.get(pair)
        return present is None or self._lanes.index(lane) >= self._lanes.index(present)

    # -- the face of a feed

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            for lane in self._lanes:
                self._start(lane)
            while True:
                await asyncio.sleep(TIDY_SECONDS)
                await self._tidy(time.monotonic())

    def drain(self) -> None:
        for lane in self._lanes:
            lane.feed.drain()

    async def close(self) -> None:
        await asyncio.gather(*(lane.feed.close() for lane in self._lanes))

    def problems(self) -> dict[str, str]:
        return {name: why for lane in self._lanes for name, why in lane.feed.problems().items()}

    def subscriptions(self) -> Counter[str]:
        states: Counter[str] = Counter(starting=0, active=0, waiting=0, refused=0, given_up=0)
        for lane in self._lanes:
            states.update(lane.feed.subscriptions())
        return states

    def connections(self) -> int:
        return sum(lane.feed.connections() for lane in self._lanes)

    def frames(self) -> int:
        return self._past_frames + sum(lane.feed.frames() for lane in self._lanes)

    # -- lanes come and go

    def _open(self, pairs: frozenset[Pair]) -> None:
        lane = Lane(self, pairs)
        lane.feed = self._make(pairs, lane)
        self._lanes.append(lane)
        _log.info("feed was started", exchange=self._metrics.exchange, pairs=len(pairs), feeds=len(self._lanes))
        if self._tasks is not None:
            self._start(lane)

    def _start(self, lane: Lane) -> None:
        assert self._tasks is not None
        lane.task = self._tasks.create_task(self._live(lane))

    async def _live(self, lane: Lane) -> None:
        loading = asyncio.ensure_future(self._know_markets(lane))
        try:
            await lane.feed.run()
        finally:
            loading.cancel()

    async def _know_markets(self, lane: Lane) -> None:
        await lane.feed.loaded.wait()
        self.market_ids.update(lane.feed.market_ids)
        self._on_markets(self.market_ids)
        self.loaded.set()

    def _renew(self) -> None:
        """Replace the lanes that have pairs that nobody wants; all of them, when there are many."""
        newest = {pair: lane for lane in self._lanes for pair in lane.pairs}
        stale = frozenset(pair for pair in self.wanted if not newest[pair].pairs <= self.wanted)
        many = len({newest[pair] for pair in self.wanted}) > MOST_LANES
        if stale or many:
            self._open(self.wanted if many else stale)

    async def _tidy(self, now: float) -> None:
        """Quiet markets go to the newer lane too; a lane that has nothing any more ends."""
        if now - self._assigned >= SETTLE_SECONDS:
            self._renew()
            self._assigned = now
        for lane in list(self._lanes):
            lane.look(now)
            if lane.quiet:
                for pair in lane.pairs - lane.delivered:
                    if pair in self.wanted and self._from.get(pair) is not lane and self._newer(lane, pair):
                        self.began(lane, pair, time.time_ns())
            newer = self._lanes[self._lanes.index(lane) + 1 :]
            needed = lane.pairs & self.wanted
            if any(not any(pair in other.pairs and other.carries(pair) for other in newer) for pair in needed):
                lane.spare_since = None
                continue
            lane.spare_since = lane.spare_since or now
            if not needed or now - lane.spare_since >= OVERLAP_SECONDS:
                await self._end(lane)

    async def _end(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        self._past_frames += lane.feed.frames()
        if lane.task is not None:
            lane.task.cancel()
            await asyncio.wait({lane.task})
        await lane.feed.close()
        self.on_ended(lane.lost_connections.values())
        _log.info("feed was ended", exchange=self._metrics.exchange, pairs=len(lane.pairs), feeds=len(self._lanes))
        gc.unfreeze()  # feeds freeze their markets, and these are gone
        gc.collect()
        gc.freeze()
