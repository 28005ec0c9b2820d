"""From the catalog into S3, with a real NATS server, a real S3 server and the real process."""

from __future__ import annotations

from pathlib import Path

from nats.js import JetStreamContext

from daedalus.catalog import encode
from support.eventually import eventually
from support.nats import NatsServer
from support.s3 import SECRET_KEY, S3Server
from support.segments import acknowledged, commit, content, entry_of, path_of, uploads, write
from support.sync_process import SyncProcess


async def test_committed_segment_is_uploaded_and_recorded(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """A segment of the catalog is in S3 with the right bytes, metadata and checksum, and once in UPLOADS."""
    sync.start()
    entry = await commit(js, sync.root, 1)
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 1, "the segment is uploaded")
    assert s3_server.objects(bucket) == {f"raw/{entry.path}": content(1)}
    head = s3_server.client().head_object(Bucket=bucket, Key=f"raw/{entry.path}")
    assert head["Metadata"] == {"sha256": entry.sha256, "rows": "100"}
    assert head["ContentType"] == "application/vnd.apache.parquet"
    [upload] = await uploads(js)
    assert (upload.path, upload.bucket, upload.key) == (entry.path, bucket, f"raw/{entry.path}")
    assert (upload.size_bytes, upload.sha256) == (entry.size_bytes, entry.sha256)
    await eventually(lambda: acknowledged(js), "the entry is acknowledged")
    assert sync.readyz() == "ok\n"
    assert sync.stop() == 0
    assert SECRET_KEY not in sync.log.read_text()


async def test_entry_before_its_file(sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str) -> None:
    """An entry whose file is renamed into ready/ only later is uploaded then, and counts as no error."""
    sync.start()
    entry = entry_of(path_of(1), content(1))
    await js.publish(entry.subject, encode(entry))
    await commit(js, sync.root, 2)
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 1, "the other segment goes first")
    write(sync.root, path_of(1), content(1))
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 2, "the late file is uploaded")
    assert len(s3_server.objects(bucket)) == 2
    assert sync.metric("daedalus_sync_errors_total") == 0


async def test_other_object_is_not_overwritten(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """Another object under the key stays, is told in /readyz, and does not hold up the next segment."""
    s3_server.client().put_object(Bucket=bucket, Key=f"raw/{path_of(1)}", Body=b"somebody else's")
    sync.start()
    await commit(js, sync.root, 1)
    await commit(js, sync.root, 2)
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 1, "the next segment is uploaded")
    await eventually(lambda: "found another object there" in sync.readyz(), "the conflict is told")
    await eventually(lambda: acknowledged(js), "the entries are done with")
    assert s3_server.objects(bucket)[f"raw/{path_of(1)}"] == b"somebody else's"
    assert [upload.path for upload in await uploads(js)] == [path_of(2)]
    assert (sync.root / "raw" / "ready" / path_of(1)).exists()


async def test_damaged_file_is_refused(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """A file whose bytes are not those of its commit is refused by the server, told, and stays refused after a restart."""
    damaged = bytearray(content(1))
    damaged[100] ^= 1
    entry = await commit(js, sync.root, 1)
    write(sync.root, entry.path, bytes(damaged))
    sync.start()
    await commit(js, sync.root, 2)
    await eventually(lambda: "expected SHA-256" in sync.readyz(), "the damage is told")
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 1, "the next segment is uploaded")
    assert sync.stop() == 0
    sync.start()
    await eventually(lambda: sync.readyz() == "ok\n", "the entry is not delivered again")
    assert list(s3_server.objects(bucket)) == [f"raw/{path_of(2)}"]


async def test_wrong_secret_is_told_and_nothing_is_lost(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, nats_server: NatsServer, bucket: str, tmp_path: Path
) -> None:
    """With a wrong secret /readyz says so and the segment stays; with the right one it is uploaded."""
    await commit(js, sync.root, 1)
    storage: dict[str, object] = {"backend": "s3", "bucket": bucket, "endpoint_url": s3_server.url}
    wrong = SyncProcess(tmp_path / "sync", nats_server.url, storage, secret_key="wrong")
    wrong.start()
    await eventually(lambda: "AWS_SECRET_ACCESS_KEY" in wrong.readyz(), "the refusal is told")
    assert s3_server.objects(bucket) == {}
    assert wrong.stop() == 0
    sync.start()
    await eventually(lambda: sync.metric("daedalus_sync_sent_segments_total") == 1, "the segment is uploaded")
    assert sync.readyz() == "ok\n"


async def test_missing_bucket_is_told(
    sync: SyncProcess, js: JetStreamContext, s3_server: S3Server, bucket: str
) -> None:
    """A bucket that is not there is told in /readyz and not made."""
    s3_server.client().delete_bucket(Bucket=bucket)
    await commit(js, sync.root, 1)
    sync.start()
    await eventually(lambda: "create the bucket" in sync.readyz(), "the missing bucket is told")
    assert "NoSuchBucket" in sync.log.read_text()


async def test_local_backend(tmp_path: Path, nats_server: NatsServer, js: JetStreamContext) -> None:
    """With backend local the catalog is followed to its end, the process is ready, and no file goes."""
    sync = SyncProcess(tmp_path / "local", nats_server.url, {"retain_days": 0.0001, "disk_watermark_percent": 50})
    for number in range(20):
        await commit(js, sync.root, number)
    sync.start()
    await eventually(lambda: sync.metric("daedalus_sync_received_segments_total") == 20, "the catalog is followed")
    await eventually(lambda: acknowledged(js), "the entries are acknowledged")
    await eventually(lambda: sync.readyz() == "ok\n", "it is ready")
    assert sync.stop() == 0
    assert len(list((sync.root / "raw" / "ready").rglob("*.parquet"))) == 20
    assert await uploads(js) == []


async def test_configuration_mistake(tmp_path: Path) -> None:
    """A mistake in storage ends the process with exit code 78 before it connects, and says which."""
    storage: dict[str, object] = {"backend": "s3", "bucket": "segments", "endpoint_url": "http://key:secret@host"}
    sync = SyncProcess(tmp_path, "nats://127.0.0.1:1", storage)
    sync.start()
    await eventually(lambda: not sync.running, "it ends")
    assert sync.stop() == 78
    assert "storage.endpoint_url: expected no credentials" in sync.log.read_text()
    assert "key:secret" not in sync.log.read_text()
