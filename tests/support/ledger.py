"""What a simulated exchange sent and what it withheld, event by event, so that each has a name and a time.

Trades have ids. For tickers and books the exchange's clock is made to move by a whole millisecond at least from one
event to the next, so that the time in a frame is the event's own name on every exchange, with or without sequences.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from daedalus.records import Record, Trade
from daedalus_collector.feed import Pair
from simulator import Simulator
from simulator.frame import Frame

MS = 1_000_000
_TIME = {
    "binance": re.compile(rb'"E":(\d+)'),
    "bybit": re.compile(rb'"ts":(\d+)'),
    "coinbase": re.compile(rb'"timestamp":"([^"]+)"'),
    "kraken": re.compile(rb'"timestamp":"([^"]+)"'),
    "okx": re.compile(rb'"ts":"(\d+)"'),
}

Key = int
"""A trade's id; of anything else the exchange's time in milliseconds."""


class Ledger:
    """Of one exchange of a simulator; made before the first client. Times are nanoseconds since 1970."""

    def __init__(self, simulator: Simulator, exchange: str) -> None:
        self.exchange = exchange
        self.sent: dict[Pair, dict[Key, int]] = {}
        """Event → when it was first written to a socket."""
        self.withheld: dict[Pair, dict[Key, int]] = {}
        """The same, of what a fault dropped on every connection."""
        self.nameless: dict[Pair, list[int]] = {}
        """When books were sent whose record has no time: Binance's REST snapshots, and Kraken's, of which ccxt leaves it out."""
        self.answers: set[Key] = set()
        """Of those that are not trades, what was told to one client alone: the state of things, when it subscribed."""
        self._market = simulator._markets[exchange]
        self._last_ms = 0
        self._keep_time(simulator._exchanges[exchange])
        self._keep_count(simulator._counts)

    def trades(self, symbol: str) -> dict[Key, int]:
        """All that happened, written or not → when."""
        return {trade.id: trade.time_ns for trade in self._market.history(symbol)}

    def _keep_time(self, exchange: Any) -> None:
        fire, received = exchange.fire, exchange.received
        exchange.fire = lambda channel, symbol, _: fire(channel, symbol, self._now_ns())

        def answer(connection: object, text: str, _: int) -> None:
            now_ns = self._now_ns()
            self.answers.add(now_ns // MS)
            received(connection, text, now_ns)

        exchange.received = answer

    def _keep_count(self, counts: Any) -> None:
        written, dropped, state = counts.written, counts.dropped, counts.state

        def note_written(exchange: str, frame: Frame) -> None:
            written(exchange, frame)
            self._note(self.sent, frame)

        def note_dropped(exchange: str, frame: Frame) -> None:
            dropped(exchange, frame)
            self._note(self.withheld, frame)

        def note_state(exchange: str, symbol: str, records: int) -> None:
            state(exchange, symbol, records)
            self.nameless.setdefault(Pair("orderbook", symbol), []).append(time.time_ns())

        counts.written, counts.dropped, counts.state = note_written, note_dropped, note_state

    def _now_ns(self) -> int:
        self._last_ms = max(time.time_ns() // MS, self._last_ms + 1)
        return self._last_ms * MS

    def _note(self, events: dict[Pair, dict[Key, int]], frame: Frame) -> None:
        pair, now_ns = Pair(frame.channel, frame.symbol), time.time_ns()
        if self.exchange == "kraken" and frame.channel == "orderbook" and b'"snapshot"' in frame.payload:
            if events is self.sent:
                self.nameless.setdefault(pair, []).append(now_ns)
        elif frame.channel:
            of_pair = events.setdefault(pair, {})
            for key in frame.trade_ids or (self._time_ms(frame.payload),):
                of_pair.setdefault(key, now_ns)

    def _time_ms(self, payload: bytes) -> int:
        found = _TIME[self.exchange].search(payload)
        assert found is not None, payload[:200]
        text = found[1].decode()
        return int(text) if text.isdigit() else _milliseconds(text)


def key_of(record: Record) -> Key | None:
    """None where a record does not say: see `Ledger.nameless`."""
    if isinstance(record, Trade):
        return int(record.id or 0)
    time_us = getattr(record, "timestamp_us", None)
    return None if time_us is None else int(time_us) // 1_000


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
