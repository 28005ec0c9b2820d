"""Which segments are in UPLOADS already: 2 million of them in about 30 MB."""

from __future__ import annotations

import hashlib

_BUCKETS = 1 << 14
_PATH_BYTES = 8
_RECORD_BYTES = _PATH_BYTES + 4


class UploadedSet:
    """Paths and checksums as digests: 78 bits of a path, 32 of a checksum; a false hit among millions: 1 in 10**11.

    A false hit would leave a segment here, not lose it: deletion asks the store itself. Read from several threads.
    """

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, path: str) -> bool:
        """Whether a segment was uploaded under the path, whatever its checksum."""
        return self._recorded(path) is not None

    def has(self, path: str, sha256: str) -> bool:
        """Whether this very segment was uploaded."""
        return self._recorded(path) == _checksum(sha256)

    def add(self, path: str, sha256: str) -> None:
        if path not in self:
            index, key = _key(path)
            self._buckets[index] += key + _checksum(sha256)
            self._count += 1

    def _recorded(self, path: str) -> bytes | None:
        """The checksum recorded for a path."""
        index, key = _key(path)
        bucket = self._buckets[index]
        start = bucket.find(key)
        while start != -1 and start % _RECORD_BYTES:  # bytes of two records that look like the key
            start = bucket.find(key, start + 1)
        return None if start == -1 else bytes(bucket[start + _PATH_BYTES : start + _RECORD_BYTES])


def _key(path: str) -> tuple[int, bytes]:
    digest = hashlib.blake2b(path.encode(), digest_size=_PATH_BYTES + 2).digest()
    return int.from_bytes(digest[:2], "big") % _BUCKETS, digest[2:]


def _checksum(sha256: str) -> bytes:
    return bytes.fromhex(sha256[:8])
