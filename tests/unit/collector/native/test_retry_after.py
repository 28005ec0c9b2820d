"""How long an exchange asks to be left alone."""

from __future__ import annotations

import pytest

from daedalus_collector.native.retry_after import LEAST_SECONDS, MOST_SECONDS, retry_after_seconds


@pytest.mark.parametrize(
    ("told", "status", "seconds"),
    [
        ("3", 429, 3.0),
        ("30", 503, 30.0),
        ("999999", 418, MOST_SECONDS),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 429, LEAST_SECONDS),
        ("", 418, LEAST_SECONDS),
        ("", 503, 0.0),
    ],
)
def test_what_is_asked_is_waited_for(told: str, status: int, seconds: float) -> None:
    """Within bounds; after "too many" at least a while, even without a word of how long."""
    assert retry_after_seconds({"Retry-After": told} if told else None, status) == seconds
