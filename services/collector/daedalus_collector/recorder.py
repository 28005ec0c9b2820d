"""The sink of every feed: drops trades that were recorded already, puts records into the outbox, keeps the gap book.

The hot path of the collector; it does no I/O and reads no clock but where a gap is written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import structlog

from daedalus.records import Gap, RawFrame, Record, Trade
from daedalus_collector.continuity import NO_MORE, Hole, number_of
from daedalus_collector.feed import RAW, Pair
from daedalus_collector.gaps import GapBook
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Line, Outbox
from daedalus_collector.overlap import Stretch
from daedalus_collector.raw_frames import place_of
from daedalus_collector.series import Missing, Series

if TYPE_CHECKING:
    from daedalus_collector.backfill import Backfill, Wanted

MOST_FALSE_ALARMS = 5
"""Then the ids of that symbol are believed to have holes of their own, and are not looked at any more."""
PENDING_GAPS = 10_000
"""Gap records that wait for room in the outbox."""

_log = structlog.get_logger()


class Recorder:
    """Takes the records of the pairs that were asked for. `clock_ns` tells the time of day, `dense` for which
    symbols the exchange numbers its trades without holes. `backfill` fetches trades that were missed, where it is set. `raw`:
    whether frames are recorded too, or only they: then what is asked for has neither records nor gaps of its own.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        outbox: Outbox,
        metrics: Metrics,
        clock_ns: Callable[[], int] = time.time_ns,
        *,
        dense: Callable[[str], bool] = lambda _: False,
        raw: Literal["none", "also", "only"] = "none",
    ) -> None:
        self.backfill: Backfill | None = None
        self._dense = dense
        self._outbox = outbox
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._gaps = GapBook()
        self._pending: deque[tuple[Pair, Gap]] = deque(maxlen=PENDING_GAPS)
        self._series: dict[Pair, Series] = {}
        self._gap_lines: dict[str, Line] = {}
        self._raw = raw
        self.admit([*pairs, RAW])
        metrics.sent["gap"] += 0

    @property
    def has_frames(self) -> bool:
        """Whether frames are recorded as they come."""
        return RAW in self._series

    def admit(self, pairs: Iterable[Pair]) -> None:
        """Take records of these too from now on; those that are known already stay as they are."""
        for pair in pairs:
            if pair in self._series or self._raw == ("none" if pair == RAW else "only"):
                continue
            self._series[pair] = Series(self._outbox.line(*pair), dense=self._dense(pair.symbol))
            self._gap_lines.setdefault(pair.symbol, self._outbox.line("gap", pair.symbol))
            self._metrics.received[pair.channel] += 0
            self._metrics.sent[pair.channel] += 0

    def know_markets(self, market_ids: dict[str, str]) -> None:
        """Unified symbol → the exchange's own name."""
        for lines in ({pair: series.line for pair, series in self._series.items()}, self._gap_lines):
            for line in lines.values():
                line.market_id = market_ids.get(line.symbol, line.market_id)

    def know_trades(self, symbol: str, trades: Sequence[Trade], *, ours: bool = True) -> None:
        """Trades that an earlier run recorded, or another replica. With `ours` nobody records them now: what is missing
        among them, such as what a crash kept from its gap record, belongs to the gap of this start.
        """
        pair = Pair("trade", symbol)
        series = self._series.get(pair)
        if series is None:
            return
        series.know(trades, ours=ours)
        if series.continuity is not None and series.continuity.holes:
            since_ns = min(hole.from_ns for hole in series.continuity.holes)
            self.interrupted([pair], since_ns, "collector_down", "the collector was not running")

    def record(self, pair: Pair, record: Record) -> None:
        """See `daedalus_collector.feed.Sink`."""
        series = self._series[pair]
        metrics = self._metrics
        channel = pair[0]
        metrics.received[channel] += 1
        metrics.last_data_ns[channel] = record.received_ns
        if self._gaps.open and (gap := self._gaps.resumed(pair, record.received_ns)) is not None:
            self._close(pair, series, gap)
        ids = series.ids
        id_ = record.id if ids is not None and isinstance(record, Trade) else None
        if series.continuity is not None and (number := number_of(id_)) is not None:
            series.continuity.add(number, record.received_ns)
        if ids is not None and id_ is not None and not ids.add(id_):
            metrics.discarded[channel, "duplicate"] += 1
            return
        if not self._outbox.add(series.line, record):
            if ids is not None and id_ is not None:
                ids.forget(id_)  # when the exchange sends it again, it is welcome
                series.stretch = Stretch()
            metrics.discarded[channel, "outbox_full"] += 1
            if self._gaps.refused(pair, record.received_ns):
                _log.warning("outbox was full", exchange=metrics.exchange, channel=channel, symbol=pair.symbol)
            return
        if id_ is not None and series.continuity is None and isinstance(record, Trade):
            series.add(record)
        if self._gaps.refusals and (gap := self._gaps.accepted(pair, self._clock_ns())) is not None:
            self._write(pair, gap)

    def frame(self, frame: RawFrame) -> None:
        """See `daedalus_collector.feed.FrameSink`."""
        if self._gaps.open:
            self.frames_over([frame.connection], frame.received_ns)
        self.record(RAW, frame)

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None:
        """See `daedalus_collector.feed.FrameSink`."""
        self._gaps.interrupted([place_of(connection)], from_ns, cause, detail)

    def frames_over(self, connections: Iterable[str], now_ns: int | None = None) -> None:
        """A new connection in the place of each has a frame, or nothing comes there any more: its gap ends."""
        for connection in connections:
            gap = self._gaps.resumed(place_of(connection), self._clock_ns() if now_ns is None else now_ns)
            if gap is not None:
                self._write(RAW, gap)

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        """See `daedalus_collector.feed.Sink`."""
        opened = self._gaps.interrupted([pair for pair in pairs if pair in self._series], from_ns, cause, detail)
        if opened:
            _log.info("gap was opened", exchange=self._metrics.exchange, cause=cause, detail=detail, pairs=len(opened))

    def write_gap(self, pair: Pair, from_ns: int, to_ns: int, cause: str, detail: str) -> None:
        """A gap that is over: `to_ns` was the pair's first record."""
        if pair not in self._series:
            return
        self._write(pair, Gap(self._clock_ns(), pair.channel, cause, from_ns, max(from_ns, to_ns), None, detail))

    def forget(self, pairs: Iterable[Pair]) -> None:
        """Another replica records these from now on: what is recorded of them later is a new beginning."""
        for pair in self._series.keys() & set(pairs):
            self._tell_holes(pair)
            if (gap := self._gaps.resumed(pair, self._clock_ns())) is not None:
                self._write(pair, gap)
            line = self._series[pair].line
            self._series[pair] = Series(
                self._outbox.line(pair.channel, pair.symbol, line.market_id), dense=self._dense(pair.symbol)
            )

    def is_open(self, pair: Pair) -> bool:
        """Whether the pair has an open gap."""
        return pair in self._gaps.open

    def tick(self) -> None:
        """About once a second: writes the pieces of gaps that stay open, and the gaps for which there was no room; finds
        the trades that an unbroken connection lost.
        """
        now_ns = self._clock_ns()
        for pair, gap in self._gaps.pieces(now_ns):
            self._write(pair, gap)
        for pair, series in self._series.items():
            if not (series.held or self._pending or self._gap_lines[pair.symbol].part):
                series.line.gap_ns = 0  # its record has left before what comes now
            for hole in series.continuity.alarms(now_ns) if series.continuity is not None else ():
                self._alarm(pair, series, hole, now_ns)
        self._flush()

    # -- what the backfill asks, see `daedalus_collector.backfill.Recovering`

    def missing(self, pair: Pair, first: int) -> Hole | None:
        series = self._series.get(pair)
        holes = [] if series is None else series.holes(first)
        if not holes:
            return None
        lowest, highest = min(holes), max(holes)
        return Hole(lowest.first, highest.last, lowest.from_ns, highest.to_ns, explained=True)

    def recover(self, wanted: Wanted, trade: Trade) -> bool:
        series = self._series.get(wanted.pair)
        if series is None or not series.lacks(trade, wanted.missing):
            return False
        channel = wanted.pair.channel
        self._metrics.received[channel] += 1
        if not self._outbox.add(series.line, trade):
            self._metrics.discarded[channel, "outbox_full"] += 1
            return False  # it stays missing, and is counted as such
        series.recovered(trade)
        return True

    def recovered(self, wanted: Wanted, count: int, why: str) -> None:
        pair, gap, lost, _ = wanted
        series = self._series.get(pair)
        if series is None or lost not in series.held:
            self._write(pair, gap)  # let go meanwhile, so what is missing is not known any more
            return
        series.held.remove(lost)
        missing = None if why else 0
        if isinstance(lost, int):
            if series.continuity is None:  # its ids turned out to mean nothing
                self._write(pair, gap)
                return
            missing = sum(hole.size for hole in series.holes(lost))
            series.forget_holes(lost)
        if gap.cause == "sequence_gap":
            series.false_alarms = series.false_alarms + 1 if why == NO_MORE and not count else 0
        if series.false_alarms >= MOST_FALSE_ALARMS:
            series.continuity = None
            self._metrics.errors["ids_not_dense"] += 1
            _log.error("trade ids have holes of their own", exchange=self._metrics.exchange, symbol=pair.symbol)
        if gap.cause == "connection_silent" and missing == 0 and not count:
            return  # a quiet market: the next trade proves it
        told = f"{gap.detail}; recovered {count} trades over REST"
        if why and missing != 0:
            told += f", {'more may be' if missing is None else f'{missing} are'} missing: {why}"
        self._write(pair, msgspec.structs.replace(gap, received_ns=self._clock_ns(), records=missing, detail=told))

    def stop(self) -> None:
        """Write down what is still open; nothing may be recorded afterwards."""
        if self.backfill is not None:
            self.backfill.stop()
        for pair, series in self._series.items():
            self._tell_holes(pair)
            series.line.gap_ns = 0
        for pair, gap in self._gaps.stop(self._clock_ns()):
            self._write(pair, gap)

    @property
    def open_gaps(self) -> int:
        return len(self._gaps.open) + len(self._gaps.refusals)

    def _close(self, pair: Pair, series: Series, gap: Gap) -> None:
        """Write a gap that closed now, or leave it to the backfill."""
        missing = series.close(gap)
        if missing is None:
            self._write(pair, gap)
        else:
            self._recover(pair, series, gap, missing)

    def _alarm(self, pair: Pair, series: Series, hole: Hole, now_ns: int) -> None:
        self._recover(pair, series, _missing(pair, hole, now_ns), hole.first)

    def _tell_holes(self, pair: Pair) -> None:
        """Write down what is missing and was waited for still, unless an open gap has it: the series ends here."""
        continuity, opened, now_ns = self._series[pair].continuity, self._gaps.open.get(pair), self._clock_ns()
        for hole in continuity.holes if continuity is not None else ():
            if not hole.explained and (opened is None or hole.from_ns < opened.from_ns):
                self._write(pair, _missing(pair, hole, now_ns))

    def _recover(self, pair: Pair, series: Series, gap: Gap, missing: Missing) -> None:
        if self.backfill is not None and self.backfill.offer(pair, gap, missing):
            series.hold(missing, gap)
        else:
            self._write(pair, gap)

    def _write(self, pair: Pair, gap: Gap) -> None:
        if len(self._pending) == PENDING_GAPS:
            self._metrics.errors["gap_lost"] += 1
        self._pending.append((RAW if pair.channel == "raw" else pair, gap))
        self._flush()

    def _flush(self) -> None:
        while self._pending:
            pair, gap = self._pending[0]
            if not self._outbox.add(self._gap_lines[pair.symbol], gap):
                return
            self._pending.popleft()
            self._metrics.gaps[gap.channel, gap.cause] += 1


def _missing(pair: Pair, hole: Hole, now_ns: int) -> Gap:
    detail = f"trades {hole.first} to {hole.last} did not come"
    return Gap(now_ns, pair.channel, "sequence_gap", hole.from_ns, hole.to_ns, hole.size, detail)
