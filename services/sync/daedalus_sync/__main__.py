"""The sync process: catalog → verified objects in S3 → local retention."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from nats.aio.client import Client

from daedalus import broker
from daedalus.service import Service, run
from daedalus.streams import ensure_streams
from daedalus_sync.condition import Condition
from daedalus_sync.consumer import Position, ensure_consumer, set_back
from daedalus_sync.follower import Follower
from daedalus_sync.metrics import Metrics
from daedalus_sync.pace import Pace, PacedStore
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.reconcile import Reconciler
from daedalus_sync.s3 import open_store
from daedalus_sync.sweeper import Sweeper
from daedalus_sync.upload_log import UploadLog
from daedalus_sync.uploader import Uploader

CUT_SECONDS = 12.0
"""Before the stop's deadline running uploads are cut short: botocore needs up to 7 s to believe it."""


async def serve(service: Service) -> None:
    pace = Pace(service.config.storage.bandwidth_mbit)
    store = PacedStore(open_store(service.config.storage), pace) if service.config.storage.backend == "s3" else None
    client = await broker.connect(service.config.nats.url, service.name)
    service.health.add("nats", lambda: None if client.is_connected else f"not connected to {service.config.nats.url}")
    try:
        await ensure_streams(client.jetstream(), service.config.nats)
        await ensure_consumer(client.jetstream())
        await set_back(client)
        await service.announce(client)
        if store is None:
            await _count_only(service, client)
        else:
            await _upload(service, client, store, pace)
    finally:
        await broker.close(client)


async def _count_only(service: Service, client: Client) -> None:
    """storage.backend local: follow the catalog, upload nothing, delete nothing."""
    js, metrics = client.jetstream(), Metrics(service.registry)
    position = Position(js, service.config.nats, metrics, service.stopping)
    ready = ReadyFolder(Path(service.config.storage.root))
    follower = Follower(js, None, ready, service.config.storage.upload_workers, metrics, service.stopping)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.run())
        group.create_task(position.run(service.config.supervisor.poll_seconds))
        service.health.started()


async def _upload(service: Service, client: Client, store: PacedStore, pace: Pace) -> None:
    config, storage, stopping = service.config, service.config.storage, service.stopping
    js, metrics, condition = client.jetstream(), Metrics(service.registry), _shown(service)
    ready = ReadyFolder(Path(storage.root))
    await asyncio.to_thread(ready.root.mkdir, parents=True, exist_ok=True)
    log = UploadLog(js, storage.bucket, storage.prefix, stopping)
    await log.load()
    workers = storage.upload_workers
    uploader = Uploader(store, log, ready, workers, condition=condition, metrics=metrics, stopping=stopping)
    position = Position(js, config.nats, metrics, stopping)
    follower = Follower(js, uploader, ready, workers, metrics, stopping)
    reconciler = Reconciler(
        js,
        uploader,
        log.uploaded,
        ready,
        workers=workers,
        shards=config.nats.shards,
        metrics=metrics,
        stopping=stopping,
    )
    sweeper = Sweeper(store, log, ready, storage, condition=condition, metrics=metrics, stopping=stopping)
    async with asyncio.TaskGroup() as group:
        cut = group.create_task(_cut_short(service, pace))
        async with asyncio.TaskGroup() as work:
            work.create_task(follower.run())
            work.create_task(position.run(config.supervisor.poll_seconds))
            work.create_task(reconciler.run(position, follower))
            work.create_task(sweeper.run())
            service.health.started()
        cut.cancel()


async def _cut_short(service: Service, pace: Pace) -> None:
    await service.stopping.wait()
    await asyncio.sleep(max(0.0, service.config.supervisor.sync_shutdown_timeout - CUT_SECONDS))
    pace.cut()


def _shown(service: Service) -> Condition:
    condition = Condition()
    service.health.add("uploads", lambda: condition.uploads(time.monotonic()))
    service.health.add("segments", condition.segments)
    service.health.add("disk", lambda: condition.disk)
    return condition


def main() -> int:
    return run("sync", serve)


if __name__ == "__main__":
    sys.exit(main())
