"""Start-up is recovery: what a writer finds when it takes a shard, and puts right.

It reads the checkpoint and the catalog entries behind it, finishes the rename of each segment that was committed, empties
the rooms of the writers before it, and says from where to read the stream and what to pass over.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from daedalus.catalog import Checkpoint, Entry
from daedalus.naming import shard_stream, staged_name
from daedalus_writer.commit import publish_file
from daedalus_writer.commit_log import CommitLog, persistently
from daedalus_writer.disk import Room
from daedalus_writer.layout import Folders, Key
from daedalus_writer.orphans import may_have_lost_power, orphans
from daedalus_writer.segment import START, Position

_LOOK_BACK_NS = 600 * 10**9
"""JetStream syncs the catalog and the checkpoints each in its own time, every 2 minutes unless told otherwise: the catalog may
have lost what the checkpoint relies on.
"""
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
        self.entries: list[tuple[int, Position]] = []
        """(catalog sequence, last message) of the entries behind the checkpoint."""
        self.paths: list[Path] = []
        """Of those entries' files, below ready/, in their order."""
        self.rolled_back = False
        """The stream lost messages that are committed, and may use their sequences again."""
        self._newest_sequence = 0

    def note(self, catalog_sequence: int, entry: Entry) -> None:
        """A committed segment."""
        last = Position(entry.last_sequence, entry.last_timestamp_ns)
        self.committed[Key(entry.exchange, entry.channel, entry.symbol, entry.hour)] = last
        self._newest_sequence = max(self._newest_sequence, last.sequence)
        self.entries.append((catalog_sequence, last))
        self.paths.append(Path(entry.path))

    def may_have(self, at: Position) -> bool:
        """Whether anything of the message at this position can be committed: the quick question before `has`."""
        return at.sequence <= self._newest_sequence

    def has(self, key: Key, at: Position) -> bool:
        """Whether the records of a key in the message at this position are committed.

        Sequences say it. Only in a stream that was rolled back the server's time has to agree; elsewhere it must not be
        asked, because a server's clock can step back.
        """
        committed = self.committed.get(key)
        if committed is None or at.sequence > committed.sequence:
            return False
        return not self.rolled_back or at.timestamp_ns <= committed.timestamp_ns


async def recover(js: JetStreamContext, log: CommitLog, folders: Folders, shard: int, room: Room) -> Recovered:
    """Put the shard's folders right and return where to go on. Safe to be killed at any point, and done again.

    A full disk is waited for. Raises FencedError when another writer owns the shard.
    """
    info = await persistently(lambda: js.stream_info(shard_stream(shard)), "reading the stream's state")
    epoch = str(info.created)
    checkpoint = await log.checkpoint()
    recovered = Recovered(epoch, _position(checkpoint, epoch, shard))
    entries: dict[str, Entry] = {}
    async for sequence, entry in log.entries(checkpoint.catalog_sequence if checkpoint else 1):
        recovered.note(sequence, entry)
        entries[entry.path] = entry
    if may_have_lost_power(recovered.position.timestamp_ns):
        created_ns = int(info.created.timestamp() * 1e9) if info.created else 0
        since_ns = (recovered.position.timestamp_ns or created_ns) - _LOOK_BACK_NS
        for entry in await room.run(lambda: orphans(folders.ready, shard, since_ns, entries)):
            if entry.path in [found.path async for _, found in log.entries(1, entry.subject)]:
                continue
            recovered.note(await log.append(entry), entry)
            _log.warning("file in ready/ had lost its entry", path=entry.path)
    recovered.rolled_back = (checkpoint is not None and checkpoint.epoch != epoch) or not await _are_there(
        js, shard, [recovered.position, *(last for _, last in recovered.entries)]
    )
    renamed = await room.run(lambda: _empty_rooms(folders, entries))
    _log.info(
        "shard was recovered",
        shard=shard,
        sequence=recovered.position.sequence,
        entries=len(entries),
        renamed=renamed,
        rolled_back=recovered.rolled_back,
    )
    return recovered


def _empty_rooms(folders: Folders, entries: dict[str, Entry]) -> int:
    """Finish the renames that other writers left, and delete the rooms of those before us; returns how many were renamed.

    A file is looked for in the room of the writer that committed it: one that was refused may have left another file for
    the same path. And one that was asleep since it took the shard may find its successor's room here: that stays.
    """
    renamed = 0
    for path, entry in entries.items():
        room = folders.room_of(entry.writer)
        if (room / staged_name(path)).exists():
            publish_file(entry, room, folders.ready)
            renamed += 1
    for room in folders.earlier_rooms():
        if folders.is_left(room):
            shutil.rmtree(room, ignore_errors=True)
    os.sync()  # a writer that was killed between a rename, or a new directory, and its fsync has left that to us
    return renamed


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
    if position.sequence == 0:
        return {"deliver_policy": "all"}, None
    if not await _is_there(js, shard, position):
        return {
            "deliver_policy": "by_start_time",
            "opt_start_time": iso(position.timestamp_ns + 1),
        }, "stream_rolled_back"
    info = await persistently(lambda: js.stream_info(shard_stream(shard)), "reading the stream's state")
    missing = info.state.messages > 0 and info.state.first_seq > position.sequence + 1
    by_sequence = {"deliver_policy": "by_start_sequence", "opt_start_seq": position.sequence + 1}
    return by_sequence, "sequence_missing" if missing else None


async def _are_there(js: JetStreamContext, shard: int, positions: list[Position]) -> bool:
    """All of them: a stream that has used sequences again may have the newest message, and not those before."""
    for position in {(one.sequence, one.timestamp_ns): one for one in positions}.values():
        if not await _is_there(js, shard, position):
            return False
    return True


async def _is_there(js: JetStreamContext, shard: int, position: Position) -> bool:
    """Whether the stream still has this message, or has trimmed it; False: it has lost it, or another one in its place."""
    info = await persistently(lambda: js.stream_info(shard_stream(shard)), "reading the stream's state")
    if position.sequence < info.state.first_seq or position.sequence == 0:
        return info.state.last_seq >= position.sequence
    if position.sequence > info.state.last_seq:
        return False
    found = await persistently(lambda: js.get_msg(shard_stream(shard), seq=position.sequence), "reading one message")
    return is_at(found, position)


def is_at(message: RawStreamMsg, position: Position) -> bool:
    """Whether this is the message that was at the position, and not one that has its sequence now."""
    return message.time is not None and _nanoseconds(message.time) // 1000 == position.timestamp_ns // 1000


def _nanoseconds(moment: datetime) -> int:
    return int((moment - _EPOCH) / timedelta(microseconds=1)) * 1000


def iso(timestamp_ns: int) -> str:
    seconds, fraction = divmod(timestamp_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
