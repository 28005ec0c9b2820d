"""The writers of a simulation: real shard writers in processes that die, freeze, and are started again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daedalus.naming import shard_stream
from daedalus_writer.disk import Disk
from daedalus_writer.ownership import Ownership
from daedalus_writer.shard import ShardWriter
from simulation.client import SimulatedClient, as_client
from simulation.network import Connection
from simulation.plan import Death
from simulation.virtual_time import Process, context_of

if TYPE_CHECKING:
    from simulation.world import World

_STARTS = 60


class Running:
    """One run of a writer."""

    def __init__(self, world: World, name: str, process: Process) -> None:
        self._world = world
        self.name = name
        self.process = process
        self.connection = world.network.connect(process)
        self.away_seconds = 0.0
        """Nobody can start it again before, once it is dead."""
        self._parts: list[ShardWriter | Ownership] = []

    async def serve(self) -> None:
        from simulation.world import METRICS

        world = self._world
        client = as_client(SimulatedClient(self.connection))
        disk = Disk(1, METRICS)

        def make(shard: int) -> ShardWriter:
            return ShardWriter(client, world.config, shard, self.name, disk, METRICS)

        if world.plan.by_lease:
            ownership = Ownership(client.jetstream(), world.config.nats, self.name, make)
            self._parts.append(ownership)
            await ownership.run(asyncio.Event())
        else:
            writer = make(0)
            self._parts.append(writer)
            await writer.run(asyncio.Event())

    def stop(self) -> None:
        for part in self._parts:
            part.stop()


class Writers:
    def __init__(self, world: World) -> None:
        self._world = world
        self.deaths: dict[Process, Death] = {}
        self.passed: dict[Process, int] = {}
        self.endings: list[BaseException] = []
        self.starts = 0
        self.off_until = 0.0
        """The machine has no power before."""
        self._planned = list(world.plan.deaths)
        self._running: dict[str, Running] = {}
        """By name, those that are neither dead nor ended; frozen ones too."""
        self._stopping = False

    def start(self) -> None:
        for number in range(self._world.plan.replicas):
            self._start(f"writer-{number}")

    def start_another(self) -> None:
        """Whoever is there stays there."""
        if not self._stopping and self._world.loop.time() >= self.off_until:
            self._start(f"another-{self.starts}")

    def connections(self) -> list[Connection]:
        return [one.connection for one in self._running.values()]

    def kill(self) -> None:
        if self._running:
            self._kill(self._world.random.choice(list(self._running.values())))

    def kill_all(self, away_seconds: float) -> None:
        """As a machine that goes down, and comes back."""
        self.off_until = self._world.loop.time() + away_seconds
        for one in list(self._running.values()):
            self._kill(one, away_seconds)

    def freeze(self, seconds: float) -> None:
        awake = [one for one in self._running.values() if not one.process.frozen]
        if awake:
            self._freeze(self._world.random.choice(awake), seconds)

    def _freeze(self, one: Running, seconds: float) -> None:
        """SIGSTOP; another one is started in its place unless the replicas see to that."""
        world, outside = self._world, context_of(None)
        one.process.frozen = True
        if not world.plan.by_lease:
            world.loop.call_later(world.random.uniform(0.0, seconds), self.start_another, context=outside)
        world.loop.call_later(seconds, world.loop.thaw, one.process, context=outside)

    async def drain(self) -> None:
        """Let the frozen ones come back, end all but one, have that one commit everything, and stop it."""
        world = self._world
        for one in self._running.values():
            if one.process.frozen:
                world.loop.thaw(one.process)
        await asyncio.sleep(world.random.choice((0.0, 0.0, 1.0)))
        self._stopping = True
        if world.plan.by_lease and world.random.random() < 0.5:
            await self._stop(list(self._running.values()))
        keep = list(self._running)[-1] if self._running and world.random.random() < 0.5 else None
        for name, one in list(self._running.items()):
            if name != keep:
                self._kill(one)
        if keep is not None:
            await self._drain(self._running[keep])
        await self._drain(self._start("last"))

    async def _drain(self, one: Running) -> None:
        """Until it has read all, or has ended: a death of the plan, or it was fenced off by one before it."""
        while not self._is_drained(one):
            await asyncio.sleep(0.1)
            if one.name not in self._running:
                return
        await asyncio.sleep(0.1 + self._world.plan.quiet_seconds)
        await self._stop([one])

    def _is_drained(self, last: Running) -> bool:
        """Whether everything was delivered to this writer."""
        server = self._world.server
        return all(
            any(
                consumer.owner is last.connection and consumer.pending() == 0
                for consumer in server.consumers(shard_stream(shard))
            )
            for shard in range(self._world.plan.shards)
        )

    async def _stop(self, those: list[Running]) -> None:
        for one in those:
            one.stop()
        while any(self._running.get(one.name) is one for one in those):
            await asyncio.sleep(0.1)

    def _start(self, name: str) -> Running:
        world = self._world
        self.starts += 1
        assert self.starts < _STARTS, f"writers end again and again: {self.endings[-3:]}"
        process = Process(name)
        one = self._running[name] = Running(world, name, process)
        if self._planned and not world.calm:
            death = self._planned.pop(0)
            self.deaths[process] = death
            if death.by == "turn":
                process.turns_left = death.count
                if death.frozen_seconds:
                    process.on_last_turn = lambda: self._freeze(one, death.frozen_seconds)
        process.on_death = lambda: self._ended(one)
        context = context_of(process)
        task = world.loop.create_task(one.serve(), name=name, context=context)
        task.add_done_callback(lambda task: self._done(one, task), context=context_of(None))
        return one

    def _done(self, one: Running, task: asyncio.Task[None]) -> None:
        """It ended by itself."""
        if one.process.dead:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.endings.append(error)
        one.process.kill()

    def _kill(self, one: Running, away_seconds: float = 0.0) -> None:
        one.away_seconds = away_seconds
        one.process.kill()

    def _ended(self, one: Running) -> None:
        if self._running.get(one.name) is one:
            del self._running[one.name]
        if not self._stopping:
            world = self._world
            away = one.away_seconds + world.random.uniform(0.0, 0.5)
            world.loop.call_later(away, self._start_again, one.name, context=context_of(None))

    def _start_again(self, name: str) -> None:
        alone = not any(not one.process.frozen for one in self._running.values())
        if not self._stopping and name not in self._running and (self._world.plan.by_lease or alone):
            self._start(name)
