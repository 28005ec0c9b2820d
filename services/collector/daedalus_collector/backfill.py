"""Missed trades, fetched over REST after the interruption that lost them; only then is the gap record written.

One request at a time, a bounded queue, and for each gap a bounded number of pages and seconds. A gap is held back for
`HOLD_SECONDS` at the most. Should the collector die meanwhile, the next start finds the hole among the ids that are stored
(`recorder.know_trades`), tells of it in its own gap record, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import aiohttp
import certifi
import msgspec
import structlog

from daedalus.records import Gap, Trade
from daedalus_collector.continuity import NO_MORE, Hole
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import Rest, RestError
from daedalus_collector.trade_history import HISTORIES, PAUSE_SECONDS, Missed

MOST_GAPS = 1_000
"""That wait; what comes then is written without a backfill."""
MOST_PAGES = 5
FETCH_SECONDS = 30.0
HOLD_SECONDS = 55.0
SETTLE_SECONDS = 0.5
"""After a gap closed: what the exchange sends again by itself comes with its first frames."""

_log = structlog.get_logger()


class Wanted(NamedTuple):
    """A closed gap that waits: the trades from id `first` on that are missing belong to it."""

    pair: Pair
    gap: Gap
    first: int
    due: float
    """Of the monotonic clock."""


class Recovering(Protocol):
    """The recorder, as far as the backfill needs it."""

    def missing(self, pair: Pair, first: int) -> Hole | None:
        """What is missing of the gap that begins with the id `first`, from its first hole to its last; or None."""

    def recover(self, pair: Pair, trade: Trade) -> bool:
        """Record a fetched trade; False when it was not missing or there is no room for it."""

    def recovered(self, wanted: Wanted, count: int, why: str) -> None:
        """The gap can be written: `count` trades were recovered; `why` the rest were not, or ''."""


class Backfill:
    """Of one exchange (`exchange_id` is ccxt's). `market_ids`: unified symbol → the exchange's own name."""

    def __init__(
        self,
        exchange_id: str,
        endpoint: str,
        market_ids: Mapping[str, str],
        recorder: Recovering,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pages = HISTORIES[exchange_id]
        self._pause_seconds = PAUSE_SECONDS[exchange_id]
        self._endpoint = endpoint
        self._market_ids = market_ids
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._queue: deque[Wanted] = deque()
        self._some = asyncio.Event()
        self._count = 0
        """Trades recovered for the gap that is being worked on."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def offer(self, pair: Pair, gap: Gap, first: int) -> bool:
        """Take a closed gap; False when the queue is full. `recovered` is called for what was taken, within a minute."""
        if len(self._queue) >= MOST_GAPS:
            return False
        self._queue.append(Wanted(pair, gap, first, self._clock() + SETTLE_SECONDS))
        self._some.set()
        return True

    async def run(self) -> None:
        """For ever; what is still waiting when it is cancelled is for `stop`."""
        context = ssl.create_default_context(cafile=certifi.where())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            rest = Rest(http, self._pause_seconds, 1)
            while True:
                while not self._queue:
                    self._some.clear()
                    await self._some.wait()
                wanted = self._queue[0]
                await asyncio.sleep(max(0.0, wanted.due - self._clock()))
                why = await self._fill(rest, wanted)
                self._done(why)

    def stop(self) -> None:
        """Give up what waits: the collector stops."""
        while self._queue:
            self._done("the collector stopped")

    def _done(self, why: str) -> None:
        if self._queue:  # `stop` may have been quicker
            self._recorder.recovered(self._queue.popleft(), self._count, why)
        self._count = 0

    async def _fill(self, rest: Rest, wanted: Wanted) -> str:
        """Record what was missed; why not all of it, or ''."""
        missed = self._recorder.missing(wanted.pair, wanted.first)
        if missed is None:
            return ""
        left = min(FETCH_SECONDS, wanted.due + HOLD_SECONDS - self._clock())
        if left <= 0:
            return "too many others waited"
        self._metrics.backfills += 1
        why = ""
        try:
            async with asyncio.timeout(left):
                why = await self._fetch(rest, wanted, missed)
        except TimeoutError:
            why = f"no answer within {left:.0f} s"
        except (RestError, msgspec.MsgspecError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"[:200]
            self._metrics.errors[type(error).__name__] += 1
        _log.info(
            "missed trades were fetched",
            exchange=self._metrics.exchange,
            symbol=wanted.pair.symbol,
            recovered=self._count,
            why=why,
        )
        return why

    async def _fetch(self, rest: Rest, wanted: Wanted, missed: Hole) -> str:
        async def get(url: str, query: dict[str, str]) -> bytes:
            return await rest.get(str(localized(url, self._endpoint)) if self._endpoint else url, query)

        pair = wanted.pair
        market_id = self._market_ids.get(pair.symbol, "")
        if not market_id:
            return "its market is not known"
        asked = Missed(market_id, missed.first, missed.last, missed.from_ns, missed.to_ns)
        number = 0
        async with contextlib.aclosing(self._pages(get, asked, time.time_ns())) as pages:
            async for page in pages:
                number += 1
                now_ns = time.time_ns()
                for trade in page:
                    self._count += self._recorder.recover(pair, msgspec.structs.replace(trade, received_ns=now_ns))
                if self._recorder.missing(pair, wanted.first) is None:
                    return ""
                if number == MOST_PAGES:
                    return f"{MOST_PAGES} pages is the limit"
        return NO_MORE
