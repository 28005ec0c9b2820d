"""Leases on a bucket in memory whose entries never expire, as on a server whose clock has stepped back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from daedalus import lease as lease_module
from daedalus.lease import Lease, Unchanged

TTL = 10.0


class Clock:
    """The clock of all replicas."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Bucket:
    """Key → value and revision; `lost_answers`: so many writes are done, and nobody hears of it."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.last = 0
        self.lost_answers = 0

    async def create(self, key: str, value: bytes) -> int:
        return await self.update(key, value, last=0)

    async def update(self, key: str, value: bytes, last: int) -> int:
        if self.entries.get(key, (b"", 0))[1] != last:
            raise KeyWrongLastSequenceError
        self.last += 1
        self.entries[key] = (value, self.last)
        if self.lost_answers:
            self.lost_answers -= 1
            raise nats.errors.TimeoutError
        return self.last

    async def get(self, key: str) -> SimpleNamespace:
        if key not in self.entries:
            raise KeyNotFoundError
        value, revision = self.entries[key]
        return SimpleNamespace(value=value, revision=revision)


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.bucket = Bucket()
        monkeypatch.setattr(lease_module, "time", self.clock)

    def lease(self, holder: str) -> Lease:
        return Lease(cast("JetStreamContext", None), cast("KeyValue", self.bucket), "shards.0", holder, TTL)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


async def test_silent_holder_is_replaced(bench: Bench) -> None:
    """An entry that does not expire is taken over when it was not renewed for a whole life since it was first seen; the
    holder that comes back is refused."""
    dead, other = bench.lease("dead"), bench.lease("other")
    assert await dead.acquire()
    bench.clock.now += 100.0
    assert not await other.acquire()  # seen for the first time
    bench.clock.now += TTL
    assert not await other.acquire()
    bench.clock.now += 0.1
    assert await other.acquire()
    assert other.held
    assert not await dead.acquire()
    assert not dead.held


async def test_live_holder_is_never_replaced(bench: Bench) -> None:
    """However long another one waits, and however rarely the holder renews within the life of its lease."""
    holder, other = bench.lease("holder"), bench.lease("other")
    assert await holder.acquire()
    for _ in range(10):
        bench.clock.now += TTL * 0.9
        assert not await other.acquire()
        bench.clock.now += TTL * 0.05
        assert holder.held
        assert await holder.acquire()
        assert not await other.acquire()


@pytest.mark.parametrize("waits", [0.5, 2.5, 5.0, 9.9])
async def test_never_two_holders(bench: Bench, waits: float) -> None:
    """Also when the answer to the holder's last renewal was lost, and at whatever moments the other one looks: it has the
    lease only when the holder knows that it has it no more."""
    holder, other = bench.lease("holder"), bench.lease("other")
    assert await holder.acquire()
    assert not await other.acquire()
    bench.clock.now += 6.0
    bench.bucket.lost_answers = 1
    assert await holder.acquire()  # still, by its first renewal
    for _ in range(100):
        bench.clock.now += waits
        taken = await other.acquire()
        assert not (taken and holder.held)
        if taken:
            return
    raise AssertionError("expected it to be taken over")


async def test_renewal_beside_the_takeover_wins(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that wakes and renews between the other one's look and its takeover keeps the lease."""
    holder, other = bench.lease("holder"), bench.lease("other")
    assert await holder.acquire()
    assert not await other.acquire()
    bench.clock.now += TTL + 1.0
    look = bench.bucket.get

    async def and_meanwhile(key: str) -> SimpleNamespace:
        found = await look(key)
        monkeypatch.setattr(bench.bucket, "get", look)
        assert await holder.acquire()
        return found

    monkeypatch.setattr(bench.bucket, "get", and_meanwhile)
    assert not await other.acquire()
    assert holder.held
    assert not other.held


def test_unchanged_is_counted_from_the_first_look() -> None:
    """A new revision begins anew, and so does an entry that was away."""
    entries = Unchanged(TTL)
    assert not entries.too_long("a", 7, 0.0)
    assert not entries.too_long("a", 7, 10.0)
    assert entries.too_long("a", 7, 10.1)
    assert not entries.too_long("a", 8, 10.2)
    assert not entries.too_long("a", 8, 20.2)
    assert entries.too_long("a", 8, 20.3)
    entries.keep([])
    assert not entries.too_long("a", 8, 30.0)
