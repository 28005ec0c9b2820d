"""What `make soak` takes for growth."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from benchmarks.footprint import Footprint, Rotation, growth

FLAT = [90, 100, 104, 96, 101, 99, 100, 103, 98, 102]
"""MB; the first rotation is warming up."""


def rotations(rss: Sequence[int], peaks: Sequence[int] = (), files: Sequence[int] = ()) -> list[Rotation]:
    """Of two samples each: at rest, and while segments are committed."""
    made = []
    for number, megabytes in enumerate(rss):
        peak, least = (peaks or [130] * len(rss))[number], (files or [9] * len(rss))[number]
        samples = [
            Footprint(megabytes * 10**6, megabytes * 10**6, least, 6, 0),
            Footprint(megabytes * 10**6, peak * 10**6, least + 5, 6, 0),
        ]
        made.append(Rotation(samples, 1000, 450))
    return made


def test_what_goes_up_and_down_is_flat() -> None:
    """Neither a cold first rotation nor noise is growth."""
    assert growth(rotations(FLAT)) == []


@pytest.mark.parametrize(
    ("rotated", "what"),
    [
        (rotations([100 + number for number in range(10)]), "average RSS"),
        (rotations(FLAT, peaks=[130 + 2 * number for number in range(10)]), "peak RSS"),
        (rotations(FLAT, files=[9, 9, 9, 9, 9, 9, 9, 9, 10, 10]), "open files"),
    ],
)
def test_what_grows_slowly_is_told(rotated: list[Rotation], what: str) -> None:
    """Memory by more than 5 % from the first third to the last; files by one."""
    problems = growth(rotated)
    assert len(problems) == 1
    assert what in problems[0]


def test_too_short_a_run_is_no_proof() -> None:
    """Three rotations after the first are the least that has thirds."""
    assert growth(rotations(FLAT[:3])) == ["expected 4 rotations at the least, found 3"]
