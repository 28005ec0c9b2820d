"""Times of Coinbase's frames."""

from __future__ import annotations

import pytest

from daedalus_collector.native.coinbase_frames import Times


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-08-12T19:27:48Z", 1786562868_000_000),
        ("2026-08-12T19:27:48.1Z", 1786562868_100_000),
        ("2026-08-12T19:27:48.298771Z", 1786562868_298_000),
        ("2026-08-12T19:27:48.298771666Z", 1786562868_298_000),
        ("2026-08-12T19:27:49.000999999Z", 1786562869_000_000),
        ("1970-01-01T00:00:00Z", 0),
        ("", None),
    ],
)
def test_times_are_cut_to_milliseconds(text: str, microseconds: int | None) -> None:
    """As ccxt does, so that both feeds make the same records."""
    times = Times()
    assert times.microseconds(text) == microseconds
    assert times.microseconds(text) == microseconds, "the remembered second too"


@pytest.mark.parametrize("text", ["yesterday", "2026-08-12T19:27:48+02:00", "2026-08-12T19:27:48,5Z"])
def test_other_times_are_errors(text: str) -> None:
    """Another zone would be another moment."""
    with pytest.raises(ValueError, match=r"expected a time like|Invalid isoformat"):
        Times().microseconds(text)
