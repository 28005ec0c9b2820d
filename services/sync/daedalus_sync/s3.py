"""Object storage over S3's protocol, with boto3. One PUT per segment, always.

A single PUT is atomic, leaves no parts behind, and takes `If-None-Match`; segments are at most `segment_max_mb`, S3's
limit is 5 GB. The checksum goes along as a signed header, so that the body itself need not be hashed a second time.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, UnseekableStreamError
from botocore.exceptions import ConnectionError as BotoConnectionError

from daedalus.config import Storage
from daedalus.errors import ConfigError
from daedalus_sync.object_store import Object, StoreError
from daedalus_sync.segment import Segment
from daedalus_sync.store_errors import store_error

_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")  # S3's own rule is stricter, other servers' are not
_COMPOSITE = "-"  # a checksum like …-3 is of the parts, not of the object


class S3Store:
    """A bucket. Thread-safe, as boto3's clients are."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put_if_absent(self, key: str, body: BinaryIO, segment: Segment) -> bool:
        metadata = {"sha256": segment.sha256} | ({} if segment.rows is None else {"rows": str(segment.rows)})
        try:
            with self._errors_told():
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    ContentLength=segment.size_bytes,
                    ContentType=segment.content_type,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(segment.sha256)).decode(),
                    IfNoneMatch="*",
                    Metadata=metadata,
                )
        except _PresentError:
            return False
        return True

    def head(self, key: str) -> Object | None:
        try:
            with self._errors_told():
                answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except _AbsentError:
            return None
        checksum = answer.get("ChecksumSHA256") or _COMPOSITE
        return Object(
            size_bytes=answer["ContentLength"],
            sha256=None if _COMPOSITE in checksum else base64.b64decode(checksum).hex(),
            told_sha256=answer.get("Metadata", {}).get("sha256"),
            etag=answer.get("ETag", "").strip('"'),
        )

    def delete(self, key: str) -> None:
        with self._errors_told():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """boto3's errors in our terms."""
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            told = error.response.get("Error", {})
            if status in (409, 412):
                raise _PresentError from error
            if status == 404 and error.operation_name == "HeadObject":
                raise _AbsentError from error
            raise store_error(status, told.get("Code", ""), told.get("Message", ""), self._bucket) from error
        except (BotoConnectionError, HTTPClientError, UnseekableStreamError) as error:
            raise StoreError("network", str(error)) from error
        except BotoCoreError as error:
            raise StoreError("refused", f"{error} (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY?)") from error


class _PresentError(Exception):
    """409 or 412: something lies under the key, or is being put there."""


class _AbsentError(Exception):
    """404."""


def open_store(storage: Storage) -> S3Store:
    """A store over the configured bucket; connects to nothing yet. Raises ConfigError."""
    mistakes = []
    if not _BUCKET.fullmatch(storage.bucket):
        mistakes.append(f"storage.bucket: expected letters, digits, `.`, `-` and `_`, was {storage.bucket!r}")
    address = urlsplit(storage.endpoint_url)
    if storage.endpoint_url and (address.scheme not in ("http", "https") or not address.hostname):
        mistakes.append(f"storage.endpoint_url: expected http(s)://host:port or '', was {storage.endpoint_url!r}")
    if address.username or address.password:
        mistakes.append(
            "storage.endpoint_url: expected no credentials (set AWS_ACCESS_KEY_ID), was an address with some"
        )
    if not storage.region:
        mistakes.append("storage.region: expected a name, was ''")
    if mistakes:
        raise ConfigError(mistakes)
    options = BotoConfig(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 4},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=storage.upload_workers + 1,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "payload_signing_enabled": False,
            "addressing_style": "path" if storage.endpoint_url else "auto",
        },
    )
    client = boto3.client("s3", endpoint_url=storage.endpoint_url or None, region_name=storage.region, config=options)
    return S3Store(client, storage.bucket)


def object_key(prefix: str, path: str) -> str:
    """The key of a path below ready/: `prefix/path`, however the prefix' slashes are written."""
    prefix = prefix.strip("/")
    return f"{prefix}/{path}" if prefix else path
