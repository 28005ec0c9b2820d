"""What people and scripts read."""

from __future__ import annotations

import json

import pytest

from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.gaps import Gaps
from daedalus_writer.verify.report import (
    Summary,
    defect_json,
    defect_line,
    gap_json,
    gap_line,
    summary_json,
    summary_line,
)


def gaps() -> Gaps:
    counted, more = Gaps(), Gaps()
    counted.add(("kraken", "BTC-USD", "trade"), "connection_lost", 1_500_000_000, None)
    more.add(("kraken", "BTC-USD", "trade"), "connection_lost", 10**9, None)
    more.add(("kraken", "BTC-USD", "trade"), "outbox_full", 120 * 10**9, 1200)
    counted.merge(more)
    return counted


def summary() -> Summary:
    one = Summary()
    one.files, one.rows, one.size_bytes, one.complete, one.with_gaps = 12_345, 67_890_123, 4_500_000_000, 12_300, 45
    return one


def test_gaps_are_summed() -> None:
    """Number, length, what is known of the records, and causes, the most frequent first."""
    [(key, one)] = gaps().sums.items()
    assert gap_line(key, one) == (
        "gaps     kraken BTC-USD trade: 3 gaps, 2.0 min, 1,200 records and an unknown number in 2 gaps missing; "
        "connection_lost 2, outbox_full 1"
    )
    assert json.loads(gap_json(key, one)) == {
        "finding": "gaps", "exchange": "kraken", "symbol": "BTC-USD", "channel": "trade", "gaps": 3,
        "duration_seconds": 122.5, "known_records": 1200, "gaps_of_unknown_size": 2,
        "causes": {"connection_lost": 2, "outbox_full": 1},
    }  # fmt: skip


def test_summary_is_one_line() -> None:
    """The line that ends the report; files from before the catalog only where there are some."""
    told = (
        "12,345 files, 67,890,123 rows, 4.5 GB: 12,300 complete, 45 with gaps, 0 damaged, 0 missing, 0 doubled, "
        "0 not in the catalog"
    )
    one = summary()
    assert summary_line(one) == told
    one.not_compared = 3
    assert summary_line(one) == f"{told}, 3 older than the catalog"
    assert json.loads(summary_json(one, "read", 0)) == {
        "finding": "summary", "files": 12_345, "rows": 67_890_123, "size_bytes": 4_500_000_000, "complete": 12_300,
        "with_gaps": 45, "damaged": 0, "missing": 0, "doubled": 0, "unknown": 0, "older_than_catalog": 3, "gaps": 0,
        "catalog": "read", "exit_code": 0,
    }  # fmt: skip


def test_finding_cannot_steer_a_terminal() -> None:
    """Names are printed with what is not printable escaped; JSON takes a name that is no UTF-8."""
    defect = Defect("1", "\x1b[2J\udc80", "missing")
    assert defect_line("a\nb", defect) == r"missing  a\nb: expected 1, found \x1b[2J\udc80"
    assert json.loads(defect_json("a\nb", defect))["found"] == r"\x1b[2J\udc80"


@pytest.mark.parametrize("kind", ["damaged", "missing", "doubled", "unknown"])
def test_exit_codes(kind: str) -> None:
    """0 intact, with gaps too; 3 for gaps when strict; 1 for each kind of defect."""
    one = Summary()
    assert (one.exit_code(strict=False), one.exit_code(strict=True)) == (0, 0)
    one.gaps.merge(gaps())
    assert (one.exit_code(strict=False), one.exit_code(strict=True)) == (0, 3)
    assert (summary().exit_code(strict=False), summary().exit_code(strict=True)) == (0, 3)
    one.add_defect(Defect(1, 2, kind))  # type: ignore[arg-type]
    assert (one.exit_code(strict=False), one.exit_code(strict=True)) == (1, 1)
