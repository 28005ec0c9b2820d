"""Whether what JetStream holds accounts for what an exchange sent. Knows nothing of the collector but its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from daedalus import wire
from daedalus.records import Gap, Record, Trade
from daedalus_collector.feed import Pair
from daedalus_writer.merging import Merger
from support.ledger import MS, Key, Ledger, key_of

NUMBERED = {
    ("binance", "trade"), ("coinbase", "trade"), ("kraken", "trade"),
    ("binance", "orderbook"), ("okx", "orderbook"), ("bybit", "orderbook"),
}  # fmt: skip
"""(exchange, channel) whose events a collector can miss though the connection stands: what was withheld counts too."""
UNNUMBERED = {("coinbase", "orderbook"), ("kraken", "orderbook")}
"""Whose books are wrong for a while, or for good, after a frame was withheld: two replicas' are not the same then."""
DENSE = ("binance", "coinbase", "kraken")
"""Whose trades have ids without holes."""
SLOWER = 10
"""Times as long as the loop stood still a recovery may take longer: it has several steps."""
SLOW_NS = 400 * MS
"""A replica that stands still for a renewal of its lease of 2 s looks dead to the others, and is taken over from."""
LEAST_NS = 20 * MS
"""What is lost has no delay that could be seen: a frame of 50 trades takes a few milliseconds more than one."""
NAMELESS_NS = 500 * MS
"""For a snapshot's way: over REST it is asked for, parsed and laid."""
EARLY_NS = 500 * MS
"""A gap begins at the last data before the fault, and every pair has 15 records a second."""

STORED_NS = 2_000 * MS
"""`collector_down` begins at the last record that was stored, and a small outbox may have refused all since."""


class Window(NamedTuple):
    """In which gaps may be: a fault, and the time to recover from it."""

    from_ns: int
    to_ns: int


class Account:
    """What was recorded, by pair."""

    def __init__(self, ledger: Ledger, batches: Iterable[wire.Batch], lag_ns: int, *, alone: bool) -> None:
        """`lag_ns`: for how long the event loop stood still; `alone`: there was one collector, and no other."""
        self.ledger = ledger
        self._alone = alone
        self.gaps: dict[Pair, list[Gap]] = {}
        self.records: dict[Pair, list[Record]] = {}
        """As the writer makes one series of those of several replicas."""
        self.of_runs: dict[tuple[Pair, str], list[Record]] = {}
        """As each run of a replica recorded them."""
        self.causes: Counter[str] = Counter()
        merger = Merger()
        for batch in batches:
            for part in batch.parts:
                found = wire.decode_records(batch.channel, part.records)
                if batch.channel == "gap":
                    for gap in found:
                        assert isinstance(gap, Gap)
                        self.gaps.setdefault(Pair(gap.channel, part.symbol), []).append(gap)
                        self.causes[gap.cause] += 1
                    continue
                pair = Pair(batch.channel, part.symbol)
                self.of_runs.setdefault((pair, f"{batch.instance}.{batch.boot}"), []).extend(found)
                encoded = wire.bodies(part.records)
                encoded, kept = merger.merged((batch.exchange, *pair), batch.instance, encoded, found)
                merged = wire.decode_records(batch.channel, wire.array(kept, encoded))
                self.records.setdefault(pair, []).extend(merged)
        self.delay_ns = LEAST_NS + max(lag_ns, self._delay_ns())

    def problems(self, windows: Iterable[Window]) -> Iterator[str]:
        """What does not add up."""
        allowed = _union(
            Window(fault.from_ns - EARLY_NS - self.delay_ns, fault.to_ns + SLOWER * self.delay_ns) for fault in windows
        )
        for (pair, run), records in self.of_runs.items():
            yield from (f"{pair} {key} is twice in {run}" for key in _doubled(records))
        for pair, sent in self.ledger.sent.items():
            if not (self.ledger.withheld.get(pair) and (self.ledger.exchange, pair.channel) in UNNUMBERED):
                yield from (f"{pair} {key} is twice" for key in _doubled(self.records.get(pair, [])))
            lost = dict(self._lost(pair, sent))
            for key, sent_ns in lost.items():
                if not self._in_gap(pair, sent_ns):
                    yield f"{pair} {key}, sent at {sent_ns}, is neither recorded nor in {_told(self.gaps.get(pair, []))}"
            yield from self._phantoms(pair)
            yield from self._nameless(pair)
            if self.delay_ns < SLOW_NS:
                yield from self._outside(pair, allowed)
            yield from self._miscounted(pair, lost)

    def _lost(self, pair: Pair, sent: dict[Key, int]) -> Iterator[tuple[Key, int]]:
        recorded = {key_of(record) for record in self.records.get(pair, [])}
        # What one replica alone was told when it subscribed is no loss when another goes on: that one has the next.
        excused = set() if self._alone or pair.channel == "trade" else self.ledger.answers
        numbered = (self.ledger.exchange, pair.channel) in NUMBERED
        withheld = self.ledger.withheld.get(pair, {}) if numbered else {}
        yield from (
            (key, sent_ns) for key, sent_ns in (withheld | sent).items() if key not in recorded and key not in excused
        )

    def _in_gap(self, pair: Pair, sent_ns: int) -> bool:
        """Gaps count in the time of receipt, which is later: by no more than was seen of any record of this example."""
        return any(
            gap.from_ns - self.delay_ns <= sent_ns <= gap.to_ns + self.delay_ns for gap in self.gaps.get(pair, [])
        )

    def _phantoms(self, pair: Pair) -> Iterator[str]:
        sent, happened = self.ledger.sent[pair], self.ledger.trades(pair.symbol)
        for record in self.records.get(pair, []):
            key = key_of(record)
            fetched = isinstance(record, Trade) and record.source == "backfill" and key in happened
            if key is not None and key not in sent and not fetched:
                yield f"{pair} {key} was not sent: {record}"

    def _nameless(self, pair: Pair) -> Iterator[str]:
        """Each has a record soon after it, or is in a gap; each such record is of one."""
        sent, reach_ns = self.ledger.nameless.get(pair, []), NAMELESS_NS + self.delay_ns
        recorded = [record.received_ns for record in self.records.get(pair, []) if key_of(record) is None]
        for sent_ns in sent if self._alone else ():
            if not any(-self.delay_ns <= ns - sent_ns <= reach_ns for ns in recorded) and not self._in_gap(
                pair, sent_ns
            ):
                yield f"{pair}: the snapshot of {sent_ns} is neither recorded nor in {_told(self.gaps.get(pair, []))}"
        for received_ns in recorded:
            if not any(-self.delay_ns <= received_ns - ns <= reach_ns for ns in sent):
                yield f"{pair}: no snapshot was sent before the record of {received_ns}"

    def _outside(self, pair: Pair, allowed: list[Window]) -> Iterator[str]:
        """What the outbox refused is bounded by its own records; any other gap needs a fault."""
        for gap in self.gaps.get(pair, []):
            from_ns = gap.from_ns + (STORED_NS if gap.cause == "collector_down" else 0)
            around = any(window.from_ns <= from_ns and gap.to_ns <= window.to_ns for window in allowed)
            if gap.to_ns < gap.from_ns or not (around or gap.cause == "outbox_full"):
                yield f"{pair} has a gap without a fault: {_told([gap])}; faults {allowed}"

    def _miscounted(self, pair: Pair, lost: dict[Key, int]) -> Iterator[str]:
        gaps = self.gaps.get(pair, [])
        told = sum(gap.records or 0 for gap in gaps)
        if not self._alone or any(gap.records is None for gap in gaps):
            return
        if pair.channel == "trade" and self.ledger.exchange in DENSE:
            numbers = {key_of(record) or 0 for record in self.records.get(pair, [])}
            within = range(min(numbers, default=0), max(numbers, default=-1))
            missing = len({*within, *self.ledger.sent[pair]} - numbers)
        else:
            missing = len(lost)
        # What was refused, or fetched in vain, may come again by itself; a REST snapshot that was refused has no event.
        exact = len({gap.cause for gap in gaps} - {"outbox_full"}) == 0 and pair.channel != "orderbook"
        if missing > told or (exact and missing != told):
            yield f"{pair} misses {missing}, and its gaps say {told}: {_told(gaps)}"

    def _delay_ns(self) -> int:
        """The longest way from the exchange's socket to a record."""
        delays = [
            abs(record.received_ns - sent_ns)
            for pair, records in self.records.items()
            if pair.channel != "trade"
            for record in records
            if (sent_ns := self.ledger.sent.get(pair, {}).get(key_of(record) or 0)) is not None
        ]
        return max(delays, default=0)


def _doubled(records: Iterable[Record]) -> Iterator[Key]:
    counts = Counter(key_of(record) for record in records)
    yield from (key for key, count in counts.items() if count > 1 and key is not None)


def _union(windows: Iterable[Window]) -> list[Window]:
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.from_ns <= joined[-1].to_ns:
            joined[-1] = Window(joined[-1].from_ns, max(joined[-1].to_ns, window.to_ns))
        else:
            joined.append(window)
    return joined


def _told(gaps: Iterable[Gap]) -> str:
    return ", ".join(f"{gap.cause} {gap.from_ns}..{gap.to_ns} {gap.records} ({gap.detail})" for gap in gaps) or "no gap"
