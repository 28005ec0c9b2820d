"""JetStream's API, the requests that the supervisor makes and what it reads of their answers.

Not nats-py's own calls: those drop the times of a stream's first and last message.
https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from daedalus.errors import TransientError

T = TypeVar("T")

REQUEST_SECONDS = 3.0
NOT_FOUND = 404


class Api:
    """Asks one server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def request(self, api: str, body: Mapping[str, object], kind: type[T]) -> T | None:
        """The answer, or None when what was asked for does not exist.

        Raises TransientError when there is no answer, or one that cannot be read.
        """
        try:
            message = await self._client.request(f"$JS.API.{api}", msgspec.json.encode(body), timeout=REQUEST_SECONDS)
        except (nats.errors.Error, ConnectionError) as error:
            raise TransientError(f"JetStream did not answer {api}: {type(error).__name__}") from error
        try:
            if (failure := msgspec.json.decode(message.data, type=_Answer).error) is None:
                return msgspec.json.decode(message.data, type=kind)
        except msgspec.DecodeError as error:
            raise TransientError(f"{api}: expected {kind.__name__}, found {message.data[:80]!r}: {error}") from error
        if failure.code == NOT_FOUND:
            return None
        raise TransientError(f"JetStream refused {api}: {failure.description}")


class _Failure(msgspec.Struct):
    code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Failure | None = None


class StreamConfig(msgspec.Struct):
    name: str
    max_bytes: int = -1
    discard: str = "old"


class StreamState(msgspec.Struct):
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    first_ts: datetime
    last_ts: datetime


class StreamInfo(msgspec.Struct):
    config: StreamConfig
    state: StreamState
    created: datetime
    ts: datetime


class Subjects(msgspec.Struct):
    subjects: dict[str, int] | None = None


class SubjectsInfo(msgspec.Struct):
    state: Subjects


class StreamPage(msgspec.Struct):
    total: int
    streams: list[StreamInfo]


class StoredMessage(msgspec.Struct):
    time: datetime
    data: bytes = b""


class Stored(msgspec.Struct):
    message: StoredMessage


class ConsumerConfig(msgspec.Struct):
    durable_name: str = ""


class ConsumerInfo(msgspec.Struct):
    config: ConsumerConfig
    num_pending: int = 0
    num_ack_pending: int = 0


class ConsumerPage(msgspec.Struct):
    consumers: list[ConsumerInfo]
