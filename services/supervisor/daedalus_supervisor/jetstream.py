"""What JetStream says: its streams, the checkpoints, and how old what was not read or committed yet is.

Requests that change nothing: STREAM.LIST, STREAM.INFO, STREAM.MSG.GET, CONSUMER.LIST.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from nats.aio.client import Client

from daedalus.catalog import Checkpoint, decode_checkpoint
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET, UPLOADS_STREAM, shard_owner, shard_stream
from daedalus_supervisor.api import Api, ConsumerPage, Stored, StreamInfo, StreamPage, SubjectsInfo

Positions = Mapping[tuple[str, int], int]
"""A writer's instance and a shard → the last sequence that it says it has read."""

MAX_PAGES = 16
"""Of 256 streams each: the server may serve others as well."""
OWNERS = "catalog.*.owner"
"""`shard_owner` of every shard."""


class Stream(msgspec.Struct, frozen=True):
    """A stream as it was at `at`, the server's time."""

    name: str
    messages: int
    size_bytes: int
    limit_bytes: int
    """0: none."""
    refuses_when_full: bool
    first_sequence: int
    last_sequence: int
    first_at: datetime | None
    last_at: datetime | None
    created: datetime
    at: datetime


class Shard(msgspec.Struct, frozen=True):
    """A shard's stream, how far it was read and committed, and the times of the first messages beyond."""

    shard: int
    stream: Stream
    committed_sequence: int
    """Of the checkpoint, when it speaks of this stream; else 0."""
    owner: str
    """The instance of the writer that took it last; '' before the first."""
    read_sequence: int | None
    """What the owner says it has read; None: nobody reads it."""
    uncommitted_at: datetime | None
    unread_at: datetime | None


class JetStream:
    """Asks one server. Raises TransientError when it does not answer."""

    def __init__(self, client: Client, shards: int) -> None:
        self._api = Api(client)
        self._shards = shards
        self._times: dict[tuple[int, str], tuple[int, datetime | None]] = {}
        """Shard and purpose → the last message asked for: an uncommitted one stays the same for long."""

    async def streams(self) -> dict[str, Stream]:
        """Our streams, by name; those that do not exist are not in it."""
        ours = {CATALOG_STREAM, UPLOADS_STREAM, *map(shard_stream, range(self._shards))}
        found: dict[str, Stream] = {}
        offset = 0
        for _ in range(MAX_PAGES):
            page = await self._api.request("STREAM.LIST", {"offset": offset}, StreamPage)
            if page is None:
                break
            found |= {info.config.name: _stream(info) for info in page.streams if info.config.name in ours}
            offset += len(page.streams)
            if offset >= page.total or not page.streams:
                break
        return found

    async def shards(self, streams: Mapping[str, Stream], read: Positions) -> tuple[Shard, ...]:
        return tuple(
            [
                await self._shard(shard, streams[shard_stream(shard)], read)
                for shard in range(self._shards)
                if shard_stream(shard) in streams
            ]
        )

    async def takeovers(self) -> int:
        """How many messages of the catalog are no segments, but say that a writer has taken a shard."""
        body = {"subjects_filter": OWNERS}
        info = await self._api.request(f"STREAM.INFO.{CATALOG_STREAM}", body, SubjectsInfo)
        return 0 if info is None else sum((info.state.subjects or {}).values())

    async def waiting_uploads(self) -> int | None:
        """Catalog entries that a durable consumer of the catalog has not acknowledged; None: there is none."""
        page = await self._api.request(f"CONSUMER.LIST.{CATALOG_STREAM}", {}, ConsumerPage)
        durable = [] if page is None else [info for info in page.consumers if info.config.durable_name]
        return max((info.num_pending + info.num_ack_pending for info in durable), default=None)

    async def _shard(self, shard: int, stream: Stream, positions: Positions) -> Shard:
        owner = await self._owner(shard)
        read = positions.get((owner, shard))
        checkpoint = await self._checkpoint(shard)
        valid = checkpoint is not None and _same_moment(checkpoint.epoch, stream.created)
        committed = checkpoint.sequence if checkpoint is not None and valid else 0
        return Shard(
            shard=shard,
            stream=stream,
            committed_sequence=committed,
            owner=owner,
            read_sequence=read,
            uncommitted_at=await self._time_after(shard, "committed", committed, stream),
            unread_at=None if read is None else await self._time_after(shard, "read", read, stream),
        )

    async def _owner(self, shard: int) -> str:
        """A writer that lost a shard may go on saying how far it had read: the catalog knows whose it is."""
        body = {"last_by_subj": shard_owner(shard)}
        stored = await self._api.request(f"STREAM.MSG.GET.{CATALOG_STREAM}", body, Stored)
        return "" if stored is None else stored.message.data.decode(errors="replace").rpartition(".")[0]

    async def _checkpoint(self, shard: int) -> Checkpoint | None:
        stored = await self._api.request(
            f"STREAM.MSG.GET.KV_{CHECKPOINT_BUCKET}",
            {"last_by_subj": f"$KV.{CHECKPOINT_BUCKET}.{shard}"},
            Stored,
        )
        return None if stored is None or not stored.message.data else decode_checkpoint(stored.message.data)

    async def _time_after(self, shard: int, purpose: str, sequence: int, stream: Stream) -> datetime | None:
        """The server's time of the first message after a sequence; None when there is none."""
        if stream.messages == 0 or sequence >= stream.last_sequence:
            return None
        if sequence < stream.first_sequence:
            return stream.first_at
        asked, known = self._times.get((shard, purpose), (-1, None))
        if asked != sequence:
            stored = await self._api.request(
                f"STREAM.MSG.GET.{stream.name}",
                {"seq": sequence + 1, "next_by_subj": f"md.{shard}.>"},
                Stored,
            )
            known = None if stored is None else stored.message.time
            self._times[shard, purpose] = sequence, known
        return known


def _stream(info: StreamInfo) -> Stream:
    filled = info.state.messages > 0
    return Stream(
        name=info.config.name,
        messages=info.state.messages,
        size_bytes=info.state.bytes,
        limit_bytes=max(info.config.max_bytes, 0),
        refuses_when_full=info.config.discard == "new",
        first_sequence=info.state.first_seq,
        last_sequence=info.state.last_seq,
        first_at=info.state.first_ts if filled else None,
        last_at=info.state.last_ts if filled else None,
        created=info.created,
        at=info.ts,
    )


def _same_moment(epoch: str, created: datetime) -> bool:
    """Whether a checkpoint speaks of this stream: its epoch is the creation time as the writer wrote it."""
    try:
        return abs(datetime.fromisoformat(epoch) - created) < timedelta(milliseconds=1)
    except (ValueError, TypeError):
        return False
