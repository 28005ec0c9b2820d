"""What the follower does with entries whose file is not in ready/."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry

from daedalus.catalog import encode
from daedalus.config import Nats
from daedalus.naming import staged_name
from daedalus_sync import back_off, follower
from daedalus_sync.condition import Condition
from daedalus_sync.consumer import Position, ensure_consumer
from daedalus_sync.follower import Follower
from daedalus_sync.metrics import Metrics
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.upload_log import UploadLog
from daedalus_sync.uploader import Uploader
from support.eventually import eventually
from support.memory_store import MemoryStore
from support.segments import acknowledged, commit, content, entry_of, path_of, uploads


class Parts:
    def __init__(self, root: Path, js: JetStreamContext) -> None:
        self.store = MemoryStore()
        self.condition = Condition()
        self.stopping = asyncio.Event()
        self.metrics = Metrics(CollectorRegistry())
        self.ready = ReadyFolder(root)
        log = UploadLog(js, "bucket", "", self.stopping)
        uploader = Uploader(
            self.store, log, self.ready, 2, condition=self.condition, metrics=self.metrics, stopping=self.stopping
        )
        self.follower = Follower(js, uploader, self.ready, 2, self.metrics, self.stopping)
        self.position = Position(js, Nats(), self.metrics, self.stopping)


@pytest.fixture
async def parts(tmp_path: Path, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    """A running follower over a store in memory."""
    monkeypatch.setattr(follower, "_FETCH_SECONDS", 1.0)
    await ensure_consumer(js)
    parts = Parts(tmp_path, js)
    running = asyncio.create_task(parts.follower.run())
    yield parts
    parts.stopping.set()
    await asyncio.wait_for(running, 5)


async def test_missing_everywhere_is_given_up(
    parts: Parts, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is nowhere is told once its time is over, and the next ones go on."""
    monkeypatch.setattr(back_off, "MISSING_SECONDS", 0.0)
    await js.publish(entry_of(path_of(1), b"gone").subject, encode(entry_of(path_of(1), b"gone")))
    await eventually(lambda: acknowledged(js), "the entry is done with")
    assert "found neither" in str(parts.condition.segments())
    assert parts.metrics.discarded.labels("missing")._value.get() == 1


async def test_writer_has_it_still(parts: Parts, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that lies in active/ yet is waited for, however old its entry is; it counts as pending, with its age."""
    monkeypatch.setattr(back_off, "MISSING_SECONDS", 0.0)
    entry = entry_of(path_of(1), content(1))
    active = parts.ready.active / "shard-0.test" / staged_name(entry.path)
    active.parent.mkdir(parents=True)
    active.write_bytes(content(1))
    await js.publish(entry.subject, encode(entry))
    await asyncio.sleep(0.4)
    await parts.position.look()
    assert parts.metrics.pending._value.get() == 1
    assert parts.metrics.lag._value.get() >= 0.3
    ready = parts.ready.file(entry.path)
    ready.parent.mkdir(parents=True)
    active.rename(ready)
    await eventually(lambda: acknowledged(js), "the entry is done with")
    assert parts.store.objects[entry.path][0] == content(1)
    await parts.position.look()
    assert parts.metrics.lag._value.get() == 0


async def test_deleted_after_upload(parts: Parts, js: JetStreamContext) -> None:
    """A file that is gone counts as done when its object is there with the right checksum."""
    entry = entry_of(path_of(1), content(1))
    parts.store.objects[entry.path] = (content(1), entry.sha256)
    await js.publish(entry.subject, encode(entry))
    await eventually(lambda: acknowledged(js), "the entry is done with")
    assert [upload.path for upload in await uploads(js)] == [entry.path]
    assert parts.condition.segments() is None


async def test_unreadable_entry_is_passed_over(parts: Parts, js: JetStreamContext, tmp_path: Path) -> None:
    """What cannot be read, and a path that leaves ready/, is counted and passed over; what is no entry is not looked at."""
    await js.publish("catalog.0.kraken.trade.BTC-USD", b"{]")
    outside = entry_of("../../etc/segment_1.parquet", b"x")
    await js.publish(outside.subject, encode(outside))
    await js.publish("catalog.0.owner", b"writer-1")  # no entry: who owns the shard
    await commit(js, tmp_path, 3)
    await eventually(lambda: acknowledged(js), "the entries are done with")
    assert list(parts.store.objects) == [path_of(3)]
    assert parts.metrics.discarded.labels("invalid")._value.get() == 2


async def test_deleted_consumer_is_made_anew(parts: Parts, js: JetStreamContext, tmp_path: Path) -> None:
    """Somebody deletes the consumer: it is made again, and what was uploaded is not uploaded twice."""
    await commit(js, tmp_path, 1)
    await eventually(lambda: acknowledged(js), "the entry is done with")
    await js.delete_consumer("CATALOG", "sync")
    await parts.position.look()
    await commit(js, tmp_path, 2)
    await eventually(lambda: len(parts.store.objects) == 2, "the next entry is followed")
    await eventually(lambda: acknowledged(js), "both entries are done with")
    assert [upload.path for upload in await uploads(js)] == [path_of(1), path_of(2)]
    assert parts.metrics.discarded.labels("already_uploaded")._value.get() == 1
