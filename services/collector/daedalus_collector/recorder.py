"""The sink of every feed: drops trades that were recorded already, puts records into the outbox, keeps the gap book.

The hot path of the collector; it does no I/O and reads no clock but where a gap is written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from daedalus.records import Gap, Record, Trade
from daedalus_collector.deduplication import RecentIds
from daedalus_collector.feed import Pair
from daedalus_collector.gaps import GapBook
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Line, Outbox

PENDING_GAPS = 10_000
"""Gap records that wait for room in the outbox."""

_log = structlog.get_logger()


class _Series:
    """What the recorder knows of one pair."""

    __slots__ = ("ids", "line")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.ids = RecentIds() if line.channel == "trade" else None


class Recorder:
    """Takes the records of the pairs that were asked for. `clock_ns` tells the time of day."""

    def __init__(
        self, pairs: Iterable[Pair], outbox: Outbox, metrics: Metrics, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._gaps = GapBook()
        self._pending: deque[tuple[Pair, Gap]] = deque(maxlen=PENDING_GAPS)
        self._series = {pair: _Series(outbox.line(*pair)) for pair in pairs}
        self._gap_lines = {pair.symbol: outbox.line("gap", pair.symbol) for pair in self._series}
        for pair in self._series:
            metrics.received[pair.channel] += 0
            metrics.sent[pair.channel] += 0
        metrics.sent["gap"] += 0

    def know_markets(self, market_ids: dict[str, str]) -> None:
        """Unified symbol → the exchange's own name."""
        for lines in ({pair: series.line for pair, series in self._series.items()}, self._gap_lines):
            for line in lines.values():
                line.market_id = market_ids.get(line.symbol, line.market_id)

    def know_trades(self, symbol: str, ids: Iterable[str]) -> None:
        """Trades that an earlier run recorded."""
        series = self._series.get(Pair("trade", symbol))
        if series is not None and series.ids is not None:
            for id_ in ids:
                series.ids.add(id_)

    def record(self, pair: Pair, record: Record) -> None:
        """See `daedalus_collector.feed.Sink`."""
        series = self._series[pair]
        metrics = self._metrics
        channel = pair[0]
        metrics.received[channel] += 1
        metrics.last_data_ns[channel] = record.received_ns
        if self._gaps.open and (gap := self._gaps.resumed(pair, record.received_ns)) is not None:
            self._write(pair, gap)
        ids = series.ids
        id_ = record.id if ids is not None and isinstance(record, Trade) else None
        if ids is not None and id_ is not None and not ids.add(id_):
            metrics.discarded[channel, "duplicate"] += 1
            return
        if not self._outbox.add(series.line, record):
            if ids is not None and id_ is not None:
                ids.forget(id_)  # when the exchange sends it again, it is welcome
            metrics.discarded[channel, "outbox_full"] += 1
            if self._gaps.refused(pair, record.received_ns):
                _log.warning("outbox was full", exchange=metrics.exchange, channel=channel, symbol=pair.symbol)
        elif self._gaps.refusals and (gap := self._gaps.accepted(pair, self._clock_ns())) is not None:
            self._write(pair, gap)

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        """See `daedalus_collector.feed.Sink`."""
        opened = self._gaps.interrupted([pair for pair in pairs if pair in self._series], from_ns, cause, detail)
        if opened:
            _log.info("gap was opened", exchange=self._metrics.exchange, cause=cause, detail=detail, pairs=len(opened))

    def tick(self) -> None:
        """About once a second: writes the pieces of gaps that stay open, and the gaps for which there was no room."""
        for pair, gap in self._gaps.pieces(self._clock_ns()):
            self._write(pair, gap)
        self._flush()

    def stop(self) -> None:
        """Write down what is still open; nothing may be recorded afterwards."""
        for pair, gap in self._gaps.stop(self._clock_ns()):
            self._write(pair, gap)

    @property
    def open_gaps(self) -> int:
        return len(self._gaps.open) + len(self._gaps.refusals)

    def _write(self, pair: Pair, gap: Gap) -> None:
        if len(self._pending) == PENDING_GAPS:
            self._metrics.errors["gap_lost"] += 1
        self._pending.append((pair, gap))
        self._flush()

    def _flush(self) -> None:
        while self._pending:
            pair, gap = self._pending[0]
            if not self._outbox.add(self._gap_lines[pair.symbol], gap):
                return
            self._pending.popleft()
            self._metrics.gaps[gap.channel, gap.cause] += 1
