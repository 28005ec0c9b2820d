"""When the next thing happens on which market: one queue for all symbols and channels. Pure: the time is an argument."""

import heapq
import random

from msgspec import Struct

# After a stall the market catches up with at most this much of what it missed.
CATCH_UP_SECONDS = 1.0


class Rates(Struct, frozen=True):
    """Per symbol and second, on average; 0 leaves a channel to bursts. Records for trades, frames for the others."""

    trades: float = 5.0
    tickers: float = 2.0
    books: float = 5.0

    def of(self, channel: str) -> float:
        return {"trade": self.trades, "orderbook": self.books}.get(channel, self.tickers)


class Source(Struct, frozen=True, order=True):
    exchange: str
    channel: str
    symbol: str


class Schedule:
    """Sources fire at random intervals around their mean, so that frames of many symbols do not come in step."""

    def __init__(self, rates: Rates, generator: random.Random) -> None:
        self._rates, self._random = rates, generator
        self._queue: list[tuple[float, Source]] = []
        self._known: set[Source] = set()

    def add(self, source: Source, now: float) -> None:
        if source in self._known:
            return
        self._known.add(source)
        rate = self._rates.of(source.channel)
        if rate > 0:
            heapq.heappush(self._queue, (now + self._random.random() / rate, source))

    def take(self, now: float) -> tuple[float, Source] | None:
        """The next source that is due and when it was due; give it back with ``again``."""
        if not self._queue or self._queue[0][0] > now:
            return None
        return heapq.heappop(self._queue)

    def again(self, due: float, source: Source, events: int, now: float) -> None:
        """Let the source fire again after the time that ``events`` take on average."""
        interval = max(1, events) / self._rates.of(source.channel) * self._random.uniform(0.5, 1.5)
        heapq.heappush(self._queue, (max(due, now - CATCH_UP_SECONDS) + interval, source))
