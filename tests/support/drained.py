"""When a writer has read all there is, and what it has committed."""

from __future__ import annotations

import asyncio
import time

from nats.aio.client import Client
from nats.js import JetStreamContext

from daedalus import catalog
from daedalus.naming import CATALOG_STREAM
from daedalus_writer.commit_log import persistently
from support.processes import Process


async def wait_until_drained(writer: Process, js: JetStreamContext, shards: int, seconds: float = 45) -> None:
    """Until this writer has every shard, has read it to its end, and would drain it if it were stopped: one that still
    starts just ends.
    """
    deadline = time.monotonic() + seconds
    for shard in range(shards):
        last = (await persistently(lambda shard=shard: js.stream_info(f"MD-{shard}"), "asking")).state.last_seq  # type: ignore[misc]
        while f'daedalus_writer_sequence{{shard="{shard}"}} {float(last)}' not in await asyncio.to_thread(
            writer.get, "/metrics"
        ):
            assert time.monotonic() < deadline, writer.told()
            await asyncio.sleep(0.2)
    await asyncio.to_thread(writer.wait_ready, seconds)


async def catalog_entries(client: Client) -> list[catalog.Entry]:
    info = await client.jetstream().stream_info(CATALOG_STREAM)
    messages = [
        await client.jetstream().get_msg(CATALOG_STREAM, seq=sequence)
        for sequence in range(info.state.first_seq, info.state.last_seq + 1)
    ]
    return [catalog.decode_entry(one.data or b"") for one in messages if not (one.subject or "").endswith(".owner")]
