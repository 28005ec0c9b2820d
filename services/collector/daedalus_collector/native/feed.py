"""A feed that speaks an exchange's own protocol: what is common to all of them. See `daedalus_collector.feed.Feed`."""

from __future__ import annotations

import asyncio
import difflib
import gc
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import structlog

from daedalus.config import Exchange, Ingestion
from daedalus_collector.backoff import Backoff
from daedalus_collector.endpoint import localized
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.native import tls
from daedalus_collector.native.connection import CLOSE_SECONDS, Around, Connection
from daedalus_collector.native.rest import Rest, RestError
from daedalus_collector.native.session import Link, Session
from daedalus_collector.pace import DIAL_SECONDS, Pace
from daedalus_collector.raw_frames import RawFrames

WATCH_SECONDS = 1.0

_log = structlog.get_logger()


class NativeFeed(ABC):
    """`name` is the configured name of the exchange, `secrets` its api_key, api_secret and password."""

    CHANNELS: ClassVar[frozenset[str]]
    """What it records."""
    REQUEST_SECONDS: ClassVar[float]
    """Between two messages on a connection."""
    REST_SECONDS: ClassVar[float]
    REST_BURST: ClassVar[int]

    def __init__(
        self,
        name: str,
        settings: Exchange,
        ingestion: Ingestion,
        secrets: Mapping[str, str],
        sink: Sink,
        metrics: Metrics,
        raw: RawFrames | None = None,
    ) -> None:
        self.name = name
        self.market_ids: dict[str, str] = {}
        self.loaded = asyncio.Event()
        self._settings = settings
        self._ingestion = ingestion
        self._sink = sink
        self._metrics = metrics
        self._asked = [
            Pair(channel, symbol) for channel, symbols in settings.channels.symbols().items() for symbol in symbols
        ]
        self._raw = raw
        self._loading: str | None = "markets are not loaded yet"
        self._refused: dict[Pair, str] = {}
        self._connections: list[Connection] = []
        self._identify(secrets)

    # -- an exchange's own part

    def _identify(self, secrets: Mapping[str, str]) -> None:  # noqa: B027  # market data are public
        """Take what is configured of api_key, api_secret and password. Raises ConfigError when it is none."""

    @abstractmethod
    async def _markets(self, rest: Rest) -> dict[str, str]:
        """Unified symbol → the exchange's name, as ccxt unifies it. Raises RestError and msgspec.MsgspecError."""

    @abstractmethod
    def _planned(self, pairs: Sequence[Pair]) -> list[tuple[str, Sequence[Pair]]]:
        """The connections: address, and what is recorded on it."""

    @abstractmethod
    def _session(self, link: Link, pairs: Sequence[Pair]) -> Session: ...

    @classmethod
    @abstractmethod
    def takes(cls, symbol: str) -> bool:
        """Whether a unified symbol is of a kind that this feed records."""

    def _tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What else runs beside the connections."""
        return []

    # -- the feed

    async def run(self) -> None:
        rest = Rest(self.REST_SECONDS, self.REST_BURST)
        await self._load(rest)
        self._begin(rest)
        gc.collect()
        gc.freeze()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                for task in self._tasks():
                    tasks.create_task(task)
                for connection in self._connections:
                    tasks.create_task(connection.run())
        finally:
            await self.close()

    def drain(self) -> None:
        for connection in self._connections:
            connection.drain()

    async def close(self) -> None:
        """What `run` left open when it was cancelled; at most about 5 s."""
        closing = [connection.closed() for connection in self._connections]
        try:
            async with asyncio.timeout(CLOSE_SECONDS + 1):
                await asyncio.gather(*closing)
        except TimeoutError:
            _log.debug("connections were not closed in time", exchange=self.name)

    def problems(self) -> dict[str, str]:
        if self._loading is not None:
            return {"markets": self._loading}
        found = {f"{pair.channel} {pair.symbol}": why for pair, why in self._refused.items()}
        for connection in self._connections:
            found |= connection.problems()
        return found

    def subscriptions(self) -> Counter[str]:
        states: Counter[str] = Counter(starting=0, active=0, waiting=0, refused=len(self._refused), given_up=0)
        if self._loading is not None:
            return states
        for connection in self._connections:
            states.update(connection.states().values())
        return states

    def connections(self) -> int:
        return sum(connection.open for connection in self._connections)

    def frames(self) -> int:
        return sum(connection.frames for connection in self._connections)

    @property
    def _only_frames(self) -> bool:
        """Whether frames are recorded as they come, and nothing else."""
        return self._raw is not None and self._raw.only

    # -- its start

    def _url(self, url: str) -> str:
        """Where it is found, with `endpoint` in the exchange's place."""
        return str(localized(url, self._settings.endpoint)) if self._settings.endpoint else url

    async def _load(self, rest: Rest) -> None:
        backoff = Backoff(self._ingestion.reconnect_delay, lambda: random.uniform(0.5, 1))
        while True:
            try:
                markets = await self._markets(rest)
                break
            except (RestError, msgspec.MsgspecError) as error:
                self._loading = f"markets were not loaded, {type(error).__name__}: {error}"
                self._metrics.errors[type(error).__name__] += 1
                delay = max(getattr(error, "retry_seconds", 0.0), backoff.failed(0.0))
                _log.warning(
                    "markets were not loaded", exchange=self.name, error=str(error), retry_seconds=round(delay, 1)
                )
                await asyncio.sleep(delay)
        for pair in self._asked:
            if pair.symbol in markets:
                self.market_ids[pair.symbol] = markets[pair.symbol]
            else:
                self._refuse(pair, markets)
        _log.info("markets were loaded", exchange=self.name, markets=len(markets))

    def _refuse(self, pair: Pair, markets: Mapping[str, str]) -> None:
        close = difflib.get_close_matches(pair.symbol, list(markets), 1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        self._refused[pair] = f"{self.name} has no market {pair.symbol!r}{meant}: correct the configuration"
        self._metrics.errors["refused_subscription"] += 1
        _log.error(
            "subscription was refused",
            exchange=self.name,
            channel=pair.channel,
            symbol=pair.symbol,
            why=self._refused[pair],
        )

    def _begin(self, rest: Rest) -> None:
        self._started(rest)
        around = Around(
            self.name,
            tls.context(),
            self._sink,
            self._metrics,
            self._ingestion,
            Pace(DIAL_SECONDS, 1),
            self._settings.silence_seconds,
            self.REQUEST_SECONDS,
            self._raw,
        )
        known = [pair for pair in self._asked if pair not in self._refused]
        self._connections = [
            Connection(around, self._url(url), pairs, self._session) for url, pairs in self._planned(known)
        ]
        self._loading = None
        self.loaded.set()

    def _started(self, rest: Rest) -> None:  # noqa: B027  # not every exchange needs REST later
        """Markets are known, nothing is dialled yet."""

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now_ns = time.time_ns()
            for connection in self._connections:
                connection.judge(now_ns)
