"""What sync asks of an object store, and how a store says no. The implementation is in `s3`, its wrapper in `pace`.

TransientError
└── StoreError     tried again for ever: the network, the server, its clock, or what it refuses us until somebody acts
PermanentError
└── SegmentError   about one segment only: it stays here, is shown, and the others go on
"""

from __future__ import annotations

from typing import BinaryIO, Literal, Protocol

import msgspec

from daedalus.errors import PermanentError, TransientError
from daedalus_sync.segment import Segment

StoreErrorKind = Literal["network", "server", "throttled", "clock", "refused", "digest", "absent"]
SegmentErrorKind = Literal["conflict", "corrupt", "missing", "rejected", "unreadable", "invalid"]


class StoreError(TransientError):
    """The store did not do it now. `refused`: it will not until credentials, bucket or policy are put right."""

    def __init__(self, kind: StoreErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: StoreErrorKind = kind

    @property
    def refused(self) -> bool:
        return self.kind == "refused"


class SegmentError(PermanentError):
    """This segment cannot be uploaded as it is; its file stays where it is."""

    def __init__(self, kind: SegmentErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: SegmentErrorKind = kind


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says of an object."""

    size_bytes: int
    sha256: str | None
    """Hexadecimal, computed by the server over the whole object; None where it keeps no checksums."""
    told_sha256: str | None
    """What the uploader wrote into the metadata: its intent only."""
    etag: str


class ObjectStore(Protocol):
    """Blocking: called in threads, by several at once."""

    def put_if_absent(self, key: str, body: BinaryIO, segment: Segment) -> bool:
        """Store the body, unless there is an object under the key: then False, whatever that object is.

        The server checks the body against the segment's SHA-256. Raises StoreError, SegmentError.
        """
        ...

    def head(self, key: str) -> Object | None:
        """What lies under the key now; None: nothing. Raises StoreError."""
        ...

    def delete(self, key: str) -> None:
        """Delete what lies under the key, if anything. Raises StoreError."""
        ...
