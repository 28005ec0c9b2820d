"""Which shards this replica writes: each shard has one owner, by lease, and the live replicas share them evenly.

Every replica says that it is there, reads who else is, and computes for itself which shards are its own. One that has a
shard too many drains it, commits, and lets go; one that died loses its leases when they expire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext

from daedalus.config import Nats
from daedalus.errors import FencedError
from daedalus.lease import RENEWALS_PER_TTL, Lease, Members, rendezvous
from daedalus_writer.shard import ShardWriter

_MEMBERS = "writers"

_log = structlog.get_logger()


class Owned:
    """A shard that is ours: its lease, its writer, and the task that runs it."""

    def __init__(self, lease: Lease, writer: ShardWriter) -> None:
        self.lease = lease
        self.writer = writer
        self.recovered = asyncio.Event()
        self.task = asyncio.create_task(writer.run(self.recovered))


class Ownership:
    """Runs the shards that fall to this replica, until it is stopped."""

    def __init__(self, js: JetStreamContext, config: Nats, instance: str, make: Callable[[int], ShardWriter]) -> None:
        self._js = js
        self._config = config
        self._instance = instance
        self._make = make
        self._members = Members(js, _MEMBERS, float(config.lease_seconds))
        self._owned: dict[int, Owned] = {}
        self._free: dict[int, Lease] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    @property
    def writers(self) -> list[ShardWriter]:
        return [owned.writer for owned in self._owned.values()]

    async def run(self, settled: asyncio.Event) -> None:
        """Until `stop`, and then until every shard is drained. Sets `settled` when the first shards are recovered.

        Raises what a shard raises, except that another writer has it now.
        """
        ttl = float(self._config.lease_seconds)
        member = await Lease.of(self._js, f"{_MEMBERS}.{self._instance}", self._instance, ttl)
        for shard in range(self._config.shards):
            self._free[shard] = await Lease.of(self._js, f"shards.{shard}", self._instance, ttl)
        try:
            while True:
                await self._round(member, settled)
                if self._stopping and not self._owned:
                    break
                self._wake.clear()
                await self._wait(ttl / RENEWALS_PER_TTL, settled)
        finally:
            for owned in self._owned.values():
                owned.task.cancel()
            await member.release()

    def stop(self) -> None:
        self._stopping = True
        for owned in self._owned.values():
            owned.writer.stop()
        self._wake.set()

    async def _wait(self, seconds: float, settled: asyncio.Event) -> None:
        """Until the next round is due: by time, by `stop`, or because a shard has ended or recovered."""
        unsettled = [] if settled.is_set() else [owned.recovered.wait() for owned in self._owned.values()]
        extra = [asyncio.ensure_future(one) for one in (self._wake.wait(), *unsettled)]
        tasks = [owned.task for owned in self._owned.values()]
        await asyncio.wait([*extra, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in extra:
            one.cancel()

    async def _round(self, member: Lease, settled: asyncio.Event) -> None:
        """Renew what is ours, let go what is not any more, take what is free."""
        for shard, owned in list(self._owned.items()):
            if owned.task.done():
                await self._ended(shard, owned)
            elif not await owned.lease.acquire():
                _log.error("lease was lost", shard=shard)
                owned.task.cancel()
        if self._stopping:
            for owned in self._owned.values():
                owned.writer.stop()  # one that was being taken when `stop` came has not heard of it
            await member.release()  # so that the others wait for our leases from now on, and not for our expiry
            return
        wanted = await self._wanted(member)
        for shard in wanted - set(self._owned):
            if await self._free[shard].acquire():
                _log.info("shard was taken", shard=shard)
                self._owned[shard] = Owned(self._free.pop(shard), self._make(shard))
        for shard in set(self._owned) - wanted:
            self._owned[shard].writer.stop()
        if all(owned.recovered.is_set() for owned in self._owned.values()):
            settled.set()

    async def _wanted(self, member: Lease) -> set[int]:
        """The shards that fall to us; what we have while NATS does not answer."""
        try:
            await member.acquire()
            live = await self._members.live()
        except (nats.errors.Error, nats.js.errors.Error) as error:
            _log.warning("replicas could not be read", error_type=type(error).__name__)
            return set(self._owned)
        live = live or [self._instance]
        return {shard for shard in range(self._config.shards) if rendezvous(live, str(shard)) == self._instance}

    async def _ended(self, shard: int, owned: Owned) -> None:
        del self._owned[shard]
        self._free[shard] = owned.lease
        if owned.task.cancelled():
            return  # the lease was lost, and is not ours to release
        try:
            owned.task.result()
        except* FencedError as errors:
            _log.error("shard was taken over by another writer", shard=shard, error=str(errors.exceptions[0]))
        await owned.lease.release()
        _log.info("shard was released", shard=shard)
