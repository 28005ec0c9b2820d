"""The writer killed with -9 at each named step of its commit: after the restart every record is in ready/, once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from daedalus import broker
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from daedalus_writer.steps import STEPS
from support.batches import Market, check_exactly_once
from support.nats import NatsServer
from support.processes import Process

CONFIG = """
ingestion: {{flush_interval_seconds: 0.1, segment_max_age_seconds: 0.5}}
nats: {{url: "{url}", lease_seconds: 2, retain_hours: 0}}
storage: {{root: "{root}"}}
"""
WITHOUT_TRIM = [step for step in STEPS if step != "trimmed"]  # it comes every 30 s; `make chaos` has the time


@pytest.mark.parametrize("step", WITHOUT_TRIM)
async def test_killed_at_a_step(nats_server: NatsServer, tmp_path: Path, step: str) -> None:
    """Killed at the step the first and the second time it comes by, the writer loses and doubles nothing."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(url=nats_server.url, root=tmp_path / "data"))
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    market = Market(symbols=3)
    for times in (1, 2):
        once = step in ("taken", "recovered")
        crashing = Process(
            "writer",
            config,
            tmp_path,
            name="writer",
            environment={"DAEDALUS_CRASH_AT": f"{step}:{1 if once else times}"},
        )
        crashing.start()
        deadline = time.monotonic() + 60
        while crashing.exit_code is None:
            assert time.monotonic() < deadline, crashing.told()
            await market.publish(client.jetstream(), market.batch(time.time_ns()))
            await asyncio.sleep(0.05)
        assert crashing.exit_code == -9, crashing.told()
    writer = Process("writer", config, tmp_path, name="writer")
    writer.start()
    writer.wait_ready()
    while writer.metric("daedalus_writer_pending_messages") or not writer.metric("daedalus_writer_sequence"):
        await asyncio.sleep(0.05)
    assert writer.stop() == 0
    check_exactly_once(tmp_path / "data", market)
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()
