"""What the patterns of one exchange's configuration mean now: resolved from its markets, and again every so often.

The markets are loaded by ccxt, whichever feed records them: it alone says which are active. They are loaded in a thread
with a loop of its own, because to parse thousands of them takes seconds on a small machine.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from daedalus.config import Channels, Exchange, Ingestion
from daedalus.exchanges import ALIASES
from daedalus_collector import symbols
from daedalus_collector.backoff import Backoff
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair

LOAD_SECONDS = 120.0
SHOWN = 20

_log = structlog.get_logger()


class Listing:
    """`name` is the configured name. `load` returns the active symbols, or raises OSError."""

    def __init__(
        self,
        name: str,
        settings: Exchange,
        ingestion: Ingestion,
        load: Callable[[str, Exchange], list[str]] | None = None,
    ) -> None:
        self.settings = settings
        """With the symbols that are meant in place of the patterns, once `first` has returned."""
        self._name = name
        self._patterns = settings.channels.symbols()
        self._refresh_seconds = settings.symbols_refresh_seconds
        self._first_delay = ingestion.reconnect_delay
        self._load = load or active_symbols
        self._problem: str | None = None
        self._unmatched: dict[str, list[str]] = {}

    @property
    def has_patterns(self) -> bool:
        return symbols.has_patterns(self._patterns)

    def problem(self) -> str | None:
        """For readiness."""
        if self._problem is not None:
            return self._problem
        if not self._unmatched:
            return None
        told = "; ".join(f"{channel} {', '.join(patterns)}" for channel, patterns in self._unmatched.items())
        return f"no active market of {self._name} matches {told}: correct the configuration"

    async def first(self) -> Exchange:
        """The settings with symbols for patterns; waits for the exchange where there are any."""
        if self.has_patterns:
            backoff = Backoff(self._first_delay, lambda: random.uniform(0.5, 1))
            while not await self._resolve():  # noqa: ASYNC110  # it waits for the exchange
                await asyncio.sleep(backoff.failed(0.0))
        return self.settings

    @property
    def pairs(self) -> list[Pair]:
        """What to record."""
        asked = self.settings.channels.symbols()
        return [Pair(channel, symbol) for channel, found in asked.items() for symbol in found]

    async def run(self, on_change: Callable[[list[Pair]], Awaitable[None]]) -> None:
        """For ever: `on_change(pairs)` whenever the patterns mean something else. A failed load changes nothing."""
        while self.has_patterns:
            await asyncio.sleep(self._refresh_seconds)
            before = self.settings
            if not await self._resolve():
                continue
            change = symbols.change(before.channels.symbols(), self.settings.channels.symbols())
            if change.added or change.removed:
                _log.info(
                    "listed symbols changed",
                    exchange=self._name,
                    added=[f"{channel} {symbol}" for channel, symbol in sorted(change.added)[:SHOWN]],
                    removed=[f"{channel} {symbol}" for channel, symbol in sorted(change.removed)[:SHOWN]],
                )
                await on_change(self.pairs)

    async def _resolve(self) -> bool:
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                listed = await asyncio.to_thread(self._load, self._name, self.settings)
        except OSError as error:  # TimeoutError is one
            self._problem = f"markets of {self._name} were not loaded: {str(error)[:200] or type(error).__name__}"
            _log.warning("symbols were not resolved", exchange=self._name, error=str(error)[:200])
            return False
        if not listed:
            self._problem = f"{self._name} lists no active market"
            return False
        self._problem = None
        resolved = symbols.resolve(self._patterns, listed)
        if resolved.unmatched and resolved.unmatched != self._unmatched:
            _log.error("pattern matched nothing", exchange=self._name, patterns=resolved.unmatched)
        self._unmatched = resolved.unmatched
        self.settings = msgspec.structs.replace(self.settings, channels=Channels(**resolved.asked))
        return True


def active_symbols(name: str, settings: Exchange) -> list[str]:
    """Ask the exchange, through ccxt. Blocks; not for a thread that runs a loop. Raises OSError."""
    from ccxt.base.errors import BaseError  # noqa: PLC0415  # 13 MB that only patterns need

    from daedalus_collector import loader, quirks  # noqa: PLC0415
    from daedalus_collector.slimmed import slimmed  # noqa: PLC0415

    exchange_id = ALIASES.get(name, name)

    async def load() -> list[str]:
        options = {**quirks.CONFIG.get(exchange_id, {}), **settings.options.ccxt}
        exchange = slimmed(loader.load(exchange_id), ())({"enableRateLimit": True, "options": options})
        if settings.endpoint:
            exchange.urls["api"] = localized(exchange.urls["api"], settings.endpoint)
        try:
            return symbols.active(await exchange.load_markets())
        except BaseError as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        finally:
            await exchange.close()

    return asyncio.run(load())
