"""What was really written to live sockets, per exchange, channel and symbol. Knows no protocol."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from simulator.frame import Frame


class Count(Struct):
    """``records`` is what a lossless recorder of every connection must have: distinct trade ids; one per ticker and per
    book state on each connection that was sent it. ``repeats`` are trades that had been written before (a snapshot after
    a reconnect, a second connection). What was withheld by a fault is under ``dropped_frames`` and ``dropped_records``,
    and nowhere else; a dropped trade may still be written later, within a snapshot."""

    frames: int = 0
    records: int = 0
    repeats: int = 0
    dropped_frames: int = 0
    dropped_records: int = 0


class IdRanges:
    """A set of integers that come mostly in order, kept as ranges: a day of dense trade ids is one pair of numbers."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._after: list[int] = []

    def add(self, number: int) -> bool:
        """True when the number is new."""
        at = bisect_right(self._first, number)
        if at and number < self._after[at - 1]:
            return False
        joins_left = at > 0 and self._after[at - 1] == number
        joins_right = at < len(self._first) and self._first[at] == number + 1
        if joins_left and joins_right:
            self._after[at - 1] = self._after[at]
            del self._first[at], self._after[at]
        elif joins_left:
            self._after[at - 1] = number + 1
        elif joins_right:
            self._first[at] = number
        else:
            self._first.insert(at, number)
            self._after.insert(at, number + 1)
        return True

    def __len__(self) -> int:
        return sum(self._after) - sum(self._first)


class Counts:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], Count] = defaultdict(Count)
        self._trade_ids: dict[tuple[str, str], IdRanges] = defaultdict(IdRanges)

    def written(self, exchange: str, frame: Frame) -> None:
        if not frame.channel:
            return
        count = self._counts[exchange, frame.channel, frame.symbol]
        count.frames += 1
        if frame.trade_ids:
            ids = self._trade_ids[exchange, frame.symbol]
            new = sum(map(ids.add, frame.trade_ids))
            count.records += new
            count.repeats += len(frame.trade_ids) - new
        else:
            count.records += frame.records

    def dropped(self, exchange: str, frame: Frame) -> None:
        if frame.channel:
            count = self._counts[exchange, frame.channel, frame.symbol]
            count.dropped_frames += 1
            count.dropped_records += len(frame.trade_ids) or frame.records

    def state(self, exchange: str, symbol: str, records: int) -> None:
        """Book states that came over REST instead of in a frame."""
        self._counts[exchange, "orderbook", symbol].records += records

    def report(self, exchanges: Sequence[str]) -> dict[str, dict[str, dict[str, Count]]]:
        """A copy: exchange -> channel -> unified symbol -> count."""
        report: dict[str, dict[str, dict[str, Count]]] = {exchange: {} for exchange in exchanges}
        for (exchange, channel, symbol), count in sorted(self._counts.items()):
            copy = Count(count.frames, count.records, count.repeats, count.dropped_frames, count.dropped_records)
            report.setdefault(exchange, {}).setdefault(channel, {})[symbol] = copy
        return report
