"""What the supervisor reports: one immutable value for each poll, and status.json as it stands.

The page, the text, the metrics and the command all read this and nothing else. A figure that nobody reported is None.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

State = Literal["ready", "not_ready", "missing", "absent"]
"""missing: it answered before; absent: the configuration expects it and it never answered."""
STATES: tuple[State, ...] = ("ready", "not_ready", "missing", "absent")

Weight = Literal["problem", "notice"]
WEIGHTS: tuple[Weight, ...] = ("problem", "notice")
"""A problem makes the whole unhealthy. A notice happened, is written down, and matters only when it repeats."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One finding of one check."""

    check: str
    """The check's name, of a bounded set."""
    where: str
    """The service or stream it was found at."""
    what: str
    """What was found, and what was expected."""
    hint: str
    """What to do."""
    weight: Weight = "problem"


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a service counted since its own start, over all labels. Records, unless the name says otherwise."""

    received: float | None = None
    sent: float | None = None
    """A collector's in JetStream, a writer's in committed segments."""
    discarded: float | None = None
    """On purpose: duplicates, what is committed already."""
    overflowed: float | None = None
    """Lost at a full outbox, and written down as gaps."""
    errors: float | None = None
    reconnects: float | None = None
    gaps: float | None = None
    segments: float | None = None
    """A writer's committed, a sync's uploaded and verified."""
    open_segments: float | None = None
    pending_segments: float | None = None
    outbox_records: float | None = None
    outbox_limit_records: float | None = None
    outbox_bytes: float | None = None
    outbox_limit_bytes: float | None = None
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None

    @property
    def outbox_percent(self) -> float | None:
        """Of whichever of its two bounds is nearer."""
        bounds = [(self.outbox_records, self.outbox_limit_records), (self.outbox_bytes, self.outbox_limit_bytes)]
        return max((100 * used / limit for used, limit in bounds if used is not None and limit), default=None)


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What was added within the last `seconds`."""

    seconds: float = 0.0
    """How far back it was seen, at most the window that was asked for."""
    received: float = 0.0
    sent: float = 0.0
    discarded: float = 0.0
    overflowed: float = 0.0
    errors: float = 0.0
    reconnects: float = 0.0
    gaps: float = 0.0
    segments: float = 0.0
    starts: float = 0.0
    """How often it was started anew."""


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process, or one that should be there."""

    service: str
    instance: str
    title: str
    """What a person calls it; unique within the report."""
    exchanges: tuple[str, ...] = ()
    """What a collector records."""
    state: State
    version: str = ""
    uptime_seconds: float = 0.0
    unseen_seconds: float = 0.0
    """Since its last answer."""
    silent_seconds: float = 0.0
    """Since it last received anything, as far as was seen."""
    own_problems: dict[str, str] = {}
    """What it says of itself."""
    figures: Figures = Figures()
    minute: Recent = Recent()
    """The last minute: what rates are made of."""
    window: Recent = Recent()
    """The last ten minutes."""
    earlier: Recent = Recent()
    """The first half of these ten minutes."""
    healthy: bool = True


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One JetStream stream."""

    name: str
    messages: int
    size_bytes: int
    limit_bytes: int
    """0: none."""
    first_at: datetime | None = None
    last_at: datetime | None = None
    refuses_when_full: bool = True
    """Otherwise its oldest messages go."""

    @property
    def used_percent(self) -> float:
        return 100.0 * self.size_bytes / self.limit_bytes if self.limit_bytes else 0.0


class ShardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a shard's stream was read and committed. Messages are batches of records."""

    shard: int
    owner: str = ""
    """The instance of the writer that took it last."""
    unread_messages: int
    """In the stream, not yet handed to a writer."""
    unread_seconds: float
    """Age of the oldest of them."""
    uncommitted_messages: int
    """Not yet in a committed segment. Normal up to the age at which segments are committed."""
    uncommitted_seconds: float
    read: bool
    """Its owner reads it."""
    lost_messages: int = 0
    """Gone from the stream before they were committed."""


class DiskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The disk that holds storage.root. `used_percent` is df's: of what a user may fill."""

    path: str
    size_bytes: int
    used_bytes: int
    free_bytes: int
    used_percent: float


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Over all services, since each one's start; or, as rates, in a second."""

    received_records: float = 0.0
    sent_records: float = 0.0
    """Acknowledged by JetStream."""
    committed_records: float = 0.0
    committed_segments: float = 0.0
    uploaded_segments: float = 0.0
    gaps: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    observed_at: datetime
    healthy: bool
    health: str
    """`N/M collectors healthy`."""
    services: tuple[ServiceStatus, ...] = ()
    streams: tuple[StreamStatus, ...] = ()
    shards: tuple[ShardStatus, ...] = ()
    disk: DiskStatus | None = None
    uploads: bool = False
    """Segments go to S3."""
    waiting_uploads: int | None = None
    """Committed segments that the sync has not acknowledged; None: nobody takes them."""
    totals: Totals = Totals()
    per_second: Totals = Totals()
    """Over the last minute, or as much of it as was seen."""
    problems: tuple[Problem, ...] = ()
    poll_seconds: float = 5.0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Status)


def encode(status: Status) -> bytes:
    return _encoder.encode(status)


def decode(document: bytes) -> Status:
    """Read status.json. Raises msgspec.DecodeError."""
    return _decoder.decode(document)
