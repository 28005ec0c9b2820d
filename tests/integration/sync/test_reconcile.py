"""Files in ready/ that the catalog's consumer will not bring."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry

from daedalus.catalog import encode
from daedalus_sync.condition import Condition
from daedalus_sync.metrics import Metrics
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.reconcile import Reconciler
from daedalus_sync.upload_log import UploadLog
from daedalus_sync.uploader import Uploader
from support.memory_store import MemoryStore
from support.segments import commit, content, entry_of, path_of, uploads, write


class Parts:
    """Reconciliation over a store in memory and a real NATS server."""

    def __init__(self, root: Path, js: JetStreamContext) -> None:
        self.root = root
        self.store = MemoryStore()
        self.condition = Condition()
        stopping = asyncio.Event()
        metrics = Metrics(CollectorRegistry())
        ready = ReadyFolder(root)
        ready.root.mkdir(parents=True)
        self.log = UploadLog(js, "bucket", "", stopping)
        self.uploader = Uploader(
            self.store, self.log, ready, 2, condition=self.condition, metrics=metrics, stopping=stopping
        )
        self.reconciler = Reconciler(
            js, self.uploader, self.log.uploaded, ready, workers=2, shards=1, metrics=metrics, stopping=stopping
        )


@pytest.fixture
def parts(tmp_path: Path, js: JetStreamContext) -> Parts:
    return Parts(tmp_path, js)


async def test_what_is_missing_is_uploaded_once(parts: Parts, js: JetStreamContext) -> None:
    """With and without a catalog entry; a second round, and one after a restart, find nothing to do."""
    for number in range(30):
        await commit(js, parts.root, number)
    write(parts.root, path_of(30), content(30))  # the catalog has dropped its entry
    write(parts.root, "ccxt/trade/notes.txt", b"no segment")
    assert not await parts.reconciler.reconcile(time.time() + 1)
    assert {key: data for key, (data, _) in parts.store.objects.items()} == {
        path_of(number): content(number) for number in range(31)
    }
    parts.store.objects.clear()
    await parts.reconciler.reconcile(time.time() + 1)
    anew = Parts(parts.root / "elsewhere", js)
    await anew.log.load()
    assert all(path_of(number) in anew.log.uploaded for number in range(31))
    assert parts.store.objects == {}
    assert len(await uploads(js)) == 31
    assert {message.path for message in await uploads(js)} == {path_of(number) for number in range(31)}


async def test_catalog_checksum_counts(parts: Parts, js: JetStreamContext) -> None:
    """A file that differs from its catalog entry is refused, though its own checksum would fit it."""
    entry = entry_of(path_of(1), content(1))
    await js.publish(entry.subject, encode(entry))
    write(parts.root, path_of(1), bytes(len(content(1))))
    await parts.reconciler.reconcile(time.time() + 1)
    assert parts.store.objects == {}
    assert "expected SHA-256" in str(parts.condition.segments())
    write(parts.root, path_of(1), content(1))  # put right by somebody
    await parts.reconciler.reconcile(time.time() + 1)
    assert parts.condition.segments() is None
    assert list(parts.store.objects) == [path_of(1)]


async def test_young_files_are_left_to_the_catalog(parts: Parts) -> None:
    """A file that was closed a moment ago is not touched: its entry is under way."""
    write(parts.root, path_of(1), content(1))
    await parts.reconciler.reconcile(time.time() - 60)
    assert parts.store.objects == {}


async def test_another_bucket_counts_for_nothing(parts: Parts, js: JetStreamContext) -> None:
    """Uploads into another bucket, or under another prefix, are not taken for uploads into this one."""
    write(parts.root, path_of(1), content(1))
    await parts.reconciler.reconcile(time.time() + 1)
    for bucket, prefix, known in [("bucket", "", 1), ("other", "", 0), ("bucket", "prefix", 0)]:
        log = UploadLog(js, bucket, prefix, asyncio.Event())
        await log.load()
        assert len(log.uploaded) == known
