"""A service's whole life, as a real process: the writer stands for all, its life is the shared one."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from unittest.mock import AsyncMock

import nats.errors
import pytest
from nats.js.api import KeyValueConfig
from nats.js.errors import ServiceUnavailableError
from nats.js.kv import KeyValue

from daedalus import broker, catalog, streams
from daedalus.config import Config, Nats
from daedalus.errors import EXIT_CONFIG, PermanentError
from daedalus.naming import CATALOG_STREAM, LEASE_BUCKET
from daedalus.service import Service
from support import launcher
from support.nats import NatsServer, free_port
from support.processes import Process


def write_config(directory: Path, url: str) -> Path:
    path = directory / "config.yaml"
    path.write_text(f"nats: {{url: '{url}'}}\nstorage: {{root: {directory / 'data'}}}\n")
    return path


@pytest.mark.parametrize("service", ["collector", "writer", "sync", "supervisor"])
def test_mistakes_end_with_78_and_start_nothing(tmp_path: Path, service: str) -> None:
    """Every service refuses a configuration with mistakes at once, with exit code 78 and all of them."""
    path = tmp_path / "config.yaml"
    path.write_text("nats: {shards: 0}\nstorage: {backend: ftp}\n")
    command = [f"daedalus_{service}", "--config", str(path)]
    for extra in ([], ["--check-config"]):
        ended = launcher.run(*command, *extra)
        assert ended.returncode == EXIT_CONFIG
        assert "nats.shards: expected int >= 1, was 0" in ended.stderr
        assert "storage.backend: expected one of local, s3, was 'ftp'" in ended.stderr
    path.write_text("")
    ended = launcher.run(*command, "--check-config")
    assert (ended.returncode, ended.stdout) == (0, f"{path}: ok\n")


def test_stop_while_nats_is_away(tmp_path: Path) -> None:
    """A service that still waits for NATS is alive, not ready, and ends cleanly when asked."""
    process = Process("writer", write_config(tmp_path, f"nats://127.0.0.1:{free_port()}"), tmp_path)
    process.start()
    while not process.get("/livez"):
        assert process.running, process.told()
    assert process.get("/livez") == "ok\n"
    assert "started: still starting" in process.get("/readyz")
    assert process.get("/nothing").startswith("not here; there are: /livez /readyz /metrics")
    assert process.stop(20) == 0


async def test_discovery_answers(nats_server: NatsServer, tmp_path: Path) -> None:
    """A service answers NATS' service discovery with its readiness and every metric."""
    process = Process("writer", write_config(tmp_path, nats_server.url), tmp_path)
    process.start()
    process.wait_ready()
    client = await broker.connect(nats_server.url, "test")
    stats = json.loads((await client.request("$SRV.STATS.daedalus-writer", timeout=5)).data)
    status = stats["endpoints"][0]["data"]
    assert stats["name"] == "daedalus-writer"
    assert (status["ready"], status["problems"], status["service"]) == (True, {}, "writer")
    assert status["metrics"]["daedalus_memory_bytes"] > 10_000_000
    assert status["metrics"]["daedalus_ready"] == 1
    await client.close()
    assert process.stop(20) == 0


async def test_streams_are_made_with_limits_and_updated(nats_server: NatsServer) -> None:
    """Streams are created with explicit limits, by several services at once, and follow the configuration later."""
    client = await broker.connect(nats_server.url, "test")
    js = client.jetstream()
    await asyncio.gather(*(streams.ensure_streams(js, Nats(shards=2, max_mb=100)) for _ in range(4)))
    for name in ("MD-0", "MD-1"):
        config = (await js.stream_info(name)).config
        assert (config.max_bytes, str(config.discard), config.duplicate_window) == (50_000_000, "new", 120)
    await streams.ensure_streams(js, Nats(shards=2, max_mb=200, duplicate_window_seconds=60))
    config = (await js.stream_info("MD-1")).config
    assert (config.max_bytes, config.duplicate_window) == (100_000_000, 60)
    assert (await js.stream_info(CATALOG_STREAM)).config.max_bytes == 1_024_000_000
    await client.close()


async def test_start_outlives_an_outage(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that goes away while the buckets are made, or the service announces itself, is waited for."""
    client = await broker.connect(nats_server.url, "test")
    js = client.jetstream()
    service = Service("writer", Config(), argparse.Namespace(instance="w-1"))
    with monkeypatch.context() as gone:
        gone.setattr(client, "flush", AsyncMock(side_effect=nats.errors.FlushTimeoutError))
        await service.announce(client)
    status = await client.request("daedalus.writer.w-1.status", timeout=5)
    assert json.loads(status.data)["service"] == "writer"
    create, refused = js.create_key_value, [nats.errors.TimeoutError(), ServiceUnavailableError()]

    async def away(config: KeyValueConfig) -> KeyValue:
        if refused:
            raise refused.pop()
        return await create(config)

    monkeypatch.setattr(js, "create_key_value", away)
    await streams.ensure_streams(js, Nats(lease_seconds=7))
    assert (await js.stream_info(f"KV_{LEASE_BUCKET}")).config.max_age == 7
    await client.close()


def test_entry_of_a_later_version_is_read() -> None:
    """An entry with a field that this version does not know is read; one that is none is refused."""
    entry = catalog.Checkpoint(epoch="e", sequence=1, timestamp_ns=2, catalog_sequence=3)
    later = {**json.loads(catalog.encode(entry)), "new": 1}
    assert catalog.decode_checkpoint(json.dumps(later).encode()) == entry
    with pytest.raises(PermanentError, match="expected Checkpoint, found"):
        catalog.decode_checkpoint(b"{}")
