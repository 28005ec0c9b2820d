"""Observe, judge, report: one poll. What fails is itself reported, beside what was seen last."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from nats.aio.client import Client

from daedalus.config import Config
from daedalus.errors import DaedalusError
from daedalus_supervisor import disk, report
from daedalus_supervisor.discovery import Discovery, Roster
from daedalus_supervisor.figures import read_positions
from daedalus_supervisor.history import History
from daedalus_supervisor.jetstream import JetStream
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.metrics import Metrics
from daedalus_supervisor.report import Observation
from daedalus_supervisor.status import DiskStatus, Status

ANSWER_SECONDS = 1.0
"""How long answers are waited for. Who needs longer has a loop that does not turn."""
DISK_SECONDS = 2.0
"""A disk that takes longer (a network mount that is gone) is left out of this poll."""

_log = structlog.get_logger()


class Watch:
    """What is known from poll to poll. `status` is replaced whole and may be read from any thread."""

    def __init__(self, config: Config, limits: Limits, metrics: Metrics) -> None:
        self._config = config
        self._limits = limits
        self._metrics = metrics
        self._roster = Roster()
        self._history = History()
        self._observation = Observation()
        self._since: float | None = None
        self._reading: asyncio.Task[DiskStatus | None] | None = None
        self._discovery: Discovery | None = None
        self._jetstream: JetStream | None = None
        self.status = Status(observed_at=datetime.now(UTC), healthy=False, health="not looked yet")

    @property
    def problem(self) -> str | None:
        """Why the last poll saw less than all."""
        return self._observation.broker_problem

    async def attach(self, client: Client) -> None:
        """From now on there is somebody to ask."""
        discovery = Discovery(client, self._metrics)
        await discovery.start()
        self._discovery, self._jetstream = discovery, JetStream(client, self._config.nats.shards)

    async def poll(self) -> None:
        """Ask everyone, then replace `status`. Takes a little longer than answers are waited for."""
        now = time.monotonic()
        read, problem = await asyncio.gather(self._disk(), self._ask(now))
        self._metrics.polls.inc()
        if problem is not None:
            self._metrics.errors.inc()
            _log.warning("poll failed", error=problem)
        self._observation = msgspec.structs.replace(
            self._observation,
            seen=self._roster.seen(now),
            disk=read,
            broker_problem=problem,
            watched_seconds=0.0 if self._since is None else now - self._since,
        )
        self.status = report.build(
            self._observation,
            self._history,
            self._limits,
            now,
            datetime.now(UTC),
            self._config.supervisor.poll_seconds,
        )

    async def _ask(self, now: float) -> str | None:
        """Ask services and JetStream side by side; one may answer without the other. Returns what went wrong."""
        if self._discovery is None or self._jetstream is None:
            return f"{self._config.nats.url} is not connected"
        wait_seconds = min(ANSWER_SECONDS, self._config.supervisor.poll_seconds)
        # The streams are listed at the moment at which the writers say how far they have read.
        listing = asyncio.create_task(self._jetstream.streams())
        try:
            self._roster.note(await self._discovery.ask(wait_seconds), now)
            self._since = now if self._since is None else self._since
            streams = await listing
            shards = await self._jetstream.shards(streams, read_positions(self._roster.seen(now)))
            takeovers = await self._jetstream.takeovers()
            uploads = await self._jetstream.waiting_uploads()
        except DaedalusError as error:
            return str(error)
        finally:
            listing.cancel()
            await asyncio.wait({listing})
        self._observation = msgspec.structs.replace(
            self._observation, streams=streams, shards=shards, takeovers=takeovers, waiting_uploads=uploads
        )
        return None

    async def _disk(self) -> DiskStatus | None:
        """In a thread, and in one only: a disk that hangs must not collect them."""
        if self._reading is None or self._reading.done():
            root = Path(self._config.storage.root)
            self._reading = asyncio.create_task(asyncio.to_thread(disk.read, root))
        done, _ = await asyncio.wait({self._reading}, timeout=DISK_SECONDS)
        return self._reading.result() if done else None
