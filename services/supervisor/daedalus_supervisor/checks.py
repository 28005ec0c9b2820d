"""Judgement: one small check for each thing that goes wrong, with its threshold and what to do about it.

A check yields what it finds. It knows values and limits, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from daedalus_supervisor.limits import Limits
from daedalus_supervisor.status import DiskStatus, Problem, ServiceStatus, ShardStatus, StreamStatus, Weight

ServiceCheck = Callable[[ServiceStatus, Limits], Iterator[Problem]]
StreamCheck = Callable[[StreamStatus, Limits], Iterator[Problem]]
ShardCheck = Callable[[ShardStatus, Limits], Iterator[Problem]]


def service_down(service: ServiceStatus, _: Limits) -> Iterator[Problem]:
    if service.state == "missing":
        what = f"has not answered for {service.unseen_seconds:.0f} s"
        hint = "See its logs (docker compose ps, docker compose logs); Docker starts it again by itself."
        yield Problem(check="service_down", where=service.title, what=what, hint=hint)
    elif service.state == "absent":
        what = "never answered, although the configuration asks for it"
        hint = "Start it (docker compose up -d); if it does start, its log says why it ended."
        if service.service == "collector":
            hint += f" Or take {service.instance} out of config.yaml."
        yield Problem(check="service_down", where=service.title, what=what, hint=hint)


def not_ready(service: ServiceStatus, _: Limits) -> Iterator[Problem]:
    if service.state == "not_ready":
        for name, problem in service.own_problems.items() or {"ready": "it says it is not ready"}.items():
            hint = "It says so itself; its logs say more."
            yield Problem(check="not_ready", where=service.title, what=f"{name}: {problem}", hint=hint)


def collector_silent(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    if service.service == "collector" and service.state == "ready" and service.silent_seconds > limits.silent_seconds:
        what = (
            f"received no record for {service.silent_seconds:.0f} s, expected some within {limits.silent_seconds:.0f} s"
        )
        hint = "See the exchange's status page and the collector's log; check the network and the symbols."
        yield Problem(check="collector_silent", where=service.title, what=what, hint=hint)


def outbox_full(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    percent = service.figures.outbox_percent
    if percent is not None and percent >= limits.outbox_percent:
        what = f"outbox is {percent:.0f} % full, expected less than {limits.outbox_percent:.0f} %"
        hint = (
            "JetStream takes less than comes in: is NATS up and its disk fast enough? Raise ingestion.queue_maxsize and "
            "queue_max_mb, or reduce symbols. At 100 % records are lost, and gaps are written down."
        )
        yield Problem(check="outbox_full", where=service.title, what=what, hint=hint)


def records_overflowed(service: ServiceStatus, _: Limits) -> Iterator[Problem]:
    if service.window.overflowed > 0:
        what = f"{service.window.overflowed:,.0f} records were lost at a full outbox in ten minutes, expected none"
        hint = "JetStream was away or full: see NATS and the streams. Reduce symbols, or raise queue_maxsize and queue_max_mb."
        yield Problem(check="records_overflowed", where=service.title, what=what, hint=hint)


def memory_high(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    used, limit = service.figures.memory_bytes, service.figures.memory_limit_bytes
    if used is not None and limit and 100 * used / limit >= limits.memory_percent:
        what = f"memory is at {100 * used / limit:.0f} % of its limit, expected less than {limits.memory_percent:.0f} %"
        hint = {
            "collector": "Reduce symbols, max_orderbook_depth or queue_max_mb, or raise the container's limit.",
            "writer": "Reduce memory_budget_mb or segment_max_mb, or raise the container's limit.",
            "sync": "Reduce storage.upload_workers, or raise the container's limit.",
        }.get(service.service, "Raise the container's limit.")
        yield Problem(check="memory_high", where=service.title, what=what, hint=hint)


def reconnects_frequent(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    count = service.window.reconnects
    if count > limits.reconnects:
        what = f"reconnected {count:.0f} times in ten minutes, expected at most {limits.reconnects}"
        hint = (
            "Network trouble, or the exchange turns us away: see the log for the reason; reduce symbols per connection."
        )
        yield Problem(check="reconnects_frequent", where=service.title, what=what, hint=hint)


def gaps_recorded(service: ServiceStatus, _: Limits) -> Iterator[Problem]:
    """Once is an incident that is written down; in both halves of ten minutes it is a condition."""
    recent, earlier = service.window.gaps, service.earlier.gaps
    if recent > 0:
        goes_on = earlier > 0 and recent > earlier
        what = f"{recent:.0f} gaps were recorded in ten minutes, expected none"
        hint = "Select from the channel `gap` for the cause and the interval of each."
        if goes_on:
            hint += " It goes on: see the outbox, the reconnects and the collector's log."
        weight: Weight = "problem" if goes_on else "notice"
        yield Problem(check="gaps_recorded", where=service.title, what=what, hint=hint, weight=weight)


def restarts_frequent(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    count = service.window.starts
    if count > limits.restarts:
        what = f"was started anew {count:.0f} times in ten minutes, expected at most {limits.restarts}"
        hint = "Its log says why it ended, just before the last start; the exit codes are in docs/monitoring.md."
        yield Problem(check="restarts_frequent", where=service.title, what=what, hint=hint)


def errors_counted(service: ServiceStatus, _: Limits) -> Iterator[Problem]:
    if service.window.errors > 0:
        what = f"{service.window.errors:.0f} errors in ten minutes"
        hint = "Each is in its log, with what was expected and what was found."
        yield Problem(check="errors_counted", where=service.title, what=what, hint=hint, weight="notice")


def segments_many(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    count = service.figures.open_segments
    if service.service == "writer" and count is not None and count >= limits.open_segments:
        what = f"{count:.0f} segments are open, expected less than {limits.open_segments}"
        hint = "The oldest are committed early, as small files: reduce symbols, or raise ingestion.max_open_segments."
        yield Problem(check="segments_many", where=service.title, what=what, hint=hint, weight="notice")


def uploads_stalled(service: ServiceStatus, limits: Limits) -> Iterator[Problem]:
    pending = service.figures.pending_segments or 0
    window = service.window
    uploads = limits.uploads and service.service == "sync" and service.state == "ready"
    if uploads and pending > 0 and window.segments == 0 and window.seconds >= limits.upload_stalled_seconds:
        what = f"{pending:.0f} segments wait, and none was uploaded for {window.seconds:.0f} s"
        hint = "Check endpoint, bucket, credentials and network; its log has S3's answer. Nothing is deleted meanwhile."
        yield Problem(check="uploads_stalled", where=service.title, what=what, hint=hint)


def stream_full(stream: StreamStatus, limits: Limits) -> Iterator[Problem]:
    if stream.limit_bytes and stream.used_percent >= limits.stream_percent:
        what = f"is {stream.used_percent:.0f} % full, expected less than {limits.stream_percent:.0f} %"
        if stream.refuses_when_full:
            hint = (
                "Is the writer running and keeping up? Reduce nats.retain_hours or raise nats.max_mb. At 100 % the stream "
                "refuses, the collectors' outboxes fill, and gaps are written down."
            )
        else:
            hint = "At 100 % its oldest entries go; the segments stay. Export them first if you need them."
        yield Problem(check="stream_full", where=stream.name, what=what, hint=hint)


def writer_behind(shard: ShardStatus, limits: Limits) -> Iterator[Problem]:
    if shard.unread_seconds > limits.unread_seconds:
        state = "were not read for" if shard.read else "are read by nobody for"
        what = f"{shard.unread_messages:,} messages {state} {shard.unread_seconds:.0f} s, expected {limits.unread_seconds:.0f} s"
        hint = (
            "Is the writer running, and its disk fast enough? Keep parquet_compression_level at 3 or less; use an SSD."
        )
        yield Problem(check="writer_behind", where=f"shard {shard.shard}", what=what, hint=hint)


def commits_late(shard: ShardStatus, limits: Limits) -> Iterator[Problem]:
    if shard.uncommitted_seconds > limits.uncommitted_seconds:
        what = (
            f"the oldest uncommitted message is {shard.uncommitted_seconds:.0f} s old, "
            f"expected {limits.uncommitted_seconds:.0f} s"
        )
        hint = "Segments do not get committed: see the writer's log and the free space on its disk."
        yield Problem(check="commits_late", where=f"shard {shard.shard}", what=what, hint=hint)


def messages_lost(shard: ShardStatus, _: Limits) -> Iterator[Problem]:
    if shard.lost_messages:
        what = f"{shard.lost_messages:,} messages left the stream before they were committed, expected none"
        hint = "Something purged the stream by hand, or its storage was damaged. The writer logs the interval."
        yield Problem(check="messages_lost", where=f"shard {shard.shard}", what=what, hint=hint)


def disk_full(disk: DiskStatus, limits: Limits) -> Iterator[Problem]:
    if disk.used_percent >= limits.disk_percent:
        what = f"is {disk.used_percent:.0f} % full, expected less than {limits.disk_percent:.0f} %"
        hint = "Free space or use a larger disk; with storage.backend s3, sync deletes what it has verified there."
        yield Problem(check="disk_full", where=f"disk {disk.path}", what=what, hint=hint)


SERVICE_CHECKS: tuple[ServiceCheck, ...] = (
    service_down,
    not_ready,
    collector_silent,
    outbox_full,
    records_overflowed,
    memory_high,
    reconnects_frequent,
    restarts_frequent,
    gaps_recorded,
    errors_counted,
    segments_many,
    uploads_stalled,
)
STREAM_CHECKS: tuple[StreamCheck, ...] = (stream_full,)
SHARD_CHECKS: tuple[ShardCheck, ...] = (writer_behind, commits_late, messages_lost)

NAMES: tuple[str, ...] = (
    "broker_away",
    "stream_absent",
    *(check.__name__ for check in (*SERVICE_CHECKS, *STREAM_CHECKS, *SHARD_CHECKS, disk_full)),
)
"""Every value of `Problem.check`."""
