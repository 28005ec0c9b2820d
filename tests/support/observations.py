"""Made-up observations for the supervisor's tests: one healthy pipeline, to be changed where a test wants it ill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from daedalus_supervisor.discovery import Answer, Roster, Seen
from daedalus_supervisor.history import History
from daedalus_supervisor.jetstream import Shard, Stream
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.report import Observation, build
from daedalus_supervisor.status import DiskStatus, Status

AT = datetime(2026, 2, 3, 14, 5, 6, tzinfo=UTC)
NOW = 100_000.0
"""Of the monotonic clock."""


def collector(exchange: str = "coinbaseadvanced", instance: str = "collector-1", **changes: float) -> Answer:
    """`changes`: received, sent, duplicates, overflowed, errors, reconnects, gaps, outbox, memory_mb, uptime."""
    its = {"received": 1_234_567, "sent": 1_234_500, "reconnects": 2, "uptime": 86_400, "memory_mb": 75.0, **changes}
    prefix, label = "daedalus_collector", f'exchange="{exchange}"'
    metrics = {
        f'{prefix}_received_records_total{{{label},channel="trade"}}': 234_567.0,
        f'{prefix}_received_records_total{{{label},channel="orderbook"}}': its["received"] - 234_567.0,
        f'{prefix}_sent_records_total{{{label},channel="trade"}}': its["sent"],
        f'{prefix}_discarded_records_total{{{label},channel="trade",cause="duplicate"}}': its.get("duplicates", 3),
        f'{prefix}_discarded_records_total{{{label},channel="trade",cause="outbox_full"}}': its.get("overflowed", 0),
        f'{prefix}_errors_total{{{label},kind="bad_frame"}}': its.get("errors", 0),
        f"{prefix}_reconnects_total{{{label}}}": its["reconnects"],
        f'{prefix}_gaps_total{{{label},channel="trade",cause="connection_lost"}}': its.get("gaps", 0),
        f"{prefix}_outbox_records{{{label}}}": its.get("outbox", 67),
        f"{prefix}_outbox_limit_records{{{label}}}": 50_000.0,
        "daedalus_memory_bytes": its["memory_mb"] * 1e6,
        "daedalus_memory_limit_bytes": 192e6,
    }
    return Answer("collector", instance, "0.1.0", ready=True, uptime_seconds=its["uptime"], metrics=metrics)


def writer(instance: str = "writer-1", sequence: float = 5_000.0, **changes: float) -> Answer:
    metrics = {
        'daedalus_writer_received_records_total{exchange="coinbaseadvanced",channel="trade"}': 1_234_500.0,
        'daedalus_writer_sent_records_total{exchange="coinbaseadvanced",channel="trade"}': 1_200_000.0,
        'daedalus_writer_sent_segments_total{reason="hour"}': 12_345.0,
        'daedalus_writer_open_segments{shard="0"}': 42.0,
        'daedalus_writer_sequence{shard="0"}': sequence,
        "daedalus_memory_bytes": 120e6,
        "daedalus_memory_limit_bytes": 384e6,
        **changes,
    }
    return Answer("writer", instance, "0.1.0", ready=True, uptime_seconds=86_400.0, metrics=metrics)


def sync(instance: str = "sync-1", pending: float = 3.0, sent: float = 12_342.0) -> Answer:
    metrics = {"daedalus_sync_sent_segments_total": sent, "daedalus_sync_pending_segments": pending}
    return Answer("sync", instance, "0.1.0", ready=True, uptime_seconds=86_400.0, metrics=metrics)


def stream(name: str = "MD-0", *, size_bytes: int = 12_300_000, last_sequence: int = 5_012) -> Stream:
    return Stream(
        name=name,
        messages=1_234,
        size_bytes=size_bytes,
        limit_bytes=4_096_000_000 if name.startswith("MD-") else 1_024_000_000,
        refuses_when_full=name.startswith("MD-"),
        first_sequence=last_sequence - 1_233,
        last_sequence=last_sequence,
        first_at=AT - timedelta(hours=6),
        last_at=AT,
        created=AT - timedelta(days=9),
        at=AT,
    )


def shard(
    *,
    committed: int = 4_500,
    read: int | None = 5_000,
    unread_seconds: float = 0.1,
    uncommitted_seconds: float = 1_800.0,
    of: Stream | None = None,
) -> Shard:
    its = of or stream()
    return Shard(
        shard=0,
        stream=its,
        committed_sequence=committed,
        owner="writer-1",
        read_sequence=read,
        uncommitted_at=AT - timedelta(seconds=uncommitted_seconds) if committed < its.last_sequence else None,
        unread_at=AT - timedelta(seconds=unread_seconds) if (read or 0) < its.last_sequence else None,
    )


DISK = DiskStatus(path="/data", size_bytes=64 * 10**9, used_bytes=16 * 10**9, free_bytes=48 * 10**9, used_percent=25.0)


def seen(*answers: Answer) -> tuple[Seen, ...]:
    """Everyone answered just now."""
    roster = Roster()
    roster.note(answers, NOW)
    return roster.seen(NOW)


def healthy(**changes: object) -> Observation:
    streams = {name: stream(name) for name in ("CATALOG", "MD-0", "UPLOADS")}
    fields: dict[str, object] = {
        "seen": seen(collector(), writer(), sync()),
        "streams": streams,
        "shards": (shard(),),
        "waiting_uploads": 3,
        "disk": DISK,
        "watched_seconds": 900.0,
        **changes,
    }
    return Observation(**fields)  # type: ignore[arg-type]  # a test's own changes


LIMITS = Limits(exchanges=("coinbaseadvanced",), uploads=True)


def reported(observation: Observation, limits: Limits = LIMITS, history: History | None = None) -> Status:
    return build(observation, history or History(), limits, NOW, AT, 5.0)
