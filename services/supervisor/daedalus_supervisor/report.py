"""From what was observed to what is reported: pure, the time is an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from daedalus.naming import CATALOG_STREAM, shard_stream
from daedalus_supervisor import checks
from daedalus_supervisor.discovery import Seen
from daedalus_supervisor.figures import figures, rates, totals
from daedalus_supervisor.history import WINDOW_SECONDS, Counted, History
from daedalus_supervisor.jetstream import Shard, Stream
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.status import (
    DiskStatus,
    Figures,
    Problem,
    ServiceStatus,
    ShardStatus,
    Status,
    StreamStatus,
)

RATE_SECONDS = 60.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One poll."""

    seen: tuple[Seen, ...] = ()
    streams: Mapping[str, Stream] = {}
    shards: tuple[Shard, ...] = ()
    takeovers: int = 0
    """Messages of the catalog that are no segments."""
    waiting_uploads: int | None = None
    disk: DiskStatus | None = None
    broker_problem: str | None = None
    """Why NATS or JetStream could not be asked."""
    watched_seconds: float = 0.0
    """For how long services could be seen."""


def build(
    observation: Observation, history: History, limits: Limits, now: float, at: datetime, poll_seconds: float
) -> Status:
    """Judge one observation and add it to the history. `now` is the history's clock, in seconds; `at` is what people read."""
    counted = {
        one.key: Counted(figures(one.answer.service, one.samples), one.answer.uptime_seconds)
        for one in observation.seen
    }
    history.note(counted, now)
    titles = _titles(observation.seen)
    services = [
        _service(one, title, counted[one.key].figures, history, now)
        for one, title in zip(observation.seen, titles, strict=True)
    ]
    services += _absent(observation, limits)
    streams = tuple(_stream(stream) for stream in observation.streams.values())
    shards = tuple(_shard(shard) for shard in observation.shards)
    problems = _problems(observation, services, streams, shards, limits)
    ill = {problem.where for problem in problems if problem.weight == "problem"}
    judged = tuple(msgspec.structs.replace(service, healthy=service.title not in ill) for service in services)
    collectors = [service for service in judged if service.service == "collector"]
    return Status(
        observed_at=at,
        healthy=not ill,
        health=f"{sum(one.healthy for one in collectors)}/{len(collectors)} collectors healthy",
        services=judged,
        streams=streams,
        shards=shards,
        disk=observation.disk,
        uploads=limits.uploads,
        waiting_uploads=observation.waiting_uploads,
        totals=totals(judged, observation.streams, observation.takeovers),
        per_second=rates(judged),
        problems=problems,
        poll_seconds=poll_seconds,
    )


def _titles(seen: Iterable[Seen]) -> list[str]:
    """What a person calls each; the instance is added where two would be called the same."""
    titles = []
    for one in seen:
        if one.answer.service == "collector":
            titles.append(f"ccxt_{'+'.join(one.exchanges)}" if one.exchanges else f"collector {one.answer.instance}")
        elif one.answer.instance == one.answer.service:
            titles.append(one.answer.service)
        else:
            titles.append(f"{one.answer.service} {one.answer.instance}")
    count = Counter(titles)
    return [
        title if count[title] == 1 else f"{title} {one.answer.instance}"
        for one, title in zip(seen, titles, strict=True)
    ]


def _service(seen: Seen, title: str, its: Figures, history: History, now: float) -> ServiceStatus:
    answer, key = seen.answer, seen.key
    return ServiceStatus(
        service=answer.service,
        instance=answer.instance,
        title=title,
        exchanges=seen.exchanges,
        state="missing" if seen.missing else "ready" if answer.ready else "not_ready",
        version=answer.version,
        uptime_seconds=answer.uptime_seconds,
        unseen_seconds=now - seen.last_seen,
        silent_seconds=history.silent_seconds(key, now),
        own_problems=answer.problems,
        figures=its,
        minute=history.recent(key, RATE_SECONDS, now),
        window=history.recent(key, WINDOW_SECONDS, now),
        earlier=history.recent(key, WINDOW_SECONDS, now, WINDOW_SECONDS / 2),
    )


def _absent(observation: Observation, limits: Limits) -> Iterator[ServiceStatus]:
    """What the configuration asks for and nobody has seen, once there was time for it to come up."""
    if observation.watched_seconds < limits.start_seconds:
        return
    services = {one.answer.service for one in observation.seen}
    collectors = [one for one in observation.seen if one.answer.service == "collector"]
    recorded = {exchange for one in collectors for exchange in one.exchanges}
    if all(one.exchanges for one in collectors):  # else one has not said yet what it records
        for exchange in limits.exchanges:
            if exchange not in recorded:
                yield ServiceStatus(service="collector", instance=exchange, title=f"ccxt_{exchange}", state="absent")
    for service in ["writer", "sync"] if limits.uploads else ["writer"]:
        if service not in services:
            yield ServiceStatus(service=service, instance=service, title=service, state="absent")


def _stream(stream: Stream) -> StreamStatus:
    return StreamStatus(
        name=stream.name,
        messages=stream.messages,
        size_bytes=stream.size_bytes,
        limit_bytes=stream.limit_bytes,
        first_at=stream.first_at,
        last_at=stream.last_at,
        refuses_when_full=stream.refuses_when_full,
    )


def _shard(shard: Shard) -> ShardStatus:
    """Ages are of the server's clock, both ends."""
    stream, committed = shard.stream, shard.committed_sequence
    read = committed if shard.read_sequence is None else max(shard.read_sequence, committed)
    unread_at = shard.uncommitted_at if shard.read_sequence is None else shard.unread_at
    before_first = stream.first_sequence - 1

    def left(sequence: int) -> int:
        return max(0, stream.last_sequence - max(sequence, before_first)) if stream.messages else 0

    def age(moment: datetime | None) -> float:
        return 0.0 if moment is None else max(0.0, (stream.at - moment).total_seconds())

    return ShardStatus(
        shard=shard.shard,
        owner=shard.owner,
        unread_messages=left(read),
        unread_seconds=age(unread_at),
        uncommitted_messages=left(committed),
        uncommitted_seconds=age(shard.uncommitted_at),
        read=shard.read_sequence is not None,
        lost_messages=max(0, before_first - committed) if committed else 0,
    )


def _problems(
    observation: Observation,
    services: Iterable[ServiceStatus],
    streams: Iterable[StreamStatus],
    shards: Iterable[ShardStatus],
    limits: Limits,
) -> tuple[Problem, ...]:
    """Everything that was found, problems before notices."""
    found: list[Problem] = []
    if observation.broker_problem is not None:
        hint = "Is the NATS server running, and nats.url right? What stands here is what was seen last."
        found.append(Problem(check="broker_away", where="NATS", what=observation.broker_problem, hint=hint))
    elif observation.watched_seconds >= limits.start_seconds:
        hint = "A service that uses it creates it when it starts: is one running?"
        wanted = [*map(shard_stream, range(limits.shards)), CATALOG_STREAM]
        for name in wanted:
            if name not in observation.streams:
                found.append(Problem(check="stream_absent", where=name, what="does not exist", hint=hint))
    for service in services:
        found += [problem for check in checks.SERVICE_CHECKS for problem in check(service, limits)]
    for stream in streams:
        found += [problem for check in checks.STREAM_CHECKS for problem in check(stream, limits)]
    for shard in shards:
        found += [problem for check in checks.SHARD_CHECKS for problem in check(shard, limits)]
    if observation.disk is not None:
        found += checks.disk_full(observation.disk, limits)
    return tuple(sorted(found, key=lambda problem: problem.weight == "notice"))
