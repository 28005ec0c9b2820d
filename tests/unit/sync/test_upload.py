"""One upload, over a store in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from daedalus_sync.object_store import SegmentError, StoreError
from daedalus_sync.segment import from_entry
from daedalus_sync.upload import upload, withdraw
from support.memory_store import MemoryStore
from support.segments import content, entry_of, path_of

DATA = content(1)
SEGMENT = from_entry(entry_of(path_of(1), DATA))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "segment_1.parquet"
    file.write_bytes(DATA)
    return file


@pytest.fixture(params=[True, False], ids=["checksums", "no checksums"])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    return MemoryStore(checksums=request.param)


def test_upload_and_again(store: MemoryStore, file: Path) -> None:
    """The first time it is put, the second time it is found; both end well."""
    assert upload(store, "key", SEGMENT, file)
    assert not upload(store, "key", SEGMENT, file)
    assert store.objects == {"key": (DATA, SEGMENT.sha256)}


def test_conflict(store: MemoryStore, file: Path) -> None:
    """Another object of the same size, even one that claims our checksum, is a conflict and stays."""
    other = bytes(len(DATA))
    store.objects["key"] = (other, SEGMENT.sha256)
    with pytest.raises(SegmentError) as caught:
        upload(store, "key", SEGMENT, file)
    assert caught.value.kind == "conflict"
    assert store.objects["key"] == (other, SEGMENT.sha256)


def test_damaged_file_is_never_proved(store: MemoryStore, file: Path) -> None:
    """A file that is not what was committed is refused, or told as a conflict where the server does not check."""
    file.write_bytes(bytes(len(DATA)))
    with pytest.raises(SegmentError) as caught:
        upload(store, "key", SEGMENT, file)
    assert caught.value.kind == ("corrupt" if store.checksums else "conflict")


def test_truncated_file_is_not_sent(store: MemoryStore, file: Path) -> None:
    """A file of another size is told without sending it."""
    file.write_bytes(DATA[:-1])
    with pytest.raises(SegmentError) as caught:
        upload(store, "key", SEGMENT, file)
    assert caught.value.kind == "corrupt"
    assert store.objects == {}


def test_damage_on_the_way_is_transient(file: Path) -> None:
    """A refused checksum with a right file is the network's doing: tried again."""
    store = MemoryStore()
    store.failures.append(StoreError("digest", "BadDigest"))
    with pytest.raises(StoreError):
        upload(store, "key", SEGMENT, file)


def test_missing_file(store: MemoryStore, tmp_path: Path) -> None:
    """A file that is gone is an error, unless the server proves the object by itself."""
    with pytest.raises(SegmentError) as caught:
        upload(store, "key", SEGMENT, tmp_path / "gone")
    assert caught.value.kind == "missing"
    store.objects["key"] = (DATA, SEGMENT.sha256)
    if store.checksums:
        assert not upload(store, "key", SEGMENT, tmp_path / "gone")
    else:
        with pytest.raises(SegmentError):
            upload(store, "key", SEGMENT, tmp_path / "gone")


def test_vanished_object_is_transient(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is not there a moment after the put is not taken for uploaded."""
    store = MemoryStore()
    monkeypatch.setattr(store, "head", lambda _: None)
    with pytest.raises(StoreError) as caught:
        upload(store, "key", SEGMENT, file)
    assert caught.value.kind == "absent"


def test_replaced_object_is_withdrawn(store: MemoryStore) -> None:
    """The object goes when it is the segment; what is not there is no error, and another object stays."""
    store.objects["key"] = (DATA, SEGMENT.sha256)
    assert withdraw(store, "key", SEGMENT.sha256)
    assert withdraw(store, "key", SEGMENT.sha256)
    assert store.objects == {}
    store.objects["key"] = (b"another", None)
    assert not withdraw(store, "key", SEGMENT.sha256)
    assert store.objects == {"key": (b"another", None)}
