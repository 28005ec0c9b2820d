"""`make soak`: does the writer keep its memory flat, for as long as it runs, while hours end and segments are sealed?

    python -m benchmarks.soak [--minutes 30] [--speed 20] [--rate 4000]

A real nats-server, a real writer, the reference load's 450 partitions. The time in the records runs `speed` times as fast
as the clock, and the writer's intervals are that much shorter. The hours of the load are to come, so none of them is over
by the clock: a segment is closed when its hour brings no more, which is the writer's rule for what is idle.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.footprint import HEADER, Rotation, footprint, forget_peak, growth, line
from benchmarks.load import LINGER_NS, Load, coming_hour
from benchmarks.publish import pace
from daedalus import broker, wire
from daedalus.naming import shard_stream
from daedalus_collector.outbox import ClosedBatch
from local.nats_server import NatsServer
from local.process import Process

SAMPLE_SECONDS = 2.0
PATIENCE_SECONDS = 300.0
IDLE_SECONDS = 10.0
"""What the writer waits after an hour for its last rows; unlike that of an hour's end, it can be configured."""
CONFIG = """
nats: {{url: "{url}", max_mb: 16000, retain_hours: 0}}
storage: {{root: "{root}"}}
ingestion: {{flush_interval_seconds: {flush}, segment_max_idle_seconds: {idle}, segment_max_age_seconds: {age}}}
"""

Key = tuple[str, str, str, int]
"""Exchange, channel, symbol, hour."""
Sums = dict[Key, tuple[int, int]]
"""Records, and the sum of their receive times within the hour in nanoseconds: another record would change it."""


class CountedLoad(Load):
    """Notes what it makes."""

    def __init__(self, start_ns: int, rate: float, linger_ns: int) -> None:
        super().__init__(start_ns, rate=rate, linger_ns=linger_ns)
        self.sums: Sums = {}

    def _closed(self, now_ns: int) -> Iterator[ClosedBatch]:
        for closed in super()._closed(now_ns):
            batch = wire.decode(closed.message)
            for part in batch.parts:
                records = wire.decode_records(batch.channel, part.records)
                offset = sum(record.received_ns for record in records) - len(records) * batch.hour * wire.NS_PER_HOUR
                _add(self.sums, (batch.exchange, batch.channel, part.symbol, batch.hour), len(records), offset)
            yield closed


class Soak:
    """One run in a directory of its own."""

    def __init__(self, directory: Path, speed: float, rate: float) -> None:
        self._speed = speed
        self._rate = rate
        self._server = NatsServer(directory / "nats")
        self._root = directory / "data"
        config = directory / "config.yaml"
        config.write_text(
            CONFIG.format(
                url=self._server.url, root=self._root, flush=5 / speed, idle=IDLE_SECONDS, age=2 * 3600 / speed
            )
        )
        self._writer = Process("writer", config, directory)
        self.rotations: list[Rotation] = []

    def live(self, hours: int) -> list[str]:
        """Through so many hours of the load. Returns what was wrong."""
        self._server.start()
        try:
            load = asyncio.run(self._live(hours))
            return [*growth(self.rotations), *self._missing(load.sums), *self._left(), *self._verified()]
        finally:
            self._writer.kill()
            self._server.kill()

    async def _live(self, hours: int) -> CountedLoad:
        load = CountedLoad(coming_hour(time.time_ns()), self._rate / self._speed, int(LINGER_NS * self._speed))
        over = asyncio.Event()
        self._writer.start()
        await self._until(self._writer.ready)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pace(self._server.url, load, over, self._speed))
            for number in range(hours):
                self.rotations.append(await self._rotation(load))
                print(line(number, self.rotations[-1]), flush=True)
            over.set()
        await self._read_to_the_end()
        self._writer.terminate()
        code = await asyncio.to_thread(self._writer.wait, PATIENCE_SECONDS)
        assert code == 0, f"the writer ended with {code}:\n{self._writer.told()}"
        return load

    async def _rotation(self, load: Load) -> Rotation:
        """Until the load is in its next hour."""
        hour, records, segments = load.now_ns // wire.NS_PER_HOUR, load.records, await self._segments()
        forget_peak(self._writer.pid)
        samples = []
        while load.now_ns // wire.NS_PER_HOUR == hour:
            await asyncio.sleep(SAMPLE_SECONDS)
            assert self._writer.exit_code is None, self._writer.told()
            samples.append(footprint(self._writer.pid))
        return Rotation(samples, load.records - records, await self._segments() - segments)

    async def _segments(self) -> int:
        return int(await asyncio.to_thread(self._writer.metric, "daedalus_writer_sent_segments_total"))

    async def _read_to_the_end(self) -> None:
        client = await broker.connect(self._server.url, "soak")
        last = (await client.jetstream().stream_info(shard_stream(0))).state.last_seq
        await broker.close(client)
        await self._until(lambda: self._writer.metric("daedalus_writer_sequence") >= last)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.5)

    # --- what is wrong

    def _missing(self, sums: Sums) -> Iterator[str]:
        """Every record that was published is in Parquet once."""
        found: Sums = {}
        rows = size = 0
        for path in (self._root / "raw" / "ready").rglob("*.parquet"):
            with pq.ParquetFile(path) as file:
                said = {name.decode(): text.decode() for name, text in file.metadata.metadata.items()}
                hour = int(said["daedalus.hour"])
                times = file.read(columns=["received_ns"])["received_ns"]
            key = (said["daedalus.exchange"], said["daedalus.channel"], said["daedalus.symbol"], hour)
            _add(found, key, len(times), pc.sum(pc.subtract(times, hour * wire.NS_PER_HOUR)).as_py())
            rows, size = rows + len(times), size + path.stat().st_size
        published = sum(count for count, _ in sums.values())
        print(f"{published:,} records published, {rows:,} in Parquet, {size / 1e6:,.0f} MB")
        wrong = sorted(key for key in sums.keys() | found.keys() if sums.get(key) != found.get(key))
        if wrong:
            told = ", ".join(f"{key}: expected {sums.get(key)}, found {found.get(key)}" for key in wrong[:3])
            yield f"{len(wrong)} partitions are not what was published: {told}"

    def _left(self) -> Iterator[str]:
        left = [path for path in (self._root / "raw" / "active").rglob("*") if path.is_file()]
        if left:
            yield f"expected nothing in active/, found {len(left)} files, such as {left[0]}"

    def _verified(self) -> Iterator[str]:
        command = [sys.executable, "-m", "daedalus_writer", "verify", str(self._root), "--nats", self._server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"verify: {done.stdout.strip().splitlines()[-1:]}")
        if done.returncode != 0:
            yield f"verify says {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def _add(sums: Sums, key: Key, count: int, offset: int) -> None:
    before = sums.get(key, (0, 0))
    sums[key] = (before[0] + count, before[1] + offset)


def main() -> int:
    """1 when something grows, or is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--speed", type=float, default=20.0, help="seconds in the records for one of the clock")
    parser.add_argument("--rate", type=float, default=4_000.0, help="records in a second of the clock")
    wanted = parser.parse_args()
    hours = int(wanted.minutes * 60 * wanted.speed / 3600)
    print(f"{hours} hours at {wanted.speed:g} times their speed, {wanted.rate:,.0f} records/s\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory(prefix="daedalus-soak-") as directory:
        problems = Soak(Path(directory), wanted.speed, wanted.rate).live(hours)
    print("\n".join(problems) or "flat, complete, nothing left")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
