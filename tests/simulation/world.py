"""One simulation: a server, a disk, collectors, writers, and what goes wrong between them, all from one seed."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from random import Random
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from daedalus.catalog import decode_entry
from daedalus.config import Config, Ingestion, Nats, Storage
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, LEASE_BUCKET, shard_stream
from daedalus.wire import NS_PER_HOUR
from daedalus_writer import shard as shard_writer
from daedalus_writer.metrics import Metrics
from simulation import plain_segment
from simulation.client import SimulatedClient
from simulation.disk import Disk, SimulatedOs, Tree
from simulation.jetstream import Server
from simulation.market import Market, collect
from simulation.network import Network
from simulation.plan import FAULT_SECONDS, Plan
from simulation.seams import Seam, plain_segments, seams
from simulation.virtual_time import Killed, VirtualLoop, running
from simulation.writers import Writers

_HOUR = 497_123
_BOOTED_SECONDS = 1000.0
_LEASE_SECONDS = 4
_SYNC_SECONDS = 2.0
_DRAIN_SECONDS = 300.0
METRICS = Metrics(CollectorRegistry())


class World:
    """`run` lives through the plan; then `server`, `disk` and `market` say what came of it."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan = plan
        self.root = root
        self.random = Random(plan.seed)
        self.loop = VirtualLoop(self._work_seconds, self._restore)
        self._start_ns = (_HOUR + 1) * NS_PER_HOUR - int(plan.starts_before_hour_seconds * 1e9)
        self._stepped_ns = 0
        self._booted = -_BOOTED_SECONDS
        self._slow_disk = 0.0
        self._killed_at: Tree = {}
        self.lost_entries: set[str] = set()
        """Paths whose entry a power cut took from a server that had not synced it."""
        self.calm = False
        self.disk = Disk(root, self.random, self._called, remembers=any(name == "power_cut" for _, name in plan.faults))
        self.server = Server(self.wall_ns, self.loop.time)
        self.network = Network(self.loop, self.random, self.server)
        self.market = Market(self.random, plan.shards, self.wall_ns)
        self.config = Config(
            ingestion=Ingestion(
                flush_interval_seconds=0.3,
                segment_max_age_seconds=plan.segment_seconds,
                partition_by=["symbol"],
                pull_batch=self.random.choice((8, 256)),
                max_open_segments=self.random.choice((2, 100)),
            ),
            nats=Nats(shards=plan.shards, lease_seconds=_LEASE_SECONDS, retain_hours=0, duplicate_window_seconds=0),
            storage=Storage(root=str(root)),
        )
        self.writers = Writers(self)
        for shard in range(plan.shards):
            self.server.add(shard_stream(shard), f"md.{shard}.>")
        self.server.add(CATALOG_STREAM, "catalog.>")
        self.server.add(f"KV_{CHECKPOINT_BUCKET}", f"$KV.{CHECKPOINT_BUCKET}.>", last_only=True)
        self.server.add(f"KV_{LEASE_BUCKET}", f"$KV.{LEASE_BUCKET}.>", last_only=True, ttl_ns=_LEASE_SECONDS * 10**9)

    def seams(self) -> list[Seam]:
        found = seams(
            clock=SimpleNamespace(monotonic=self.loop.time, time_ns=self.wall_ns),
            files=SimulatedOs(self.disk),
            boot=SimpleNamespace(
                boot_time=lambda: math.floor(self.wall_ns() / 1e9 - (self.loop.time() - self._booted))
            ),
            dice=SimpleNamespace(token_hex=lambda size: self.random.randbytes(size).hex()),
            step=self._passed,
        )
        found.append(Seam("_TRIM_SECONDS", shard_writer._TRIM_SECONDS, self.plan.trim_seconds))
        if not self.plan.parquet:
            found += plain_segments(plain_segment.PlainSegment, plain_segment, plain_segment.Rows)
        return found

    def run(self) -> None:
        """Raises AssertionError when things do not come right in time."""
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self.loop.discard()
            self.disk.close()

    def wall_ns(self) -> int:
        """The clock of the machine, which writers and server share."""
        return self._start_ns + int(self.loop.time() * 1e9) + self._stepped_ns

    async def _live(self) -> None:
        self.writers.start()
        collectors = [
            self.loop.create_task(
                collect(
                    SimulatedClient(self.network.connect(None)),
                    self.market,
                    shard,
                    self.plan.batches,
                    Random(self.plan.seed + shard),
                )
            )
            for shard in range(self.plan.shards)
        ]
        for at, fault in self.plan.faults:
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            getattr(self, fault)()
        await asyncio.sleep(max(0.0, FAULT_SECONDS - self.loop.time()))
        self.calm = True
        self.network.weather.clear()
        self._slow_disk = 0.0
        self.disk.full = False
        await asyncio.gather(*collectors)
        async with asyncio.timeout(_DRAIN_SECONDS):
            await self.writers.drain()

    # --- what goes wrong, each beginning now

    def kill(self) -> None:
        self.writers.kill()

    def kill_server(self) -> None:
        self.network.crash_server(self.random.uniform(0.05, 1.0))

    def disconnect(self) -> None:
        for connection in self.writers.connections():
            self.network.break_off(connection, self.random.uniform(0.05, 3.0))

    def lost_answers(self) -> None:
        self.network.weather.lost_answers = self.random.uniform(0.05, 0.5)
        self._clear_up()

    def slow_network(self) -> None:
        self.network.weather.delay_seconds = self.random.choice((0.3, 2.0, 7.0))
        self._clear_up()

    def unavailable(self) -> None:
        self.network.weather.unavailable = self.random.uniform(0.1, 0.9)
        self._clear_up()

    def mangled_deliveries(self) -> None:
        self.network.weather.mangled_deliveries = self.random.uniform(0.05, 0.3)
        self._clear_up()

    def freeze(self) -> None:
        self.writers.freeze(self.random.uniform(0.2, 4.0))

    def second_writer(self) -> None:
        self.writers.start_another()

    def full_disk(self) -> None:
        self.disk.full = True
        self.loop.call_later(self.random.uniform(0.1, 1.5), setattr, self.disk, "full", False)

    def slow_disk(self) -> None:
        self._slow_disk = self.random.choice((0.05, 0.5, 2.0))
        self.loop.call_later(self.random.uniform(0.3, 1.5), setattr, self, "_slow_disk", 0.0)

    def clock_forward(self) -> None:
        self._stepped_ns += int(self.random.choice((0.5, 5.0, 60.0, 7200.0)) * 1e9)

    def clock_back(self) -> None:
        """The server's, too, by which the leases of dead replicas expire."""
        self._stepped_ns -= int(self.random.choice((0.5, 5.0, 60.0, 7200.0)) * 1e9)

    def power_cut(self) -> None:
        """Writers and server are on one machine, the collectors on another."""
        away = self.random.uniform(1.1, 2.0)
        self._booted = self.loop.time() + away - 1.0
        self.writers.kill_all(away)
        self.network.crash_server(away)
        self.disk.cut_power()
        if self.plan.always_synced:
            return
        for stream in self.server.streams():
            synced_at = self.loop.time() - self.random.uniform(0.0, _SYNC_SECONDS)
            synced = max(
                (one.sequence for one in stream.messages.values() if one.stored_at <= synced_at),
                default=stream.first - 1,
            )
            for lost in stream.roll_back(self.random.randint(synced, stream.last)):
                if lost.message_id is not None:
                    self.market.batches[lost.message_id].lost += 1
                elif stream.name == CATALOG_STREAM and not lost.subject.endswith(".owner"):
                    self.lost_entries.add(decode_entry(lost.data).path)

    def _clear_up(self) -> None:
        self.loop.call_later(self.random.uniform(0.3, 1.5), self.network.weather.clear)

    # --- where the writer's code stands on us

    def _work_seconds(self) -> float:
        return self.random.random() * (self._slow_disk or 0.002)

    def _passed(self, step: str) -> None:
        self._count(step)

    def _called(self, _call: str) -> None:
        self._count("call")

    def _count(self, what: str) -> None:
        """Kill the running process here when its death says so."""
        process = running()
        if process is None:
            return
        if process.dead:
            raise Killed
        death = self.writers.deaths.get(process)
        if death is None or death.by != what:
            return
        count = self.writers.passed.get(process, 0) + 1
        self.writers.passed[process] = count
        if count == death.count:
            self._killed_at = self.disk.tree()
            process.kill()
            raise Killed

    def _restore(self) -> None:
        self.disk.restore(self._killed_at)
