"""S3's answers in our terms."""

from __future__ import annotations

import pytest

from daedalus_sync.object_store import SegmentError, StoreError
from daedalus_sync.store_errors import store_error


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", "throttled"),
        (429, "TooManyRequests", "throttled"),
        (500, "InternalError", "server"),
        (502, "", "server"),
        (400, "RequestTimeout", "server"),
        (400, "BadDigest", "digest"),
        (403, "RequestTimeTooSkewed", "clock"),
        (404, "NoSuchBucket", "refused"),
        (403, "AccessDenied", "refused"),
        (403, "403", "refused"),
        (403, "SignatureDoesNotMatch", "refused"),
        (403, "InvalidAccessKeyId", "refused"),
        (301, "PermanentRedirect", "refused"),
        (501, "NotImplemented", "refused"),
        (418, "Teapot", "refused"),
    ],
)
def test_kinds(status: int, code: str, kind: str) -> None:
    """Each answer is tried again at its pace: nothing but a segment's own fault is given up."""
    error = store_error(status, code, "why", "segments")
    assert isinstance(error, StoreError)
    assert error.kind == kind
    assert "why" in str(error)


def test_too_large_is_the_segments_own() -> None:
    """A segment that the store will never take does not hold up the others."""
    error = store_error(400, "EntityTooLarge", "", "segments")
    assert isinstance(error, SegmentError)


def test_refusals_have_a_hint() -> None:
    """Who reads a refusal is told what to do, and in which bucket."""
    assert "create the bucket" in str(store_error(404, "NoSuchBucket", "", "segments"))
    assert "bucket segments" in str(store_error(403, "AccessDenied", "", "segments"))
