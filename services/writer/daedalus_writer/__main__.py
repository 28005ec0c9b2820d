"""daedalus-writer: JetStream into Parquet segments, exactly once.

MD-<shard> ─▶ ShardWriter ─▶ active/ ─▶ CATALOG ─▶ ready/
`daedalus-writer verify` checks what lies there, `daedalus-writer compact` merges what is small.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys

import pyarrow as pa

from daedalus import broker
from daedalus.service import Service, run
from daedalus.streams import ensure_streams
from daedalus_writer.disk import Disk
from daedalus_writer.metrics import Metrics
from daedalus_writer.ownership import Ownership
from daedalus_writer.shard import ShardWriter

_COLLECTED_AFTER = 50_000
"""New objects between two collections: rows of a segment become that many tuples at a time, none of them in a cycle."""


async def serve(service: Service) -> None:
    config = service.config
    pa.set_cpu_count(1)  # the disk threads are the parallelism; more only cost memory
    pa.set_io_thread_count(1)
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)
    metrics = Metrics(service.registry)
    disk = Disk(config.ingestion.io_threads, metrics)
    nats = await broker.connect(config.nats.url, "writer")
    await ensure_streams(nats.jetstream(), config.nats)
    await service.announce(nats)
    ownership = Ownership(
        nats.jetstream(),
        config.nats,
        service.instance,
        lambda shard: ShardWriter(nats, config, shard, service.instance, disk, metrics),
    )
    service.health.add(
        "nats", lambda: None if nats.is_connected else f"{config.nats.url} is not connected: is it running?"
    )
    service.health.add("disk", lambda: disk.problem)
    service.health.add("lag", lambda: lag(ownership.writers, config.supervisor.lag_warning_seconds))
    settled = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ownership.run(settled))
            try:
                await settled.wait()
                service.health.started()
                await service.stopping.wait()
            finally:
                ownership.stop()  # also when we are cancelled: nats-py may swallow that, and `run` would go on for ever
    finally:
        await broker.close(nats)
        disk.close()


def lag(shards: list[ShardWriter], limit_seconds: float) -> str | None:
    """A writer that reads data this old cannot keep up, or was away."""
    seconds = max((shard.lag_seconds() for shard in shards), default=0.0)
    return (
        f"reads data {seconds:.0f} s old, expected {limit_seconds:.0f} s at the most"
        if seconds > limit_seconds
        else None
    )


def main() -> int:
    if sys.argv[1:2] == ["verify"]:
        from daedalus_writer.verify import command  # noqa: PLC0415  # 9 MB that a writer does not need

        return command.main(sys.argv[2:])
    if sys.argv[1:2] == ["compact"]:
        from daedalus_writer.compact import command as compact  # noqa: PLC0415  # the same

        return compact.main(sys.argv[2:])
    return run("writer", serve, _add_arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "`daedalus-writer verify PATH…` checks what was written, `daedalus-writer compact` merges small segments; "
        "see their -h."
    )


if __name__ == "__main__":
    sys.exit(main())
