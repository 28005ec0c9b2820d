"""An object store in memory, with the behaviour of a good S3 server; `checksums=False`: of one that keeps none."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from daedalus_sync.object_store import Object, StoreError
from daedalus_sync.segment import Segment


class MemoryStore:
    def __init__(self, *, checksums: bool = True) -> None:
        self.objects: dict[str, tuple[bytes, str | None]] = {}
        """Key → content and the SHA-256 that its uploader told."""
        self.checksums = checksums
        self.failures: list[StoreError] = []
        """Raised by the next calls, one each."""

    def put_if_absent(self, key: str, body: BinaryIO, segment: Segment) -> bool:
        self._fail()
        if key in self.objects:
            return False
        data = body.read()
        if self.checksums and hashlib.sha256(data).hexdigest() != segment.sha256:
            raise StoreError("digest", "BadDigest")
        self.objects[key] = (data, segment.sha256)
        return True

    def head(self, key: str) -> Object | None:
        self._fail()
        if key not in self.objects:
            return None
        data, told = self.objects[key]
        return Object(
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest() if self.checksums else None,
            told_sha256=told,
            etag=hashlib.md5(data).hexdigest(),
        )

    def delete(self, key: str) -> None:
        self._fail()
        self.objects.pop(key, None)

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
