"""The order-book snapshots that Binance gives over REST: asked for one after another, until each is there."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from daedalus_collector.backoff import Backoff
from daedalus_collector.native.binance_frames import Snapshot, decode_snapshot
from daedalus_collector.native.rest import Rest, RestError

FIRST_SECONDS = 0.5
"""Before a snapshot is asked for again; doubles, up to a minute."""

_log = structlog.get_logger()


class Lay(Protocol):
    def __call__(self, snapshot: Snapshot, received_ns: int) -> bool:
        """Build on it; False when another is needed."""


class Wanted:
    """One market's snapshot."""

    __slots__ = ("backoff", "cancelled", "done", "due", "lay", "market", "problem")

    def __init__(self, market: str, lay: Lay, backoff: Backoff) -> None:
        self.market = market
        self.lay = lay
        self.backoff = backoff
        self.due = 0.0
        self.done = False
        self.cancelled = False
        """Its connection is gone."""
        self.problem: str | None = None


class Snapshots:
    """`url` of the depth endpoint, `limit` levels of each side. `on_error(kind)` counts."""

    def __init__(self, rest: Rest, url: str, limit: int, on_error: Callable[[str], None]) -> None:
        self._rest = rest
        self._url = url
        self._limit = limit
        self._on_error = on_error
        self._waiting: deque[Wanted] = deque()
        self._backoffs: dict[str, tuple[Backoff, float]] = {}
        self._changed = asyncio.Event()

    def want(self, market: str, lay: Lay) -> Wanted:
        """A market that needs one again soon waits longer each time."""
        now = time.monotonic()
        backoff, last = self._backoffs.get(market, (None, 0.0))
        wanted = Wanted(market, lay, backoff or Backoff(FIRST_SECONDS, lambda: random.uniform(0.5, 1)))
        if backoff is not None:
            wanted.due = now + backoff.failed(now - last)
        self._backoffs[market] = wanted.backoff, now
        self._waiting.append(wanted)
        self._changed.set()
        return wanted

    def problems(self) -> dict[str, str]:
        """Market → why its snapshot is not there, where it was asked for in vain."""
        return {wanted.market: wanted.problem for wanted in self._waiting if wanted.problem and not wanted.cancelled}

    async def run(self) -> None:
        while True:
            for wanted in [wanted for wanted in self._waiting if wanted.cancelled]:
                self._waiting.remove(wanted)
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            wanted = min(self._waiting, key=lambda waiting: waiting.due)
            delay = wanted.due - time.monotonic()
            if delay > 0:
                await self._pause(delay)
            else:
                await self._get(wanted)

    async def _pause(self, seconds: float) -> None:
        """Or until another is wanted."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _get(self, wanted: Wanted) -> None:
        retry_seconds = 0.0
        try:
            body = await self._rest.get(self._url, {"symbol": wanted.market, "limit": str(self._limit)})
            received_ns = time.time_ns()
            snapshot = decode_snapshot(body)
        except RestError as error:
            wanted.problem, retry_seconds = str(error), error.retry_seconds
        except msgspec.MsgspecError as error:
            wanted.problem = f"the snapshot was not readable: {error}"
        else:
            if wanted.cancelled or wanted.lay(snapshot, received_ns):
                wanted.done = True
                self._waiting.remove(wanted)
                return
            wanted.problem = "the snapshot was older than the changes that followed"
        self._on_error("snapshot")
        wanted.due = time.monotonic() + max(retry_seconds, wanted.backoff.failed(0.0))
        _log.warning("order book snapshot was not usable", market=wanted.market, why=wanted.problem)
