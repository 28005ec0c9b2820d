"""The stream UPLOADS: reading what was uploaded, and recording what was verified."""

from __future__ import annotations

import asyncio
import random

import nats.errors
import structlog
from nats.js import JetStreamContext

from daedalus.catalog import Upload, decode_upload, encode
from daedalus.errors import PermanentError
from daedalus.naming import UPLOADS_STREAM
from daedalus_sync.back_off import delay_seconds
from daedalus_sync.log_stream import messages
from daedalus_sync.pause import pause
from daedalus_sync.s3 import object_key
from daedalus_sync.segment import Segment
from daedalus_sync.uploaded import UploadedSet

_PUBLISH_SECONDS = 5.0

_log = structlog.get_logger()


class UploadLog:
    """What lies in the configured bucket under the configured prefix, by its entries in UPLOADS."""

    def __init__(self, js: JetStreamContext, bucket: str, prefix: str, stopping: asyncio.Event) -> None:
        self._js = js
        self._bucket = bucket
        self._prefix = prefix
        self._stopping = stopping
        self.uploaded = UploadedSet()

    def key(self, path: str) -> str:
        return object_key(self._prefix, path)

    async def load(self) -> None:
        """Read the stream once; entries of another bucket or prefix do not count."""
        async for message in messages(self._js, UPLOADS_STREAM):
            try:
                upload = decode_upload(message.data)
            except PermanentError as error:
                _log.error("an entry of UPLOADS could not be read", error=str(error))
                continue
            if upload.bucket == self._bucket and upload.key == self.key(upload.path):
                self.uploaded.add(upload.path, upload.sha256)
        _log.info("uploads were read", segments=len(self.uploaded))

    async def record(self, segment: Segment, verified_ns: int) -> None:
        """Store the entry, once: tried again for ever under one message id. Raises StoppingError."""
        upload = Upload(
            path=segment.path,
            bucket=self._bucket,
            key=self.key(segment.path),
            size_bytes=segment.size_bytes,
            sha256=segment.sha256,
            verified_ns=verified_ns,
        )
        headers = {"Nats-Msg-Id": f"{upload.bucket}/{upload.key}"}
        attempt = 0
        while True:
            try:
                await self._js.publish(segment.subject, encode(upload), timeout=_PUBLISH_SECONDS, headers=headers)
                break
            except (
                nats.errors.Error
            ) as error:  # also a stream that is missing or full: a person's, or JetStream's, to mend
                _log.warning("an upload was not recorded", path=segment.path, error_type=type(error).__name__)
            await pause(self._stopping, delay_seconds(attempt, random.random()))
            attempt += 1
        self.uploaded.add(segment.path, segment.sha256)
