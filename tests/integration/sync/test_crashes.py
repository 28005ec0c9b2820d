"""Nothing is lost, doubled or damaged when sync, or the S3 server, is killed in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from support.eventually import eventually
from support.nats import NatsServer
from support.s3 import S3Server
from support.segments import acknowledged, commit, content, path_of, uploads
from support.sync_process import SyncProcess

SEGMENTS = 100


@pytest.fixture
async def committed(js: JetStreamContext, sync: SyncProcess) -> AsyncIterator[dict[str, bytes]]:
    """A hundred segments, committed before sync starts: key → content."""
    for number in range(SEGMENTS):
        await commit(js, sync.root, number)
    expected = {f"raw/{path_of(number)}": content(number) for number in range(SEGMENTS)}
    yield expected
    ready = sync.root / "raw" / "ready"
    assert all((ready / path_of(number)).exists() for number in range(SEGMENTS)), "nothing may be deleted here"


async def test_sync_is_killed(
    sync: SyncProcess, committed: dict[str, bytes], js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """kill -9 of sync four times: each segment is in S3, whole, and once in UPLOADS."""
    chance = random.Random(1)
    rounds_in_the_middle = 0
    for _ in range(4):
        sync.start()
        before = len(await uploads(js))
        await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") > 1, "uploads go on")
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        sync.kill()
        rounds_in_the_middle += before < len(await uploads(js)) < SEGMENTS
        if len(await uploads(js)) == SEGMENTS:
            break
    assert rounds_in_the_middle >= 2, "the kills came too late to prove anything"
    sync.start()
    await eventually(lambda: acknowledged(js), "every entry is done")
    assert s3_server.objects(bucket) == committed
    assert sorted(upload.key for upload in await uploads(js)) == sorted(committed)


async def test_s3_server_is_killed(
    sync: SyncProcess, committed: dict[str, bytes], js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """kill -9 of the S3 server: sync waits, goes on, and each segment is there, whole, and once in UPLOADS."""
    sync.start()
    await eventually(lambda: _sent_at_least(sync, 20), "uploads go on")
    s3_server.kill()
    assert len(await uploads(js)) < SEGMENTS, "the kill came too late to prove anything"
    await eventually(lambda: sync.metric("daedalus_sync_errors_total") > 0, "the failure is counted")
    s3_server.start()
    await eventually(lambda: acknowledged(js), "every entry is done")
    assert s3_server.objects(bucket) == committed
    assert sorted(upload.key for upload in await uploads(js)) == sorted(committed)
    assert sync.readyz() == "ok\n"


async def test_nats_server_is_killed(
    sync: SyncProcess,
    committed: dict[str, bytes],
    js: JetStreamContext,
    nats_server: NatsServer,
    s3_server: S3Server,
    bucket: str,
) -> None:
    """kill -9 of the NATS server: sync reconnects and finishes; what was recorded is not recorded again."""
    sync.start()
    await eventually(lambda: _sent_at_least(sync, 10), "uploads go on")
    nats_server.kill()
    await asyncio.sleep(0.2)
    nats_server.start()
    await eventually(lambda: _sent_at_least(sync, SEGMENTS), "uploads go on")
    assert s3_server.objects(bucket) == committed
    assert sorted(upload.key for upload in await uploads(js)) == sorted(committed)


async def test_stop_in_the_middle(
    tmp_path: Path, js: JetStreamContext, nats_server: NatsServer, s3_server: S3Server, bucket: str
) -> None:
    """A clean stop lets the running uploads finish, exits with 0 in time, and the next start does the rest."""
    storage: dict[str, object] = {"backend": "s3", "bucket": bucket, "endpoint_url": s3_server.url}
    slow = SyncProcess(tmp_path, nats_server.url, storage | {"bandwidth_mbit": 4})
    for number in range(6):
        await commit(js, slow.root, number, content(number, 200_000))
    slow.start()
    await eventually(lambda: slow.metric("daedalus_sync_sent_segments_total") >= 1, "uploads go on")
    assert slow.stop() == 0
    recorded = {upload.key for upload in await uploads(js)}
    assert 1 <= len(recorded) < 6
    assert s3_server.objects(bucket).keys() == recorded
    fast = SyncProcess(tmp_path, nats_server.url, storage)
    fast.start()
    await eventually(lambda: acknowledged(js), "every entry is done")
    assert s3_server.objects(bucket) == {path_of(number): content(number, 200_000) for number in range(6)}
    assert fast.stop() == 0


def _sent_at_least(sync: SyncProcess, goal: int) -> bool:
    return sync.metric("daedalus_sync_sent_segments_total") >= goal
