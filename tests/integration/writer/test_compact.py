"""`daedalus-writer compact` beside a real writer, and killed at each of its steps."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
from nats.js import JetStreamContext

from daedalus import broker
from daedalus.catalog import encode
from daedalus.config import Nats
from daedalus.lease import Lease
from daedalus.streams import ensure_streams
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.compact import command as compact_command
from daedalus_writer.compact import compaction
from daedalus_writer.compact.compaction import LEASE
from daedalus_writer.steps import COMPACT_STEPS
from daedalus_writer.verify.output import Output
from daedalus_writer.verify.places import Tree
from daedalus_writer.verify.verification import Verification
from support.batches import HOUR, Market, check_exactly_once, recorded, segments
from support.nats import NatsServer
from support.processes import Process
from support.sealed import Sealed

CONFIG = """
ingestion: {{flush_interval_seconds: 0.2, max_open_segments: 1}}
nats: {{url: "{url}", lease_seconds: 2}}
storage: {{root: "{root}"}}
"""

FORKS = """
import os, sys
from daedalus_writer import steps
from daedalus_writer.compact import command
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        steps._step = line.strip()
        os._exit(command.main(sys.argv[1:]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""One import of everything for all runs that are killed."""


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    yield client.jetstream()
    await client.close()


class Tool:
    """Runs the commands on one storage root."""

    def __init__(self, directory: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._forks: asyncio.subprocess.Process | None = None
        self.root, self.url = directory / "data", url
        self.config = directory / "config.yaml"
        self.config.write_text(CONFIG.format(url=url, root=self.root))

    async def compact(self, *arguments: object) -> tuple[int, str]:
        """In this process: exit code, and what it told."""
        line = ["--config", str(self.config), *map(str, arguments)]
        code = await asyncio.to_thread(compact_command.main, line)
        told = self._capsys.readouterr()
        return code, told.out + told.err

    async def killed(self, step: str) -> int:
        """The exit code of a process of its own that is killed with -9 when it passes the step."""
        if self._forks is None:
            line = [sys.executable, "-c", FORKS, "--config", str(self.config)]
            self._forks = await asyncio.create_subprocess_exec(*line, stdin=PIPE, stdout=PIPE)
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write(f"{step}\n".encode())
        return int(await self._forks.stdout.readline())

    async def close(self) -> None:
        if self._forks is not None:
            await self._forks.communicate(b"")  # closes its input: it ends

    async def verify(self) -> int:
        """In this process."""
        output = Output(as_json=False, quiet=True)
        return await asyncio.to_thread(Verification([Tree(self.root)], self.url, output).run, strict=False)


@pytest.fixture
async def tool(
    tmp_path: Path, nats_server: NatsServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tool]:
    monkeypatch.setattr("daedalus.logs.configure", lambda *_: None)  # it would be for the whole test run
    monkeypatch.setattr(compaction, "LINGER_SECONDS", 0.1)
    tool = Tool(tmp_path, nats_server.url, capsys)
    yield tool
    await tool.close()


async def test_beside_a_running_writer(js: JetStreamContext, tool: Tool, tmp_path: Path) -> None:
    """While a writer goes on writing into the same hour its segments are merged, three times, and every record stays there once."""
    market = Market(symbols=2)
    writer = Process("writer", tool.config, tmp_path)
    writer.start()
    writer.wait_ready()

    async def publish(batches: int) -> None:
        for _ in range(batches):
            await market.publish(js, market.batch(HOUR * NS_PER_HOUR + sum(market.sent.values())))
            await asyncio.sleep(0.02)

    merged = 0
    for _ in range(100):
        (code, told), _ = await asyncio.gather(tool.compact(), publish(10))
        assert code == 0, told
        merged += "→ 1 files" in told
        if merged == 3:
            break
    assert merged == 3
    assert writer.stop() == 0
    check_exactly_once(tool.root, market)
    assert (await tool.compact())[0] == 0
    check_exactly_once(tool.root, market)
    assert len(list(segments(tool.root))) == len(market.sent)
    assert await tool.verify() == 0
    rows = 0
    for channel in ("trade", "ticker", "orderbook"):
        files = f"{tool.root}/raw/ready/ccxt/{channel}/**/*.parquet"
        [(found,)] = duckdb.execute(
            f"SELECT count(*) FROM read_parquet('{files}', hive_partitioning = true)"
        ).fetchall()
        rows += found
    assert rows == sum(market.sent.values())
    assert list((tool.root / "raw" / "active").iterdir()) == []


async def test_killed_at_each_step(js: JetStreamContext, tool: Tool) -> None:
    """Killed with -9 at any step: every row is there once, `verify` is content, and the next run goes on from there."""
    sealed = Sealed(tool.root)
    for key in range(len(COMPACT_STEPS) + 1):
        for number in range(3):
            sealed.segment(symbol=f"C{key}/USD", sequences=(number + 1, number + 1), first_number=50 * number)
    for entry in sealed.entries:
        await js.publish(entry.subject, encode(entry))
    for step in COMPACT_STEPS:
        assert await tool.killed(step) == -9, step
        await js.purge_stream("KV_LEASES", subject=f"$KV.LEASES.{LEASE}")  # as when it has expired
        assert all(sorted(numbers) == list(range(150)) for numbers in recorded(tool.root).values()), step
        assert await tool.verify() == 0, step
    code, told = await tool.compact()
    assert code == 0, told
    assert [path.name for path in segments(tool.root)] == ["segment_20260917T11_00001-00003.parquet"] * 6
    assert all(sorted(numbers) == list(range(150)) for numbers in recorded(tool.root).values())
    assert await tool.verify() == 0
    assert [path.name for path in (tool.root / "raw" / "active").iterdir()] == ["shard-0.test"]


async def test_what_is_refused(js: JetStreamContext, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line and an exit code for each: a second run, damage, a wrong PATH, no NATS, wrong usage."""
    sealed = Sealed(tool.root)
    first = sealed.segment(sequences=(1, 5))
    sealed.segment(sequences=(6, 9), first_number=50)
    for entry in sealed.entries:
        await js.publish(entry.subject, encode(entry))
    code, told = await tool.compact("--dry-run")
    assert (code, "2 → 1 files" in told, len(list(segments(tool.root)))) == (0, True, 2)
    other = await Lease.of(js, LEASE, "another", 2.0)
    assert await other.acquire()
    assert (await tool.compact())[1].startswith("another compact runs")
    await other.release()
    first.write_bytes(first.read_bytes()[:-1] + b"X")
    code, told = await tool.compact()
    assert (code, "expected SHA-256" in told, len(list(segments(tool.root)))) == (1, True, 2)
    assert await tool.compact(tool.root.parent) == (
        2,
        f"{tool.root.parent}: expected a directory in {tool.root}/raw/ready, found another\n",
    )
    assert (await tool.compact("--uploaded"))[0] == 2
    for wrong in (["--level", "23"], ["--min-files", "1"], ["--older-than", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            compact_command.main(wrong)
    monkeypatch.setattr(compact_command, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setenv("DAEDALUS__NATS__URL", "nats://127.0.0.1:1")
    code, told = await tool.compact()
    assert (code, "nats://127.0.0.1:1: expected NATS" in told) == (2, True)
    monkeypatch.setenv("DAEDALUS__NATS__SHARDS", "0")
    assert (await tool.compact())[0] == 78
