"""Local retention against a real NATS server and a real S3 server: what goes is proved first."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry

from daedalus.config import Storage
from daedalus_sync.condition import Condition
from daedalus_sync.metrics import Metrics
from daedalus_sync.ready import ReadyFolder
from daedalus_sync.s3 import open_store
from daedalus_sync.segment import from_entry
from daedalus_sync.sweeper import Sweeper
from daedalus_sync.upload import upload
from daedalus_sync.upload_log import UploadLog
from support.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from support.segments import content, entry_of, path_of, write

DAY = 86_400


class Recorder:
    """A storage root with segments of known ages, and what sync knows of them."""

    def __init__(self, root: Path, js: JetStreamContext, storage: Storage) -> None:
        self.root = root
        self.store = open_store(storage)
        self.condition = Condition()
        stopping = asyncio.Event()
        self.log = UploadLog(js, storage.bucket, storage.prefix, stopping)
        self.ready = ReadyFolder(root)
        metrics = Metrics(CollectorRegistry())
        self.sweeper = Sweeper(
            self.store, self.log, self.ready, storage, condition=self.condition, metrics=metrics, stopping=stopping
        )

    async def add(self, number: int, age_days: float, *, uploaded: bool = True, recorded: bool = True) -> Path:
        data = content(number)
        segment = from_entry(entry_of(path_of(number), data))
        file = write(self.root, segment.path, data)
        if uploaded:
            upload(self.store, self.log.key(segment.path), segment, file)
        if recorded:
            await self.log.record(segment, 1)
        closed = time.time() - age_days * DAY
        os.utime(file, (closed, closed))
        return file

    def problem(self) -> str | None:
        return self.condition.disk

    def left(self) -> list[int]:
        return sorted(int(file.stem[-5:]) for file in self.ready.root.rglob("*.parquet"))


@pytest.fixture
def recorder(
    tmp_path: Path, js: JetStreamContext, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Recorder:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    storage = Storage(backend="s3", bucket=bucket, endpoint_url=s3_server.url, retain_days=7, disk_watermark_percent=99)
    return Recorder(tmp_path, js, storage)


async def test_only_what_is_proved_goes(recorder: Recorder, s3_server: S3Server, bucket: str) -> None:
    """Past its days a segment goes when the store proves it; never one that is young, unrecorded, gone there, or damaged here."""
    await recorder.add(1, 8)
    await recorder.add(2, 6)
    await recorder.add(3, 8, recorded=False)
    await recorder.add(4, 8, uploaded=False)
    damaged = await recorder.add(5, 8)
    damaged.write_bytes(b"X" + damaged.read_bytes()[1:])
    os.utime(damaged, (time.time() - 8 * DAY,) * 2)
    await recorder.add(6, 8)
    s3_server.client().put_object(Bucket=bucket, Key=path_of(6), Body=b"somebody replaced it")
    assert not await recorder.sweeper.sweep(time.time())
    assert recorder.left() == [2, 3, 4, 5, 6]


async def test_full_disk(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the watermark the oldest verified go, as many as it takes; when none is left /readyz says so."""
    sizes = [(await recorder.add(number, 5 - number)).stat().st_size for number in range(4)]
    total = 100_000_000
    watermark = total * 99 // 100
    monkeypatch.setattr(recorder.ready, "disk", lambda: (watermark + sizes[0] + 1, total))
    await recorder.sweeper.sweep(time.time())
    assert recorder.left() == [2, 3]
    assert recorder.problem() is None
    monkeypatch.setattr(recorder.ready, "disk", lambda: (total, total))
    await recorder.sweeper.sweep(time.time())
    assert recorder.left() == []
    await recorder.sweeper.sweep(time.time())
    assert "no verified segment" in str(recorder.problem())
    monkeypatch.setattr(recorder.ready, "disk", lambda: (0, total))
    await recorder.sweeper.sweep(time.time())
    assert recorder.problem() is None


async def test_young_segments_stay_on_a_full_disk(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of the last two hours stays, however full the disk is."""
    await recorder.add(1, 1.9 / 24)
    await recorder.add(2, 2.1 / 24)
    monkeypatch.setattr(recorder.ready, "disk", lambda: (100, 100))
    await recorder.sweeper.sweep(time.time())
    assert recorder.left() == [1]


async def test_store_out_of_reach(recorder: Recorder, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer from the store nothing goes."""
    from daedalus_sync.object_store import StoreError

    await recorder.add(1, 8)

    def no_answer(_: str) -> None:
        raise StoreError("network", "no answer")

    monkeypatch.setattr(recorder.store, "head", no_answer)
    with pytest.raises(StoreError):
        await recorder.sweeper.sweep(time.time())
    assert recorder.left() == [1]


async def test_emptied_folders_go(recorder: Recorder) -> None:
    """Folders that have been empty for two hours go; younger ones, and ready/ itself, stay."""
    old, young = recorder.ready.root / "ccxt" / "old", recorder.ready.root / "ccxt" / "young"
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (time.time() - 3 * 3600,) * 2)
    await recorder.sweeper.sweep(time.time())
    assert not old.exists()
    assert young.exists()
