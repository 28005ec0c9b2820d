"""Missed trades, fetched over REST after the interruption that lost them; only then is the gap record written.

Where ids have no holes they say what is missing (`continuity`), and the exchange is asked for just that
(`trade_history`). Elsewhere ccxt fetches, and what is fetched must prove itself by what was recorded (`overlap`).

One request at a time, a bounded queue, and for each gap a bounded number of pages and seconds. A gap is held back for
`HOLD_SECONDS` at the most. Should the collector die meanwhile, the next start finds in what is stored where the gap begins
(`stored.Tail`) and the holes among the ids (`recorder.know_trades`), tells of it in its own gap record, and tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec
import structlog

from daedalus.records import Gap, Trade
from daedalus_collector.continuity import NO_MORE, Hole
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.rest import Rest, RestError
from daedalus_collector.overlap import OTHER_TRADES, Overlap
from daedalus_collector.series import Missing
from daedalus_collector.trade_history import HISTORIES, PAUSE_SECONDS, Missed

MOST_GAPS = 1_000
"""That wait; what comes then is written without a backfill."""
MOST_PAGES = 5
FETCH_SECONDS = 30.0
HOLD_SECONDS = 55.0
SETTLE_SECONDS = 0.5
"""After a gap closed: what the exchange sends again by itself comes with its first frames."""
AGAIN_SECONDS = 0.5
"""Before the next page: REST may be behind the stream."""
MOST_DISPROVED = 5
"""Pages in a row that were not of the stream: the exchange is not asked any more. One alone may be a trade that the stream lost."""
UNREACHED = "the exchange's trades over REST do not reach back to it"

_log = structlog.get_logger()


Ask = Callable[[str, int | None], Awaitable[list[Trade]]]
"""(symbol, since_ms) → the trades from then on, or the last ones. Raises RestError."""


class Wanted(NamedTuple):
    """A closed gap that waits, and by what it is known which trades are missing."""

    pair: Pair
    gap: Gap
    missing: Missing
    due: float
    """Of the monotonic clock."""


class Recovering(Protocol):
    """The recorder, as far as the backfill needs it."""

    def missing(self, pair: Pair, first: int) -> Hole | None:
        """What is missing of the gap that begins with the id `first`, from its first hole to its last; or None."""

    def recover(self, wanted: Wanted, trade: Trade) -> bool:
        """Record a fetched trade; False when it was not missing or there is no room for it."""

    def recovered(self, wanted: Wanted, count: int, why: str) -> None:
        """The gap can be written: `count` trades were recovered; `why` not all are known to be, or ''."""


class Backfill:
    """Of one exchange (`exchange_id` is ccxt's). `market_ids`: unified symbol → the exchange's own name; `ask`: ccxt."""

    def __init__(
        self,
        exchange_id: str,
        endpoint: str,
        market_ids: Mapping[str, str],
        ask: Ask,
        recorder: Recovering,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange_id = exchange_id
        self._ask = ask
        self._endpoint = endpoint
        self._market_ids = market_ids
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._queue: deque[Wanted] = deque()
        self._some = asyncio.Event()
        self._count = 0
        """Trades recovered for the gap that is being worked on."""
        self._disproved = 0
        """Pages in a row."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def offer(self, pair: Pair, gap: Gap, missing: Missing) -> bool:
        """Take a closed gap; False when the queue is full. `recovered` is called for what was taken, within a minute."""
        if len(self._queue) >= MOST_GAPS:
            return False
        self._queue.append(Wanted(pair, gap, missing, self._clock() + SETTLE_SECONDS))
        self._some.set()
        return True

    async def run(self) -> None:
        """For ever; what is still waiting when it is cancelled is for `stop`."""
        rest = Rest(PAUSE_SECONDS.get(self._exchange_id, AGAIN_SECONDS), 1)
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
        if isinstance(wanted.missing, int) and self._recorder.missing(wanted.pair, wanted.missing) is None:
            return ""
        if isinstance(wanted.missing, Overlap) and self._disproved >= MOST_DISPROVED:
            return OTHER_TRADES
        left = min(FETCH_SECONDS, wanted.due + HOLD_SECONDS - self._clock())
        if left <= 0:
            return "too many others waited"
        self._metrics.backfills += 1
        why = ""
        try:
            async with asyncio.timeout(left):
                if isinstance(wanted.missing, int):
                    why = await self._fetch_numbered(rest, wanted, wanted.missing)
                else:
                    why = await self._fetch_proved(wanted, wanted.missing)
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

    async def _fetch_proved(self, wanted: Wanted, overlap: Overlap) -> str:
        """The last trades; where they do not reach back, from the gap's beginning on."""
        page: dict[str, Trade] = {}
        since_ms: int | None = None
        for number in range(MOST_PAGES):
            await asyncio.sleep(AGAIN_SECONDS if number else 0)
            told = {trade.id: trade for trade in await self._ask(wanted.pair.symbol, since_ms) if trade.id is not None}
            if told and page and not told.keys() & page.keys():
                return "the exchange left some out over REST"
            page |= told
            found = overlap.compare(page.values())
            if found.differs:
                self._disprove(found.differs)
                return found.differs
            recovered = [self._recorder.recover(wanted, trade) for trade in found.missed]
            self._count += sum(recovered)
            if not all(recovered):
                return "there was no room for them"
            if found.missed or found.complete:
                self._disproved = 0
            if found.complete:
                return ""
            if found.reaches_back and since_ms is not None:
                since_ms = max(trade.timestamp_us or 0 for trade in page.values()) // 1_000
            elif not found.reaches_back and since_ms is not None:
                return UNREACHED
            elif not found.reaches_back:
                since_ms, page = overlap.since_ms, {}
        return f"{MOST_PAGES} pages is the limit"

    def _disprove(self, why: str) -> None:
        self._disproved += 1
        self._metrics.errors["trades_differ"] += 1
        if self._disproved == MOST_DISPROVED:
            _log.error("trades over REST are not those of the stream", exchange=self._metrics.exchange, why=why)

    async def _fetch_numbered(self, rest: Rest, wanted: Wanted, first: int) -> str:
        async def get(url: str, query: dict[str, str]) -> bytes:
            return await rest.get(str(localized(url, self._endpoint)) if self._endpoint else url, query)

        pair = wanted.pair
        hole = self._recorder.missing(pair, first)
        market_id = self._market_ids.get(pair.symbol, "")
        if hole is None:
            return ""
        if not market_id:
            return "its market is not known"
        asked = Missed(market_id, hole.first, hole.last, hole.from_ns, hole.to_ns)
        number = 0
        async with contextlib.aclosing(HISTORIES[self._exchange_id](get, asked, time.time_ns())) as pages:
            async for page in pages:
                number += 1
                now_ns = time.time_ns()
                for trade in page:
                    self._count += self._recorder.recover(wanted, msgspec.structs.replace(trade, received_ns=now_ns))
                if self._recorder.missing(pair, first) is None:
                    return ""
                if number == MOST_PAGES:
                    return f"{MOST_PAGES} pages is the limit"
        return NO_MORE
