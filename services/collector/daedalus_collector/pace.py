"""How fast an exchange is asked, and when not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

DIAL_SECONDS = 1.0
"""From the loss of a connection to the next dial of its address, at the least: an exchange that accepts and closes at
once would see 1,300 dials a second."""


class Pace:
    """So many subscriptions starting at a time, with a pause between their starts; and no address dialled too soon."""

    def __init__(self, stagger_seconds: float, concurrent: int) -> None:
        self._stagger_seconds = stagger_seconds
        self._starting = asyncio.Semaphore(concurrent)
        self._next_start = 0.0
        self._free: dict[str, float] = {}
        self._held_until = 0.0

    def lost(self, url: str) -> None:
        """A connection to that address is gone."""
        self._free[url] = time.monotonic() + DIAL_SECONDS

    def hold(self, seconds: float) -> None:
        """The exchange asked to be left alone: nothing starts for so long."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncIterator[None]:
        """Wait for a turn to start on an address ('' when it is not known yet); it is over when the block ends."""

        def early() -> float:
            free = self._free.get(url, 0.0) if url else max(self._free.values(), default=0.0)
            return max(free, self._held_until) - time.monotonic()

        async with self._starting:
            now = time.monotonic()
            start = self._next_start = max(now, self._next_start + self._stagger_seconds)
            await asyncio.sleep(start - now)
            while (seconds := early()) > 0:  # noqa: ASYNC110  # it may be lost again meanwhile
                await asyncio.sleep(seconds)
            yield
