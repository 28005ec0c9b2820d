"""One round: real writers and a real nats-server, and what is done to them, all chosen by a seed.

The seed chooses what happens and when; how far the processes are at that moment it cannot choose. For that there is the
simulation. So a round that failed may hold when it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal, get_args

import msgspec
import nats.errors
from nats.js import JetStreamContext

from daedalus import broker, wire
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from daedalus_writer.steps import STEPS
from support.batches import Market, check_exactly_once, segments
from support.drained import catalog_entries, wait_until_drained
from support.nats import NatsServer
from support.network_cut import NetworkCut
from support.processes import Process

CONFIG = """
ingestion: {{flush_interval_seconds: 0.2, segment_max_age_seconds: {age}}}
nats: {{url: "nats://127.0.0.1:{port}", shards: {shards}, duplicate_window_seconds: {window}, lease_seconds: 2, retain_hours: 0}}
storage: {{root: "{root}"}}
"""
SECONDS = 5.0
SECONDS_WITH_TRIM = 40.0
"""A writer trims its stream every 30 s, and may have been killed in the fifth."""
WINDOW_SECONDS = 20
"""What is younger may come again, and is never trimmed."""
START_SECONDS = STOP_SECONDS = DRAIN_SECONDS = 120.0
"""Nobody is judged by the clock: that is for a process that hangs."""
_CRASH_AT = "DAEDALUS_CRASH_AT"
Fault = Literal["kill_writer", "kill_server", "kill_both", "freeze_writer", "cut_network", "full_disk"]


class Plan(msgspec.Struct, frozen=True):
    seed: int
    shards: int
    replicas: int
    segment_seconds: float
    faults: list[tuple[float, Fault]]
    crash_at: str | None
    """Where each writer kills itself once: a step, and the how-manieth time; every second round."""

    @property
    def seconds(self) -> float:
        return SECONDS_WITH_TRIM if _step(self.crash_at or "") == "trimmed" else SECONDS


def plan_of(seed: int) -> Plan:
    random = Random(seed)
    step = STEPS[seed // 2 % len(STEPS)]
    times = 1 if step in ("taken", "recovered", "trimmed") else random.randint(1, 3)
    return Plan(
        seed=seed,
        shards=random.choice((1, 4)),
        replicas=random.choice((1, 3)),
        segment_seconds=random.choice((0.3, 1.0)),
        faults=sorted(
            (random.uniform(0.5, SECONDS), random.choice(get_args(Fault))) for _ in range(random.randint(1, 4))
        ),
        crash_at=f"{step}:{times}" if seed % 2 == 0 else None,
    )


class Round:
    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self._directory = directory
        self._random = Random(plan.seed)
        self._disk = directory / "disk"
        self._server = NatsServer(directory / "nats")
        self._network = NetworkCut(self._server.port)
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._started: list[Process] = []
        self.happened = Counter({f"{plan.shards} shards, {plan.replicas} writers": 1})
        """What was done, and how the writers ended: for the count over all rounds."""
        config = directory / "config.yaml"
        config.write_text(
            CONFIG.format(
                age=plan.segment_seconds,
                port=self._network.port,
                shards=plan.shards,
                window=WINDOW_SECONDS,
                root=self._root,
            )
        )
        crash = {_CRASH_AT: plan.crash_at} if plan.crash_at else None
        self._writers = [
            Process("writer", config, directory, name=f"writer-{number}", environment=crash)
            for number in range(plan.replicas)
        ]
        self._last = Process("writer", config, directory, name="last")

    @property
    def _root(self) -> Path:
        return self._disk / "data"

    async def live(self) -> None:
        """Raises AssertionError when something is lost, doubled, or left."""
        self._disk.mkdir()
        self._mounted = (
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(self._disk)], capture_output=True, check=False
            ).returncode
            == 0
        )
        self._server.start()
        try:
            await self._live()
        finally:
            for one in self._started:
                one.kill()
            self._network.close()
            self._server.kill()
            if self._mounted:
                subprocess.run(["umount", "-l", str(self._disk)], check=True)

    async def _live(self) -> None:
        plan = self.plan
        client = await broker.connect(self._server.url, "test")
        js = client.jetstream()
        await ensure_streams(js, Nats(shards=plan.shards, duplicate_window_seconds=WINDOW_SECONDS, lease_seconds=2))
        market = Market(symbols=8, shards=plan.shards, seed=plan.seed)
        self._started += self._writers
        for one in self._writers:
            one.start()
        await asyncio.to_thread(self._wait_ready)
        begun = time.monotonic()
        self._later = [(begun + at, partial(self._do, fault)) for at, fault in plan.faults]
        while time.monotonic() - begun < plan.seconds:
            batch = market.batch(time.time_ns())
            await market.publish(js, batch)
            if self._random.random() < 0.1:
                await _publish_again(js, batch)
            await asyncio.sleep(0.01)
            self._act()
        while self._later:
            self._act(now=self._later[0][0])
        await asyncio.to_thread(self._stop_all)
        self._started.append(self._last)
        self._last.start()
        await wait_until_drained(self._last, js, plan.shards, DRAIN_SECONDS)
        assert await asyncio.to_thread(self._last.stop, STOP_SECONDS) == 0
        self._check(market, {entry.path for entry in await catalog_entries(client)})
        await client.close()

    def _act(self, now: float | None = None) -> None:
        """Do what is due, and start again who has ended."""
        for due in [due for due in sorted(self._later, key=lambda due: due[0]) if due[0] <= (now or time.monotonic())]:
            self._later.remove(due)
            due[1]()
        for one in self._writers:
            if not one.running:
                self._ended(one)
                one.start()

    def _do(self, fault: Fault) -> None:
        self.happened[fault] += 1
        getattr(self, fault)()

    def _ended(self, one: Process) -> None:
        """By itself: who kills one starts it again."""
        crashed = one.exit_code == -signal.SIGKILL
        self.happened[f"crash at {_step(one.forget(_CRASH_AT))}" if crashed else f"exit code {one.exit_code}"] += 1

    def _wait_ready(self) -> None:
        """Python takes seconds to start where others work too, and a fault before that does nothing."""
        deadline = time.monotonic() + START_SECONDS
        while not all(one.ready() for one in self._writers):
            assert time.monotonic() < deadline, "\n".join(one.told() for one in self._writers)
            time.sleep(0.1)
            self._act()

    def _stop_all(self) -> None:
        for one in self._writers:
            one.terminate()
        for one in self._writers:
            one.wait(STOP_SECONDS)
            self._ended(one)

    def _check(self, market: Market, committed: set[str]) -> None:
        check_exactly_once(self._root, market)
        ready = self._root / "raw" / "ready"
        files = {str(path.relative_to(ready)) for path in segments(self._root)}
        assert files == committed, f"expected an entry for each file, found {files ^ committed} on one side only"
        left = [path for path in (self._root / "raw" / "active").rglob("*") if path.is_file()]
        assert not left, f"expected nothing in active/, found {left}"

    # --- what is done to them

    def kill_writer(self) -> None:
        one = self._random.choice(self._writers)
        one.kill()
        one.start()

    def kill_server(self) -> None:
        self._server.kill()
        self._server.start()

    def kill_both(self) -> None:
        one = self._random.choice(self._writers)
        one.kill()
        self.kill_server()
        one.start()

    def freeze_writer(self) -> None:
        """Longer than its lease or not."""
        pid = self._random.choice(self._writers).pid
        _send(pid, signal.SIGSTOP)
        self._do_later(self._random.uniform(0.3, 4.0), lambda: _send(pid, signal.SIGCONT))

    def cut_network(self) -> None:
        self._network.cut()
        self._do_later(self._random.uniform(0.2, 3.0), self._network.mend)

    def full_disk(self) -> None:
        if not self._mounted:
            return
        filler = self._disk / "filler"
        try:
            with filler.open("ab") as file:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
        except OSError:
            self._do_later(self._random.uniform(0.2, 2.0), lambda: filler.unlink(missing_ok=True))

    def _do_later(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was killed a moment ago
        os.kill(pid, number)


def _step(crash_at: str) -> str:
    return crash_at.partition(":")[0]


async def _publish_again(js: JetStreamContext, batch: tuple[str, wire.Batch]) -> None:
    """As a collector does whose acknowledgement was lost."""
    subject, content = batch
    with contextlib.suppress(nats.errors.Error):
        await js.publish(subject, wire.encode(content), timeout=0.5, headers={"Nats-Msg-Id": content.message_id})
