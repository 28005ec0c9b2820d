"""The replicas of one exchange's collector: who is there, by lease, and what each carries, by message.

Decides nothing by itself: `sharing` does. This asks NATS, and tells the feed, the recorder and the other replicas.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from daedalus.config import Nats
from daedalus.lease import RENEWALS_PER_TTL, Lease, Members
from daedalus.naming import carried_subject
from daedalus_collector.feed import Pair
from daedalus_collector.lanes import Lanes
from daedalus_collector.publisher import Publisher
from daedalus_collector.raw_frames import EARLIER_RUN
from daedalus_collector.recall import Past, Recall
from daedalus_collector.recorder import Recorder
from daedalus_collector.sharing import Carried, Share, Takeovers

STORED_NS = 2_000_000_000
"""After which what another replica received is in the stream: it lingers for half a second, and is acknowledged."""
LEAVING_ROUND_SECONDS = 0.25
_AWAY = (nats.errors.Error, nats.js.errors.Error, TimeoutError)
_DOWN = ("collector_down", "the collector was not running")

_log = structlog.get_logger()
_decoder = msgspec.json.Decoder(Carried)


class Peers:
    """`begin`, then `run` for as long as it records, then `leave`."""

    def __init__(
        self,
        connection: Client,
        config: Nats,
        exchange: str,
        instance: str,
        share: Share,
        lanes: Lanes,
        recorder: Recorder,
        publisher: Publisher,
        recall: Recall,
        pairs: Iterable[Pair],
    ) -> None:
        self._connection = connection
        self._js = connection.jetstream()
        self._ttl = float(config.lease_seconds)
        self._exchange = exchange
        self._instance = instance
        self._share = share
        self._lanes = lanes
        self._recorder = recorder
        self._publisher = publisher
        self._recall = recall
        self._takeovers = Takeovers(int(2e9 * self._ttl), STORED_NS)
        self._pairs: dict[str, list[Pair]] = {}
        for pair in pairs:
            self._pairs.setdefault(pair.symbol, []).append(pair)
        self._frames_known = not recorder.has_frames
        self._frames_missing = False
        """From an earlier run until every connection of this one is there."""
        self._member: Lease
        self._members = Members(self._js, f"collectors.{exchange}", self._ttl)
        self._round_lock = asyncio.Lock()
        lanes.on_first = self._takeovers.began
        lanes.elsewhere = self._takeovers.waits

    @property
    def replicas(self) -> int:
        """Live ones, this one too."""
        return len(self._share.others) + 1

    @property
    def symbols(self) -> int:
        return len(self._share.recorded)

    async def begin(self) -> None:
        """Join, and take what falls to this replica. Waits for JetStream."""
        prefix = f"collectors.{self._exchange}"
        while True:
            try:
                self._member = await Lease.of(self._js, f"{prefix}.{self._instance}", self._instance, self._ttl)
                break
            except _AWAY as error:
                _log.warning("leases could not be opened", error_type=type(error).__name__)
                await asyncio.sleep(1.0)
        await self._connection.subscribe(carried_subject(self._exchange), cb=self._heard)
        await self._round()

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._ttl / RENEWALS_PER_TTL)
            await self._round()

    async def listed(self, pairs: Iterable[Pair]) -> None:
        """The exchange listed or delisted symbols: take the new ones that fall to this replica, let go of the others."""
        async with self._round_lock:
            before, recorded = self._pairs, self._share.recorded
            self._pairs = {}
            for pair in pairs:
                self._pairs.setdefault(pair.symbol, []).append(pair)
            self._recorder.admit(pair for of_symbol in self._pairs.values() for pair in of_symbol)
            self._share.listed(self._pairs)
            gone = [pair for symbol in recorded for pair in before[symbol] if pair not in self._pairs.get(symbol, [])]
            self._assign()
            self._takeovers.dropped(recorded - self._share.recorded)
            self._recorder.forget(gone)
        await self._round()

    async def leave(self, limit_seconds: float) -> None:
        """Let go of the lease at once, and of each symbol when another replica carries it; of the rest after the limit."""
        self._share.leaving = True
        await self._member.release()
        deadline = time.monotonic() + limit_seconds
        while True:
            await self._round()
            if not self._share.recorded or time.monotonic() >= deadline:
                break
            await asyncio.sleep(LEAVING_ROUND_SECONDS)
        if self._share.recorded:
            _log.warning("symbols were not handed over", symbols=len(self._share.recorded), limit_seconds=limit_seconds)
        try:
            await self._write(self._takeovers.begun(self._share.recorded))
        except _AWAY as error:
            _log.warning("takeovers were not judged", error_type=type(error).__name__, pairs=len(self._takeovers))

    # -- one round

    async def _round(self) -> None:
        async with self._round_lock:
            try:
                if not self._share.leaving:
                    await self._member.acquire()
                self._share.joined(await self._members.live())
            except _AWAY as error:
                _log.warning("replicas could not be read", error_type=type(error).__name__)
            self._lanes.drain()
            now_ns = time.time_ns()
            stored_ns = self._publisher.stored_ns(now_ns)
            try:
                await self._tell(stored_ns)
                await self._change(self._share.wanted(now_ns, stored_ns), now_ns)
                await self._write_unvouched(now_ns)
            except _AWAY as error:  # the next round goes on
                _log.warning("share was not changed", error_type=type(error).__name__)
            states = self._lanes.subscriptions()
            if self._frames_missing and states["active"] and not states["starting"]:
                self._recorder.frames_over([EARLIER_RUN])
                self._frames_missing = False

    async def _tell(self, stored_ns: int) -> None:
        carried = Carried(self._instance, stored_ns, sorted(filter(self._carries, self._share.recorded)))
        await self._connection.publish(carried_subject(self._exchange), msgspec.json.encode(carried))

    def _carries(self, symbol: str) -> bool:
        return all(self._lanes.carries(pair) and not self._recorder.is_open(pair) for pair in self._pairs[symbol])

    async def _heard(self, message: Msg) -> None:
        try:
            carried = _decoder.decode(message.data)
        except msgspec.DecodeError as error:
            _log.warning("message of a replica was not readable", error=str(error))
            return
        self._share.hear(carried, time.time_ns())
        if carried.instance != self._instance:
            self._takeovers.hear(carried)

    async def _change(self, wanted: set[str], now_ns: int) -> None:
        share = self._share
        gone, new = share.recorded - wanted, wanted - share.recorded
        if gone:
            await self._write(self._takeovers.begun(gone))  # who let it go before us is not here to tell
            share.recorded = share.recorded - gone
            self._assign()
            self._takeovers.dropped(gone)
            self._recorder.forget(self._pairs_of(gone))
            _log.info("symbols were let go", exchange=self._exchange, symbols=len(gone), others=share.others)
        if new:
            await self._take(new, now_ns)
            share.recorded = share.recorded | new
            self._assign()
            _log.info("symbols were taken", exchange=self._exchange, symbols=len(new), others=share.others)

    async def _take(self, symbols: set[str], now_ns: int) -> None:
        if not self._frames_known:
            until_ns = await self._recall.frames_until_ns(self._share.around(now_ns))
            if until_ns is not None:
                self._recorder.frames_lost(EARLIER_RUN, until_ns, *_DOWN)
                self._frames_missing = True
            self._frames_known = True
        pairs = self._pairs_of(symbols)
        past = await self._recall.past(pairs, self._share.around(now_ns))
        await self._recall.note(pairs)
        alone = {symbol for symbol in symbols if self._share.nobody_carries(symbol, now_ns)}
        for pair in pairs:
            before = past[pair]
            if pair.symbol not in alone:
                self._takeovers.took([pair], time.time_ns())  # what was recalled took its time
                self._know(pair, before, ours=False)
            else:
                if before.until_ns is not None:
                    self._recorder.interrupted([pair], before.until_ns, *_DOWN)
                self._know(pair, before, ours=True)

    def _know(self, pair: Pair, past: Past, *, ours: bool) -> None:
        if pair.channel == "trade":
            self._recorder.know_trades(pair.symbol, past.trades, ours=ours)

    async def _write_unvouched(self, now_ns: int) -> None:
        found = self._takeovers.unvouched(self._share, now_ns)
        try:
            await self._write(found)
        except _AWAY:
            self._takeovers.again(found, now_ns)
            raise

    async def _write(self, found: list[tuple[Pair, int | None]]) -> None:
        """Nobody is known to have carried these until we did: a gap, unless the stream has others' records of then."""
        if not found:
            return
        around = self._share.around(time.time_ns())
        past = await self._recall.past([pair for pair, _ in found], around, own=False)
        for pair, first_ns in found:
            until_ns = past[pair].until_ns
            if until_ns is None or (first_ns is not None and first_ns <= until_ns):
                continue
            if first_ns is None:
                self._recorder.interrupted([pair], until_ns, *_DOWN)
            else:
                self._recorder.write_gap(pair, until_ns, first_ns, *_DOWN)

    def _assign(self) -> None:
        self._lanes.assign(self._pairs_of(self._share.recorded))

    def _pairs_of(self, symbols: Iterable[str]) -> list[Pair]:
        return [pair for symbol in sorted(symbols) for pair in self._pairs[symbol]]
