"""Leases on a real server, in a bucket whose entries never expire: so a server keeps them whose clock has stepped back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig

from daedalus import broker
from daedalus.lease import Lease, Members
from daedalus.naming import LEASE_BUCKET
from support.eventually import eventually
from support.nats import NatsServer

TTL = 0.5


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await broker.connect(nats_server.url, "test")
    await client.jetstream().create_key_value(KeyValueConfig(bucket=LEASE_BUCKET, history=1))
    yield client.jetstream()
    await client.close()


async def test_dead_replica_is_replaced(js: JetStreamContext) -> None:
    """The lease of a replica that does not renew it goes to another one, and it is no member any more; one that renews
    keeps both, and the dead one is refused when it comes back."""
    dead, live = await Lease.of(js, "writers.dead", "dead", TTL), await Lease.of(js, "writers.live", "live", TTL)
    shards = [await Lease.of(js, f"shards.{name}", name, TTL) for name in ("dead", "live")]
    wanted = [await Lease.of(js, f"shards.{name}", "other", TTL) for name in ("dead", "live")]
    members = Members(js, "writers", TTL)
    for lease in (dead, live, *shards):
        assert await lease.acquire()
    assert await members.live() == ["dead", "live"]
    taken = set[str]()

    async def replaced() -> bool:
        assert await live.acquire()
        assert await shards[1].acquire()
        taken.update([lease.key for lease in wanted if await lease.acquire()])
        return bool(taken) and await members.live() == ["live"]

    await eventually(replaced, "the dead replica is replaced")
    assert taken == {"shards.dead"}
    assert not await shards[0].acquire()
    assert await dead.acquire()
    assert await members.live() == ["dead", "live"]
