"""Figures as people read them."""

from __future__ import annotations

import pytest

from daedalus_supervisor.units import count, duration, megabytes, printable, rate


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (60, "1 min"),
        (3_605, "1 h"),
        (93_784, "1 d 2 h"),
        (86_400, "1 d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """A duration is told in its two largest units."""
    assert duration(seconds) == text


def test_figures() -> None:
    """Thousands are set apart, an unknown figure is a question mark."""
    assert (count(1_234_567.0), count(None)) == ("1,234,567", "?")
    assert (megabytes(12_300_000), megabytes(4_096_000_000)) == ("12.3 MB", "4,096 MB")
    assert (rate(0.25), rate(1_234.5)) == ("0.2/s", "1,234/s")


def test_printable() -> None:
    """Nothing that steers a terminal passes."""
    assert printable("a\x1b[2Jb\nc🟢") == "a�[2Jb�c🟢"
