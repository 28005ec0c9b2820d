"""Gives the stream's space back: what is committed and older than the history that is kept goes."""

from __future__ import annotations

import json
import time

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client

from daedalus.naming import shard_stream
from daedalus_writer.recovery import is_at, iso
from daedalus_writer.segment import Position
from daedalus_writer.steps import passed

FULL_PERCENT = 70
"""Above this use of the stream's limit, room for new data counts more than history."""

_log = structlog.get_logger()


async def trim(client: Client, shard: int, committed: Position, retain_seconds: float) -> None:
    """Purge up to `committed` what is older than `retain_seconds`, or all of it when the stream is nearly full.

    Nothing goes unless the message at `committed` is there: a stream that was rolled back uses sequences again, and the
    messages that have them now may not even have been read. JetStream being away is no error: the next call does it.
    """
    stream, js = shard_stream(shard), client.jetstream()
    try:
        info = await js.stream_info(stream)
        if committed.sequence == 0 or not info.state.first_seq <= committed.sequence <= info.state.last_seq:
            return
        if not is_at(await js.get_msg(stream, seq=committed.sequence), committed):
            return
        limit = info.config.max_bytes or 0
        first_to_keep = committed.sequence + 1
        if limit <= 0 or info.state.bytes * 100 < limit * FULL_PERCENT:
            since = iso(time.time_ns() - int(retain_seconds * 1e9))
            first_to_keep = min(
                first_to_keep, await _first_since(client, stream, f"md.{shard}.>", since) or first_to_keep
            )
        if info.state.first_seq < first_to_keep:
            await js.purge_stream(stream, seq=first_to_keep)
            passed("trimmed")
            _log.debug("stream was trimmed", stream=stream, first_sequence=first_to_keep)
    except (nats.errors.Error, nats.js.errors.Error) as error:
        _log.debug("stream was not trimmed", stream=stream, error_type=type(error).__name__)


async def _first_since(client: Client, stream: str, subject: str, since: str) -> int | None:
    """The first sequence stored at or after a time; None: there is none."""
    body = json.dumps({"start_time": since, "next_by_subj": subject}).encode()
    answer = json.loads((await client.request(f"$JS.API.STREAM.MSG.GET.{stream}", body, timeout=5)).data)
    return int(answer["message"]["seq"]) if "message" in answer else None
