"""One upload, from the file to the proof: put, read back, compare. Blocking: runs in a thread."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from daedalus_sync.object_store import Object, ObjectStore, SegmentError, StoreError
from daedalus_sync.segment import Segment

_CHUNK_BYTES = 1 << 18


def upload(store: ObjectStore, key: str, segment: Segment, file: Path) -> bool:
    """Return when the object was read back with the segment's size and checksum; True when it was put there now.

    A file that is gone is no error when the object is there already. Raises StoreError, SegmentError.
    """
    try:
        with file.open("rb") as body:
            stored = _put(store, key, segment, file, body)
    except FileNotFoundError:
        stored = False
        if (found := store.head(key)) is None or not proves(found, segment, None):
            raise SegmentError("missing", f"{file}: expected a file, or the object {key}, found neither") from None
        return stored
    except OSError as error:
        raise SegmentError("unreadable", f"{file}: expected a readable file, was {error.strerror or error}") from error
    found = store.head(key)
    if found is None:
        raise StoreError("absent", f"{key}: expected the object that was put, found nothing")
    if proves(found, segment, file):
        return stored
    expected = f"{segment.size_bytes} bytes, SHA-256 {segment.sha256}"
    was = f"{found.size_bytes} bytes, SHA-256 {found.sha256 or 'not told'}"
    raise SegmentError(
        "conflict", f"{key}: expected {expected}, found another object there ({was}); it was not touched"
    )


def withdraw(store: ObjectStore, key: str, sha256: str) -> bool:
    """Delete the object of a segment whose rows are in another one; False: what lies there is not that segment, and stays.

    Raises StoreError.
    """
    found = store.head(key)
    if found is None:
        return True
    if (found.sha256 or found.told_sha256) != sha256:
        return False
    store.delete(key)
    return True


def proves(found: Object, segment: Segment, file: Path | None) -> bool:
    """Whether the server's own words prove that the object is the segment.

    A server that keeps no checksums is believed when its ETag is the MD5 of the local file, and that file is right.
    """
    if found.size_bytes != segment.size_bytes:
        return False
    if found.sha256 is not None:
        return found.sha256 == segment.sha256
    if file is None or found.told_sha256 != segment.sha256:
        return False
    return digest(file, "sha256") == segment.sha256 and digest(file, "md5") == found.etag


def digest(file: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file, in constant memory. Raises OSError."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            state.update(chunk)
    return state.hexdigest()


def _put(store: ObjectStore, key: str, segment: Segment, file: Path, body: BinaryIO) -> bool:
    size = body.seek(0, 2)
    body.seek(0)
    if size != segment.size_bytes:
        raise SegmentError("corrupt", f"{file}: expected the {segment.size_bytes} bytes of its commit, found {size}")
    try:
        return store.put_if_absent(key, body, segment)
    except StoreError as error:
        if error.kind == "digest" and (found := digest(file, "sha256")) != segment.sha256:
            raise SegmentError(
                "corrupt", f"{file}: expected SHA-256 {segment.sha256} of its commit, found {found}"
            ) from error
        raise  # the file is right: it was damaged on the way
