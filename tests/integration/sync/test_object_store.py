"""The contract of an object store, on the one in memory and on the real server."""

from __future__ import annotations

import hashlib
import io

import pytest

from daedalus.config import Storage
from daedalus_sync.object_store import ObjectStore, StoreError
from daedalus_sync.s3 import open_store
from daedalus_sync.segment import Segment
from support.memory_store import MemoryStore
from support.s3 import ACCESS_KEY, SECRET_KEY, S3Server

DATA = b"PAR1 and so on" * 1000


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest, s3_server: S3Server, bucket: str) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    return open_store(Storage(backend="s3", bucket=bucket, endpoint_url=s3_server.url))


def segment_of(data: bytes) -> Segment:
    sha256 = hashlib.sha256(data).hexdigest()
    return Segment(path="segment_1.parquet", subject="uploads.0.a.b.c", size_bytes=len(data), sha256=sha256, rows=3)


def test_put_and_head(store: ObjectStore) -> None:
    """What was put is there, with size, the server's own SHA-256, what was told, and the MD5 as ETag."""
    assert store.put_if_absent("a/b=1/c", io.BytesIO(DATA), segment_of(DATA))
    found = store.head("a/b=1/c")
    assert found is not None
    assert found.size_bytes == len(DATA)
    assert found.sha256 == found.told_sha256 == segment_of(DATA).sha256
    assert found.etag == hashlib.md5(DATA).hexdigest()


def test_absent(store: ObjectStore) -> None:
    """Nothing under the key is None, not an error."""
    assert store.head("nothing") is None


def test_put_never_overwrites(store: ObjectStore) -> None:
    """A second put under a key returns False and changes nothing, the same content or not."""
    other = DATA[::-1]
    assert store.put_if_absent("key", io.BytesIO(DATA), segment_of(DATA))
    assert not store.put_if_absent("key", io.BytesIO(other), segment_of(other))
    assert not store.put_if_absent("key", io.BytesIO(DATA), segment_of(DATA))
    found = store.head("key")
    assert found is not None
    assert found.sha256 == segment_of(DATA).sha256


def test_delete(store: ObjectStore) -> None:
    """What was deleted is gone; what is not there can be deleted, too."""
    assert store.put_if_absent("key", io.BytesIO(DATA), segment_of(DATA))
    for _ in range(2):
        store.delete("key")
        assert store.head("key") is None


def test_damaged_body_is_refused(store: ObjectStore) -> None:
    """A body that is not what its checksum says is refused, and nothing is stored."""
    with pytest.raises(StoreError) as caught:
        store.put_if_absent("key", io.BytesIO(b"X" + DATA[1:]), segment_of(DATA))
    assert caught.value.kind == "digest"
    assert store.head("key") is None
