"""Judgement: each check finds what is beyond its threshold, and nothing at the threshold's other side."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from daedalus_supervisor import checks
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.status import (
    DiskStatus,
    Figures,
    Problem,
    Recent,
    ServiceStatus,
    ShardStatus,
    State,
    StreamStatus,
)

LIMITS = Limits(uploads=True)


def service(name: str = "collector", state: State = "ready", **fields: object) -> ServiceStatus:
    return ServiceStatus(service=name, instance="i", title="t", state=state, **fields)  # type: ignore[arg-type]


def outbox(records: float) -> ServiceStatus:
    return service(figures=Figures(outbox_records=records, outbox_limit_records=1_000))


def memory(used: float, limit: float = 100) -> ServiceStatus:
    return service(figures=Figures(memory_bytes=used, memory_limit_bytes=limit))


def waiting(pending: float, segments: float = 0.0, seconds: float = 300.0) -> ServiceStatus:
    return service("sync", figures=Figures(pending_segments=pending), window=Recent(seconds=seconds, segments=segments))


def stream(size_bytes: int, limit_bytes: int = 100) -> StreamStatus:
    return StreamStatus(name="MD-0", messages=1, size_bytes=size_bytes, limit_bytes=limit_bytes)


def shard(unread: float = 0.0, uncommitted: float = 0.0, lost: int = 0) -> ShardStatus:
    return ShardStatus(
        shard=0,
        unread_messages=1,
        unread_seconds=unread,
        uncommitted_messages=1,
        uncommitted_seconds=uncommitted,
        read=True,
        lost_messages=lost,
    )


def disk(percent: float) -> DiskStatus:
    return DiskStatus(path="/data", size_bytes=100, used_bytes=1, free_bytes=1, used_percent=percent)


CASES = [
    ("service_down", service(state="missing"), service(state="not_ready")),
    ("service_down", service(state="absent"), service()),
    ("not_ready", service(state="not_ready"), service()),
    ("collector_silent", service(silent_seconds=120.1), service(silent_seconds=120.0)),
    ("collector_silent", service(silent_seconds=500), service("writer", silent_seconds=500)),
    ("outbox_full", outbox(800), outbox(799)),
    (
        "outbox_full",
        service(figures=Figures(outbox_records=1, outbox_limit_records=100, outbox_bytes=80, outbox_limit_bytes=100)),
        service(figures=Figures(outbox_records=1, outbox_limit_records=100)),
    ),
    ("records_overflowed", service(window=Recent(overflowed=1)), service(window=Recent(discarded=1))),
    ("memory_high", memory(75), memory(74.9)),
    ("memory_high", memory(75), memory(75, limit=0)),
    ("reconnects_frequent", service(window=Recent(reconnects=6)), service(window=Recent(reconnects=5))),
    ("restarts_frequent", service(window=Recent(starts=3)), service(window=Recent(starts=2))),
    ("gaps_recorded", service(window=Recent(gaps=1)), service(figures=Figures(gaps=1))),
    ("errors_counted", service(window=Recent(errors=1)), service(figures=Figures(errors=1))),
    (
        "segments_many",
        service("writer", figures=Figures(open_segments=5_000)),
        service("writer", figures=Figures(open_segments=4_999)),
    ),
    ("uploads_stalled", waiting(1), waiting(0)),
    ("uploads_stalled", waiting(1), waiting(1, segments=1)),
    ("uploads_stalled", waiting(1), waiting(1, seconds=299)),
    ("stream_full", stream(80), stream(79)),
    ("stream_full", stream(80), stream(80, limit_bytes=0)),
    ("writer_behind", shard(unread=120.1), shard(unread=120.0)),
    ("commits_late", shard(uncommitted=3_720.1), shard(uncommitted=3_720.0)),
    ("messages_lost", shard(lost=1), shard()),
    ("disk_full", disk(90), disk(89.9)),
]


def found(name: str, subject: object, limits: Limits = LIMITS) -> list[Problem]:
    return list(getattr(checks, name)(subject, limits))


@pytest.mark.parametrize(("name", "ill", "well"), CASES)
def test_threshold(name: str, ill: object, well: object) -> None:
    """One side of the threshold is a finding with a hint, the other is none."""
    (problem,) = found(name, ill)
    assert problem.check == name
    assert problem.what
    assert problem.hint.endswith(".")
    assert not found(name, well)


def test_every_check_has_a_case() -> None:
    """A check without a threshold test is a check that nobody saw fail."""
    assert {name for name, _, _ in CASES} == set(checks.NAMES) - {"broker_away", "stream_absent"}


def test_gaps_that_go_on_are_a_problem() -> None:
    """One incident is a notice; gaps in both halves of the window are a condition."""
    once = service(window=Recent(gaps=5), earlier=Recent(gaps=5))
    again = service(window=Recent(gaps=5), earlier=Recent(gaps=4))
    assert [found("gaps_recorded", one)[0].weight for one in (once, again)] == ["notice", "problem"]


def test_own_problems_are_told_one_by_one() -> None:
    """What a service says of itself is repeated, each as its own finding."""
    ill = service(state="not_ready", own_problems={"disk": "is full", "nats": "is away"})
    assert [problem.what for problem in found("not_ready", ill)] == ["disk: is full", "nats: is away"]


def test_no_uploads_without_s3() -> None:
    """With backend local nothing has to be uploaded."""
    assert not found("uploads_stalled", waiting(1), replace(LIMITS, uploads=False))


def test_logs_and_data_have_their_own_hints() -> None:
    """A full stream of records refuses; a full log loses its oldest entries."""
    data, log = stream(90), replace(stream(90), refuses_when_full=False)
    assert "refuses" in found("stream_full", data)[0].hint
    assert "oldest entries" in found("stream_full", log)[0].hint
