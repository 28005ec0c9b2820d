"""The watch against a real nats-server, and services that announce themselves as the real ones do."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry, Counter, Gauge

from daedalus import broker
from daedalus.catalog import Checkpoint, encode
from daedalus.config import Config, Nats, Storage, Supervisor
from daedalus.naming import CHECKPOINT_BUCKET, shard_owner
from daedalus.service import Service
from daedalus.streams import ensure_streams
from daedalus_supervisor import watch as watching
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.metrics import Metrics
from daedalus_supervisor.status import ServiceStatus, Status
from daedalus_supervisor.watch import Watch
from support.eventually import eventually
from support.nats import NatsServer


class Fake:
    """A service that answers discovery, and nothing else."""

    def __init__(self, url: str, name: str, instance: str) -> None:
        self._url = url
        self.service = Service(name, Config(), argparse.Namespace(instance=instance))
        self.service.health.started()
        self.client: Client | None = None

    async def start(self) -> None:
        self.client = await broker.connect(self._url, f"{self.service.name}-fake")
        await self.service.announce(self.client)

    async def stop(self) -> None:
        assert self.client is not None
        await broker.close(self.client)


class Stage:
    """A server with the streams, a collector, a writer and a sync, and a watch on all of it."""

    def __init__(self, server: NatsServer, root: Path) -> None:
        self.server = server
        self.config = Config(
            nats=Nats(url=server.url, max_mb=16),
            storage=Storage(root=str(root)),
            supervisor=Supervisor(poll_seconds=0.2),
        )
        limits = replace(Limits.of(self.config), exchanges=("kraken",))
        self.registry = CollectorRegistry()
        self.watch = Watch(self.config, limits, Metrics(self.registry))
        self.collector = Fake(server.url, "collector", "collector-1")
        self.writer = Fake(server.url, "writer", "writer-1")
        self.sync = Fake(server.url, "sync", "sync-1")
        received = Counter(
            "daedalus_collector_received_records",
            "-",
            ["exchange", "channel"],
            registry=self.collector.service.registry,
        )
        self.received = received.labels("kraken", "trade")
        self.received.inc(1_000)
        sequence = Gauge("daedalus_writer_sequence", "-", ["shard"], registry=self.writer.service.registry)
        self.sequence = sequence.labels("0")
        self.client = Client()

    @property
    def js(self) -> JetStreamContext:
        return self.client.jetstream()

    async def start(self) -> None:
        self.client = await broker.connect(self.server.url, "supervisor")
        await ensure_streams(self.js, self.config.nats)
        for fake in (self.collector, self.writer, self.sync):
            await fake.start()
        await self.take("writer-1")
        await self.watch.attach(self.client)

    async def stop(self) -> None:
        for fake in (self.collector, self.writer, self.sync):
            await fake.stop()
        await broker.close(self.client)

    async def take(self, instance: str) -> None:
        """As a writer does when it takes the shard."""
        await self.js.publish(shard_owner(0), f"{instance}.b00t".encode())

    async def polled(self, times: int = 1) -> Status:
        for _ in range(times):
            await self.watch.poll()
        return self.watch.status


@pytest.fixture
async def stage(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(watching, "ANSWER_SECONDS", 0.2)
    stage = Stage(nats_server, tmp_path)
    await stage.start()
    yield stage
    await stage.stop()


def one(status: Status, service: str) -> ServiceStatus:
    (found,) = [one for one in status.services if one.service == service]
    return found


def found(status: Status) -> set[tuple[str, str]]:
    return {(problem.check, problem.where) for problem in status.problems}


async def test_everyone_is_seen(stage: Stage) -> None:
    """Each service that announces itself is in the report, with its figures; streams and disk are, too."""
    status = await stage.polled()
    assert (status.healthy, status.health) == (True, "1/1 collectors healthy"), status.problems
    assert one(status, "collector").title == "ccxt_kraken"
    assert status.totals.received_records == 1_000
    assert one(status, "writer").figures.memory_bytes
    assert {stream.name for stream in status.streams} == {"MD-0", "CATALOG", "UPLOADS"}
    assert status.disk is not None


async def test_one_that_vanishes_is_missing(stage: Stage) -> None:
    """A service that stops answering is missing after two questions, and is ready again when it comes back."""
    await stage.polled()
    await stage.writer.stop()
    status = await stage.polled(2)
    assert one(status, "writer").state == "missing"
    assert found(status) == {("service_down", "writer writer-1")}
    await stage.writer.start()
    assert one(await stage.polled(), "writer").state == "ready"


async def test_one_that_is_not_ready(stage: Stage) -> None:
    """What a service says of itself is repeated."""
    stage.collector.service.health.add("feed", lambda: "no connection for 40 s")
    status = await stage.polled()
    assert one(status, "collector").state == "not_ready"
    assert [problem.what for problem in status.problems] == ["feed: no connection for 40 s"]
    assert status.health == "0/1 collectors healthy"


async def test_nearly_full_stream(stage: Stage) -> None:
    """A stream near its limit is a problem before it refuses."""
    for _ in range(14):
        await stage.js.publish("md.0.kraken.trade", b"x" * 950_000)
    stage.sequence.set(14)
    assert ("stream_full", "MD-0") in found(await stage.polled())


async def test_lag_follows_reading_and_commits(stage: Stage) -> None:
    """Unread is what lies behind the writer's sequence, uncommitted what lies behind the checkpoint of this stream."""
    for _ in range(10):
        await stage.js.publish("md.0.kraken.trade", b"x")
    stage.sequence.set(7)
    (shard,) = (await stage.polled()).shards
    assert (shard.unread_messages, shard.uncommitted_messages, shard.read) == (3, 10, True)
    assert 0 < shard.unread_seconds <= shard.uncommitted_seconds < 60

    created = (await stage.js.stream_info("MD-0")).created
    bucket = await stage.js.key_value(CHECKPOINT_BUCKET)
    checkpoint = Checkpoint(epoch=str(created), sequence=6, timestamp_ns=1, catalog_sequence=1)
    await bucket.put("0", encode(checkpoint))
    assert (await stage.polled()).shards[0].uncommitted_messages == 4

    await bucket.put("0", encode(replace(checkpoint, epoch="1999-01-01 00:00:00+00:00")))
    assert (await stage.polled()).shards[0].uncommitted_messages == 10, (
        "a checkpoint of another stream counts for nothing"
    )


async def test_shard_that_was_taken_over(stage: Stage) -> None:
    """The reading of a writer that has lost the shard counts no more, and takeovers are no segments."""
    for _ in range(10):
        await stage.js.publish("md.0.kraken.trade", b"x")
    stage.sequence.set(10)
    assert (await stage.polled()).shards[0].unread_messages == 0
    await stage.take("another.host")
    status = await stage.polled()
    (shard,) = status.shards
    assert (shard.owner, shard.read, shard.unread_messages) == ("another.host", False, 10)
    assert status.totals.committed_segments == 0


async def test_purge_of_uncommitted_messages(stage: Stage) -> None:
    """What somebody purges before it is committed is lost, and told."""
    for _ in range(10):
        await stage.js.publish("md.0.kraken.trade", b"x")
    created = (await stage.js.stream_info("MD-0")).created
    bucket = await stage.js.key_value(CHECKPOINT_BUCKET)
    await bucket.put("0", encode(Checkpoint(epoch=str(created), sequence=4, timestamp_ns=1, catalog_sequence=1)))
    await stage.js.purge_stream("MD-0", seq=8)
    status = await stage.polled()
    assert status.shards[0].lost_messages == 3
    assert ("messages_lost", "shard 0") in found(status)


async def test_server_away_and_back(stage: Stage) -> None:
    """While NATS is away the last view stands; when it is back so is the report."""
    await stage.polled()
    stage.server.kill()

    async def missed() -> bool:
        return ("broker_away", "NATS") in found(await stage.polled())

    await eventually(missed, "it is missed")
    status = await stage.polled(2)
    assert one(status, "writer").state == "ready", "nobody could be asked: that makes nobody missing"
    assert len(status.streams) == 3
    stage.server.start()

    async def healthy() -> bool:
        return (await stage.polled()).healthy

    await eventually(healthy, "it is healthy again")


async def test_rubbish_answers_are_counted(stage: Stage) -> None:
    """Whoever answers what cannot be read is counted and changes nothing."""

    async def answer(message: object) -> None:
        await stage.collector.client.publish(message.reply, b'{"name": "daedalus-writer"}')  # type: ignore[union-attr,attr-defined]

    assert stage.collector.client is not None
    await stage.collector.client.subscribe("$SRV.STATS", cb=answer)
    await stage.collector.client.flush()
    status = await stage.polled()
    assert status.healthy
    assert stage.registry.get_sample_value("daedalus_supervisor_discarded_answers_total") == 1
