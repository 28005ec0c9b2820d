"""The rows of several segments in one order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pyarrow as pa
import pytest

from daedalus_writer.compact import rows
from daedalus_writer.compact.rows import Source, merged

Row = tuple[int, int]
"""(received_ns, number)"""


def source(found: list[Row], batch_rows: int = 3) -> Source:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(found), batch_rows):
            times, numbers = zip(*found[start : start + batch_rows], strict=True)
            yield pa.RecordBatch.from_arrays([pa.array(times), pa.array(numbers)], ["received_ns", "number"])

    times = [time for time, _ in found]
    return Source(min(times), max(times), batches)


def read(sources: list[Source]) -> list[Row]:
    return [(row["received_ns"], row["number"]) for batch in merged(sources) for row in batch.to_pylist()]


@pytest.mark.parametrize("seed", range(20))
def test_overlapping_sources_are_merged_by_time(seed: int) -> None:
    """Every row once, in the order of receive time; rows of one moment stay in the order of their source."""
    chance = random.Random(seed)
    sources = []
    for number in range(chance.randint(1, 5)):
        times = sorted(chance.randint(0, 30) for _ in range(chance.randint(1, 20)))
        sources.append([(time, 100 * number + index) for index, time in enumerate(times)])
    found = read([source(one) for one in sources])
    assert sorted(found) == sorted(row for one in sources for row in one)
    assert [time for time, _ in found] == sorted(time for time, _ in found)
    for number, one in enumerate(sources):
        assert [row for row in found if row[1] // 100 == number] == one


def test_sources_that_do_not_overlap_are_read_one_by_one() -> None:
    """One after the other by time, whatever their order; and a source's own order is nobody's business."""
    opened = []

    def watched(one: Source, name: str) -> Source:
        def batches() -> Iterator[pa.RecordBatch]:
            opened.append(name)
            yield from one.batches()
            opened.append(f"{name} ended")

        return Source(one.first_received_ns, one.last_received_ns, batches)

    late, early = source([(20, 3), (21, 4)]), source([(10, 1), (12, 2), (11, 5)])
    assert read([watched(late, "late"), watched(early, "early")]) == [(10, 1), (12, 2), (11, 5), (20, 3), (21, 4)]
    assert opened == ["early", "early ended", "late", "late ended"]


def test_few_are_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each overlaps with the next one: no more than two are read at the same time. Too many at one moment lose no row."""
    spans = [source([(10 * number + step, number) for step in range(12)]) for number in range(20)]
    opened = []

    def watched(one: Source) -> Source:
        def batches() -> Iterator[pa.RecordBatch]:
            opened.append(1)
            yield from one.batches()
            opened.append(-1)

        return Source(one.first_received_ns, one.last_received_ns, batches)

    found = read([watched(one) for one in spans])
    assert [time for time, _ in found] == sorted(10 * number + step for number in range(20) for step in range(12))
    assert max(itertools.accumulate(opened)) == 2
    monkeypatch.setattr(rows, "MOST_OPEN", 3)
    assert sorted(read([source([(1, number), (9, number)]) for number in range(9)])) == sorted(
        (time, number) for number in range(9) for time in (1, 9)
    )


def test_row_groups_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are put together until they make a row group."""
    monkeypatch.setattr(rows, "ROW_GROUP_ROWS", 5)
    one = source([(time, time) for time in range(14)])
    assert [batch.num_rows for batch in merged([one])] == [6, 6, 2]
