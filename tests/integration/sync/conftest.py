"""One S3 server for the session, one bucket and one catalog for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext

from daedalus.config import Nats
from daedalus.streams import ensure_streams
from support.nats import NatsServer
from support.s3 import S3Server
from support.sync_process import SyncProcess

_buckets = itertools.count()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"segments-{next(_buckets)}"
    s3_server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_server.url)
    await ensure_streams(client.jetstream(), Nats(url=nats_server.url))
    yield client.jetstream()
    await client.close()


@pytest.fixture
def sync(tmp_path: Path, nats_server: NatsServer, s3_server: S3Server, bucket: str) -> Iterator[SyncProcess]:
    """Configured for the bucket, not started."""
    storage: dict[str, object] = {"backend": "s3", "bucket": bucket, "endpoint_url": s3_server.url, "prefix": "raw/"}
    process = SyncProcess(tmp_path / "sync", nats_server.url, storage)
    yield process
    if process.running:
        process.kill()
