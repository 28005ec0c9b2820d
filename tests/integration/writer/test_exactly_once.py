"""The writer as a real process against a real server: killed, restarted, fenced off; every record once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from daedalus import broker
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from daedalus.wire import NS_PER_HOUR
from support.batches import HOUR, Market, check_exactly_once, segments
from support.drained import catalog_entries, wait_until_drained
from support.nats import NatsServer
from support.processes import Process

CONFIG = """
ingestion: {{flush_interval_seconds: 0.2, segment_max_age_seconds: {age}, raw_format: {form}}}
nats: {{url: "{url}", shards: {shards}, duplicate_window_seconds: 30, lease_seconds: 2}}
storage: {{root: "{root}"}}
"""


def configure(
    directory: Path, server: NatsServer, *, age: float = 3600, shards: int = 1, form: str = "parquet"
) -> Path:
    path = directory / "config.yaml"
    path.write_text(CONFIG.format(url=server.url, root=directory / "data", age=age, shards=shards, form=form))
    return path


async def wait_until_read(writer: Process, market: Market, seconds: float = 60.0) -> None:
    """Until the writer's own count of what it read covers what was sent since it started."""
    deadline = time.monotonic() + seconds
    while writer.metric("daedalus_writer_received_records_total") < sum(market.sent.values()):
        assert time.monotonic() < deadline, writer.log.read_text()[-3000:]
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
async def test_stop_commits_everything(nats_server: NatsServer, tmp_path: Path, form: str) -> None:
    """A clean stop leaves every record in ready/, an entry for every file, and nothing in active/."""
    config = configure(tmp_path, nats_server, form=form)
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    market = Market()
    for number in range(60):
        await market.publish(client.jetstream(), market.batch(HOUR * NS_PER_HOUR + number * 60 * 10**9 * 2))
    writer = Process("writer", config, tmp_path)
    writer.start()
    writer.wait_ready()
    await wait_until_read(writer, market)
    assert writer.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    entries = await catalog_entries(client)
    files = {str(path.relative_to(tmp_path / "data/raw/ready")): path for path in segments(tmp_path / "data")}
    assert {entry.path for entry in entries} == set(files)
    assert {len({entry.hour for entry in entries})} == {2}
    for entry in entries:
        assert files[entry.path].stat().st_size == entry.size_bytes
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()


@pytest.mark.parametrize("shards", [1, 4])
async def test_killed_writer_and_server_lose_and_double_nothing(
    nats_server: NatsServer, tmp_path: Path, shards: int
) -> None:
    """Whatever is killed with -9, and whenever: Parquet holds what JetStream acknowledged, each record once."""
    config = configure(tmp_path, nats_server, age=0.5, shards=shards)
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(shards=shards, duplicate_window_seconds=30, lease_seconds=2))
    market = Market(symbols=8, shards=shards)
    writer = Process("writer", config, tmp_path)
    writer.start()
    chance = random.Random(7)
    now_ns = time.time_ns()
    begun, killed, killed_server = time.monotonic(), 0, 0
    next_kill, next_server_kill = begun + 1.0, begun + 2.0
    while killed < 5 or killed_server < 2:
        await market.publish(client.jetstream(), market.batch(now_ns))
        if time.monotonic() > next_kill:
            writer.kill()
            writer.start()
            killed += 1
            next_kill = time.monotonic() + chance.uniform(0.7, 1.5)
        if time.monotonic() > next_server_kill:
            nats_server.kill()
            nats_server.start()
            killed_server += 1
            next_server_kill = time.monotonic() + 3
    await wait_until_drained(writer, client.jetstream(), shards)
    assert writer.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    await client.close()


async def test_replaced_writer_cannot_commit(nats_server: NatsServer, tmp_path: Path) -> None:
    """A writer that is frozen until another one has its shard is refused when it comes to itself, goes on as a
    stand-by, and what both of them read is in ready/ once."""
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    config = configure(tmp_path, nats_server)
    old, new = Process("writer", config, tmp_path), Process("writer", config, tmp_path)
    old.start()
    old.wait_ready()
    market = Market()
    for _ in range(20):
        await market.publish(client.jetstream(), market.batch(time.time_ns()))
    await wait_until_read(old, market)
    os.kill(old.pid, signal.SIGSTOP)
    new.start()
    new.wait_ready()
    await wait_until_read(new, market)
    os.kill(old.pid, signal.SIGCONT)
    await asyncio.sleep(1.0)
    assert new.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    old.wait_ready()
    assert old.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()


async def test_lease_lost_and_taken_again(nats_server: NatsServer, tmp_path: Path) -> None:
    """A writer that is frozen for longer than its lease, over and over, and finds the shard free again, goes on with
    it as a new run: what it had committed and not yet renamed is not left behind."""
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    market = Market()
    writer = Process("writer", configure(tmp_path, nats_server, age=0.2), tmp_path)
    writer.start()
    writer.wait_ready()
    for freeze in range(2):
        until = time.monotonic() + 1.0 + 0.07 * freeze
        while time.monotonic() < until:
            await market.publish(client.jetstream(), market.batch(time.time_ns()))
        os.kill(writer.pid, signal.SIGSTOP)
        await asyncio.sleep(2.5)
        os.kill(writer.pid, signal.SIGCONT)
    await wait_until_drained(writer, client.jetstream(), 1)
    assert writer.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()


async def test_replicas_share_shards_and_take_over(nats_server: NatsServer, tmp_path: Path) -> None:
    """Three replicas share four shards while it rains records; one is killed, one is stopped, one comes late: every
    shard has an owner again within the lease, and every record is in ready/ once."""
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(shards=4, lease_seconds=2))
    config = configure(tmp_path, nats_server, age=0.5, shards=4)
    market = Market(symbols=8, shards=4)
    replicas = [Process("writer", config, tmp_path) for _ in range(3)]
    events = {
        0: replicas[0].start,
        1: replicas[1].start,
        3: replicas[0].kill,
        5: replicas[2].start,
        7: replicas[1].terminate,
    }
    begun = time.monotonic()
    while (seconds := time.monotonic() - begun) < 9:
        await market.publish(client.jetstream(), market.batch(time.time_ns()))
        for at in [at for at in events if seconds > at]:
            events.pop(at)()
    last = replicas[2]
    assert await asyncio.to_thread(replicas[1].wait, 60) == 0
    await wait_until_drained(last, client.jetstream(), 4)
    assert last.stop() == 0
    assert "shard was released" in replicas[1].told()
    check_exactly_once(tmp_path / "data", market)
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()


async def test_message_nobody_can_read_is_kept_aside(nats_server: NatsServer, tmp_path: Path) -> None:
    """A message that is no batch is kept as a file and counted, and the rest goes on."""
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    market = Market()
    await client.jetstream().publish("md.0.binance.trade", b"\xffnonsense")
    await market.publish(client.jetstream(), market.batch(time.time_ns()))
    writer = Process("writer", configure(tmp_path, nats_server), tmp_path)
    writer.start()
    writer.wait_ready()
    await wait_until_read(writer, market)
    assert writer.metric("daedalus_writer_errors_total") == 1
    assert writer.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    assert [path.read_bytes() for path in (tmp_path / "data/raw/rejected").iterdir()] == [b"\xffnonsense"]
    await client.close()
