"""Segments that `daedalus-writer compact` has merged, on their way to S3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from daedalus.catalog import encode
from daedalus_writer.compact import command as compact_command
from daedalus_writer.compact import compaction
from support.eventually import eventually
from support.s3 import S3Server
from support.sealed import Sealed
from support.segments import acknowledged, uploads
from support.sync_process import SyncProcess

SENT = "daedalus_sync_sent_segments_total"


@pytest.fixture
def compact(
    sync: SyncProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs the command with the configuration of sync; returns what it told."""
    monkeypatch.setattr("daedalus.logs.configure", lambda *_: None)  # it would be for the whole test run
    monkeypatch.setattr(compaction, "LINGER_SECONDS", 0.1)
    config = str(tmp_path / "sync" / "config.yaml")

    def run(*arguments: str) -> str:
        assert compact_command.main(["--config", config, *arguments]) == 0
        return capsys.readouterr().out

    return run


async def sealed_three(sync: SyncProcess, js: JetStreamContext, form: str) -> Sealed:
    """Three segments of one key, committed."""
    sealed = Sealed(sync.root, form)
    for number in range(3):
        sealed.segment(sequences=(number + 1, number + 1), first_number=50 * number)
    for entry in sealed.entries:
        await js.publish(entry.subject, encode(entry))
    return sealed


async def test_objects_are_replaced(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str, compact: Callable[..., str]
) -> None:
    """What is in S3 is merged on demand only; then the larger object is put and verified before the small ones go."""
    sealed = await sealed_three(sync, js, "parquet")
    small = [f"raw/{entry.path}" for entry in sealed.entries]
    sync.start()
    await eventually(lambda: sync.metric(SENT) == 3, "the segments are uploaded")
    await eventually(lambda: acknowledged(js), "their entries are done with")
    assert sorted(s3_server.objects(bucket)) == small
    assert "3 files are in S3" in await asyncio.to_thread(compact)
    s3_server.client().put_object(Bucket=bucket, Key=small[2], Body=b"somebody else's")
    assert "3 → 1 files" in await asyncio.to_thread(compact, "--uploaded")
    [file] = sealed.ready.rglob("segment_*")
    larger = f"raw/{file.relative_to(sealed.ready)}"
    await eventually(lambda: sync.metric(SENT) == 4, "the objects are replaced")
    assert s3_server.objects(bucket) == {larger: file.read_bytes(), small[2]: b"somebody else's"}
    assert sorted(upload.key for upload in await uploads(js)) == sorted([*small, larger])
    assert "it is another one" in sync.log.read_text()
    sealed.segment(sequences=(4, 4), first_number=150)
    await js.publish(sealed.entries[-1].subject, encode(sealed.entries[-1]))
    await eventually(lambda: sync.metric(SENT) == 5, "what came late is uploaded")
    await eventually(lambda: acknowledged(js), "all that was replaced is gone")
    assert "2 → 1 files" in await asyncio.to_thread(compact, "--uploaded")
    await eventually(lambda: sync.metric(SENT) == 6, "the larger object is replaced, too")
    [file] = sealed.ready.rglob("segment_*")
    assert file.name == "segment_20260917T11_00001-00004.parquet"
    assert sorted(s3_server.objects(bucket)) == sorted([f"raw/{file.relative_to(sealed.ready)}", small[2]])
    assert sync.readyz() == "ok\n"


async def test_merged_before_sync_came(
    sync: SyncProcess,
    js: JetStreamContext,
    s3_server: S3Server,
    bucket: str,
    compact: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entries of segments that were merged before S3 was configured miss nothing: only the larger one is uploaded."""
    sealed = await sealed_three(sync, js, "ndjson")
    with monkeypatch.context() as local:
        local.setenv("DAEDALUS__STORAGE__BACKEND", "local")
        assert "3 → 1 files" in await asyncio.to_thread(compact)
    sync.start()
    await eventually(lambda: sync.metric(SENT) == 1, "the larger one is uploaded")
    await eventually(lambda: acknowledged(js), "every entry is done with")
    [file] = sealed.ready.rglob("segment_*")
    assert s3_server.objects(bucket) == {f"raw/{file.relative_to(sealed.ready)}": file.read_bytes()}
    assert sync.metric("daedalus_sync_discarded_segments_total") == 3
    assert sync.metric("daedalus_sync_errors_total") == 0
    assert sync.readyz() == "ok\n"
