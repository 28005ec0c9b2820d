"""When a segment is due."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.config import Ingestion
from daedalus.records import Trade
from daedalus.wire import NS_PER_HOUR, append_record
from daedalus_writer.layout import Key
from daedalus_writer.rotation import HOUR_GRACE_NS, Limits, due, surplus
from daedalus_writer.segment import START, Position, Segment

HOUR = 497_123
BEGIN = HOUR * NS_PER_HOUR
END = BEGIN + NS_PER_HOUR
LIMITS = Limits(size_bytes=10_000, age_ns=NS_PER_HOUR, idle_ns=2 * NS_PER_HOUR, open_segments=3)


def opened(opened_ns: int = BEGIN, symbol: str = "BTC/USD") -> Segment:
    segment = Segment(Key("kraken", "trade", symbol, HOUR), "XBTUSD", START, opened_ns)
    take(segment, Position(1, opened_ns))
    return segment


def take(segment: Segment, at: Position) -> None:
    """One record."""
    buffer = bytearray()
    append_record(buffer, Trade(BEGIN, None, None, 1.0, 1.0, None))
    segment.append(bytes(buffer), 1, at, at.timestamp_ns)


@pytest.mark.parametrize(
    ("opened_ns", "now_ns", "reason"),
    [
        (BEGIN, BEGIN + 1, None),
        (BEGIN, END, None),
        (BEGIN + 1, END + HOUR_GRACE_NS - 1, None),
        (BEGIN, END + HOUR_GRACE_NS, "hour"),
        (END + 60 * 10**9, END + 61 * 10**9, None),  # a late record: others may come with it
        (END + 60 * 10**9, END + 60 * 10**9 + HOUR_GRACE_NS, "hour"),
        (BEGIN - NS_PER_HOUR // 2, BEGIN + NS_PER_HOUR // 2, "age"),
        (END, BEGIN, None),  # the clock was set back
        (BEGIN, BEGIN + 24 * NS_PER_HOUR, "hour"),  # the clock was set forward
    ],
)
def test_time(opened_ns: int, now_ns: int, reason: str | None) -> None:
    """A segment is due some seconds after its hour, or at its age; a clock that steps back only delays it."""
    assert due(opened(opened_ns), now_ns, LIMITS) == reason


def test_size() -> None:
    """A segment is due when what it has spooled and what waits in memory reach the size."""
    segment = opened()
    segment.spooled_bytes = 9_000 - segment.buffered_bytes
    assert due(segment, BEGIN, LIMITS) is None
    segment.append(bytes(1_000), 1, segment.last, BEGIN)
    assert due(segment, BEGIN, LIMITS) == "size"


def test_idle() -> None:
    """A segment is due when its last record is long ago, unless its hour is over and the last rows may still come."""
    segment, minute = opened(), 60 * 10**9
    limits = msgspec.structs.replace(LIMITS, idle_ns=20 * minute)
    take(segment, Position(2, BEGIN + 15 * minute))
    assert due(segment, BEGIN + 35 * minute - 1, limits) is None
    assert due(segment, BEGIN + 35 * minute, limits) == "idle"
    take(segment, Position(3, BEGIN + 40 * minute))
    assert due(segment, END - 1, limits) is None
    assert due(segment, END, limits) is None


def test_surplus_is_what_waited_longest() -> None:
    """Above the limit of open segments those go whose last record came the longest ago."""
    segments = []
    for number, sequence in enumerate((5, 1, 9, 3, 7)):
        segment = opened(symbol=f"C{number}/USD")
        take(segment, Position(sequence, 0))
        segments.append(segment)
    assert [segment.last.sequence for segment in surplus(segments, LIMITS)] == [1, 3]
    assert surplus(segments[:3], LIMITS) == []


def test_limits_come_from_the_configuration() -> None:
    """The limits are the configured ones, in bytes and nanoseconds."""
    assert Limits.of(Ingestion()) == Limits(100_000_000, 3600 * 10**9, 1800 * 10**9, 5_000)
