"""A disk that fills up under the writer, and is freed again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daedalus import broker
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from support.batches import Market, check_exactly_once
from support.nats import NatsServer
from support.processes import Process

CONFIG = """
ingestion: {{flush_interval_seconds: 0.1, segment_max_age_seconds: 1}}
nats: {{url: "{url}", lease_seconds: 2}}
storage: {{root: "{root}"}}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB and 200 files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_full_disk_is_waited_for(nats_server: NatsServer, tmp_path: Path, small_disk: Path) -> None:
    """On a full disk the writer stops reading, says so in /readyz, in a metric and in its log, and when there is room
    again goes on by itself: nothing is lost or doubled, and nothing half-written is left."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(url=nats_server.url, root=small_disk / "data"))
    client = await broker.connect(nats_server.url, "test")
    js = client.jetstream()
    await ensure_streams(js, Nats(lease_seconds=2))
    market = Market(symbols=3)
    writer = Process("writer", config, tmp_path)
    writer.start()
    writer.wait_ready()
    for _ in range(10):
        await market.publish(js, market.batch(time.time_ns()))
    filler = small_disk / "filler"
    with filler.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(os.urandom(65536))
            file.flush()
    deadline = time.monotonic() + 30
    while "No space left on device: free space" not in writer.get("/readyz"):
        assert time.monotonic() < deadline, writer.told()
        await market.publish(js, market.batch(time.time_ns()))
        await asyncio.sleep(0.05)
    assert writer.metric("daedalus_writer_errors_total") >= 1
    for _ in range(50):
        await market.publish(js, market.batch(time.time_ns()))
    filler.unlink()
    await asyncio.to_thread(writer.wait_ready)
    while writer.metric("daedalus_writer_received_records_total") < sum(market.sent.values()):
        assert time.monotonic() < deadline + 30, writer.told()
        await asyncio.sleep(0.1)
    assert writer.stop() == 0
    assert "disk refused a write" in writer.told(100_000)
    check_exactly_once(small_disk / "data", market)
    assert [path for path in (small_disk / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()


async def test_start_on_full_disk_waits(nats_server: NatsServer, tmp_path: Path, small_disk: Path) -> None:
    """A writer that was killed after a commit and is started on a disk that takes no file any more waits without reading,
    says so in /readyz, in a metric and in its log, and recovers when there is room again: nothing is lost or doubled."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(url=nats_server.url, root=small_disk / "data"))
    client = await broker.connect(nats_server.url, "test")
    js = client.jetstream()
    await ensure_streams(js, Nats(lease_seconds=2))
    market = Market(symbols=3)
    for _ in range(10):
        await market.publish(js, market.batch(time.time_ns()))
    writer = Process("writer", config, tmp_path, environment={"DAEDALUS_CRASH_AT": "entry:1"})
    writer.start()
    await asyncio.to_thread(writer.wait, 30)
    writer.forget("DAEDALUS_CRASH_AT")
    for spool in small_disk.rglob("*.spool"):
        spool.unlink()  # a start would free that space
    filler = small_disk / "filler"
    filler.mkdir()
    with pytest.raises(OSError, match="No space left"):
        for number in range(1000):
            (filler / str(number)).touch()
    writer.start()
    deadline = time.monotonic() + 30
    while "No space left on device: free space" not in writer.get("/readyz"):
        assert time.monotonic() < deadline, writer.told()
        assert writer.running, writer.told()
        await asyncio.sleep(0.05)
    assert writer.metric("daedalus_writer_errors_total") >= 1
    assert writer.metric("daedalus_writer_received_records_total") == 0
    assert "disk refused a write" in writer.told(100_000)
    shutil.rmtree(filler)
    await asyncio.to_thread(writer.wait_ready)
    while writer.metric("daedalus_writer_received_records_total") < sum(market.sent.values()):
        assert time.monotonic() < deadline + 30, writer.told()
        await asyncio.sleep(0.1)
    assert writer.stop() == 0
    check_exactly_once(small_disk / "data", market)
    await client.close()
