"""The report for a person at a terminal: the pipeline's statistics block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from daedalus.naming import shard_stream
from daedalus_supervisor.status import Problem, ServiceStatus, ShardStatus, Status, StreamStatus
from daedalus_supervisor.units import count, megabytes, printable

WIDTH = 80
RULE = "=" * WIDTH
ORDER = {"collector": 0, "writer": 1, "sync": 2, "supervisor": 3}


def block(status: Status) -> str:
    """The whole report, ending with a newline. Nothing in it can steer a terminal."""
    lines = [RULE, "Pipeline Statistics", RULE]
    told: set[str] = set()
    for service in sorted(status.services, key=lambda one: (ORDER.get(one.service, len(ORDER)), one.title)):
        lines += [*_service(service, status), *_problems(status, service.title)]
        told.add(service.title)
    shards = {shard_stream(shard.shard): shard for shard in status.shards}
    for stream in status.streams:
        lines += [f"  └─ Streams: {_stream(stream, shards)}", *_problems(status, stream.name)]
        told.add(stream.name)
    if status.disk is not None:
        disk = status.disk
        used = f"{megabytes(disk.used_bytes)} of {megabytes(disk.size_bytes)} ({disk.used_percent:.1f}%)"
        lines.append(f"  └─ Disk: {disk.path} {used}")
    left = [problem for problem in status.problems if problem.where not in told]
    for where in dict.fromkeys(problem.where for problem in left):
        lines += [f"✗ 🔴 {where}", *_problems(status, where)]
    state = "" if status.healthy else f", {sum(one.weight == 'problem' for one in status.problems)} problems"
    lines += [RULE, f"Health: {status.health}{state}", RULE]
    return "".join(f"{printable(line)}\n" for line in lines)


def _service(service: ServiceStatus, status: Status) -> Iterator[str]:
    its_own = {"collector": _collector, "writer": _writer, "sync": _sync}.get(service.service, _other)
    figures = ["absent"] if service.state == "absent" else its_own(service, status)
    if service.state == "missing":
        figures.append(f"missing for {service.unseen_seconds:.0f}s")
    elif service.state == "not_ready":
        figures.append("not ready")
    title = service.title
    if service.service != "collector":
        title = f"{title[:1].upper()}{title[1:]}"
    mark = "✗ 🔴 " if not service.healthy else "✓ 🟢 " if service.service == "collector" else ""
    yield f"{mark}{title}: {', '.join(figures)}"
    if service.state != "absent":
        yield from _room(service)


def _collector(service: ServiceStatus, _: Status) -> list[str]:
    its = service.figures
    return [
        f"msgs={count(its.received)}",
        f"errors={count(its.errors)}",
        f"reconnects={count(its.reconnects)}",
        f"uptime={service.uptime_seconds:.0f}s",
    ]


def _writer(service: ServiceStatus, status: Status) -> list[str]:
    its = service.figures
    shards = [shard for shard in status.shards if shard.owner == service.instance]
    lag = sum(shard.unread_messages for shard in shards)
    seconds = max((shard.unread_seconds for shard in shards), default=0.0)
    return [
        f"written={count(its.sent)}",
        f"lag={lag:,} ({seconds:.1f}s)",
        f"segments={its.segments or 0:.0f}",
        f"open_segments={its.open_segments or 0:.0f}",
    ]


def _sync(service: ServiceStatus, status: Status) -> list[str]:
    its = service.figures
    pending = its.pending_segments if its.pending_segments is not None else status.waiting_uploads
    return [f"uploaded={count(its.segments)}", f"pending={count(pending)}"]


def _other(service: ServiceStatus, _: Status) -> list[str]:
    return [f"uptime={service.uptime_seconds:.0f}s"]


def _room(service: ServiceStatus) -> Iterator[str]:
    """How full its queue and its memory are."""
    its = service.figures
    if its.outbox_percent is not None:
        yield f"  └─ Outbox: {count(its.outbox_records)} ({its.outbox_percent:.1f}%), gaps={count(its.gaps)}"
    if its.memory_bytes is not None:
        limit = its.memory_limit_bytes
        share = f" of {megabytes(limit)} ({100 * its.memory_bytes / limit:.0f}%)" if limit else ""
        yield f"  └─ Memory: {megabytes(its.memory_bytes)}{share}"


def _stream(stream: StreamStatus, shards: Mapping[str, ShardStatus]) -> str:
    line = f"{stream.name} {stream.messages:,} messages, {megabytes(stream.size_bytes)}"
    if stream.limit_bytes:
        line += f" of {megabytes(stream.limit_bytes)} ({stream.used_percent:.1f}%)"
    if (shard := shards.get(stream.name)) is not None:
        line += f", uncommitted={shard.uncommitted_messages:,} ({shard.uncommitted_seconds:.0f}s)"
    return line


def _problems(status: Status, where: str) -> Iterator[str]:
    for problem in status.problems:
        if problem.where == where:
            yield from _told(problem)


def _told(problem: Problem) -> Iterator[str]:
    mark = "✗" if problem.weight == "problem" else "!"
    yield f"  └─ {mark} {problem.check}: {problem.what}"
    yield f"       {problem.hint}"
