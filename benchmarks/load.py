"""The reference load: what three exchanges send, as the messages that a collector makes of it.

Three exchanges, 50 symbols on each, trades, tickers and order books of depth 20: 450 partitions, 2,000 records a second, the same for
each partition on average. Prices walk at random on a tick grid, sizes are lognormal on a lot grid, about half of the slots
of a book differ between two of its states. Nothing is ever sent twice, so that bytes on disk are honest. The same seed
gives the same records.
"""

from __future__ import annotations

import functools
import math
import random
from array import array
from collections.abc import Iterator

import msgspec

from daedalus.records import OrderBook, Record, Ticker, Trade
from daedalus.wire import NS_PER_HOUR
from daedalus_collector.outbox import ClosedBatch, Line, Outbox, OutboxLimits

CHANNELS = ("trade", "ticker", "orderbook")
EXCHANGES = ("binance", "coinbase", "kraken")
SYMBOLS = 50
RATE = 2_000
"""Records a second."""
DEPTH = 20
LINGER_NS = 500_000_000
_LIMITS = OutboxLimits(
    batch_records=1_000, batch_bytes=64_000, linger_ns=LINGER_NS, records=10_000_000, bytes=4_000_000_000
)
"""The defaults of config.yaml; the outbox's own bound is the collector's business."""

_PRICES = ((60_000.0, 2, 5), (3_000.0, 2, 4), (150.0, 3, 3), (8.0, 4, 2), (0.5, 5, 1))
"""(first price, decimals of the tick, decimals of the lot): from BTC down to DOGE."""
_ROUND = (0.1, 0.5, 1.0, 5.0, 10.0)
_ROUND_SHARE = 0.15
_POOL = 256
"""Typical sizes; each is drawn with a factor of its own, so they do not repeat."""


@functools.cache
def _sizes(kind: int) -> tuple[array[float], array[float]]:
    """Lognormal sizes in lots, and round ones in units, of one kind of instrument."""
    draw = random.Random(kind)
    price, _, lot_decimals = _PRICES[kind]
    lots = [max(1.0, draw.lognormvariate(0, 1.6) * 3_000 / price * 10**lot_decimals) for _ in range(_POOL)]
    rounded = [max(1, int(10 ** int(math.log10(size)) * draw.choice(_ROUND))) for size in lots]
    return array("d", lots), array("d", (size / 10**lot_decimals for size in rounded))


class Instrument:
    """One symbol on one exchange: its price, and the states of its channels."""

    def __init__(self, draw: random.Random, kind: int) -> None:
        price, decimals, lot_decimals = _PRICES[kind % len(_PRICES)]
        self._draw = draw.random
        self._scale: int = 10**decimals
        self._lots: int = 10**lot_decimals
        self._ticks = int(price * self._scale * draw.uniform(0.5, 1.5))
        self._sizes, self._round_sizes = _sizes(kind % len(_PRICES))
        self._trade_id = draw.randrange(10**9)
        self._side = 0
        self._nonce = draw.randrange(10**10)
        self._open = self._high = self._low = self._ticks
        self._volume = draw.uniform(1e3, 1e5)
        self._bid_amount, self._ask_amount = self._amount(), self._amount()
        self._gap = max(1, int(3e-6 * price * self._scale))
        """Ticks between two occupied prices of the book, on average about."""
        self._bids = self._ladder(-1)
        self._asks = self._ladder(1)

    def record(self, channel: str, received_ns: int) -> Record:
        if channel == "trade":
            return self.trade(received_ns)
        return self.ticker(received_ns) if channel == "ticker" else self.orderbook(received_ns)

    def trade(self, received_ns: int) -> Trade:
        draw = self._draw
        self._walk()
        self._trade_id += 1 + int(draw() * 3)
        if draw() < 0.35:
            self._side ^= 1
        amount = self._amount()
        price = (self._ticks + self._side) / self._scale
        return Trade(
            received_ns, self._sent_us(received_ns), str(self._trade_id), price, amount, "buy" if self._side else "sell"
        )

    def ticker(self, received_ns: int) -> Ticker:
        draw, scale = self._draw, self._scale
        self._walk()
        bid, ask = self._ticks, self._ticks + 1 + int(draw() * 11)
        if draw() < 0.6:
            self._bid_amount, self._ask_amount = self._amount(), self._amount()
        self._high, self._low = max(self._high, ask), min(self._low, bid)
        self._volume += self._amount()
        last = (bid if draw() < 0.5 else ask) / scale
        return Ticker(
            received_ns,
            self._sent_us(received_ns),
            last,
            bid / scale,
            self._bid_amount,
            ask / scale,
            self._ask_amount,
            self._open / scale,
            self._high / scale,
            self._low / scale,
            None,
            round(self._volume, 4),
            round(self._volume * last, 2),
        )

    def orderbook(self, received_ns: int) -> OrderBook:
        draw = self._draw
        self._nonce += 1 + int(draw() * 40)
        for (prices, amounts), direction in ((self._bids, -1), (self._asks, 1)):
            one = draw()
            if one < 0.5:
                self._move(prices, amounts, direction)
            amounts[int(one * DEPTH)] = self._amount()
            for _ in range(1 + int(draw() * 4)):
                amounts[int(draw() * draw() * DEPTH)] = self._amount()
        (bid_prices, bid_amounts), (ask_prices, ask_amounts) = self._bids, self._asks
        return OrderBook(
            received_ns,
            self._sent_us(received_ns),
            self._nonce,
            bid_prices[:DEPTH].tobytes(),
            bid_amounts[:DEPTH].tobytes(),
            ask_prices[:DEPTH].tobytes(),
            ask_amounts[:DEPTH].tobytes(),
        )

    def _move(self, prices: array[float], amounts: array[float], direction: int) -> None:
        """A price appears or disappears near the top: the slots behind it shift."""
        at = int(self._draw() * self._draw() * 6)
        if self._draw() < 0.5:
            del prices[at], amounts[at]
            end = round(prices[-1] * self._scale) + direction * self._step()
            prices.append(end / self._scale)
            amounts.append(self._amount())
            return
        behind = round(prices[at] * self._scale)
        if at:
            before = round(prices[at - 1] * self._scale)
            new = (before + behind) // 2
            if new in (before, behind):
                return
        else:
            new = behind - direction * self._step()
            other = self._asks if direction < 0 else self._bids
            while (round(other[0][0] * self._scale) - new) * direction >= 0:  # it would cross: the other side gives way
                del other[0][0], other[1][0]
                end = round(other[0][-1] * self._scale) - direction * self._step()
                other[0].append(end / self._scale)
                other[1].append(self._amount())
        prices.insert(at, new / self._scale)
        amounts.insert(at, self._amount())
        del prices[-1], amounts[-1]

    def _ladder(self, direction: int) -> tuple[array[float], array[float]]:
        ticks, prices, amounts = self._ticks + (direction > 0), array("d"), array("d")
        for _ in range(DEPTH + 5):
            prices.append(ticks / self._scale)
            amounts.append(self._amount())
            ticks += direction * self._step()
        return prices, amounts

    def _step(self) -> int:
        return 1 + int(self._draw() * 2 * self._gap)

    def _amount(self) -> float:
        one = self._draw()
        if one < _ROUND_SHARE:
            return self._round_sizes[int(one / _ROUND_SHARE * _POOL)]
        return (int(self._sizes[int(self._draw() * _POOL)] * (one + 0.4)) or 1) / self._lots

    def _walk(self) -> None:
        draw = self._draw
        if draw() < 0.4:
            self._ticks += int((draw() - draw()) * 8 * self._gap)

    def _sent_us(self, received_ns: int) -> int:
        """The exchange's clock, in whole milliseconds, as most of them say it."""
        return (received_ns // 1_000_000 - 5 - int(self._draw() * self._draw() * 80)) * 1000


class Load:
    """All instruments, and the outbox of each exchange's collector, in simulated time."""

    def __init__(
        self,
        start_ns: int,
        *,
        exchanges: int = 3,
        symbols: int = SYMBOLS,
        channels: tuple[str, ...] = CHANNELS,
        rate: float = RATE,
        linger_ns: int = LINGER_NS,
        seed: int = 1,
    ) -> None:
        draw = random.Random(seed)
        self._draw = draw
        self._now_ns = float(start_ns)
        self._mean_ns = 1e9 / rate
        self._look_ns = linger_ns // 100
        self.records = 0
        """How many were made so far."""
        self._sources: list[tuple[Outbox, Line, Instrument, str]] = []
        limits = msgspec.structs.replace(_LIMITS, linger_ns=linger_ns)
        self._outboxes = [
            Outbox(_exchange(number), f"bench-{number}", f"{seed}", limits) for number in range(exchanges)
        ]
        for outbox in self._outboxes:
            for number in range(symbols):
                instrument = Instrument(draw, number)
                symbol = f"C{number}/USD"
                for channel in channels:
                    self._sources.append((outbox, outbox.line(channel, symbol, f"C{number}USD"), instrument, channel))

    @property
    def now_ns(self) -> int:
        """The receive time of the next record."""
        return int(self._now_ns)

    @property
    def partitions(self) -> int:
        return len(self._sources)

    def until(self, end_ns: int) -> Iterator[ClosedBatch]:
        """The messages of all records received before this time; lingering ones come with a later call."""
        sources, draw, count = self._sources, self._draw.random, len(self._sources)
        due = min((at for box in self._outboxes if (at := box.next_due_ns()) is not None), default=0)
        while self._now_ns < end_ns:
            now = int(self._now_ns)
            if now >= due:
                yield from self._closed(now)
                due = now + self._look_ns
            outbox, line, instrument, channel = sources[int(draw() * count)]
            outbox.add(line, instrument.record(channel, now))
            self.records += 1
            gap = -math.log(1.0 - draw()) * self._mean_ns
            self._now_ns += gap * (0.1 if draw() < 0.3 else 1.3857)  # some come in bursts; the mean stays
        yield from self._closed(end_ns)

    def take(self, records: int) -> Iterator[ClosedBatch]:
        """The messages of about the next `records` records, complete: nothing is left lingering."""
        end = self.records + records
        while self.records < end:
            step = min(50_000_000.0, (end - self.records) * self._mean_ns)
            yield from self.until(int(self._now_ns + step) + 1)
        for outbox in self._outboxes:
            outbox.close_all()
        yield from self._closed(int(self._now_ns))

    def _closed(self, now_ns: int) -> Iterator[ClosedBatch]:
        for outbox in self._outboxes:
            outbox.close_due(now_ns)
            while outbox.closed:
                batch = outbox.closed.popleft()
                outbox.acknowledged(batch)
                yield batch


def coming_hour(now_ns: int) -> int:
    """The start of an hour that does not end while a benchmark runs, in nanoseconds. Segments of it stay open until the
    writer is told to stop, whatever the wall clock says.
    """
    return (now_ns // NS_PER_HOUR + 2) * NS_PER_HOUR


def _exchange(number: int) -> str:
    return EXCHANGES[number] if number < len(EXCHANGES) else f"exchange{number}"
