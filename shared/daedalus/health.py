"""What a process says of itself: is its loop turning, is it ready, and if not, why."""

from __future__ import annotations

import time
from collections.abc import Callable

Check = Callable[[], str | None]
"""Returns the problem, with its threshold and a hint, or None."""

STALLED_SECONDS = 30.0


class Health:
    """The heartbeat of the event loop and the named readiness checks. Read from other threads."""

    def __init__(self) -> None:
        self._beat = time.monotonic()
        self._checks: dict[str, Check] = {"started": lambda: "still starting"}

    def beat(self) -> None:
        self._beat = time.monotonic()

    def started(self) -> None:
        """The service has finished its start; from now on the other checks decide."""
        self._checks.pop("started", None)

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def stalled_seconds(self) -> float:
        """How long ago the loop turned last."""
        return time.monotonic() - self._beat

    def live(self) -> str | None:
        """The problem, or None while the loop turns."""
        stalled = self.stalled_seconds()
        return f"the event loop has not turned for {stalled:.0f} s" if stalled > STALLED_SECONDS else None

    def problems(self) -> dict[str, str]:
        """Name of a failing check → its problem; empty when ready."""
        found = {name: problem for name, check in list(self._checks.items()) if (problem := check()) is not None}
        if (problem := self.live()) is not None:
            found["loop"] = problem
        return found
