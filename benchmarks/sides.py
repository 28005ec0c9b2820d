"""The two sides of the comparison, as processes on one nats-server: ours, and the writer that the description has."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from benchmarks.process import Measured
from daedalus import broker
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, LEASE_BUCKET, shard_stream
from local.nats_server import NatsServer, free_port

_AT_PACE = """
import sys
from daedalus_writer import __main__, shard
assert hasattr(shard, "_TICK_SECONDS"), "the writer's tick has another name now: tell benchmarks/sides.py"
shard._TICK_SECONDS = 0.02
sys.exit(__main__.main())
"""
"""Our writer, looking at its clock so often that a load read as fast as it goes is spooled in the pieces of its pace."""


class Run(NamedTuple):
    """What one run has cost, without the process's start."""

    records: int
    cpu_seconds: float
    commit_cpu_seconds: float
    """Part of it: from the order to stop, which commits what is open, to the end. 0: not told apart."""
    wall_seconds: float
    rss_bytes: int
    files: int
    file_bytes: int
    written_bytes: int

    @property
    def microseconds(self) -> float:
        return self.cpu_seconds / self.records * 1e6

    @property
    def commit_microseconds(self) -> float:
        return self.commit_cpu_seconds / self.records * 1e6

    @property
    def bytes(self) -> float:
        return self.file_bytes / self.records

    @property
    def written_per_record(self) -> float:
        return self.written_bytes / self.records

    @property
    def written_per_byte(self) -> float:
        return self.written_bytes / max(1, self.file_bytes)


class Ours:
    """`daedalus-writer`, as `make run` starts it. `speed` says how much faster than in its own time the load was
    published: the writer goes by the server's clock, so its 5 s become that much shorter.
    """

    name = "ours"

    def __init__(self, server: NatsServer, directory: Path, *, speed: float = 1.0, at_pace: bool = False) -> None:
        self.root = _fresh(directory / self.name)
        asyncio.run(_forget(server.url))
        config = self.root / "config.yaml"
        config.write_text(
            f"nats: {{url: '{server.url}', max_mb: 16000}}\n"
            f"storage: {{root: '{self.root / 'data'}'}}\n"
            f"ingestion: {{flush_interval_seconds: {5 / speed:.4f}, pull_batch: {64 if at_pace else 256}}}\n"
        )
        self._port = free_port()
        program = ["-c", _AT_PACE] if at_pace else ["-m", "daedalus_writer"]
        options = ["--config", str(config), "--instance", "bench", "--http-port", str(self._port)]
        self.process = Measured([sys.executable, *program, *options], self.root)
        _until(lambda: "ok" in self._get("/readyz"), self.process)

    def finish(self, last_sequence: int) -> float:
        """Wait until the stream is read, then stop. Returns the CPU seconds at the order to stop."""
        _until(lambda: self._sequence() >= last_sequence, self.process)
        return self.process.cpu_seconds()

    def _sequence(self) -> float:
        found = re.search(r"^daedalus_writer_sequence\{.*\} (\S+)$", self._get("/metrics"), re.MULTILINE)
        return float(found[1]) if found else -1.0

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return ""


class Peer:
    """`benchmarks.seed_writer`."""

    name = "peer"

    def __init__(self, server: NatsServer, directory: Path, *arguments: str) -> None:
        self.root = _fresh(directory / self.name)
        command = ["-m", "benchmarks.seed_writer", "--url", server.url, "--root", str(self.root / "data")]
        self.process = Measured([sys.executable, *command, *arguments], self.root)
        _until(lambda: "ready" in self.process.log.read_text(), self.process, 0.02)


class Life(NamedTuple):
    """CPU seconds of a process that starts, has nothing to do, and stops."""

    start: float
    stop: float


def idle_life(server: NatsServer, directory: Path, side: type[Ours | Peer]) -> Life:
    process = side(server, directory).process
    time.sleep(0.5)
    start = process.cpu_seconds()
    return Life(start, process.end() - start)


def run_ours(
    server: NatsServer, directory: Path, records: int, idle: Life, speed: float, *, at_pace: bool = False
) -> Run:
    """Ours reads all that the server has, and commits it. Every record has to be in ready/."""
    began = time.monotonic()
    side = Ours(server, directory, speed=speed, at_pace=at_pace)
    try:
        stop_seconds = side.finish(asyncio.run(_last_sequence(server.url)))
        total = side.process.end()
    finally:
        side.process.kill()
    wall = time.monotonic() - began
    rows, files, size = _files(side.root / "data")
    assert rows == records, f"expected {records} rows in ready/, found {rows}"
    process = side.process
    read, commit = stop_seconds - idle.start, total - stop_seconds - idle.stop
    return Run(records, read + commit, commit, wall, process.peak_rss_bytes, files, size, process.written_bytes)


def run_peer(server: NatsServer, directory: Path, records: int, idle: Life, *arguments: str) -> Run:
    """The peer's reads the first `records` records, writes them, closes every file, and ends."""
    began = time.monotonic()
    side = Peer(server, directory, "--records", str(records), *arguments)
    try:
        total = side.process.wait()
    finally:
        side.process.kill()
    wall = time.monotonic() - began
    rows, files, size = _files(side.root / "data")
    if "--discard" not in arguments:  # it stops between two messages, so it may have read the rest of one
        assert records <= rows <= records + 1_000, f"expected {records} rows in ready/, found {rows}"
        records = rows
    cpu_seconds, process = total - idle.start - idle.stop, side.process
    return Run(records, cpu_seconds, 0.0, wall, process.peak_rss_bytes, files, size, process.written_bytes)


def _files(root: Path) -> tuple[int, int, int]:
    """Rows, files and bytes in ready/."""
    files = list((root / "raw" / "ready").rglob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    return rows, len(files), sum(file.stat().st_size for file in files)


def columns(root: Path) -> dict[str, Sequence[str]]:
    """Channel → the columns of its files."""
    ready = root / "raw" / "ready" / "ccxt"
    return {folder.name: sorted(pq.read_schema(next(folder.rglob("*.parquet"))).names) for folder in ready.iterdir()}


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _fresh(directory: Path) -> Path:
    remove(directory)
    directory.mkdir(parents=True)
    return directory


async def _forget(url: str) -> None:
    """Nothing is committed: empty the catalog, the checkpoints and the leases, as far as they are there."""
    client = await broker.connect(url, "bench")
    js = client.jetstream()
    there = {info.config.name for info in await js.streams_info()}
    for stream in {CATALOG_STREAM, f"KV_{CHECKPOINT_BUCKET}", f"KV_{LEASE_BUCKET}"} & there:
        await js.purge_stream(stream)
    await broker.close(client)


async def _last_sequence(url: str) -> int:
    client = await broker.connect(url, "bench")
    state = (await client.jetstream().stream_info(shard_stream(0))).state
    await broker.close(client)
    return int(state.last_seq)


def _until(condition: Callable[[], bool], process: Measured, every_seconds: float = 0.25) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        if not process.running or time.monotonic() > deadline:
            raise RuntimeError(f"the writer did not get there: {process.log.read_text()[-2000:]}")
        time.sleep(every_seconds)
