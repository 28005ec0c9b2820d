"""A power cut: writer and server die at once, and the server comes back with what it had last synced."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from daedalus import broker
from daedalus.config import Nats
from daedalus.streams import ensure_streams
from support.batches import Market, recorded, segments
from support.drained import catalog_entries, wait_until_drained
from support.nats import NatsServer
from support.processes import Process

CONFIG = """
ingestion: {{flush_interval_seconds: 0.2, segment_max_age_seconds: 0.4}}
nats: {{url: "{url}", shards: {shards}, duplicate_window_seconds: 30, lease_seconds: 2}}
storage: {{root: "{root}"}}
"""


@pytest.mark.parametrize("shards", [1, 4])
async def test_a_power_cut_doubles_nothing_and_loses_what_was_not_synced_at_most(
    nats_server: NatsServer, tmp_path: Path, shards: int
) -> None:
    """Streams and catalog are rolled back, and their numbers used again for other records. What had been synced, and what
    comes afterwards, is in ready/ once; what was between is there once where the writer had committed it, and has an entry."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(url=nats_server.url, root=tmp_path / "data", shards=shards))
    client = await broker.connect(nats_server.url, "test")
    js = client.jetstream()
    await ensure_streams(js, Nats(shards=shards, duplicate_window_seconds=30, lease_seconds=2))
    market = Market(symbols=8, shards=shards)
    writer = Process("writer", config, tmp_path)
    writer.start()

    async def publish(batches: int) -> Counter[tuple[str, str, str]]:
        """How many records of each series there are then."""
        for _ in range(batches):
            await market.publish(js, market.batch(time.time_ns()))
        await wait_until_drained(writer, js, shards)
        return market.sent.copy()

    synced = await publish(40)
    os.kill(nats_server.pid, signal.SIGSTOP)
    shutil.copytree(nats_server.store, tmp_path / "synced")
    os.kill(nats_server.pid, signal.SIGCONT)
    lost = await publish(40)
    await asyncio.sleep(1.0)  # some of it is committed
    lost = await publish(40)
    writer.kill()
    nats_server.kill()
    shutil.rmtree(nats_server.store)
    shutil.move(tmp_path / "synced", nats_server.store)
    nats_server.start()
    committed = sum(map(len, recorded(tmp_path / "data").values()))
    assert sum(synced.values()) < committed < sum(lost.values())
    writer = Process("writer", config, tmp_path)
    writer.start()
    sent = await publish(100)
    assert writer.stop() == 0
    assert "rolled_back=true" in writer.told()

    found = recorded(tmp_path / "data")
    for (exchange, channel, symbol), count in sent.items():
        numbers = Counter(found[exchange, channel, symbol.replace("/", "-")])
        assert set(numbers.values()) == {1}
        series = exchange, channel, symbol
        must = {*range(synced[series]), *range(lost[series], count)}
        assert must <= numbers.keys() <= set(range(count))
    assert sum(map(len, found.values())) >= committed + sum(sent.values()) - sum(lost.values())
    files = {str(path.relative_to(tmp_path / "data/raw/ready")) for path in segments(tmp_path / "data")}
    assert {entry.path for entry in await catalog_entries(client)} == files
    assert [path for path in (tmp_path / "data/raw/active").rglob("*") if path.is_file()] == []
    await client.close()
