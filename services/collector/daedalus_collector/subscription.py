"""One `watch` call, kept alive: called again whenever it returns, and with back-off after it failed.

ccxt subscribes again by itself when it is called and the connection or the subscription is gone, so to call is all there
is to do; what the call returns is not looked at.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import structlog
from ccxt.base.errors import (
    AuthenticationError,
    BadRequest,
    BadSymbol,
    BaseError,
    DDoSProtection,
    ExchangeError,
    NetworkError,
    NotSupported,
    PermissionDenied,
    RateLimitExceeded,
)

from daedalus.config import Ingestion
from daedalus_collector.backoff import Backoff
from daedalus_collector.pace import Pace
from daedalus_collector.plan import WatchCall
from daedalus_collector.tap import TapClient, watching

PERMANENT = (BadSymbol, NotSupported, AuthenticationError, PermissionDenied)
"""Trying again cannot help: this one subscription ends, the rest go on."""
OF_ONE = (BadRequest, NotSupported, PermissionDenied)
"""What may be the fault of one symbol: a bulk call that is refused so is split. BadSymbol is a BadRequest."""
SPLIT_FAILURES = 3
"""So often in a row from its start on a bulk call may be refused with an ExchangeError that says nothing, as Bybit's and
Binance's do, before it is split."""
TOO_MANY = (DDoSProtection, RateLimitExceeded)
POLL_SECONDS = 1.0
"""A call on a subscription that stands costs 40 µs and sends nothing."""
START_SECONDS = 5.0
"""A call that has not returned by then has subscribed, or waits for a quiet market: the next one may start."""
State = Literal["starting", "active", "waiting", "refused", "given_up", "split"]

_log = structlog.get_logger()


class Subscription:
    """Keeps one call going. `on_error` hears of each failure."""

    def __init__(
        self,
        exchange: str,
        call: WatchCall,
        ingestion: Ingestion,
        pace: Pace,
        on_error: Callable[[BaseException], object],
    ) -> None:
        self.exchange = exchange
        self.call = call
        self.pairs = call.pairs
        self.state: State = "starting"
        self.problem: str | None = None
        """Why it is not active."""
        self._ingestion = ingestion
        self._pace = pace
        self._on_error = on_error
        self._backoff = Backoff(ingestion.reconnect_delay, lambda: random.uniform(0.5, 1))
        self._good_since: float | None = None
        self._was_good = False
        self._client: TapClient | None = None
        self._hashes: list[str] = []
        self._lost: str | None = None
        self._woken = asyncio.Event()

    @property
    def name(self) -> str:
        symbols = self.call.symbols
        return f"{self.call.channel} {symbols[0]}{f' and {len(symbols) - 1} more' if len(symbols) > 1 else ''}"

    def watched(self, client: TapClient, hashes: list[str]) -> None:
        self._client, self._hashes = client, hashes

    def lost(self, client: TapClient, why: str) -> None:
        """The connection is gone, whether the call notices or not."""
        if client is self._client:
            self._lost = why
            self._woken.set()

    def wake(self) -> None:
        """Something happened to the subscription: call again now, and ccxt repairs it."""
        self._woken.set()

    async def keep(self) -> None:
        """Runs until the subscription is refused, given up or to be split in halves, or the task is cancelled."""
        fresh = True
        while True:
            if self._lost is not None and not fresh:
                error: BaseException | None = NetworkError(self._lost)
            else:
                error = await self._attempt(fresh=fresh)
            if error is None:
                self.state, self.problem = "active", None
                self._good_since = self._good_since or time.monotonic()
                fresh, self._was_good = False, True
                await self._rest()
                continue
            if self._is_of_one(error):
                self._on_error(error)
                self._forget()
                self._end("split", f"{type(error).__name__}: {error}")
                return
            if isinstance(error, PERMANENT):
                self._on_error(error)
                self._end("refused", f"{type(error).__name__}: {error}")
                return
            if (delay := self._failed(error)) is None:
                return
            await asyncio.sleep(delay)
            fresh = True

    async def _attempt(self, *, fresh: bool) -> BaseException | None:
        """One call; what went wrong, or None."""
        try:
            if fresh:
                await self._start()
            else:
                await self._watch()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error  # ccxt cancels its futures when it closes a connection
        except (BaseError, OSError, TimeoutError) as error:
            return error
        except Exception as error:  # noqa: BLE001  # the edge of the connection: ccxt's own code on a strange answer
            _log.warning("watch call failed in ccxt", exchange=self.exchange, subscription=self.name, exc_info=error)
            return error
        return None

    async def _start(self) -> None:
        """The first call after nothing or a failure, at its turn; the turn does not wait for a market's first data."""
        async with self._pace.turn(self._client.url if self._client is not None else ""):
            self._lost = None
            call = asyncio.ensure_future(self._watch())
            try:
                await asyncio.wait({call}, timeout=START_SECONDS)
            except asyncio.CancelledError:
                call.cancel()
                raise
        if not call.done() and self._client is not None and self._client.connected_ns:
            self.state, self.problem = "active", None  # subscribed, on a quiet market
        try:
            await call
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _watch(self) -> Any:
        token = watching.set(self)
        try:
            return await self.call.call()
        finally:
            watching.reset(token)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    def _failed(self, error: BaseException) -> float | None:
        """Note a failure; how many seconds to wait, or None when it is given up."""
        good = 0.0 if self._good_since is None else time.monotonic() - self._good_since
        self._good_since = None
        delay = self._backoff.failed(good, 10.0 if isinstance(error, TOO_MANY) else 1.0)
        self._on_error(error)
        self.problem = f"{type(error).__name__}: {error}"
        most = self._ingestion.max_reconnect_attempts if self._ingestion.auto_reconnect else 0
        if 0 <= most < self._backoff.failures:
            self._end("given_up", f"{self.problem}, after {self._backoff.failures - 1} attempts to reconnect")
            return None
        if isinstance(error, ExchangeError):
            self._forget()
        self.state = "waiting"
        _log.warning(
            "subscription was interrupted",
            exchange=self.exchange,
            subscription=self.name,
            error=str(error),
            error_type=type(error).__name__,
            retry_seconds=round(delay, 2),
        )
        return delay

    def _is_of_one(self, error: BaseException) -> bool:
        """Whether a bulk call may be refused for one of its symbols."""
        if len(self.call.symbols) == 1 or not isinstance(error, ExchangeError):
            return False
        return isinstance(error, OF_ONE) or (not self._was_good and self._backoff.failures + 1 >= SPLIT_FAILURES)

    def _forget(self) -> None:
        """Because ccxt takes a refused subscription for one that stands."""
        if self._client is not None:
            for hash_ in self._hashes:
                self._client.subscriptions.pop(hash_, None)

    def _end(self, state: State, problem: str) -> None:
        self.state, self.problem = state, problem
        _log.error("subscription was ended", exchange=self.exchange, subscription=self.name, state=state, why=problem)
