"""S3's error codes in our terms: what passes, what somebody must put right, and what is one segment's own."""

from __future__ import annotations

from daedalus_sync.object_store import SegmentError, StoreError

_DIGEST = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
_PASSING = {"RequestTimeout", "IncompleteBody", "OperationAborted", "InternalError", "ServiceUnavailable"}
_REJECTED = {"EntityTooLarge", "KeyTooLongError"}

_HINTS = {
    "NoSuchBucket": "create the bucket, or correct storage.bucket",
    "AccessDenied": "the key needs s3:PutObject, s3:GetObject and s3:ListBucket",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the session's credentials",
    "PermanentRedirect": "correct storage.region",
    "AuthorizationHeaderMalformed": "correct storage.region",
    "NotImplemented": "the server cannot put conditionally (If-None-Match): use another",
    "404": "create the bucket, or correct storage.bucket",
    "403": "the key needs s3:PutObject, s3:GetObject and s3:ListBucket",
}


def store_error(status: int, code: str, message: str, bucket: str) -> StoreError | SegmentError:
    """The error for an HTTP status and S3's code (for HEAD, which has no body, the code is the status)."""
    told = f"S3 answered {status} {code}" + (f": {message}" if message else "")
    if code == "RequestTimeTooSkewed":
        return StoreError("clock", f"{told}; waiting for this machine's clock to be set (NTP)")
    if code in _DIGEST:
        return StoreError("digest", told)
    if code in _THROTTLED or status == 429:
        return StoreError("throttled", told)
    if code in _REJECTED:
        return SegmentError("rejected", told)
    if code in _PASSING or (status >= 500 and status != 501) or status == 0:
        return StoreError("server", told)
    hint = _HINTS.get(code, "see docs/sync.md")
    return StoreError("refused", f"bucket {bucket}: {told}; {hint}")
