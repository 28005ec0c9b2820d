"""Start-up is recovery: what a writer finds when it takes a shard, and puts right.

It reads the checkpoint and the catalog entries behind it, finishes the rename of a segment that was committed, deletes
the file of one that was not, and says from where to read the stream and what to pass over.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from nats.js import JetStreamContext

from daedalus.catalog import Checkpoint, Entry
from daedalus.naming import shard_stream
from daedalus_writer.commit import publish_file
from daedalus_writer.commit_log import CommitLog, persistently
from daedalus_writer.layout import Folders, Key
from daedalus_writer.segment import START, Position

_EPOCH = datetime.fromtimestamp(0, UTC)

_log = structlog.get_logger()


class Recovered:
    """What is committed, as far as the stream may deliver it again."""

    def __init__(self, epoch: str, position: Position) -> None:
        self.epoch = epoch
        """The creation time of the stream."""
        self.position = position
        """Everything up to here is committed."""
        self.committed: dict[Key, Position] = {}
        """Key → everything of it up to here is committed."""
        self.entries: list[tuple[int, int]] = []
        """(catalog sequence, last stream sequence) of the entries behind the checkpoint."""
        self.paths: list[Path] = []
        """Of those entries' files, below ready/, in their order."""


async def recover(js: JetStreamContext, log: CommitLog, folders: Folders, shard: int, shards: int) -> Recovered:
    """Put the shard's folders right and return where to go on. Safe to be killed at any point, and done again."""
    info = await persistently(lambda: js.stream_info(shard_stream(shard)), "reading the stream's state")
    checkpoint = await log.checkpoint()
    recovered = Recovered(str(info.created), _position(checkpoint, str(info.created), shard))
    paths: dict[str, Entry] = {}
    async for sequence, entry in log.entries(checkpoint.catalog_sequence if checkpoint else 1):
        key = Key(entry.exchange, entry.channel, entry.symbol, entry.hour)
        recovered.committed[key] = Position(entry.last_sequence, entry.last_timestamp_ns)
        recovered.entries.append((sequence, entry.last_sequence))
        recovered.paths.append(Path(entry.path))
        paths[entry.path] = entry
    renamed = deleted = 0
    for path in await asyncio.to_thread(lambda: list(folders.unfinished(shard, shards))):
        if (committed := paths.get(str(path))) is not None:
            await asyncio.to_thread(publish_file, committed, folders)
            renamed += 1
        else:
            (folders.active / path).unlink()
            deleted += 1
    await asyncio.to_thread(shutil.rmtree, folders.spool(shard), ignore_errors=True)
    _log.info(
        "shard was recovered",
        shard=shard,
        sequence=recovered.position.sequence,
        entries=len(paths),
        renamed=renamed,
        deleted=deleted,
    )
    return recovered


def _position(checkpoint: Checkpoint | None, epoch: str, shard: int) -> Position:
    if checkpoint is None:
        return START
    if checkpoint.epoch != epoch:
        _log.warning("stream was created anew since the last checkpoint", shard=shard, stream=shard_stream(shard))
        return START
    return Position(checkpoint.sequence, checkpoint.timestamp_ns)


async def start_of_reading(js: JetStreamContext, shard: int, position: Position) -> tuple[dict[str, Any], str | None]:
    """Where a consumer has to start to go on after `position`: JetStream's deliver policy, and what is wrong, if anything.

    After a power cut the stream may end before `position` and use the sequences again: then the server's time decides.
    """
    by_sequence = {"deliver_policy": "by_start_sequence", "opt_start_seq": position.sequence + 1}
    if position.sequence == 0:
        return {"deliver_policy": "all"}, None
    info = await persistently(lambda: js.stream_info(shard_stream(shard)), "reading the stream's state")
    if info.state.first_seq > position.sequence + 1 and info.state.messages:
        return by_sequence, "sequence_missing"
    if info.state.first_seq > position.sequence:
        return by_sequence, None
    if info.state.last_seq >= position.sequence:
        found = await persistently(
            lambda: js.get_msg(shard_stream(shard), seq=position.sequence), "reading the message at the checkpoint"
        )
        if found.time is not None and _nanoseconds(found.time) // 1000 == position.timestamp_ns // 1000:
            return by_sequence, None
    return {"deliver_policy": "by_start_time", "opt_start_time": iso(position.timestamp_ns + 1)}, "stream_rolled_back"


def _nanoseconds(moment: datetime) -> int:
    return int((moment - _EPOCH) / timedelta(microseconds=1)) * 1000


def iso(timestamp_ns: int) -> str:
    seconds, fraction = divmod(timestamp_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
