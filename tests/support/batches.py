"""Batches of known records, published as a collector would, and what a test expects to find in Parquet."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from nats.js import JetStreamContext

from daedalus import wire
from daedalus.naming import batch_subject, shard_of
from daedalus.records import Gap, OrderBook, Record, Ticker, Trade, levels
from daedalus_writer.segment_file import read_rows

HOUR = 497_123
"""2026-09-17T11:00Z, long past."""


def trade(number: int, received_ns: int) -> Trade:
    return Trade(
        received_ns,
        received_ns // 1000 - 1500,
        str(number),
        60_000 + number / 100,
        0.001,
        "buy" if number % 3 else "sell",
    )


def ticker(number: int, received_ns: int) -> Ticker:
    return Ticker(received_ns, None, float(number), 1.0, 2.0, 3.0, None, None, None, None, None, 10.0, None)


def orderbook(number: int, received_ns: int) -> OrderBook:
    bids = [(100 - level * 0.01, number + level) for level in range(20)]
    asks = [(101 + level * 0.01, number + level) for level in range(5)]
    return OrderBook(received_ns, received_ns // 1000, number, *levels(bids, 20), *levels(asks, 20))


def gap(number: int, received_ns: int) -> Gap:
    return Gap(received_ns, "trade", "connection_lost", received_ns - 10**9, received_ns, number, "test")


MAKE: dict[str, Callable[[int, int], Record]] = {"trade": trade, "ticker": ticker, "orderbook": orderbook, "gap": gap}


class Market:
    """Numbers every record of (exchange, channel, symbol), so that a lost or a doubled one has a name."""

    def __init__(
        self, symbols: int = 4, exchanges: tuple[str, ...] = ("binance", "kraken"), shards: int = 1, seed: int = 1
    ) -> None:
        self.symbols = [f"C{number}/USD" for number in range(symbols)]
        self.exchanges = exchanges
        self.shards = shards
        self.sent: Counter[tuple[str, str, str]] = Counter()
        """(exchange, channel, symbol) → how many records were acknowledged: numbers 0 … n-1."""
        self._made: Counter[tuple[str, str, str]] = Counter()
        self._counter = 0
        self._random = random.Random(seed)

    def batch(self, received_ns: int, records: int = 20) -> tuple[str, wire.Batch]:
        """A batch of one exchange, channel and shard, and its subject."""
        exchange = self._random.choice(self.exchanges)
        channel = self._random.choice(("trade", "ticker", "orderbook"))
        shard = shard_of(exchange, self._random.choice(self.symbols), self.shards)
        symbols = [symbol for symbol in self.symbols if shard_of(exchange, symbol, self.shards) == shard]
        parts = []
        for symbol in symbols:
            buffer, count = bytearray(), self._random.randint(1, max(1, 2 * records // len(symbols)))
            for _ in range(count):
                number = self._made[exchange, channel, symbol]
                wire.append_record(buffer, MAKE[channel](number, received_ns + number))
                self._made[exchange, channel, symbol] += 1
            parts.append(wire.part(symbol, symbol.replace("/", ""), count, buffer))
        hour = received_ns // wire.NS_PER_HOUR
        batch = wire.Batch(wire.VERSION, exchange, channel, hour, "test", "boot", self._counter, parts)
        self._counter += 1
        return batch_subject(shard, exchange, channel), batch

    async def publish(self, js: JetStreamContext, batch: tuple[str, wire.Batch]) -> None:
        """Publish until acknowledged, under one message id."""
        subject, content = batch
        for attempt in range(200):
            try:
                await js.publish(
                    subject, wire.encode(content), timeout=0.5, headers={"Nats-Msg-Id": content.message_id}
                )
                break
            except Exception:
                if attempt == 199:
                    raise
        for part in content.parts:
            self.sent[content.exchange, content.channel, part.symbol] += part.count


def number_of(channel: str, row: dict[str, object]) -> int:
    """The number that `Market` gave the record of this row."""
    column = {"trade": "id", "ticker": "last", "orderbook": "nonce", "gap": "records"}[channel]
    return int(float(str(row[column])))


def recorded(root: Path) -> dict[tuple[str, str, str], list[int]]:
    """(exchange, channel, symbol token) → the numbers of all rows in ready/."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for path in segments(root):
        channel = path.relative_to(root / "raw" / "ready").parts[1]
        for row in read_rows(path):
            key = (str(row["exchange"]), channel, str(row["symbol"]))
            found.setdefault(key, []).append(number_of(channel, row))
    return found


def segments(root: Path) -> Iterator[Path]:
    """As a listing has them: a file that is gone since then is for the reader to find out, as `is_file` would not tell."""
    listing = os.walk(root / "raw" / "ready", onerror=_raise)
    yield from sorted(Path(folder, name) for folder, _, names in listing for name in names)


def _raise(error: OSError) -> None:
    raise error


def check_exactly_once(root: Path, market: Market) -> None:
    """Every acknowledged record is in ready/, once."""
    found = recorded(root)
    assert sum(market.sent.values()) > 0
    for (exchange, channel, symbol), count in market.sent.items():
        numbers = found.get((exchange, channel, symbol.replace("/", "-")), [])
        assert sorted(numbers) == list(range(count)), (
            f"{exchange} {channel} {symbol}: acknowledged {count}, found {len(numbers)} rows, {len(set(numbers))} distinct"
        )
    assert sum(map(len, found.values())) == sum(market.sent.values())
