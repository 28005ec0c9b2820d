"""Market time: seconds that pass while the market is open, and stand still while it is paused."""

import asyncio
import time


class Clock:
    def __init__(self, *, paused: bool) -> None:
        self._running = asyncio.Event()
        self._paused_at = time.monotonic()
        self._paused_seconds = 0.0
        if not paused:
            self._running.set()

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def now(self) -> float:
        return (self._paused_at if self.paused else time.monotonic()) - self._paused_seconds

    def pause(self) -> None:
        if not self.paused:
            self._paused_at = time.monotonic()
            self._running.clear()

    def resume(self) -> None:
        if self.paused:
            self._paused_seconds += time.monotonic() - self._paused_at
            self._running.set()

    async def running(self) -> None:
        """Wait for the end of a pause."""
        await self._running.wait()

    async def until(self, moment: float) -> None:
        """Wait until market time is ``moment``."""
        while (ahead := moment - self.now()) > 0:
            await asyncio.sleep(ahead)
            await self.running()
