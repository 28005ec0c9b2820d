"""How long to wait after a failure: doubling, with a cap and jitter; reset only after half a minute of good data. Pure."""

from __future__ import annotations

from collections.abc import Callable

CAP_SECONDS = 60.0
GOOD_SECONDS = 30.0
"""After so long without a failure the next one counts as the first."""


class Backoff:
    """`jitter` returns a number from 0.5 to 1, such as `lambda: random.uniform(0.5, 1)`."""

    def __init__(self, first_seconds: float, jitter: Callable[[], float]) -> None:
        self._first_seconds = min(first_seconds, CAP_SECONDS)
        self._jitter = jitter
        self._next_seconds = self._first_seconds
        self.failures = 0
        """In a row."""

    def failed(self, good_seconds: float, factor: float = 1.0) -> float:
        """How many seconds to wait, given how long all was well before. `factor`: 10 where the exchange said "too many"."""
        if good_seconds >= GOOD_SECONDS:
            self._next_seconds = self._first_seconds
            self.failures = 0
        self.failures += 1
        delay = min(CAP_SECONDS, self._next_seconds * factor) * self._jitter()
        self._next_seconds = min(CAP_SECONDS, self._next_seconds * 2)
        return delay
